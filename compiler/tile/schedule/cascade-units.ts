/**
 * What multiplies in a cascade whose tiles all threads of a block load: scalars, a warp's matrix instruction, or a subgroup's (`subgroup-unit.ts`).
 *
 * A unit says how rows and columns lie over threads, where factors are staged, and multiplies what is there. Rows of
 * the inner and the outer products lie alike, so that what is reduced of a row stays where it is.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Fragment, RowFragment } from "./fragments.ts";
import { rowFragments } from "./fragments.ts";
import type { MatrixOperand, SharedTile, Tile, TileExpr, TileOp } from "../ir.ts";
import { scalarProducts } from "./contraction.ts";
import { matrixPadBytes, scalarPad } from "./staging.ts";
import { subgroupUnit } from "./subgroup-unit.ts";

/** A matrix instruction of a warp, or of a subgroup, and the dtype of its factors. */
export interface UnitInstruction {
  readonly name: string;
  readonly dtype: DType;
  /** Lanes of a subgroup, over which fragments lie as nobody knows; undefined: a warp's, as the instruction prescribes. */
  readonly opaqueLanes: number | undefined;
}

export interface UnitShape {
  readonly rows: number;
  readonly columns: number;
  /** Places of the swept axis that are taken at a time. */
  readonly block: number;
  /** Of a sum's places, those inside bodies and those of the swept axis, how many are staged at a time, at most. */
  readonly depth: number;
  /** Threads along rows and columns; with an instruction warps along rows. */
  readonly across: { readonly m: number; readonly n: number };
  readonly instruction: UnitInstruction | undefined;
  /** Of a row of a subgroup's fragments, how many are multiplied at a time. */
  readonly fragments: number;
}

/** A shared tile that a factor is staged in. */
export interface StagedFactor {
  readonly tile: SharedTile;
  /** Along the sum. */
  readonly places: number;
  readonly index: (row: TileExpr, k: TileExpr) => readonly TileExpr[];
}

export interface ProductUnit {
  readonly inner: RowFragment;
  readonly outer: Fragment;
  readonly packed: DType | undefined;
  /** Rows of an inner product's left factor, so many places of each. `alongK`: how it lies in memory. */
  readonly left: (name: string, places: number, alongK: boolean) => StagedFactor;
  /** Of a right factor so many places, of the block or of columns. */
  readonly right: (side: "inner" | "outer", places: number, alongK: boolean) => StagedFactor;
  /** acc += left . right, whose places are the left factor's from `from` on. */
  readonly multiply: (
    acc: Tile,
    left: StagedFactor,
    right: StagedFactor,
    from: TileExpr,
  ) => readonly TileOp[];
  /** The left factor of an outer product, made in registers, is brought to where it is multiplied from. */
  readonly bring: (left: MadeFactor) => TileOp;
  /** As threads read it there, where it is in shared memory: `[place of the block][row]`. */
  readonly brought: (left: MadeFactor) => SharedTile | undefined;
  /** acc += left . right, from place `from` of the block on. */
  readonly multiplyMade: (
    acc: Tile,
    left: MadeFactor,
    right: StagedFactor,
    from: TileExpr,
  ) => readonly TileOp[];
}

/** A factor that the loop makes, as it is in registers. */
export interface MadeFactor {
  readonly wide: Tile;
  readonly packed: Tile | undefined;
}

export function productUnit(b: t.TileBuilder, shape: UnitShape): ProductUnit {
  const { instruction } = shape;
  if (instruction?.opaqueLanes !== undefined)
    return subgroupUnit(b, shape, instruction, instruction.opaqueLanes);
  const [inner, outer] = rowFragments(b, { m: shape.rows, across: shape.across, instruction }, [
    shape.block,
    shape.columns,
  ]);
  invariant(inner !== undefined && outer !== undefined, "a fragment for each width");
  return instruction === undefined
    ? scalarUnit(b, shape, inner, outer)
    : matrixUnit(b, shape, instruction, inner, outer);
}

/** Factors are [k][row] in f32. All right ones share a tile, whoever is staged; what is made has one of its own. */
function scalarUnit(
  b: t.TileBuilder,
  { rows, columns, block, depth }: UnitShape,
  inner: RowFragment,
  outer: Fragment,
): ProductUnit {
  const staged = (tile: SharedTile, places: number): StagedFactor => ({
    tile,
    places,
    index: (row, k) => [k, row],
  });
  let shared: SharedTile | undefined;
  const made = new Map<Tile, SharedTile>();
  const madeTile = ({ wide }: MadeFactor): SharedTile => {
    let tile = made.get(wide);
    if (tile === undefined)
      made.set(wide, (tile = b.sharedTile(`${wide.name}_tile`, "f32", [block, rows], { pad: scalarPad })));
    return tile;
  };
  const [, ...others] = [inner.m.axes, inner.n.axes];
  return {
    inner,
    outer,
    packed: undefined,
    left: (name, places) => staged(b.sharedTile(name, "f32", [places, rows], { pad: scalarPad }), places),
    right: (_, places) => {
      shared ??= b.sharedTile("right_tile", "f32", [depth, Math.max(block, columns)], { pad: scalarPad });
      return staged(shared, places);
    },
    multiply: (acc, left, { tile, places }, from) => [
      scalarProducts(b, acc, { tile: left.tile, from }, tile, inner, places),
    ],
    // A thread's rows are neighbours there: the last axis to move.
    bring: (left) => ({
      kind: "put",
      shared: madeTile(left),
      index: [inner.n.row, inner.m.row],
      axes: [...others.flat(), ...inner.m.axes],
      expr: t.valueOf(left.wide),
      where: undefined,
      otherwise: undefined,
    }),
    brought: madeTile,
    multiplyMade: (acc, left, { tile, places }, from) => [
      scalarProducts(b, acc, { tile: madeTile(left), from }, tile, outer, places),
    ],
  };
}

/** Factors lie as in memory, [row][k] or [k][row]; what is made is multiplied from registers, a whole block at a time. */
function matrixUnit(
  b: t.TileBuilder,
  { rows, columns, block }: UnitShape,
  { name: instruction, dtype }: UnitInstruction,
  inner: RowFragment,
  outer: Fragment,
): ProductUnit {
  const pad = matrixPadBytes / dtypes[dtype].bytes;
  const rights = new Map<string, StagedFactor>();
  const operand = ({ tile }: StagedFactor): MatrixOperand => ({
    tile,
    order: tile.shape.length === 2 ? "k" : "mn",
  });
  const factor = (tileName: string, width: number, places: number, alongK: boolean): StagedFactor =>
    alongK
      ? { tile: b.sharedTile(tileName, dtype, [width, places], { pad }), places, index: (row, k) => [row, k] }
      : {
          places,
          tile: b.sharedTile(tileName, dtype, [1, places, width], { pad }),
          index: (row, k) => [t.int(0), k, row],
        };
  return {
    inner,
    outer,
    packed: dtype,
    left: (tileName, places) => factor(tileName, rows, places, true),
    right: (side, places, alongK) => {
      const key = `${side} ${places} ${alongK}`;
      const known = rights.get(key);
      if (known !== undefined) return known;
      const made =
        side === "inner"
          ? factor("inner_tile", block, places, alongK)
          : factor("outer_tile", columns, places, alongK);
      rights.set(key, made);
      return made;
    },
    multiply: (acc, left, right) => [
      {
        kind: "mma",
        acc,
        a: { tile: left.tile, order: "k" },
        b: operand(right),
        m: inner.m.row,
        n: inner.n.row,
        accumulate: undefined,
        instruction,
      },
    ],
    bring: ({ wide, packed }) => {
      invariant(packed !== undefined, "what is made is packed");
      return {
        kind: "update",
        tile: packed,
        expr: { kind: "round", type: "f32", to: dtype, arg: t.valueOf(wide) },
      };
    },
    brought: () => undefined,
    multiplyMade: (acc, { packed }, right) => {
      invariant(
        packed !== undefined && right.places === block,
        "what is made is packed, and taken as a whole",
      );
      return [
        {
          kind: "mma",
          acc,
          a: { registers: packed, row: inner.m.row, k: inner.n.row },
          b: operand(right),
          m: outer.m.row,
          n: outer.n.row,
          accumulate: undefined,
          instruction,
        },
      ];
    },
  };
}
