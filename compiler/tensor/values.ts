/** Tensors inside the oracle, and how they come in and go out. */
import { dtypes, type DType } from "../types/dtype.ts";
import { decode, encode } from "./number-formats.ts";

/** A tensor at the border: what `HostTensor` of the runtime is. */
export interface StoredTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Elements as stored, little-endian, row-major. */
  readonly bytes: Uint8Array;
}

/** Row-major elements: i64 as bigints, everything else as f64; an f32 is not rounded until it goes out. */
export interface Values {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array | BigInt64Array;
  /** For each element, how far a target's may be from it; undefined where that is not asked for, or all are exact. */
  readonly error: Float64Array | undefined;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function emptyValues(dtype: DType, shape: readonly number[], withError: boolean): Values {
  const size = sizeOf(shape);
  return {
    dtype,
    shape,
    data: dtype === "i64" ? new BigInt64Array(size) : new Float64Array(size),
    error: withError && dtype !== "i64" ? new Float64Array(size) : undefined,
  };
}

export function fromStored(tensor: StoredTensor): Values {
  return {
    dtype: tensor.dtype,
    shape: tensor.shape,
    data: decode(tensor.dtype, tensor.bytes),
    error: undefined,
  };
}

export function toStored(values: Values): StoredTensor {
  return { dtype: values.dtype, shape: values.shape, bytes: encode(values.dtype, values.data) };
}

/** True where the bytes are as many as dtype and shape say. */
export function isWhole(tensor: StoredTensor): boolean {
  return tensor.bytes.byteLength === sizeOf(tensor.shape) * dtypes[tensor.dtype].bytes;
}
