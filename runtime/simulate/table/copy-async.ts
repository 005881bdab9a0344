/** `cp.async` and its groups (PTX ISA 9.7.9.25.3). */
import { SimulateError } from "../finding.ts";
import type { Site } from "../compile/site.ts";
import { found, locate } from "../machine/access.ts";
import { bindAddress, bindRead, inBounds } from "../machine/address.ts";
import {
  commit,
  dropGroups,
  issue,
  learn,
  newAgent,
  waitGroups,
  type AsyncOperation,
} from "../machine/async.ts";
import { checkRead, checkWrite } from "../machine/check.ts";
import { countAccess } from "../machine/counts.ts";
import { warpName } from "../machine/findings.ts";
import { append, wasAsync, wasWrite } from "../machine/journal.ts";
import type { Region } from "../machine/region.ts";
import { advance } from "../machine/sync.ts";
import type { Warp } from "../machine/warp.ts";
import type { Step, WarpRow } from "./row.ts";

interface LaneCopy {
  readonly from: Region;
  readonly fromOffset: number;
  readonly to: Region;
  readonly toOffset: number;
  readonly bytes: number;
  /** Bytes that come from memory; the rest are zeros. */
  readonly taken: number;
}

function copiesAgent(w: Warp): number {
  const { copies } = w.async;
  if (copies.agent < 0) copies.agent = newAgent(w, () => `cp.async issued by ${warpName(w)}`);
  return copies.agent;
}

function move({ from, fromOffset, to, toOffset, bytes, taken }: LaneCopy): void {
  to.u8.set(from.u8.subarray(fromOffset, fromOffset + taken), toOffset);
  to.u8.fill(0, toOffset + taken, toOffset + bytes);
}

function bindCopy(site: Site): Step {
  const [to, from, size, fourth] = site.operands;
  const toAddress = bindAddress(site, to);
  const fromAddress = bindAddress(site, from);
  if (size?.kind !== "integer")
    throw new SimulateError(`${site.instruction.text}: the size must be a constant`, site.instruction.line);
  const bytes = Number(size.value);
  if (site.choices["cache"] === "cg" ? bytes !== 16 : bytes !== 4 && bytes !== 8 && bytes !== 16) {
    throw new SimulateError(
      `${site.instruction.text}: cp.async.${site.choices["cache"]} does not copy ${bytes} bytes`,
      site.instruction.line,
    );
  }
  const isHint = site.choices["policy"] !== undefined && site.operands.length === 4;
  const ignore = fourth?.kind === "register" && fourth.register.bits === 1;
  const source = fourth === undefined || isHint ? undefined : bindRead(site, fourth);
  const takenOf = (w: Warp, lane: number): number => {
    if (source === undefined) return bytes;
    const value = source(w, lane);
    return ignore ? (value & 1 ? 0 : bytes) : value >>> 0;
  };
  return (w, mask) => {
    const places: [Region, number][] = [];
    toAddress(w, mask);
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const offset = locate(w, site, site.choices["space"]!, l);
      if (inBounds(w, site, l, found.region, offset, bytes, bytes)) places[l] = [found.region!, offset];
    }
    countAccess(w, "shared", mask, bytes, "written");
    fromAddress(w, mask);
    const agent = copiesAgent(w);
    const { copies } = w.async;
    const { journal } = w.machine;
    const access = {
      realm: w.vector.realm.id,
      agent,
      time: copies.time,
      site: (w.block.grid.number << 16) | site.id,
    };
    const reader = append(journal, { ...access, flags: wasAsync });
    const writer = append(journal, { ...access, flags: wasAsync | wasWrite });
    const lanes: LaneCopy[] = [];
    places.forEach(([region, offset], l) => {
      const taken = Math.min(bytes, takenOf(w, l));
      const fromOffset = locate(w, site, "global", l);
      if (taken > 0 && !inBounds(w, site, l, found.region, fromOffset, taken, bytes)) return;
      if (w.machine.options.memoryChecks) {
        if (taken > 0) checkRead(w, found.region!, fromOffset, taken, l, reader, wasAsync);
        checkWrite(w, region, offset, bytes, l, writer, wasAsync | wasWrite);
      }
      lanes.push({ from: found.region ?? region, fromOffset, to: region, toOffset: offset, bytes, taken });
    });
    countAccess(w, "global", mask, bytes, "read");
    const operation: AsyncOperation = {
      done: false,
      site: site.id,
      complete: () => lanes.forEach(move),
      needed: () => true,
    };
    issue(w.machine, operation);
    copies.open.push({ operation, mask });
  };
}

function bindCommit(): Step {
  return (w, mask) => commit(w.async.copies, mask);
}

/** What the copies of the groups wrote is visible to the thread that waited; a barrier passes it on. */
function waitFor(w: Warp, mask: number, keep: number): void {
  const { copies } = w.async;
  const time = waitGroups(w.machine, copies, mask, keep);
  for (const group of copies.committed) if (group.time <= time) copies.waits.set(group.time, w.time);
  // Older groups are of no interest once their bytes have been read and written again.
  for (const old of copies.waits.keys()) if (copies.waits.size > 64) copies.waits.delete(old);
  dropGroups(copies, mask, time);
  learn(w, copies.agent, time);
  advance(w);
}

function bindWait(site: Site): Step {
  const [count] = site.operands;
  if (count?.kind !== "integer")
    throw new SimulateError(`${site.instruction.text}: the count must be a constant`, site.instruction.line);
  return (w, mask) => waitFor(w, mask, Number(count.value));
}

function bindWaitAll(): Step {
  return (w, mask) => {
    commit(w.async.copies, mask);
    waitFor(w, mask, 0);
  };
}

const section = "9.7.9.25.3";
const tail = "space:shared|shared::cta.global.policy?L2::cache_hint.prefetch?L2::64B|L2::128B|L2::256B";
export const copyAsyncRows: readonly WarpRow[] = [
  { pattern: `cp.async.cache:ca|cg.${tail}`, section, writes: [], bind: bindCopy },
  { pattern: "cp.async.commit_group", section, writes: [], bind: bindCommit },
  { pattern: "cp.async.wait_group", section, writes: [], bind: bindWait },
  { pattern: "cp.async.wait_all", section, writes: [], bind: bindWaitAll },
];
