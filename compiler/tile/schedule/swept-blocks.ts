/** Which blocks of a swept axis a tile visits, and of which every row sees all. */
import { add, one, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Counter, TileExpr, TileOp } from "../ir.ts";
import { visitExpressions } from "../walk.ts";
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
  if (![every.low, every.high].some((side) => side !== undefined && readsData(side)))
    return { ops, first, end, whole: every };
  // What is read for it is read once.
  const within = (place: TileExpr): TileExpr => least(most(place, t.int(0)), t.size(extent));
  const held = (name: string, side: TileExpr | undefined, by: number): TileExpr | undefined =>
    side && t.plus(named(name, add(extent, one), within(t.plus(side, t.int(by)))), t.int(-by));
  const whole = { low: held("whole_from", every.low, 0), high: held("whole_below", every.high, 1) };
  return { ops, first, end, whole };
}

function readsData(expr: TileExpr): boolean {
  let found = false;
  visitExpressions([expr], ({ kind }) => (found ||= kind === "read"));
  return found;
}
