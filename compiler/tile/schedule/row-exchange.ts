/** How threads that share a row of a cascade come to one value of it: side by side, or through shared memory. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import type { Caps } from "../../types/caps.ts";
import * as t from "../build.ts";
import type { SharedTile, Tile, TileExpr, TileOp } from "../ir.ts";
import type { RowFragment } from "./fragments.ts";
import { scalarPad } from "./staging.ts";

/** Whether threads that share a row, side by side, exchange values without memory. */
export function canExchange(count: number, { subgroup }: Pick<Caps, "subgroup">): boolean {
  return count === 1 || (subgroup >= count && subgroup % count === 0 && (count & (count - 1)) === 0);
}

/** Threads of a row meet in shared memory: each puts what it has, all take all of it. */
export function throughShared(
  b: t.TileBuilder,
  inner: RowFragment,
  rows: number,
): (part: Tile, tile: Tile, monoid: string) => readonly TileOp[] {
  const { across } = inner.columns;
  const tiles = new Map<string, SharedTile>();
  return (part, tile, monoid) => {
    const { type } = part;
    invariant(type === "f32" || type === "i32" || type === "u32", "numbers of four bytes");
    let shared = tiles.get(type);
    if (shared === undefined) {
      shared = b.sharedTile("row_parts", type, [across.size, rows], { pad: scalarPad });
      tiles.set(type, shared);
    }
    const each = b.registerAxis("part_of_row", across.size);
    const at = (index: TileExpr): readonly TileExpr[] => [index, inner.m.row];
    const identity = monoidOf(monoid).identity(type);
    return [
      {
        kind: "put",
        shared,
        index: at(t.along(across)),
        // A thread's rows are neighbours there: the last axis to move.
        axes: [across, ...inner.m.axes],
        expr: t.valueOf(part),
        where: undefined,
        otherwise: undefined,
      },
      { kind: "var", tile, init: { kind: "const", type, value: identity } },
      {
        kind: "fold",
        tile,
        monoid,
        expr: { kind: "shared", type, tile: shared, index: at(t.along(each)) },
        over: [each],
        where: undefined,
      },
    ];
  };
}
