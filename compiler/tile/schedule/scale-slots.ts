/**
 * Scales of rows and of columns that the copy engine brings, where a streamed product's runs are single steps.
 *
 * The engine copies 16 bytes at least, from whole 16 bytes. Scales that lie along the rows, or columns, are one piece for
 * each run, and come in the slot with the run's factors. Of those that lie along the runs a piece has four runs of one row,
 * for which the engine takes as long as for a row of factors. They come with each run's factors, the other three beside
 * them unused; or, where that would take longer than the run's products, once for four runs, in slots of their own.
 */
import type { Scalar } from "../../tensor/ir.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Channel, PanelCopy, SharedTile, TileExpr, TileOp } from "../ir.ts";
import { operandCopies, type Copied, type CopyPlace } from "./transfers.ts";

/** Scales in memory, one for each run of each row, or of each column. */
export interface CopiedScale extends Copied {
  readonly side: "m" | "n";
}

/** What the engine copies at least. */
const pieceBytes = 16;
/** Runs of one piece. */
export const pieceRuns: number = pieceBytes / dtypes.f32.bytes;

/** Scales whose rows, or columns, lie side by side, so that a run's are one piece. */
export function isAcross({ view, side }: CopiedScale): boolean {
  return view.at(-1)?.along === side;
}

/** Slots for the scales of several runs: those of the runs whose factors have been asked for, and of those multiplied. */
export function groupSlots(stages: number): number {
  return Math.ceil(stages / pieceRuns) + 1;
}

export interface ScaleShape {
  readonly m: number;
  readonly n: number;
  readonly depth: number;
  readonly groups: boolean;
}

/** Bytes of scales in a slot of the factors, and in all slots of their own. */
export function scaleBytes(
  scales: Iterable<CopiedScale>,
  shape: ScaleShape,
): { readonly beside: number; readonly apart: number } {
  let [beside, apart] = [0, 0];
  for (const scale of scales) {
    const count = shape[scale.side];
    if (isAcross(scale)) beside += count * dtypes.f32.bytes;
    else if (shape.groups) apart += count * pieceBytes * groupSlots(shape.depth);
    else beside += count * pieceBytes;
  }
  return { beside, apart };
}

/** Scales of several runs, by the number of the group. */
export interface ScaleGroups {
  readonly runs: number;
  readonly fill: (group: TileExpr) => TileOp;
  readonly take: TileOp;
  readonly release: TileOp;
}

export interface ScaleSlots {
  /** In slots of the factors. */
  readonly tiles: readonly SharedTile[];
  readonly copies: (run: TileExpr) => readonly PanelCopy[];
  readonly groups: ScaleGroups | undefined;
  /** A scale of a run, by the row and the column of the tile; undefined: it does not come in a slot. */
  readonly at: (
    scale: Scalar,
    place: Readonly<Record<"m" | "n", TileExpr>>,
    run: TileExpr,
  ) => TileExpr | undefined;
}

/** `place`: where the tile is whose scales these are; its k is not asked for. */
export function declareScaleSlots(
  b: t.TileBuilder,
  scales: ReadonlyMap<Scalar, CopiedScale>,
  shape: ScaleShape,
  place: (k: TileExpr) => CopyPlace,
): ScaleSlots {
  const declared = [...scales].map(([scale, copied]) => {
    const count = shape[copied.side];
    const across = isAcross(copied);
    const tile = b.slotTile("scale_tile", "f32", across ? [1, 1, count] : [1, count, pieceRuns]);
    return { scale, copied, tile, across, isApart: !across && shape.groups };
  });
  type Declared = (typeof declared)[number];
  const copiesFrom = (
    { copied, tile, across }: Declared,
    run: TileExpr,
    group: TileExpr,
  ): readonly PanelCopy[] => {
    const [order, panel, from] = across
      ? (["mn", shape[copied.side], run] as const)
      : (["k", pieceRuns, t.times(group, t.int(pieceRuns))] as const);
    return operandCopies({ tile, order }, copied, copied.side, { panel, place: place(from) });
  };
  const apart = declared.filter(({ isApart }) => isApart);
  const channel: Channel | undefined =
    apart.length === 0
      ? undefined
      : b.channel(
          "scales",
          groupSlots(shape.depth),
          apart.map(({ tile }) => tile),
        );
  const beside = declared.filter(({ isApart }) => !isApart);
  return {
    tiles: beside.map(({ tile }) => tile),
    copies: (run) => beside.flatMap((one) => copiesFrom(one, run, t.over(run, t.int(pieceRuns)))),
    groups:
      channel === undefined
        ? undefined
        : {
            runs: pieceRuns,
            fill: (group) => ({
              kind: "fill",
              channel,
              copies: apart.flatMap((one) => copiesFrom(one, t.int(0), group)),
              body: [],
            }),
            take: { kind: "take", channel },
            release: { kind: "release", channel, where: undefined },
          },
    at: (scale, { m, n }, run) => {
      const found = declared.find((one) => one.scale === scale);
      if (found === undefined) return undefined;
      const own = found.copied.side === "n" ? n : m;
      const index = found.across
        ? [t.int(0), t.int(0), own]
        : [t.int(0), own, t.modulo(run, t.int(pieceRuns))];
      return { kind: "shared", type: "f32", tile: found.tile, index };
    },
  };
}
