/**
 * Inlines pointwise loops into the loops that read them.
 *
 *     %1 = loop i in N { yield f32[i]: exp(%x[i]) }
 *     %2 = loop i in N { yield f32[i]: neg(%1[i]) }      =>   %2 = loop i in N { yield f32[i]: neg(exp(%x[i])) }
 *
 * A value that was stored as a narrower dtype is rounded where it is inlined. A read that may leave the tensor is
 * inlined only through a plain view, whose own read then has its bounds. What is inlined everywhere is dropped by
 * reachability.
 */
import { dtypes, isFloat } from "../types/dtype.ts";
import { sameRef, typeOf, type Arena } from "../tensor/arena.ts";
import {
  carryNames,
  outputsOf,
  replaceOutputs,
  tableFor,
  topological,
  withInputs,
} from "../tensor/graphs.ts";
import type {
  Graph,
  LoopNode,
  LoopResult,
  Node,
  Ref,
  Scalar,
  ScalarRead,
  ScatterNode,
} from "../tensor/ir.ts";
import type { DType } from "../types/dtype.ts";
import { isWide } from "../tensor/scalar-types.ts";
import { bodyOf } from "../tensor/node-body.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";
import { isPointwise, plainAxes, readsOf } from "./loops.ts";

/** A node that reads a producer, and the reads with which it does; none for a structured node or an output. */
export interface Use {
  readonly consumer: Node | undefined;
  readonly reads: readonly ScalarRead[];
}

/** Whether a producer is inlined into a use. `producer` is over its rewritten inputs, `original` is the graph's. */
export type InlinePolicy = (
  producer: LoopNode,
  original: LoopNode,
  uses: () => readonly Use[],
) => Iterable<Use>;

/** Rebuilds the graph with the producers that the policy names inlined. The same graph when there are none. */
export function inlineProducers(arena: Arena, graph: Graph, policy: InlinePolicy): Graph {
  let uses: ReadonlyMap<Node, readonly Use[]> | undefined;
  const nodes = topological(graph);
  const replaced = tableFor<Node>(nodes);
  /** For each consumer of the graph, the producers to inline into it. */
  const chosen = tableFor<Set<Node>>(nodes);
  for (const node of nodes) {
    const rebuilt = rebuild(arena, node, replaced, chosen[node.id]);
    if (rebuilt !== node) {
      replaced[node.id] = rebuilt;
      carryNames(
        arena,
        node,
        rebuilt.types.map((_, i) => arena.ref(rebuilt, i)),
      );
    }
    if (!isPointwise(rebuilt) || !isPointwise(node)) continue;
    const usesOfNode = (): readonly Use[] => (uses ??= usesOf(graph)).get(node) ?? [];
    for (const use of policy(rebuilt, node, usesOfNode)) {
      if (use.consumer === undefined) continue;
      (chosen[use.consumer.id] ??= new Set()).add(node);
    }
  }
  return replaceOutputs(arena, graph, (ref) => {
    const node = replaced[ref.node.id];
    return node === undefined ? ref : arena.ref(node, ref.output);
  });
}

export function usesOf(graph: Graph): ReadonlyMap<Node, readonly Use[]> {
  const uses = new Map<Node, Use[]>();
  const add = (producer: Node, use: Use): void => {
    const list = uses.get(producer);
    if (list === undefined) uses.set(producer, [use]);
    else list.push(use);
  };
  for (const node of topological(graph)) {
    const reads = readsOf(node);
    const producers = new Set(node.inputs.map((ref) => ref.node));
    for (const producer of producers)
      add(producer, { consumer: node, reads: reads.filter((r) => node.inputs[r.input]?.node === producer) });
  }
  for (const ref of outputsOf(graph)) add(ref.node, { consumer: undefined, reads: [] });
  return uses;
}

function rebuild(
  arena: Arena,
  node: Node,
  replaced: readonly (Node | undefined)[],
  inlined: ReadonlySet<Node> | undefined,
): Node {
  let moved = false;
  const inputs = node.inputs.map((ref) => {
    const now = replaced[ref.node.id];
    if (now === undefined) return ref;
    moved = true;
    return arena.ref(now, ref.output);
  });
  if (inlined !== undefined && (node.kind === "loop" || node.kind === "scatter")) {
    const positions = new Set(node.inputs.flatMap((ref, i) => (inlined.has(ref.node) ? [i] : [])));
    return inlineInto(arena, node, inputs, positions);
  }
  return moved ? withInputs(arena, node, inputs) : node;
}

/** The node over `inputs`, with the loops at `positions` computed where they are read. */
function inlineInto(
  arena: Arena,
  node: LoopNode | ScatterNode,
  inputs: readonly Ref[],
  positions: ReadonlySet<number>,
): Node {
  const list: Ref[] = [...inputs];
  const rule = (s: Scalar): Scalar => {
    if (s.kind !== "read" || !positions.has(s.input)) return s;
    const ref = list[s.input];
    const producer = ref?.node;
    const result = producer?.kind === "loop" ? producer.results[ref?.output ?? 0] : undefined;
    // What a scatter writes over is read by no body unless it is an input of the body as well.
    if (producer?.kind !== "loop" || result === undefined) return s;
    return inlinedRead(arena, s, producer, result, list);
  };
  const body = bodyOf(node);
  const roots = rewriteScalars(arena, body.roots, rule, body.scalars);
  if (node.kind === "scatter") {
    const target = roots.slice(0, node.target.length);
    return arena.scatter({
      axes: node.axes,
      inputs: list,
      target,
      value: roots.at(-2) ?? node.value,
      keep: roots.at(-1) ?? node.keep,
    });
  }
  const carriers = node.carriers.map((c, i) => ({ ...c, lift: roots[i] ?? c.lift }));
  const results = node.results.map((r, i) => ({ ...r, value: roots[carriers.length + i] ?? r.value }));
  return arena.loop({ axes: node.axes, over: node.over, carriers, results, inputs: list });
}

function inlinedRead(
  arena: Arena,
  read: ScalarRead,
  producer: LoopNode,
  result: LoopResult,
  list: Ref[],
): Scalar {
  const at = new Map<number, Scalar>();
  result.axes.forEach((axis, j) => {
    const index = read.index[j];
    if (index !== undefined) at.set(axis, index);
  });
  const [value] = rewriteScalars(arena, [result.value], (s) => {
    if (s.kind === "axis") return at.get(s.axis) ?? s;
    if (s.kind !== "read") return s;
    const position = positionOf(list, producer.inputs[s.input]);
    // A plain view hands its reader's bounds on; every other producer is read where it is proved.
    if (read.bounds === "proved") return arena.readAt(position, s.type, s.index, s.bounds, s.otherwise);
    return arena.readAt(position, s.type, s.index, read.bounds, read.otherwise);
  });
  return storedAs(arena, result.dtype, value ?? result.value);
}

function positionOf(list: Ref[], ref: Ref | undefined): number {
  if (ref === undefined) return -1;
  const found = list.findIndex((other) => sameRef(other, ref));
  return found < 0 ? list.push(ref) - 1 : found;
}

/** What a reader would get of a value that is stored as `dtype`. */
export function storedAs(arena: Arena, dtype: DType, value: Scalar): Scalar {
  if (isWide(dtype)) return value;
  return isFloat(dtype) ? arena.round(dtype, value) : arena.cast(dtype, value);
}

/** Whether the producer's value can stand where these reads are. */
export function canInline(producer: LoopNode, use: Use): boolean {
  // A structured node, an output and a scatter that writes over the producer need it in memory.
  if ((use.consumer?.kind !== "loop" && use.consumer?.kind !== "scatter") || use.reads.length === 0)
    return false;
  return use.reads.every((read) => {
    if (read.bounds === "proved") return true;
    const ref = use.consumer?.inputs[read.input];
    const result = producer.results[ref?.output ?? 0];
    return result !== undefined && isPlainView(producer, result);
  });
}

/** One read at the loop's own axes, each once, of a tensor of the result's dtype. */
function isPlainView(producer: LoopNode, result: LoopResult): boolean {
  const { value } = result;
  if (value.kind !== "read" || value.bounds !== "proved") return false;
  const axes = plainAxes(value);
  const ref = producer.inputs[value.input];
  return (
    axes !== undefined &&
    axes.length === producer.axes.length &&
    ref !== undefined &&
    typeOf(ref).dtype === result.dtype
  );
}

/**
 * Views go into all who can take them: loops that only move, broadcast, convert to something no smaller, or count.
 * Such a loop has one read or none and computes no float.
 */
export const inlineViews: InlinePolicy = (producer, _, uses) => {
  producer.findings.view ??= producer.results.every((result) => isView(producer, result));
  if (!producer.findings.view) return [];
  return uses().filter((use) => canInline(producer, use));
};

function isView(producer: LoopNode, result: LoopResult): boolean {
  if (producer.inputs.length > 1) return false;
  let reads = 0;
  const { scalars } = bodyOf(producer);
  for (const s of producer.results.length === 1 ? scalars : reachable([result.value])) {
    if (s.kind === "apply" && s.args.some((arg) => arg.type === "f32")) return false;
    if (s.kind === "apply" && s.type === "f32") return false;
    if (s.kind !== "read") continue;
    reads += 1;
    const ref = producer.inputs[s.input];
    if (ref === undefined || dtypes[typeOf(ref).dtype].bytes > dtypes[result.dtype].bytes) return false;
    // An index that was read is a gather: it is done once, not by each reader.
    if (
      s.index.some(
        (index) => index.kind !== "axis" && reachable([index]).some((part) => part.kind === "read"),
      )
    )
      return false;
  }
  return reads <= 1;
}
