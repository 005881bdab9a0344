/** A channel as the interpreter keeps it: its slots in the order in which they were filled. */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Channel, SharedTile } from "./ir.ts";

/** Contents of shared tiles, by the place of the axis along which each has copies: of the block's, or of one slot. */
export type SharedMemory<Element> = Map<SharedTile, Map<number, Element[]>>;

/** Slots that one of those who take has taken, and has let go. */
interface Taker {
  taken: number;
  released: number;
}

/** Everyone who takes sees every slot once; a slot is free again when all have released it. */
export class SlotQueue<Element> {
  readonly #channel: Channel;
  readonly #slots: SharedMemory<Element>[] = [];
  readonly #takers = new Map<object, Taker>();
  /** All that happened to it. */
  moves = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Before anything is filled, by each who will take. */
  join(who: object): void {
    if (!this.#takers.has(who)) this.#takers.set(who, { taken: 0, released: 0 });
  }

  isFull(): boolean {
    const released = [...this.#takers.values()].map((taker) => taker.released);
    const free = released.length === 0 ? 0 : Math.min(...released);
    return this.#slots.length - free >= this.#channel.depth;
  }

  fill(slot: SharedMemory<Element>): void {
    this.#slots.push(slot);
    this.moves += 1;
  }

  isEmpty(who: object): boolean {
    return this.#of(who).taken >= this.#slots.length;
  }

  take(who: object): SharedMemory<Element> {
    const taker = this.#of(who);
    taker.taken += 1;
    this.moves += 1;
    return this.#at(taker.taken - 1);
  }

  /** The slot that is released next. */
  oldest(who: object): SharedMemory<Element> {
    const { taken, released } = this.#of(who);
    invariant(released < taken, `${this.#channel.name} has no slot that is held`);
    return this.#at(released);
  }

  release(who: object): void {
    const taker = this.#of(who);
    invariant(taker.released < taker.taken, `${this.#channel.name} has no slot to release`);
    taker.released += 1;
    this.moves += 1;
  }

  #at(number: number): SharedMemory<Element> {
    const slot = this.#slots[number];
    invariant(slot !== undefined, `${this.#channel.name} has a slot ${number}`);
    return slot;
  }

  #of(who: object): Taker {
    const taker = this.#takers.get(who);
    invariant(taker !== undefined, `who takes from ${this.#channel.name} is known to it`);
    return taker;
  }
}
