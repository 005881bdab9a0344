/**
 * The storage formats, for the oracle: rounding to a dtype's values, and elements as bytes and back. Written from
 * the formats' definitions and shared with nothing else, since it is what other conversions are checked against.
 *
 * To a narrower float: nearest, ties to even. e4m3, e5m2 and custom floats saturate, infinities too; f16, bf16 and f32 overflow to
 * infinity. NaN stays NaN. An integer stored as i8 or u8 saturates.
 */
import { InternalError } from "../diagnostics/diagnostic.ts";
import { dtypes, isCustomFloat, type CustomFloat, type DType, type Rounding } from "../types/dtype.ts";
import { roundEven } from "./scalar-functions.ts";

interface FloatFormat {
  readonly mantissa: number;
  /** Exponent of the smallest normal number, and the exponent field's bias. */
  readonly least: number;
  readonly bias: number;
  readonly max: number;
  readonly overflow: "infinity" | "saturate";
}

const formats: Readonly<Partial<Record<Rounding, FloatFormat>>> = {
  tf32: { mantissa: 10, least: -126, bias: 127, max: (2 - 2 ** -10) * 2 ** 127, overflow: "infinity" },
  f16: { mantissa: 10, least: -14, bias: 15, max: 65504, overflow: "infinity" },
  bf16: { mantissa: 7, least: -126, bias: 127, max: dtypes.bf16.max, overflow: "infinity" },
  e4m3: { mantissa: 3, least: -6, bias: 7, max: 448, overflow: "saturate" },
  e5m2: { mantissa: 2, least: -14, bias: 15, max: 57344, overflow: "saturate" },
};

/** By the definition: the bits of the name, IEEE's bias, no infinity made. */
function customFormat(name: CustomFloat): FloatFormat {
  const [exponent = 0, mantissa = 0] = name.slice(1).split("m").map(Number);
  const bias = 2 ** (exponent - 1) - 1;
  const max = 2 ** bias * (2 - 2 ** -mantissa);
  return { mantissa, least: 1 - bias, bias, max, overflow: "saturate" };
}

const scratch = (): { readonly value: Float64Array; readonly words: Uint32Array } => {
  const value = new Float64Array(1);
  return { value, words: new Uint32Array(value.buffer) };
};

/** floor(log2 |x|) of a normal f64. */
function exponentOf(x: number, s: { readonly value: Float64Array; readonly words: Uint32Array }): number {
  s.value[0] = x;
  return (((s.words[1] ?? 0) >>> 20) & 0x7ff) - 1023;
}

/** The function that rounds an f64 to the nearest value of a float dtype, or of tf32. */
export function rounderTo(dtype: Rounding): (x: number) => number {
  if (dtype === "f32") return Math.fround;
  const format = isCustomFloat(dtype) ? customFormat(dtype) : formats[dtype];
  if (format === undefined) throw new InternalError(`${dtype} is no float`);
  const { mantissa, least, max, overflow } = format;
  const s = scratch();
  return (x) => {
    if (x !== x || x === 0) return x;
    if (x === Infinity || x === -Infinity) return overflow === "infinity" ? x : Math.sign(x) * max;
    const quantum = 2 ** (Math.max(exponentOf(x, s), least) - mantissa);
    const rounded = roundEven(x / quantum) * quantum;
    if (Math.abs(rounded) <= max) return rounded;
    return Math.sign(x) * (overflow === "infinity" ? Infinity : max);
  };
}

/** The function that makes a scalar's value one that the dtype can hold. */
export function storerOf(dtype: DType): (x: number) => number {
  switch (dtype) {
    case "f32":
      // An unannotated float carries f32, which the oracle computes in f64: a store of it does not round.
      return (x) => x;
    case "i8":
    case "u8": {
      const low = dtype === "i8" ? -128 : 0;
      return (x) => Math.min(Math.max(x, low), dtypes[dtype].max);
    }
    case "i32":
    case "u32":
    case "i64":
    case "bool":
      return (x) => x;
    case "f16":
    case "bf16":
    case "e4m3":
    case "e5m2":
      return rounderTo(dtype);
  }
}

function decodeFloat(bits: number, width: 8 | 16, dtype: DType, format: FloatFormat): number {
  const sign = bits >>> (width - 1) === 1 ? -1 : 1;
  const field = (1 << (width - 1 - format.mantissa)) - 1;
  const exponent = (bits >>> format.mantissa) & field;
  const fraction = bits & ((1 << format.mantissa) - 1);
  if (exponent === 0) return sign * fraction * 2 ** (format.least - format.mantissa);
  // e4m3 has no infinity, and NaN only where all bits are set.
  if (exponent === field && dtype !== "e4m3") return fraction === 0 ? sign * Infinity : Number.NaN;
  if (exponent === field && fraction === 7) return Number.NaN;
  return sign * (1 + fraction * 2 ** -format.mantissa) * 2 ** (exponent - format.bias);
}

/** Bits of a value that the format holds exactly. */
function encodeFloat(
  x: number,
  width: 8 | 16,
  dtype: DType,
  format: FloatFormat,
  s: ReturnType<typeof scratch>,
): number {
  const field = (1 << (width - 1 - format.mantissa)) - 1;
  const sign = (x < 0 || Object.is(x, -0) ? 1 : 0) << (width - 1);
  if (x !== x) return dtype === "e4m3" ? 0x7f : (field << format.mantissa) | (1 << (format.mantissa - 1));
  const magnitude = Math.abs(x);
  if (magnitude === Infinity) return sign | (field << format.mantissa);
  if (magnitude < 2 ** format.least) return sign | (magnitude * 2 ** (format.mantissa - format.least));
  const exponent = exponentOf(magnitude, s);
  const fraction = (magnitude * 2 ** -exponent - 1) * 2 ** format.mantissa;
  return sign | ((exponent + format.bias) << format.mantissa) | fraction;
}

/** Elements of a dtype as numbers: i64 as bigints, a bool as 0 or 1. `bytes` is little-endian. */
export function decode(dtype: DType, bytes: Uint8Array): Float64Array | BigInt64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { bytes: size } = dtypes[dtype];
  const count = Math.floor(bytes.byteLength / size);
  if (dtype === "i64") return BigInt64Array.from({ length: count }, (_, i) => view.getBigInt64(i * 8, true));
  const out = new Float64Array(count);
  const read = reader(dtype, view);
  for (let i = 0; i < count; i++) out[i] = read(i);
  return out;
}

function reader(dtype: DType, view: DataView): (i: number) => number {
  switch (dtype) {
    case "f32":
      return (i) => view.getFloat32(i * 4, true);
    case "i32":
      return (i) => view.getInt32(i * 4, true);
    case "u32":
      return (i) => view.getUint32(i * 4, true);
    case "i8":
      return (i) => view.getInt8(i);
    case "u8":
      return (i) => view.getUint8(i);
    case "bool":
      return (i) => (view.getUint8(i) === 0 ? 0 : 1);
    case "i64":
      return (i) => Number(view.getBigInt64(i * 8, true));
    case "f16":
    case "bf16":
    case "e4m3":
    case "e5m2": {
      const format = formats[dtype];
      if (format === undefined) throw new InternalError(`${dtype} has no format`);
      if (dtypes[dtype].bytes === 2)
        return (i) => decodeFloat(view.getUint16(i * 2, true), 16, dtype, format);
      return (i) => decodeFloat(view.getUint8(i), 8, dtype, format);
    }
  }
}

/** Elements as stored. An f32 is rounded here, where it leaves the oracle; other values fit already. */
export function encode(dtype: DType, values: Float64Array | BigInt64Array): Uint8Array {
  const { bytes: size } = dtypes[dtype];
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  if (values instanceof BigInt64Array) {
    values.forEach((value, i) => view.setBigInt64(i * 8, value, true));
    return bytes;
  }
  const write = writer(dtype, view);
  values.forEach((value, i) => write(i, value));
  return bytes;
}

function writer(dtype: DType, view: DataView): (i: number, x: number) => void {
  switch (dtype) {
    case "f32":
      return (i, x) => view.setFloat32(i * 4, x, true);
    case "i32":
      return (i, x) => view.setInt32(i * 4, x, true);
    case "u32":
      return (i, x) => view.setUint32(i * 4, x, true);
    case "i8":
      return (i, x) => view.setInt8(i, x);
    case "u8":
    case "bool":
      return (i, x) => view.setUint8(i, x);
    case "i64":
      return (i, x) => view.setBigInt64(i * 8, BigInt(x), true);
    case "f16":
    case "bf16":
    case "e4m3":
    case "e5m2": {
      const format = formats[dtype];
      if (format === undefined) throw new InternalError(`${dtype} has no format`);
      const s = scratch();
      if (dtypes[dtype].bytes === 2)
        return (i, x) => view.setUint16(i * 2, encodeFloat(x, 16, dtype, format, s), true);
      return (i, x) => view.setUint8(i, encodeFloat(x, 8, dtype, format, s));
    }
  }
}
