/**
 * For which numbers of micro-batches a proof holds.
 *
 * Say that a schedule is proved for M micro-batches, with queues of capacity c, and that for each step of M more, every
 * rank has g more iterations of one phase, the steady one, in which all iterations but the first are alike, and nothing
 * else changes. `growth.ts` reads that off the text, for all M at once.
 *
 * Say also that in the schedule for M there are two cuts, A and then B, such that between them every rank goes through
 * exactly g iterations of its steady phase past the first, and that the state after B is the state after A but for the
 * numbers of micro-batches, which are n(d) higher in direction d, the n(d) adding up to the step. The state is: how far
 * each rank is into an iteration, what each queue holds, in order, how many forwards and backwards of each stage are
 * done, which weight gradients are owed, in order. `repetition.ts` looks for such cuts.
 *
 * Then the schedule for M + k steps completes with the same capacity, for every k. It is the schedule for M with the
 * stretch from A to B k times more, before what follows B. By induction on k: whether an event can happen, and what it
 * does, depends on the state and on the rank's next action alone, and on numbers of micro-batches only by comparing them
 * with others of their direction. So from the state after B the stretch can be performed once more, as it was after A,
 * and gives that state again, n(d) on; after k times, what follows B is performed as it was in the schedule for M. Every
 * lane of direction d then has k * n(d) forwards and backwards more, so that M + k steps micro-batches pass, and each I
 * of the stretch has its W. As one interleaving completes, all do (`execute.ts`), and larger queues hold nothing up.
 * No rank holds more activations than for M, since the stretch frees as many as it makes.
 *
 * The cuts are sought for the smallest M, then the next, each of which is proved by itself before it is passed over: so
 * the iterations before the steady state are covered. The number of ranks stays as given; each is proved apart.
 */
import { channelsOf } from "./channels.ts";
import type { Pipeline } from "./compile.ts";
import { allows } from "./evaluate.ts";
import { steadyPhase, type SteadyPhase } from "./growth.ts";
import { prove, type ProofOptions } from "./prove.ts";
import { hasRepetition, phaseRange, type Range } from "./repetition.ts";
import type { Schedule } from "./schedule.ts";

export type Generality =
  /** Proved for `from`, `from + step`, .. micro-batches, with these ranks. */
  | { readonly kind: "induction"; readonly ranks: number; readonly from: number; readonly step: number }
  /** Proved for every number that it allows from `from` up to `micro`, and why not for all. */
  | {
      readonly kind: "sizes";
      readonly ranks: number;
      readonly from: number;
      readonly micro: number;
      readonly why: string;
    };

/** Actions of all other schedules that are proved, so that this takes no longer than the proof of a large one. */
const mostActions = 2 ** 22;

/** For a schedule that is proved with these options. */
export function generalize(pipeline: Pipeline, options: ProofOptions = {}): Generality {
  const { ranks, micro, start } = pipeline.schedule;
  const allowed: number[] = [];
  for (let m = 1; m <= 64 * ranks + 64 && allowed.length < 2 + 4 * ranks; m++)
    if (allows(pipeline.program, { ranks, micro: m })) allowed.push(m);
  const [first, second] = allowed;
  if (first === undefined || second === undefined)
    return sized(pipeline, options, "there are no two numbers of micro-batches to compare");
  const step = second - first;
  if (allowed.some((m, k) => m !== first + k * step))
    return sized(pipeline, options, "the numbers of micro-batches that it allows are not evenly spaced");
  const steady = steadyPhase(pipeline.program, step);
  if (typeof steady === "string") return sized(pipeline, options, steady);
  let actions = 0;
  for (const m of allowed) {
    actions += 2 * (start[ranks] ?? 0) * (m / micro);
    if (actions > mostActions)
      return sized(pipeline, options, "the schedules to look for a stretch that repeats in are too large");
    const base = pipeline.at({ ranks, micro: m });
    const next = pipeline.at({ ranks, micro: m + step });
    if (base === undefined || next === undefined || prove(base, options).verdict === "refused")
      return sized(pipeline, options, `with ${m} micro-batches it is refused`);
    if (repeats(base, next, options.buffers ?? m, steady, step))
      return { kind: "induction", ranks, from: first, step };
  }
  return sized(pipeline, options, "no stretch of the steady phase was found that repeats on every rank");
}

/** As many of the smaller numbers of micro-batches as there is time for, the largest first. */
function sized(pipeline: Pipeline, options: ProofOptions, why: string): Generality {
  const { ranks, micro, start } = pipeline.schedule;
  let [from, actions] = [micro, 0];
  for (let m = micro - 1; m >= 1; m--) {
    if (!allows(pipeline.program, { ranks, micro: m })) continue;
    actions += (start[ranks] ?? 0) * (m / micro);
    if (actions > mostActions) break;
    const smaller = pipeline.at({ ranks, micro: m });
    if (smaller === undefined || prove(smaller, options).verdict === "refused") break;
    from = m;
  }
  return { kind: "sizes", ranks, from, micro, why };
}

/** Whether the schedule for M + step is that for M with its steady phase longer, and has a stretch that repeats. */
function repeats(
  base: Schedule,
  next: Schedule,
  capacity: number,
  { name, growth }: SteadyPhase,
  step: number,
): boolean {
  const ranges: Range[] = [];
  for (let rank = 0; rank < base.ranks; rank++) {
    const [own, grown] = [phaseRange(base, rank, name), phaseRange(next, rank, name)];
    const period = grown.end - grown.first - (own.end - own.first);
    if (period < growth || own.end - own.first < 3 * period) return false;
    if (!isInsertion(base, next, rank, own.end, period)) return false;
    ranges.push({ ...own, period });
  }
  return hasRepetition(base, channelsOf(base), capacity, { ranges, step });
}

/** Whether the rank's actions in `next` are those in `base`, with the `length` before `at` once more. */
function isInsertion(base: Schedule, next: Schedule, rank: number, at: number, length: number): boolean {
  const shift = (next.start[rank] ?? 0) - (base.start[rank] ?? 0);
  const same = (a: number, b: number): boolean =>
    base.kind[a] === next.kind[b] && base.lane[a] === next.lane[b];
  for (let e = base.start[rank] ?? 0; e < (base.start[rank + 1] ?? 0); e++)
    if (!same(e, e + shift + (e < at ? 0 : length))) return false;
  for (let e = at; e < at + length; e++) if (!same(e - length, e + shift)) return false;
  return (next.start[rank + 1] ?? 0) - shift === (base.start[rank + 1] ?? 0) + length;
}

/** In words: for which sizes the proof holds. */
export function describeGenerality(g: Generality, name: string): string {
  if (g.kind === "induction")
    return `proved for ${name} with ${g.ranks} ranks and ${g.from}, ${g.from + g.step}, ${g.from + 2 * g.step}, .. micro-batches, by induction on the steady phase; other numbers of ranks are proved apart`;
  const sizes =
    g.from === g.micro
      ? `${g.micro} micro-batches`
      : `every number of micro-batches from ${g.from} up to ${g.micro} that it allows`;
  return `proved for ${name} with ${g.ranks} ranks and ${sizes}, and not for all: ${g.why}`;
}
