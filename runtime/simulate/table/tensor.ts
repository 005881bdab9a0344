/** Tensor copies, reductions and prefetches by tensor map (PTX ISA 9.7.9.27). */
import { SimulateError } from "../finding.ts";
import type { Site, Value } from "../compile/site.ts";
import { bindAddress, bindRead } from "../machine/address.ts";
import { issueGrouped, issueLanding, type Range } from "../machine/bulk.ts";
import { findAt } from "../machine/findings.ts";
import { blockOf } from "../machine/remote.ts";
import { boxAt, loadBox, mapAt, storeBox, type Box } from "../machine/tensor-copy.ts";
import type { Warp } from "../machine/warp.ts";
import { elementBytes, type TensorMapType } from "../tensor-map.ts";
import { updateOf } from "./atomic.ts";
import { copyBarrier, lanesOf, lows, multicastBlocks, reduceInto, sameBlock, sharedRange } from "./bulk.ts";
import type { Step, WarpRow } from "./row.ts";

type Address = (w: Warp, mask: number) => void;

interface MapOperand {
  readonly addressOf: Address;
  readonly coordinatesOf: (w: Warp, lane: number) => number[];
}

function bindMap(site: Site, value: Value | undefined): MapOperand {
  if (value?.kind !== "address")
    throw new SimulateError(`${site.instruction.text} has no tensor map`, site.instruction.line);
  const rank = Number(site.choices["dim"]![0]);
  if (value.coordinates.length !== rank)
    throw new SimulateError(
      `${site.instruction.text}: ${value.coordinates.length} coordinates for ${rank} dimensions`,
      site.instruction.line,
    );
  const reads = value.coordinates.map((coordinate) => bindRead(site, coordinate));
  return {
    addressOf: bindAddress(site, value),
    coordinatesOf: (w, lane) => reads.map((read) => read(w, lane)),
  };
}

/** Shared memory of a tensor copy is aligned to 128 bytes, and swizzled boxes repeat after 8 rows of their span. */
function checkBox(w: Warp, site: Site, lane: number, box: Box, offset: number): void {
  const span = box.map.swizzle;
  if (span === 0 || offset % (8 * span) === 0) return;
  findAt(
    w,
    1 << lane,
    site.id,
    "misaligned",
    `a box with the swizzle of ${span} bytes lies at shared byte ${offset - w.block.shared.low}, no multiple of ${8 * span}`,
  );
}

function globalReads(box: Box): Range[] {
  return box.rows
    .filter((row) => row.inside > 0)
    .map((row) => ({ region: box.region, offset: row.from, bytes: row.inside }));
}

function bindLoad(site: Site): Step {
  const [to, tensor, bar, mask] = site.operands;
  const toOf = bindAddress(site, to);
  const map = bindMap(site, tensor);
  const barOf = bindAddress(site, bar);
  const maskOf = site.choices["multicast"] === undefined ? undefined : bindRead(site, mask);
  return (w, active) => {
    const toLow = lows(w, active, toOf);
    const barLow = lows(w, active, barOf);
    for (const l of lanesOf(active)) {
      map.addressOf(w, 1 << l);
      const found = mapAt(w, site, l);
      const box = found === undefined ? undefined : boxAt(w, site, l, found, map.coordinatesOf(w, l));
      if (box === undefined) continue;
      const blocks =
        maskOf === undefined
          ? [blockOf(w, site, l, toLow[l]!)]
          : multicastBlocks(w, site, l, maskOf(w, l) & 0xffff);
      for (const block of blocks) {
        if (block === undefined) continue;
        const low = maskOf === undefined ? toLow[l]! : (toLow[l]! & 0xffffff) | (block.rank << 24);
        const range = sharedRange(w, site, l, low, box.bytes, 128);
        const barrier = copyBarrier(
          w,
          site,
          l,
          maskOf === undefined ? sameBlock(w, site, l, block, barLow[l]!) : block,
          barLow[l]!,
        );
        if (range === undefined || barrier === undefined) continue;
        checkBox(w, site, l, box, range.offset);
        const move = (): void => loadBox(box, range.region, range.offset);
        issueLanding(w, {
          site,
          lane: l,
          reads: globalReads(box),
          writes: [range],
          bytes: box.bytes,
          barrier,
          move,
          reduces: false,
        });
      }
    }
  };
}

/** Reductions take the element type from the map; floats add, take the least or the greatest, integers also combine bits. */
function updateFor(site: Site, type: TensorMapType): ReturnType<typeof updateOf> {
  const plain = type.replace("_ftz", "").replace("tf32", "f32");
  return updateOf(site.choices["op"]!, plain);
}

function bindStore(site: Site): Step {
  const [tensor, from] = site.operands;
  const map = bindMap(site, tensor);
  const fromOf = bindAddress(site, from);
  const reduces = site.choices["op"] !== undefined;
  return (w, active) => {
    const fromLow = lows(w, active, fromOf);
    for (const l of lanesOf(active)) {
      map.addressOf(w, 1 << l);
      const found = mapAt(w, site, l);
      const box = found === undefined ? undefined : boxAt(w, site, l, found, map.coordinatesOf(w, l));
      if (found === undefined || box === undefined) continue;
      const range = sharedRange(w, site, l, fromLow[l]!, box.bytes, 128);
      if (range === undefined) continue;
      checkBox(w, site, l, box, range.offset);
      const update = reduces ? updateFor(site, found.type) : undefined;
      if (reduces && update === undefined) {
        findAt(
          w,
          1 << l,
          site.id,
          "tensor-copy",
          `there is no reduction ${site.choices["op"]} of ${found.type}`,
        );
        continue;
      }
      const store = (to: number, bytes: Uint8Array): void => {
        if (update === undefined) box.region.u8.set(bytes, to);
        else reduceInto(box.region, to, bytes, elementBytes(found.type), update);
      };
      const move = (): void => storeBox(box, range.region, range.offset, store);
      issueGrouped(w, { site, lane: l, reads: [range], writes: globalReads(box), move, reduces });
    }
  };
}

const nothing: Step = () => undefined;
const dims = "dim:1d|2d|3d|4d|5d";
const hint = "policy?L2::cache_hint";
const section = "9.7.9.27";
const row = (pattern: string, bind: (site: Site) => Step): WarpRow => ({
  pattern,
  section,
  writes: [],
  bind,
});

export const tensorRows: readonly WarpRow[] = [
  row(
    `cp.async.bulk.tensor.${dims}.to:shared::cluster|shared::cta.global.mode?tile.mbarrier::complete_tx::bytes.multicast?multicast::cluster.${hint}`,
    bindLoad,
  ),
  row(`cp.async.bulk.tensor.${dims}.global.shared::cta.mode?tile.bulk_group.${hint}`, bindStore),
  row(
    `cp.reduce.async.bulk.tensor.${dims}.global.shared::cta.op:add|min|max|inc|dec|and|or|xor.mode?tile.bulk_group.${hint}`,
    bindStore,
  ),
  row(`cp.async.bulk.prefetch.tensor.${dims}.L2.global.mode?tile.${hint}`, () => nothing),
];
