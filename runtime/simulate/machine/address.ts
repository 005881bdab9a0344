/** Addresses: from operands to lower and upper words, and from those to regions. */
import { SimulateError } from "../finding.ts";
import type { Site, Value } from "../compile/site.ts";
import { windows } from "./windows.ts";
import { findAt } from "./findings.ts";
import type { Region } from "./region.ts";
import type { Warp } from "./warp.ts";

export type AddressOf = (w: Warp, mask: number) => void;

/** A step that puts the address of each lane of the mask into `w.lo` and `w.hi`. */
export function bindAddress(site: Site, value: Value | undefined): AddressOf {
  if (value?.kind !== "address")
    throw new SimulateError(`${site.instruction.text} has no address`, site.instruction.line);
  const { base, offset } = value;
  if (base.kind === "register") return registerAddress(site, base.register.base, base.register.bits, offset);
  if (base.kind === "symbol") return symbolAddress(base.space, base.offset, offset);
  if (base.kind === "integer") {
    const fixed = BigInt.asUintN(64, base.value + BigInt(offset));
    return constantAddress(Number(fixed & 0xffffffffn), Number(fixed >> 32n));
  }
  throw new SimulateError(`${site.instruction.text} has no address that I can read`, site.instruction.line);
}

function registerAddress(site: Site, base: number, bits: number, offset: number): AddressOf {
  if (bits === 64) {
    return (w, mask) => {
      const { U, lo, hi } = w;
      for (let l = 0; l < 32; l++) {
        if (!((mask >>> l) & 1)) continue;
        const low = U[base + 2 * l]! + offset;
        lo[l] = low;
        hi[l] = U[base + 2 * l + 1]! + (low > 0xffffffff ? 1 : low < 0 ? -1 : 0);
      }
    };
  }
  if (bits !== 32)
    throw new SimulateError(`${site.instruction.text} has an address of ${bits} bits`, site.instruction.line);
  return (w, mask) => {
    const { U, lo, hi } = w;
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      lo[l] = U[base + l]! + offset;
      hi[l] = 0;
    }
  };
}

function symbolAddress(space: string, start: number, offset: number): AddressOf {
  return (w, mask) => {
    let low = start + offset;
    let high = 0;
    if (space === "shared") low += w.sharedBase;
    else if (space === "global") {
      const address = w.globals[start]! + BigInt(offset);
      low = Number(address & 0xffffffffn);
      high = Number(address >> 32n);
    }
    constantAddress(low, high)(w, mask);
  };
}

function constantAddress(low: number, high: number): AddressOf {
  return (w, mask) => {
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      w.lo[l] = low;
      w.hi[l] = high;
    }
  };
}

/** Reads a 32-bit integer operand of one lane. */
export function bindRead(site: Site, value: Value | undefined): (w: Warp, lane: number) => number {
  if (value?.kind === "register") {
    const { base, bits } = value.register;
    if (bits === 1) return (w, lane) => ((w.I[base]! >>> lane) & 1) ^ (value.negated ? 1 : 0);
    return bits === 64 ? (w, lane) => w.I[base + 2 * lane]! : (w, lane) => w.I[base + lane]!;
  }
  if (value?.kind === "integer") {
    const fixed = Number(BigInt.asIntN(32, value.value));
    return () => fixed;
  }
  if (value?.kind === "float") {
    const bits = new Int32Array(new Float32Array([value.value]).buffer)[0]!;
    return () => bits;
  }
  if (value?.kind === "symbol" && value.space === "shared") return (w) => w.sharedBase + value.offset;
  throw new SimulateError(
    `${site.instruction.text}: an operand is missing or of a kind that does not belong there`,
    site.instruction.line,
  );
}

/** Reads a 64-bit operand of one lane. */
export function bindRead64(site: Site, value: Value | undefined): (w: Warp, lane: number) => bigint {
  if (value?.kind === "register" && value.register.bits === 64) {
    const base = value.register.base / 2;
    return (w, lane) => w.BU[base + lane]!;
  }
  if (value?.kind === "integer") {
    const fixed = BigInt.asUintN(64, value.value);
    return () => fixed;
  }
  throw new SimulateError(`${site.instruction.text}: I expected a 64-bit operand`, site.instruction.line);
}

/** The first word of a register operand, and its width. */
export function wordOf(
  site: Site,
  value: Value | undefined,
): { readonly base: number; readonly bits: number } {
  if (value?.kind === "sink") return { base: -1, bits: 32 };
  if (value?.kind !== "register")
    throw new SimulateError(`${site.instruction.text}: I expected a register`, site.instruction.line);
  return value.register;
}

export interface Place {
  region: Region;
  offset: number;
}

/** The shared memory that a shared::cluster address lies in. */
export function sharedRegion(w: Warp, low: number): Region | undefined {
  const rank = low >>> 24;
  return rank === w.rank ? w.block.shared : w.block.cluster.blocks[rank]?.shared;
}

/** The region of a generic or global address. */
export function genericRegion(w: Warp, low: number, high: number): Region | undefined {
  if (high >= 0x100) return w.machine.regions.get(high);
  if (high === windows.shared) return sharedRegion(w, low);
  if (high === windows.local) return w.local;
  return high === windows.param ? w.block.grid.param : undefined;
}

export function hex(low: number, high: number): string {
  return `0x${(BigInt(high >>> 0) * 4294967296n + BigInt(low >>> 0)).toString(16)}`;
}

/** Is an access of `bytes` within the region and aligned? Reports it when not. */
export function inBounds(
  w: Warp,
  site: Site,
  lane: number,
  region: Region | undefined,
  offset: number,
  bytes: number,
  align: number,
): boolean {
  if (region === undefined || offset < region.low || offset + bytes > region.size) {
    const where =
      region === undefined
        ? `${hex(w.lo[lane]!, w.hi[lane]!)}, where no memory is`
        : `byte ${offset - region.low} of ${region.name}, which has ${region.size - region.low}`;
    findAt(w, 1 << lane, site.id, "out-of-bounds", `an access of ${bytes} bytes at ${where}`);
    return false;
  }
  if (offset % align !== 0) {
    findAt(
      w,
      1 << lane,
      site.id,
      "misaligned",
      `byte ${offset - region.low} of ${region.name} is no multiple of ${align}`,
    );
    return false;
  }
  return true;
}
