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
import type { Arena } from "../tensor/arena.ts";
import { refsOf, sameRef, typeOf } from "../tensor/refs.ts";
import {
  carryNames,
  outputsOf,
  outputsOfNode,
  readsAny,
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
import { bodyOf, plainAxes } from "../tensor/node-body.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";
import { withRoots } from "./bodies.ts";
import { isPointwise, readsOf, readsOfInput } from "./loops.ts";
import type { Templates } from "./templates.ts";

/** A node that reads a producer, and the reads with which it does; none for a structured node or an output. */
export interface Use {
  readonly consumer: Node | undefined;
  readonly reads: readonly ScalarRead[];
}

/** Whether a producer is inlined into a use. `producer` is over its rewritten inputs, `original` is the graph's. */
export type InlinePolicy = (producer: LoopNode, original: LoopNode, uses: readonly Use[]) => readonly Use[];

/** Rebuilds the graph with the producers that the policy names inlined. The same graph when there are none. */
export function inlineProducers(
  arena: Arena,
  templates: Templates,
  graph: Graph,
  policy: InlinePolicy,
): Graph {
  const nodes = topological(graph);
  const uses = usesOfPointwise(graph, nodes);
  const replaced = tableFor<Node>(nodes);
  const find = (ref: Ref): Ref => {
    const now = replaced[ref.node.id];
    return now === undefined ? ref : arena.ref(now, ref.output);
  };
  /** For each consumer of the graph, the producers to inline into it. */
  const chosen = tableFor<Node[]>(nodes);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node === undefined || node.kind === "input") continue;
    let rebuilt: Node = node;
    const producers = chosen[node.id];
    if (producers !== undefined && (node.kind === "loop" || node.kind === "scatter")) {
      const positions: number[] = [];
      for (let k = 0; k < node.inputs.length; k++) {
        const maker = node.inputs[k]?.node;
        if (maker !== undefined && producers.includes(maker)) positions.push(k);
      }
      rebuilt = inlined(arena, templates, node, refsOf(node.inputs, find), positions);
    } else if (readsAny(node, replaced)) {
      rebuilt = withInputs(arena, node, refsOf(node.inputs, find));
    }
    if (rebuilt !== node) {
      replaced[node.id] = rebuilt;
      carryNames(arena, node, outputsOfNode(arena, rebuilt));
    }
    if (!isPointwise(rebuilt) || !isPointwise(node)) continue;
    for (const { consumer } of policy(rebuilt, node, uses[node.id] ?? [])) {
      if (consumer === undefined) continue;
      const list = chosen[consumer.id];
      if (list === undefined) chosen[consumer.id] = [node];
      else list.push(node);
    }
  }
  return replaceOutputs(arena, graph, find);
}

/** The uses of each pointwise loop, by its id. */
function usesOfPointwise(graph: Graph, nodes: readonly Node[]): readonly (readonly Use[] | undefined)[] {
  const uses = tableFor<Use[]>(nodes);
  const add = (producer: Node, use: Use): void => {
    const list = uses[producer.id];
    if (list === undefined) uses[producer.id] = [use];
    else list.push(use);
  };
  for (let n = 0; n < nodes.length; n++) {
    const node = nodes[n];
    if (node === undefined || node.kind === "input") continue;
    const { inputs } = node;
    for (let i = 0; i < inputs.length; i++) {
      const producer = inputs[i]?.node;
      if (producer === undefined || !isPointwise(producer)) continue;
      let first = 0;
      while (inputs[first]?.node !== producer) first++;
      // A loop's several outputs are read by one use.
      if (first < i) continue;
      let last = inputs.length - 1;
      while (inputs[last]?.node !== producer) last--;
      add(producer, {
        consumer: node,
        reads: last === i ? readsOfInput(node, i) : readsOfNode(node, producer),
      });
    }
  }
  for (const ref of outputsOf(graph))
    if (isPointwise(ref.node)) add(ref.node, { consumer: undefined, reads: [] });
  return uses;
}

/** The reads of all of a producer's outputs. */
function readsOfNode(node: Node, producer: Node): readonly ScalarRead[] {
  return readsOf(node).filter((read) => node.inputs[read.input]?.node === producer);
}

/**
 * The node over `inputs`, with the loops at `positions` computed where they are read; and what `then` makes of it, which
 * must follow from its form.
 */
export function inlined(
  arena: Arena,
  templates: Templates,
  node: LoopNode | ScatterNode,
  inputs: readonly Ref[],
  positions: readonly number[],
  then: (made: Node) => Node = (made) => made,
): Node {
  const t = templates.begin(node.form.id);
  const pool = inputs.slice();
  for (let i = 0; i < positions.length; i++) {
    const position = positions[i] ?? -1;
    const ref = inputs[position];
    if (ref === undefined) continue;
    const { node: maker, output } = ref;
    t.word(position);
    t.word(maker.form.id);
    t.word(output);
    for (let k = 0; k < maker.inputs.length; k++) {
      const read = maker.inputs[k];
      if (read !== undefined) pool.push(read);
    }
  }
  return templates.node(pool, () => then(inlineInto(arena, node, inputs, positions)));
}

function inlineInto(
  arena: Arena,
  node: LoopNode | ScatterNode,
  inputs: readonly Ref[],
  positions: readonly number[],
): Node {
  const list: Ref[] = [...inputs];
  const rule = (s: Scalar): Scalar => {
    if (s.kind !== "read" || !positions.includes(s.input)) return s;
    const ref = list[s.input];
    const producer = ref?.node;
    const result = producer?.kind === "loop" ? producer.results[ref?.output ?? 0] : undefined;
    // What a scatter writes over is read by no body unless it is an input of the body as well.
    if (producer?.kind !== "loop" || result === undefined) return s;
    return inlinedRead(arena, s, producer, result, list);
  };
  const body = bodyOf(node);
  return withRoots(arena, node, rewriteScalars(arena, body.roots, rule, body.scalars), list);
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
 * Positions of the views that the node can read through: loops that only move, broadcast, convert to something no
 * smaller, or count. Such a loop has one read or none and computes no float.
 */
export function viewsRead(node: LoopNode | ScatterNode): readonly number[] {
  const { inputs } = node;
  let positions: number[] | undefined;
  for (let i = 0; i < inputs.length; i++) {
    const producer = inputs[i]?.node;
    if (producer === undefined || !isPointwise(producer)) continue;
    producer.form.view ??= producer.results.every((result) => isView(producer, result));
    if (!producer.form.view || !canInline(producer, { consumer: node, reads: readsOfInput(node, i) }))
      continue;
    if (positions === undefined) positions = [i];
    else positions.push(i);
  }
  return positions ?? none;
}

const none: readonly number[] = [];

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
