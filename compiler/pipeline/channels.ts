/**
 * The queues between ranks: one for each ordered pair of ranks, direction, and forward or backward.
 *
 * A stage whose neighbour is on the same rank hands over without a queue. Nothing else is said here about time: the
 * k-th message that its sender puts in is the k-th that its receiver takes out.
 */
import { F, kindAt, type Schedule, W } from "./schedule.ts";

/** In place of a queue: nothing to send or receive, or the neighbour is on the same rank. */
export const nothing = -1;
export const local = -2;

export interface Channels {
  readonly count: number;
  readonly from: Int32Array;
  readonly to: Int32Array;
  /** By `(rank * lanes + lane) * 2`, plus 1 for backward: the queue, `nothing` or `local`. */
  readonly inbound: Int32Array;
  readonly outbound: Int32Array;
  /** Queue q's senders are `sends[at[q]]` up to `at[q + 1]`, as entries in order; so its receivers. */
  readonly sendAt: Int32Array;
  readonly sends: Int32Array;
  readonly receiveAt: Int32Array;
  readonly receives: Int32Array;
}

export function channelsOf(s: Schedule): Channels {
  const { ranks, lanes } = s;
  const size = ranks * lanes * 2;
  const [inbound, outbound] = [new Int32Array(size).fill(nothing), new Int32Array(size).fill(nothing)];
  const [from, to]: [number[], number[]] = [[], []];
  const known = new Map<number, number>();
  const queue = (a: number, b: number, direction: number, way: number): number => {
    const key = ((a * ranks + b) * s.directions.length + direction) * 2 + way;
    const found = known.get(key);
    if (found !== undefined) return found;
    known.set(key, from.length);
    from.push(a);
    to.push(b);
    return from.length - 1;
  };
  for (const [d, { stages }] of s.directions.entries()) {
    const holder = s.holder[d] ?? new Int32Array();
    for (let stage = 0; stage + 1 < stages; stage++) {
      const [a, b] = [holder[stage] ?? 0, holder[stage + 1] ?? 0];
      const [ra, rb] = [Math.floor(a / lanes), Math.floor(b / lanes)];
      outbound[a * 2] = inbound[b * 2] = ra === rb ? local : queue(ra, rb, d, 0);
      outbound[b * 2 + 1] = inbound[a * 2 + 1] = ra === rb ? local : queue(rb, ra, d, 1);
    }
  }
  const count = from.length;
  const [sendAt, sends] = collect(s, outbound, count);
  const [receiveAt, receives] = collect(s, inbound, count);
  return {
    count,
    from: Int32Array.from(from),
    to: Int32Array.from(to),
    inbound,
    outbound,
    sendAt,
    sends,
    receiveAt,
    receives,
  };
}

/** The entries that use each queue, in order. */
function collect(s: Schedule, queues: Int32Array, count: number): [Int32Array, Int32Array] {
  const at = new Int32Array(count + 1);
  forMessages(s, queues, (q) => {
    at[q + 1] = (at[q + 1] ?? 0) + 1;
  });
  for (let q = 0; q < count; q++) at[q + 1] = (at[q + 1] ?? 0) + (at[q] ?? 0);
  const entries = new Int32Array(at[count] ?? 0);
  const next = at.slice(0, count);
  forMessages(s, queues, (q, entry) => {
    const k = next[q] ?? 0;
    entries[k] = entry;
    next[q] = k + 1;
  });
  return [at, entries];
}

function forMessages(s: Schedule, queues: Int32Array, visit: (q: number, entry: number) => void): void {
  const { lanes, lane, start } = s;
  for (let rank = 0; rank < s.ranks; rank++) {
    const end = start[rank + 1] ?? 0;
    for (let entry = start[rank] ?? 0; entry < end; entry++) {
      const kind = kindAt(s, entry);
      if (kind === W) continue;
      const q = queues[(rank * lanes + (lane[entry] ?? 0)) * 2 + (kind === F ? 0 : 1)] ?? nothing;
      if (q >= 0) visit(q, entry);
    }
  }
}

/** The queue that an entry of `rank` takes from or puts into, `nothing` or `local`. */
export function queueOf(s: Schedule, queues: Int32Array, rank: number, entry: number): number {
  const kind = kindAt(s, entry);
  if (kind === W) return nothing;
  return queues[(rank * s.lanes + (s.lane[entry] ?? 0)) * 2 + (kind === F ? 0 : 1)] ?? nothing;
}

/** Whether what `sender` puts in is what `receiver` expects: the same micro-batch, from the stage beside its own. */
export function pairs(
  s: Schedule,
  sender: number,
  senderRank: number,
  receiver: number,
  receiverRank: number,
): boolean {
  const step = kindAt(s, sender) === F ? 1 : -1;
  const here = s.stage[receiverRank * s.lanes + (s.lane[receiver] ?? 0)] ?? 0;
  const there = s.stage[senderRank * s.lanes + (s.lane[sender] ?? 0)] ?? 0;
  return s.batch[sender] === s.batch[receiver] && here === there + step;
}
