/** Loops of `cascade-parts.ts` for matrix units that read shared memory: how each factor comes there. */
import type { Arena } from "../../tensor/arena.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { mostRows, rowAxesOf } from "../../tensor/row-places.ts";
import { operandsOf, reachable, rewriteScalars } from "../../tensor/scalars.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import { constantOf, readsOf, volume } from "./analysis.ts";
import { hasSides, viewOfRead, viewOfResult, viewOfRuns, type Side, type Sides, type View } from "./boxes.ts";
import { cascadeParts, type CascadeParts } from "./cascade-parts.ts";
import { factorDType } from "./matrices.ts";
import type { MatrixOperand } from "../ir.ts";
import { rangeOf, where } from "./ranges.ts";
import { commonDivisor, constantRun } from "./runs.ts";
import { liesAlongK } from "./staging.ts";
import { panelBytes, type Copied } from "./transfers.ts";

/**
 * A factor, and how its tiles come: by the copy engine, or made by threads. The engine brings what a factor is where
 * conditions on the swept axis hold; threads make it in the blocks where they may not.
 */
export interface BroughtFactor {
  readonly factor: Scalar;
  readonly order: MatrixOperand["order"];
  readonly copied: Copied | undefined;
  readonly conditions: ReadonlySet<Scalar>;
  /** What threads make it of, where boxes of that can be asked for ahead, within conditions on the swept axis. */
  readonly made?: MadeOf;
}

export interface MadeOf {
  readonly reads: readonly NearRead[];
  readonly conditions: ReadonlySet<Scalar>;
}

/** A tensor that is read beside a product's k: all of its last axis, so many elements for so much of k. */
export interface NearRead extends Copied {
  readonly columns: number;
}

/** A reduction inside bodies, or one of several whose sum is all that is used. */
export interface InnerProduct {
  /** The sum: products that share it are summed in one place. */
  readonly scalar: Scalar;
  readonly left: BroughtFactor;
  readonly right: BroughtFactor;
  readonly axes: readonly number[];
  /** Elements that are summed. */
  readonly depth: number;
}

/** A carrier that is a sum of products over the swept axis. */
export interface OuterProduct {
  readonly carrier: number;
  readonly left: Scalar;
  readonly right: BroughtFactor;
  /**
   * The inner product of whose right factor this is a part: r[t, n] where that one has r[t, d]. One tile is both, read
   * along one of its sides and then along the other.
   */
  readonly partOf: InnerProduct | undefined;
}

export interface CascadePlan extends Pick<CascadeParts, "batch" | "m" | "n" | "rows"> {
  readonly dtype: DType;
  /** Of n, whose extents are known, in all. */
  readonly columns: number;
  readonly products: readonly InnerProduct[];
  readonly sums: readonly OuterProduct[];
  readonly results: readonly (View | undefined)[];
}

/** Of an element that is multiplied. */
const factorBytes = 2;
/** What a box's rows are whole numbers of. */
const boxBytes = 16;
/** Rows of a warpgroup's instruction, of which every box of rows is a multiple. */
const boxRows = 64;

/** Undefined where the loop has another structure, or factors of other widths. */
export function planCascade(arena: Arena, loop: LoopNode): CascadePlan | undefined {
  const parts = cascadeParts(loop);
  if (parts === undefined) return undefined;
  const { batch, m, n, rows } = parts;
  if (loop.order !== undefined && !batch.includes(loop.order.axis)) return undefined;
  const columns = constantOf(volume(n.flatMap((axis) => loop.axes[axis] ?? [])));
  if (columns === undefined) return undefined;
  const t = loop.axes.length;
  const types = new Set<DType>();
  const { conditions } = rangeOf(loop, rowAxesOf(loop, m, mostRows));
  const broughtOf = (factor: Scalar, sides: Sides, [row, summed]: readonly [Side, Side]): BroughtFactor => {
    types.add(factorDType(loop, factor));
    const [plain = factor] = where(arena, [factor], conditions);
    const view = plain.kind === "read" ? viewOfRead(loop, sides, plain, boxRows) : undefined;
    if (plain.kind !== "read" || view === undefined || !hasSides(view, row, summed)) {
      const order = liesAlongK(loop, factor) ? "k" : "mn";
      const made = madeOf(loop, plain, sides, [row, summed]);
      const asked = new Set(plain === factor ? [] : reachable([factor]).filter((s) => conditions.has(s)));
      return {
        factor,
        order,
        copied: undefined,
        conditions: new Set(),
        ...(made.length === 0 ? {} : { made: { reads: made, conditions: asked } }),
      };
    }
    const order = view.at(-1)?.along === summed ? "k" : "mn";
    const asked = new Set(plain === factor ? [] : reachable([factor]).filter((s) => conditions.has(s)));
    return { factor, order, copied: { input: plain.input, view }, conditions: asked };
  };
  const sumOf = sumsOfProducts(
    loop,
    parts.products.map(({ scalar }) => scalar),
  );
  const products = parts.products.flatMap(({ scalar, left, right, axes }): InnerProduct[] => {
    const [a, b] = [
      broughtOf(left, { m, n: [], k: axes }, ["m", "k"]),
      broughtOf(right, { m: [], n: [t], k: axes }, ["n", "k"]),
    ];
    const depth = constantOf(volume(axes.flatMap((axis) => loop.inner[axis - t - 1] ?? [])));
    if (a.order !== "k" || depth === undefined) return [];
    const sum = sumOf.get(scalar) ?? scalar;
    return [{ scalar: sum, left: a, right: ofWholePanels(b, depth), axes, depth }];
  });
  const sums = parts.sums.map(({ carrier, left, right }): OuterProduct => {
    types.add(factorDType(loop, left));
    const brought = broughtOf(right, { m: [], n, k: [t] }, ["n", "k"]);
    const partOf = products.find((product) => isPart(arena, right, n, columns, product));
    const order = partOf?.right.order === "k" ? "mn" : "k";
    return { carrier, left, right: partOf === undefined ? brought : { ...partOf.right, order }, partOf };
  });
  const [dtype] = types;
  if (products.length !== parts.products.length) return undefined;
  if (types.size !== 1 || dtype === undefined || dtypes[dtype].bytes !== factorBytes) return undefined;
  const results = loop.results.map((result) => {
    const view = viewOfResult(loop, { m, n, k: [] }, result, boxRows);
    const isWhole = (columns * dtypes[result.dtype].bytes) % panelBytes === 0;
    if (view === undefined || !isWhole || !hasSides(view, "m", "n")) return undefined;
    return view.at(-1)?.along === "n" ? view : undefined;
  });
  return { dtype, batch, m, n, columns, products, sums, rows, results };
}

/** What the engine would copy of a factor's reads that lie along k, were they the factor. */
function madeOf(
  loop: LoopNode,
  factor: Scalar,
  sides: Sides,
  [row, summed]: readonly [Side, Side],
): NearRead[] {
  const depth = constantOf(
    volume(sides[summed].flatMap((axis) => loop.inner[axis - loop.axes.length - 1] ?? [])),
  );
  return readsOf([factor]).flatMap((read): NearRead[] => {
    const dtype = loop.inputs[read.input]?.node.types[loop.inputs[read.input]?.output ?? 0]?.dtype;
    const run = read.index.reduce(
      (all, index) => commonDivisor(all, constantRun(loop, sides[summed], index)),
      0,
    );
    const view = run === 1 ? viewOfRead(loop, sides, read, boxRows) : viewOfRuns(loop, sides, read, run);
    if (view === undefined || dtype === undefined || depth === undefined || run === 0) return [];
    if (!hasSides(view, row, summed) || view.at(-1)?.along !== summed) return [];
    const columns = Math.ceil(depth / run);
    return (columns * dtypes[dtype].bytes) % boxBytes === 0 ? [{ input: read.input, view, columns }] : [];
  });
}

/**
 * A right factor as deep as its left one, which is whole panels with zeros behind its elements: so is what lies along the
 * depth. What lies across it has no such zeros, and is made along it where the depth is no whole panels.
 */
function ofWholePanels(right: BroughtFactor, depth: number): BroughtFactor {
  const isWhole = right.order === "k" || depth % (panelBytes / factorBytes) === 0;
  return isWhole ? right : { ...right, order: "k", copied: undefined, conditions: new Set() };
}

/** Of products that are used only where they are added up, the sum. */
function sumsOfProducts(loop: LoopNode, products: readonly Scalar[]): ReadonlyMap<Scalar, Scalar> {
  const all = reachable(loop.carriers.map((carrier) => carrier.lift));
  const users = new Map<Scalar, Scalar[]>();
  for (const user of all)
    for (const operand of operandsOf(user)) users.set(operand, [...(users.get(operand) ?? []), user]);
  const isSum = (s: Scalar): boolean =>
    products.includes(s) || (s.kind === "apply" && s.fn === "add" && s.args.every(isSum));
  const sumOf = (s: Scalar): Scalar => {
    const [user, other] = users.get(s) ?? [];
    return user !== undefined && other === undefined && isSum(user) ? sumOf(user) : s;
  };
  const roots = new Set(loop.carriers.map((carrier) => carrier.lift));
  const found = new Map(products.map((product) => [product, sumOf(product)] as const));
  // Each stands for all that it is the sum of.
  const isWhole = (sum: Scalar): boolean =>
    !roots.has(sum) &&
    reachable([sum]).every((s) => s.kind !== "reduce" || !products.includes(s) || found.get(s) === sum);
  return new Map([...found].filter(([, sum]) => isWhole(sum)));
}

/** Whether an outer product's factor, which moves along n, is the first columns of an inner one's. */
function isPart(
  arena: Arena,
  outer: Scalar,
  n: readonly number[],
  columns: number,
  { right, axes, depth }: InnerProduct,
): boolean {
  const [column, summed] = [n[0], axes[0]];
  if (column === undefined || summed === undefined || n.length > 1 || axes.length > 1 || columns > depth)
    return false;
  const [moved] = rewriteScalars(arena, [right.factor], (s) =>
    s.kind === "axis" && s.axis === summed ? arena.axis(column) : s,
  );
  return moved === outer;
}
