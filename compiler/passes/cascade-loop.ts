/** Writes the loop that a contraction becomes with the reductions and products that it streams (`cascade.ts`). */
import type { Arena } from "../tensor/arena.ts";
import type { LoopNode, LoopResult, Node, Ref, Scalar } from "../tensor/ir.ts";
import { plainAxes } from "../tensor/node-body.ts";
import { isPositive } from "../tensor/rescale.ts";
import { typeOf } from "../tensor/refs.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";
import { dtypes } from "../types/dtype.ts";
import { timesFixed, withoutFixed } from "./distribute.ts";
import { cheapFactorFlops } from "./fusing.ts";
import { canInline, inlined, storedAs } from "./inline.ts";
import { LoopWriter } from "./loop-writer.ts";
import { bodyFlops, isContraction, isPointwise, readsOf } from "./loops.ts";
import { Sizes } from "./sizes.ts";
import { Templates } from "./templates.ts";

/** Reductions over the swept axis, at the points of the loop that takes them in. */
export interface Rows {
  readonly node: LoopNode;
  /** The taking loop's axis for each of the node's. */
  readonly map: readonly number[];
  /** Outputs that others read, none along the swept axis: they become results of the loop, after its own. */
  readonly kept: readonly number[];
}

/**
 * `last` with the rows made in it, and before it, where there are such factors, the same with these made in it too.
 * `isWithin`: whether nobody reads a node but the loop's parts and some others.
 */
export function streamed(
  arena: Arena,
  last: LoopNode,
  rows: readonly Rows[],
  isWithin: (node: Node, others: ReadonlySet<Node>) => boolean,
): readonly LoopNode[] {
  const w = new LoopWriter(arena, last);
  const made = new Map<Ref, Scalar>();
  const kept: LoopResult[] = [];
  for (const { node, map, kept: outputs } of rows) {
    const first = w.carriers.length;
    const own = (k: number, s: Scalar): Scalar => arena.carrier(first + k, s.type);
    const lifts = w.take(
      node,
      node.carriers.map((c) => c.lift),
      axesAt(arena, map),
      own,
    );
    node.carriers.forEach((carrier, k) => w.carriers.push({ ...carrier, lift: lifts[k] ?? carrier.lift }));
    const values = w.take(
      node,
      node.results.map((r) => r.value),
      axesAt(arena, map),
      own,
    );
    node.results.forEach((result, output) => {
      const value = values[output] ?? result.value;
      made.set(arena.ref(node, output), storedAs(arena, result.dtype, value));
      if (outputs.includes(output))
        kept.push({ ...result, value, axes: result.axes.map((axis) => map[axis] ?? axis) });
    });
  }
  const first = w.carriers.length;
  const same = axesAt(arena, upTo(last.axes.length + 1));
  const values = new Map<number, Scalar>();
  last.carriers.forEach((carrier, k) => {
    // What left an earlier sum is there again where this one uses it.
    const [lift = carrier.lift] = w.take(last, [carrier.lift], same, (j, s) => values.get(j) ?? s, made);
    const parts = withoutFixed(arena, lift, (axis) => axis >= last.axes.length, w.carriers);
    w.carriers.push({ ...carrier, lift: parts.rest });
    values.set(k, timesFixed(arena, arena.carrier(first + k, lift.type), parts));
  });
  const ends = w.take(
    last,
    last.results.map((r) => r.value),
    same,
    (k, s) => values.get(k) ?? s,
    made,
  );
  w.results = [...last.results.map((r, k) => ({ ...r, value: ends[k] ?? r.value })), ...kept];
  // One sum of products may stand in another one's result.
  const inside = new Set<Node>();
  const ofRows = new Set(rows.flatMap(({ map }) => map));
  for (let loop = w.loop(); ;) {
    const before = inside.size;
    loop = withProducts(arena, loop, inside, (node, map) => {
      return isWithin(node, inside) && map.every((axis) => ofRows.has(axis));
    });
    if (inside.size > before) continue;
    const plain = simpler(arena, loop);
    const made = withFactors(arena, plain, (node) => isWithin(node, inside));
    return made === plain ? [plain] : [made, plain];
  }
}

/**
 * The loop with the sums of products that it reads at its own points made inside its bodies. `isOfRows`: whether one
 * whose axes are those of the loop may be; what has others than the reductions is a factor, to be made once.
 */
function withProducts(
  arena: Arena,
  loop: LoopNode,
  inside: Set<Node>,
  isOfRows: (node: Node, map: readonly number[]) => boolean,
): LoopNode {
  const w = new LoopWriter(arena, loop);
  w.inner.push(...loop.inner);
  const points = loop.axes.length + 1;
  const made = new Map<Ref, Scalar>();
  // What a product's factors read stays a factor.
  const all = reachable([...loop.carriers.map((c) => c.lift), ...loop.results.map((r) => r.value)]);
  const inFactors = new Set(
    all
      .flatMap((s) => (s.kind === "reduce" ? reachable([s.arg]) : []))
      .flatMap((s) => (s.kind === "read" ? s.input : [])),
  );
  for (const [input, ref] of loop.inputs.entries()) {
    const { node, output } = ref;
    if (node.kind !== "loop" || !isContraction(node) || node.results.length !== 1) continue;
    if (inFactors.has(input)) continue;
    const result = node.results[output];
    const maps = readsOf(loop).flatMap((read) => (read.input === input ? [plainAxes(read)] : []));
    const [axes] = maps;
    if (result === undefined || axes === undefined || maps.some((other) => other?.join() !== axes.join()))
      continue;
    const map: number[] = [];
    result.axes.forEach((axis, k) => (map[axis] = axes[k] ?? -1));
    if (!isOfRows(node, map)) continue;
    const first = points + w.inner.length;
    w.inner.push(...node.over);
    const along = node.over.map((_, k) => first + k);
    const whole = axesAt(arena, [...map, ...along]);
    const lifts = w.take(
      node,
      node.carriers.map((c) => c.lift),
      whole,
      (_, s) => s,
    );
    const sums = node.carriers.map((c, k) => arena.reduce(c.monoid, along, lifts[k] ?? c.lift));
    const [value = result.value] = w.take(node, [result.value], whole, (k, s) => sums[k] ?? s);
    made.set(ref, storedAs(arena, result.dtype, value));
    inside.add(node);
  }
  const roots = [...loop.carriers.map((c) => c.lift), ...loop.results.map((r) => r.value)];
  const taken = w.take(loop, roots, axesAt(arena, upTo(points)), (_, s) => s, made);
  loop.carriers.forEach((carrier, k) => w.carriers.push({ ...carrier, lift: taken[k] ?? carrier.lift }));
  w.results = loop.results.map((r, k) => ({ ...r, value: taken[loop.carriers.length + k] ?? r.value }));
  return w.loop();
}

/** Rows that may share what is made for each tile of them. */
const sharingRows = 128;

/**
 * The loop with the factors made in it that nobody else reads: cheap ones of smaller tensors, which are made once or
 * twice where the rows that share them are few.
 */
function withFactors(arena: Arena, loop: LoopNode, isWithin: (node: Node) => boolean): LoopNode {
  const sizes = new Sizes();
  const positions = loop.inputs.flatMap((ref, position) => {
    const { node } = ref;
    const reads = readsOf(loop).filter((read) => read.input === position);
    if (!isPointwise(node) || !isWithin(node)) return [];
    if (!canInline(node, { consumer: loop, reads }) || bodyFlops(node) > cheapFactorFlops) return [];
    const moves = new Set(
      reads.flatMap((read) => reachable([read])).map((s) => (s.kind === "axis" ? s.axis : -1)),
    );
    const sharing = loop.axes.filter((_, axis) => !moves.has(axis));
    // What it reads element by element; of scales and places there are few.
    const along = node.results[ref.output]?.axes.at(-1);
    const isSmaller = readsOf(node).every((read) => {
      const [last, input] = [read.index.at(-1), node.inputs[read.input]];
      const isAlong = last?.kind === "axis" && last.axis === along;
      return !isAlong || (input !== undefined && bytesOf(input) < bytesOf(ref));
    });
    return isSmaller && sizes.points(sharing) <= sharingRows ? [position] : [];
  });
  if (positions.length === 0) return loop;
  const made = inlined(arena, new Templates(arena), loop, loop.inputs, positions);
  return made.kind === "loop" ? made : loop;
}

function bytesOf(ref: Ref): number {
  return dtypes[typeOf(ref).dtype].bytes;
}

/** Extrema of c x, c being above zero and fixed, as c times those of x. */
function simpler(arena: Arena, loop: LoopNode): LoopNode {
  const factors = new Map<number, Scalar>();
  const carriers = loop.carriers.map((carrier, k) => {
    if (carrier.monoid !== "max" && carrier.monoid !== "min") return carrier;
    const [inside, neutral] = underSelect(carrier.lift);
    const [a, b] = inside.kind === "apply" && inside.fn === "mul" ? inside.args : [];
    if (a === undefined || b === undefined) return carrier;
    const [factor, rest] = isPositive(a) ? [a, b] : [b, a];
    if (!isPositive(factor)) return carrier;
    factors.set(k, factor);
    return {
      ...carrier,
      lift: neutral === undefined ? rest : arena.apply("select", neutral.when, rest, neutral.value),
    };
  });
  if (factors.size === 0) return loop;
  const replaced = (roots: readonly Scalar[]): readonly Scalar[] =>
    rewriteScalars(arena, roots, (s) => {
      const factor = s.kind === "carrier" ? factors.get(s.carrier) : undefined;
      return factor === undefined ? s : arena.apply("mul", factor, s);
    });
  const lifts = replaced(carriers.map((c) => c.lift));
  const ends = replaced(loop.results.map((r) => r.value));
  return arena.loop({
    ...loop,
    carriers: carriers.map((c, k) => ({ ...c, lift: lifts[k] ?? c.lift })),
    results: loop.results.map((r, k) => ({ ...r, value: ends[k] ?? r.value })),
  });
}

/** Of `select(when, x, infinity)` x and the rest. */
function underSelect(
  lift: Scalar,
): readonly [Scalar, { readonly when: Scalar; readonly value: Scalar } | undefined] {
  if (lift.kind !== "apply" || lift.fn !== "select") return [lift, undefined];
  const [when, inside, value] = lift.args;
  const isInfinite = value?.kind === "const" && Math.abs(Number(value.value)) === Infinity;
  if (when === undefined || inside === undefined || value === undefined || !isInfinite)
    return [lift, undefined];
  return [inside, { when, value }];
}

function axesAt(arena: Arena, map: readonly number[]): readonly Scalar[] {
  return map.map((axis) => arena.axis(axis));
}

function upTo(end: number): readonly number[] {
  return Array.from({ length: end }, (_, k) => k);
}
