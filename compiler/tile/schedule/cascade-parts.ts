/**
 * Loops that stream sums of products through reductions into others, by structure alone:
 *
 *     rows:     m, of a tile; each has reductions of its own along the swept axis t
 *     products: sums inside bodies, left[m, d] right[t, d]
 *     sums:     carriers left[m, t] right[t, n], left made of the products and the rows' reductions
 */
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { reachable } from "../../tensor/scalars.ts";
import { axesOf, constantOf, factorsOf } from "./analysis.ts";

/** A reduction inside bodies, along `axes`. */
export interface InnerFactors {
  readonly scalar: Scalar;
  readonly left: Scalar;
  readonly right: Scalar;
  readonly axes: readonly number[];
}

/** A carrier that is a sum of products over the swept axis. */
export interface OuterFactors {
  readonly carrier: number;
  readonly left: Scalar;
  readonly right: Scalar;
}

export interface CascadeParts {
  /** Axes of the loop by class. */
  readonly batch: readonly number[];
  readonly m: readonly number[];
  readonly n: readonly number[];
  readonly products: readonly InnerFactors[];
  readonly sums: readonly OuterFactors[];
  /** Carriers that are no sum of products, one value a row. */
  readonly rows: readonly number[];
}

/** Undefined where the loop has another structure. */
export function cascadeParts(loop: LoopNode): CascadeParts | undefined {
  const [swept] = loop.over;
  if (swept === undefined || loop.over.length !== 1 || loop.inner.length === 0) return undefined;
  if (loop.results.some((result) => result.axes.length > loop.axes.length)) return undefined;
  if (constantOf(swept.extent) === 0) return undefined;
  const sums = loop.carriers.flatMap((carrier, k) => {
    const factors = carrier.monoid === "sum" ? outerFactors(carrier.lift) : undefined;
    return factors === undefined ? [] : [{ carrier: k, ...factors }];
  });
  const [first] = sums;
  if (first === undefined) return undefined;
  const { batch, m, n } = classes(loop, first.left, first.right);
  if (m.length === 0 || n.length === 0) return undefined;
  const rows = loop.carriers.flatMap((_, k) => (sums.some(({ carrier }) => carrier === k) ? [] : [k]));
  if (rows.some((k) => loop.carriers[k] !== undefined && moves(loop.carriers[k].lift, n))) return undefined;
  if (sums.some(({ left, right }) => moves(left, n) || moves(right, m))) return undefined;
  const t = loop.axes.length;
  const inside = reachable(loop.carriers.map((carrier) => carrier.lift)).filter((s) => s.kind === "reduce");
  const products = inside.flatMap((scalar): InnerFactors[] => {
    const factors = scalar.monoid === "sum" ? factorsOf(scalar.arg) : undefined;
    if (factors === undefined) return [];
    const [left, right] = moves(factors[0], [t]) ? [factors[1], factors[0]] : factors;
    if (moves(left, [t, ...n]) || moves(right, [...m, ...n])) return [];
    return [{ scalar, left, right, axes: scalar.axes }];
  });
  return products.length !== inside.length || products.length === 0
    ? undefined
    : { batch, m, n, products, sums, rows };
}

/** Whether a scalar moves along some axes. */
function moves(scalar: Scalar, axes: readonly number[]): boolean {
  const own = axesOf(scalar);
  return axes.some((axis) => own.has(axis));
}

/** Whether a scalar has a reduction in it, a running one or one of its own. */
export function isMade(scalar: Scalar): boolean {
  return reachable([scalar]).some((part) => part.kind === "carrier" || part.kind === "reduce");
}

/** A factor that is made in the loop, and one that is read. */
function outerFactors(lift: Scalar): { readonly left: Scalar; readonly right: Scalar } | undefined {
  const factors = factorsOf(lift);
  if (factors === undefined) return undefined;
  const [a, b] = factors;
  if (isMade(a) === isMade(b)) return undefined;
  return isMade(a) ? { left: a, right: b } : { left: b, right: a };
}

function classes(loop: LoopNode, left: Scalar, right: Scalar): Pick<CascadeParts, "batch" | "m" | "n"> {
  const [inLeft, inRight] = [axesOf(left), axesOf(right)];
  const [batch, m, n]: [number[], number[], number[]] = [[], [], []];
  loop.axes.forEach((_, axis) => {
    if (inLeft.has(axis) === inRight.has(axis)) batch.push(axis);
    else if (inLeft.has(axis)) m.push(axis);
    else n.push(axis);
  });
  return { batch, m, n };
}
