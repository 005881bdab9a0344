/**
 * Random tensors that are the same on every machine: only integer arithmetic and the operations that IEEE 754
 * rounds exactly (+ - * / sqrt) are used, never `Math.log` or `Math.cos`, which engines may round differently.
 *
 * The generator is xoshiro128** (Blackman and Vigna, 2018), seeded by splitmix32 from the seed and from FNV-1a of
 * the tensor's name, so a tensor's values do not depend on which others are drawn. Floats are normal with mean 0
 * and the given deviation (Marsaglia's polar method); integers are uniform over a range; a bool is true with
 * probability 1/2.
 */
import type { DType } from "../../compiler/types/dtype.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import type { HostTensor } from "./tensor.ts";
import { TensorError, elementCount } from "./tensor.ts";
import { fromNumbers } from "./values.ts";

export interface RandomFill {
  readonly seed: number;
  /** Of the tensor: each name has a stream of its own. */
  readonly name: string;
  /** Standard deviation of floats. */
  readonly deviation: number;
  /** Range of integers, `high` left out. */
  readonly low: number;
  readonly high: number;
}

/** A random tensor. Throws `TensorError` for an empty or non-integer range. */
export function randomTensor(dtype: DType, shape: readonly number[], fill: RandomFill): HostTensor {
  const next = wordStream(fill.seed, fill.name);
  const values = new Float64Array(elementCount(shape));
  const draw = drawOf(dtype, fill, next);
  for (let i = 0; i < values.length; i += 1) values[i] = draw();
  return fromNumbers(dtype, shape, values);
}

function drawOf(dtype: DType, fill: RandomFill, next: () => number): () => number {
  switch (dtypes[dtype].kind) {
    case "float": {
      const normal = normalStream(next);
      return () => fill.deviation * normal();
    }
    case "bool":
      return () => next() >>> 31;
    case "int": {
      const span = fill.high - fill.low;
      if (!Number.isSafeInteger(fill.low) || !Number.isSafeInteger(fill.high) || span < 1) {
        throw new TensorError(
          `${fill.low}..${fill.high} is not a range of integers to draw '${fill.name}' from`,
        );
      }
      // 53 random bits; the bias of the scaling is below 2^-21 for every span up to 2^32.
      return () => fill.low + Math.floor(unit(next) * span);
    }
  }
}

/** A stream of uniform 32-bit words. */
export function wordStream(seed: number, name: string): () => number {
  const mix = splitmix32((seed ^ Math.floor(seed / 2 ** 32) ^ fnv1a(name)) >>> 0);
  let [a, b, c, d] = [mix(), mix(), mix(), mix()];
  return (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  };
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

function splitmix32(seed: number): () => number {
  let state = seed;
  return (): number => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** In [0, 1), a multiple of 2^-53. */
function unit(next: () => number): number {
  return ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) * 2 ** -53;
}

function normalStream(next: () => number): () => number {
  let spare: number | undefined;
  return (): number => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    for (;;) {
      const x = 2 * unit(next) - 1;
      const y = 2 * unit(next) - 1;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const scale = Math.sqrt((-2 * naturalLog(square)) / square);
      spare = y * scale;
      return x * scale;
    }
  };
}

/** ln x for a positive normal x, by exactly rounded operations: 2 atanh((m - 1) / (m + 1)) + e ln 2, m in [0.7, 1.42]. */
function naturalLog(x: number): number {
  let mantissa = x;
  let exponent = 0;
  while (mantissa < Math.SQRT1_2) {
    mantissa *= 2;
    exponent -= 1;
  }
  while (mantissa > Math.SQRT2) {
    mantissa /= 2;
    exponent += 1;
  }
  const ratio = (mantissa - 1) / (mantissa + 1);
  const square = ratio * ratio;
  let sum = 0;
  // |ratio| < 0.172, so that the terms left out are below 2^-56 of the sum.
  for (let k = 21; k >= 1; k -= 2) sum = sum * square + 1 / k;
  return 2 * ratio * sum + exponent * 0.6931471805599453;
}
