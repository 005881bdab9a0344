/** That every micro-batch passes every stage once each way, and that no weight gradient is left or invented. */
import type { Diagnostic, Place } from "../diagnostics/diagnostic.ts";
import { pipelineCount, pipelineWeights } from "../diagnostics/pipeline.ts";
import { B, describeEntry, F, I, kindAt, type Schedule, W } from "./schedule.ts";

/** Why a micro-batch misses a stage, or a weight gradient its place; undefined where all is done once. */
export function miscount(s: Schedule): Diagnostic | undefined {
  const forward = new Int32Array(s.ranks * s.lanes);
  const backward = new Int32Array(s.ranks * s.lanes);
  let unowed = -1;
  for (let rank = 0; rank < s.ranks; rank++)
    for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
      const at = rank * s.lanes + (s.lane[e] ?? 0);
      const kind = kindAt(s, e);
      if (kind === F) forward[at] = (forward[at] ?? 0) + 1;
      else if (kind !== W) backward[at] = (backward[at] ?? 0) + 1;
      else if (unowed < 0 && s.batch[e] === -1) unowed = e;
    }
  const batches = s.directions.map((_, d) => {
    let most = 0;
    for (let at = 0; at < forward.length; at++)
      if (s.directionOf[at % s.lanes] === d) most = Math.max(most, forward[at] ?? 0, backward[at] ?? 0);
    // Of one direction, the number is known; it cannot have fewer because every rank leaves some out.
    return s.directions.length === 1 ? Math.max(most, s.micro) : most;
  });
  for (let at = 0; at < forward.length; at++) {
    const expected = batches[s.directionOf[at % s.lanes] ?? 0] ?? 0;
    if ((forward[at] ?? 0) < expected) return short(s, at, "F", forward[at] ?? 0, expected);
    if ((backward[at] ?? 0) < expected) return short(s, at, "B or I", backward[at] ?? 0, expected);
  }
  const total = batches.reduce((a, b) => a + b, 0);
  if (total !== s.micro) {
    const each = s.directions.map(({ name }, d) => `${batches[d] ?? 0} in direction '${name}'`).join(" and ");
    return pipelineCount(
      s.place,
      `${total} micro-batches pass, ${each}, and there are ${s.micro}`,
      "the directions' F add up to the number of micro-batches",
    );
  }
  if (unowed >= 0)
    return pipelineWeights(
      placeOf(s, unowed),
      `this W on rank ${rankOf(s, unowed)} has no weight gradient to compute: none is owed`,
      "an I before it leaves one owed",
    );
  return stillOwed(s);
}

function short(s: Schedule, held: number, kind: string, has: number, expected: number): Diagnostic {
  const rank = Math.floor(held / s.lanes);
  const lane = held % s.lanes;
  const direction = s.directions[s.directionOf[lane] ?? 0];
  const slots = direction?.slots ?? 1;
  const name = `${direction?.name ?? ""}${slots > 1 ? `, ${lane - (direction?.lane ?? 0)}` : ""}`;
  const named = kind === "F" ? `F(${name})` : `B(${name}) or I(${name})`;
  const missing = has === expected - 1 ? `${has} does` : `${has} to ${expected - 1} do`;
  const message = `rank ${rank} has ${has} of ${expected} ${named}: micro-batch${has === expected - 1 ? "" : "es"} ${missing} not pass stage ${s.stage[held] ?? 0} ${kind === "F" ? "forward" : "backward"}`;
  let last = -1;
  for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++)
    if (s.lane[e] === lane && (kind === "F") === (kindAt(s, e) === F) && kindAt(s, e) !== W) last = e;
  return pipelineCount(last < 0 ? s.place : placeOf(s, last), message, "its last one is here");
}

/** An `I` whose `W` never comes. */
function stillOwed(s: Schedule): Diagnostic | undefined {
  for (let rank = 0; rank < s.ranks; rank++) {
    let owed = 0;
    const weighed = new Map<number, Set<number>>();
    for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
      const kind = kindAt(s, e);
      if (kind === I) owed += 1;
      else if (kind === W) owed -= 1;
    }
    if (owed === 0) continue;
    for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
      if (kindAt(s, e) !== W) continue;
      const lane = s.lane[e] ?? 0;
      weighed.set(lane, (weighed.get(lane) ?? new Set<number>()).add(s.batch[e] ?? 0));
    }
    for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++)
      if (kindAt(s, e) === I && weighed.get(s.lane[e] ?? 0)?.has(s.batch[e] ?? 0) !== true)
        return pipelineWeights(
          placeOf(s, e),
          `rank ${rank} ends with ${owed} weight gradient${owed === 1 ? "" : "s"} owed, the first by ${describeEntry(s, e)}`,
          `${owed} more W on rank ${rank}, at its end at the latest`,
        );
  }
  return undefined;
}

export function placeOf(s: Schedule, entry: number): Place {
  return s.sites[s.site[entry] ?? 0]?.place ?? s.place;
}

function rankOf(s: Schedule, entry: number): number {
  let rank = 0;
  while ((s.start[rank + 1] ?? 0) <= entry) rank += 1;
  return rank;
}

/** How many actions of each kind a rank has. */
export function kindCounts(
  s: Schedule,
  rank: number,
): Readonly<Record<"F" | "B" | "I" | "W" | "pairs", number>> {
  const counts = { F: 0, B: 0, I: 0, W: 0, pairs: 0 };
  for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
    if (((s.kind[e] ?? 0) & 4) !== 0) {
      counts.pairs += 1;
      e += 1;
      continue;
    }
    const kind = kindAt(s, e);
    counts[kind === F ? "F" : kind === B ? "B" : kind === I ? "I" : "W"] += 1;
  }
  return counts;
}
