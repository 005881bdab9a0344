/**
 * A schedule for given numbers of ranks and micro-batches: what each rank does, in order, in flat arrays, since
 * 1,024 ranks with 4,096 micro-batches are some ten million actions.
 *
 * A lane is one stage that a rank holds, counted over its directions: lane 1 of DualPipe is `up`. Entry e is an action
 * of the rank whose range holds e; the two of an overlapped pair stand side by side, the first marked `joined`.
 */
import type { Place } from "../diagnostics/diagnostic.ts";

export const F = 0;
export const B = 1;
export const I = 2;
export const W = 3;
export const kindNames = ["F", "B", "I", "W"] as const;
export type KindName = (typeof kindNames)[number];
/** Set on the first of two overlapped entries. */
export const joined = 4;

/** Where an action stands in the source. */
export interface Site {
  readonly place: Place;
  readonly phase: string;
}

export interface Direction {
  readonly name: string;
  /** First lane of this direction, on every rank. */
  readonly lane: number;
  /** Stages that one rank holds. */
  readonly slots: number;
  /** Stages in all: ranks times slots. */
  readonly stages: number;
}

export interface Schedule {
  readonly name: string;
  readonly place: Place;
  readonly ranks: number;
  readonly micro: number;
  readonly directions: readonly Direction[];
  /** Lanes of one rank. */
  readonly lanes: number;
  /** The direction of a lane. */
  readonly directionOf: readonly number[];
  /** `stage[rank * lanes + lane]`. */
  readonly stage: Int32Array;
  /** `holder[direction][stage]` is `rank * lanes + lane`. */
  readonly holder: readonly Int32Array[];
  /** Rank r's entries are start[r] up to start[r + 1]. */
  readonly start: Int32Array;
  /** F, B, I or W, and `joined`. */
  readonly kind: Uint8Array;
  readonly lane: Uint8Array;
  /** The k-th micro-batch of the direction; -1 for a W with nothing owed. */
  readonly batch: Int32Array;
  /** Index into `sites`. */
  readonly site: Uint16Array;
  readonly sites: readonly Site[];
}

export interface Action {
  readonly kind: KindName;
  readonly direction: string;
  readonly stage: number;
  readonly micro: number;
}

export function kindAt(s: Schedule, entry: number): number {
  return (s.kind[entry] ?? 0) & 3;
}

export function isJoined(s: Schedule, entry: number): boolean {
  return ((s.kind[entry] ?? 0) & joined) !== 0;
}

/** The rank that performs an entry. */
export function rankAt(s: Schedule, entry: number): number {
  let low = 0;
  let high = s.ranks - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((s.start[middle] ?? 0) <= entry) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function actionAt(s: Schedule, entry: number, rank: number = rankAt(s, entry)): Action {
  const lane = s.lane[entry] ?? 0;
  return {
    kind: kindNames[kindAt(s, entry)] ?? "F",
    direction: s.directions[s.directionOf[lane] ?? 0]?.name ?? "",
    stage: s.stage[rank * s.lanes + lane] ?? 0,
    micro: s.batch[entry] ?? 0,
  };
}

/** `F(down) of micro-batch 3`. */
export function describeEntry(s: Schedule, entry: number): string {
  const { kind, direction, stage, micro } = actionAt(s, entry);
  const slots = s.directions.find(({ name }) => name === direction)?.slots ?? 1;
  return `${kind}(${direction}) of micro-batch ${micro}${slots > 1 ? ` at stage ${stage}` : ""}`;
}

/** `P = 8, M = 20`, without the parameters' own names. */
export function sizesOf(s: Schedule): string {
  return `${s.ranks} ranks and ${s.micro} micro-batches`;
}
