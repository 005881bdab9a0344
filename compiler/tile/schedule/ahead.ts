/**
 * Fills of a channel's slots by those who take them, where no role copies: a step's slot is filled while the steps before
 * it are multiplied.
 *
 * The first slots are filled before any is taken, then, after a step, the slot of one that comes later. Whoever waits to
 * fill a slot waits for releases that come before in the program, and so never for himself.
 */
import * as t from "../build.ts";
import type { TileExpr, TileOp } from "../ir.ts";

/** Steps from `from` below `below`, of which each fills slots, so many steps ahead. */
export interface StepsAhead {
  readonly from: TileExpr;
  readonly below: TileExpr;
  /** One less than the slots where a step ends with its own slot released, or that of the step before. */
  readonly ahead: number;
  readonly fill: (step: TileExpr) => readonly TileOp[];
}

/** Before the first step. */
export function fillFirst({ from, below, ahead, fill }: StepsAhead): TileOp[] {
  return Array.from({ length: ahead }, (_, k) => ifBelow(t.plus(from, t.int(k)), below, fill));
}

/** At the end of a step. */
export function fillNext({ below, ahead, fill }: Omit<StepsAhead, "from">, step: TileExpr): TileOp {
  return ifBelow(t.plus(step, t.int(ahead)), below, fill);
}

function ifBelow(step: TileExpr, below: TileExpr, fill: StepsAhead["fill"]): TileOp {
  return { kind: "if", condition: t.less(step, below), then: fill(step), otherwise: [] };
}
