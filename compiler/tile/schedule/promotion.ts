/**
 * What the sum of a run is multiplied by before it is added: the scales that the run's products have in common, each
 * loaded where it changes. One for a row, one for a column, and what a whole tile shares with its rows'.
 */
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import * as t from "../build.ts";
import type { Axis, Tile, TileExpr, TileOp } from "../ir.ts";
import { axesOf } from "./analysis.ts";
import type { Fragment } from "./fragments.ts";
import type { Contraction } from "./matrices.ts";
import { constantRun } from "./runs.ts";

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
  layout: Fragment,
  place: ScalePlace,
): Scaling {
  const loaded: ScaleTile[] = [];
  const taken: Record<"rows" | "columns", TileOp[]> = { rows: [], columns: [] };
  const products: TileOp[] = [];
  const sides = { row: layout.m.axes, column: layout.n.axes } as const;
  const value = (name: string, own: readonly Scalar[], axes: readonly Axis[]): TileExpr[] => {
    const tiles = own.map((scale): Tile => {
      const columns = isPerColumn(loop, contraction, scale, place.columns);
      const rows = contraction.m.some((axis) => axesOf(scale).has(axis));
      const tile = b.tile(name, "f32", columns ? sides.column : rows ? sides.row : []);
      const where = columns ? place.inside.n(place.n) : rows ? place.inside.m(place.m) : undefined;
      const n = columns ? place.n : place.nBase;
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
    const tile = b.tile(`${name}s`, "f32", axes);
    const expr = rest.reduce((a, c) => t.apply("mul", "f32", [a, c]), first);
    products.push({ kind: "let", tile, expr, where: undefined, otherwise: undefined });
    return [t.valueOf(tile)];
  };
  const perColumn = scales.filter((scale) => isPerColumn(loop, contraction, scale, place.columns));
  const others = scales.filter((scale) => !perColumn.includes(scale));
  const values = [
    ...value("column_scale", perColumn, sides.column),
    ...value("row_scale", others, sides.row),
  ];
  return { scales: loaded, taken, products, values };
}

/** Whether a scale changes along a tile's columns, of which the first is a multiple of their count. */
function isPerColumn(loop: LoopNode, { n }: Contraction, scale: Scalar, columns: number): boolean {
  const block = constantRun(loop, n, scale);
  return block % columns !== 0;
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
