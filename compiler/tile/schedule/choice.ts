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
export const knobs = ["stages", "copy", "threads", "persistent", "cluster", "shared"] as const;

export type Knob = (typeof knobs)[number];

/**
 * `stages`: slots between those who copy and those who compute; 1 where there is no channel. `copy`: warpgroups that
 * copy alone. `threads`: of a block, those that compute. `persistent`: 1 where blocks take one tile after another.
 * `cluster`: blocks that share what they load. `shared`: 1 where blocks share tiles of a last round that would not be
 * full, each with a part of the sum.
 */
export type Choice = Readonly<Record<Knob, number>> & {
  /** Extent of a block's tile along each of the schedule's sides. */
  readonly tile: readonly number[];
};

/** What a source fixes of a choice; the rest is free. */
export type Fixed = { readonly [K in Knob]?: number } & { readonly tile: readonly (number | undefined)[] };

export const nothingFixed: Fixed = { tile: [] };

/** What a schedule has that knows nothing of a knob, and what it says when it is asked for more. */
const idle: Readonly<Record<Knob, number>> = {
  stages: 1,
  copy: 0,
  threads: 1,
  persistent: 0,
  cluster: 1,
  shared: 0,
};
const whyIdle: Readonly<Record<Knob, (asked: number) => string>> = {
  stages: (asked) => `there is one tile at a time here, not ${asked} stages`,
  copy: () => "every thread loads and computes here, so no warpgroup copies alone",
  threads: (asked) => `one thread does all of it here, not ${asked}`,
  persistent: () => "a block makes one tile here, so it is not persistent",
  cluster: (asked) => `blocks work alone here, not in clusters of ${asked}`,
  shared: () => "blocks take whole tiles here, so none is shared",
};

/** A choice with the numbers that are fixed, else those given, else idle ones. */
export function choiceOf(
  fixed: Fixed,
  own: { readonly tile: readonly number[] } & Partial<Readonly<Record<Knob, number>>>,
): Choice {
  const numbers = { ...idle, ...own };
  for (const knob of knobs) numbers[knob] = fixed[knob] ?? numbers[knob];
  return numbers;
}

/** Refusals of what a choice asks beyond the knobs that a schedule has. */
export function idleRefusals(choice: Choice, own: readonly Knob[]): string[] {
  return knobs.flatMap((knob) =>
    own.includes(knob) || choice[knob] === idle[knob] ? [] : [whyIdle[knob](choice[knob])],
  );
}

/** One way to compute a node. */
export interface Schedule {
  readonly name: string;
  /** It is worth its while for these sizes; a source may ask for it where it is not. */
  readonly isUsual: boolean;
  /** The loop's axes that each side of a tile is made of. */
  readonly sides: readonly (readonly LoopAxis[])[];
  /** The side that warpgroups share, by position; undefined where they share them all. */
  readonly roleSide?: number;
  /** Knobs that a block names though they are idle: by them this way differs from another with the same sides. */
  readonly named?: readonly Knob[];
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
