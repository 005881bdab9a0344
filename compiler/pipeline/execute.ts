/**
 * Performs a schedule without time: who can go on, does, until all are done or nobody can.
 *
 * Ranks perform their actions in order. An action receives what it needs, computes, and sends what it made; an
 * overlapped pair posts its two receives together, and its two sends. Receives wait for a message and sends for room,
 * each queue has one sender and one receiver, and nobody chooses by what comes first: so what is reached in the end
 * does not depend on who goes first (Kahn 1974), and one run decides for all interleavings.
 */
import { type Channels, local, nothing, pairs, queueOf } from "./channels.ts";
import { F, isJoined, kindAt, type Schedule, W } from "./schedule.ts";

export type Wait =
  /** For a message that `by` would send: an entry, or undefined where no entry of the sender would. */
  | { readonly kind: "message"; readonly by: number | undefined; readonly rank: number }
  /** For an entry of the same rank that comes later, or undefined where there is none. */
  | { readonly kind: "own"; readonly by: number | undefined; readonly rank: number }
  /** For room in a queue, which the entry `by` of `rank` would make. */
  | { readonly kind: "room"; readonly by: number | undefined; readonly rank: number }
  /** The message that comes next is another: `by` sent it. */
  | { readonly kind: "order"; readonly by: number; readonly rank: number };

export interface Stuck {
  readonly rank: number;
  /** The entry that waits. */
  readonly entry: number;
  readonly wait: Wait;
}

export interface Execution {
  /** By rank: the first entry that is not done. */
  readonly reached: Int32Array;
  /** Ranks that are not at their end, in order; none where the schedule completes. */
  readonly stuck: readonly Stuck[];
}

const gotFirst = 1;
const gotSecond = 2;
const sending = 4;
const sentFirst = 8;
const sentSecond = 16;

export function execute(s: Schedule, channels: Channels, capacity: number): Execution {
  const { ranks, start } = s;
  const { from, to } = channels;
  const reached = start.slice(0, ranks);
  const state = new Uint8Array(ranks);
  const sent = new Int32Array(channels.count);
  const taken = new Int32Array(channels.count);
  /** Forwards and backwards done, by (rank, lane): lanes of one rank go in order. */
  const done = new Int32Array(ranks * s.lanes * 2);
  const ready = new Int32Array(ranks);
  const waiting = new Uint8Array(ranks).fill(1);
  let top = 0;
  for (let rank = ranks - 1; rank >= 0; rank--) ready[top++] = rank;

  const wake = (rank: number): void => {
    if (waiting[rank] === 1) return;
    waiting[rank] = 1;
    ready[top++] = rank;
  };
  const receive = (rank: number, entry: number): boolean => {
    if (!ownDone(s, channels, done, rank, entry)) return false;
    const q = queueOf(s, channels.inbound, rank, entry);
    if (q < 0) return true;
    const k = taken[q] ?? 0;
    if ((sent[q] ?? 0) <= k) return false;
    if (!pairs(s, channels.sends[(channels.sendAt[q] ?? 0) + k] ?? 0, from[q] ?? 0, entry, rank))
      return false;
    taken[q] = k + 1;
    wake(from[q] ?? 0);
    return true;
  };
  const send = (rank: number, entry: number): boolean => {
    const q = queueOf(s, channels.outbound, rank, entry);
    if (q < 0) return true;
    if ((sent[q] ?? 0) - (taken[q] ?? 0) >= capacity) return false;
    sent[q] = (sent[q] ?? 0) + 1;
    wake(to[q] ?? 0);
    return true;
  };
  /** One action or overlapped pair, as far as it goes; true when it is done. */
  const advance = (rank: number, entry: number, second: number): boolean => {
    let bits = state[rank] ?? 0;
    if ((bits & sending) === 0) {
      if ((bits & gotFirst) === 0 && receive(rank, entry)) bits |= gotFirst;
      if (second >= 0 && (bits & gotSecond) === 0 && receive(rank, second)) bits |= gotSecond;
      if ((bits & gotFirst) !== 0 && (second < 0 || (bits & gotSecond) !== 0)) {
        bits |= sending;
        finish(s, done, rank, entry);
        if (second >= 0) finish(s, done, rank, second);
      }
    }
    if ((bits & sending) !== 0) {
      if ((bits & sentFirst) === 0 && send(rank, entry)) bits |= sentFirst;
      if (second >= 0 && (bits & sentSecond) === 0 && send(rank, second)) bits |= sentSecond;
      if ((bits & sentFirst) !== 0 && (second < 0 || (bits & sentSecond) !== 0)) {
        state[rank] = 0;
        return true;
      }
    }
    state[rank] = bits;
    return false;
  };

  while (top > 0) {
    const rank = ready[--top] ?? 0;
    waiting[rank] = 0;
    const end = start[rank + 1] ?? 0;
    for (let entry = reached[rank] ?? 0; entry < end;) {
      const second = isJoined(s, entry) ? entry + 1 : -1;
      if (!advance(rank, entry, second)) break;
      entry = second < 0 ? entry + 1 : entry + 2;
      reached[rank] = entry;
    }
  }
  const stuck: Stuck[] = [];
  for (let rank = 0; rank < ranks; rank++)
    if ((reached[rank] ?? 0) < (start[rank + 1] ?? 0))
      stuck.push(blame({ s, channels, capacity, sent, taken, done, state }, rank, reached[rank] ?? 0));
  return { reached, stuck };
}

function finish(s: Schedule, done: Int32Array, rank: number, entry: number): void {
  const kind = kindAt(s, entry);
  if (kind === W) return;
  const at = (rank * s.lanes + (s.lane[entry] ?? 0)) * 2 + (kind === F ? 0 : 1);
  done[at] = (done[at] ?? 0) + 1;
}

/** Whether this rank did what the entry needs of it: a backward its forward, a stage the one before it here. */
export function ownDone(
  s: Schedule,
  channels: Channels,
  done: Int32Array,
  rank: number,
  entry: number,
): boolean {
  return ownMissing(s, channels, done, rank, entry) === undefined;
}

/** The lane, times two, plus one for backward, of which this rank must first do more. */
function ownMissing(
  s: Schedule,
  channels: Channels,
  done: Int32Array,
  rank: number,
  entry: number,
): number | undefined {
  const kind = kindAt(s, entry);
  if (kind === W) return undefined;
  const own = rank * s.lanes + (s.lane[entry] ?? 0);
  const batch = s.batch[entry] ?? 0;
  if (kind !== F && (done[own * 2] ?? 0) <= batch) return own * 2;
  const way = kind === F ? 0 : 1;
  if (channels.inbound[own * 2 + way] !== local) return undefined;
  const direction = s.directionOf[s.lane[entry] ?? 0] ?? 0;
  const beside = s.holder[direction]?.[(s.stage[own] ?? 0) + (kind === F ? -1 : 1)] ?? 0;
  return (done[beside * 2 + way] ?? 0) <= batch ? beside * 2 + way : undefined;
}

interface State {
  readonly s: Schedule;
  readonly channels: Channels;
  readonly capacity: number;
  readonly sent: Int32Array;
  readonly taken: Int32Array;
  readonly done: Int32Array;
  readonly state: Uint8Array;
}

/** What a rank that stopped waits for. */
function blame(cx: State, rank: number, first: number): Stuck {
  const { s, channels } = cx;
  const bits = cx.state[rank] ?? 0;
  const isSending = (bits & sending) !== 0;
  const isFirstDone = (bits & (isSending ? sentFirst : gotFirst)) !== 0;
  const entry = isFirstDone && isJoined(s, first) ? first + 1 : first;
  if (isSending) {
    const q = queueOf(s, channels.outbound, rank, entry);
    const by = channels.receives[(channels.receiveAt[q] ?? 0) + (cx.taken[q] ?? 0)];
    const has = (cx.taken[q] ?? 0) < (channels.receiveAt[q + 1] ?? 0) - (channels.receiveAt[q] ?? 0);
    return { rank, entry, wait: { kind: "room", by: has ? by : undefined, rank: channels.to[q] ?? 0 } };
  }
  const missing = ownMissing(s, channels, cx.done, rank, entry);
  if (missing !== undefined)
    return { rank, entry, wait: { kind: "own", by: laterOwn(s, rank, entry, missing), rank } };
  const q = queueOf(s, channels.inbound, rank, entry);
  const at = (channels.sendAt[q] ?? 0) + (cx.taken[q] ?? 0);
  const sender = channels.from[q] ?? nothing;
  const has = at < (channels.sendAt[q + 1] ?? 0);
  const by = has ? channels.sends[at] : undefined;
  if (by !== undefined && (cx.sent[q] ?? 0) > (cx.taken[q] ?? 0))
    return { rank, entry, wait: { kind: "order", by, rank: sender } };
  return { rank, entry, wait: { kind: "message", by, rank: sender } };
}

/** The entry of this rank that would do micro-batch `batch` of a lane one way. */
function laterOwn(s: Schedule, rank: number, entry: number, missing: number): number | undefined {
  const lane = (missing >> 1) % s.lanes;
  const isForward = missing % 2 === 0;
  const end = s.start[rank + 1] ?? 0;
  for (let e = s.start[rank] ?? 0; e < end; e++) {
    const kind = kindAt(s, e);
    if (kind !== W && (kind === F) === isForward && s.lane[e] === lane && s.batch[e] === s.batch[entry])
      return e;
  }
  return undefined;
}
