/**
 * Makes one loop of a reduction over blocks of an axis and the pointwise loops that read it for every element of its
 * block, though their axes differ: an axis is the number of a block and a place in it, k = 128 b + i.
 *
 *     %s = loop n, b over i in 128 { m = max: abs(%x[n, 128 b + i]);  yield [n, b]: m / 448 }
 *     %q = loop n, k { yield e4m3[n, k]: %x[n, k] / %s[n, k div 128] }
 *  =>
 *     %s, %q = loop n, b over i in 128 {
 *       m = max: abs(%x[n, 128 b + i])
 *       yield [n, b]: m / 448
 *       yield e4m3[n, (b i)]: %x[n, 128 b + i] / (m / 448)
 *     }
 *
 * What both read is read once, and a pointwise loop that makes it for them is computed there and never stored. Where a
 * row is reduced first, as a norm does, its loop takes the blocks in (`block-rows.ts`). A last block may be short: its
 * places beyond the axis are read at the last element, and what is made there is dropped.
 */
import type { Arena } from "../tensor/arena.ts";
import { outputsOf, outputsOfNode, rewriteGraph, topological } from "../tensor/graphs.ts";
import type { Graph, LoopNode, LoopResult, MergedAxis, Node, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { bodyOf, plainAxes } from "../tensor/node-body.ts";
import { sameRef } from "../tensor/refs.ts";
import { ceildiv, constant, dimEquals, mod, sub } from "../types/dim.ts";
import { storedAs } from "./inline.ts";
import { LoopWriter, type MadeRead } from "./loop-writer.ts";
import { isContraction, isPointwise, readsOf } from "./loops.ts";
import { joinRows } from "./block-rows.ts";
import type { Pass } from "./pass.ts";

export interface BlockOptions {
  /** Tensors that one loop may read and write. */
  readonly maxBuffers: number;
  /** Whether the target can hold the rows of a loop whose bodies reduce blocks of them. */
  readonly holdsRows: (loop: LoopNode) => boolean;
}

export function blocks(options: BlockOptions): Pass<Graph> {
  return {
    name: "blocks",
    run: (graph, { arena }) => {
      let current = graph;
      for (let next = joinOne(arena, current, options); next !== undefined;) {
        current = next;
        next = joinOne(arena, current, options);
      }
      return joinRows(arena, current, options);
    },
  };
}

export type Readers = ReadonlyMap<Node, readonly (Node | undefined)[]>;

/** The nodes that read each node; undefined stands for the graph's own outputs. */
export function readersOf(graph: Graph): Readers {
  const readers = new Map<Node, (Node | undefined)[]>();
  const add = (node: Node, reader: Node | undefined): void => {
    const list = readers.get(node);
    if (list === undefined) readers.set(node, [reader]);
    else if (!list.includes(reader)) list.push(reader);
  };
  for (const node of topological(graph)) for (const ref of node.inputs) add(ref.node, node);
  for (const ref of outputsOf(graph)) add(ref.node, undefined);
  return readers;
}

/** The graph with the outputs of some nodes replaced. */
export function withReplaced(
  arena: Arena,
  graph: Graph,
  replaced: ReadonlyMap<Node, readonly (Ref | undefined)[]>,
): Graph {
  return rewriteGraph(arena, graph, (node, original) => {
    const refs = replaced.get(original);
    return refs?.map((ref, output) => ref ?? arena.ref(node, output));
  });
}

/** Whether what `from` reads, but for `except`, needs what `node` makes. */
export function needs(from: Node, node: Node, except: ReadonlySet<Node>): boolean {
  const seen = new Set<Node>();
  const stack = from.inputs.map((ref) => ref.node).filter((maker) => !except.has(maker));
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (next === node) return true;
    // What is needed comes before.
    if (next.id < node.id || seen.has(next)) continue;
    seen.add(next);
    stack.push(...next.inputs.map((ref) => ref.node));
  }
  return false;
}

/** How the axes of a pointwise loop are those of a loop over blocks. */
interface Blocked {
  /** In the loop over blocks, what each axis of the reader is. */
  readonly axes: readonly Scalar[];
  /** For each axis of the reader: the loop axes that it is made of, and its size. */
  readonly parts: readonly { readonly axes: readonly number[]; readonly extent: MergedAxis["extent"] }[];
  /** What the quotient of an axis and its block's size is, by the axis's scalar. */
  readonly quotients: ReadonlyMap<Scalar, { readonly size: number; readonly block: Scalar }>;
}

function joinOne(arena: Arena, graph: Graph, options: BlockOptions): Graph | undefined {
  const readers = readersOf(graph);
  for (const node of topological(graph)) {
    if (node.kind !== "loop" || node.over.length === 0 || node.inner.length > 0 || isContraction(node))
      continue;
    for (const reader of readers.get(node) ?? []) {
      if (reader === undefined || !isPointwise(reader)) continue;
      const blocked = blockedBy(arena, node, reader);
      if (blocked === undefined || needs(reader, node, new Set([node]))) continue;
      const made = joined(arena, node, reader, blocked, readers, options);
      if (made !== undefined) return withReplaced(arena, graph, made);
    }
  }
  return undefined;
}

/** Undefined where the reader does not read the reduction of each element's block. */
function blockedBy(arena: Arena, node: LoopNode, reader: LoopNode): Blocked | undefined {
  const reads = readsOf(reader).filter((read) => reader.inputs[read.input]?.node === node);
  const maps = reads.map((read) => blockMap(node, reader, read));
  const [map] = maps;
  if (map === undefined || maps.some((other) => other === undefined || !sameMap(map, other)))
    return undefined;
  const within = placesInBlocks(node);
  const axes: Scalar[] = [];
  const parts: { axes: readonly number[]; extent: MergedAxis["extent"] }[] = [];
  const quotients = new Map<Scalar, { size: number; block: Scalar }>();
  for (const [k, axis] of reader.axes.entries()) {
    const found = map.get(k);
    const own = found === undefined ? undefined : node.axes[found.axis];
    if (found === undefined || own === undefined) return undefined;
    if (found.size === 1) {
      if (!dimEquals(axis.extent, own.extent)) return undefined;
      axes.push(arena.axis(found.axis));
      parts.push({ axes: [found.axis], extent: axis.extent });
      continue;
    }
    const inside = within.get(`${found.axis} ${found.size}`);
    if (inside === undefined || !dimEquals(own.extent, ceildiv(axis.extent, constant(found.size))))
      return undefined;
    const block = arena.axis(found.axis);
    const first = arena.apply("mul", block, arena.const("i32", found.size));
    const place = arena.apply("add", first, arena.axis(inside));
    const rest = mod(axis.extent, constant(found.size));
    const isWhole = rest.kind === "const" && rest.value === 0;
    const at = isWhole ? place : arena.apply("min", place, arena.dim(sub(axis.extent, constant(1))));
    axes.push(at);
    parts.push({ axes: [found.axis, inside], extent: axis.extent });
    quotients.set(at, { size: found.size, block });
  }
  const used = parts.flatMap((part) => part.axes);
  if (used.length !== node.axes.length + node.over.length || new Set(used).size !== used.length)
    return undefined;
  return { axes, parts, quotients };
}

type BlockMap = ReadonlyMap<number, { readonly axis: number; readonly size: number }>;

/** For each axis of the reader, the axis of the node whose blocks of it are read, and their size. */
function blockMap(node: LoopNode, reader: LoopNode, read: ScalarRead): BlockMap | undefined {
  const result = node.results[reader.inputs[read.input]?.output ?? -1];
  if (result === undefined || result.axes.length !== node.axes.length || read.bounds !== "proved")
    return undefined;
  const map = new Map<number, { axis: number; size: number }>();
  for (const [k, index] of read.index.entries()) {
    const own = result.axes[k];
    const [axis, size] = index.kind === "apply" && index.fn === "floordiv" ? index.args : [index, undefined];
    const width = size === undefined ? 1 : size.kind === "const" ? Number(size.value) : 0;
    if (own === undefined || axis?.kind !== "axis" || width < 1 || map.has(axis.axis)) return undefined;
    map.set(axis.axis, { axis: own, size: width });
  }
  const isBlocked = [...map.values()].some(({ size }) => size > 1);
  return isBlocked && map.size === reader.axes.length ? map : undefined;
}

function sameMap(a: BlockMap, b: BlockMap): boolean {
  return [...a].every(([k, { axis, size }]) => b.get(k)?.axis === axis && b.get(k)?.size === size);
}

/** The reduced axis that is a place in a block: of `axis * size + i` the axis i, by "axis size". */
function placesInBlocks(node: LoopNode): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const s of bodyOf(node).scalars) {
    const [first, inside] = s.kind === "apply" && s.fn === "add" ? s.args : [];
    const [axis, size] = first?.kind === "apply" && first.fn === "mul" ? first.args : [];
    if (axis?.kind !== "axis" || size?.kind !== "const" || inside?.kind !== "axis") continue;
    const over = node.over[inside.axis - node.axes.length];
    const isBlock = over !== undefined && dimEquals(over.extent, constant(Number(size.value)));
    if (isBlock && axis.axis < node.axes.length) found.set(`${axis.axis} ${String(size.value)}`, inside.axis);
  }
  return found;
}

/** The node, the reader and what only they read as one loop; what it makes for the outputs of each. */
function joined(
  arena: Arena,
  node: LoopNode,
  reader: LoopNode,
  blocked: Blocked,
  readers: Readers,
  options: BlockOptions,
): ReadonlyMap<Node, readonly (Ref | undefined)[]> | undefined {
  const w = new LoopWriter(arena, node);
  const here = node.axes
    .map((_, k) => arena.axis(k))
    .concat(node.over.map((_, k) => arena.axis(node.axes.length + k)));
  const carrier = (k: number, s: Scalar): Scalar => arena.carrier(k, s.type);
  const producers = sharedProducers(node, reader, readers);
  const made = new Map<Ref, MadeRead>();
  for (const producer of producers) {
    for (const [output, result] of producer.results.entries()) {
      made.set(arena.ref(producer, output), (read) => {
        const at: Scalar[] = [];
        result.axes.forEach((axis, k) => (at[axis] = read.index[k] ?? arena.axis(axis)));
        const [value = result.value] = w.take(producer, [result.value], at, carrier);
        return storedAs(arena, result.dtype, value);
      });
    }
  }
  const lifts = w.take(
    node,
    node.carriers.map((c) => c.lift),
    here,
    carrier,
    made,
  );
  node.carriers.forEach((one, k) => w.carriers.push({ ...one, lift: lifts[k] ?? one.lift }));
  const ends = w.take(
    node,
    node.results.map((r) => r.value),
    here,
    carrier,
    made,
  );
  const own = node.results.map((r, k): LoopResult => ({ ...r, value: ends[k] ?? r.value }));
  own.forEach(({ dtype, value }, output) => made.set(arena.ref(node, output), storedAs(arena, dtype, value)));
  const quotient = (s: Scalar): Scalar => {
    const [a, b] = s.kind === "apply" && s.fn === "floordiv" ? s.args : [];
    const known = a === undefined ? undefined : blocked.quotients.get(a);
    return known !== undefined && b?.kind === "const" && Number(b.value) === known.size ? known.block : s;
  };
  const values = w.take(
    reader,
    reader.results.map((r) => r.value),
    blocked.axes,
    (_, s) => s,
    made,
    quotient,
  );
  const more = reader.results.map((r, k): LoopResult => {
    const parts = r.axes.flatMap((axis) => blocked.parts[axis] ?? []);
    return {
      dtype: r.dtype,
      value: values[k] ?? r.value,
      axes: parts.flatMap(({ axes }) => axes),
      merged: parts.map(({ axes, extent }) => ({ count: axes.length, extent })),
    };
  });
  w.results = [...own, ...more];
  if (w.inputs.length + w.results.length > options.maxBuffers) return undefined;
  const loop = w.loop();
  const refs = outputsOfNode(arena, loop);
  return new Map<Node, readonly (Ref | undefined)[]>([
    [node, refs.slice(0, own.length)],
    [reader, refs.slice(own.length)],
  ]);
}

/** Pointwise loops that the two read, each element by the block that it is in, and nobody else. */
function sharedProducers(node: LoopNode, reader: LoopNode, readers: Readers): readonly LoopNode[] {
  const found = new Set<LoopNode>();
  for (const { node: producer } of node.inputs) {
    if (!isPointwise(producer) || producer.axes.length !== reader.axes.length) continue;
    const others = (readers.get(producer) ?? []).filter((one) => one !== node && one !== reader);
    const isRead = [node, reader].every((one) =>
      readsOf(one).every((read) => one.inputs[read.input]?.node !== producer || read.bounds === "proved"),
    );
    const isPlain = readsOf(reader).every(
      (read) => reader.inputs[read.input]?.node !== producer || plainAxes(read) !== undefined,
    );
    const reads = reader.inputs.some((ref) =>
      producer.types.some((_, output) => sameRef(ref, { node: producer, output })),
    );
    if (others.length === 0 && isRead && isPlain && reads) found.add(producer);
  }
  return [...found];
}
