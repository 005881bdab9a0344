/** Bulk copies and reductions (PTX ISA 9.7.9.25.4) and their groups. */
import { SimulateError } from "../finding.ts";
import { typeBytes } from "../parse/syntax.ts";
import type { Site, Value } from "../compile/site.ts";
import { bindAddress, bindRead, genericRegion, inBounds, sharedRegion } from "../machine/address.ts";
import { commit, dropGroups, learn, waitGroups } from "../machine/async.ts";
import { issueGrouped, issueLanding, type Range } from "../machine/bulk.ts";
import { findAt } from "../machine/findings.ts";
import { barrierAt, checkFenced, type Mbarrier } from "../machine/mbarrier.ts";
import type { Region } from "../machine/region.ts";
import { blockOf, checkRemote } from "../machine/remote.ts";
import { advance } from "../machine/sync.ts";
import type { Block, Warp } from "../machine/warp.ts";
import { readElement, updateOf, writeElement, type Update } from "./atomic.ts";
import type { Step, WarpRow } from "./row.ts";

/** The lanes of a mask, one after the other: each thread issues a copy of its own. */
export function* lanesOf(mask: number): Generator<number> {
  for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) yield l;
}

/** Lower words of an address for each lane. */
export function lows(w: Warp, mask: number, address: (w: Warp, mask: number) => void): Uint32Array {
  address(w, mask);
  return w.lo.slice();
}

/** Shared bytes at a shared::cluster address; undefined (and reported) when they are not there. */
export function sharedRange(
  w: Warp,
  site: Site,
  lane: number,
  low: number,
  bytes: number,
  align: number,
): Range | undefined {
  const region = sharedRegion(w, low);
  w.lo[lane] = low;
  w.hi[lane] = 0;
  const offset = low & 0xffffff;
  return inBounds(w, site, lane, region, offset, bytes, align)
    ? { region: region!, offset, bytes }
    : undefined;
}

function globalRange(
  w: Warp,
  site: Site,
  lane: number,
  low: number,
  high: number,
  bytes: number,
): Range | undefined {
  const region = genericRegion(w, low, high);
  w.lo[lane] = low;
  w.hi[lane] = high;
  if (!inBounds(w, site, lane, region, low, bytes, 1)) return undefined;
  if (low % 16 !== 0) {
    findAt(
      w,
      1 << lane,
      site.id,
      "misaligned",
      `byte ${low - region!.low} of ${region!.name} is no multiple of 16`,
    );
    return undefined;
  }
  return { region: region!, offset: low, bytes };
}

function checkSize(w: Warp, site: Site, lane: number, size: number): boolean {
  if (size % 16 === 0) return true;
  findAt(w, 1 << lane, site.id, "misaligned", `a bulk copy of ${size} bytes, no multiple of 16`);
  return false;
}

export function reduceInto(
  region: Region,
  offset: number,
  bytes: Uint8Array,
  elementBytes: number,
  update: Update,
): void {
  const words = new Uint8Array(Math.ceil(bytes.length / 8) * 8);
  words.set(bytes);
  const view = new DataView(words.buffer);
  for (let at = 0; at < bytes.length; at += elementBytes) {
    const operand =
      elementBytes === 2
        ? BigInt(view.getUint16(at, true))
        : elementBytes === 4
          ? BigInt(view.getUint32(at, true))
          : view.getBigUint64(at, true);
    writeElement(
      region,
      offset + at,
      elementBytes,
      update(readElement(region, offset + at, elementBytes), operand, 0n),
    );
  }
}

function reduction(site: Site): { readonly bytes: number; readonly update: Update } | undefined {
  const { op, type } = site.choices;
  if (op === undefined) return undefined;
  const update = updateOf(op, type!);
  if (update === undefined)
    throw new SimulateError(`${site.instruction.text}: there is no ${op} of ${type}`, site.instruction.line);
  return { bytes: typeBytes(type!), update };
}

function mover(from: Range, to: Range, reduce: ReturnType<typeof reduction>): () => void {
  return () => {
    const bytes = from.region.u8.subarray(from.offset, from.offset + from.bytes);
    if (reduce === undefined) to.region.u8.set(bytes, to.offset);
    else reduceInto(to.region, to.offset, bytes, reduce.bytes, reduce.update);
  };
}

/** The blocks that a multicast reaches, by the bits of its mask. */
export function multicastBlocks(w: Warp, site: Site, lane: number, mask: number): Block[] {
  const { blocks } = w.block.cluster;
  const reached = blocks.filter((_, rank) => (mask >>> rank) & 1);
  if (mask >>> blocks.length !== 0 || reached.length === 0) {
    findAt(
      w,
      1 << lane,
      site.id,
      "cluster-misuse",
      `the multicast mask 0x${mask.toString(16)} in a cluster of ${blocks.length}`,
    );
  }
  for (const block of reached) if (block !== w.block) checkRemote(w, site, lane, block);
  return reached;
}

/** The mbarrier lies in the block that the bytes go to (9.7.9.25.4.1). */
export function sameBlock(
  w: Warp,
  site: Site,
  lane: number,
  block: Block | undefined,
  barrierLow: number,
): Block | undefined {
  const owner = blockOf(w, site, lane, barrierLow);
  if (owner !== block)
    findAt(
      w,
      1 << lane,
      site.id,
      "cluster-misuse",
      `the mbarrier is in block ${owner?.rank} of the cluster, the destination in block ${block?.rank}`,
    );
  return owner;
}

export function copyBarrier(
  w: Warp,
  site: Site,
  lane: number,
  block: Block | undefined,
  low: number,
): Mbarrier | undefined {
  const m = barrierAt(w, site, lane, block, low & 0xffffff);
  if (m !== undefined) checkFenced(w, site, lane, m);
  return m;
}

function bindToShared(site: Site): Step {
  const [to, from, size, bar, mask] = site.operands;
  const [toOf, fromOf, barOf] = [to, from, bar].map((value) => bindAddress(site, value)) as [
    Address,
    Address,
    Address,
  ];
  const sizeOf = bindRead(site, size);
  const multicast = site.choices["multicast"] !== undefined;
  const maskOf = multicast ? bindRead(site, mask) : undefined;
  const fromShared = site.choices["from"] === "shared::cta";
  const reduce = reduction(site);
  return (w, active) => {
    const toLow = lows(w, active, toOf);
    const barLow = lows(w, active, barOf);
    const fromLow = lows(w, active, fromOf);
    const fromHigh = w.hi.slice();
    for (const l of lanesOf(active)) {
      const bytes = sizeOf(w, l) >>> 0;
      if (!checkSize(w, site, l, bytes)) continue;
      const source = fromShared
        ? sharedRange(w, site, l, fromLow[l]!, bytes, 16)
        : globalRange(w, site, l, fromLow[l]!, fromHigh[l]!, bytes);
      const blocks =
        maskOf === undefined
          ? [blockOf(w, site, l, toLow[l]!)]
          : multicastBlocks(w, site, l, maskOf(w, l) & 0xffff);
      for (const block of blocks) {
        if (block === undefined || source === undefined) continue;
        const rank = block.rank << 24;
        const range = sharedRange(
          w,
          site,
          l,
          maskOf === undefined ? toLow[l]! : (toLow[l]! & 0xffffff) | rank,
          bytes,
          16,
        );
        const barrier = copyBarrier(
          w,
          site,
          l,
          maskOf === undefined ? sameBlock(w, site, l, block, barLow[l]!) : block,
          barLow[l]!,
        );
        if (range === undefined || barrier === undefined) continue;
        issueLanding(w, {
          site,
          lane: l,
          reads: [source],
          writes: [range],
          bytes,
          barrier,
          move: mover(source, range, reduce),
          reduces: reduce !== undefined,
        });
      }
    }
  };
}

type Address = (w: Warp, mask: number) => void;

function bindToGlobal(site: Site): Step {
  const [to, from, size] = site.operands;
  const [toOf, fromOf] = [to, from].map((value: Value | undefined) => bindAddress(site, value)) as [
    Address,
    Address,
  ];
  const sizeOf = bindRead(site, size);
  const reduce = reduction(site);
  return (w, active) => {
    const fromLow = lows(w, active, fromOf);
    const toLow = lows(w, active, toOf);
    const toHigh = w.hi.slice();
    for (const l of lanesOf(active)) {
      const bytes = sizeOf(w, l) >>> 0;
      if (!checkSize(w, site, l, bytes)) continue;
      const source = sharedRange(w, site, l, fromLow[l]!, bytes, 16);
      const range = globalRange(w, site, l, toLow[l]!, toHigh[l]!, bytes);
      if (source === undefined || range === undefined) continue;
      issueGrouped(w, {
        site,
        lane: l,
        reads: [source],
        writes: [range],
        move: mover(source, range, reduce),
        reduces: reduce !== undefined,
      });
    }
  };
}

function bindWaitGroup(site: Site): Step {
  const [count] = site.operands;
  if (count?.kind !== "integer")
    throw new SimulateError(`${site.instruction.text}: the count must be a constant`, site.instruction.line);
  const keep = Number(count.value);
  const readOnly = site.choices["read"] !== undefined;
  return (w, mask) => {
    const { bulk } = w.async;
    const time = waitGroups(w.machine, bulk, mask, keep);
    learn(w, bulk.agent, time);
    if (!readOnly) {
      learn(w, bulk.writer, time);
      dropGroups(bulk, mask, time);
    }
    advance(w);
  };
}

const nothing: Step = () => undefined;
const section = "9.7.9.25.4";
const hint = "policy?L2::cache_hint";
const landing = "mbarrier::complete_tx::bytes";
const row = (pattern: string, bind: (site: Site) => Step): WarpRow => ({
  pattern,
  section,
  writes: [],
  bind,
});

export const bulkRows: readonly WarpRow[] = [
  row(
    `cp.async.bulk.to:shared::cluster|shared::cta.from:global.${landing}.multicast?multicast::cluster.${hint}`,
    bindToShared,
  ),
  row(`cp.async.bulk.to:shared::cluster.from:shared::cta.${landing}`, bindToShared),
  row(`cp.async.bulk.global.shared::cta.bulk_group.${hint}`, bindToGlobal),
  row(
    `cp.reduce.async.bulk.to:shared::cluster.from:shared::cta.${landing}.op:and|or|xor|add|inc|dec|min|max.type:u32|s32|u64|s64|b32|b64`,
    bindToShared,
  ),
  row(
    `cp.reduce.async.bulk.global.shared::cta.bulk_group.${hint}.op:and|or|xor|add|inc|dec|min|max.ftz?noftz.type:f16|bf16|b32|u32|s32|b64|u64|s64|f32|f64`,
    bindToGlobal,
  ),
  row(`cp.async.bulk.prefetch.L2.global.${hint}`, () => nothing),
  row("cp.async.bulk.commit_group", () => (w, mask) => commit(w.async.bulk, mask)),
  row("cp.async.bulk.wait_group.read?read", bindWaitGroup),
];
