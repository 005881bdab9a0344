/**
 * What a node's bodies hold, found once: nodes never change, and passes ask again and again. A node that only reads
 * other tensors of the same types shares its record with the node that it was made from. Records are kept beside
 * nodes by identity, so that they go when the nodes do.
 */
import type { Node, Scalar, ScalarRead } from "./ir.ts";
import { inReadingOrder, reachable, rootsOf } from "./scalars.ts";

export class NodeBody {
  /** Lifts, then results; targets, value and keep of a scatter. */
  readonly roots: readonly Scalar[];
  /** Every scalar of the bodies, operands first. */
  readonly scalars: readonly Scalar[];
  readonly reads: readonly ScalarRead[];
  #order: readonly number[] | undefined;
  #axes: readonly number[] | undefined;
  #carriers: readonly number[] | undefined;

  constructor(node: Node) {
    this.roots = rootsOf(node);
    this.scalars = reachable(this.roots);
    this.reads = this.scalars.filter((s): s is ScalarRead => s.kind === "read");
  }

  /** Positions of inputs in order of first use. */
  get inputOrder(): readonly number[] {
    return (this.#order ??= inputOrder(this.roots));
  }

  /** For each root, the axes that it varies along, as a bit set; loops have fewer than 31 axes. */
  get axesOfRoots(): readonly number[] {
    return (this.#axes ??= bitsOfRoots(this, (s) => (s.kind === "axis" ? 1 << s.axis : 0)));
  }

  /** For each root, the lowest number that no carrier reaches that it uses; 0 where it uses none. */
  get carriersOfRoots(): readonly number[] {
    return (this.#carriers ??= mostOfRoots(this));
  }
}

const bodies = new WeakMap<Node, NodeBody>();

export function bodyOf(node: Node): NodeBody {
  let body = bodies.get(node);
  if (body === undefined) bodies.set(node, (body = new NodeBody(node)));
  return body;
}

/** Says that `to` has the very bodies of `from`, over inputs of the same types. */
export function shareBody(from: Node, to: Node): void {
  const body = bodies.get(from);
  if (body !== undefined && !bodies.has(to)) bodies.set(to, body);
}

export function inputOrder(roots: readonly Scalar[]): readonly number[] {
  const order: number[] = [];
  for (const s of inReadingOrder(roots)) if (s.kind === "read" && !order.includes(s.input)) order.push(s.input);
  return order;
}

function bitsOfRoots(body: NodeBody, own: (s: Scalar) => number): readonly number[] {
  const sets = new Map<Scalar, number>();
  for (const s of body.scalars) sets.set(s, foldOperands(s, sets, own(s), (a, b) => a | b));
  return body.roots.map((root) => sets.get(root) ?? 0);
}

function mostOfRoots(body: NodeBody): readonly number[] {
  if (!body.scalars.some((s) => s.kind === "carrier")) return body.roots.map(() => 0);
  const most = new Map<Scalar, number>();
  for (const s of body.scalars) most.set(s, foldOperands(s, most, s.kind === "carrier" ? s.carrier + 1 : 0, Math.max));
  return body.roots.map((root) => most.get(root) ?? 0);
}

function foldOperands(s: Scalar, known: ReadonlyMap<Scalar, number>, start: number, join: (a: number, b: number) => number): number {
  let value = start;
  if (s.kind === "apply") for (const arg of s.args) value = join(value, known.get(arg) ?? 0);
  else if (s.kind === "round" || s.kind === "cast") value = join(value, known.get(s.arg) ?? 0);
  else if (s.kind === "read") {
    for (const index of s.index) value = join(value, known.get(index) ?? 0);
    if (s.otherwise !== undefined) value = join(value, known.get(s.otherwise) ?? 0);
  }
  return value;
}
