/**
 * Floating-point formats: their bits to numbers and back, with each rounding that PTX names (9.7.9.21, 5.2.3).
 *
 * Every value of f16, bf16, tf32, e4m3, e5m2 and f32 is exact as a JavaScript number, so arithmetic is done in
 * f64 and rounded once. Where f64 itself would round, `exact.ts` rounds to odd first, which leaves the second
 * rounding right (53 bits are at least two more than twice the 24 of f32).
 */

/** Nearest even, nearest away from zero, towards zero, down, up. */
export type Rounding = "rn" | "rna" | "rz" | "rm" | "rp";

export interface Format {
  readonly name: string;
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /** "fn" formats (e4m3) have no infinity, and one NaN of all ones. */
  readonly infinity: boolean;
  readonly nan: number;
  readonly maxFinite: number;
}

function format(
  name: string,
  exponentBits: number,
  mantissaBits: number,
  nan: number,
  infinity = true,
): Format {
  const bias = 2 ** (exponentBits - 1) - 1;
  const fraction = infinity ? 2 - 2 ** -mantissaBits : 2 - 2 ** (1 - mantissaBits);
  const top = infinity ? bias : bias + 1;
  return { name, exponentBits, mantissaBits, infinity, nan, maxFinite: fraction * 2 ** top };
}

// The NaN that conversions and arithmetic produce is the canonical one of each type (9.7.3, 9.7.4).
export const f16: Format = format("f16", 5, 10, 0x7fff);
export const bf16: Format = format("bf16", 8, 7, 0x7fff);
export const tf32: Format = format("tf32", 8, 10, 0x3ffff);
// Where the manual leaves the bits of a NaN open: what Hopper gives for the quiet NaN, by source and rounding.
export const f16OfF64: Format = { ...f16, nan: 0x7e00 };
export const bf16OfF64: Format = { ...bf16, nan: 0x7fc0 };
export const tf32Nearest: Format = { ...tf32, nan: 0x3fe00 };
export const tf32Clamped: Format = { ...tf32, nan: 0x3fdff };
export const e4m3: Format = format("e4m3", 4, 3, 0x7f, false);
export const e5m2: Format = format("e5m2", 5, 2, 0x7f);
export const f32: Format = format("f32", 8, 23, 0x7fffffff);

const scratch = new ArrayBuffer(8);
const scratchD = new Float64Array(scratch);
const scratchF = new Float32Array(scratch);
const scratchU = new Uint32Array(scratch);

/** floor(log2 |x|) of a finite x that is not zero. */
export function exponentOf(x: number): number {
  scratchD[0] = x;
  const field = (scratchU[1]! >>> 20) & 0x7ff;
  if (field !== 0) return field - 1023;
  scratchD[0] = x * 2 ** 60;
  return ((scratchU[1]! >>> 20) & 0x7ff) - 1083;
}

/** Rounds to an integer; |q| is below 2^53. */
function roundInteger(q: number, rounding: Rounding): number {
  switch (rounding) {
    case "rz":
      return Math.trunc(q);
    case "rm":
      return Math.floor(q);
    case "rp":
      return Math.ceil(q);
    case "rna":
      return q < 0 ? -Math.floor(0.5 - q) : Math.floor(q + 0.5);
    case "rn": {
      const down = Math.floor(q);
      const rest = q - down;
      if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
      return down % 2 === 0 ? down : down + 1;
    }
  }
}

/** The nearest value of the format under the rounding, infinity where it overflows. */
export function roundTo(x: number, to: Format, rounding: Rounding): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const smallest = 2 - 2 ** (to.exponentBits - 1);
  const unit = 2 ** (Math.max(exponentOf(x), smallest) - to.mantissaBits);
  const rounded = roundInteger(x / unit, rounding) * unit;
  if (rounded === 0) return x < 0 ? -0 : 0;
  if (Math.abs(rounded) <= to.maxFinite) return rounded;
  const inward = rounding === "rz" || (rounding === "rm" && x > 0) || (rounding === "rp" && x < 0);
  return Math.sign(x) * (inward ? to.maxFinite : Infinity);
}

/** The bits of a number under a format; `saturate` clamps to the largest finite value (`.satfinite`). */
export function encode(x: number, to: Format, rounding: Rounding, saturate: boolean): number {
  if (x !== x) return to.nan;
  const width = to.exponentBits + to.mantissaBits;
  let value = roundTo(x, to, rounding);
  const sign = value < 0 || Object.is(value, -0) ? 1 << width : 0;
  let magnitude = Math.abs(value);
  if (magnitude > to.maxFinite) {
    if (!saturate)
      return to.infinity ? sign | (((1 << to.exponentBits) - 1) << to.mantissaBits) : sign | to.nan;
    magnitude = to.maxFinite;
  }
  value = magnitude;
  const bias = 2 ** (to.exponentBits - 1) - 1;
  if (value < 2 ** (1 - bias)) return sign | (value / 2 ** (1 - bias - to.mantissaBits));
  const exponent = exponentOf(value);
  return sign | ((exponent + bias) << to.mantissaBits) | ((value / 2 ** exponent - 1) * 2 ** to.mantissaBits);
}

/** The number that the bits stand for. */
export function decode(bits: number, from: Format): number {
  const width = from.exponentBits + from.mantissaBits;
  const sign = (bits >>> width) & 1 ? -1 : 1;
  const exponent = (bits >>> from.mantissaBits) & ((1 << from.exponentBits) - 1);
  const mantissa = bits & ((1 << from.mantissaBits) - 1);
  const bias = 2 ** (from.exponentBits - 1) - 1;
  const top = (1 << from.exponentBits) - 1;
  if (from.infinity && exponent === top) return mantissa === 0 ? sign * Infinity : NaN;
  if (!from.infinity && exponent === top && mantissa === (1 << from.mantissaBits) - 1) return NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - from.mantissaBits);
  return sign * (1 + mantissa / 2 ** from.mantissaBits) * 2 ** (exponent - bias);
}

function table(from: Format, size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, bits) => decode(bits, from));
}

const f16Values = table(f16, 65536);
const e4m3Values = table(e4m3, 256);
const e5m2Values = table(e5m2, 256);

export function f16ToNumber(bits: number): number {
  return f16Values[bits]!;
}
export function bf16ToNumber(bits: number): number {
  scratchU[0] = bits << 16;
  return scratchF[0]!;
}
export function e4m3ToNumber(bits: number): number {
  return e4m3Values[bits]!;
}
export function e5m2ToNumber(bits: number): number {
  return e5m2Values[bits]!;
}
export function tf32ToNumber(bits: number): number {
  // The tensor core reads the top 19 bits of the register and ignores the rest.
  scratchU[0] = bits & 0xffffe000;
  return scratchF[0]!;
}
export function f32ToNumber(bits: number): number {
  scratchU[0] = bits;
  return scratchF[0]!;
}
export function numberToF32Bits(x: number): number {
  if (x !== x) return 0x7fffffff;
  scratchF[0] = x;
  return scratchU[0]!;
}
export function numberToF16(x: number): number {
  return encode(x, f16, "rn", false);
}

/** Nearest-even bf16. The number must be exact in f32 or already rounded to odd. */
export function numberToBf16(x: number): number {
  if (Math.fround(x) !== x) return encode(x, bf16, "rn", false);
  scratchF[0] = x;
  const bits = scratchU[0]!;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function convertBits(
  x: number,
  to: Format,
  rounding: Rounding,
  saturate: boolean,
  relu: boolean,
): number {
  return encode(relu && (x < 0 || Object.is(x, -0)) ? 0 : x, to, rounding, saturate);
}
