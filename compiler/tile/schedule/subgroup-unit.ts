/**
 * What multiplies in a cascade by a subgroup's matrix instruction, of whose fragments nobody knows how they lie over
 * lanes. Each subgroup has rows of its own, all columns of them. Sums live in registers, in a layout that is known, so
 * that rows can be reduced and rescaled; products go to them through shared memory, some fragments at a time:
 *
 *     for each run of columns: fragments = 0 | fragments += left . right | put them | sums += what was put
 *
 * What the loop makes is put to shared memory too, rounded, and multiplied from there.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Axis, MatrixOperand, SharedTile, Tile, TileExpr, TileOp } from "../ir.ts";
import type { ProductUnit, StagedFactor, UnitInstruction, UnitShape } from "./cascade-units.ts";
import type { RowFragment } from "./fragments.ts";
import { matrixPadBytes } from "./staging.ts";

/** Rows and columns of a fragment. */
export const fragmentSide = 16;
const side = fragmentSide;
/** Elements behind a line of f32 that is put: lines begin in different banks. */
const stagingPad = 4;

/** Bytes of shared memory through which products of so many rows go, and registers for them of all threads. */
export function stagingBytes(rows: number, fragments: number): number {
  return rows * fragments * (side + stagingPad) * dtypes.f32.bytes;
}
export function fragmentElements(rows: number, fragments: number): number {
  return rows * fragments * side;
}

export function subgroupUnit(
  b: t.TileBuilder,
  { rows, columns, block, across, fragments: atOnce }: UnitShape,
  { name: instruction, dtype }: UnitInstruction,
  lanes: number,
): ProductUnit {
  invariant(across.n === 1, "a subgroup has all columns of its rows");
  const pad = matrixPadBytes / dtypes[dtype].bytes;
  const band = rows / across.m;
  const tall = band / side;
  const subgroup = b.threadAxis("subgroup_m", across.m, lanes);
  const alone = b.threadAxis("subgroup_n", 1, lanes * across.m);
  const tileM = b.registerAxis("tile_m", tall);
  const [row, column] = [b.fragmentAxis("row", side), b.fragmentAxis("column", side)];
  // A lane has a run of a fragment's row.
  const run = (side * side) / lanes;
  const laneRow = b.threadAxis("lane_row", side, side / run);
  const laneColumn = b.threadAxis("lane_column", side / run, 1);
  const within = b.registerAxis("run", run);
  const rowAt = (place: TileExpr): TileExpr =>
    t.plus(t.plus(t.times(t.along(subgroup), t.int(band)), t.times(t.along(tileM), t.int(side))), place);
  const columnAt = t.plus(t.times(t.along(laneColumn), t.int(run)), t.along(within));
  const m = { row: rowAt(t.along(laneRow)), axes: [subgroup, tileM, laneRow] };
  const fragmentOver = (width: number): RowFragment => {
    const tiles = b.registerAxis("tile_n", width / side);
    const n = {
      row: t.plus(t.times(t.along(tiles), t.int(side)), columnAt),
      axes: [tiles, laneColumn, within],
    };
    return {
      threads: across.m * lanes,
      axes: [...m.axes, ...n.axes],
      m,
      n,
      columns: { tiles, across: laneColumn, within },
    };
  };
  const [inner, outer] = [fragmentOver(block), fragmentOver(columns)];
  const staging = b.sharedTile("staging", "f32", [across.m * tall * atOnce, side, side], { pad: stagingPad });
  const panelOf = (tile: TileExpr): TileExpr =>
    t.plus(t.times(t.plus(t.times(t.along(subgroup), t.int(tall)), t.along(tileM)), t.int(atOnce)), tile);

  /** Fragments of some columns of the product, and what they come to. */
  const part = (acc: Tile, tiles: Axis, a: MatrixOperand, c: MatrixOperand, from: number): TileOp[] => {
    const count = Math.min(atOnce, tiles.size - from);
    const some = b.registerAxis("some_n", count);
    const product = b.tile("fragment", "f32", [subgroup, alone, tileM, some, row, column]);
    const first = from * side;
    const once = b.registerAxis("once", 1);
    const place = t.plus(t.along(tiles), t.int(-from));
    return [
      { kind: "var", tile: product, init: { kind: "const", type: "f32", value: 0 } },
      {
        kind: "mma",
        acc: product,
        a,
        b: c,
        m: rowAt(t.along(row)),
        n: t.plus(t.plus(t.times(t.along(some), t.int(side)), t.along(column)), t.int(first)),
        accumulate: undefined,
        instruction,
      },
      {
        kind: "put",
        shared: staging,
        index: [panelOf(t.along(some)), t.along(row), t.along(column)],
        expr: t.valueOf(product),
        axes: product.axes,
        where: undefined,
        otherwise: undefined,
      },
      {
        kind: "fold",
        tile: acc,
        monoid: "sum",
        expr: {
          kind: "shared",
          type: "f32",
          tile: staging,
          index: [panelOf(place), t.along(laneRow), columnAt],
        },
        over: [once],
        where: t.both(
          from === 0 ? undefined : t.less(t.int(from - 1), t.along(tiles)),
          from + count === tiles.size ? undefined : t.less(t.along(tiles), t.int(from + count)),
        ),
      },
    ];
  };
  const multiply = (
    acc: Tile,
    { columns: { tiles } }: RowFragment,
    a: MatrixOperand,
    c: MatrixOperand,
  ): TileOp[] => {
    const ops: TileOp[] = [];
    for (let from = 0; from < tiles.size; from += atOnce) ops.push(...part(acc, tiles, a, c, from));
    return ops;
  };

  const operands = new Map<StagedFactor, MatrixOperand>();
  const operand = (factor: StagedFactor): MatrixOperand => {
    const found = operands.get(factor);
    invariant(found !== undefined, "factors are staged by the unit that multiplies them");
    return found;
  };
  /** `bands` of `width` rows. Lines lie as in memory, so that whole words are written. */
  const factorIn = (
    tileOf: (shape: readonly number[]) => SharedTile,
    { bands, width, places, alongK }: FactorShape,
  ): StagedFactor => {
    const tile = tileOf(alongK ? [bands, width, places] : [bands, places, width]);
    const factor: StagedFactor = {
      tile,
      places,
      index: (place, k) => {
        const [panel, line] =
          bands === 1 ? [t.int(0), place] : [t.over(place, t.int(width)), t.modulo(place, t.int(width))];
        return alongK ? [panel, line, k] : [panel, k, line];
      },
    };
    operands.set(factor, { tile, order: alongK ? "bands" : "mn" });
    return factor;
  };
  const newTile =
    (name: string) =>
    (shape: readonly number[]): SharedTile =>
      b.sharedTile(name, dtype, shape, { pad });
  // Right factors come one after another: those of one shape have one tile.
  const rights = new Map<string, SharedTile>();
  const rightTile = (shape: readonly number[]): SharedTile => {
    const key = shape.join(" ");
    let tile = rights.get(key);
    if (tile === undefined) rights.set(key, (tile = newTile("right_tile")(shape)));
    return tile;
  };
  const made = new Map<Tile, StagedFactor>();
  const madeFactor = (wide: Tile): StagedFactor => {
    const shape = { bands: across.m, width: band, places: block, alongK: true };
    let found = made.get(wide);
    if (found === undefined) made.set(wide, (found = factorIn(newTile(`${wide.name}_tile`), shape)));
    return found;
  };
  return {
    inner,
    outer,
    packed: undefined,
    left: (name, places, alongK) => factorIn(newTile(name), { bands: across.m, width: band, places, alongK }),
    right: (which, places, alongK) =>
      factorIn(rightTile, { bands: 1, width: which === "inner" ? block : columns, places, alongK }),
    multiply: (acc, left, right) => multiply(acc, inner, operand(left), operand(right)),
    bring: ({ wide }) => {
      const { tile, index } = madeFactor(wide);
      return {
        kind: "put",
        shared: tile,
        index: index(inner.m.row, inner.n.row),
        expr: t.valueOf(wide),
        axes: inner.axes,
        where: undefined,
        otherwise: undefined,
      };
    },
    brought: () => undefined,
    multiplyMade: (acc, { wide }, right) => {
      invariant(right.places === block, "what is made is taken as a whole");
      return multiply(acc, outer, operand(madeFactor(wide)), operand(right));
    },
  };
}

interface FactorShape {
  readonly bands: number;
  /** Rows of a band. */
  readonly width: number;
  readonly places: number;
  readonly alongK: boolean;
}
