/** Which blocks of a swept axis a tile visits. */
import { add, one } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Counter, TileExpr, TileOp } from "../ir.ts";
import type { Ends } from "./ranges.ts";

/** The first block of so many places that some row sees, and the end; one block at least. */
export function visitedBlocks(
  b: t.TileBuilder,
  { count: blocks }: Counter,
  size: number,
  { low, high }: Ends,
): { readonly ops: TileOp[]; readonly first: TileExpr; readonly end: TileExpr } {
  const ops: TileOp[] = [];
  const named = (name: string, count: Counter["count"], expr: TileExpr): TileExpr => {
    const counter = b.counter(name, count);
    ops.push({ kind: "index", counter, expr });
    return t.at(counter);
  };
  const last = t.plus(t.size(blocks), t.int(-1));
  const least = (a: TileExpr, c: TileExpr): TileExpr => t.apply("min", "i32", [a, c]);
  const most = (a: TileExpr, c: TileExpr): TileExpr => t.apply("max", "i32", [a, c]);
  const blockOf = (place: TileExpr): TileExpr => t.over(most(place, t.int(0)), t.int(size));
  const first = low === undefined ? t.int(0) : named("first", blocks, least(blockOf(low), last));
  if (high === undefined) return { ops, first, end: t.size(blocks) };
  const end = most(t.plus(least(blockOf(high), last), t.int(1)), t.plus(first, t.int(1)));
  return { ops, first, end: named("end", add(blocks, one), end) };
}
