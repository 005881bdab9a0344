/**
 * How tensor cores add the products of one instruction to an accumulator.
 *
 * As Hopper does: products and accumulator are aligned to the largest of their exponents, where a product's exponent
 * is the sum of its factors'. Each keeps some bits below the point of that exponent; what falls off is dropped, not
 * rounded. The sum is then cut to the bits of the result. How many products are aligned together, and how many bits
 * are kept, differ by type; the numbers are those that give an H200's results bit for bit (test/simulate/fixtures).
 *
 * For 8-bit floats of wgmma 13 bits stay, in the accumulator too ("FP22", 1 + 8 + 13 bits; DeepSeek-V3 report, 3.3.2),
 * which is why such products are promoted to f32 registers every 128 elements of k. "exact" is the sum of all
 * products and the accumulator rounded once, to show what that costs.
 */
import { exponentOf } from "./formats.ts";

export interface Alignment {
  /** Products that are aligned together. */
  readonly group: number;
  /** Bits below the point that survive the alignment. */
  readonly fractionBits: number;
  /** Bits below the point of the sum; all of them where the result is rounded by its own format. */
  readonly resultBits: number;
}

/** f16 and bf16; tf32 has half as many products in as many bytes. */
export const aligned16: Alignment = { group: 16, fractionBits: 25, resultBits: 23 };
export const aligned32: Alignment = { group: 8, fractionBits: 25, resultBits: 23 };
/** e4m3 and e5m2 of wgmma. */
export const aligned8: Alignment = { group: 32, fractionBits: 13, resultBits: 13 };

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

/** To be called when the first `count` values have changed. */
export function findExponents({ values, exponents }: Factors, count: number): void {
  for (let i = 0; i < count; i++) {
    const x = values[i]!;
    exponents[i] = x === 0 ? ofZero : Number.isFinite(x) ? exponentOf(x) : notFinite;
  }
}

/** Adds the products of row `i` of `a` and row `j` of `b`, counted in elements, to `c`. */
export type Dot = (a: Factors, i: number, b: Factors, j: number, k: number, c: number) => number;

export function alignedDot({ group, fractionBits, resultBits }: Alignment): Dot {
  return (a, i, b, j, k, c) => {
    let sum = c;
    for (let start = 0; start < k; start += group)
      sum = addGroup(a, i + start, b, j + start, Math.min(group, k - start), sum, fractionBits, resultBits);
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
  resultBits: number,
): number {
  let most = c === 0 ? ofZero : Number.isFinite(c) ? exponentOf(c) : notFinite;
  for (let p = 0; p < k; p++) {
    const exponent = a.exponents[i + p]! + b.exponents[j + p]!;
    if (exponent > most) most = exponent;
  }
  if (most > 10_000) return exactDot(a, i, b, j, k, c);
  if (most < -10_000) return 0;
  const scale = 2 ** (fractionBits - most);
  let sum = Math.trunc(c * scale);
  for (let p = 0; p < k; p++) sum += Math.trunc(a.values[i + p]! * b.values[j + p]! * scale);
  const x = sum / scale;
  if (x === 0 || resultBits === Infinity) return x;
  const unit = 2 ** (exponentOf(x) - resultBits);
  return Math.trunc(x / unit) * unit;
}

/** Exact as far as f64 reaches; infinities and NaN go this way too. */
export const exactDot: Dot = (a, i, b, j, k, c) => {
  let sum = c;
  for (let p = 0; p < k; p++) sum += a.values[i + p]! * b.values[j + p]!;
  return sum;
};
