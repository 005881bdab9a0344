/**
 * How tensor cores add the products of one instruction to an accumulator.
 *
 * "exact": the sum of all products and the accumulator, rounded once to f32.
 *
 * "hopper", for 8-bit floats: products and accumulator are aligned to the largest exponent among them, and each
 * keeps 13 bits below its point; what falls off is dropped, not rounded. The sum has about 14 bits (DeepSeek-V3
 * report, 3.3.2: "FP22", 1 + 8 + 13 bits, 32 products at a time), which is why FP8 matrix products are promoted to
 * f32 registers every 128 elements of k.
 */
import { exponentOf } from "./formats.ts";

/** Bits below the point that survive the alignment. */
export const hopperFractionBits = 13;
/** Products that are aligned together. */
export const hopperGroup = 32;

const terms = new Float64Array(hopperGroup + 1);

/** sum over p of a[i + p] * b[j + p] plus c, in the order and with the loss that the hardware has. */
export function hopperDot(
  a: Float64Array,
  i: number,
  b: Float64Array,
  j: number,
  k: number,
  c: number,
): number {
  let sum = c;
  for (let start = 0; start < k; start += hopperGroup)
    sum = group(a, i + start, b, j + start, Math.min(hopperGroup, k - start), sum);
  return sum;
}

function group(a: Float64Array, i: number, b: Float64Array, j: number, k: number, c: number): number {
  let most = -1e9;
  for (let p = 0; p < k; p++) {
    const x = a[i + p]! * b[j + p]!;
    terms[p] = x;
    if (x !== 0) most = Math.max(most, exponentOf(x));
  }
  terms[k] = c;
  if (c !== 0 && Number.isFinite(c)) most = Math.max(most, exponentOf(c));
  let sum = 0;
  const unit = 2 ** (most - hopperFractionBits);
  for (let p = 0; p <= k; p++) {
    const x = terms[p]!;
    if (!Number.isFinite(x)) return plain(k);
    sum += Math.trunc(x / unit);
  }
  return most === -1e9 ? 0 : truncated(sum * unit);
}

/** Infinities and NaN go the plain way. */
function plain(k: number): number {
  let sum = 0;
  for (let p = 0; p <= k; p++) sum += terms[p]!;
  return sum;
}

/** The accumulator itself has 13 bits below its point. */
function truncated(x: number): number {
  if (x === 0) return 0;
  const unit = 2 ** (exponentOf(x) - hopperFractionBits);
  return Math.trunc(x / unit) * unit;
}

export function exactDot(
  a: Float64Array,
  i: number,
  b: Float64Array,
  j: number,
  k: number,
  c: number,
): number {
  let sum = c;
  for (let p = 0; p < k; p++) sum += a[i + p]! * b[j + p]!;
  return sum;
}

/** Bits below the point that 16-bit products keep when they are aligned, at the least: those of an f32. */
export const floatFractionBits = 23;

/**
 * How far the hardware's result may lie from the true sum, for `k` products added `step` at a time whose absolute
 * values sum to `magnitude` (the accumulator's included). Each group drops less than one unit a term, and one more
 * when the accumulator is cut; a unit is 2^-fractionBits of the largest term, which is at most the magnitude.
 */
export function accumulateBound(fractionBits: number, k: number, step: number, magnitude: number): number {
  return Math.ceil(k / step) * (step + 2) * magnitude * 2 ** -fractionBits;
}
