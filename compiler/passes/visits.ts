/**
 * Finds out from data which part of a swept axis a streamed loop has to visit, before the loop runs:
 *
 *     %y = loop s over t within d { z = sum: select(eq(%doc[s], %doc[t]), exp(sum[d](..)), 0)  .. }
 *  =>
 *     %ends = loop i in S / 64 over u in 64 { least = min: %doc[64 i + u];  most = max: %doc[64 i + u] }
 *     %seen = loop i over j in T / 64 { from = min: where blocks i and j may share a value, 64 j;  .. }
 *     %y = loop s over t within d { z = sum: select(bounded(eq(..), %from[s / 64] <= t < %below[s / 64], ..), .., 0) }
 *
 * A condition that compares places needs none of this (`tensor/conditions.ts`). One that reads tensors is evaluated over
 * blocks, in interval arithmetic on the least and the greatest of what it reads: where no point of a block can meet it,
 * the block is not visited, and from the first to the last of neighbours where all points do, it is not asked. The
 * condition itself stays, so that the result is the same whatever the intervals say.
 */
import type { Arena } from "../tensor/arena.ts";
import { boundsOf, conditionsOf } from "../tensor/conditions.ts";
import { rewriteGraph } from "../tensor/graphs.ts";
import type { Graph, LoopAxis, LoopNode, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { isKnownOfTile, mostRows, rowAxesOf } from "../tensor/row-places.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";
import type { Caps } from "../types/caps.ts";
import { ceildiv, constant, type Dim } from "../types/dim.ts";
import { costOf } from "./cost.ts";
import { axesOf, factorsOf } from "./loops.ts";
import { intervalOf, type Interval } from "./intervals.ts";
import type { Pass } from "./pass.ts";

/** Neighbours that are looked at together. */
const block = 64;
/** With fewer blocks there is little to leave out. */
const fewestBlocks = 4;
/** Tensors that tell what a condition leaves: where it may hold, and where it surely does. */
const endsOfCondition = 4;
/** What is found has to be a small part of the loop's time. */
const launchSeconds = 3e-6;
const smallPart = 0.1;

export function visits(device: Pick<Caps, "flops" | "maxBuffers">): Pass<Graph> {
  return {
    name: "visits",
    run: (graph, { arena }) =>
      rewriteGraph(arena, graph, (node, original) => {
        if (node !== original || node.kind !== "loop" || !pays(node, device)) return undefined;
        const made = withVisits(arena, node, device.maxBuffers);
        return made?.results.map((_, output) => arena.ref(made, output));
      }),
  };
}

/** A loop that streams products, long enough. */
function pays(loop: LoopNode, device: Pick<Caps, "flops">): boolean {
  const [swept] = loop.over;
  if (swept === undefined || loop.over.length !== 1 || loop.inner.length === 0) return false;
  const extent = known(swept.extent);
  if (extent !== undefined && extent < fewestBlocks * block) return false;
  const flops = known(costOf(loop).flops);
  return flops === undefined || 3 * launchSeconds < smallPart * (flops / device.flops.matrix16);
}

function known(dim: Dim): number | undefined {
  return dim.kind === "const" ? dim.value : undefined;
}

/** What is found takes buffers, of which a kernel may have so many. */
function withVisits(arena: Arena, loop: LoopNode, maxBuffers: number): LoopNode | undefined {
  const swept = loop.axes.length;
  const isBound = boundBy(loop);
  const inputs = [...loop.inputs];
  const hinted = new Map<Scalar, Scalar>();
  for (const condition of conditionsOf(loop)) {
    const isPlace = (s: Scalar): boolean => reachable([s]).every((part) => part.kind !== "read");
    if (isPlace(condition) || boundsOf(condition, swept, isBound).length > 0) continue;
    if (inputs.length + endsOfCondition + loop.results.length > maxBuffers) continue;
    const found = new Condition(arena, loop, condition).ranges();
    if (found === undefined) continue;
    const [from, below, wholeFrom, wholeBelow] = found.ends.map((end) =>
      arena.read(inputs, end, found.index),
    );
    if (from === undefined || below === undefined || wholeFrom === undefined || wholeBelow === undefined)
      continue;
    const between = (low: Scalar, high: Scalar): Scalar =>
      arena.apply(
        "and",
        arena.apply("le", low, arena.axis(swept)),
        arena.apply("lt", arena.axis(swept), high),
      );
    const hint = arena.apply("bounded", condition, between(from, below), between(wholeFrom, wholeBelow));
    hinted.set(condition, hint);
  }
  if (hinted.size === 0) return undefined;
  const lifts = rewriteScalars(
    arena,
    loop.carriers.map((carrier) => carrier.lift),
    (s) => hinted.get(s) ?? s,
  );
  const carriers = loop.carriers.map((carrier, k) => ({ ...carrier, lift: lifts[k] ?? carrier.lift }));
  return arena.loop({ ...loop, carriers, inputs });
}

/** What a tile of rows knows of itself. */
function boundBy(loop: LoopNode): (scalar: Scalar) => boolean {
  const products = reachable(loop.carriers.map((carrier) => carrier.lift)).filter((s) => s.kind === "reduce");
  // Rows are what some of a product's factors move along, and not all.
  const factors = products.flatMap(({ arg }) => factorsOf(arg).map(axesOf));
  const has = (set: number, axis: number): boolean => ((set >> axis) & 1) === 1;
  const axes = loop.axes
    .map((_, axis) => axis)
    .filter((axis) => factors.some((set) => has(set, axis)) && !factors.every((set) => has(set, axis)));
  const rows = rowAxesOf(loop, axes, mostRows);
  return (scalar) => isKnownOfTile(scalar, loop, rows);
}

interface Ranges {
  /** From which place of the swept axis some point counts, and below which; the same of where all do. */
  readonly ends: readonly Ref[];
  /** Where they are read in the loop. */
  readonly index: readonly Scalar[];
}

/** One condition of a loop, over blocks of its longest axis and of the swept one. */
class Condition {
  readonly #arena: Arena;
  readonly #loop: LoopNode;
  readonly #condition: Scalar;
  readonly #all: readonly LoopAxis[];
  readonly #swept: number;
  /** The axis of rows that is looked at in blocks, and those at each of whose places the ranges are found. */
  readonly #rows: number | undefined;
  readonly #others: readonly number[];

  constructor(arena: Arena, loop: LoopNode, condition: Scalar) {
    this.#arena = arena;
    this.#loop = loop;
    this.#condition = condition;
    this.#all = [...loop.axes, ...loop.over];
    this.#swept = loop.axes.length;
    const own = this.#axesOf(condition).filter((axis) => axis !== this.#swept);
    const length = (axis: number): number => known(this.#axis(axis).extent) ?? Infinity;
    const longest = own.reduce<number | undefined>(
      (a, b) => (a === undefined || length(b) >= length(a) ? b : a),
      undefined,
    );
    this.#rows = longest !== undefined && length(longest) > block ? longest : undefined;
    this.#others = own.filter((axis) => axis !== this.#rows);
  }

  #axis(k: number): LoopAxis {
    return this.#all[k] ?? { name: "axis", extent: constant(1) };
  }

  #axesOf(scalar: Scalar): number[] {
    const found = new Set<number>();
    for (const s of reachable([scalar])) if (s.kind === "axis") found.add(s.axis);
    return [...found].sort((a, b) => a - b);
  }

  ranges(): Ranges | undefined {
    const arena = this.#arena;
    const parts = reachable([this.#condition]);
    if (parts.some(({ kind }) => kind === "carrier" || kind === "reduce")) return undefined;
    if (!this.#axesOf(this.#condition).includes(this.#swept)) return undefined;
    const axes = [...this.#others, ...(this.#rows === undefined ? [] : [this.#rows])];
    const inputs: Ref[] = [];
    const places = new Map([...axes, this.#swept].map((axis, k) => [axis, arena.axis(k)] as const));
    const truth = intervalOf(arena, this.#condition, (leaf) => this.#leaf(leaf, places, inputs));
    if (truth === undefined) return undefined;
    const extent = arena.dim(this.#axis(this.#swept).extent);
    const start = arena.apply("mul", arena.axis(axes.length), arena.i32(block));
    const end = arena.apply("min", arena.apply("add", start, arena.i32(block)), extent);
    const { least: whole, most: some } = truth;
    const first = arena.carrier(2, "i32");
    const isAfter = arena.apply("ge", start, first);
    const carrier = (
      name: string,
      monoid: string,
      when: Scalar,
      value: Scalar,
      otherwise: Scalar,
    ): Carried => ({
      name,
      monoid,
      lift: arena.apply("select", when, value, otherwise),
    });
    const carriers = [
      carrier("from", "min", some, start, extent),
      carrier("below", "max", some, end, arena.i32(0)),
      carrier("whole_from", "min", whole, start, extent),
      carrier("whole_below", "min", arena.apply("and", arena.apply("not", whole), isAfter), start, extent),
    ];
    const seen = this.#named(
      arena.loop({
        axes: axes.map((axis) => (axis === this.#rows ? this.#blocked(axis) : this.#axis(axis))),
        over: [this.#blocked(this.#swept)],
        carriers,
        results: carriers.map((_, k) => ({
          value: arena.carrier(k, "i32"),
          dtype: "i32",
          axes: axes.map((__, axis) => axis),
        })),
        inputs,
      }),
      carriers.map(({ name }) => `seen_${name}`),
    );
    return { ends: seen, index: axes.map((axis) => this.#placeOf(axis)) };
  }

  #blocked(axis: number): LoopAxis {
    const { name, extent } = this.#axis(axis);
    return { name: `${name}_block`, extent: ceildiv(extent, constant(block)) };
  }

  /** Where an axis of the loop stands among those that the ranges are found at. */
  #placeOf(axis: number): Scalar {
    const place = this.#arena.axis(axis);
    return axis === this.#rows ? this.#arena.apply("floordiv", place, this.#arena.i32(block)) : place;
  }

  #isBlocked(axis: number): boolean {
    return axis === this.#rows || axis === this.#swept;
  }

  /** A place of a block; the last block may be short, and then its last place stands for the rest. */
  #inside(axis: number, place: Scalar): Scalar {
    const { extent } = this.#axis(axis);
    if ((known(extent) ?? 1) % block === 0) return place;
    const last = this.#arena.apply("add", this.#arena.dim(extent), this.#arena.i32(-1));
    return this.#arena.apply("min", place, last);
  }

  /** What an axis or an element is over a block, read where the ranges are found. */
  #leaf(leaf: Scalar, places: ReadonlyMap<number, Scalar>, inputs: Ref[]): Interval | undefined {
    const arena = this.#arena;
    if (leaf.kind === "axis") {
      const place = places.get(leaf.axis);
      if (place === undefined) return undefined;
      if (!this.#isBlocked(leaf.axis)) return { least: place, most: place };
      const least = arena.apply("mul", place, arena.i32(block));
      return { least, most: this.#inside(leaf.axis, arena.apply("add", least, arena.i32(block - 1))) };
    }
    if (leaf.kind !== "read" || (leaf.type !== "i32" && leaf.type !== "bool")) return undefined;
    const own = this.#axesOf(leaf);
    if (!own.some((axis) => this.#isBlocked(axis))) {
      const [same = leaf] = this.#moved(leaf, places, inputs);
      return { least: same, most: same };
    }
    const ends = this.#endsOf(leaf, own);
    const index = own.map((axis) => places.get(axis)).filter((place) => place !== undefined);
    const [least, most] = ends.map((end) => arena.read(inputs, end, index));
    return least === undefined || most === undefined ? undefined : { least, most };
  }

  /** The least and the greatest element of each block. */
  #endsOf(leaf: ScalarRead, own: readonly number[]): readonly Ref[] {
    const arena = this.#arena;
    const blocked = own.filter((axis) => this.#isBlocked(axis));
    const inputs: Ref[] = [];
    const places = new Map<number, Scalar>();
    own.forEach((axis, k) => {
      if (!this.#isBlocked(axis)) return void places.set(axis, arena.axis(k));
      const within = arena.axis(own.length + blocked.indexOf(axis));
      const place = arena.apply("add", arena.apply("mul", arena.axis(k), arena.i32(block)), within);
      places.set(axis, this.#inside(axis, place));
    });
    const [lift = leaf] = this.#moved(leaf, places, inputs);
    const monoids = leaf.type === "bool" ? ["all", "any"] : ["min", "max"];
    const source = this.#loop.inputs[leaf.input];
    const name = source === undefined ? "value" : nameOf(arena, source);
    return this.#named(
      arena.loop({
        axes: own.map((axis) => (this.#isBlocked(axis) ? this.#blocked(axis) : this.#axis(axis))),
        over: blocked.map((axis) => ({ name: this.#axis(axis).name, extent: constant(block) })),
        carriers: monoids.map((monoid, k) => ({ name: k === 0 ? "least" : "most", monoid, lift })),
        results: monoids.map((_, k) => ({
          value: arena.carrier(k, leaf.type),
          dtype: leaf.type === "bool" ? "bool" : "i32",
          axes: own.map((__, axis) => axis),
        })),
        inputs,
      }),
      [`${name}_least`, `${name}_most`],
    );
  }

  /** The element at other places, in a loop with inputs of its own. */
  #moved(leaf: ScalarRead, places: ReadonlyMap<number, Scalar>, inputs: Ref[]): readonly Scalar[] {
    const arena = this.#arena;
    return rewriteScalars(arena, [leaf], (s) => {
      if (s.kind === "axis") return places.get(s.axis) ?? s;
      const ref = s.kind === "read" ? this.#loop.inputs[s.input] : undefined;
      return s.kind === "read" && ref !== undefined
        ? arena.read(inputs, ref, s.index, s.bounds, s.otherwise)
        : s;
    });
  }

  #named(node: LoopNode, names: readonly string[]): readonly Ref[] {
    return names.map((name, output) => {
      const ref = this.#arena.ref(node, output);
      this.#arena.setHint(ref, name);
      return ref;
    });
  }
}

type Carried = LoopNode["carriers"][number];

function nameOf(arena: Arena, ref: Ref): string {
  return ref.node.kind === "input" ? ref.node.name : (arena.hint(ref) ?? "value");
}
