/** Where a point of a loop is in a result: at its axes, some of which make one axis of the tensor together. */
import type { LoopNode, LoopResult } from "../../tensor/ir.ts";
import { constant, dimEquals, mul, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { TileExpr } from "../ir.ts";

export interface ResultPlace {
  readonly index: readonly TileExpr[];
  /** Whether the place is inside, where a last block may reach beyond the axis. */
  readonly inside: TileExpr | undefined;
}

export function resultPlace(
  loop: LoopNode,
  { axes, merged }: LoopResult,
  at: readonly TileExpr[],
): ResultPlace {
  const places = axes.map((axis) => at[axis] ?? t.int(0));
  if (merged === undefined) return { index: places, inside: undefined };
  const extents = axes.map((axis): Dim => [...loop.axes, ...loop.over][axis]?.extent ?? constant(1));
  let first = 0;
  let inside: TileExpr | undefined;
  const index = merged.map(({ count, extent }): TileExpr => {
    const own = Array.from({ length: count }, (_, k) => first + k);
    first += count;
    const place = own.reduce<TileExpr>(
      (sum, k) => t.plus(t.times(sum, t.size(extents[k] ?? constant(1))), places[k] ?? t.int(0)),
      t.int(0),
    );
    const whole = own.reduce<Dim>((product, k) => mul(product, extents[k] ?? constant(1)), constant(1));
    if (!dimEquals(whole, extent)) inside = t.both(inside, t.less(place, t.size(extent)));
    return place;
  });
  return { index, inside };
}
