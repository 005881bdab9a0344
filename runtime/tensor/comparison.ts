/**
 * How far one tensor is from another that should be equal to it: places of NaN and infinity first, then numbers.
 * Accumulation is in doubles; i64 compares exactly.
 */
import { dtypes } from "../../compiler/types/dtype.ts";
import type { DType } from "../../compiler/types/dtype.ts";
import type { HostTensor } from "./tensor.ts";
import { TensorError, elementCount, typeText } from "./tensor.ts";
import { toBigInts, toNumbers } from "./values.ts";

export interface Comparison {
  readonly elements: number;
  /** Largest |x - y| over the places where both are finite. */
  readonly maxAbsolute: number;
  /** Largest |x - y| / |y| over those where y is not 0. */
  readonly maxRelative: number;
  /** 1 - 2 sum(x y) / sum(x x + y y) over the finite places: 0 when equal, for all-zero tensors too. */
  readonly calcDiff: number;
  /** Largest finite |y|: what an absolute error is measured against. */
  readonly scale: number;
  /** Places where one is NaN, or infinite of one sign, and the other is not. */
  readonly special: number;
  /** Elements that differ at all (two NaNs do not). */
  readonly different: number;
  /** Flat index of the worst place: a special one, else the largest absolute error; -1 when nothing differs. */
  readonly worst: number;
}

/** Compares `actual` with `expected`. Throws `TensorError` when their shapes differ; dtypes may differ. */
export function compareTensors(actual: HostTensor, expected: HostTensor): Comparison {
  if (
    actual.shape.length !== expected.shape.length ||
    actual.shape.some((extent, k) => extent !== expected.shape[k])
  ) {
    throw new TensorError(`${typeText(actual)} and ${typeText(expected)} have different shapes`);
  }
  const [x, y] = [toNumbers(actual), toNumbers(expected)];
  const count = elementCount(actual.shape);
  const exact =
    actual.dtype === "i64" && expected.dtype === "i64" ? differenceOfLongs(actual, expected) : undefined;
  let [maxAbsolute, maxRelative, scale, special, different, worst] = [0, 0, 0, 0, 0, -1];
  let [cross, squares] = [0, 0];
  let worstIsSpecial = false;
  for (let i = 0; i < count; i += 1) {
    const [a, b] = [x[i] ?? NaN, y[i] ?? NaN];
    if (!Number.isFinite(a) || !Number.isFinite(b)) {
      if (Object.is(a, b)) continue;
      special += 1;
      different += 1;
      if (!worstIsSpecial) worst = i;
      worstIsSpecial = true;
      continue;
    }
    scale = Math.max(scale, Math.abs(b));
    cross += a * b;
    squares += a * a + b * b;
    const error = exact === undefined ? Math.abs(a - b) : (exact[i] ?? NaN);
    if (error === 0) continue;
    different += 1;
    if (error > maxAbsolute) {
      maxAbsolute = error;
      if (!worstIsSpecial) worst = i;
    }
    if (b !== 0) maxRelative = Math.max(maxRelative, error / Math.abs(b));
  }
  const calcDiff = squares === 0 ? 0 : 1 - (2 * cross) / squares;
  return { elements: count, maxAbsolute, maxRelative, calcDiff, scale, special, different, worst };
}

function differenceOfLongs(actual: HostTensor, expected: HostTensor): Float64Array {
  const [x, y] = [toBigInts(actual), toBigInts(expected)];
  return Float64Array.from(x, (value, i) => Math.abs(Number(value - (y[i] ?? 0n))));
}

/**
 * Absolute error that rounding alone may cause in a result of `dtype` whose largest magnitude is `scale`, computed
 * through a chain of `length` additions and multiplications in f32: half a unit in the last place for each rounding of the
 * result (its own, and one where a device's value falls on the other side of a tie), and `length` units of f32
 * (Higham, Accuracy and Stability, 4.2: the bound grows with the length of the sum). Integers and bools must agree.
 */
export function roundingBound(dtype: DType, length: number, scale: number): number {
  const row = dtypes[dtype];
  if (row.kind !== "float") return 0;
  return scale * (2 ** -row.mantissa + Math.max(length, 1) * 2 ** -23);
}

export interface Violations {
  /** Elements farther from the expected one than their bound allows. */
  readonly count: number;
  /** Flat index of the first; -1 where there is none. */
  readonly first: number;
  /** Elements for which nothing is promised: their bound is infinite. */
  readonly unbounded: number;
  /** Largest |x - y| / bound over the promised elements with an error at all. */
  readonly ratio: number;
}

/** Holds each element to its own bound: |actual - expected| <= bound, and the same NaN or infinity. No bound counts as 0. */
export function findViolations(
  actual: HostTensor,
  expected: HostTensor,
  bounds: Float64Array | undefined,
): Violations {
  const [x, y] = [toNumbers(actual), toNumbers(expected)];
  const exact =
    actual.dtype === "i64" && expected.dtype === "i64" ? differenceOfLongs(actual, expected) : undefined;
  let [count, first, unbounded, ratio] = [0, -1, 0, 0];
  for (let i = 0; i < y.length; i += 1) {
    const [a, b, bound] = [x[i] ?? NaN, y[i] ?? NaN, bounds?.[i] ?? 0];
    if (bound === Infinity) {
      unbounded += 1;
      continue;
    }
    if (a === b || (a !== a && b !== b)) {
      if (exact === undefined || exact[i] === 0) continue;
    }
    const error = exact?.[i] ?? Math.abs(a - b);
    // A NaN error, of one NaN or of infinities apart, is no comparison that holds.
    ratio = Math.max(ratio, error === error ? error / bound : Infinity);
    if (error <= bound) continue;
    if (count === 0) first = i;
    count += 1;
  }
  return { count, first, unbounded, ratio };
}
