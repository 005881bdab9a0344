/** The actions of all ranks as they come: micro-batches counted, and every `W` resolved to what it computes. */
import { B, F, I, joined, W } from "./schedule.ts";

/** Ranks' actions, in arrays that grow. */
export class ActionList {
  kind: Uint8Array = new Uint8Array(1024);
  lane: Uint8Array = new Uint8Array(1024);
  batch: Int32Array = new Int32Array(1024);
  site: Uint16Array = new Uint16Array(1024);
  length = 0;
  readonly #directionOf: readonly number[];
  /** Next micro-batch of each lane, forward and backward. */
  readonly #forward: Int32Array;
  readonly #backward: Int32Array;
  /** Owed weight gradients of this rank, as indices of their `I` entries; taken from `#head` on. */
  #owed: number[] = [];
  #head = 0;

  constructor(directionOf: readonly number[]) {
    this.#directionOf = directionOf;
    this.#forward = new Int32Array(directionOf.length);
    this.#backward = new Int32Array(directionOf.length);
  }

  nextRank(): void {
    this.#forward.fill(0);
    this.#backward.fill(0);
    this.#owed = [];
    this.#head = 0;
  }

  push(kind: number, lane: number, site: number): void {
    const counts = kind === F ? this.#forward : this.#backward;
    const batch = counts[lane] ?? 0;
    counts[lane] = batch + 1;
    if (kind === I) this.#owed.push(this.length);
    this.#add(kind, lane, batch, site);
  }

  /** A `W`, for the oldest owed gradient of a direction or a lane, or of any where these are -1. */
  pushOwed(direction: number, lane: number, site: number): void {
    const owed = this.#owed;
    let at = this.#head;
    if (direction >= 0) while (at < owed.length && !this.#isFor(owed[at] ?? 0, direction, lane)) at += 1;
    const entry = owed[at];
    if (entry === undefined) {
      this.#add(W, Math.max(0, lane), -1, site);
      return;
    }
    if (at === this.#head) this.#head += 1;
    else owed.splice(at, 1);
    this.#add(W, this.lane[entry] ?? 0, this.batch[entry] ?? 0, site);
  }

  #isFor(entry: number, direction: number, lane: number): boolean {
    const own = this.lane[entry] ?? 0;
    return lane >= 0 ? own === lane : this.#directionOf[own] === direction;
  }

  /** Joins what was written since `from`; false unless it is one F and one B or I. */
  pair(from: number): boolean {
    if (this.length !== from + 2) return false;
    const [a, b] = [this.kind[from] ?? W, this.kind[from + 1] ?? W];
    const backward = a === F ? b : a;
    if ((a !== F && b !== F) || (backward !== B && backward !== I)) return false;
    this.kind[from] = a | joined;
    return true;
  }

  #add(kind: number, lane: number, batch: number, site: number): void {
    const n = this.length;
    if (n === this.kind.length) this.#grow();
    this.kind[n] = kind;
    this.lane[n] = lane;
    this.batch[n] = batch;
    this.site[n] = site;
    this.length = n + 1;
  }

  #grow(): void {
    const size = this.length * 2;
    const [kind, lane, batch, site] = [
      new Uint8Array(size),
      new Uint8Array(size),
      new Int32Array(size),
      new Uint16Array(size),
    ];
    kind.set(this.kind);
    lane.set(this.lane);
    batch.set(this.batch);
    site.set(this.site);
    [this.kind, this.lane, this.batch, this.site] = [kind, lane, batch, site];
  }
}
