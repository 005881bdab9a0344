/** Walking and rebuilding graphs. A node's inputs have lower ids than it has, so ascending ids are a topological order. */
import { invariant } from "../diagnostics/diagnostic.ts";
import { symbols } from "../types/dim.ts";
import type { Arena } from "./arena.ts";
import type { Graph, Node, Ref } from "./ir.ts";
import { refsOf } from "./refs.ts";
import { reachable, rootsOf } from "./scalars.ts";

/** Graphs never change, and each pass and each verification walks one: their orders are kept. */
const orders = new WeakMap<Graph, readonly Node[]>();

/** Every node that the results and updates need, and every input of the graph, inputs of nodes first. */
export function topological(graph: Graph): readonly Node[] {
  let order = orders.get(graph);
  if (order === undefined) orders.set(graph, (order = orderOf(graph)));
  return order;
}

function orderOf(graph: Graph): readonly Node[] {
  const ends = [
    ...graph.inputs,
    ...graph.results.map((r) => r.value.node),
    ...graph.updates.map((u) => u.value.node),
  ];
  const last = ends.reduce((most, node) => Math.max(most, node.id), -1);
  // Ids are dense in the arena: a slot for each beats a set, and gives the order for nothing.
  const byId = Array<Node | undefined>(last + 1).fill(undefined);
  for (const node of ends) byId[node.id] = node;
  // From the highest id down, each node is met after all that read it.
  let count = 0;
  for (let id = last; id >= 0; id--) {
    const node = byId[id];
    if (node === undefined) continue;
    count += 1;
    if (node.kind === "input") continue;
    const { inputs } = node;
    for (let i = 0; i < inputs.length; i++) {
      const maker = inputs[i]?.node;
      if (maker !== undefined) byId[maker.id] = maker;
    }
  }
  const order = Array<Node>(count);
  let place = 0;
  for (let id = 0; id <= last; id++) {
    const node = byId[id];
    if (node !== undefined) order[place++] = node;
  }
  return order;
}

/** The refs that a graph hands out: results, then updates. */
export function outputsOf(graph: Graph): Ref[] {
  return [...graph.results.map((r) => r.value), ...graph.updates.map((u) => u.value)];
}

export function outputsOfNode(arena: Arena, node: Node): readonly Ref[] {
  return node.types.length === 1 ? [arena.ref(node)] : node.types.map((_, output) => arena.ref(node, output));
}

/** The same node over other inputs, given for each position; bodies are not touched. */
export function withInputs(arena: Arena, node: Node, inputs: readonly Ref[]): Node {
  const first = inputs[0];
  switch (node.kind) {
    case "input":
      return node;
    case "loop":
    case "scatter":
      return arena.relink(node, inputs);
    case "topk":
      invariant(first !== undefined, "topk has an input");
      return arena.topk(first, node.axis, node.k, inputs[1]);
    case "scan":
      invariant(first !== undefined, "scan has an input");
      return arena.scan(first, node.axis);
    case "sort":
      invariant(first !== undefined, "sort has an input");
      return arena.sort(first, node.axis);
    case "dispatch":
      invariant(first !== undefined, "dispatch has an input");
      return arena.dispatch(first, node.experts, node.align);
  }
}

/**
 * Rebuilds a graph bottom-up. `rule` gets each node over its rewritten inputs, and as it was, and gives the refs that
 * stand for its outputs, or undefined to keep it. Returns the same graph when nothing changed. Hints and places follow.
 */
export function rewriteGraph(
  arena: Arena,
  graph: Graph,
  rule: (node: Node, original: Node) => readonly Ref[] | undefined,
): Graph {
  const nodes = topological(graph);
  const replaced = tableFor<readonly Ref[]>(nodes);
  const find = (ref: Ref): Ref => replaced[ref.node.id]?.[ref.output] ?? ref;
  // Loops over all nodes count: an iterator makes an object for each, until its caller has been optimized.
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node === undefined) continue;
    const moved = node.kind !== "input" && readsAny(node, replaced);
    const rebuilt = moved ? withInputs(arena, node, refsOf(node.inputs, find)) : node;
    const refs = rule(rebuilt, node) ?? (moved ? outputsOfNode(arena, rebuilt) : undefined);
    if (refs === undefined) continue;
    replaced[node.id] = refs;
    carryNames(arena, node, refs);
  }
  return replaceOutputs(arena, graph, find);
}

/** Whether the table has something for a node that this one reads. */
export function readsAny({ inputs }: Node, table: readonly unknown[]): boolean {
  for (let i = 0; i < inputs.length; i++) if (table[inputs[i]?.node.id ?? -1] !== undefined) return true;
  return false;
}

/** The nodes that read each node, by its id, each once and in their order. */
export type Readers = readonly (readonly Node[] | undefined)[];

export function readersOf(nodes: readonly Node[]): Readers {
  const readers = tableFor<Node[]>(nodes);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node === undefined || node.kind === "input") continue;
    const { inputs } = node;
    for (let k = 0; k < inputs.length; k++) {
      const id = inputs[k]?.node.id ?? -1;
      const list = readers[id];
      if (list === undefined) readers[id] = [node];
      else if (list[list.length - 1] !== node) list.push(node);
    }
  }
  return readers;
}

/** A slot for each node by its id, empty. */
export function tableFor<T>(nodes: readonly Node[]): (T | undefined)[] {
  return Array<T | undefined>((nodes.at(-1)?.id ?? -1) + 1).fill(undefined);
}

/** Gives the new refs the names and the place of the node that they stand for, unless they have some. */
export function carryNames(arena: Arena, from: Node, to: readonly Ref[]): void {
  for (let i = 0; i < to.length; i++) {
    const ref = to[i];
    if (ref !== undefined && ref.node.kind !== "input") carryName(arena, arena.ref(from, i), ref);
  }
}

/** Gives a ref the name of another, and its node the other's place, unless they have some. */
export function carryName(arena: Arena, from: Ref, to: Ref): void {
  const hint = arena.hint(from);
  const place = arena.place(from.node);
  if (hint !== undefined) arena.setHint(to, hint);
  if (place !== undefined) arena.setPlace(to.node, place);
}

/** The graph with each result and update replaced; the same graph when none is. */
export function replaceOutputs(arena: Arena, graph: Graph, find: (ref: Ref) => Ref): Graph {
  let changed = false;
  const take = (ref: Ref): Ref => {
    const found = find(ref);
    if (found !== ref) changed = true;
    return found;
  };
  const results = graph.results.map((r) => ({ ...r, value: take(r.value) }));
  const updates = graph.updates.map((u) => ({ ...u, value: take(u.value) }));
  if (!changed) return graph;
  const rebuilt = arena.graph({ ...graph, results, updates });
  arena.watcher?.(find, rebuilt);
  return rebuilt;
}

/** Adds the sizes that the graph's nodes name and that are not known. */
export function namesOfSizes(graph: Graph, into: Set<string>): void {
  for (const node of topological(graph)) {
    for (const type of node.types) for (const dim of type.shape) symbols(dim, into);
    if (node.kind === "loop" || node.kind === "scatter")
      for (const axis of node.axes) symbols(axis.extent, into);
    if (node.kind === "loop") for (const axis of node.over) symbols(axis.extent, into);
    for (const scalar of reachable(rootsOf(node))) if (scalar.kind === "dim") symbols(scalar.dim, into);
  }
}
