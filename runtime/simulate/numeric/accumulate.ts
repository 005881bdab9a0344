/**
 * How tensor cores add the products of one instruction to an accumulator.
 *
 * As Hopper does: products and accumulator are aligned to the largest of their exponents, where a product's exponent
 * is the sum of its factors', and a subnormal number has the exponent of the smallest normal one. Each keeps some bits
 * below the point of that exponent; what falls off is dropped, not rounded. The sum is then cut to the bits of the
 * result, or rounded to f16. How many products are aligned together, and how many bits are kept, differ by type; the
 * numbers are those that give an H200's results bit for bit (test/simulate/fixtures).
 *
 * For 8-bit floats of wgmma 13 bits stay, in the accumulator too ("FP22", 1 + 8 + 13 bits; DeepSeek-V3 report, 3.3.2),
 * which is why such products are promoted to f32 registers every 128 elements of k. "exact" is the sum of all
 * products and the accumulator rounded once, to show what that costs.
 */
import { exponentOf, f16, roundTo } from "./formats.ts";

export interface Alignment {
  /** Products that are aligned together. */
  readonly group: number;
  /** Bits below the point that survive the alignment. */
  readonly fractionBits: number;
  /** Of a sum that is not zero: what the accumulator holds of it. */
  readonly result: (sum: number) => number;
}

/** Exponent of the smallest normal f32. */
const leastF32 = -126;

/** The leading 1 and `bits` after it, fewer of a subnormal number. */
const cutTo =
  (bits: number): ((sum: number) => number) =>
  (sum) => {
    const unit = 2 ** (Math.max(exponentOf(sum), leastF32) - bits);
    return Math.trunc(sum / unit) * unit;
  };

/** f16 and bf16; tf32 has half as many products in as many bytes. */
export const aligned16: Alignment = { group: 16, fractionBits: 25, result: cutTo(23) };
export const aligned32: Alignment = { group: 8, fractionBits: 25, result: cutTo(23) };
/** e4m3 and e5m2 of wgmma. */
export const aligned8: Alignment = { group: 32, fractionBits: 13, result: cutTo(13) };

/** The same with sums of f16, rounded to nearest; a sum that rounds to zero has no sign. */
export const intoF16 = (alignment: Alignment): Alignment => ({
  ...alignment,
  result: (sum) => roundTo(sum, f16, "rn") + 0,
});

/** A row-major operand, each row k elements long, with what the alignment asks of it. */
export interface Factors {
  readonly values: Float64Array;
  /** floor(log2 |x|); far below any for a zero, above all for what is not finite. */
  readonly exponents: Int32Array;
}

const ofZero = -100_000;
const notFinite = 100_000;

export function makeFactors(count: number): Factors {
  return { values: new Float64Array(count), exponents: new Int32Array(count) };
}

/** To be called when the first `count` values have changed; `least` is the exponent of their type's smallest normal. */
export function findExponents({ values, exponents }: Factors, count: number, least: number): void {
  for (let i = 0; i < count; i++) {
    const x = values[i]!;
    exponents[i] = x === 0 ? ofZero : Number.isFinite(x) ? Math.max(least, exponentOf(x)) : notFinite;
  }
}

/** Adds the products of row `i` of `a` and row `j` of `b`, counted in elements, to `c`. */
export type Dot = (a: Factors, i: number, b: Factors, j: number, k: number, c: number) => number;

export function alignedDot({ group, fractionBits, result }: Alignment): Dot {
  return (a, i, b, j, k, c) => {
    let sum = c;
    for (let start = 0; start < k; start += group)
      sum = addGroup(a, i + start, b, j + start, Math.min(group, k - start), sum, fractionBits, result);
    return sum;
  };
}

function addGroup(
  a: Factors,
  i: number,
  b: Factors,
  j: number,
  k: number,
  c: number,
  fractionBits: number,
  result: (sum: number) => number,
): number {
  let most = c === 0 ? ofZero : Number.isFinite(c) ? Math.max(leastF32, exponentOf(c)) : notFinite;
  for (let p = 0; p < k; p++) {
    const exponent = a.exponents[i + p]! + b.exponents[j + p]!;
    if (exponent > most) most = exponent;
  }
  if (most > 10_000) return exactDot(a, i, b, j, k, c);
  if (most < -10_000) return 0;
  const scale = 2 ** (fractionBits - most);
  let sum = Math.trunc(c * scale);
  for (let p = 0; p < k; p++) sum += Math.trunc(a.values[i + p]! * b.values[j + p]! * scale);
  return sum === 0 ? sum : result(sum / scale);
}

/** Exact as far as f64 reaches; infinities and NaN go this way too. */
export const exactDot: Dot = (a, i, b, j, k, c) => {
  let sum = c;
  for (let p = 0; p < k; p++) sum += a.values[i + p]! * b.values[j + p]!;
  return sum;
};
