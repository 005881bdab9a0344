/** Bulk copies in flight: who signals whom, and what they touch (PTX ISA 9.7.9.25.4, 9.7.9.27). */
import type { Site } from "../compile/site.ts";
import { issue, newAgent, type AsyncOperation } from "./async.ts";
import { checkRead, checkWrite } from "./check.ts";
import { countBytes } from "./counts.ts";
import { warpName } from "./findings.ts";
import { append, wasAsync, wasAsyncProxy, wasStrong, wasWrite, scopeShift } from "./journal.ts";
import { bytesArrived, landingAgent, type Mbarrier } from "./mbarrier.ts";
import type { Region } from "./region.ts";
import type { Warp } from "./warp.ts";

/** Bytes of one region. */
export interface Range {
  readonly region: Region;
  readonly offset: number;
  readonly bytes: number;
}

const flags = wasAsync | wasAsyncProxy;

function records(
  w: Warp,
  site: Site,
  reader: number,
  writer: number,
  readTime: number,
  writeTime: number,
  reduces: boolean,
): [number, number, number] {
  const base = { realm: w.vector.realm.id, site: (w.block.grid.number << 16) | site.id };
  // The parts of a reduction are atomic (9.7.9.25.4.2): they do not race with each other.
  const written = flags | wasWrite | (reduces ? wasStrong | (2 << scopeShift) : 0);
  return [
    append(w.machine.journal, { ...base, agent: reader, time: readTime, flags }),
    append(w.machine.journal, { ...base, agent: writer, time: writeTime, flags: written }),
    written,
  ];
}

function enter(
  w: Warp,
  lane: number,
  reads: readonly Range[],
  writes: readonly Range[],
  [reader, writer, written]: readonly [number, number, number],
): void {
  for (const { region, bytes } of reads) countBytes(w.machine.counts, `${region.kind} read`, bytes);
  for (const { region, bytes } of writes) countBytes(w.machine.counts, `${region.kind} written`, bytes);
  if (!w.machine.options.memoryChecks) return;
  for (const { region, offset, bytes } of reads) checkRead(w, region, offset, bytes, lane, reader, flags);
  for (const { region, offset, bytes } of writes) checkWrite(w, region, offset, bytes, lane, writer, written);
}

export interface Landing {
  readonly site: Site;
  readonly lane: number;
  readonly reads: readonly Range[];
  readonly writes: readonly Range[];
  /** Bytes that the barrier is told of. */
  readonly bytes: number;
  readonly barrier: Mbarrier;
  readonly move: () => void;
  readonly reduces: boolean;
}

/** A copy that signals an mbarrier when its bytes are there. */
export function issueLanding(
  w: Warp,
  { site, lane, reads, writes, bytes, barrier, move, reduces }: Landing,
): void {
  const { agent, time } = landingAgent(barrier);
  enter(w, lane, reads, writes, records(w, site, agent, agent, time, time, reduces));
  const operation: AsyncOperation = {
    done: false,
    site: site.id,
    needed: () => true,
    complete: () => {
      move();
      bytesArrived(barrier, bytes);
    },
  };
  issue(w.machine, operation);
  const { landings } = w.block;
  if (landings.length > 256) landings.splice(0, landings.length, ...landings.filter((op) => !op.done));
  landings.push(operation);
}

export interface Grouped {
  readonly site: Site;
  readonly lane: number;
  readonly reads: readonly Range[];
  readonly writes: readonly Range[];
  readonly move: () => void;
  readonly reduces: boolean;
}

/** A copy out of shared memory, which the thread waits for by groups: first that it has read, then that it has written. */
export function issueGrouped(w: Warp, { site, lane, reads, writes, move, reduces }: Grouped): void {
  const { bulk } = w.async;
  if (bulk.agent < 0) {
    bulk.agent = newAgent(w, () => `a bulk copy issued by ${warpName(w)}`);
    bulk.writer = newAgent(w, () => `a bulk copy issued by ${warpName(w)}`);
  }
  enter(w, lane, reads, writes, records(w, site, bulk.agent, bulk.writer, bulk.time, bulk.time, reduces));
  const operation: AsyncOperation = { done: false, site: site.id, needed: () => true, complete: move };
  issue(w.machine, operation);
  bulk.open.push({ operation, mask: 1 << lane });
}
