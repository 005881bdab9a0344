/**
 * Splits a long reduction over too few results in two loops, so that all of a device has work.
 *
 *     %y = loop n over k in 16384 {            %p = loop n, part in 8 over k in 2048 {
 *       s = sum: %x[k, n]                 =>     s = sum: %x[part * 2048 + k, n]   yield f32[part, n]: s }
 *       yield bf16[n]: bf16(s) }               %y = loop n over part in 8 {
 *                                                s = sum: %p[part, n]   yield bf16[n]: bf16(s) }
 *
 * Every monoid is associative, so the parts combine by the monoid itself; the order is fixed, and the result the same
 * in each run. It is done where counted bytes say that it pays: the partial results are written and read again, and
 * there is one launch more.
 */
import type { Arena } from "../tensor/arena.ts";
import type { Graph, LoopAxis, LoopNode, Ref, Scalar } from "../tensor/ir.ts";
import { rewriteGraph } from "../tensor/graphs.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";
import { typeOf } from "../tensor/refs.ts";
import type { Caps } from "../types/caps.ts";
import { constant } from "../types/dim.ts";
import { dtypes } from "../types/dtype.ts";
import { axesOf, factorsOf, isContraction, readsOf } from "./loops.ts";
import type { Pass } from "./pass.ts";

export type Device = Pick<Caps, "units" | "bandwidth">;

/** Splits for a device with so many units, each of which runs one block at a time, about. */
export function split(device: Device): Pass<Graph> {
  return {
    name: "split",
    run: (graph, { arena }) =>
      rewriteGraph(arena, graph, (node) => {
        if (node.kind !== "loop") return undefined;
        const parts = partsOf(node, device);
        return parts === undefined ? undefined : splitLoop(arena, node, parts);
      }),
  };
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
const neighbours = 128;

/** How many parts the first reduced axis is cut in; undefined: none. */
function partsOf(loop: LoopNode, device: Device): number | undefined {
  const [first] = loop.over;
  const extent = first === undefined ? undefined : known(first);
  const points = volume(loop.axes);
  const reduced = volume(loop.over);
  if (extent === undefined || points === undefined || reduced === undefined) return undefined;
  const usesCarriers = reachable(loop.carriers.map((c) => c.lift)).some((s) => s.kind === "carrier");
  const isReduction = loop.results.every((result) => result.axes.length === loop.axes.length);
  if (loop.carriers.length === 0 || usesCarriers || !isReduction) return undefined;

  const contraction = isContraction(loop);
  const blocks = contraction ? tilesOf(loop) : liesAcross(loop) ? Math.ceil(points / neighbours) : points;
  if (blocks === undefined || blocks * 2 > device.units) return undefined;
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

/** Tiles that a contraction's results make, each side of which belongs to one factor. */
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
  return batch * Math.ceil(m / tileSide) * Math.ceil(n / tileSide);
}

/** True where neighbours in memory belong to different results. */
function liesAcross(loop: LoopNode): boolean {
  return readsOf(loop).some((read) => {
    const last = read.index.at(-1);
    return last?.kind === "axis" && last.axis < loop.axes.length;
  });
}

function splitLoop(arena: Arena, loop: LoopNode, parts: number): readonly Ref[] {
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
  const lifts = moveAxes(arena, loop, position);
  const partial = arena.loop({
    axes: [...loop.axes, part],
    over: [{ name: first?.name ?? "k", extent: constant(chunk) }, ...rest],
    carriers: loop.carriers.map((carrier, k) => ({ ...carrier, lift: lifts[k] ?? carrier.lift })),
    // The parts lie apart, each as the results would.
    results: loop.carriers.map((carrier, k) => ({
      value: arena.carrier(k, carrier.lift.type),
      dtype: carrier.lift.type,
      axes: [rank, ...loop.axes.map((_, axis) => axis)],
    })),
    inputs: loop.inputs,
  });
  const inputs: Ref[] = [...loop.inputs];
  const index = [arena.axis(rank), ...loop.axes.map((_, axis) => arena.axis(axis))];
  const whole = arena.loop({
    axes: loop.axes,
    over: [part],
    carriers: loop.carriers.map((carrier, k) => ({
      ...carrier,
      lift: arena.read(inputs, arena.ref(partial, k), index),
    })),
    results: loop.results,
    inputs,
  });
  return loop.results.map((_, output) => arena.ref(whole, output));
}

/** The lifts with the first reduced axis as a position in its part, the others one further. */
function moveAxes(arena: Arena, loop: LoopNode, position: Scalar): readonly Scalar[] {
  const rank = loop.axes.length;
  return rewriteScalars(
    arena,
    loop.carriers.map((carrier) => carrier.lift),
    (scalar) => {
      if (scalar.kind !== "axis" || scalar.axis < rank) return scalar;
      return scalar.axis === rank ? position : arena.axis(scalar.axis + 1);
    },
  );
}
