/**
 * What of a graph is computed from parameters alone. It is the same from run to run, so that a plan computes it before
 * the first one: weights in other types, their scales, products of two weights.
 */
import { symbols, type Dim } from "../types/dim.ts";
import { topological } from "./graphs.ts";
import type { Graph, Node } from "./ir.ts";
import { bodyOf } from "./node-body.ts";

/** The parameters, and the nodes that read these, and each other, alone. */
export function parameterNodes(graph: Graph): ReadonlySet<Node> {
  return fixedNodes(graph, () => true);
}

/**
 * Of them those that are computed, at sizes that the parameters tell (others may change from run to run), and that
 * something else is made of.
 */
export function preparedNodes(graph: Graph): ReadonlySet<Node> {
  const params = graph.inputs.filter(({ role }) => role === "param");
  const told = new Set(params.flatMap(({ types }) => types.flatMap(({ shape }) => shape.flatMap(namesOf))));
  const fixed = fixedNodes(graph, (node) => sizesOf(node).every((name) => told.has(name)));
  const used = new Set<Node>();
  for (const node of topological(graph).toReversed())
    if (!fixed.has(node) || used.has(node)) for (const { node: maker } of node.inputs) used.add(maker);
  return new Set([...fixed].filter((node) => node.kind !== "input" && used.has(node)));
}

function fixedNodes(graph: Graph, allows: (node: Node) => boolean): ReadonlySet<Node> {
  const found = new Set<Node>();
  for (const node of topological(graph)) {
    const isFixed =
      node.kind === "input"
        ? node.role === "param"
        : node.inputs.length > 0 && node.inputs.every((ref) => found.has(ref.node)) && allows(node);
    if (isFixed) found.add(node);
  }
  return found;
}

function namesOf(dim: Dim): readonly string[] {
  return [...symbols(dim)];
}

/** Names of the sizes that a node uses. */
function sizesOf(node: Node): readonly string[] {
  const dims = node.types.flatMap(({ shape }) => shape);
  if (node.kind === "loop")
    dims.push(...[...node.axes, ...node.over, ...node.inner].map(({ extent }) => extent));
  if (node.kind === "scatter") dims.push(...node.axes.map(({ extent }) => extent));
  for (const s of bodyOf(node).scalars) if (s.kind === "dim") dims.push(s.dim);
  return dims.flatMap(namesOf);
}
