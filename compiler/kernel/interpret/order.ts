/**
 * What comes before what in a block whose parts run at once: each role counts epochs, and knows up to which epoch of
 * each other role, and of the copy engine, everything lies behind it. An arrival at an mbarrier hands that on, a wait
 * takes it over; a barrier of threads begins a new epoch of the role.
 *
 * It is coarser than the truth, on the side of finding less: within a role every barrier and every wait orders all of
 * its threads, and an arrival of one thread speaks for its role. So no order that a kernel has is missed, and what is
 * found is a race.
 */
export interface Order {
  /** True where the access of another thread in that epoch of its role comes before what this role does now. */
  isBefore(thread: number, epoch: number): boolean;
}

/** The copy engine among a block's threads, and among its parts. */
export const engineThread = 4095;
const engine = 0;

/** Epochs by part of the block: the copy engine first, then the roles. */
export type Seen = number[];

export function join(into: Seen, from: Seen): void {
  from.forEach((epoch, part) => {
    into[part] = Math.max(epoch, into[part] ?? -1);
  });
}

/** What a role of some block has behind it at one time, as another block is told. */
export interface HandedOn extends Order {
  readonly block: number;
  readonly role: string;
  /** Of one role, later ones know more. */
  readonly time: number;
}

/** What other blocks have handed on to one. */
export class Handed {
  readonly #behind = new Map<number, Map<string, HandedOn>>();

  isBefore(block: number, thread: number, epoch: number): boolean {
    for (const order of this.#behind.get(block)?.values() ?? [])
      if (order.isBefore(thread, epoch)) return true;
    return false;
  }

  take(order: HandedOn, handed: Handed): void {
    this.#add(order);
    for (const orders of handed.#behind.values()) for (const one of orders.values()) this.#add(one);
  }

  #add(order: HandedOn): void {
    const orders = this.#behind.get(order.block) ?? new Map<string, HandedOn>();
    this.#behind.set(order.block, orders);
    if ((orders.get(order.role)?.time ?? -1) < order.time) orders.set(order.role, order);
  }
}

export class Role implements Order {
  readonly name: string;
  readonly threads: readonly number[];
  /** Where in the source its threads are, for messages. */
  line = "";
  #epoch: number;
  readonly #part: number;
  readonly #partOf: (thread: number) => number;
  readonly #seen: Seen;

  private constructor(
    name: string,
    threads: readonly number[],
    { epoch, part, seen }: { readonly epoch: number; readonly part: number; readonly seen: Seen },
    partOf: (thread: number) => number,
  ) {
    this.name = name;
    this.threads = threads;
    this.#epoch = epoch;
    this.#part = part;
    this.#seen = seen;
    this.#partOf = partOf;
  }

  /** All threads of a block. */
  static whole(threads: number): Role {
    const all = Array.from({ length: threads }, (_, thread) => thread);
    return new Role("block", all, { epoch: 0, part: 1, seen: [-1, -1] }, () => 1);
  }

  /** Parts of this one that run at once from here, with consecutive threads. */
  split(parts: readonly { readonly name: string; readonly threads: number }[]): readonly Role[] {
    const partOf: number[] = [];
    parts.forEach(({ threads }, k) => {
      for (let i = 0; i < threads; i += 1) partOf.push(k + 1);
    });
    let first = 0;
    return parts.map(({ name, threads }, k) => {
      const own = Array.from({ length: threads }, (_, i) => first + i);
      first += threads;
      const seen = [this.#seen[engine] ?? -1, ...parts.map(() => this.#epoch - 1)];
      return new Role(name, own, { epoch: this.#epoch, part: k + 1, seen }, (thread) => partOf[thread] ?? 0);
    });
  }

  /** Goes on where its parts have come to. */
  unite(parts: readonly Role[]): void {
    for (const part of parts) {
      this.#epoch = Math.max(this.#epoch, part.#epoch);
      this.#seen[engine] = Math.max(this.#seen[engine] ?? -1, part.#seen[engine] ?? -1);
    }
  }

  get epoch(): number {
    return this.#epoch;
  }

  isBefore(thread: number, epoch: number): boolean {
    const part = thread === engineThread ? engine : this.#partOf(thread);
    return part === this.#part ? epoch < this.#epoch : epoch <= (this.#seen[part] ?? -1);
  }

  barrier(): void {
    this.#epoch += 1;
  }

  /** Hands on what lies behind it, with what it has done itself. */
  release(to: Seen): void {
    join(to, this.#seen);
    to[this.#part] = this.#epoch;
    this.#epoch += 1;
  }

  /** What lies behind it now, as another block is told. */
  handOn(block: number): HandedOn {
    const seen: Seen = [];
    this.release(seen);
    const partOf = this.#partOf;
    return {
      block,
      role: this.name,
      time: this.#epoch,
      isBefore: (thread, epoch) => epoch <= (seen[thread === engineThread ? engine : partOf(thread)] ?? -1),
    };
  }

  acquire(from: Seen): void {
    join(this.#seen, from);
    this.#epoch += 1;
  }
}

/** Hands on the copy engine's `count` copies so far. */
export function releaseEngine(to: Seen, count: number): void {
  join(to, [count]);
}
