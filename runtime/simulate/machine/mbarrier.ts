/**
 * mbarrier objects (PTX ISA 9.7.13.15): pending arrivals, pending bytes, and the phase that both complete.
 *
 * The state is kept beside shared memory, by the offset of the object; its bytes are marked so that a write over
 * them is found. Bytes that copies bring belong to an agent of the barrier, whose time is the number of the phase.
 */
import type { Site } from "../compile/site.ts";
import { join, makeVector, reserve, type Vector } from "./clocks.ts";
import { addFinding, findAt, sideOfRecord, sideOfSite, warpName } from "./findings.ts";
import { recordOf } from "./access.ts";
import { checkWrite, isOrdered, isProxied } from "./check.ts";
import { place } from "./conflict.ts";
import { wasWrite } from "./journal.ts";
import { shadowOf, stateBarrier, type Region } from "./region.ts";
import { acquire, publishFenced, release, wake } from "./sync.ts";
import type { Block, Split, Warp } from "./warp.ts";

export interface Mbarrier {
  readonly block: Block;
  readonly offset: number;
  /** Arrivals of a phase. */
  count: number;
  pending: number;
  /** Bytes that are expected less those that have come. */
  bytes: number;
  /** Phases completed. */
  phase: number;
  vector: Vector;
  released: Vector;
  readonly waiters: Split[];
  /** Agent of the copies that signal here, -1 before the first. */
  agent: number;
  /** The access that initialised it. */
  readonly record: number;
  readonly lane: number;
  readonly owner: Warp;
  /** `fence.mbarrier_init` has made the initialisation visible to the cluster and to copies. */
  fenced: boolean;
  /** Where the latest expect_tx stands, for the report. */
  expectSite: number;
}

const name = (m: Mbarrier): string => `the mbarrier in ${place(m.block.shared, m.offset)}`;

export function describeMbarrier(m: Mbarrier): string {
  const parts = [`${m.count - m.pending} of ${m.count} arrivals`];
  if (m.bytes !== 0)
    parts.push(m.bytes > 0 ? `${m.bytes} bytes still to come` : `${-m.bytes} bytes more than were expected`);
  return `phase ${m.phase} of ${name(m)}: ${parts.join(", ")}`;
}

export function initialise(
  w: Warp,
  site: Site,
  lane: number,
  region: Region,
  block: Block,
  offset: number,
  count: number,
): void {
  if (count < 1 || count > 0xfffff)
    findAt(w, 1 << lane, site.id, "mbarrier-misuse", `an arrival count of ${count}; 1 to 1048575 are valid`);
  const shadow = shadowOf(region);
  for (const word of [offset >> 2, (offset >> 2) + 1])
    shadow.state[word] = shadow.state[word]! & ~stateBarrier;
  const record = recordOf(w, site.id, wasWrite);
  if (w.machine.options.memoryChecks) checkWrite(w, region, offset, 8, lane, record, wasWrite);
  for (const word of [offset >> 2, (offset >> 2) + 1])
    shadow.state[word] = shadow.state[word]! | stateBarrier;
  const { realm } = w.vector;
  block.mbarriers.set(offset, {
    block,
    offset,
    count,
    pending: count,
    bytes: 0,
    phase: 0,
    vector: makeVector(realm),
    released: makeVector(realm),
    waiters: [],
    agent: -1,
    record,
    lane,
    owner: w,
    fenced: false,
    expectSite: site.id,
  });
}

export function invalidate(w: Warp, site: Site, lane: number, m: Mbarrier): void {
  if (m.waiters.length > 0)
    findAt(w, 1 << lane, site.id, "mbarrier-misuse", `${name(m)} is invalidated while others wait at it`);
  m.block.mbarriers.delete(m.offset);
  const shadow = shadowOf(m.block.shared);
  for (const word of [m.offset >> 2, (m.offset >> 2) + 1])
    shadow.state[word] = shadow.state[word]! & ~stateBarrier;
}

/** The barrier at an address, checked for being there and for its initialisation being ordered before this use. */
export function barrierAt(
  w: Warp,
  site: Site,
  lane: number,
  block: Block | undefined,
  offset: number,
): Mbarrier | undefined {
  const m = block?.mbarriers.get(offset);
  if (m === undefined) {
    findAt(
      w,
      1 << lane,
      site.id,
      "mbarrier-misuse",
      `there is no initialised mbarrier at shared byte ${offset - w.block.shared.low}`,
    );
    return undefined;
  }
  if (!isOrdered(w, m.record, m.lane, lane)) {
    const number = (w.block.grid.number << 16) | site.id;
    addFinding(w.machine, {
      code: "race",
      message: () => `${name(m)} is used with nothing that orders its initialisation before`,
      site: number,
      at: () => sideOfSite(w.machine, number, `${warpName(w)} lane ${lane}`),
      otherSite: w.machine.journal.site[m.record]!,
      other: () => sideOfRecord(w.machine, m.record, m.lane),
    });
  }
  return m;
}

/** A copy signals through the async proxy: the initialisation must have been fenced (9.7.13.5). */
export function checkFenced(w: Warp, site: Site, lane: number, m: Mbarrier): void {
  if (m.fenced || isProxied(w, m.record, m.lane)) return;
  findAt(
    w,
    1 << lane,
    site.id,
    "missing-proxy-fence",
    `${name(m)} is used by a copy with no fence after mbarrier.init`,
  );
}

/** `fence.mbarrier_init`: for the barriers that the warp initialised. */
export function fenceInitialised(w: Warp): void {
  for (const m of w.block.mbarriers.values()) if (m.owner === w) m.fenced = true;
}

/** The agent of the copies that land on the barrier, and their time: the phase they belong to, counted from 1. */
export function landingAgent(m: Mbarrier): { readonly agent: number; readonly time: number } {
  if (m.agent < 0) {
    const { realm } = m.vector;
    m.agent = realm.size++;
    m.owner.machine.agentNames.set(realm.id * 65536 + m.agent, () => `a copy that signals ${name(m)}`);
  }
  return { agent: m.agent, time: m.phase + 1 };
}

function completeIfDone(m: Mbarrier): void {
  if (m.pending !== 0 || m.bytes !== 0) return;
  if (m.agent >= 0) {
    reserve(m.vector, m.agent + 1);
    m.vector.known[m.agent] = m.phase + 1;
  }
  m.phase++;
  m.pending = m.count;
  m.released = m.vector;
  m.vector = makeVector(m.vector.realm);
  for (const split of m.waiters.splice(0)) wake(split);
  for (const split of m.owner.machine.runnable) split.polls = 0;
}

/** Arrivals by lane `lane`; the pending count of before is what the state token holds. */
export function arriveAtMbarrier(
  w: Warp,
  site: Site,
  lane: number,
  m: Mbarrier,
  arrivals: number,
  relaxed: boolean,
): void {
  if (arrivals > m.pending) {
    findAt(
      w,
      1 << lane,
      site.id,
      "mbarrier-misuse",
      `${arrivals} arrivals at ${name(m)}, whose phase ${m.phase} has ${m.pending} left of ${m.count}`,
    );
    return;
  }
  m.pending -= arrivals;
  if (relaxed) publishFenced(w, m.vector);
  else release(w, 1 << lane, m.vector);
  completeIfDone(m);
}

/** An arrival that `cp.async` makes when it is done: it publishes what its thread knew when it asked for it. */
export function arriveForCopies(w: Warp, site: Site, lane: number, m: Mbarrier, published: Vector): void {
  join(m.vector, published);
  arriveAtMbarrier(w, site, lane, m, 1, true);
}

/** The bounds of the transaction count are 2^20 - 1 either way (9.7.13.15.2). */
const mostBytes = 0xfffff;

export function expectBytes(w: Warp, site: Site, lane: number, m: Mbarrier, bytes: number): void {
  m.bytes += bytes;
  m.expectSite = site.id;
  if (m.bytes > mostBytes)
    findAt(
      w,
      1 << lane,
      site.id,
      "mbarrier-misuse",
      `${m.bytes} bytes pending at ${name(m)}; ${mostBytes} is the most`,
    );
}

export function bytesArrived(m: Mbarrier, bytes: number): void {
  m.bytes -= bytes;
  completeIfDone(m);
}

export function dropArrival(m: Mbarrier): void {
  m.count--;
}

/** Has the phase of this parity completed? */
export function parityDone(m: Mbarrier, parity: number): boolean {
  return (m.phase & 1) !== (parity & 1);
}

export function acquirePhase(w: Warp, m: Mbarrier): void {
  acquire(w, m.released);
}

/** At the end of a block: bytes that were expected and never came, or came and were never expected. */
export function checkLeftBytes(block: Block): void {
  for (const m of block.mbarriers.values()) {
    if (m.bytes !== 0)
      findAt(
        m.owner,
        1 << m.lane,
        m.expectSite,
        "transaction-mismatch",
        `the block exits with ${describeMbarrier(m)}`,
      );
  }
}
