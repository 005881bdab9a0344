/**
 * Between storage elements and numbers. Floats round to nearest even (see `float-codes.ts`); a float given for an
 * integer is truncated and saturated, NaN becomes 0; bool is `!= 0`. i64 keeps all its bits through `BigInt64Array`
 * (`toBigInts`, `fromBigInts`); as numbers its values above 2^53 are rounded.
 */
import type { DType } from "../../compiler/types/dtype.ts";
import type { FloatFormat } from "./float-codes.ts";
import { bf16Format, decodingTable, e4m3Format, e5m2Format, encoderOf, f16Format } from "./float-codes.ts";
import type { HostTensor } from "./tensor.ts";
import { TensorError, elementCount, typeText } from "./tensor.ts";

/** How one dtype's elements become numbers and come from them; `bytes` starts at a multiple of the element's size. */
interface Codec {
  decode(bytes: Uint8Array, count: number): Float64Array;
  encode(values: ArrayLike<number>): Uint8Array;
}

/** The elements as numbers, in row-major order. */
export function toNumbers(tensor: HostTensor): Float64Array {
  return codecs[tensor.dtype].decode(aligned(tensor.bytes), elementCount(tensor.shape));
}

/** Numbers as a tensor of `dtype`, each rounded once. Throws `TensorError` when they are not as many as the shape says. */
export function fromNumbers(dtype: DType, shape: readonly number[], values: ArrayLike<number>): HostTensor {
  if (values.length !== elementCount(shape)) {
    throw new TensorError(
      `${typeText({ dtype, shape })} has ${elementCount(shape)} elements, and ${values.length} were given`,
    );
  }
  return { dtype, shape: [...shape], bytes: codecs[dtype].encode(values) };
}

/** An i64 tensor's elements, exactly. */
export function toBigInts(tensor: HostTensor): BigInt64Array {
  if (tensor.dtype !== "i64") throw new TensorError(`${typeText(tensor)} is not a tensor of i64`);
  const bytes = aligned(tensor.bytes);
  return new BigInt64Array(bytes.buffer, bytes.byteOffset, elementCount(tensor.shape));
}

export function fromBigInts(shape: readonly number[], values: ArrayLike<bigint>): HostTensor {
  if (values.length !== elementCount(shape)) {
    throw new TensorError(
      `${typeText({ dtype: "i64", shape })} has ${elementCount(shape)} elements, and ${values.length} were given`,
    );
  }
  return { dtype: "i64", shape: [...shape], bytes: bytesOf(BigInt64Array.from(values)) };
}

/** `value` as `dtype` stores it, read back: what `round(dtype)` in a program gives. */
export function roundTo(dtype: DType, value: number): number {
  return codecs[dtype].decode(codecs[dtype].encode([value]), 1)[0] ?? NaN;
}

/** The same bytes at an address that typed arrays of any element accept; copied only where they are not. */
export function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

type Codes = Uint16Array | Uint8Array;
type CodesOf = new (buffer: ArrayBufferLike | number, offset?: number, length?: number) => Codes;

function codeCodec(format: FloatFormat, Codes: CodesOf): Codec {
  const encode = encoderOf(format);
  const table = lazy(() => decodingTable(format));
  return {
    decode(bytes: Uint8Array, count: number): Float64Array {
      const codes = new Codes(bytes.buffer, bytes.byteOffset, count);
      const values = table();
      const out = new Float64Array(count);
      for (let i = 0; i < count; i += 1) out[i] = values[codes[i] ?? 0] ?? NaN;
      return out;
    },
    encode(values: ArrayLike<number>): Uint8Array {
      const codes = new Codes(values.length);
      for (let i = 0; i < codes.length; i += 1) codes[i] = encode(values[i] ?? 0);
      return bytesOf(codes);
    },
  };
}

type NumberArray = Float32Array | Int32Array | Uint32Array | Int8Array | Uint8Array;
type NumberArrayOf = new (buffer: ArrayBufferLike | number, offset?: number, length?: number) => NumberArray;

function integerCodec(Elements: NumberArrayOf, low: number, high: number): Codec {
  return {
    decode: (bytes: Uint8Array, count: number): Float64Array =>
      Float64Array.from(new Elements(bytes.buffer, bytes.byteOffset, count)),
    encode(values: ArrayLike<number>): Uint8Array {
      const out = new Elements(values.length);
      for (let i = 0; i < out.length; i += 1) out[i] = saturate(values[i] ?? 0, low, high);
      return bytesOf(out);
    },
  };
}

function saturate(value: number, low: number, high: number): number {
  if (value !== value) return 0;
  return Math.min(Math.max(Math.trunc(value), low), high);
}

const floatCodec: Codec = {
  decode: (bytes: Uint8Array, count: number): Float64Array =>
    Float64Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, count)),
  encode: (values: ArrayLike<number>): Uint8Array => bytesOf(Float32Array.from(values)),
};

const longCodec: Codec = {
  decode(bytes: Uint8Array, count: number): Float64Array {
    const low = new Uint32Array(bytes.buffer, bytes.byteOffset, 2 * count);
    const high = new Int32Array(bytes.buffer, bytes.byteOffset, 2 * count);
    const out = new Float64Array(count);
    for (let i = 0; i < count; i += 1) out[i] = (high[2 * i + 1] ?? 0) * 2 ** 32 + (low[2 * i] ?? 0);
    return out;
  },
  encode(values: ArrayLike<number>): Uint8Array {
    const out = new BigInt64Array(values.length);
    for (let i = 0; i < out.length; i += 1) out[i] = longOf(values[i] ?? 0);
    return bytesOf(out);
  },
};

const longMax = 2n ** 63n - 1n;

function longOf(value: number): bigint {
  if (value !== value) return 0n;
  if (value >= 2 ** 63) return longMax;
  if (value <= -(2 ** 63)) return -longMax - 1n;
  return BigInt(Math.trunc(value));
}

const boolCodec: Codec = {
  decode: (bytes: Uint8Array, count: number): Float64Array =>
    Float64Array.from(bytes.subarray(0, count), (value) => (value === 0 ? 0 : 1)),
  encode: (values: ArrayLike<number>): Uint8Array =>
    Uint8Array.from(values, (value) => (value === 0 ? 0 : 1)),
};

const codecs: Readonly<Record<DType, Codec>> = {
  f32: floatCodec,
  f16: codeCodec(f16Format, Uint16Array),
  bf16: codeCodec(bf16Format, Uint16Array),
  e4m3: codeCodec(e4m3Format, Uint8Array),
  e5m2: codeCodec(e5m2Format, Uint8Array),
  i64: longCodec,
  i32: integerCodec(Int32Array, -(2 ** 31), 2 ** 31 - 1),
  u32: integerCodec(Uint32Array, 0, 2 ** 32 - 1),
  i8: integerCodec(Int8Array, -128, 127),
  u8: integerCodec(Uint8Array, 0, 255),
  bool: boolCodec,
};

function lazy<T>(make: () => T): () => T {
  let value: T | undefined;
  return (): T => {
    value ??= make();
    return value;
  };
}
