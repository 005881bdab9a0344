/** Loads and stores of the lanes of a warp: bounds, alignment, shadow, counts, and then the bytes. */
import { SimulateError } from "../finding.ts";
import type { Site, Value } from "../compile/site.ts";
import {
  bindAddress,
  bindRead,
  genericRegion,
  inBounds,
  sharedRegion,
  wordOf,
  type AddressOf,
} from "./address.ts";
import { checkRead, checkWrite } from "./check.ts";
import { countAccess } from "./counts.ts";
import { findAt } from "./findings.ts";
import { append, sameAccess, scopeShift, wasStrong, wasWrite } from "./journal.ts";
import type { Region } from "./region.ts";
import type { Warp } from "./warp.ts";

/** How an instruction touches memory. */
export interface AccessKind {
  readonly space: string;
  /** Bytes of one element and elements of the vector. */
  readonly bytes: number;
  readonly count: number;
  readonly signed: boolean;
  /** Record flags: strength and scope. */
  readonly flags: number;
}

export const scopeNumber = (scope: string | undefined): number =>
  ["cta", "cluster", "gpu", "sys"].indexOf(scope ?? "gpu");
export const strong = (scope: string | undefined): number => wasStrong | (scopeNumber(scope) << scopeShift);

/** The record of what this instruction does now; the one it made last serves while the warp's time stands still. */
export function recordOf(w: Warp, site: number, flags: number): number {
  const { journal } = w.machine;
  const access = {
    realm: w.vector.realm.id,
    agent: w.agent,
    time: w.time,
    site: (w.block.grid.number << 16) | site,
    flags,
  };
  const latest = w.records[site]!;
  if (sameAccess(journal, latest, access)) return latest;
  const id = append(journal, access);
  w.records[site] = id;
  return id;
}

/** Finds the region of lane `l` and returns the offset in it; `region` is left in `found`. */
export const found: { region: Region | undefined } = { region: undefined };

export function locate(w: Warp, site: Site, space: string, lane: number): number {
  const low = w.lo[lane]!;
  switch (space) {
    case "global":
    case "const":
      found.region = w.machine.regions.get(w.hi[lane]!);
      return low;
    case "shared":
    case "shared::cta":
      if (low >>> 24 !== w.rank) {
        findAt(
          w,
          1 << lane,
          site.id,
          "out-of-bounds",
          `the shared address 0x${low.toString(16)} belongs to block ${low >>> 24} of the cluster; shared::cta reaches only block ${w.rank}`,
        );
        found.region = undefined;
        return -1;
      }
      found.region = w.block.shared;
      return low & 0xffffff;
    case "shared::cluster":
      found.region = sharedRegion(w, low);
      return low & 0xffffff;
    case "local":
      found.region = w.local;
      return low < w.localBytes ? lane * w.localBytes + low : -1;
    case "param":
    case "param::entry":
      found.region = w.block.grid.param;
      return low;
    default: {
      const high = w.hi[lane]!;
      found.region = genericRegion(w, low, high);
      if (high === 0x7e) return low < w.localBytes ? lane * w.localBytes + low : -1;
      return high === 0x7f ? low & 0xffffff : low;
    }
  }
}

interface Element {
  readonly base: number;
  readonly bits: number;
}

export function elementsOf(site: Site, value: Value | undefined): Element[] {
  return value?.kind === "vector" ? value.items.map((item) => wordOf(site, item)) : [wordOf(site, value)];
}

function loadElement(
  w: Warp,
  region: Region,
  offset: number,
  bytes: number,
  signed: boolean,
  to: Element,
  lane: number,
): void {
  if (to.base < 0) return;
  const at = to.bits === 64 ? to.base + 2 * lane : to.base + lane;
  switch (bytes) {
    case 4:
      w.U[at] = region.u32[offset >> 2]!;
      break;
    case 8:
      w.U[at] = region.u32[offset >> 2]!;
      w.U[at + 1] = region.u32[(offset >> 2) + 1]!;
      return;
    case 2:
      w.I[at] = signed ? (region.u16[offset >> 1]! << 16) >> 16 : region.u16[offset >> 1]!;
      break;
    default:
      w.I[at] = signed ? (region.u8[offset]! << 24) >> 24 : region.u8[offset]!;
  }
  if (to.bits === 16) w.U[at] = w.U[at]! & 0xffff;
  if (to.bits === 64) w.I[at + 1] = signed ? w.I[at]! >> 31 : 0;
}

export function storeElement(region: Region, offset: number, bytes: number, low: number, high: number): void {
  switch (bytes) {
    case 4:
      region.u32[offset >> 2] = low;
      return;
    case 8:
      region.u32[offset >> 2] = low;
      region.u32[(offset >> 2) + 1] = high;
      return;
    case 2:
      region.u16[offset >> 1] = low;
      return;
    default:
      region.u8[offset] = low;
  }
}

/** Checks one access of a lane and returns its offset, or -1 when it must not happen. */
function admit(w: Warp, site: Site, kind: AccessKind, lane: number, total: number, write: boolean): number {
  const offset = locate(w, site, kind.space, lane);
  const region = found.region;
  if (offset < 0 && region === undefined) return -1;
  if (!inBounds(w, site, lane, region, offset, total, total)) return -1;
  if (write && !region!.writable) {
    findAt(w, 1 << lane, site.id, "write-to-constant", `a write to ${region!.name}`);
    return -1;
  }
  return offset;
}

export function bindLoad(
  site: Site,
  kind: AccessKind,
  destination: Value | undefined,
  address: Value | undefined,
): (w: Warp, mask: number) => void {
  const elements = elementsOf(site, destination);
  if (elements.length !== kind.count)
    throw new SimulateError(
      `${site.instruction.text}: ${elements.length} registers for a vector of ${kind.count}`,
      site.instruction.line,
    );
  for (const { bits } of elements)
    if (bits < kind.bytes * 8)
      throw new SimulateError(`${site.instruction.text}: a register of ${bits} bits`, site.instruction.line);
  const addressOf: AddressOf = bindAddress(site, address);
  const { bytes, count, signed, flags } = kind;
  const total = bytes * count;
  const quiet = kind.space === "param" || kind.space === "param::entry";
  return (w, mask) => {
    addressOf(w, mask);
    const checks = !quiet && w.machine.options.memoryChecks;
    const record = checks ? recordOf(w, site.id, flags) : 0;
    let space = "";
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const offset = admit(w, site, kind, l, total, false);
      const region = found.region;
      if (offset < 0 || region === undefined) continue;
      space = region.kind;
      if (checks && space !== "param") checkRead(w, region, offset, total, l, record, flags);
      for (let e = 0; e < count; e++)
        loadElement(w, region, offset + e * bytes, bytes, signed, elements[e]!, l);
    }
    if (space !== "") countAccess(w, space, mask, total, "read");
  };
}

type ReadWords = (w: Warp, lane: number, element: number) => [number, number];

/** The two words of each element of a source. */
export function bindWords(site: Site, value: Value | undefined, bytes: number): ReadWords[] {
  const items = value?.kind === "vector" ? value.items : [value];
  return items.map((item) => {
    if (item?.kind === "register") {
      const { base, bits } = item.register;
      if (bits < bytes * 8 || bits === 1)
        throw new SimulateError(
          `${site.instruction.text}: a register of ${bits} bits`,
          site.instruction.line,
        );
      return bits === 64
        ? (w: Warp, lane: number): [number, number] => [w.U[base + 2 * lane]!, w.U[base + 2 * lane + 1]!]
        : (w: Warp, lane: number): [number, number] => [w.U[base + lane]!, 0];
    }
    if (item?.kind === "integer") {
      const low = Number(BigInt.asUintN(32, item.value));
      const high = Number(BigInt.asUintN(32, item.value >> 32n));
      return () => [low, high];
    }
    if (item?.kind === "float" && bytes === 8) {
      const words = new Uint32Array(new Float64Array([item.value]).buffer);
      return () => [words[0]!, words[1]!];
    }
    const read = bindRead(site, item);
    return (w: Warp, lane: number): [number, number] => [read(w, lane), 0];
  });
}

export function bindStore(
  site: Site,
  kind: AccessKind,
  address: Value | undefined,
  source: Value | undefined,
): (w: Warp, mask: number) => void {
  const sources = storeSources(site, source, kind);
  const addressOf: AddressOf = bindAddress(site, address);
  const { bytes, count } = kind;
  const total = bytes * count;
  const flags = kind.flags | wasWrite;
  return (w, mask) => {
    addressOf(w, mask);
    const checks = w.machine.options.memoryChecks;
    const record = checks ? recordOf(w, site.id, flags) : 0;
    let space = "";
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const offset = admit(w, site, kind, l, total, true);
      const region = found.region;
      if (offset < 0 || region === undefined) continue;
      space = region.kind;
      if (checks) checkWrite(w, region, offset, total, l, record, flags);
      for (let e = 0; e < count; e++) {
        const { base, wide, words } = sources[e]!;
        if (base < 0) storeElement(region, offset + e * bytes, bytes, ...words(w, l, 0));
        else if (wide)
          storeElement(region, offset + e * bytes, bytes, w.U[base + 2 * l]!, w.U[base + 2 * l + 1]!);
        else storeElement(region, offset + e * bytes, bytes, w.U[base + l]!, 0);
      }
    }
    if (space !== "") countAccess(w, space, mask, total, "written");
  };
}

/** A register by its first word, or (base -1) something else by what it reads as. */
interface Source {
  readonly base: number;
  readonly wide: boolean;
  readonly words: ReadWords;
}

function storeSources(site: Site, value: Value | undefined, kind: AccessKind): Source[] {
  const items = value?.kind === "vector" ? value.items : [value];
  if (items.length !== kind.count)
    throw new SimulateError(
      `${site.instruction.text}: ${items.length} values for a vector of ${kind.count}`,
      site.instruction.line,
    );
  return items.map((item) => {
    if (item?.kind === "register") {
      const { base, bits } = item.register;
      if (bits < kind.bytes * 8 || bits === 1)
        throw new SimulateError(
          `${site.instruction.text}: a register of ${bits} bits`,
          site.instruction.line,
        );
      return { base, wide: bits === 64, words: bindWords(site, item, kind.bytes)[0]! };
    }
    return { base: -1, wide: false, words: bindWords(site, item, kind.bytes)[0]! };
  });
}
