/** The mbarriers of a block: arrivals, bytes and phases (PTX ISA 9.7.13.15.1 to 9.7.13.15.8). */
import type { Handed, HandedOn, Role, Seen } from "./order.ts";

export class Mbarrier {
  /** Buffer and element. */
  readonly name: string;
  readonly #count: number;
  #missing: number;
  #bytes = 0;
  #phase = 0;
  readonly #seen: Seen = [];
  /** From roles of other blocks. */
  readonly #handed = new Map<string, { readonly order: HandedOn; readonly handed: Handed }>();

  constructor(name: string, count: number) {
    this.name = name;
    this.#count = count;
    this.#missing = count;
  }

  /** False where all arrivals of the phase are in already. */
  arrive(role: Role, bytes: number): boolean {
    if (this.#missing === 0) return false;
    role.release(this.#seen);
    this.#bytes += bytes;
    this.#missing -= 1;
    this.#advance();
    return true;
  }

  /** As `arrive`, by a thread of another block. */
  arriveFrom(order: HandedOn, handed: Handed): boolean {
    if (this.#missing === 0) return false;
    this.#handed.set(`${order.block} ${order.role}`, { order, handed });
    this.#missing -= 1;
    this.#advance();
    return true;
  }

  /** Bytes of a copy that are written; `release` hands on what comes before. */
  complete(bytes: number, release: (to: Seen) => void): void {
    release(this.#seen);
    this.#bytes -= bytes;
    this.#advance();
  }

  isComplete(parity: number): boolean {
    return this.#phase % 2 !== parity;
  }

  acquire(role: Role, mine: Handed): void {
    role.acquire(this.#seen);
    for (const { order, handed } of this.#handed.values()) mine.take(order, handed);
  }

  get isMidway(): boolean {
    return this.#bytes !== 0;
  }

  /** For messages. */
  get state(): string {
    const arrivals = `${this.#missing} of ${this.#count} arrivals`;
    const bytes =
      this.#bytes < 0 ? `${-this.#bytes} bytes more than expected` : `${this.#bytes} bytes to come`;
    return `${this.name} is in phase ${this.#phase} with ${arrivals} missing and ${bytes}`;
  }

  #advance(): void {
    if (this.#missing > 0 || this.#bytes !== 0) return;
    this.#phase += 1;
    this.#missing = this.#count;
  }
}
