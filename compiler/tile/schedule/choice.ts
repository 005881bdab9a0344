/**
 * What may be chosen for a kernel, and how one of the choices is taken.
 *
 * A `Schedule` is one way to compute a node. It tells its choices, why one of them cannot be had, what one costs
 * (cost.ts), and the tile program of one. `bestChoice` ranks: a `schedule` block of the source fixes some of the
 * numbers, `weft tune` measures what it ranks, and else the cheapest is taken.
 */
import type { LoopAxis } from "../../tensor/ir.ts";
import type { TileProgram } from "../ir.ts";
import type { Cost } from "./cost.ts";

/** The numbers of a choice beside its tile. */
export const knobs = ["stages", "copy", "threads", "persistent", "shared"] as const;

export type Knob = (typeof knobs)[number];

/**
 * `stages`: slots between those who copy and those who compute; 1 where there is no channel. `copy`: warpgroups that
 * copy alone. `threads`: of a block, those that compute. `persistent`: 1 where blocks take one tile after another. `shared`: 1 where
 * blocks share tiles of a last round that would not be full, each with a part of the sum.
 */
export type Choice = Readonly<Record<Knob, number>> & {
  /** Extent of a block's tile along each of the schedule's sides. */
  readonly tile: readonly number[];
};

/** What a source fixes of a choice; the rest is free. */
export type Fixed = { readonly [K in Knob]?: number } & { readonly tile: readonly (number | undefined)[] };

export const nothingFixed: Fixed = { tile: [] };

/** One way to compute a node. */
export interface Schedule {
  readonly name: string;
  /** The loop's axes that each side of a tile is made of. */
  readonly sides: readonly (readonly LoopAxis[])[];
  /** What is worth a measurement, with the numbers that are fixed as they are fixed. It need not fit. */
  readonly choices: (fixed: Fixed) => readonly Choice[];
  /** Why it cannot be had, each with its arithmetic; none: it can. */
  readonly refusals: (choice: Choice) => readonly string[];
  readonly cost: (choice: Choice) => Cost;
  readonly program: (choice: Choice) => TileProgram;
}

export interface Candidate {
  readonly schedule: Schedule;
  readonly choice: Choice;
  readonly cost: Cost;
}

/** All that fit, cheapest first; of equals the first to be named. */
export function candidatesOf(schedule: Schedule, fixed: Fixed): readonly Candidate[] {
  return schedule
    .choices(fixed)
    .filter((choice) => schedule.refusals(choice).length === 0)
    .map((choice) => ({ schedule, choice, cost: schedule.cost(choice) }))
    .sort((a, b) => a.cost.seconds - b.cost.seconds);
}
