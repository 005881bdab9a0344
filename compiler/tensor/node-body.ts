/**
 * What a node's bodies hold, found once: nodes never change, and passes ask again and again. Kept beside the nodes
 * by identity, so that it goes when they do.
 */
import type { Node, Scalar, ScalarRead } from "./ir.ts";
import { reachable, rootsOf } from "./scalars.ts";

export interface NodeBody {
  /** Lifts, then results; targets, value and keep of a scatter. */
  readonly roots: readonly Scalar[];
  /** Every scalar of the bodies, operands first. */
  readonly scalars: readonly Scalar[];
  readonly reads: readonly ScalarRead[];
}

const bodies = new WeakMap<Node, NodeBody>();

export function bodyOf(node: Node): NodeBody {
  let body = bodies.get(node);
  if (body === undefined) {
    const roots = rootsOf(node);
    const scalars = reachable(roots);
    body = { roots, scalars, reads: scalars.filter((s): s is ScalarRead => s.kind === "read") };
    bodies.set(node, body);
  }
  return body;
}
