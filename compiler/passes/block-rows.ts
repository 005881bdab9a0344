/**
 * Takes the loop over blocks of a row into the loop that reduces the row, so that the row is read once:
 *
 *     %r = loop n over d in 7168 { s = sum: %x[n, d] * %x[n, d];  yield [n]: rsqrt(s) }
 *     %s, %q = loop n, b over i in 128 {
 *       m = max: abs(%x[n, 128 b + i] * %r[n]);  yield [n, b]: m;  yield [n, (b i)]: %x[n, 128 b + i] * %r[n] / m
 *     }
 *  =>
 *     %s, %q = loop n over b, i in 128 within j in 128 {
 *       s = sum: %x[n, 128 b + i] * %x[n, 128 b + i]
 *       let r = rsqrt(s), m = max[j](abs(%x[n, 128 b + j] * r))
 *       yield [n, b]: m;  yield [n, (b i)]: %x[n, 128 b + i] * r / m
 *     }
 *
 * The reductions of blocks become reductions inside bodies, over the places of the block that a point is in. Whether a
 * target can hold a row meanwhile it is asked.
 */
import type { Arena } from "../tensor/arena.ts";
import { carryNames, outputsOfNode, topological } from "../tensor/graphs.ts";
import type { Graph, LoopNode, LoopResult, Node, Ref, Scalar } from "../tensor/ir.ts";
import { monoidOf } from "../tensor/monoids.ts";
import { reachable } from "../tensor/scalars.ts";
import { ceildiv, constant, dimEquals, mod, sub } from "../types/dim.ts";
import { needs, readersOf, withReplaced, type BlockOptions, type Readers } from "./blocks.ts";
import { storedAs } from "./inline.ts";
import { LoopWriter, type MadeRead } from "./loop-writer.ts";
import { isContraction, readsOf } from "./loops.ts";

export function joinRows(arena: Arena, graph: Graph, options: BlockOptions): Graph {
  let current = graph;
  for (let next = joinOne(arena, current, options); next !== undefined;) {
    current = next;
    next = joinOne(arena, current, options);
  }
  return current;
}

function joinOne(arena: Arena, graph: Graph, options: BlockOptions): Graph | undefined {
  let readers: Readers | undefined;
  for (const blocks of topological(graph)) {
    if (blocks.kind !== "loop" || blocks.over.length !== 1 || blocks.inner.length > 0) continue;
    // Without a result for each element there is nothing that a row would be held for.
    if (!blocks.results.some(({ axes }) => axes.length > blocks.axes.length)) continue;
    for (const { node: rows } of blocks.inputs) {
      if (rows.kind !== "loop" || rows.over.length !== 1 || rows.inner.length > 0 || isContraction(rows))
        continue;
      const map = rowMap(rows, blocks);
      if (map === undefined || needs(blocks, rows, new Set([rows]))) continue;
      const outside = (output: number): boolean =>
        ((readers ??= readersOf(graph)).get(rows) ?? []).some(
          (reader) =>
            reader !== blocks &&
            (reader ?? { inputs: outputs(graph) }).inputs.some(
              (ref) => ref.node === rows && ref.output === output,
            ),
        );
      const made = joined(arena, rows, blocks, map, outside);
      if (made === undefined) continue;
      const { loop, refs } = made;
      if (loop.inputs.length + loop.results.length > options.maxBuffers || !options.holdsRows(loop)) continue;
      for (const [node, own] of refs)
        carryNames(
          arena,
          node,
          own.flatMap((ref) => ref ?? []),
        );
      return withReplaced(arena, graph, refs);
    }
  }
  return undefined;
}

function outputs(graph: Graph): readonly Ref[] {
  return [...graph.results.map(({ value }) => value), ...graph.updates.map(({ value }) => value)];
}

interface RowMap {
  /** For each axis of the rows, the axis of the blocks that it is. */
  readonly axes: readonly number[];
  /** The axis that counts the blocks of a row. */
  readonly block: number;
}

/** Undefined: the blocks are not of these rows, or nothing would be read once that is read twice now. */
function rowMap(rows: LoopNode, blocks: LoopNode): RowMap | undefined {
  const axes: number[] = [];
  let isHeld = blocks.inputs.some((ref) => rows.inputs.includes(ref));
  for (const read of readsOf(blocks)) {
    const ref = blocks.inputs[read.input];
    const result = ref?.node === rows ? rows.results[ref.output] : undefined;
    if (result === undefined) continue;
    if (result.merged !== undefined || read.bounds !== "proved") return undefined;
    for (const [k, axis] of result.axes.entries()) {
      const index = read.index[k];
      if (axis >= rows.axes.length) {
        isHeld = true;
        continue;
      }
      if (index?.kind !== "axis" || (axes[axis] ?? index.axis) !== index.axis) return undefined;
      axes[axis] = index.axis;
    }
  }
  const own = blocks.axes.map((_, k) => k).filter((k) => !axes.includes(k));
  const [block] = own;
  const [whole, place] = [rows.over[0], blocks.over[0]];
  const isSame = rows.axes.every((axis, k) => {
    const other = blocks.axes[axes[k] ?? -1];
    return other !== undefined && dimEquals(axis.extent, other.extent);
  });
  if (!isHeld || block === undefined || own.length !== 1 || !isSame || new Set(axes).size !== axes.length)
    return undefined;
  const count = blocks.axes[block]?.extent;
  if (whole === undefined || place?.extent.kind !== "const" || count === undefined) return undefined;
  return dimEquals(count, ceildiv(whole.extent, place.extent)) ? { axes, block } : undefined;
}

function joined(
  arena: Arena,
  rows: LoopNode,
  blocks: LoopNode,
  { axes: map, block }: RowMap,
  isNeeded: (output: number) => boolean,
): { readonly loop: LoopNode; readonly refs: ReadonlyMap<Node, readonly (Ref | undefined)[]> } | undefined {
  const [whole, place, count] = [rows.over[0], blocks.over[0], blocks.axes[block]];
  if (whole === undefined || place?.extent.kind !== "const" || count === undefined) return undefined;
  const rank = rows.axes.length;
  const w = new LoopWriter(arena, { axes: rows.axes, over: [count, place] });
  w.inner.push(place);
  const [number, at, inner] = [arena.axis(rank), arena.axis(rank + 1), arena.axis(rank + 2)];
  const first = arena.apply("mul", number, arena.const("i32", place.extent.value));
  const end = arena.dim(whole.extent);
  const rest = mod(whole.extent, place.extent);
  const isWhole = rest.kind === "const" && rest.value === 0;
  const exact = arena.apply("add", first, at);
  const last = arena.dim(sub(whole.extent, constant(1)));
  const position = isWhole ? exact : arena.apply("min", exact, last);
  const carrier = (k: number, s: Scalar): Scalar => arena.carrier(k, s.type);

  const own = [...rows.axes.map((_, k) => arena.axis(k)), position];
  const lifts = w.take(
    rows,
    rows.carriers.map((c) => c.lift),
    own,
    carrier,
  );
  rows.carriers.forEach((one, k) => {
    const lift = lifts[k] ?? one.lift;
    const neutral = arena.const(lift.type, monoidOf(one.monoid).identity(lift.type));
    const kept = isWhole ? lift : arena.apply("select", arena.apply("lt", exact, end), lift, neutral);
    w.carriers.push({ ...one, lift: kept });
  });
  const made = new Map<Ref, MadeRead>();
  for (const [output, result] of rows.results.entries()) {
    made.set(arena.ref(rows, output), (read) => {
      const index: Scalar[] = [];
      result.axes.forEach((axis, k) => (index[axis] = read.index[k] ?? arena.axis(axis)));
      const [value = result.value] = w.take(rows, [result.value], index, carrier);
      return storedAs(arena, result.dtype, value);
    });
  }
  const axesOf = (inside: Scalar): Scalar[] => {
    const axes: Scalar[] = [];
    map.forEach((axis, k) => (axes[axis] = arena.axis(k)));
    axes[block] = number;
    return [...axes, inside];
  };
  // A block's reductions are made inside the bodies, where none may use another.
  if (blocks.carriers.some(({ lift }) => usesCarrier(lift))) return undefined;
  const taken = w.take(
    blocks,
    blocks.carriers.map((c) => c.lift),
    axesOf(inner),
    carrier,
    made,
  );
  const reduced = blocks.carriers.map((one, k) => arena.reduce(one.monoid, [rank + 2], taken[k] ?? one.lift));
  const ends = w.take(
    blocks,
    blocks.results.map((r) => r.value),
    axesOf(at),
    (k, s) => reduced[k] ?? s,
    made,
  );
  const positionOf = (axis: number): number =>
    axis === blocks.axes.length ? rank + 1 : axis === block ? rank : map.indexOf(axis);
  const blockResults = blocks.results.map((r, k): LoopResult => ({
    ...r,
    value: ends[k] ?? r.value,
    axes: r.axes.map(positionOf),
  }));
  const kept = rows.results.flatMap((_, output) => (isNeeded(output) ? [output] : []));
  const rowResults = kept.flatMap((output): LoopResult[] => {
    const result = rows.results[output];
    if (result === undefined) return [];
    const [value = result.value] = w.take(rows, [result.value], own, carrier);
    const parts = result.axes.map((axis) =>
      axis < rank
        ? { axes: [axis], extent: rows.axes[axis]?.extent ?? constant(0) }
        : { axes: [rank, rank + 1], extent: whole.extent },
    );
    const isMerged = parts.some(({ axes }) => axes.length > 1);
    const merged = parts.map(({ axes, extent }) => ({ count: axes.length, extent }));
    return [
      {
        dtype: result.dtype,
        value,
        axes: parts.flatMap(({ axes }) => axes),
        ...(isMerged ? { merged } : {}),
      },
    ];
  });
  w.results = [...rowResults, ...blockResults];
  const loop = w.loop();
  const refs = outputsOfNode(arena, loop);
  return {
    loop,
    refs: new Map<Node, readonly (Ref | undefined)[]>([
      [rows, rows.results.map((_, output) => refs[kept.indexOf(output)])],
      [blocks, refs.slice(rowResults.length)],
    ]),
  };
}

function usesCarrier(lift: Scalar): boolean {
  return reachable([lift]).some((s) => s.kind === "carrier");
}
