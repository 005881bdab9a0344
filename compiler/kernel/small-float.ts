/** The float formats below 32 bits: codes to values and values to codes, nearest even. */
import { unreachable } from "../diagnostics/diagnostic.ts";

export interface FloatFormat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /** What becomes of values beyond the largest finite one: `infinity` as IEEE has it, `saturate` to the largest. */
  readonly overflow: "infinity" | "saturate";
  /** Largest finite code. */
  readonly maxCode: number;
  /** The NaN that conversions give. */
  readonly nanCode: number;
  /** Infinity's code, or undefined where there is none. */
  readonly infinityCode: number | undefined;
}

export type SmallFloat = "f16" | "bf16" | "e4m3" | "e5m2";

const formats: Readonly<Record<SmallFloat, FloatFormat>> = {
  f16: {
    exponentBits: 5,
    mantissaBits: 10,
    overflow: "infinity",
    maxCode: 0x7bff,
    nanCode: 0x7fff,
    infinityCode: 0x7c00,
  },
  bf16: {
    exponentBits: 8,
    mantissaBits: 7,
    overflow: "infinity",
    maxCode: 0x7f7f,
    nanCode: 0x7fff,
    infinityCode: 0x7f80,
  },
  e4m3: {
    exponentBits: 4,
    mantissaBits: 3,
    overflow: "saturate",
    maxCode: 0x7e,
    nanCode: 0x7f,
    infinityCode: undefined,
  },
  e5m2: {
    exponentBits: 5,
    mantissaBits: 2,
    overflow: "saturate",
    maxCode: 0x7b,
    nanCode: 0x7f,
    infinityCode: 0x7c,
  },
};

export function storageFormat(name: SmallFloat): FloatFormat {
  return formats[name];
}

export function isSmallFloat(name: string): name is SmallFloat {
  return Object.hasOwn(formats, name);
}

export function decodeFloat(format: FloatFormat, code: number): number {
  const { exponentBits, mantissaBits, infinityCode, maxCode } = format;
  const signBit = 1 << (exponentBits + mantissaBits);
  const magnitude = code & (signBit - 1);
  const sign = (code & signBit) === 0 ? 1 : -1;
  if (magnitude === infinityCode) return sign * Infinity;
  if (magnitude > maxCode) return NaN;
  const bias = 2 ** (exponentBits - 1) - 1;
  const exponent = magnitude >> mantissaBits;
  const mantissa = magnitude & ((1 << mantissaBits) - 1);
  const scale = exponent === 0 ? 1 - bias : exponent - bias;
  const significand = exponent === 0 ? mantissa : mantissa + (1 << mantissaBits);
  return sign * significand * 2 ** (scale - mantissaBits);
}

/** Code of an f32's value; NaN loses its payload and sign. */
export function encodeFloat(format: FloatFormat, value: number): number {
  const { exponentBits, mantissaBits } = format;
  if (Number.isNaN(value)) return format.nanCode;
  const sign = value < 0 || Object.is(value, -0) ? 1 << (exponentBits + mantissaBits) : 0;
  return sign | encodeMagnitude(format, Math.abs(value));
}

function encodeMagnitude(format: FloatFormat, magnitude: number): number {
  const { exponentBits, mantissaBits, maxCode } = format;
  const smallest = 2 - 2 ** (exponentBits - 1);
  const exponent = magnitude === Infinity ? 2 ** exponentBits : Math.max(floorLog2(magnitude), smallest);
  if (exponent > 2 ** exponentBits) return overflowCode(format);
  // In units of the last place the value is exact in f64, and a carry runs on into the exponent by itself.
  const units = magnitude === Infinity ? Infinity : magnitude * 2 ** (mantissaBits - exponent);
  if (units === Infinity) return overflowCode(format);
  const whole = Math.floor(units);
  const rest = units - whole;
  const up = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? 1 : 0;
  const code = (exponent - smallest) * 2 ** mantissaBits + whole + up;
  return code > maxCode ? overflowCode(format) : code;
}

function overflowCode(format: FloatFormat): number {
  switch (format.overflow) {
    case "infinity":
      return format.infinityCode ?? format.maxCode;
    case "saturate":
      return format.maxCode;
    default:
      return unreachable(format.overflow);
  }
}

/** Exact for normal doubles; 0 and subnormal doubles give something below every format's range. */
function floorLog2(x: number): number {
  if (x < 2 ** -1000) return -1000;
  const guess = Math.floor(Math.log2(x));
  return 2 ** guess > x ? guess - 1 : 2 ** (guess + 1) <= x ? guess + 1 : guess;
}
