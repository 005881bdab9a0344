/**
 * Tensor maps: what `cuTensorMapEncodeTiled` makes, in a layout of the simulator's own, with the driver's checks
 * (CUDA driver API, "Tensor Map Object Management"; PTX ISA 5.5).
 */
import { SimulateError } from "./finding.ts";

/** Element types by the driver's numbers (CUtensorMapDataType). */
export const tensorMapTypes = [
  "u8",
  "u16",
  "u32",
  "s32",
  "u64",
  "s64",
  "f16",
  "f32",
  "f64",
  "bf16",
  "f32_ftz",
  "tf32",
  "tf32_ftz",
] as const;
export type TensorMapType = (typeof tensorMapTypes)[number];

export interface TensorMap {
  readonly type: TensorMapType;
  /** Address of element 0. */
  readonly address: bigint;
  /** Elements along each dimension, the contiguous one first: 1 to 5 of them. */
  readonly dims: readonly number[];
  /** Bytes from one element to the next along each dimension but the first. */
  readonly strides: readonly number[];
  /** Elements of the box that a copy moves. */
  readonly box: readonly number[];
  readonly swizzle: 0 | 32 | 64 | 128;
  /** What out-of-bounds elements of a load become. */
  readonly fill: "zero" | "nan";
}

export const tensorMapBytes = 128;
const magic = 0x50414d54;
const bytesOf: Readonly<Record<TensorMapType, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  s32: 4,
  u64: 8,
  s64: 8,
  f16: 2,
  f32: 4,
  f64: 8,
  bf16: 2,
  f32_ftz: 4,
  tf32: 4,
  tf32_ftz: 4,
};
const swizzles = [0, 32, 64, 128] as const;

export function elementBytes(type: TensorMapType): number {
  return bytesOf[type];
}

function check(map: TensorMap): void {
  const refuse = (message: string): never => {
    throw new SimulateError(`tensor map: ${message}`);
  };
  const rank = map.dims.length;
  const bytes = bytesOf[map.type];
  if (rank < 1 || rank > 5) refuse(`${rank} dimensions; 1 to 5 are possible`);
  if (map.box.length !== rank || map.strides.length !== rank - 1)
    refuse(`${rank} dimensions, ${map.strides.length} strides and a box of ${map.box.length}`);
  if (map.address % 16n !== 0n) refuse("the address is no multiple of 16");
  for (const d of map.dims) if (!(d >= 1 && d <= 2 ** 32)) refuse(`a dimension of ${d}`);
  for (const s of map.strides)
    if (s % 16 !== 0 || s < 0 || s >= 2 ** 40)
      refuse(`a stride of ${s} bytes, which must be a multiple of 16`);
  for (const b of map.box) if (!(b >= 1 && b <= 256)) refuse(`a box extent of ${b}; 1 to 256 are possible`);
  const inner = map.box[0]! * bytes;
  if (inner % 16 !== 0) refuse(`the inner extent of the box has ${inner} bytes, no multiple of 16`);
  if (map.swizzle !== 0 && inner > map.swizzle)
    refuse(`the inner extent of the box has ${inner} bytes, more than the swizzle of ${map.swizzle}`);
}

/** The 128 bytes of a map, to be passed as a kernel argument. */
export function encodeTensorMap(map: TensorMap): Uint8Array {
  check(map);
  const bytes = new Uint8Array(tensorMapBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  view.setUint8(4, tensorMapTypes.indexOf(map.type));
  view.setUint8(5, map.dims.length);
  view.setUint8(6, swizzles.indexOf(map.swizzle));
  view.setUint8(7, map.fill === "nan" ? 1 : 0);
  view.setBigUint64(8, map.address, true);
  map.dims.forEach((d, i) => view.setBigUint64(16 + 8 * i, BigInt(d), true));
  map.strides.forEach((s, i) => view.setBigUint64(56 + 8 * i, BigInt(s), true));
  map.box.forEach((b, i) => view.setUint16(88 + 2 * i, b, true));
  return bytes;
}

/** Reads a map back; undefined when the bytes are none. */
export function decodeTensorMap(bytes: Uint8Array): TensorMap | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < tensorMapBytes || view.getUint32(0, true) !== magic) return undefined;
  const rank = view.getUint8(5);
  const list = (n: number, at: number): number[] =>
    Array.from({ length: n }, (_, i) => Number(view.getBigUint64(at + 8 * i, true)));
  return {
    type: tensorMapTypes[view.getUint8(4)]!,
    address: view.getBigUint64(8, true),
    dims: list(rank, 16),
    strides: list(rank - 1, 56),
    box: Array.from({ length: rank }, (_, i) => view.getUint16(88 + 2 * i, true)),
    swizzle: swizzles[view.getUint8(6)]!,
    fill: view.getUint8(7) === 1 ? "nan" : "zero",
  };
}
