/**
 * Rows of a sweep that a role of their own brings: through a channel, whole rows of what is read along them, while others
 * reduce the rows before. The copy engine copies what lies as it can; else the role's threads load and write it.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar, ScalarRead } from "../../tensor/ir.ts";
import { reachable } from "../../tensor/scalars.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import type { Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Axis, SharedTile, TileExpr, TileOp } from "../ir.ts";
import { axesOf, readsOf } from "./analysis.ts";
import { hasSides, viewOfRead, type Sides } from "./boxes.ts";
import { mostLoaded, stageFactor } from "./staging.ts";
import { operandCopies, type Copied, type CopyPlace } from "./transfers.ts";
import { translator } from "./translate.ts";
import type { DeclaredBuffers } from "./source.ts";

/** What is read at each place of a row; `copied`: by the copy engine. */
export interface BroughtRow {
  readonly read: ScalarRead;
  readonly dtype: DType;
  readonly copied: Copied | undefined;
}

/** Places of a box along one axis at most, and bytes of which its rows and its tile are multiples. */
const mostPlaces = 256;
const rowBytes = 16;
const boxBytes = 128;
/** Threads of the role. */
export const copyThreads = 128;

/** `order`: the loop's axes as rows lie. */
export function broughtRows(loop: LoopNode, order: readonly number[]): readonly BroughtRow[] {
  const along = loop.over.map((_, k) => loop.axes.length + k);
  const sides: Sides = { m: order, n: [], k: along };
  const reads = readsOf([
    ...loop.carriers.map(({ lift }) => lift),
    ...loop.results.map(({ value }) => value),
  ]);
  return reads.flatMap((read): BroughtRow[] => {
    const own = axesOf(read);
    const ref = loop.inputs[read.input];
    const dtype = ref?.node.types[ref.output]?.dtype;
    if (dtype === undefined || dtypes[dtype].kind !== "float" || read.type !== "f32") return [];
    if (!along.some((k) => own.has(k)) || !order.some((k) => own.has(k))) return [];
    // A place that is made of what is reduced is not known beforehand.
    if (reachable([read]).some(({ kind }) => kind === "carrier" || kind === "reduce")) return [];
    const view = viewOfRead(loop, sides, read);
    const isCopied = view !== undefined && hasSides(view, "m", "k") && view.at(-1)?.along === "k";
    return [{ read, dtype, copied: isCopied ? { input: read.input, view } : undefined }];
  });
}

/** The width of panels that a slot of `rows` by `columns` is made of; undefined: the engine has no such boxes. */
export function panelWidth(dtype: DType, rows: number, columns: number): number | undefined {
  const { bytes } = dtypes[dtype];
  for (let width = Math.min(mostPlaces, columns); width > 0; width -= 1)
    if (columns % width === 0 && (width * bytes) % rowBytes === 0 && (rows * width * bytes) % boxBytes === 0)
      return width;
  return undefined;
}

export interface RowsPlace {
  readonly b: t.TileBuilder;
  readonly loop: LoopNode;
  readonly buffers: DeclaredBuffers;
  /** Places of a block's tile, and where it begins. */
  readonly rows: number;
  readonly columns: number;
  readonly base: TileExpr;
  readonly rowCount: Dim;
  readonly columnCount: Dim;
  readonly depth: number;
  readonly vectorBytes: number;
  /** Index expressions of the loop's axes at a row and a column. */
  readonly axesAt: (row: TileExpr, column: TileExpr) => readonly TileExpr[];
  /** What a thread holds of a tile, and where that is in the tile. */
  readonly axes: readonly Axis[];
  readonly row: TileExpr;
  readonly column: TileExpr;
}

/** Fills a slot, takes it, holds it in registers and gives it back; and what each read is from then on. */
export function bringRows(
  brought: readonly BroughtRow[],
  at: RowsPlace,
): { readonly ops: readonly TileOp[]; readonly held: ReadonlyMap<Scalar, TileExpr> } {
  const { b, loop, buffers } = at;
  const slots = brought.map((one) => {
    const width = panelWidth(one.dtype, at.rows, at.columns);
    invariant(width !== undefined, "rows come in panels");
    const name = `${buffers.inputs[one.read.input]?.name ?? "row"}_tile`;
    return { one, width, tile: b.slotTile(name, one.dtype, [at.columns / width, at.rows, width]) };
  });
  const channel = b.channel(
    "rows",
    at.depth,
    slots.map(({ tile }) => tile),
  );
  const place: CopyPlace = {
    axes: at.axesAt(at.base, t.int(0)),
    buffers,
    start: { m: at.base, n: t.int(0), k: t.int(0) },
  };
  const indexOf = (width: number, row: TileExpr, column: TileExpr): TileExpr[] => [
    t.over(column, t.int(width)),
    row,
    t.modulo(column, t.int(width)),
  ];
  const puts = (tile: SharedTile, width: number, read: ScalarRead): TileOp[] =>
    stageFactor(b, loop, read, {
      tile,
      rows: at.rows,
      depth: at.columns,
      index: (row, column) => indexOf(width, row, column),
      threads: copyThreads,
      vectorBytes: at.vectorBytes,
      most: mostLoaded,
      base: at.base,
      count: at.rowCount,
      kBase: t.int(0),
      kCount: at.columnCount,
      expr: (row, column) =>
        translator({ axes: at.axesAt(row, column), carriers: [], inputs: buffers.inputs })(read),
    }).flatMap(({ loads, puts: written }) => [...loads, ...written]);
  const held = slots.map(({ one, width, tile }) => {
    const value = b.tile(`${buffers.inputs[one.read.input]?.name ?? "row"}_row`, "f32", at.axes);
    const index = indexOf(width, at.row, at.column);
    return { one, value, expr: { kind: "shared", type: "f32", tile, index } as const };
  });
  return {
    ops: [
      {
        kind: "fill",
        channel,
        copies: slots.flatMap(({ one, width, tile }) =>
          one.copied === undefined
            ? []
            : operandCopies({ tile, order: "k" }, one.copied, "m", { panel: width, place }),
        ),
        body: slots.flatMap(({ one, width, tile }) =>
          one.copied === undefined ? puts(tile, width, one.read) : [],
        ),
      },
      { kind: "take", channel },
      ...held.map(({ value, expr }): TileOp => ({
        kind: "let",
        tile: value,
        expr,
        where: undefined,
        otherwise: undefined,
      })),
      { kind: "release", channel, where: undefined },
    ],
    held: new Map(held.map(({ one, value }) => [one.read, t.valueOf(value)])),
  };
}
