/**
 * The seeded scheduler's dice. Every choice that the hardware leaves open goes through `choose`: which warp runs
 * next and for how long, when a copy lands, whether a wait gives up early.
 *
 * Choice 0 is always the plain one: go on with the same warp, let copies land as late as they may. A schedule is
 * then the short list of its other choices, which can be played back and shortened.
 */

/** At the choice of number `at`, `pick` was taken. */
export interface Deviation {
  readonly at: number;
  readonly pick: number;
}

export interface Schedule {
  readonly seed: number;
  /** A number below `n`. */
  choose(n: number): number;
  /** The choices other than 0 that were made so far. */
  readonly deviations: Deviation[];
}

/** A 32-bit generator with a full period (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** Seed 0 takes the plain choice always; the others differ in how often they leave it. */
export function seededSchedule(seed: number): Schedule {
  const deviations: Deviation[] = [];
  const random = generator(Math.imul(seed, 0x9e3779b1));
  const restless = [0.1, 0.3, 0.6, 0.9][seed & 3]! * 4294967296;
  let count = 0;
  const choose = (n: number): number => {
    const at = count++;
    if (seed === 0 || n < 2 || random() >= restless) return 0;
    const pick = random() % n;
    if (pick !== 0) deviations.push({ at, pick });
    return pick;
  };
  return { seed, choose, deviations };
}

/** Plays back a list of deviations. */
export function recordedSchedule(seed: number, recorded: readonly Deviation[]): Schedule {
  const picks = new Map(recorded.map(({ at, pick }) => [at, pick]));
  let count = 0;
  const choose = (n: number): number => {
    const pick = picks.get(count++) ?? 0;
    return pick < n ? pick : 0;
  };
  return { seed, choose, deviations: [...recorded] };
}
