/** The threads that run the ops being lowered: all of a block, or those of one role. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Role } from "../../tile/ir.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Op, Value } from "../ir.ts";

export class Team {
  readonly threads: number;
  /** Whether all of them do the work, or the first alone. */
  readonly active: Role["active"];
  readonly isRole: boolean;
  readonly #b: KernelBuilder;
  readonly #first: number;
  readonly #barriers: BarrierNumbers;
  readonly #isBlock: boolean;
  readonly #groups = new Map<number, Op<"barrier">["group"]>();

  /** Threads `first .. first + threads - 1` of the block. */
  constructor(
    b: KernelBuilder,
    threads: number,
    first: number,
    barriers: BarrierNumbers,
    active?: Role["active"],
  ) {
    this.#b = b;
    this.threads = threads;
    this.active = active ?? "all";
    this.isRole = active !== undefined;
    this.#first = first;
    this.#barriers = barriers;
    this.#isBlock = threads === b.threads;
  }

  /** The thread's number in the team. */
  thread(): Value {
    const b = this.#b;
    if (this.#isBlock || this.#first === 0) return b.thread();
    return b.bound(b.sub(b.thread(), b.i32(this.#first)), 0, this.threads - 1);
  }

  /** Of each group of `threads` neighbours, or of the whole team. */
  barrier(threads: number = this.threads): void {
    if (this.#isBlock && threads === this.threads) this.#b.barrier();
    else this.#b.barrier(this.#group(threads));
  }

  /** The first thread of each group, or of the team. */
  leads(threads: number = this.threads): Value {
    const b = this.#b;
    if (threads === this.threads) return b.binary("eq", b.thread(), b.i32(this.#first));
    invariant(this.#first % threads === 0, "groups begin at whole multiples");
    return b.binary("eq", b.rem(b.thread(), b.i32(threads)), b.i32(0));
  }

  #group(threads: number): Op<"barrier">["group"] {
    let group = this.#groups.get(threads);
    if (group === undefined) {
      const before = Math.floor(this.#first / threads);
      group = { threads, first: this.#barriers.take(this.threads / threads, before) - before };
      this.#groups.set(threads, group);
    }
    return group;
  }
}

/** Hands out the hardware's named barriers; 0 is the block's own (PTX ISA 9.7.13.1, "bar"). */
export class BarrierNumbers {
  #next = 1;

  /** `count` numbers in a row, the first of them `least` or more. */
  take(count: number, least: number): number {
    const first = Math.max(this.#next, least);
    this.#next = first + count;
    invariant(this.#next <= 16, "a block has 16 barriers");
    return first;
  }
}
