/** Small tensors for tests: numbers to stored bytes and back, by `DataView` alone. */
import type { DType } from "../../compiler/types/dtype.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";

export function tensor(
  dtype: "f32" | "i32" | "u32" | "bool" | "i64",
  shape: readonly number[],
  values: readonly number[],
): StoredTensor {
  const size = { f32: 4, i32: 4, u32: 4, bool: 1, i64: 8 }[dtype];
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    if (dtype === "f32") view.setFloat32(i * 4, value, true);
    else if (dtype === "i32") view.setInt32(i * 4, value, true);
    else if (dtype === "u32") view.setUint32(i * 4, value, true);
    else if (dtype === "i64") view.setBigInt64(i * 8, BigInt(value), true);
    else view.setUint8(i, value);
  });
  return { dtype, shape, bytes };
}

/** Elements of an f32, i32, u32, bool or bf16 tensor. */
export function numbers(stored: StoredTensor | undefined): number[] {
  if (stored === undefined) return [];
  const { bytes, dtype } = stored;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const readers: Partial<Record<DType, readonly [number, (at: number) => number]>> = {
    f32: [4, (at) => view.getFloat32(at, true)],
    i32: [4, (at) => view.getInt32(at, true)],
    u32: [4, (at) => view.getUint32(at, true)],
    i64: [8, (at) => Number(view.getBigInt64(at, true))],
    bool: [1, (at) => view.getUint8(at)],
    i8: [1, (at) => view.getInt8(at)],
    u8: [1, (at) => view.getUint8(at)],
    bf16: [2, (at) => new Float32Array(new Uint32Array([view.getUint16(at, true) << 16]).buffer)[0] ?? 0],
  };
  const [size, read] = readers[dtype] ?? [1, () => Number.NaN];
  return Array.from({ length: bytes.byteLength / size }, (_, i) => read(i * size));
}
