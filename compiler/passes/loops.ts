/** What passes ask of a loop: whether it is pointwise, which reads it makes, what it costs, whether it contracts. */
import type { LoopNode, Node, Scalar, ScalarRead } from "../tensor/ir.ts";
import { bodyOf, flopsIn } from "../tensor/node-body.ts";
import { reachable } from "../tensor/scalars.ts";

export function isPointwise(node: Node): node is LoopNode {
  return node.kind === "loop" && node.over.length === 0;
}

export function readsOf(node: Node): readonly ScalarRead[] {
  return bodyOf(node).reads;
}

/** The reads of the input at a position. */
export function readsOfInput(node: Node, position: number): readonly ScalarRead[] {
  return bodyOf(node).readsByInput[position] ?? [];
}

/** FLOPs of evaluating the scalars once each. Index arithmetic is free. */
export function flopsOf(roots: readonly Scalar[]): number {
  return flopsIn(reachable(roots));
}

/** FLOPs of a node's bodies at one point. */
export function bodyFlops(node: Node): number {
  return bodyOf(node).flops;
}

/**
 * True where some carrier is a sum of a product of two factors that both vary along `over` and neither of which
 * varies along every axis: each element is used many times, so that the loop wants tiles of its own.
 */
export function isContraction(node: Node): boolean {
  if (node.kind !== "loop" || node.over.length === 0) return false;
  return (node.form.contracts ??= contractsIn(node));
}

function contractsIn(node: LoopNode): boolean {
  const all = 2 ** (node.axes.length + node.over.length) - 1;
  const swept = all - (2 ** node.axes.length - 1);
  return node.carriers.some((carrier) => {
    if (carrier.monoid !== "sum" || carrier.lift.type !== "f32") return false;
    const factors = factorsOf(carrier.lift);
    const sets = factors.map((factor) => axesOf(factor)).filter((set) => (set & swept) !== 0);
    return sets.length >= 2 && sets.every((set) => set !== all);
  });
}

/** True where a sum of products has some of them only under a condition that varies along the sum and beside it. */
export function leavesProductsOut(node: LoopNode): boolean {
  const own = 2 ** node.axes.length - 1;
  return node.carriers.some(({ monoid, lift }) => {
    if (monoid !== "sum" || lift.kind !== "apply" || lift.fn !== "select") return false;
    const [condition, product, other] = lift.args;
    if (condition === undefined || product === undefined || other?.kind !== "const") return false;
    const along = axesOf(condition);
    return factorsOf(product).length > 1 && (along & own) !== 0 && (along & ~own) !== 0;
  });
}

/** The axes that a scalar varies along, as a bit set; loops have fewer than 31 axes. */
export function axesOf(scalar: Scalar): number {
  let set = 0;
  for (const s of reachable([scalar])) if (s.kind === "axis") set |= 1 << s.axis;
  return set;
}

/** The factors of a lift, through products, roundings, signs and a select that gives 0 otherwise. */
export function factorsOf(lift: Scalar): readonly Scalar[] {
  const factors: Scalar[] = [];
  const stack = [lift];
  for (let s = stack.pop(); s !== undefined; s = stack.pop()) {
    const [a, b, c] = s.kind === "apply" ? s.args : [];
    if (s.kind === "apply" && s.fn === "mul" && a !== undefined && b !== undefined) stack.push(a, b);
    else if (s.kind === "apply" && s.fn === "neg" && a !== undefined) stack.push(a);
    else if (
      s.kind === "apply" &&
      s.fn === "select" &&
      b !== undefined &&
      c?.kind === "const" &&
      c.value === 0
    )
      stack.push(b);
    else factors.push(s);
  }
  return factors;
}
