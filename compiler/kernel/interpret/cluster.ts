/** Blocks that run at once: who they are, and the barrier that all their threads meet at. */
import type { Block } from "./block.ts";
import type { Handed, HandedOn } from "./order.ts";

interface Arrival {
  readonly order: HandedOn;
  readonly handed: Handed;
}

export class Cluster {
  readonly blocks: Block[] = [];
  #phase = 0;
  #arrived = 0;
  #arrivals: Arrival[] = [];
  /** Of the phase that ended last. */
  #released: readonly Arrival[] = [];
  /** The phase that each block arrived in. */
  readonly #phases = new Map<Block, number>();

  arrive(block: Block, threads: number): void {
    this.#phases.set(block, this.#phase);
    this.#arrivals.push({ order: block.handOn(), handed: block.handed });
    this.#arrived += threads;
    if (this.#arrived < this.blocks.length * block.kernel.threads) return;
    this.#phase += 1;
    this.#arrived = 0;
    this.#released = this.#arrivals;
    this.#arrivals = [];
  }

  hasMet(block: Block): boolean {
    const phase = this.#phases.get(block);
    if (phase === undefined) block.fault("a wait at the cluster's barrier of threads that have not arrived");
    return phase < this.#phase;
  }

  leave(block: Block): void {
    for (const { order, handed } of this.#released)
      if (order.block !== block.place) block.handed.take(order, handed);
    block.role.barrier();
  }
}
