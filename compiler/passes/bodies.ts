/** Rewriting the bodies of loops and scatters. */
import type { Arena } from "../tensor/arena.ts";
import type { LoopNode, Node, Ref, Scalar, ScatterNode } from "../tensor/ir.ts";
import { bodyOf } from "../tensor/node-body.ts";
import type { Templates } from "./templates.ts";

/** The node with other bodies, which may read `inputs` by position: lifts, then results; targets, value and keep. */
export function withRoots(
  arena: Arena,
  node: LoopNode | ScatterNode,
  roots: readonly Scalar[],
  inputs: readonly Ref[] = node.inputs,
): Node {
  if (inputs === node.inputs && bodyOf(node).roots.every((root, i) => root === roots[i])) return node;
  if (node.kind === "scatter") {
    const target = roots.slice(0, node.target.length);
    return arena.scatter({
      axes: node.axes,
      inputs,
      target,
      value: roots.at(-2) ?? node.value,
      keep: roots.at(-1) ?? node.keep,
    });
  }
  const carriers = node.carriers.map((c, i) => ({ ...c, lift: roots[i] ?? c.lift }));
  const results = node.results.map((r, i) => ({ ...r, value: roots[carriers.length + i] ?? r.value }));
  const order = node.order && { ...node.order, place: roots.at(-1) ?? node.order.place };
  return arena.loop({ ...node, carriers, results, order, inputs });
}

/**
 * Gives each node the roots that `rewrite` makes of its own, which must follow from its form; the new bodies may read
 * the node's inputs. A form is rewritten once.
 */
export function bodyRewriter(
  arena: Arena,
  templates: Templates,
  rewrite: (node: LoopNode | ScatterNode) => readonly Scalar[],
): (node: Node) => Node {
  /** Forms, by their ids, that stay as they are. */
  const kept: boolean[] = [];
  return (node) => {
    const { form } = node;
    if ((node.kind !== "loop" && node.kind !== "scatter") || kept[form.id] === true) return node;
    templates.begin(form.id);
    const made = templates.node(node.inputs, () => withRoots(arena, node, rewrite(node)));
    if (made.form === form) kept[form.id] = true;
    return made;
  };
}
