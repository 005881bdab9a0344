/**
 * Device memory that is used again: what a run gives back serves the next one, so that a plan run twice at the
 * same sizes allocates nothing the second time. Blocks are counted by holder, since two results may be one buffer.
 */

export interface Allocator<M> {
  /** At least `bytes` bytes, a multiple of `granularity`; contents undefined. */
  allocate(bytes: number): M;
  release(memory: M): void;
}

export interface Block<M> {
  readonly memory: M;
  /** Rounded up. */
  readonly bytes: number;
}

/** Every allocation is a multiple of this many bytes, so that tails of narrow dtypes are padded. */
export const granularity = 256;

/** Free blocks are kept up to this part of what is in use, and at least the last one of each size. */
const maxFreeBlocks = 256;

export class MemoryPool<M> {
  readonly #allocator: Allocator<M>;
  readonly #free = new Map<number, Block<M>[]>();
  readonly #holders = new Map<Block<M>, number>();
  #freeBlocks = 0;
  /** Calls of the allocator so far: what a test of reuse looks at. */
  allocations = 0;

  constructor(allocator: Allocator<M>) {
    this.#allocator = allocator;
  }

  /** A block with one holder. */
  take(bytes: number): Block<M> {
    const rounded = Math.max(Math.ceil(bytes / granularity), 1) * granularity;
    const reused = this.#free.get(rounded)?.pop();
    if (reused !== undefined) this.#freeBlocks -= 1;
    const block = reused ?? { memory: this.#allocate(rounded), bytes: rounded };
    this.#holders.set(block, 1);
    return block;
  }

  hold(block: Block<M>): void {
    this.#holders.set(block, (this.#holders.get(block) ?? 0) + 1);
  }

  /** Takes one holder away; the last one gives the block back. */
  drop(block: Block<M>): void {
    const holders = this.#holders.get(block);
    if (holders === undefined) return;
    if (holders > 1) {
      this.#holders.set(block, holders - 1);
      return;
    }
    this.#holders.delete(block);
    if (this.#freeBlocks >= maxFreeBlocks) this.trim();
    this.#freeBlocks += 1;
    const free = this.#free.get(block.bytes);
    if (free === undefined) this.#free.set(block.bytes, [block]);
    else free.push(block);
  }

  /** Releases what nobody holds. */
  trim(): void {
    for (const blocks of this.#free.values())
      for (const block of blocks) this.#allocator.release(block.memory);
    this.#free.clear();
    this.#freeBlocks = 0;
  }

  /** Releases everything, held or not. */
  close(): void {
    this.trim();
    for (const block of this.#holders.keys()) this.#allocator.release(block.memory);
    this.#holders.clear();
  }

  /** When the device is out of memory, what is free in other sizes may make room. */
  #allocate(bytes: number): M {
    this.allocations += 1;
    if (this.#freeBlocks === 0) return this.#allocator.allocate(bytes);
    try {
      return this.#allocator.allocate(bytes);
    } catch {
      this.trim();
      return this.#allocator.allocate(bytes);
    }
  }
}
