/**
 * What the sum of a run is multiplied by before it is added: the scales that the run's products have in common, each
 * loaded where it changes. One for a row, one for a column or a piece of the columns, and what a whole tile shares with its
 * rows'.
 */
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import * as t from "../build.ts";
import type { Axis, Tile, TileExpr, TileOp } from "../ir.ts";
import { axesOf } from "./analysis.ts";
import type { WarpgroupFragment } from "./fragments.ts";
import type { Contraction } from "./matrices.ts";
import { commonDivisor, constantRun } from "./runs.ts";

export interface ScalePlace {
  /** Columns of a tile. */
  readonly columns: number;
  /** A scale of a row or a column that has come with the factors; undefined: it is loaded. */
  readonly inSlot: (scale: Scalar) => TileExpr | undefined;
  /** The scales at a place of the matrices. */
  readonly at: (m: TileExpr, n: TileExpr, k: TileExpr) => (scale: Scalar) => TileExpr;
  readonly m: TileExpr;
  readonly n: TileExpr;
  readonly nBase: TileExpr;
  /** Whether a row or a column is one of the matrix; undefined where that is sure. */
  readonly inside: Readonly<Record<"m" | "n", (index: TileExpr) => TileExpr | undefined>>;
}

/** A scale in registers, and what it is in a run whose first k is given. */
export interface ScaleTile {
  readonly tile: Tile;
  readonly at: (k: TileExpr) => TileExpr;
  readonly where: TileExpr | undefined;
}

/** What multiplies a run's sum: scales that are loaded, and what is computed of them when the sum is there. */
export interface Scaling {
  readonly scales: readonly ScaleTile[];
  /** Scales that are in the slot, taken from there: of rows, and of columns, which are many. */
  readonly taken: Readonly<Record<"rows" | "columns", readonly TileOp[]>>;
  readonly products: readonly TileOp[];
  readonly values: readonly TileExpr[];
}

export function scalingOf(
  b: t.TileBuilder,
  loop: LoopNode,
  contraction: Contraction,
  scales: readonly Scalar[],
  layout: WarpgroupFragment,
  place: ScalePlace,
): Scaling {
  const loaded: ScaleTile[] = [];
  const taken: Record<"rows" | "columns", TileOp[]> = { rows: [], columns: [] };
  const products: TileOp[] = [];
  const sides = { row: layout.m.axes, column: layout.n.axes } as const;
  const { piece } = layout;
  const isPiece = (scale: Scalar): boolean =>
    piece !== undefined && columnsAlike(loop, contraction, scale, place.columns) < place.columns;
  const value = (name: string, own: readonly Scalar[]): TileExpr[] => {
    const axesOfScale = (scale: Scalar): readonly Axis[] => {
      if (isPerColumn(loop, contraction, scale, place.columns)) return sides.column;
      const rows = contraction.m.some((axis) => axesOf(scale).has(axis)) ? sides.row : [];
      return piece !== undefined && isPiece(scale) ? [...rows, piece.axis] : rows;
    };
    const tiles = own.map((scale): Tile => {
      const columns = isPerColumn(loop, contraction, scale, place.columns);
      const rows = contraction.m.some((axis) => axesOf(scale).has(axis));
      const tile = b.tile(name, "f32", axesOfScale(scale));
      const inPieces =
        piece !== undefined && isPiece(scale)
          ? t.plus(place.nBase, t.times(t.along(piece.axis), t.int(piece.columns)))
          : place.nBase;
      const n = columns ? place.n : inPieces;
      const moves = columns || contraction.n.some((axis) => axesOf(scale).has(axis));
      const where = t.both(rows ? place.inside.m(place.m) : undefined, moves ? place.inside.n(n) : undefined);
      const expr = place.inSlot(scale);
      if (expr !== undefined) {
        const own = columns ? taken.columns : taken.rows;
        own.push({ kind: "let", tile, expr, where: undefined, otherwise: undefined });
        return tile;
      }
      loaded.push({ tile, at: (k) => place.at(place.m, n, k)(scale), where });
      return tile;
    });
    const [first, ...rest] = tiles.map(t.valueOf);
    if (first === undefined) return [];
    if (rest.length === 0) return [first];
    const tile = b.tile(`${name}s`, "f32", [...new Set(own.flatMap(axesOfScale))]);
    const expr = rest.reduce((a, c) => t.apply("mul", "f32", [a, c]), first);
    products.push({ kind: "let", tile, expr, where: undefined, otherwise: undefined });
    return [t.valueOf(tile)];
  };
  const perColumn = scales.filter((scale) => isPerColumn(loop, contraction, scale, place.columns));
  const others = scales.filter((scale) => !perColumn.includes(scale));
  const values = [...value("column_scale", perColumn), ...value("row_scale", others)];
  return { scales: loaded, taken, products, values };
}

/** Columns that a fragment of a warpgroup's instruction counts together. */
const columnTile = 8;

/** For how many neighbouring columns a scale is the same, from a first that is a multiple of `columns`. */
function columnsAlike(loop: LoopNode, { n }: Contraction, scale: Scalar, columns: number): number {
  return commonDivisor(columns, constantRun(loop, n, scale));
}

/** Whether a scale changes within the columns that a fragment counts together. */
function isPerColumn(loop: LoopNode, contraction: Contraction, scale: Scalar, columns: number): boolean {
  return columnsAlike(loop, contraction, scale, columns) % columnTile !== 0;
}

/** Columns of which each has the same scales, but for those that change from column to column. */
export function pieceColumns(
  loop: LoopNode,
  contraction: Contraction,
  scales: readonly Scalar[],
  columns: number,
): number {
  return scales
    .filter((scale) => !isPerColumn(loop, contraction, scale, columns))
    .reduce((piece, scale) => commonDivisor(piece, columnsAlike(loop, contraction, scale, columns)), columns);
}

/** Registers of a thread that scales of columns take. */
export function columnRegisters(
  loop: LoopNode,
  contraction: Contraction,
  scales: readonly Scalar[],
  columns: number,
): number {
  return scales.some((scale) => isPerColumn(loop, contraction, scale, columns)) ? columns / 4 : 0;
}

/** Registers that other scales take: of each piece of the columns one, that of the next run, and both rows' products. */
export function pieceRegisters(
  loop: LoopNode,
  contraction: Contraction,
  scales: readonly Scalar[],
  columns: number,
): number {
  return (4 * columns) / pieceColumns(loop, contraction, scales, columns);
}
