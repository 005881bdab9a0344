/**
 * What a sum of products of 8-bit floats may lose: a matrix unit keeps 13 bits below the largest of the summands that
 * it adds at once, and drops the rest ("FP22"; DeepSeek-V3 report, section 3.3.2).
 *
 * It adds 32 products and what it had, so each time at most 33 summands and the sum lose 2^-13 of the largest, a
 * subnormal factor counting as the smallest normal one. A run of such steps ends with its sum added in f32.
 */
import { isFloat, dtypes, storedAs, type DType } from "../types/dtype.ts";
import type { Scalar, ScalarRead } from "./ir.ts";

/** Products in a run, where nothing else is asked for: DeepSeek-V3's interval (arXiv 2412.19437, section 3.3.2). */
export const usualRun = 128;

/** The two 8-bit floats whose product a lift is, but for scales; undefined where it is none. */
export function narrowFactors(
  lift: Scalar,
  stored: (read: ScalarRead) => DType | undefined,
): readonly [Scalar, Scalar] | undefined {
  const found = factorsOf(lift, stored, 1);
  return found === undefined ? undefined : [found[0].factor, found[1].factor];
}

export interface Factor {
  readonly factor: Scalar;
  readonly dtype: DType;
}

/** The two floats of so many bytes whose product a lift is, but for scales; undefined where it is none. */
export function factorsOf(
  lift: Scalar,
  stored: (read: ScalarRead) => DType | undefined,
  bytes: 1 | 2,
): readonly [Factor, Factor] | undefined {
  const found: Factor[] = [];
  const stack = [lift];
  for (let s = stack.pop(); s !== undefined; s = stack.pop()) {
    if (s.kind === "apply" && s.fn === "mul") {
      stack.push(...s.args);
      continue;
    }
    // Of what is not counted the product is 0.
    const counted = s.kind === "apply" && s.fn === "select" && isZero(s.args[2]) ? s.args[1] : undefined;
    if (counted?.kind === "apply" && (counted.fn === "mul" || counted.fn === "select")) {
      stack.push(counted);
      continue;
    }
    const dtype = dtypeOf(s, stored, bytes);
    if (dtype !== undefined) found.push({ factor: s, dtype });
  }
  const [a, b, other] = found;
  return a === undefined || b === undefined || other !== undefined ? undefined : [a, b];
}

function isZero(s: Scalar | undefined): boolean {
  return s?.kind === "const" && s.value === 0;
}

/** The float of so many bytes that all of a scalar's values are of. */
function dtypeOf(
  s: Scalar,
  stored: (read: ScalarRead) => DType | undefined,
  bytes: 1 | 2,
): DType | undefined {
  const [, a, b] = s.kind === "apply" && s.fn === "select" ? s.args : [];
  if (a !== undefined && b !== undefined) {
    if (b.kind === "const" && b.value === 0) return dtypeOf(a, stored, bytes);
    return a.kind === "const" && a.value === 0 ? dtypeOf(b, stored, bytes) : undefined;
  }
  const dtype = s.kind === "round" ? storedAs(s.to) : s.kind === "read" ? stored(s) : undefined;
  return dtype !== undefined && isFloat(dtype) && dtypes[dtype].bytes === bytes ? dtype : undefined;
}

const atOnce = 32;
const loss = (atOnce + 2) * 2 ** -13;
/** Whole products that add up to no more than this keep all their bits. */
const exactly = 2 ** 13;

/** The least normal magnitude of each. */
const leastNormal: Partial<Record<DType, number>> = { e4m3: 2 ** -6, e5m2: 2 ** -14 };

export interface LossOfRuns {
  readonly begin: () => void;
  /** `term` is the factors' product with its scales. */
  readonly take: (term: number, a: number, b: number) => void;
  readonly end: () => number;
}

export function lossOfRuns(
  every: number,
  [a, b]: readonly [Scalar, Scalar],
  stored: (read: ScalarRead) => DType | undefined,
): LossOfRuns {
  const least = [a, b].map((factor) => leastNormal[dtypeOf(factor, stored, 1) ?? "f32"] ?? 0);
  const aligned = (x: number, side: number): number => Math.max(1, (least[side] ?? 0) / Math.abs(x));
  let total = 0;
  let [count, largest, sum, furthest, whole, magnitude] = [0, 0, 0, 0, true, 0];
  const close = (): void => {
    const isExact = count <= 1 || (whole && magnitude <= exactly);
    const steps = Math.ceil(count / atOnce);
    if (!isExact) total += Math.max(largest, furthest) * Math.expm1(steps * Math.log1p(loss));
    [count, largest, sum, furthest, whole, magnitude] = [0, 0, 0, 0, true, 0];
  };
  return {
    begin: () => {
      total = 0;
      close();
      total = 0;
    },
    take: (term, x, y) => {
      count += 1;
      sum += term;
      furthest = Math.max(furthest, Math.abs(sum));
      if (term !== 0) largest = Math.max(largest, Math.abs(term) * aligned(x, 0) * aligned(y, 1));
      if (!Number.isInteger(x * y)) whole = false;
      magnitude += Math.abs(x * y);
      if (count === every) close();
    },
    end: () => {
      close();
      return total;
    },
  };
}
