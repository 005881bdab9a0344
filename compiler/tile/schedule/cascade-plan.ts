/** Loops of `cascade-parts.ts` whose factors the copy engine brings: how each lies in memory. */
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import { constantOf, volume } from "./analysis.ts";
import { hasSides, viewOfRead, viewOfResult, type Side, type Sides, type View } from "./boxes.ts";
import { cascadeParts, type CascadeParts } from "./cascade-parts.ts";
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

export interface CascadePlan extends Pick<CascadeParts, "batch" | "m" | "n" | "rows"> {
  readonly dtype: DType;
  /** Of n, whose extents are known, in all. */
  readonly columns: number;
  readonly products: readonly InnerProduct[];
  readonly sums: readonly OuterProduct[];
  readonly results: readonly (View | undefined)[];
}

/** Rows of a warpgroup's instruction, of which every box of rows is a multiple. */
const boxRows = 64;

/** Undefined where the loop has another structure, or a factor that the copy engine cannot bring. */
export function planCascade(loop: LoopNode): CascadePlan | undefined {
  const parts = cascadeParts(loop);
  if (parts === undefined) return undefined;
  const { batch, m, n, rows } = parts;
  const columns = constantOf(volume(n.flatMap((axis) => loop.axes[axis] ?? [])));
  if (columns === undefined) return undefined;
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
  const sums = parts.sums.flatMap(({ carrier, left, right }): OuterProduct[] => {
    const factor = copiedOf(right, { m: [], n, k: [t] }, ["n", "k"]);
    types.add(factorDType(loop, left));
    return factor === undefined ? [] : [{ carrier, left, right: factor }];
  });
  const products = parts.products.flatMap(({ scalar, left, right, axes }): InnerProduct[] => {
    const [a, b] = [
      copiedOf(left, { m, n: [], k: axes }, ["m", "k"]),
      copiedOf(right, { m: [], n: [t], k: axes }, ["n", "k"]),
    ];
    const depth = constantOf(volume(axes.flatMap((axis) => loop.inner[axis - t - 1] ?? [])));
    return a?.order !== "k" || b === undefined || depth === undefined
      ? []
      : [{ scalar, left: a, right: b, depth }];
  });
  const [dtype] = types;
  if (sums.length !== parts.sums.length || products.length !== parts.products.length) return undefined;
  if (types.size !== 1 || dtype === undefined || dtypes[dtype].bytes !== 2) return undefined;
  const results = loop.results.map((result) => {
    const view = viewOfResult(loop, { m, n, k: [] }, result, boxRows);
    const isWhole = (columns * dtypes[result.dtype].bytes) % panelBytes === 0;
    if (view === undefined || !isWhole || !hasSides(view, "m", "n")) return undefined;
    return view.at(-1)?.along === "n" ? view : undefined;
  });
  return { dtype, batch, m, n, columns, products, sums, rows, results };
}
