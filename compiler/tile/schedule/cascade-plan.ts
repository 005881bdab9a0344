/**
 * Loops that stream one sum of products through reductions into another: what their parts are.
 *
 *     rows:     m, of a tile; each has reductions of its own along the swept axis t
 *     products: sums inside bodies, left[m, d] right[t, d]
 *     sums:     carriers left[m, t] right[t, n], left made of the products and the rows' reductions
 */
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { reachable } from "../../tensor/scalars.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import { axesOf, constantOf, factorsOf, volume } from "./analysis.ts";
import { hasSides, viewOfRead, viewOfResult, type Side, type Sides, type View } from "./boxes.ts";
import { factorDType } from "./matrices.ts";
import type { MatrixOperand } from "../ir.ts";
import { panelBytes, type Copied } from "./transfers.ts";

export interface CopiedFactor {
  readonly copied: Copied;
  readonly order: MatrixOperand["order"];
}

/** A reduction inside bodies. */
export interface InnerProduct {
  readonly scalar: Scalar;
  readonly left: CopiedFactor;
  readonly right: CopiedFactor;
  /** Elements that are summed. */
  readonly depth: number;
}

/** A carrier that is a sum of products over the swept axis. */
export interface OuterProduct {
  readonly carrier: number;
  readonly left: Scalar;
  readonly right: CopiedFactor;
}

export interface CascadePlan {
  readonly dtype: DType;
  /** Axes of the loop by class; n's extents are known, `columns` in all. */
  readonly batch: readonly number[];
  readonly m: readonly number[];
  readonly n: readonly number[];
  readonly columns: number;
  readonly products: readonly InnerProduct[];
  readonly sums: readonly OuterProduct[];
  /** Carriers that are no sum of products, one value a row. */
  readonly rows: readonly number[];
  readonly results: readonly (View | undefined)[];
}

/** Rows of a warpgroup's instruction, of which every box of rows is a multiple. */
const boxRows = 64;

/** Undefined where the loop has another structure, or a factor that the copy engine cannot bring. */
export function planCascade(loop: LoopNode): CascadePlan | undefined {
  const [swept] = loop.over;
  if (swept === undefined || loop.over.length !== 1 || loop.inner.length === 0) return undefined;
  if (loop.results.some((result) => result.axes.length > loop.axes.length)) return undefined;
  if (constantOf(swept.extent) === 0) return undefined;
  const outer = loop.carriers.flatMap((carrier, k) => {
    const factors = carrier.monoid === "sum" ? outerFactors(carrier.lift) : undefined;
    return factors === undefined ? [] : [{ carrier: k, ...factors }];
  });
  const [first] = outer;
  if (first === undefined) return undefined;
  const { batch, m, n } = classes(loop, first.left, first.right);
  const columns = constantOf(volume(n.flatMap((axis) => loop.axes[axis] ?? [])));
  if (m.length === 0 || n.length === 0 || columns === undefined) return undefined;
  const rows = loop.carriers.flatMap((_, k) => (outer.some(({ carrier }) => carrier === k) ? [] : [k]));
  const moves = (scalar: Scalar, axes: readonly number[]): boolean => {
    const own = axesOf(scalar);
    return axes.some((axis) => own.has(axis));
  };
  if (rows.some((k) => loop.carriers[k] !== undefined && moves(loop.carriers[k].lift, n))) return undefined;
  const t = loop.axes.length;
  const types = new Set<DType>();
  const copiedOf = (
    factor: Scalar,
    sides: Sides,
    wanted: readonly [Side, Side],
  ): CopiedFactor | undefined => {
    if (factor.kind !== "read") return undefined;
    const view = viewOfRead(loop, sides, factor, boxRows);
    if (view === undefined || !hasSides(view, ...wanted)) return undefined;
    types.add(factorDType(loop, factor));
    const order = view.at(-1)?.along === wanted[1] ? "k" : "mn";
    return { copied: { input: factor.input, view }, order };
  };
  const sums = outer.flatMap(({ carrier, left, right }): OuterProduct[] => {
    const factor = copiedOf(right, { m: [], n, k: [t] }, ["n", "k"]);
    types.add(factorDType(loop, left));
    if (factor === undefined || moves(left, n) || moves(right, m)) return [];
    return [{ carrier, left, right: factor }];
  });
  const inside = reachable(loop.carriers.map((carrier) => carrier.lift)).filter((s) => s.kind === "reduce");
  const products = inside.flatMap((scalar): InnerProduct[] => {
    const factors = scalar.monoid === "sum" ? factorsOf(scalar.arg) : undefined;
    if (factors === undefined) return [];
    const [left, right] = moves(factors[0], [t]) ? [factors[1], factors[0]] : factors;
    if (moves(left, [t, ...n]) || moves(right, [...m, ...n])) return [];
    const [a, b] = [
      copiedOf(left, { m, n: [], k: scalar.axes }, ["m", "k"]),
      copiedOf(right, { m: [], n: [t], k: scalar.axes }, ["n", "k"]),
    ];
    const depth = constantOf(volume(scalar.axes.flatMap((axis) => loop.inner[axis - t - 1] ?? [])));
    return a?.order !== "k" || b === undefined || depth === undefined
      ? []
      : [{ scalar, left: a, right: b, depth }];
  });
  const [dtype] = types;
  if (sums.length !== outer.length || products.length !== inside.length || products.length === 0)
    return undefined;
  if (types.size !== 1 || dtype === undefined || dtypes[dtype].bytes !== 2) return undefined;
  const results = loop.results.map((result) => {
    const view = viewOfResult(loop, { m, n, k: [] }, result, boxRows);
    const isWhole = (columns * dtypes[result.dtype].bytes) % panelBytes === 0;
    if (view === undefined || !isWhole || !hasSides(view, "m", "n")) return undefined;
    return view.at(-1)?.along === "n" ? view : undefined;
  });
  return { dtype, batch, m, n, columns, products, sums, rows, results };
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

function classes(loop: LoopNode, left: Scalar, right: Scalar): Pick<CascadePlan, "batch" | "m" | "n"> {
  const [inLeft, inRight] = [axesOf(left), axesOf(right)];
  const [batch, m, n]: [number[], number[], number[]] = [[], [], []];
  loop.axes.forEach((_, axis) => {
    if (inLeft.has(axis) === inRight.has(axis)) batch.push(axis);
    else if (inLeft.has(axis)) m.push(axis);
    else n.push(axis);
  });
  return { batch, m, n };
}
