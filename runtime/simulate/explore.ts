/**
 * Explores schedules: runs a launch under many seeds, and shortens the schedule of each thing it finds.
 *
 * A seed's schedule is the list of choices that leave the plain order. Most of them have nothing to do with the
 * finding, so they are taken out again, half of them at a time and then fewer, as long as the finding stays (delta
 * debugging: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input").
 */
import { renderFinding, SimulateError, type Finding } from "./finding.ts";
import type { SimulateOptions } from "./launch.ts";
import type { Deviation } from "./machine/schedule.ts";
import type { Report } from "./report.ts";

/** Sets the memory up afresh and launches under the options; called once a schedule. */
export type Trial = (options: SimulateOptions) => Report;

export interface Reproducer {
  readonly finding: Finding;
  readonly seed: number;
  /** The choices that must leave the plain order for the finding to show; empty when it shows in plain order. */
  readonly schedule: readonly Deviation[];
}

export interface Exploration {
  /** One for each finding that differs in kind or in instructions. */
  readonly reproducers: readonly Reproducer[];
  readonly seeds: number;
  /** Report of the first seed. */
  readonly first: Report;
}

export interface ExploreOptions {
  /** Seeds 0 to seeds - 1 are run. */
  readonly seeds: number;
  readonly options?: SimulateOptions;
  /** Runs that may be spent on shortening the schedule of one finding. */
  readonly shortenRuns?: number;
}

function keyOf(finding: Finding): string {
  return `${finding.code} ${finding.at.ptxLine} ${finding.other?.ptxLine ?? 0}`;
}

function shows(report: Report, key: string): Finding | undefined {
  return report.findings.find((finding) => keyOf(finding) === key);
}

/** The shortest schedule found within the runs, of those that still show the finding. */
export function shorten(
  trial: Trial,
  finding: Finding,
  schedule: readonly Deviation[],
  options: SimulateOptions,
  runs: number,
): readonly Deviation[] {
  const key = keyOf(finding);
  let left = runs;
  const holds = (candidate: readonly Deviation[]): boolean => {
    left--;
    return shows(trial({ ...options, seed: finding.seed, schedule: candidate }), key) !== undefined;
  };
  if (schedule.length === 0 || holds([])) return [];
  let best = schedule;
  for (let size = Math.ceil(best.length / 2); size >= 1 && left > 0;) {
    let removed = false;
    for (let start = 0; start < best.length && left > 0;) {
      const candidate = [...best.slice(0, start), ...best.slice(start + size)];
      if (candidate.length < best.length && holds(candidate)) {
        best = candidate;
        removed = true;
      } else start += size;
    }
    if (size === 1 && !removed) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return best;
}

export function explore(
  trial: Trial,
  { seeds, options = {}, shortenRuns = 60 }: ExploreOptions,
): Exploration {
  const found = new Map<string, { readonly finding: Finding; readonly schedule: readonly Deviation[] }>();
  let first: Report | undefined;
  const start = options.seed ?? 0;
  for (let seed = start; seed < start + seeds; seed++) {
    const report = trial({ ...options, seed });
    first ??= report;
    for (const finding of report.findings) {
      const key = keyOf(finding);
      if (!found.has(key)) found.set(key, { finding, schedule: [...report.schedule] });
    }
  }
  if (first === undefined) throw new SimulateError("explore needs at least one seed");
  const reproducers = [...found.values()].map(({ finding, schedule }) => ({
    finding,
    seed: finding.seed,
    schedule: shorten(trial, finding, schedule, options, shortenRuns),
  }));
  return { reproducers, seeds, first };
}

/** A schedule as one word, "12:3,40:1": at choice 12 take 3, at choice 40 take 1; "plain" when it has none. */
export function formatSchedule(schedule: readonly Deviation[]): string {
  return schedule.length === 0 ? "plain" : schedule.map(({ at, pick }) => `${at}:${pick}`).join(",");
}

export function parseSchedule(text: string): Deviation[] {
  if (text === "plain" || text === "") return [];
  return text.split(",").map((pair) => {
    const found = /^(\d+):(\d+)$/.exec(pair);
    if (found === null)
      throw new SimulateError(`I cannot read the schedule ${pair}; it is a list such as 12:3,40:1`);
    return { at: Number(found[1]), pick: Number(found[2]) };
  });
}

export function renderReproducer(reproducer: Reproducer): string {
  return `${renderFinding(reproducer.finding)}\n  shortest schedule: ${formatSchedule(reproducer.schedule)}`;
}
