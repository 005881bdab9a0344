/**
 * A schedule with time: when each action starts and ends.
 *
 * A rank performs its actions in order on a compute stream; what they make leaves on its communication stream, one
 * transfer after another, and arrives a latency later. A queue that is full holds its sender up. With pieces, an
 * action is its layers' attention and MLP on the one stream and dispatch and combine on the other.
 */
import { InternalError } from "../diagnostics/diagnostic.ts";
import { type Channels, channelsOf, local, queueOf } from "./channels.ts";
import { type Costs, costsOf, type Link, noise, type SimulationOptions } from "./costs.ts";
import {
  bestOrder,
  type PieceOrder,
  type PlacedPiece,
  runPieces,
  type Streams,
  type Work,
} from "./pieces.ts";
import { execute } from "./execute.ts";
import { B, F, I, isJoined, kindAt, type Schedule, W } from "./schedule.ts";

export interface Transfer {
  readonly from: number;
  readonly to: number;
  readonly entry: number;
  readonly start: number;
  readonly end: number;
}

export interface Simulation {
  readonly schedule: Schedule;
  readonly costs: Costs;
  /** By entry; both of a pair have the pair's times. */
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly makespan: number;
  /** By rank: the time of its actions, and what is left of the makespan. */
  readonly busy: Float64Array;
  readonly idle: Float64Array;
  readonly longestIdle: number;
  /** Pieces of a rank's communication and compute, where the simulation had pieces. */
  readonly pieces: (rank: number) => readonly (PlacedPiece & { readonly entry: number })[];
  readonly transfers: (rank: number) => readonly Transfer[];
}

/**
 * Of a schedule that completes with these buffers. `channels` are those of its proof; without them it is executed first,
 * and one that stops is an `InternalError`.
 */
export function simulate(s: Schedule, options: SimulationOptions = {}, channels?: Channels): Simulation {
  const known = channels ?? channelsOf(s);
  if (channels === undefined && execute(s, known, options.buffers ?? Infinity).stuck.length > 0)
    throw unproved();
  return new Run(s, options, known).simulation();
}

function unproved(): InternalError {
  return new InternalError("a schedule is simulated that was not proved for these buffers");
}

class Run {
  readonly #s: Schedule;
  readonly #channels: Channels;
  readonly #options: SimulationOptions;
  readonly #costs: Costs;
  readonly #link: Link;
  readonly #capacity: number;
  readonly #start: Float64Array;
  readonly #end: Float64Array;
  /** When an entry's result is made, which with pieces is before the unit's last piece ends. */
  readonly #made: Float64Array;
  readonly #busy: Float64Array;
  /** By message, in the queues' order. */
  readonly #arrival: Float64Array;
  readonly #departure: Float64Array;
  readonly #sent: Int32Array;
  readonly #taken: Int32Array;
  readonly #reached: Int32Array;
  readonly #isSending: Uint8Array;
  readonly #compute: Float64Array;
  readonly #communication: Float64Array;
  readonly #orders: Map<Work, PieceOrder> = new Map();
  readonly #notes: Map<number, (PlacedPiece & { entry: number })[]> = new Map();

  constructor(s: Schedule, options: SimulationOptions, channels: Channels) {
    this.#s = s;
    this.#channels = channels;
    this.#options = options;
    this.#costs = costsOf(options.costs);
    const { latency = 0, bandwidth, bytes = 1 } = options.link ?? {};
    this.#link = { latency, bandwidth, bytes };
    this.#capacity = options.buffers ?? Infinity;
    const entries = s.start[s.ranks] ?? 0;
    this.#start = new Float64Array(entries);
    this.#end = new Float64Array(entries);
    this.#made = options.pieces === undefined ? this.#end : new Float64Array(entries);
    this.#arrival = new Float64Array(channels.sends.length);
    this.#departure =
      this.#transferTime() === 0 ? new Float64Array() : new Float64Array(channels.sends.length);
    this.#sent = new Int32Array(channels.count);
    this.#taken = new Int32Array(channels.count);
    this.#reached = s.start.slice(0, s.ranks);
    this.#isSending = new Uint8Array(s.ranks);
    this.#busy = new Float64Array(s.ranks);
    this.#compute = new Float64Array(s.ranks);
    this.#communication = new Float64Array(s.ranks);
  }

  #transferTime(): number {
    const { bandwidth, bytes } = this.#link;
    return bandwidth === undefined ? 0 : bytes / bandwidth;
  }

  simulation(): Simulation {
    const s = this.#s;
    const ready = new Int32Array(s.ranks);
    const isWaiting = new Uint8Array(s.ranks).fill(1);
    let top = 0;
    for (let rank = s.ranks - 1; rank >= 0; rank--) ready[top++] = rank;
    const wake = (rank: number): void => {
      if (isWaiting[rank] === 1) return;
      isWaiting[rank] = 1;
      ready[top++] = rank;
    };
    while (top > 0) {
      const rank = ready[--top] ?? 0;
      isWaiting[rank] = 0;
      const end = s.start[rank + 1] ?? 0;
      while ((this.#reached[rank] ?? 0) < end && this.#step(rank, wake));
    }
    for (let rank = 0; rank < s.ranks; rank++)
      if ((this.#reached[rank] ?? 0) < (s.start[rank + 1] ?? 0)) throw unproved();
    return this.#result();
  }

  #result(): Simulation {
    const s = this.#s;
    let makespan = 0;
    for (let rank = 0; rank < s.ranks; rank++)
      makespan = Math.max(makespan, this.#compute[rank] ?? 0, this.#communication[rank] ?? 0);
    const idle = this.#busy.map((busy) => makespan - busy);
    return {
      schedule: s,
      costs: this.#costs,
      start: this.#start,
      end: this.#end,
      makespan,
      busy: this.#busy,
      idle,
      longestIdle: idle.reduce((a, b) => Math.max(a, b), 0),
      pieces: (rank) => this.#notes.get(rank) ?? [],
      transfers: (rank) => this.#transfersOf(rank),
    };
  }

  /** One action or pair of a rank; false where it has to wait for another rank. */
  #step(rank: number, wake: (rank: number) => void): boolean {
    const s = this.#s;
    const entry = this.#reached[rank] ?? 0;
    const second = isJoined(s, entry) ? entry + 1 : -1;
    if (this.#isSending[rank] === 0) {
      if (!this.#has(rank, entry) || (second >= 0 && !this.#has(rank, second))) return false;
      const first = this.#receive(rank, entry, wake);
      this.#perform(rank, entry, second, first, second < 0 ? 0 : this.#receive(rank, second, wake));
      this.#isSending[rank] = 1;
    }
    if (!this.#hasRoom(rank, entry) || (second >= 0 && !this.#hasRoom(rank, second))) return false;
    this.#send(rank, entry, wake);
    if (second >= 0) this.#send(rank, second, wake);
    this.#isSending[rank] = 0;
    this.#reached[rank] = (second < 0 ? entry : second) + 1;
    return true;
  }

  #has(rank: number, entry: number): boolean {
    const q = queueOf(this.#s, this.#channels.inbound, rank, entry);
    return q < 0 || (this.#sent[q] ?? 0) > (this.#taken[q] ?? 0);
  }

  /** When what the entry needs from elsewhere is there. */
  #receive(rank: number, entry: number, wake: (rank: number) => void): number {
    const q = queueOf(this.#s, this.#channels.inbound, rank, entry);
    // What this rank made itself is there in time by the order of its compute stream, but for pieces' last combine.
    if (q < 0) return this.#options.pieces === undefined ? 0 : this.#ownInput(rank, entry, q);
    const k = this.#taken[q] ?? 0;
    this.#taken[q] = k + 1;
    wake(this.#channels.from[q] ?? 0);
    return this.#arrival[(this.#channels.sendAt[q] ?? 0) + k] ?? 0;
  }

  /** The latest of this rank's own results that the entry reads. */
  readonly #last: Map<string, number> = new Map();
  #ownInput(rank: number, entry: number, q: number): number {
    const s = this.#s;
    const kind = kindAt(s, entry);
    if (kind === W) return 0;
    const held = rank * s.lanes + (s.lane[entry] ?? 0);
    if (q !== local) return kind === F ? 0 : (this.#last.get(`F${held}:${s.batch[entry]}`) ?? 0);
    const direction = s.directionOf[s.lane[entry] ?? 0] ?? 0;
    const beside = s.holder[direction]?.[(s.stage[held] ?? 0) + (kind === F ? -1 : 1)] ?? 0;
    return this.#last.get(`${kind === F ? "F" : "B"}${beside}:${s.batch[entry]}`) ?? 0;
  }

  #perform(rank: number, entry: number, second: number, first: number, other: number): void {
    const s = this.#s;
    const { jitter = 0, seed = 0, stageCosts, pieces } = this.#options;
    const stretch = (e: number): number =>
      (1 + (jitter === 0 ? 0 : jitter * noise(seed, e))) *
      (stageCosts === undefined ? 1 : (stageCosts[s.stage[rank * s.lanes + (s.lane[e] ?? 0)] ?? 0] ?? 1));
    // A pair goes at its slower half's pace.
    const scale = second < 0 ? stretch(entry) : Math.max(stretch(entry), stretch(second));
    if (pieces !== undefined) {
      this.#performPieces(rank, entry, second, [first, other], scale);
      return;
    }
    const cost =
      (second < 0 ? alone(this.#costs, kindAt(s, entry)) : pairCost(this.#costs, s, entry)) * scale;
    const start = Math.max(this.#compute[rank] ?? 0, first, other);
    for (const e of second < 0 ? [entry] : [entry, second]) {
      this.#start[e] = start;
      this.#end[e] = start + cost;
    }
    this.#compute[rank] = start + cost;
    this.#busy[rank] = (this.#busy[rank] ?? 0) + cost;
  }

  #performPieces(
    rank: number,
    entry: number,
    second: number,
    inputs: readonly [number, number],
    scale: number,
  ): void {
    const s = this.#s;
    const { pieces } = this.#options;
    if (pieces === undefined) return;
    const work = workOf(s, entry, second);
    const order = this.#orders.get(work) ?? bestOrder(pieces, work);
    this.#orders.set(work, order);
    const isForwardFirst = kindAt(s, entry) === F;
    const ready =
      second < 0
        ? { forward: inputs[0], backward: inputs[0] }
        : { forward: inputs[isForwardFirst ? 0 : 1], backward: inputs[isForwardFirst ? 1 : 0] };
    const streams: Streams = {
      compute: this.#compute[rank] ?? 0,
      communication: this.#communication[rank] ?? 0,
    };
    const notes = this.#notes.get(rank) ?? [];
    this.#notes.set(rank, notes);
    // What is drawn of an action is its compute: its last combine may run under the next action.
    let span = { start: Infinity, end: 0 };
    const outcome = runPieces({ pieces, order, scale, layers: pieces.layers }, streams, ready, (piece) => {
      notes.push({ ...piece, entry });
      span = widen(span, piece, order);
      if (order.compute.includes(piece.name))
        this.#busy[rank] = (this.#busy[rank] ?? 0) + piece.end - piece.start;
    });
    if (outcome === undefined) throw new InternalError("an order of pieces that waits for itself");
    this.#compute[rank] = streams.compute;
    this.#communication[rank] = streams.communication;
    for (const e of second < 0 ? [entry] : [entry, second]) {
      this.#start[e] = span.start;
      this.#end[e] = span.end;
      const made = kindAt(s, e) === F ? outcome.forward : outcome.backward;
      this.#made[e] = made;
      if (kindAt(s, e) !== W)
        this.#last.set(
          `${kindAt(s, e) === F ? "F" : "B"}${rank * s.lanes + (s.lane[e] ?? 0)}:${s.batch[e]}`,
          made,
        );
    }
  }

  #hasRoom(rank: number, entry: number): boolean {
    const q = queueOf(this.#s, this.#channels.outbound, rank, entry);
    return q < 0 || (this.#sent[q] ?? 0) - (this.#taken[q] ?? 0) < this.#capacity;
  }

  #send(rank: number, entry: number, wake: (rank: number) => void): void {
    const { outbound, sendAt, receiveAt, receives, to } = this.#channels;
    const q = queueOf(this.#s, outbound, rank, entry);
    if (q < 0) return;
    const k = this.#sent[q] ?? 0;
    this.#sent[q] = k + 1;
    let leave = this.#made[entry] ?? 0;
    // Room came when the receiver took the message that filled the queue; the sender's compute stood still till then.
    if (k >= this.#capacity) {
      leave = Math.max(leave, this.#start[receives[(receiveAt[q] ?? 0) + k - this.#capacity] ?? 0] ?? 0);
      this.#compute[rank] = Math.max(this.#compute[rank] ?? 0, leave);
    }
    const time = this.#transferTime();
    if (time > 0) {
      leave = Math.max(leave, this.#communication[rank] ?? 0);
      this.#communication[rank] = leave + time;
      this.#departure[(sendAt[q] ?? 0) + k] = leave;
    }
    this.#arrival[(sendAt[q] ?? 0) + k] = leave + time + this.#link.latency;
    wake(to[q] ?? 0);
  }

  #transfersOf(rank: number): readonly Transfer[] {
    const { count, from, to, sendAt, sends } = this.#channels;
    const time = this.#transferTime();
    const found: Transfer[] = [];
    if (time === 0) return found;
    for (let q = 0; q < count; q++) {
      if (from[q] !== rank) continue;
      for (let k = sendAt[q] ?? 0; k < (sendAt[q + 1] ?? 0); k++) {
        const start = this.#departure[k] ?? 0;
        found.push({ from: rank, to: to[q] ?? 0, entry: sends[k] ?? 0, start, end: start + time });
      }
    }
    return found.sort((a, b) => a.start - b.start);
  }
}

/** The stretch with one more compute piece; communication is left out. */
function widen(
  span: { start: number; end: number },
  piece: PlacedPiece,
  order: PieceOrder,
): { start: number; end: number } {
  if (!order.compute.includes(piece.name)) return span;
  return { start: Math.min(span.start, piece.start), end: Math.max(span.end, piece.end) };
}

function alone({ F: f, B: b, W: w }: Costs, kind: number): number {
  return kind === F ? f : kind === B ? b : kind === I ? b - w : w;
}

/** A pair whose backward is only the input gradient is shorter by W. */
function pairCost(costs: Costs, s: Schedule, entry: number): number {
  const isWhole = kindAt(s, entry) === B || kindAt(s, entry + 1) === B;
  return isWhole ? costs.FB : costs.FB - costs.W;
}

function workOf(s: Schedule, entry: number, second: number): Work {
  const kind = kindAt(s, entry);
  if (second < 0) return kind === F ? "F" : kind === B ? "B" : kind === I ? "I" : "W";
  return kind === B || kindAt(s, second) === B ? "FB" : "FI";
}
