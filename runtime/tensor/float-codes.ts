/**
 * The codes of the narrow floats: f16, bf16, e4m3 and e5m2 to and from a JavaScript number.
 *
 * `encode` rounds to nearest, ties to even, in one step from the double that it is given (never through f32, which
 * would round twice). e4m3 and e5m2 saturate, infinities included; f16 and bf16 overflow to infinity. A NaN
 * becomes one quiet NaN. Formats: IEEE 754 binary16, bfloat16, and OCP 8-bit floating point (OFP8) revision 1.0.
 */

export interface FloatFormat {
  /** Explicit mantissa bits. */
  readonly mantissa: number;
  readonly bias: number;
  /** Sign bit. */
  readonly sign: number;
  /** What a NaN is written as. */
  readonly nan: number;
  /** What a magnitude above every finite one is written as: infinity, or the largest finite code. */
  readonly overflow: number;
  /** Code of the largest finite magnitude. */
  readonly largest: number;
  /** Whether the top exponent holds only infinity and NaNs (in e4m3 it holds numbers, and one NaN). */
  readonly infinities: boolean;
}

export const f16Format: FloatFormat = {
  mantissa: 10,
  bias: 15,
  sign: 0x8000,
  nan: 0x7e00,
  overflow: 0x7c00,
  largest: 0x7bff,
  infinities: true,
};
export const bf16Format: FloatFormat = {
  mantissa: 7,
  bias: 127,
  sign: 0x8000,
  nan: 0x7fc0,
  overflow: 0x7f80,
  largest: 0x7f7f,
  infinities: true,
};
export const e4m3Format: FloatFormat = {
  mantissa: 3,
  bias: 7,
  sign: 0x80,
  nan: 0x7f,
  overflow: 0x7e,
  largest: 0x7e,
  infinities: false,
};
export const e5m2Format: FloatFormat = {
  mantissa: 2,
  bias: 15,
  sign: 0x80,
  nan: 0x7f,
  overflow: 0x7b,
  largest: 0x7b,
  infinities: true,
};

/** Adding and taking away this number leaves the nearest integer, ties to even, of any double below 2^51. */
const roundingShift = 1.5 * 2 ** 52;

/** A function from numbers to codes. */
export function encoderOf(format: FloatFormat): (value: number) => number {
  const { mantissa, bias, sign, nan, overflow, largest } = format;
  const minExponent = 1 - bias;
  const double = new Float64Array(1);
  const words = new Uint32Array(double.buffer);
  return (value: number): number => {
    if (value !== value) return nan;
    double[0] = value;
    const high = words[1] ?? 0;
    const signBit = high >>> 31 === 0 ? 0 : sign;
    const exponent = Math.max(((high >>> 20) & 0x7ff) - 1023, minExponent);
    if (exponent > bias + 1) return signBit | overflow;
    // In units of the last place the value is below 2^(mantissa + 1), and scaling by a power of two is exact.
    const units = Math.abs(value) * 2 ** (mantissa - exponent);
    const rounded = units + roundingShift - roundingShift;
    // A normal number's hidden bit adds one to the exponent field, and so does a carry out of the mantissa.
    const code = ((exponent + bias - 1) << mantissa) + rounded;
    return signBit | (code > largest ? overflow : code);
  };
}

/** A function from codes to numbers, by a table of all codes. */
export function decodingTable(format: FloatFormat): Float32Array {
  const table = new Float32Array(2 * format.sign);
  for (let code = 0; code < table.length; code += 1) table[code] = decodeOne(format, code);
  return table;
}

function decodeOne(format: FloatFormat, code: number): number {
  const { mantissa, bias, sign, largest, infinities } = format;
  const magnitude = code & (sign - 1);
  const signed = (code & sign) === 0 ? 1 : -1;
  if (magnitude > largest) {
    const isInfinity = infinities && magnitude === largest + 1;
    return isInfinity ? signed * Infinity : NaN;
  }
  const field = magnitude >> mantissa;
  const fraction = magnitude & ((1 << mantissa) - 1);
  const units = field === 0 ? fraction : fraction + (1 << mantissa);
  return signed * units * 2 ** (Math.max(field, 1) - bias - mantissa);
}
