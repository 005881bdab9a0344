/** Named barriers of a block: `bar` and `barrier.cta` (PTX ISA 9.7.13.1). */
import type { Site } from "../compile/site.ts";
import { makeVector, type Vector } from "./clocks.ts";
import { findAt, lanesText } from "./findings.ts";
import { acquire, meetLanes, release, wake } from "./sync.ts";
import type { Block, Split, Warp } from "./warp.ts";

export interface NamedBarrier {
  /** Threads that must arrive. */
  expected: number;
  /** Whether the count was left out, so that exited warps no longer count. */
  whole: boolean;
  arrived: number;
  readonly warps: Map<number, number>;
  vector: Vector;
  readonly waiters: Split[];
  votes: number;
  against: number;
  /** The site of the first arrival, for the report. */
  site: number;
}

function popcount(mask: number): number {
  let n = 0;
  for (let m = mask; m !== 0; m &= m - 1) n++;
  return n;
}

function fresh(block: Block, site: number): NamedBarrier {
  const { realm } = block.warps[0]!.vector;
  return {
    expected: 0,
    whole: false,
    arrived: 0,
    warps: new Map(),
    vector: makeVector(realm),
    waiters: [],
    votes: 0,
    against: 0,
    site,
  };
}

export interface Arrival {
  readonly id: number;
  /** Threads, or 0 for the whole block. */
  readonly count: number;
  readonly aligned: boolean;
  /** Lanes whose predicate is true, for a reduction. */
  readonly votes: number;
}

function checkArrival(w: Warp, mask: number, site: Site, { id, count, aligned }: Arrival): void {
  if (aligned && mask !== w.live) {
    const missing = lanesText(w.live & ~mask);
    findAt(
      w,
      mask,
      site.id,
      "divergent-instruction",
      `${site.instruction.text} is .aligned, and ${missing} of the warp did not come with it`,
    );
  }
  if (id < 0 || id > 15)
    findAt(w, mask, site.id, "barrier-misuse", `there is no barrier ${id}: a block has 0 to 15`);
  if (count % 32 !== 0)
    findAt(w, mask, site.id, "barrier-misuse", `the thread count ${count} is no multiple of 32`);
}

/** Enters an arrival; returns the barrier while it waits for more, undefined once it is complete. */
export function arrive(w: Warp, mask: number, site: Site, arrival: Arrival): NamedBarrier | undefined {
  checkArrival(w, mask, site, arrival);
  const { block } = w;
  const { id, count } = arrival;
  const barrier = (block.barriers[id] ??= fresh(block, site.id));
  const expected = count === 0 ? block.warps.length * 32 : count;
  if (barrier.arrived > 0 && barrier.expected !== expected) {
    findAt(
      w,
      mask,
      site.id,
      "barrier-misuse",
      `barrier ${id} is used with ${expected} threads, while others arrived with ${barrier.expected}`,
    );
  }
  barrier.expected = expected;
  barrier.whole = count === 0;
  const lanes = mask === w.live ? 32 : popcount(mask);
  const before = barrier.warps.get(w.index) ?? 0;
  if (before + lanes > 32)
    findAt(
      w,
      mask,
      site.id,
      "barrier-misuse",
      `warp ${w.index} arrives twice at barrier ${id} before it is complete`,
    );
  barrier.warps.set(w.index, before + lanes);
  barrier.arrived += lanes;
  barrier.votes += popcount(arrival.votes & mask);
  barrier.against += popcount(mask & ~arrival.votes);
  release(w, mask, barrier.vector);
  return isComplete(block, barrier) ? undefined : barrier;
}

function isComplete(block: Block, barrier: NamedBarrier): boolean {
  if (barrier.arrived >= barrier.expected) return true;
  if (!barrier.whole) return false;
  return block.warps.every((w) => w.live === 0 || (barrier.warps.get(w.index) ?? 0) >= 32);
}

/** Lets everyone go, and makes the barrier ready for its next use. */
export function complete(block: Block, id: number): NamedBarrier {
  const barrier = block.barriers[id]!;
  block.barriers[id] = undefined;
  for (const split of barrier.waiters) {
    acquire(split.warp, barrier.vector);
    meetLanes(split.warp, split.mask);
    split.waiting!.result = barrier.votes * 65536 + barrier.against;
    wake(split);
  }
  return barrier;
}

/** When a warp exits, a barrier for the whole block may be complete without it. */
export function completeWithout(block: Block): void {
  block.barriers.forEach((barrier, id) => {
    if (barrier !== undefined && barrier.arrived > 0 && isComplete(block, barrier)) complete(block, id);
  });
}

export function describe(barrier: NamedBarrier, id: number): string {
  const warps = [...barrier.warps.keys()].sort((a, b) => a - b).join(", ");
  return `barrier ${id}: ${barrier.arrived} of ${barrier.expected} threads have arrived (warps ${warps})`;
}
