/**
 * Tensor maps as the driver wants them (CUDA driver API, "Tensor Map Object Management"): dims from the fastest, and
 * strides in bytes, of a plan's row-major view.
 */
import type { PlanKernel, PlanMap } from "../../compiler/plan/plan.ts";
import type { DType } from "../../compiler/types/dtype.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "./blame.ts";

export interface TiledMap {
  /** A CUtensorMapDataType. */
  readonly type: number;
  /** Elements along each dim, the contiguous one first. */
  readonly dims: readonly number[];
  /** Bytes from one element to the next along each dim but the first. */
  readonly strides: readonly number[];
  readonly box: readonly number[];
  readonly swizzle: PlanMap["swizzle"];
}

/** Only zeros are filled in and nothing is computed, so that bytes do for the 8-bit floats. */
const types: Readonly<Record<DType, number>> = {
  e4m3: 0,
  e5m2: 0,
  i8: 0,
  u8: 0,
  bool: 0,
  u32: 2,
  i32: 3,
  i64: 5,
  f16: 6,
  f32: 7,
  bf16: 9,
};

/** Extents are a launch's, slowest first. Throws `DeviceError` where they do not fit in the buffer's `bytes`. */
export function tiledMap(
  kernel: PlanKernel,
  map: PlanMap,
  extents: readonly number[],
  bytes: number,
): TiledMap {
  const element = dtypes[map.dtype].bytes;
  const dims = extents.toReversed();
  const strides: number[] = [];
  let whole = element;
  for (const extent of dims) {
    whole *= extent;
    strides.push(whole);
  }
  if (whole > bytes) {
    const words = `the map ${mapText(map, extents)} has ${whole} bytes, and its buffer ${bytes}`;
    throw new DeviceError(kernelMessage(kernel, words, undefined));
  }
  return {
    type: types[map.dtype],
    dims,
    strides: strides.slice(0, -1),
    box: map.box.toReversed(),
    swizzle: map.swizzle,
  };
}

/** `x: bf16[M, 64] in boxes of 128 x 64, swizzle 128`, for messages. */
export function mapText({ name, dtype, box, swizzle }: PlanMap, extents: readonly number[]): string {
  return `${name}: ${dtype}[${extents.join(", ")}] in boxes of ${box.join(" x ")}, swizzle ${swizzle}`;
}

/** What the driver would not take of a map, in words: it says no more than that a value is invalid. */
export function mapFaults(map: PlanMap, tiled: TiledMap, address: bigint): readonly string[] {
  const faults: string[] = [];
  const rank = tiled.dims.length;
  if (address % 16n !== 0n) faults.push("its address is no multiple of 16");
  for (const [k, extent] of tiled.dims.entries())
    if (extent < 1 || extent > 2 ** 32) faults.push(`dim ${rank - k} has ${extent} elements`);
  for (const [k, stride] of tiled.strides.entries()) {
    if (stride % 16 !== 0 || stride >= 2 ** 40)
      faults.push(
        `the stride of dim ${rank - k - 1} is ${stride} bytes, and a multiple of 16 below 2^40 is needed`,
      );
  }
  const row = (tiled.box[0] ?? 0) * dtypes[map.dtype].bytes;
  if (row % 16 !== 0) faults.push(`a row of its box has ${row} bytes, no multiple of 16`);
  if (tiled.swizzle !== 0 && row > tiled.swizzle)
    faults.push(`a row of its box has ${row} bytes, more than the swizzle`);
  return faults;
}
