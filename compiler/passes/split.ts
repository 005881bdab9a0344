/**
 * Splits a long reduction over too few results in two loops, so that all of a device has work.
 *
 *     %y = loop n over k in 16384 {            %p = loop n, part in 8 over k in 2048 {
 *       s = sum: %x[k, n]                 =>     s = sum: %x[part * 2048 + k, n]   yield f32[part, n]: s }
 *       yield bf16[n]: bf16(s) }               %y = loop n over part in 8 {
 *                                                s = sum: %p[part, n]   yield bf16[n]: bf16(s) }
 *
 * Every monoid is associative, so the parts combine by the monoid itself; the order is fixed, and the result the same
 * in each run. A reduction that uses earlier ones is made in each part with that part's own, and rescaled to the whole
 * as the parts combine (`rescale.ts`): then a row that is too long to be held is read once, not once a reduction.
 *
 * A loop that streams products into products is cut where its tiles of rows are too few for the device: one query at a
 * long cache.
 *
 * It is done where counted bytes say that it pays: the partial results are written and read again, and there is one
 * launch more.
 */
import type { Arena } from "../tensor/arena.ts";
import type { Carrier, Graph, LoopAxis, LoopNode, Ref, Scalar } from "../tensor/ir.ts";
import { rewriteGraph } from "../tensor/graphs.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";
import { typeOf } from "../tensor/refs.ts";
import type { Caps } from "../types/caps.ts";
import { constant } from "../types/dim.ts";
import { dtypes } from "../types/dtype.ts";
import { axesOf, factorsOf, isContraction, readsOf } from "./loops.ts";
import type { Pass } from "./pass.ts";
import { rescaled, wayOf, type Change } from "../tensor/rescale.ts";

export type Device = Pick<Caps, "units" | "bandwidth" | "maxThreads">;

/** What a source asks: how many parts sums over an axis are cut in; 1: they are not. */
export interface SplitWish {
  readonly axis: string;
  readonly parts: number;
  /** Told for each loop over the axis: why it cannot be, or undefined where it was done. */
  readonly answer: (problem: string | undefined) => void;
}

export interface SplitOptions {
  readonly wishes: readonly SplitWish[];
  /** Told of each loop that is split, by its first reduced axis. */
  readonly note: (axis: LoopAxis, parts: number) => void;
}

const unasked: SplitOptions = { wishes: [], note: () => undefined };

/**
 * Splits for a device with so many units, each of which runs one block at a time, about. `streams`: whether the target
 * has a schedule for a loop that streams products into products.
 */
export function split(
  device: Device,
  options: SplitOptions = unasked,
  streams: (loop: LoopNode, arena: Arena) => boolean = () => false,
): Pass<Graph> {
  return {
    name: "split",
    run: (graph, { arena }) =>
      rewriteGraph(arena, graph, (node) => {
        const [first] = node.kind === "loop" ? node.over : [];
        if (node.kind !== "loop" || first === undefined) return undefined;
        const wish = options.wishes.find(({ axis }) => first.size === axis || first.name === axis);
        const parts =
          wish === undefined
            ? (partsOf(node, device) ?? partsToHold(node, device) ?? partsOfStream(node, device))
            : askedParts(node, wish);
        if (parts === undefined) return undefined;
        const made = splitLoop(arena, node, parts, streams);
        wish?.answer(made === undefined ? `what is summed over ${wish.axis} uses an earlier sum` : undefined);
        if (made !== undefined) options.note(first, parts);
        return made;
      }),
  };
}

/** The parts that a wish asks for, where they can be had; the wish is told where not. */
function askedParts(loop: LoopNode, { axis, parts, answer }: SplitWish): number | undefined {
  const [first] = loop.over;
  const extent = first === undefined ? undefined : known(first);
  const problem =
    parts === 1
      ? undefined
      : extent === undefined
        ? `${axis} is not known before the launch, so it cannot be cut in ${parts} parts`
        : extent % parts !== 0
          ? `${extent} = ${axis} is not a multiple of ${parts} parts`
          : isReduction(loop)
            ? undefined
            : `a result ranges over ${axis} too`;
  if (parts === 1 || problem !== undefined) {
    answer(problem);
    return undefined;
  }
  return parts;
}

/** Seconds that one launch more takes. */
const launchSeconds = 3e-6;
/** It has to gain a fifth. */
const gain = 0.8;
/** Of a contraction a part is whole steps of a matrix unit, and some of them. */
const stepDepth = 64;
const fewestSteps = 8;
/** Of another reduction a part is some elements. */
const fewestElements = 32;
/** Results that one block makes: a square of a contraction; neighbours where memory lies along them. */
const tileSide = 64;
/** With fewer rows or columns a contraction is not made of tiles. */
const narrowest = 4;
const neighbours = 128;
/** Threads of a block that hold a row, elements of each, and elements of the widest access. */
const heldThreads = 1024;
const heldElements = 16;
const widest = 16;

/** How many parts the first reduced axis is cut in; undefined: none. */
function partsOf(loop: LoopNode, device: Device): number | undefined {
  const [first] = loop.over;
  const extent = first === undefined ? undefined : known(first);
  const points = volume(loop.axes);
  const reduced = volume(loop.over);
  if (extent === undefined || points === undefined || reduced === undefined) return undefined;
  if (!isReduction(loop) || isLinked(loop) || loop.inner.length > 0) return undefined;

  // A vector times a matrix is no work for a matrix unit: it is a sum of rows.
  const tiles = isContraction(loop) ? tilesOf(loop) : undefined;
  const contraction = tiles !== undefined;
  const blocks = tiles ?? (liesAcross(loop) ? Math.ceil(points / neighbours) : points);
  if (blocks * 2 > device.units) return undefined;
  const chunk = contraction ? stepDepth : 1;
  const least = contraction ? fewestSteps * stepDepth : fewestElements;
  // Contractions fill the device once; other reductions twice, since a block alone does not keep its unit busy.
  const wanted = Math.floor(((contraction ? 1 : 2) * device.units) / blocks);
  for (let parts = Math.min(wanted, Math.floor(extent / least)); parts >= 2; parts -= 1) {
    if (extent % (parts * chunk) !== 0) continue;
    const read = loop.inputs.reduce((sum, ref) => sum + bytesOf(ref), 0) / device.bandwidth;
    const partial = (8 * parts * points * loop.carriers.length) / device.bandwidth;
    const idle = (count: number): number => Math.max(1, device.units / count);
    return read * idle(blocks * parts) + partial + launchSeconds < gain * read * idle(blocks)
      ? parts
      : undefined;
  }
  return undefined;
}

/** Places of the swept axis in a part of a loop that streams, at least: some blocks of it. */
const leastStreamed = 256;

/**
 * Parts of a loop that streams products into products, where its tiles of rows are too few for the device: each then
 * sweeps a part. Bytes are counted as if no tile shared what it streams by; one unit has its share of the bandwidth.
 */
function partsOfStream(loop: LoopNode, device: Device): number | undefined {
  const [first, ...rest] = loop.over;
  const extent = first === undefined ? undefined : known(first);
  const points = volume(loop.axes);
  if (extent === undefined || points === undefined || rest.length > 0 || loop.inner.length === 0)
    return undefined;
  const { tiles, n } = tilesOfStream(loop) ?? { tiles: device.units, n: 1 };
  if (tiles * 2 > device.units) return undefined;
  const bytes = 2 * extent * ((volume(loop.inner) ?? n) + n);
  const wanted = Math.min(Math.floor(device.units / tiles), Math.floor(extent / leastStreamed));
  for (let parts = wanted; parts >= 2; parts -= 1) {
    if (extent % (parts * stepDepth) !== 0) continue;
    const seconds = (bytes * device.units) / device.bandwidth;
    const partial = (8 * parts * points) / device.bandwidth;
    return seconds / parts + partial + launchSeconds < gain * seconds ? parts : undefined;
  }
  return undefined;
}

/** Tiles of rows of a loop that streams products into products, about, and its columns; undefined: it does not. */
export function tilesOfStream(loop: LoopNode): { readonly tiles: number; readonly n: number } | undefined {
  const sum = loop.carriers.findLast(({ lift }) => factorsOf(lift).length === 2);
  const factors = sum === undefined ? [] : factorsOf(sum.lift);
  // Rows are where what is made in the loop moves.
  const made = factors.findIndex((one) => reachable([one]).some(({ kind }) => kind === "reduce"));
  const [left, right] = [factors[made], factors[1 - made]].map((one) =>
    one === undefined ? 0 : axesOf(one),
  );
  if (left === undefined || right === undefined || made < 0) return undefined;
  let [m, n, batch] = [1, 1, 1];
  for (const [k, axis] of loop.axes.entries()) {
    const size = known(axis) ?? 1;
    const [inLeft, inRight] = [(left >> k) & 1, (right >> k) & 1];
    if (inLeft === inRight) batch *= size;
    else if (inLeft === 1) m *= size;
    else n *= size;
  }
  const tiles = batch * Math.ceil(m / tileSide);
  return { tiles, n };
}

/** A row that linked reductions sweep is cut in parts that a block can hold; undefined: it holds it, or reads it once. */
function partsToHold(loop: LoopNode, device: Device): number | undefined {
  const [first, ...rest] = loop.over;
  const extent = first === undefined ? undefined : known(first);
  const points = volume(loop.axes);
  if (extent === undefined || points === undefined || rest.length > 0) return undefined;
  if (loop.inner.length > 0) return undefined;
  if (!isReduction(loop) || !isLinked(loop) || isContraction(loop) || liesAcross(loop)) return undefined;
  const held = Math.min(device.maxThreads, heldThreads) * heldElements;
  // One thread a block sweeps what is in a cache; there is nothing to hold.
  if (device.maxThreads === 1 || extent <= 2 * held) return undefined;
  for (let parts = Math.ceil(extent / held); parts <= (extent * 2) / held; parts += 1) {
    if (extent % (parts * widest) !== 0) continue;
    const read = loop.inputs.reduce((sum, ref) => sum + bytesOf(ref), 0) / device.bandwidth;
    const partial = (8 * parts * points * loop.carriers.length) / device.bandwidth;
    return partial + launchSeconds < (1 - gain) * read ? parts : undefined;
  }
  return undefined;
}

function isReduction(loop: LoopNode): boolean {
  const isPlain = loop.results.every((result) => result.axes.length <= loop.axes.length);
  return loop.carriers.length > 0 && isPlain;
}

/** True where a carrier uses another. */
function isLinked(loop: LoopNode): boolean {
  return reachable(loop.carriers.map((carrier) => carrier.lift)).some((s) => s.kind === "carrier");
}

function known(axis: LoopAxis): number | undefined {
  return axis.extent.kind === "const" ? axis.extent.value : undefined;
}

function volume(axes: readonly LoopAxis[]): number | undefined {
  let product = 1;
  for (const axis of axes) {
    const extent = known(axis);
    if (extent === undefined) return undefined;
    product *= extent;
  }
  return product;
}

/** A size that is not known counts as one. */
function bytesOf(ref: Ref): number {
  const { shape, dtype } = typeOf(ref);
  return (
    shape.reduce((product, extent) => product * (extent.kind === "const" ? extent.value : 1), 1) *
    dtypes[dtype].bytes
  );
}

/** Tiles that a contraction's results make, each side of which belongs to one factor; undefined: a side is too narrow for any. */
function tilesOf(loop: LoopNode): number | undefined {
  const [carrier] = loop.carriers;
  const [left, right] = carrier === undefined ? [] : factorsOf(carrier.lift).map(axesOf);
  if (left === undefined || right === undefined) return undefined;
  let [m, n, batch] = [1, 1, 1];
  for (const [k, axis] of loop.axes.entries()) {
    const extent = known(axis) ?? 1;
    const [inLeft, inRight] = [(left >> k) & 1, (right >> k) & 1];
    if (inLeft === inRight) batch *= extent;
    else if (inLeft === 1) m *= extent;
    else n *= extent;
  }
  if (Math.min(m, n) < narrowest) return undefined;
  return batch * Math.ceil(m / tileSide) * Math.ceil(n / tileSide);
}

/** True where neighbours in memory belong to different results: of what is swept, not of what is read once a result. */
function liesAcross(loop: LoopNode): boolean {
  const rank = loop.axes.length;
  return readsOf(loop).some((read) => {
    const last = read.index.at(-1);
    return last?.kind === "axis" && last.axis < rank && axesOf(read) >= 2 ** rank;
  });
}

/** Undefined where a carrier cannot be rescaled, or the target has no schedule for a part that streams. */
function splitLoop(
  arena: Arena,
  loop: LoopNode,
  parts: number,
  streams: (loop: LoopNode, arena: Arena) => boolean,
): readonly Ref[] | undefined {
  const rank = loop.axes.length;
  const [first, ...rest] = loop.over;
  const extent = first === undefined ? 0 : (known(first) ?? 0);
  const chunk = extent / parts;
  const part: LoopAxis = { name: "part", extent: constant(parts) };
  const position = arena.apply(
    "add",
    arena.apply("mul", arena.axis(rank), arena.const("i32", chunk)),
    arena.axis(rank + 1),
  );
  const lifts = moveAxes(arena, loop, position, chunk);
  const along = axesOfCarriers(loop);
  const partial = arena.loop({
    axes: [...loop.axes, part],
    over: [{ name: first?.name ?? "k", extent: constant(chunk), size: first?.size }, ...rest],
    inner: loop.inner,
    carriers: loop.carriers.map((carrier, k) => ({ ...carrier, lift: lifts[k] ?? carrier.lift })),
    // The parts lie apart, each as the results would.
    results: loop.carriers.map((carrier, k) => ({
      value: arena.carrier(k, carrier.lift.type),
      dtype: carrier.lift.type,
      axes: [rank, ...(along[k] ?? [])],
    })),
    inputs: loop.inputs,
  });
  if (loop.inner.length > 0 && !streams(partial, arena)) return undefined;
  const inputs: Ref[] = [...loop.inputs];
  const made = loop.carriers.map((_, k) =>
    arena.read(
      inputs,
      arena.ref(partial, k),
      [rank, ...(along[k] ?? [])].map((axis) => arena.axis(axis)),
    ),
  );
  const change: Change = {
    arena,
    isSwept: (axis) => axis >= rank,
    after: (scalar) => scalar,
    way: wayOf(loop.carriers),
    before: (scalar) =>
      rewriteScalars(arena, [scalar], (s) => (s.kind === "carrier" ? (made[s.carrier] ?? s) : s))[0] ??
      scalar,
  };
  const carriers: Carrier[] = [];
  for (const [k, carrier] of loop.carriers.entries()) {
    const own = made[k];
    const lift = own === undefined ? undefined : rescaled(change, carrier.monoid, carrier.lift, own);
    if (lift === undefined) return undefined;
    carriers.push({ ...carrier, lift });
  }
  const whole = arena.loop({
    axes: loop.axes,
    over: [part],
    carriers,
    results: loop.results,
    inputs,
  });
  return loop.results.map((_, output) => arena.ref(whole, output));
}

/**
 * The axes that each part of a carrier is written along: all, but for a loop that streams products or has results
 * along fewer, where a row's reductions are not written again for each column.
 */
function axesOfCarriers(loop: LoopNode): readonly (readonly number[])[] {
  const all = loop.axes.map((_, axis) => axis);
  const isNarrow = loop.results.some((result) => result.axes.length < loop.axes.length);
  if (loop.inner.length === 0 && !isNarrow) return loop.carriers.map(() => all);
  const sets: number[] = [];
  for (const { lift } of loop.carriers) {
    let set = axesOf(lift);
    for (const s of reachable([lift])) if (s.kind === "carrier") set |= sets[s.carrier] ?? 0;
    sets.push(set);
  }
  return sets.map((set) => all.filter((axis) => ((set >> axis) & 1) === 1));
}

/**
 * The lifts with the first reduced axis as a position in its part, the others one further. In blocks that a part is
 * whole numbers of, the position within one, and the block's number, are the part's own.
 */
function moveAxes(arena: Arena, loop: LoopNode, position: Scalar, chunk: number): readonly Scalar[] {
  const rank = loop.axes.length;
  const within = arena.axis(rank + 1);
  return rewriteScalars(
    arena,
    loop.carriers.map((carrier) => carrier.lift),
    (scalar) => {
      if (scalar.kind === "reduce")
        return arena.reduce(
          scalar.monoid,
          scalar.axes.map((axis) => axis + 1),
          scalar.arg,
        );
      if (scalar.kind === "axis" && scalar.axis >= rank)
        return scalar.axis === rank ? position : arena.axis(scalar.axis + 1);
      if (scalar.kind !== "apply" || scalar.args[0] !== position) return scalar;
      const [, divisor] = scalar.args;
      const size = divisor?.kind === "const" ? Number(divisor.value) : 0;
      if (divisor === undefined || size < 1 || chunk % size !== 0) return scalar;
      if (scalar.fn === "mod") return arena.apply("mod", within, divisor);
      if (scalar.fn !== "floordiv") return scalar;
      const before = arena.apply("mul", arena.axis(rank), arena.const("i32", chunk / size));
      return arena.apply("add", before, arena.apply("floordiv", within, divisor));
    },
  );
}
