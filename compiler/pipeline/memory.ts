/**
 * What a schedule holds at once, whatever the timing.
 *
 * An activation lives from the start of its F to the end of its B, or of its W where the backward is cut in two: the
 * weight gradient reads the input that F kept. A message is in its queue from its send to its receive.
 */
import { type Channels, queueOf } from "./channels.ts";
import { F, I, isJoined, kindAt, type Schedule } from "./schedule.ts";

export interface Memory {
  /** By rank: the most activations that live at once, one for each chunk of a stage and micro-batch. */
  readonly activations: readonly number[];
  /** By rank: the most messages that its inbound queues can hold, added up over them. */
  readonly buffers: readonly number[];
  /** The largest that any one queue can get. */
  readonly queue: number;
  /** Stages whose parameters a rank holds, of how many. */
  readonly stagesHeld: number;
  readonly stages: number;
}

export function memoryOf(s: Schedule, channels: Channels, capacity: number): Memory {
  const depths = depthsOf(s, channels, capacity);
  const buffers = new Array<number>(s.ranks).fill(0);
  for (let q = 0; q < channels.count; q++)
    buffers[channels.to[q] ?? 0] = (buffers[channels.to[q] ?? 0] ?? 0) + (depths[q] ?? 0);
  return {
    activations: Array.from({ length: s.ranks }, (_, rank) => peakActivations(s, rank)),
    buffers,
    queue: depths.reduce((a, b) => Math.max(a, b), 0),
    stagesHeld: s.lanes,
    stages: Math.max(...s.directions.map(({ stages }) => stages)),
  };
}

function peakActivations(s: Schedule, rank: number): number {
  let [live, peak] = [0, 0];
  const end = s.start[rank + 1] ?? 0;
  for (let entry = s.start[rank] ?? 0; entry < end;) {
    const last = isJoined(s, entry) ? entry + 1 : entry;
    // A pair's forward starts before its backward ends.
    for (let e = entry; e <= last; e++) if (kindAt(s, e) === F) live += 1;
    peak = Math.max(peak, live);
    for (let e = entry; e <= last; e++) if (kindAt(s, e) !== F && kindAt(s, e) !== I) live -= 1;
    entry = last + 1;
  }
  return peak;
}

/**
 * The most that each queue can hold under any timing. When its k-th message is sent, the receiver has taken at least
 * those that it took before sending what the sender has received from it since, and before making the room that the
 * sender has used in another queue; it may have taken no more. Exact where ranks speak only to their neighbours on a
 * line; on a ring, where word could come the other way round, a bound.
 */
function depthsOf(s: Schedule, channels: Channels, capacity: number): Int32Array {
  const depth = new Int32Array(channels.count);
  const sent = new Int32Array(channels.count);
  const received = new Int32Array(channels.count);
  const taken = new Int32Array(channels.count);
  /** By rank: the last of its entries that this rank knows to have received what it needs. */
  const known = new Int32Array(s.ranks).fill(-1);
  for (let rank = 0; rank < s.ranks; rank++) {
    const met: number[] = [];
    const learn = (other: number, entry: number): void => {
      if (known[other] === -1) met.push(other);
      known[other] = Math.max(known[other] ?? -1, entry);
    };
    const end = s.start[rank + 1] ?? 0;
    for (let entry = s.start[rank] ?? 0; entry < end;) {
      const last = isJoined(s, entry) ? entry + 1 : entry;
      for (let e = entry; e <= last; e++) {
        const q = queueOf(s, channels.inbound, rank, e);
        if (q < 0) continue;
        const k = received[q] ?? 0;
        received[q] = k + 1;
        const by = channels.sends[(channels.sendAt[q] ?? 0) + k] ?? 0;
        learn(channels.from[q] ?? 0, isJoined(s, by) ? by + 1 : by);
      }
      for (let e = entry; e <= last; e++) {
        const q = queueOf(s, channels.outbound, rank, e);
        if (q < 0) continue;
        const [first, limit] = [channels.receiveAt[q] ?? 0, channels.receiveAt[q + 1] ?? 0];
        const sure = known[channels.to[q] ?? 0] ?? -1;
        let k = taken[q] ?? 0;
        while (first + k < limit && (channels.receives[first + k] ?? 0) <= sure) k += 1;
        taken[q] = k;
        const n = (sent[q] ?? 0) + 1;
        sent[q] = n;
        depth[q] = Math.min(capacity, Math.max(depth[q] ?? 0, n - k));
      }
      // Once all is sent: what was taken to make room for it, and so all of the actions before that.
      for (let e = entry; e <= last; e++) {
        const q = queueOf(s, channels.outbound, rank, e);
        const k = q < 0 ? -1 : (sent[q] ?? 0) - 1 - capacity;
        if (k < 0) continue;
        const taker = channels.receives[(channels.receiveAt[q] ?? 0) + k] ?? 0;
        learn(channels.to[q] ?? 0, taker > 0 && isJoined(s, taker - 1) ? taker - 2 : taker - 1);
      }
      entry = last + 1;
    }
    for (const rankMet of met) known[rankMet] = -1;
  }
  return depth;
}
