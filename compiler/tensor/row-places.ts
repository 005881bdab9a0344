/** What a tile of rows knows of itself before it looks at a swept axis: places of rows, and a few elements. */
import { one, type Dim } from "../types/dim.ts";
import type { LoopNode, Scalar } from "./ir.ts";
import { reachable } from "./scalars.ts";

/** Rows of a tile: `count` of them, of the flattened axes. */
export interface RowAxes {
  readonly axes: readonly number[];
  readonly extents: readonly Dim[];
  readonly count: number;
}

/** Of a tile of so many rows. */
export function rowAxesOf(loop: LoopNode, axes: readonly number[], count: number): RowAxes {
  return { axes, extents: axes.map((axis) => loop.axes[axis]?.extent ?? one), count };
}

/** Rows that a tile has at most. */
export const mostRows = 192;
/** Most values that one tile reads to know a bound. */
const mostReads = 16;

/** A row's place, what no row moves and no sweep, or an element read for a few places of rows. */
export function isKnownOfTile(scalar: Scalar, loop: LoopNode, rows: RowAxes): boolean {
  const end = loop.axes.length;
  const isSwept = (s: Scalar): boolean =>
    reachable([s]).some((part) => part.kind === "axis" && part.axis >= end);
  if (scalar.kind === "axis" && rows.axes.includes(scalar.axis)) return true;
  if (reachable([scalar]).some((part) => part.kind === "carrier")) return false;
  if (scalar.kind === "read" && scalar.otherwise === undefined) {
    const moving = scalar.index.filter((index) => movesWithRows(index, rows));
    const count = moving.reduce((product, index) => product * (stepOf(index, rows)?.count ?? Infinity), 1);
    return count <= mostReads && scalar.index.every((index) => moving.includes(index) || !isSwept(index));
  }
  return !isSwept(scalar) && !movesWithRows(scalar, rows);
}

export function movesWithRows(scalar: Scalar, rows: RowAxes): boolean {
  return reachable([scalar]).some((part) => part.kind === "axis" && rows.axes.includes(part.axis));
}

/** A row's place divided by a constant, and how many values it has in a tile at most. */
export interface Step {
  readonly axis: number;
  readonly by: number;
  readonly count: number;
}

export function stepOf(index: Scalar, rows: RowAxes): Step | undefined {
  const [place, divisor] = index.kind === "apply" && index.fn === "floordiv" ? index.args : [index];
  if (place?.kind !== "axis") return undefined;
  const by = divisor === undefined ? 1 : divisor.kind === "const" ? Number(divisor.value) : 0;
  const k = rows.axes.indexOf(place.axis);
  if (k < 0 || by < 1) return undefined;
  const known = (dim: Dim | undefined): number | undefined => (dim?.kind === "const" ? dim.value : undefined);
  const extent = known(rows.extents[k]) ?? Infinity;
  // The shorter what follows, the more places: of a length that is not known it may be one.
  const inner = rows.extents.slice(1).reduce((product, dim) => product * (known(dim) ?? 1), 1);
  // Tiles begin at a multiple of their rows.
  const places = k > 0 ? extent : Math.min(extent, spanOf(rows.count, inner));
  return { axis: place.axis, by, count: Math.min(Math.ceil(extent / by), spanOf(places, by)) };
}

/** Steps of `by` that `count` neighbours touch, the first at a multiple of `count`. */
function spanOf(count: number, by: number): number {
  if (count % by === 0) return count / by;
  return by % count === 0 ? 1 : Math.ceil((count - 1) / by) + 1;
}
