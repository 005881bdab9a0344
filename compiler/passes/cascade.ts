/**
 * Streams a contraction together with the reductions that its factor is made by, and with the contractions that these
 * read, so that nothing of their size is ever written:
 *
 *     %s = loop m, t over d { a = sum: %q[m, d] * %k[t, d];  yield [m, t]: a }
 *     %p = loop m over t { x = max: %s[m, t];  z = sum: exp(%s[m, t] - x);  yield [m, t]: exp(%s[m, t] - x) / z }
 *     %y = loop m, n over t { o = sum: %p[m, t] * %v[t, n];  yield [m, n]: o }
 *  =>
 *     %y = loop m, n over t within d {
 *       x = max: sum[d](%q[m, d] * %k[t, d])
 *       z = sum: exp(sum[d](..) - x)
 *       o = sum: exp(sum[d](..) - x) * %v[t, n]
 *       yield [m, n]: o / z
 *     }
 *
 * Nothing here knows what is computed. The loops share the axis that is swept; what does not vary along it leaves the
 * last sum by distributivity, through a rounding at any scale; and each carrier that still uses another must follow
 * that one's changes (`rescale.ts`), so that one sweep is enough. Whether a target has a schedule for such a loop it is
 * asked.
 */
import type { Arena } from "../tensor/arena.ts";
import type { Carrier, Graph, LoopAxis, LoopNode, LoopResult, Node, Ref, Scalar } from "../tensor/ir.ts";
import { outputsOf, rewriteGraph, topological } from "../tensor/graphs.ts";
import { rewriteScalars } from "../tensor/scalars.ts";
import { storedAs } from "./inline.ts";
import { plainAxes } from "../tensor/node-body.ts";
import { isContraction, readsOf } from "./loops.ts";
import type { Pass } from "./pass.ts";
import { isFixed, isPositive, rescaling, usesCarriers, wayOf, type Change } from "../tensor/rescale.ts";

/** `accepts`: whether the target has a schedule that streams the loop. */
export function cascade(accepts: (loop: LoopNode) => boolean): Pass<Graph> {
  return {
    name: "cascade",
    run: (graph, { arena }) => {
      const readers = readersOf(graph);
      const isOnlyRead = (node: Node): boolean => (readers.get(node) ?? 0) === 1;
      return rewriteGraph(arena, graph, (node, original) => {
        if (node !== original || node.kind !== "loop" || !isContraction(node)) return undefined;
        const made = streamed(arena, node, isOnlyRead);
        if (made === undefined || !follows(arena, made) || !accepts(made)) return undefined;
        return made.results.map((_, output) => arena.ref(made, output));
      });
    },
  };
}

/** How many nodes and outputs read each node. */
function readersOf(graph: Graph): ReadonlyMap<Node, number> {
  const counts = new Map<Node, number>();
  const add = (node: Node): void => void counts.set(node, (counts.get(node) ?? 0) + 1);
  for (const node of topological(graph))
    for (const maker of new Set(node.inputs.map((ref) => ref.node))) add(maker);
  for (const ref of outputsOf(graph)) add(ref.node);
  return counts;
}

/** Every carrier can be kept right while those that it uses change. */
function follows(arena: Arena, loop: LoopNode): boolean {
  const same = (scalar: Scalar): Scalar => scalar;
  const change: Change = {
    arena,
    isSwept: (axis) => axis >= loop.axes.length,
    after: same,
    before: same,
    way: wayOf(loop.carriers),
  };
  return loop.carriers.every(({ monoid, lift }) => rescaling(change, monoid, lift) !== undefined);
}

/** A loop that is being written, over inputs that it comes to read. */
class Writer {
  readonly #arena: Arena;
  readonly axes: readonly LoopAxis[];
  readonly over: readonly LoopAxis[];
  readonly inner: LoopAxis[] = [];
  readonly inputs: Ref[] = [];
  readonly carriers: Carrier[] = [];
  results: readonly LoopResult[] = [];

  constructor(arena: Arena, { axes, over }: LoopNode) {
    this.#arena = arena;
    this.axes = axes;
    this.over = over;
  }

  /** Scalars of another loop in this one's terms: its axes and carriers are given, `made` stands for reads. */
  take(
    from: LoopNode,
    scalars: readonly Scalar[],
    map: readonly number[],
    carrier: (k: number, scalar: Scalar) => Scalar,
    made: ReadonlyMap<Ref, Scalar> = new Map(),
  ): readonly Scalar[] {
    const arena = this.#arena;
    return rewriteScalars(arena, scalars, (s) => {
      if (s.kind === "axis") return arena.axis(map[s.axis] ?? s.axis);
      if (s.kind === "carrier") return carrier(s.carrier, s);
      if (s.kind !== "read") return s;
      const ref = from.inputs[s.input];
      if (ref === undefined) return s;
      const known = made.get(ref);
      if (known !== undefined) return known;
      const found = this.inputs.indexOf(ref);
      const position = found < 0 ? this.inputs.push(ref) - 1 : found;
      return arena.readAt(position, s.type, s.index, s.bounds, s.otherwise);
    });
  }

  loop(): LoopNode {
    const { axes, over, inner, carriers, results, inputs } = this;
    return this.#arena.loop({ axes, over, inner, carriers, results, inputs });
  }
}

function streamed(arena: Arena, last: LoopNode, isOnlyRead: (node: Node) => boolean): LoopNode | undefined {
  if (last.over.length !== 1 || last.inner.length > 0 || last.carriers.some(({ monoid }) => monoid !== "sum"))
    return undefined;
  const rows = rowsOf(last, isOnlyRead);
  if (rows === undefined) return undefined;
  const { node, map, output } = rows;
  const w = new Writer(arena, last);
  const own = (k: number, s: Scalar): Scalar => arena.carrier(k, s.type);
  const first = node.carriers.length;
  const lifts = w.take(
    node,
    node.carriers.map((c) => c.lift),
    map,
    own,
  );
  node.carriers.forEach((carrier, k) => w.carriers.push({ ...carrier, lift: lifts[k] ?? carrier.lift }));
  const result = node.results[output];
  if (result === undefined) return undefined;
  const [value = result.value] = w.take(node, [result.value], map, own);
  const made = new Map([[arena.ref(node, output), storedAs(arena, result.dtype, value)]]);
  const same = upTo(last.axes.length + 1);
  const values = new Map<number, Scalar>();
  last.carriers.forEach((carrier, k) => {
    // What left an earlier sum is there again where this one uses it.
    const [lift = carrier.lift] = w.take(last, [carrier.lift], same, (j, s) => values.get(j) ?? s, made);
    const parts = withoutFixed(arena, lift, (axis) => axis >= last.axes.length);
    w.carriers.push({ ...carrier, lift: parts.rest });
    values.set(k, timesFixed(arena, arena.carrier(first + k, lift.type), parts));
  });
  const ends = w.take(
    last,
    last.results.map((r) => r.value),
    same,
    (k, s) => values.get(k) ?? s,
  );
  w.results = last.results.map((r, k) => ({ ...r, value: ends[k] ?? r.value }));
  return simpler(arena, withProducts(arena, w.loop(), isOnlyRead));
}

interface Rows {
  readonly node: LoopNode;
  readonly output: number;
  /** The last loop's axis for each of the node's. */
  readonly map: readonly number[];
}

/** The reductions over the swept axis whose result, along that axis too, the loop reads and nobody else. */
function rowsOf(last: LoopNode, isOnlyRead: (node: Node) => boolean): Rows | undefined {
  for (const [input, { node, output }] of last.inputs.entries()) {
    if (node.kind !== "loop" || node.over.length !== 1 || node.inner.length > 0 || !isOnlyRead(node))
      continue;
    const result = node.results[output];
    if (node.results.length !== 1 || result === undefined || result.axes.length !== node.axes.length + 1)
      continue;
    if (isContraction(node)) continue;
    const reads = readsOf(last).filter((read) => read.input === input);
    const maps = reads.map((read) => {
      const axes = plainAxes(read);
      if (axes === undefined || read.bounds !== "proved") return undefined;
      const map: number[] = [];
      result.axes.forEach((axis, k) => (map[axis] = axes[k] ?? -1));
      return map;
    });
    const [map] = maps;
    if (map === undefined || maps.some((other) => other?.join() !== map.join())) continue;
    if (map[node.axes.length] === last.axes.length) return { node, output, map };
  }
  return undefined;
}

/** The loop with the sums of products that it reads at its own points made inside its bodies. */
function withProducts(arena: Arena, loop: LoopNode, isOnlyRead: (node: Node) => boolean): LoopNode {
  const w = new Writer(arena, loop);
  const points = loop.axes.length + 1;
  const made = new Map<Ref, Scalar>();
  for (const [input, ref] of loop.inputs.entries()) {
    const { node, output } = ref;
    if (node.kind !== "loop" || !isContraction(node) || !isOnlyRead(node) || node.results.length !== 1)
      continue;
    const result = node.results[output];
    const maps = readsOf(loop).flatMap((read) => (read.input === input ? [plainAxes(read)] : []));
    const [axes] = maps;
    if (result === undefined || axes === undefined || maps.some((other) => other?.join() !== axes.join()))
      continue;
    const map: number[] = [];
    result.axes.forEach((axis, k) => (map[axis] = axes[k] ?? -1));
    const first = points + w.inner.length;
    w.inner.push(...node.over);
    const along = node.over.map((_, k) => first + k);
    const whole = [...map, ...along];
    const lifts = w.take(
      node,
      node.carriers.map((c) => c.lift),
      whole,
      (_, s) => s,
    );
    const sums = node.carriers.map((c, k) => arena.reduce(c.monoid, along, lifts[k] ?? c.lift));
    const [value = result.value] = w.take(node, [result.value], whole, (k, s) => sums[k] ?? s);
    made.set(ref, storedAs(arena, result.dtype, value));
  }
  const roots = [...loop.carriers.map((c) => c.lift), ...loop.results.map((r) => r.value)];
  const taken = w.take(loop, roots, upTo(points), (_, s) => s, made);
  loop.carriers.forEach((carrier, k) => w.carriers.push({ ...carrier, lift: taken[k] ?? carrier.lift }));
  w.results = loop.results.map((r, k) => ({ ...r, value: taken[loop.carriers.length + k] ?? r.value }));
  return w.loop();
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

// ---------------------------------------------------------------- distributivity

interface Parts {
  /** What varies along the swept axis. */
  readonly rest: Scalar;
  /** Factors and divisors that do not. */
  readonly factors: readonly Scalar[];
  readonly divisors: readonly Scalar[];
  /** A part of `rest` was 0 where some condition did not hold, whatever the divisors were. */
  readonly isGuarded: boolean;
}

function withoutFixed(arena: Arena, lift: Scalar, isSwept: (axis: number) => boolean): Parts {
  const whole = (rest: Scalar): Parts => ({ rest, factors: [], divisors: [], isGuarded: false });
  const part = (s: Scalar): Parts => {
    if (!usesCarriers(s)) return whole(s);
    if (isFixed(s, isSwept)) return { rest: arena.f32(1), factors: [s], divisors: [], isGuarded: false };
    if (s.kind === "round" && s.scaled) {
      const inside = part(s.arg);
      return { ...inside, rest: arena.round(s.to, inside.rest, true) };
    }
    if (s.kind !== "apply") return whole(s);
    const [a, b, c] = s.args;
    if (s.fn === "neg" && a !== undefined) {
      const inside = part(a);
      return { ...inside, rest: arena.apply("neg", inside.rest) };
    }
    if (s.fn === "select" && a !== undefined && b !== undefined && c?.kind === "const" && c.value === 0) {
      if (usesCarriers(a)) return whole(s);
      const inside = part(b);
      return { ...inside, rest: arena.apply("select", a, inside.rest, c), isGuarded: true };
    }
    if ((s.fn !== "mul" && s.fn !== "div") || a === undefined || b === undefined) return whole(s);
    const [left, right] = [part(a), part(b)];
    const [above, below] =
      s.fn === "mul" ? (["factors", "divisors"] as const) : (["divisors", "factors"] as const);
    return {
      rest: isOne(right.rest)
        ? left.rest
        : isOne(left.rest) && s.fn === "mul"
          ? right.rest
          : arena.apply(s.fn, left.rest, right.rest),
      factors: [...left.factors, ...right[above]],
      divisors: [...left.divisors, ...right[below]],
      isGuarded: left.isGuarded || right.isGuarded,
    };
  };
  return part(lift);
}

function isOne(s: Scalar): boolean {
  return s.kind === "const" && s.value === 1;
}

/**
 * The sum with its factors. Divisors are turned once, for all of a row's columns: the turned one is a subnormal, and
 * less precise, only beyond 2^126, where two bits are lost, which is within what a quotient may be off.
 */
function timesFixed(arena: Arena, sum: Scalar, { factors, divisors, isGuarded }: Parts): Scalar {
  if (factors.length === 0 && divisors.length === 0) return sum;
  const turned = divisors.map((divisor) => arena.apply("div", arena.f32(1), divisor));
  const value = [...factors, ...turned].reduce((product, factor) => arena.apply("mul", product, factor), sum);
  const zero = arena.f32(0);
  return isGuarded ? arena.apply("select", arena.apply("eq", sum, zero), zero, value) : value;
}

function upTo(end: number): readonly number[] {
  return Array.from({ length: end }, (_, k) => k);
}
