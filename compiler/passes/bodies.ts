/** Rewriting the bodies of a node in place in its graph. */
import type { Arena } from "../tensor/arena.ts";
import type { Node, NodeBody, Ref, Scalar } from "../tensor/ir.ts";
import { bodyOf } from "../tensor/node-body.ts";

/**
 * The refs of the node with other bodies, or undefined where `rewrite` gives the same ones or the node has none. New
 * bodies may read the node's inputs, by position, and no others.
 */
export function withRoots(
  arena: Arena,
  node: Node,
  rewrite: (body: NodeBody) => readonly Scalar[],
): readonly Ref[] | undefined {
  if (node.kind !== "loop" && node.kind !== "scatter") return undefined;
  const body = bodyOf(node);
  const { roots } = body;
  const now = rewrite(body);
  if (now.every((root, i) => root === roots[i])) return undefined;
  const rebuilt = node.kind === "loop" ? loopOf(arena, node, now) : scatterOf(arena, node, now);
  return rebuilt.types.map((_, i) => arena.ref(rebuilt, i));
}

function loopOf(arena: Arena, node: Extract<Node, { kind: "loop" }>, roots: readonly Scalar[]): Node {
  const carriers = node.carriers.map((c, i) => ({ ...c, lift: roots[i] ?? c.lift }));
  const results = node.results.map((r, i) => ({ ...r, value: roots[carriers.length + i] ?? r.value }));
  return arena.loop({ axes: node.axes, over: node.over, carriers, results, inputs: node.inputs });
}

function scatterOf(arena: Arena, node: Extract<Node, { kind: "scatter" }>, roots: readonly Scalar[]): Node {
  const target = roots.slice(0, node.target.length);
  return arena.scatter({
    axes: node.axes,
    inputs: node.inputs,
    target,
    value: roots.at(-2) ?? node.value,
    keep: roots.at(-1) ?? node.keep,
  });
}
