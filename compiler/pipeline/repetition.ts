/**
 * A stretch of a schedule that can be repeated.
 *
 * Performing a schedule is a set of events: each entry receives, and then sends. An event comes after those of its rank
 * before it; a receive after the send that it takes from; a send into a queue of capacity c after the receive that takes
 * the message c before. A cut is a set of events that holds, with each, those before it.
 */
import { type Channels, queueOf } from "./channels.ts";
import { F, I, isJoined, kindAt, type Schedule, W } from "./schedule.ts";

/** Where a rank's steady phase lies, and how many of its entries are one period, the iterations of one step of M. */
export interface Range {
  readonly first: number;
  readonly end: number;
  readonly period: number;
}

export function phaseRange(s: Schedule, rank: number, phase: string): { first: number; end: number } {
  let [first, end] = [-1, -1];
  for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
    if (s.sites[s.site[e] ?? 0]?.phase !== phase) continue;
    if (first < 0) first = e;
    end = e + 1;
  }
  return { first, end };
}

/**
 * Whether there are two cuts of which the second has one period of every rank's steady phase more, and the state after
 * it is the state after the first with the micro-batches counted on, `step` of them over all directions.
 */
export function hasRepetition(s: Schedule, channels: Channels, capacity: number, steady: Steady): boolean {
  const index = indices(s, channels);
  // The cuts are the least that take one rank so far. Any two would do, and an end or the middle leads the others.
  for (const lead of new Set([0, s.ranks >> 1, s.ranks - 1])) {
    const range = steady.ranges[lead];
    if (range === undefined) return false;
    const events = new Events(s, channels, capacity, index);
    let before: Cut | undefined;
    for (let goal = range.first + range.period; goal <= range.end; goal += range.period) {
      events.perform(lead, goal);
      const cut = events.cut();
      if (before !== undefined && isRepetition(s, channels, steady, before, cut)) return true;
      before = cut;
    }
  }
  return false;
}

export interface Steady {
  readonly ranges: readonly Range[];
  readonly step: number;
}

/** The state after a cut. */
interface Cut {
  /** By rank: the first entry whose action has not sent all it has to; and which of its events are done. */
  readonly reached: Int32Array;
  readonly begun: Uint8Array;
  /** By queue. */
  readonly taken: Int32Array;
  readonly sent: Int32Array;
}

const received = 1;
const sent = 2;

class Events {
  readonly #s: Schedule;
  readonly #channels: Channels;
  readonly #capacity: number;
  readonly #index: Messages;
  /** By entry: `received`, and then `sent`. */
  readonly #done: Uint8Array;
  readonly #reached: Int32Array;
  readonly #taken: Int32Array;
  readonly #sent: Int32Array;

  constructor(s: Schedule, channels: Channels, capacity: number, index: Messages) {
    this.#s = s;
    this.#channels = channels;
    this.#capacity = capacity;
    this.#index = index;
    this.#done = new Uint8Array(s.start[s.ranks] ?? 0);
    this.#reached = s.start.slice(0, s.ranks);
    this.#taken = new Int32Array(channels.count);
    this.#sent = new Int32Array(channels.count);
  }

  cut(): Cut {
    const begun = this.#reached.map((e, rank) => {
      if (e >= (this.#s.start[rank + 1] ?? 0)) return 0;
      return (this.#done[e] ?? 0) + (isJoined(this.#s, e) ? 4 * (this.#done[e + 1] ?? 0) : 0);
    });
    return {
      reached: this.#reached.slice(),
      begun: Uint8Array.from(begun),
      taken: this.#taken.slice(),
      sent: this.#sent.slice(),
    };
  }

  /** Takes `lead` up to the entry `goal`, and performs of the others what that comes after: the least such cut. */
  perform(lead: number, goal: number): void {
    const wanted: number[] = [];
    while ((this.#reached[lead] ?? 0) < goal) {
      const at = this.#reached[lead] ?? 0;
      wanted.push(this.#last(at) * 2 + 1, at * 2 + 1);
      // The schedule is proved, so that no event comes after itself and this ends.
      for (let event = wanted.at(-1); event !== undefined; event = wanted.at(-1)) {
        const before = this.#before(event);
        if (before !== undefined) {
          wanted.push(before);
          continue;
        }
        this.#mark(event);
        wanted.pop();
      }
    }
  }

  #last(entry: number): number {
    return isJoined(this.#s, entry) ? entry + 1 : entry;
  }

  #first(entry: number): number {
    return entry > 0 && isJoined(this.#s, entry - 1) ? entry - 1 : entry;
  }

  #isDone(event: number): boolean {
    return ((this.#done[event >> 1] ?? 0) & (event % 2 === 0 ? received : sent)) !== 0;
  }

  /** An event that has to come first and is not done. */
  #before(event: number): number | undefined {
    if (this.#isDone(event)) return undefined;
    const { inbound, outbound, from, to, sendAt, sends, receiveAt, receives } = this.#channels;
    const entry = event >> 1;
    const rank = this.#index.rank[entry] ?? 0;
    const first = this.#first(entry);
    const missing = (events: readonly number[]): number | undefined =>
      events.find((each) => !this.#isDone(each));
    if (event % 2 === 0) {
      if (first > (this.#s.start[rank] ?? 0)) {
        const own = missing([(first - 1) * 2 + 1, this.#first(first - 1) * 2 + 1]);
        if (own !== undefined) return own;
      }
      const q = queueOf(this.#s, inbound, rank, entry);
      if (q < 0 || from[q] === undefined) return undefined;
      return missing([(sends[(sendAt[q] ?? 0) + (this.#index.inbound[entry] ?? 0)] ?? 0) * 2 + 1]);
    }
    const own = missing([first * 2, this.#last(first) * 2]);
    if (own !== undefined) return own;
    const q = queueOf(this.#s, outbound, rank, entry);
    if (q < 0 || to[q] === undefined) return undefined;
    const k = (this.#index.outbound[entry] ?? 0) - this.#capacity;
    return k < 0 ? undefined : missing([(receives[(receiveAt[q] ?? 0) + k] ?? 0) * 2]);
  }

  #mark(event: number): void {
    if (this.#isDone(event)) return;
    const entry = event >> 1;
    const rank = this.#index.rank[entry] ?? 0;
    const isReceive = event % 2 === 0;
    this.#done[entry] = (this.#done[entry] ?? 0) | (isReceive ? received : sent);
    const q = queueOf(this.#s, isReceive ? this.#channels.inbound : this.#channels.outbound, rank, entry);
    const counts = isReceive ? this.#taken : this.#sent;
    if (q >= 0) counts[q] = (counts[q] ?? 0) + 1;
    const first = this.#first(entry);
    const last = this.#last(first);
    if (!isReceive && this.#isDone(first * 2 + 1) && this.#isDone(last * 2 + 1))
      this.#reached[rank] = last + 1;
  }
}

/** By entry: its rank, and which message of its queues it takes and puts in. */
interface Messages {
  readonly rank: Uint16Array;
  readonly inbound: Int32Array;
  readonly outbound: Int32Array;
}

function indices(s: Schedule, { count, sendAt, sends, receiveAt, receives }: Channels): Messages {
  const total = s.start[s.ranks] ?? 0;
  const rank = new Uint16Array(total);
  for (let r = 0; r < s.ranks; r++) rank.fill(r, s.start[r] ?? 0, s.start[r + 1] ?? 0);
  const [inbound, outbound] = [new Int32Array(total), new Int32Array(total)];
  for (let q = 0; q < count; q++) {
    for (let k = receiveAt[q] ?? 0; k < (receiveAt[q + 1] ?? 0); k++)
      inbound[receives[k] ?? 0] = k - (receiveAt[q] ?? 0);
    for (let k = sendAt[q] ?? 0; k < (sendAt[q + 1] ?? 0); k++)
      outbound[sends[k] ?? 0] = k - (sendAt[q] ?? 0);
  }
  return { rank, inbound, outbound };
}

/** Whether the state after `b` is that after `a`, one period on. */
function isRepetition(s: Schedule, channels: Channels, steady: Steady, a: Cut, b: Cut): boolean {
  const shift = new Int32Array(s.directions.length).fill(-1);
  for (const [rank, range] of steady.ranges.entries()) {
    const [from, to] = [a.reached[rank] ?? 0, b.reached[rank] ?? 0];
    if (to - from !== range.period || from - range.period < range.first || to > range.end) return false;
    if (a.begun[rank] !== b.begun[rank] || (b.begun[rank] !== 0 && to === range.end)) return false;
    // The iterations on both sides of the cut are one another's repetition, from the one before on.
    for (let e = from; e < range.end; e++)
      if (s.kind[e] !== s.kind[e - range.period] || s.lane[e] !== s.lane[e - range.period]) return false;
    if (!countsOn(s, from, to, shift)) return false;
  }
  if (shift.reduce((sum, each) => sum + each, 0) !== steady.step) return false;
  const isSame = (lane: number, batch: number, otherLane: number, other: number): boolean =>
    lane === otherLane && other === batch + (shift[s.directionOf[lane] ?? 0] ?? 0);
  for (let rank = 0; rank < s.ranks; rank++) {
    const [owed, later] = [owedAt(s, rank, a.reached[rank] ?? 0), owedAt(s, rank, b.reached[rank] ?? 0)];
    if (owed.length !== later.length) return false;
    for (const [k, [lane, batch]] of owed.entries()) {
      const [otherLane, other] = later[k] ?? [-1, -1];
      if (!isSame(lane, batch, otherLane, other)) return false;
    }
  }
  for (let q = 0; q < channels.count; q++) {
    const held = (a.sent[q] ?? 0) - (a.taken[q] ?? 0);
    if (held !== (b.sent[q] ?? 0) - (b.taken[q] ?? 0)) return false;
    for (let k = 0; k < held; k++) {
      const first = channels.sends[(channels.sendAt[q] ?? 0) + (a.taken[q] ?? 0) + k] ?? 0;
      const second = channels.sends[(channels.sendAt[q] ?? 0) + (b.taken[q] ?? 0) + k] ?? 0;
      if (!isSame(s.lane[first] ?? 0, s.batch[first] ?? 0, s.lane[second] ?? 0, s.batch[second] ?? 0))
        return false;
    }
  }
  return true;
}

/**
 * Whether a stretch of a rank has of every lane as many forwards as backwards, as many as any other rank of that lane's
 * direction, and a weight gradient for every `I`.
 */
function countsOn(s: Schedule, from: number, to: number, shift: Int32Array): boolean {
  const counts = Array.from({ length: s.lanes }, () => ({ forward: 0, backward: 0, owed: 0 }));
  for (let e = from; e < to; e++) {
    const count = counts[s.lane[e] ?? 0];
    if (count === undefined) return false;
    const kind = kindAt(s, e);
    if (kind === F) count.forward += 1;
    else if (kind !== W) count.backward += 1;
    if (kind === I) count.owed += 1;
    else if (kind === W) count.owed -= 1;
  }
  return counts.every(({ forward, backward, owed }, lane) => {
    const direction = s.directionOf[lane] ?? 0;
    if (shift[direction] === -1) shift[direction] = forward;
    return forward === backward && owed === 0 && shift[direction] === forward;
  });
}

/** Weight gradients that a rank owes before an entry, oldest first: lane and micro-batch. */
function owedAt(s: Schedule, rank: number, before: number): readonly (readonly [number, number])[] {
  const owed = new Map<number, readonly [number, number]>();
  for (let e = s.start[rank] ?? 0; e < before; e++) {
    const [lane, batch] = [s.lane[e] ?? 0, s.batch[e] ?? 0];
    const kind = kindAt(s, e);
    if (kind === I) owed.set(batch * s.lanes + lane, [lane, batch]);
    else if (kind === W) owed.delete(batch * s.lanes + lane);
  }
  return [...owed.values()];
}
