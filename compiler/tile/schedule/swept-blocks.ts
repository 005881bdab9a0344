/** Which blocks of a swept axis a tile visits, and of which every row sees all. */
import { add, one, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Counter, TileExpr, TileOp } from "../ir.ts";
import { readsData } from "../walk.ts";
import type { Ends } from "./ranges.ts";

export interface VisitedBlocks {
  readonly ops: TileOp[];
  /** The first block that some row sees, and the end; one block at least. */
  readonly first: TileExpr;
  readonly end: TileExpr;
  /** What every row sees. */
  readonly whole: Ends;
}

/** Blocks of `size` places, of an axis of `extent`, by what some row and what every row sees. */
export function visitedBlocks(
  b: t.TileBuilder,
  { count: blocks }: Counter,
  size: number,
  extent: Dim,
  some: Ends,
  every: Ends,
): VisitedBlocks {
  const ops: TileOp[] = [];
  const named = (name: string, count: Dim, expr: TileExpr): TileExpr => {
    const counter = b.counter(name, count);
    ops.push({ kind: "index", counter, expr });
    return t.at(counter);
  };
  const last = t.plus(t.size(blocks), t.int(-1));
  const least = (a: TileExpr, c: TileExpr): TileExpr => t.apply("min", "i32", [a, c]);
  const most = (a: TileExpr, c: TileExpr): TileExpr => t.apply("max", "i32", [a, c]);
  const blockOf = (place: TileExpr): TileExpr => t.over(most(place, t.int(0)), t.int(size));
  const first = some.low === undefined ? t.int(0) : named("first", blocks, least(blockOf(some.low), last));
  const after = (place: TileExpr): TileExpr =>
    most(t.plus(least(blockOf(place), last), t.int(1)), t.plus(first, t.int(1)));
  const end = some.high === undefined ? t.size(blocks) : named("end", add(blocks, one), after(some.high));
  const { ops: more, ends: whole } = heldEnds(b, "whole", extent, every);
  return { ops: [...ops, ...more], first, end, whole };
}

/** Ends of an axis of `extent`; what is read for them is read once. */
export function heldEnds(
  b: t.TileBuilder,
  name: string,
  extent: Dim,
  ends: Ends,
): { readonly ops: readonly TileOp[]; readonly ends: Ends } {
  if (![ends.low, ends.high].some((side) => side !== undefined && readsData(side))) return { ops: [], ends };
  const ops: TileOp[] = [];
  const held = (which: string, side: TileExpr | undefined, by: number): TileExpr | undefined => {
    if (side === undefined) return undefined;
    const counter = b.counter(`${name}_${which}`, add(extent, one));
    const place = t.apply("max", "i32", [t.plus(side, t.int(by)), t.int(0)]);
    ops.push({ kind: "index", counter, expr: t.apply("min", "i32", [place, t.size(extent)]) });
    return t.plus(t.at(counter), t.int(-by));
  };
  const [low, high] = [held("from", ends.low, 0), held("below", ends.high, 1)];
  return { ops, ends: { low, high } };
}
