/**
 * The bubble as a formula: the longest idle over ranks, counted in F, B, W and F&B.
 *
 * The end of the step is the end of a chain of actions, each waiting for the one before it; what the chain counts, less
 * what the rank itself does, is its idle time. That is exact for costs near those that the chain was found with, and as
 * long as the same chain is the longest.
 */
import { type Costs, costsOf } from "./costs.ts";
import { kindCounts } from "./counts.ts";
import { type Channels, queueOf } from "./channels.ts";
import { B, F, I, isJoined, kindAt, type Schedule } from "./schedule.ts";
import type { Simulation } from "./simulate.ts";

/** How many of each a time is. */
export interface Formula {
  readonly F: number;
  readonly B: number;
  readonly W: number;
  readonly FB: number;
}

/** The formula of the rank that is idle longest. For a simulation without jitter, uneven stages, link or pieces. */
export function bubbleOf({ schedule: s, end, start, idle, costs }: Simulation, channels: Channels): Formula {
  let rank = 0;
  for (let r = 1; r < s.ranks; r++) if ((idle[r] ?? 0) > (idle[rank] ?? 0) + 1e-9) rank = r;
  const chain = longestChain(s, channels, start, end);
  const own = kindCounts(s, rank);
  return normal(
    s,
    {
      F: chain.F - own.F,
      B: chain.B - own.B + chain.I - own.I,
      W: chain.W - own.W - (chain.I - own.I),
      FB: chain.FB - own.pairs,
    },
    costs,
  );
}

interface Chain {
  F: number;
  B: number;
  I: number;
  W: number;
  FB: number;
}

/** Back from the last action to end, always to one whose end is the start of the next. */
function longestChain(s: Schedule, channels: Channels, start: Float64Array, end: Float64Array): Chain {
  const chain: Chain = { F: 0, B: 0, I: 0, W: 0, FB: 0 };
  const ranks = new Map<number, number>();
  let at = 0;
  for (let r = 0; r < s.ranks; r++) {
    const last = (s.start[r + 1] ?? 0) - 1;
    if (last >= (s.start[r] ?? 0) && (end[last] ?? 0) > (end[at] ?? 0)) at = last;
    ranks.set(r, last);
  }
  const index = messageIndex(s, channels);
  let rank = rankHolding(s, at);
  for (;;) {
    const first = at > (s.start[rank] ?? 0) && isJoined(s, at - 1) ? at - 1 : at;
    const last = isJoined(s, first) ? first + 1 : first;
    const kind = kindAt(s, first);
    const isWhole = kind === B || kindAt(s, last) === B;
    if (last > first) {
      chain.FB += 1;
      if (!isWhole) chain.W -= 1;
    } else chain[kind === F ? "F" : kind === B ? "B" : kind === I ? "I" : "W"] += 1;
    const begin = start[first] ?? 0;
    if (begin === 0) return chain;
    // The rank's own order first: of two chains that are as long, the one with fewer hops.
    if (first > (s.start[rank] ?? 0) && end[first - 1] === begin) {
      at = first - 1;
      continue;
    }
    let found = false;
    for (let e = first; e <= last && !found; e++) {
      const q = queueOf(s, channels.inbound, rank, e);
      const by = q < 0 ? undefined : channels.sends[(channels.sendAt[q] ?? 0) + (index[e] ?? 0)];
      if (by === undefined || end[by] !== begin) continue;
      [at, rank, found] = [by, channels.from[q] ?? 0, true];
    }
    // Held up by a full queue: the chain cannot be told in these terms, and what is found so far is a lower bound.
    if (!found) return chain;
  }
}

function messageIndex(s: Schedule, channels: Channels): Int32Array {
  const index = new Int32Array(s.start[s.ranks] ?? 0);
  for (let q = 0; q < channels.count; q++)
    for (let k = channels.receiveAt[q] ?? 0; k < (channels.receiveAt[q + 1] ?? 0); k++)
      index[channels.receives[k] ?? 0] = k - (channels.receiveAt[q] ?? 0);
  return index;
}

function rankHolding(s: Schedule, entry: number): number {
  let rank = 0;
  while ((s.start[rank + 1] ?? 0) <= entry) rank += 1;
  return rank;
}

/**
 * Where I costs what F does, B = F + W, and a formula can be told in many ways: this one as the papers do, with as
 * many F (or F&B) as B.
 */
function normal(s: Schedule, formula: Formula, costs: Costs): Formula {
  if (costs.B - costs.W !== costs.F) return formula;
  const hasPairs = s.kind.some((kind) => (kind & 4) !== 0);
  const wanted = hasPairs ? formula.FB : undefined;
  // Moves F = B - W from one side to the other.
  const shift = wanted === undefined ? (formula.F - formula.B) / 2 : formula.F;
  if (!Number.isInteger(shift)) return formula;
  return { F: formula.F - shift + 0, B: formula.B + shift + 0, W: formula.W - shift + 0, FB: formula.FB + 0 };
}

export function timeOf(formula: Formula, costs: Partial<Costs>): number {
  const { F: f, B: b, W: w, FB: fb } = costsOf(costs);
  return formula.F * f + formula.B * b + formula.W * w + formula.FB * fb;
}

/** `7(F + B - 2W)`, `3(F&B + B - 3W)`, `0`. */
export function printFormula(formula: Formula): string {
  const terms = (
    [
      ["F&B", formula.FB],
      ["F", formula.F],
      ["B", formula.B],
      ["W", formula.W],
    ] as const
  ).filter(([, n]) => n !== 0);
  if (terms.length === 0) return "0";
  const common = terms.map(([, n]) => Math.abs(n)).reduce(gcd);
  const text = terms
    .map(([name, n], k) => {
      const size = Math.abs(n / common);
      const sign = n < 0 ? (k === 0 ? "-" : " - ") : k === 0 ? "" : " + ";
      return `${sign}${size === 1 ? "" : size}${name}`;
    })
    .join("");
  return common === 1 ? text : terms.length === 1 ? `${common}${text}` : `${common}(${text})`;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
