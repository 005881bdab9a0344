/** Boxes that the copy engine moves: factors into the slots of a channel, results out of shared memory. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import type { Dim } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { GlobalBuffer, MatrixOperand, PanelCopy, TileExpr, TileOp } from "../ir.ts";
import { visitExpressions } from "../walk.ts";
import type { Side, View } from "./boxes.ts";
import type { WarpgroupFragment } from "./fragments.ts";
import { guard, type Matrices } from "./matrices.ts";
import type { DeclaredBuffers } from "./source.ts";
import { translator } from "./translate.ts";

/** Bytes of a panel's row: the widest that is swizzled. */
export const panelBytes = 128;

/** A tensor that the engine copies as a matrix. */
export interface Copied {
  readonly input: number;
  readonly view: View;
}

/** Where a tile is, for copies. */
export interface CopyPlace {
  /** Index expressions of all loop axes at the tile's start. */
  readonly axes: readonly TileExpr[];
  readonly buffers: DeclaredBuffers;
  readonly start: Readonly<Record<Side, TileExpr>>;
}

/** The panels of a tile, so wide, `from` places on along them; all rows of each or some. */
export interface PanelParts {
  readonly panel: number;
  readonly place: CopyPlace;
  readonly from?: number;
  readonly rows?: { readonly from: number; readonly count: number } | undefined;
}

export function operandCopies(
  operand: MatrixOperand,
  copied: Copied,
  side: "m" | "n",
  { panel, place, from = 0, rows: part }: PanelParts,
): PanelCopy[] {
  const [panels = 0, all = 0] = operand.tile.shape;
  const rows = part?.count ?? all;
  const buffer = place.buffers.inputs[copied.input];
  invariant(buffer !== undefined, "each input has a buffer");
  const across: Side = operand.order === "k" ? side : "k";
  return Array.from({ length: panels }, (_, p) => ({
    tile: operand.tile,
    panel: p,
    ...(part === undefined ? {} : { row: part.from }),
    box: boxAt(buffer, copied.view, place, { [across]: { shift: 0, extent: rows } }, from + p * panel, panel),
  }));
}

/** Places along each side of a box. */
const boxPlaces = 256;

/** Boxes of a view's first `columns` along its last axis, which is k, at so many places of n. */
export function boxesAlongK(
  buffer: GlobalBuffer,
  view: View,
  place: CopyPlace,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): PanelCopy["box"][] {
  return Array.from({ length: Math.ceil(columns / boxPlaces) }, (_, k) => {
    const from = k * boxPlaces;
    const width = Math.min(boxPlaces, columns - from);
    return boxAt(buffer, view, place, { n: { shift: 0, extent: rows } }, from, width);
  });
}

/** A box of a view: `width` places along its last axis, `shift` from where the tile begins. */
function boxAt(
  buffer: GlobalBuffer,
  view: View,
  place: CopyPlace,
  rows: Partial<Record<Side, { readonly shift: TileExpr | number; readonly extent: number }>>,
  shift: number,
  width: number,
): PanelCopy["box"] {
  const translate = translator({ axes: place.axes, carriers: [], inputs: place.buffers.inputs });
  const at = view.map(
    (
      { along, shift: part, stride, page, extent: whole },
      k,
    ): { readonly start: TileExpr; readonly extent: number } => {
      if (typeof along !== "string") {
        const start = "axis" in along ? place.axes[along.axis] : translate(along.place);
        invariant(start !== undefined, "an axis of the loop");
        return { start: "axis" in along || !along.isClamped ? start : clamped(start, whole), extent: 1 };
      }
      const first = place.start[along];
      const start =
        page !== undefined
          ? t.modulo(first, t.int(page))
          : (part ?? []).map(translate).reduceRight((sum, term) => t.plus(term, sum), first);
      if (k === view.length - 1) return { start: t.plus(start, t.int(shift)), extent: width };
      const row = rows[along];
      invariant(row !== undefined, "a view has two sides");
      const moved = typeof row.shift === "number" ? t.int(row.shift) : row.shift;
      // A side that lies apart: the outermost axis goes on, the inner ones are whole in each box.
      if (stride !== undefined) {
        const isOuter = view.findIndex((axis) => axis.along === along) === k;
        return isOuter
          ? { start: t.over(t.plus(start, moved), t.int(stride)), extent: row.extent / stride }
          : { start: t.int(0), extent: whole.kind === "const" ? whole.value : 1 };
      }
      return { start: t.plus(start, moved), extent: row.extent };
    },
  );
  return {
    buffer,
    view: view.map((axis) => axis.extent),
    at: at.map(({ start }) => start),
    extent: at.map(({ extent }) => extent),
  };
}

function clamped(place: TileExpr, extent: Dim): TileExpr {
  const last = t.plus(t.size(extent), t.int(-1));
  return t.apply("max", "i32", [t.int(0), t.apply("min", "i32", [place, last])]);
}

interface ResultPlace {
  readonly shape: { readonly m: number; readonly n: number; readonly warpgroups: number };
  /** The tile that these rows and columns are a part of; undefined: they are all of it. */
  readonly tile?: { readonly m: number; readonly n: number };
  /** What the carriers have come to, by row and column. */
  readonly carriers: readonly TileExpr[];
  /** What has been made already. */
  readonly made?: ReadonlyMap<Scalar, TileExpr>;
  /** Those that are stored; undefined: all. */
  readonly results?: readonly number[];
  /** Of each result; undefined where its elements are stored one by one. */
  readonly views: readonly (View | undefined)[];
  readonly layout: WarpgroupFragment;
  readonly buffers: DeclaredBuffers;
  readonly axesAt: ReturnType<Matrices["axesAt"]>;
  readonly mBase: TileExpr;
  readonly nBase: TileExpr;
  readonly matrices: Matrices;
}

/** Results go through shared memory, from where the engine takes whole boxes; others are stored by each thread. */
export function resultOps(
  b: t.TileBuilder,
  loop: LoopNode,
  {
    shape,
    tile: whole = shape,
    carriers,
    made,
    results,
    views,
    layout,
    buffers,
    axesAt,
    mBase,
    nBase,
    matrices,
  }: ResultPlace,
): TileOp[] {
  const [m, n] = [t.plus(mBase, layout.m.row), t.plus(nBase, layout.n.row)];
  const axes = axesAt(m, n, t.int(0));
  const insideRows = guard(m, matrices.mCount, whole.m);
  const inside = t.both(insideRows, guard(n, matrices.nCount, whole.n));
  const translate = translator({
    axes,
    carriers,
    inputs: buffers.inputs,
    ...(made === undefined ? {} : { made }),
  });
  return loop.results.flatMap((result, k): TileOp[] => {
    const buffer = buffers.outputs[k];
    invariant(buffer !== undefined, "each result has a buffer");
    if (results !== undefined && !results.includes(k)) return [];
    const expr = translate(result.value);
    const view = views[k];
    if (view === undefined) {
      const index = result.axes.map((axis) => axes[axis] ?? t.int(0));
      // What is the same along the columns is stored once a row.
      if (result.axes.length < loop.axes.length)
        return [
          { kind: "store", buffer, index, expr, axes: layout.m.axes, where: insideRows, bounds: "proved" },
        ];
      return [{ kind: "store", buffer, index, expr, axes: layout.axes, where: inside, bounds: "proved" }];
    }
    const width = panelBytes / dtypes[result.dtype].bytes;
    const rows = shape.m / shape.warpgroups;
    const { warpgroup: group, local } = layout;
    const tile = b.sharedTile(`${buffer.name}_tile`, result.dtype, [shape.n / width, rows, width], {
      swizzle: panelBytes,
      per: group,
    });
    // What no read of another tensor can reach beyond needs no guard: the engine drops what lies outside.
    const where = readsMemory(expr) ? inside : undefined;
    const columns = layout.n.row;
    const place: CopyPlace = {
      axes: axesAt(mBase, nBase, t.int(0)),
      buffers,
      start: { m: mBase, n: nBase, k: t.int(0) },
    };
    const shift = t.times(t.along(group), t.int(rows));
    return [
      {
        kind: "put",
        shared: tile,
        index: [t.over(columns, t.int(width)), local, t.modulo(columns, t.int(width))],
        expr,
        axes: layout.axes,
        where,
        otherwise: where === undefined ? undefined : { kind: "const", type: expr.type, value: 0 },
      },
      {
        kind: "drain",
        copies: Array.from({ length: shape.n / width }, (_, p) => ({
          tile,
          panel: p,
          box: boxAt(buffer, view, place, { m: { shift, extent: rows } }, p * width, width),
        })),
      },
    ];
  });
}

function readsMemory(expr: TileExpr): boolean {
  let reads = false;
  visitExpressions([expr], (part) => {
    reads ||= part.kind === "read";
  });
  return reads;
}
