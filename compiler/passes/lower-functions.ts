/**
 * Writes scalar functions in the few that targets have: `exp(x)` as `exp2(x * log2 e)`, `sigmoid`, `gelu` and the rest.
 * Last at the tensor level, since algebra sees more in a name than in what it stands for.
 */
import type { Arena } from "../tensor/arena.ts";
import { expandScalars } from "../tensor/expand-scalar.ts";
import { rewriteGraph } from "../tensor/graphs.ts";
import type { Graph, LoopNode, Node, Ref, Scalar, ScatterNode } from "../tensor/ir.ts";
import { rootsOf } from "../tensor/scalars.ts";
import type { Pass } from "./pass.ts";

export const lowerFunctions: Pass<Graph> = {
  name: "lower-functions",
  run: (graph, { arena }) => rewriteGraph(arena, graph, (node) => rewrite(arena, node)),
};

function rewrite(arena: Arena, node: Node): readonly Ref[] | undefined {
  if (node.kind !== "loop" && node.kind !== "scatter") return undefined;
  const roots = rootsOf(node);
  const expanded = expandScalars(arena, roots);
  if (expanded.every((scalar, k) => scalar === roots[k])) return undefined;
  const made = node.kind === "loop" ? loopWith(arena, node, expanded) : scatterWith(arena, node, expanded);
  return made.types.map((_, output) => arena.ref(made, output));
}

function loopWith(arena: Arena, node: LoopNode, roots: readonly Scalar[]): LoopNode {
  const value = (k: number, old: Scalar): Scalar => roots[k] ?? old;
  const carriers = node.carriers.map((carrier, k) => ({ ...carrier, lift: value(k, carrier.lift) }));
  const results = node.results.map((result, k) => ({
    ...result,
    value: value(carriers.length + k, result.value),
  }));
  return arena.loop({ axes: node.axes, over: node.over, carriers, results, inputs: node.inputs });
}

function scatterWith(arena: Arena, node: ScatterNode, roots: readonly Scalar[]): ScatterNode {
  const count = node.target.length;
  return arena.scatter({
    axes: node.axes,
    inputs: node.inputs,
    target: roots.slice(0, count),
    value: roots[count] ?? node.value,
    keep: roots[count + 1] ?? node.keep,
  });
}
