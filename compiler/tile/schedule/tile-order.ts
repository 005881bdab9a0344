/**
 * The order in which blocks take the tiles of a product: bands of rows, and down the columns of a band first, so that the
 * blocks that run at one time touch a patch that is nearly square, and find each other's factors in the L2 cache.
 */
import type { Scalar, ScalarRead } from "../../tensor/ir.ts";
import { operandsOf } from "../../tensor/scalars.ts";
import { ceildiv, constant, mul, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Counter, TileExpr, TileOp } from "../ir.ts";
import type { Contraction } from "./matrices.ts";

/** Tiles of the result in a band of rows, which share their columns' tiles in the cache. */
const bandRows = 8;

/**
 * Whether batches may have the right factor's columns in common: which columns a batch has is read from memory, as the
 * weight of a block's expert is. Their rows are then taken in the order of one matrix's.
 */
export function sharesColumns({ batch, products }: Contraction): boolean {
  const moves = (roots: readonly Scalar[]): boolean =>
    untilReads(roots).axes.some((axis) => batch.includes(axis));
  return (
    batch.length > 0 &&
    products.every(({ right }) => {
      const { reads } = untilReads([right]);
      return !moves([right]) && !reads.some(({ index }) => moves(index));
    })
  );
}

/** The axes and the reads that scalars are made of, without those that places of the reads are made of. */
function untilReads(roots: readonly Scalar[]): {
  readonly axes: readonly number[];
  readonly reads: readonly ScalarRead[];
} {
  const axes: number[] = [];
  const reads: ScalarRead[] = [];
  const seen = new Set<Scalar>();
  const stack = [...roots];
  for (let scalar = stack.pop(); scalar !== undefined; scalar = stack.pop()) {
    if (seen.has(scalar)) continue;
    seen.add(scalar);
    if (scalar.kind === "axis") axes.push(scalar.axis);
    if (scalar.kind === "read") reads.push(scalar);
    else stack.push(...operandsOf(scalar));
  }
  return { axes, reads };
}

/** Tiles of a batch along either side. */
export interface TileGrid {
  readonly mTiles: Dim;
  readonly nTiles: Dim;
  /** Of tiles that are counted across all batches, the counter of these; undefined: tiles of one batch are counted. */
  readonly batch: Counter | undefined;
  /** Neighbours in order that are neighbours along n. */
  readonly beside: number;
}

/** A tile's place, by its number. */
export function tileOrder(
  b: t.TileBuilder,
  tile: TileExpr,
  { mTiles, nTiles, batch, beside }: TileGrid,
): { readonly ops: readonly TileOp[]; readonly m: TileExpr; readonly n: TileExpr } {
  const ops: TileOp[] = [];
  const index = (name: string, count: Dim, expr: TileExpr): TileExpr => {
    const counter = b.counter(name, count);
    ops.push({ kind: "index", counter, expr });
    return t.at(counter);
  };
  const minus = (x: TileExpr, y: TileExpr): TileExpr => t.apply("sub", "i32", [x, y]);
  const group = beside === 1 ? tile : t.over(tile, t.int(beside));
  const columns = ceildiv(nTiles, constant(beside));
  const rowTiles = batch === undefined ? mTiles : mul(batch.count, mTiles);
  const bandTiles = t.times(t.size(columns), t.int(bandRows));
  const band = index("band", ceildiv(rowTiles, constant(bandRows)), t.over(group, bandTiles));
  const first = t.times(band, t.int(bandRows));
  const rest = minus(group, t.times(band, bandTiles));
  // The last band may have fewer rows.
  const rows = index(
    "band_rows",
    constant(bandRows + 1),
    t.apply("min", "i32", [minus(t.size(rowTiles), first), t.int(bandRows)]),
  );
  const column = index(beside === 1 ? "n_block" : "n_blocks", columns, t.over(rest, rows));
  const down = t.plus(first, minus(rest, t.times(column, rows)));
  const n =
    beside === 1
      ? column
      : index("n_block", nTiles, t.plus(t.times(column, t.int(beside)), t.modulo(tile, t.int(beside))));
  if (batch === undefined) return { ops, m: index("m_block", mTiles, down), n };
  const row = index("row_block", rowTiles, down);
  ops.push({ kind: "index", counter: batch, expr: t.over(row, t.size(mTiles)) });
  return { ops, m: index("m_block", mTiles, t.modulo(row, t.size(mTiles))), n };
}
