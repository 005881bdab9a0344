/**
 * The numerics report of a program on given tensors: its bounds, and the error that was measured beside them.
 *
 * `relative` is always an absolute error over the largest |value| of the output, so that zeros among its elements have
 * no say; `largestRelative` is over each element's own value.
 */
import type { DType } from "../types/dtype.ts";
import { dtypes, isFloat } from "../types/dtype.ts";
import type { Analysis, AnalyzedOutput, AnalyzedSum, AnalyzedValue } from "./analyze.ts";
import type { Reproducibility } from "./reproducible.ts";

export interface BoundReport {
  /** The largest of all elements. */
  readonly absolute: number;
  readonly relative: number;
}

export interface MeasuredReport extends BoundReport {
  /** Largest |x - y| / |y|, over elements that are not 0. */
  readonly largestRelative: number;
  /** 1 - 2 sum(x y) / sum(x x + y y). */
  readonly difference: number;
  /** Largest share of an element's own bound that its error takes. */
  readonly ofWorst: number;
  readonly ofProbable: number;
  /** Elements beyond their bounds, or that are NaN or infinite where the reference is not; none, or a bound is wrong. */
  readonly beyondWorst: number;
  readonly beyondProbable: number;
}

/** Elements by error: those of `exponent` err by 2^exponent to 2^(exponent + 1), relative to the output's largest. */
export interface ErrorCount {
  readonly exponent: number;
  readonly elements: number;
}

export interface OutputReport {
  readonly name: string;
  readonly dtype: DType;
  readonly elements: number;
  /** The largest |value|. */
  readonly scale: number;
  /** Half a step of the output's dtype, relatively: what rounding the exact result costs. 0 for what is no float. */
  readonly unitRoundoff: number;
  readonly worst: BoundReport;
  readonly probable: BoundReport;
  readonly measured: MeasuredReport;
  readonly errors: readonly ErrorCount[];
  /** Elements without any error. */
  readonly exact: number;
  /** The largest |value| with its bound, and the largest finite value over it. */
  readonly magnitude: number;
  readonly headroom: number | undefined;
  readonly saturates: boolean;
}

export interface NumericsReport {
  readonly program: string;
  readonly device: string;
  readonly target: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly confidence: number;
  readonly outputs: readonly OutputReport[];
  readonly sums: readonly AnalyzedSum[];
  readonly between: readonly AnalyzedValue[];
  readonly reproducible: Reproducibility;
}

/** Elements of an output as numbers: the device's, and the reference's in f64 or rounded to the output's dtype. */
export interface MeasuredValues {
  readonly found: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
}

export function reportOf(
  about: Pick<NumericsReport, "program" | "device" | "target" | "dims" | "confidence" | "reproducible">,
  analysis: Analysis,
  values: (output: string) => MeasuredValues,
): NumericsReport {
  return {
    ...about,
    outputs: analysis.outputs.map((output) => outputReport(output, values(output.name))),
    sums: analysis.sums,
    between: analysis.between,
  };
}

function outputReport(output: AnalyzedOutput, { found, expected }: MeasuredValues): OutputReport {
  const { name, dtype, worst, probable, magnitude, headroom, saturates } = output;
  const elements = expected.length;
  let [scale, absolute, largestRelative, cross, squares] = [0, 0, 0, 0, 0];
  let [ofWorst, ofProbable, beyondWorst, beyondProbable, exact] = [0, 0, 0, 0, 0];
  const errors = new Float64Array(elements);
  for (let i = 0; i < elements; i++) {
    const [x, y] = [found[i] ?? NaN, expected[i] ?? NaN];
    const [most, likely] = [worst[i] ?? 0, probable[i] ?? 0];
    if (Number.isFinite(y)) scale = Math.max(scale, Math.abs(y));
    const same = Object.is(x, y) || x === y;
    const error = same ? 0 : Math.abs(x - y);
    errors[i] = error;
    if (same) exact += 1;
    else if (error <= most || most === Infinity) {
      absolute = Math.max(absolute, error);
      if (y !== 0) largestRelative = Math.max(largestRelative, error / Math.abs(y));
      ofWorst = Math.max(ofWorst, error / most);
    } else {
      beyondWorst += 1;
      absolute = Math.max(absolute, Number.isFinite(error) ? error : Infinity);
      ofWorst = Math.max(ofWorst, error / most);
    }
    if (!same && !(error <= likely)) beyondProbable += 1;
    if (!same) ofProbable = Math.max(ofProbable, error / likely);
    if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
    cross += x * y;
    squares += x * x + y * y;
  }
  const relative = (error: number): number => (error === 0 ? 0 : error / scale);
  const bound = (bounds: Float64Array): BoundReport => {
    const most = bounds.reduce((a, b) => Math.max(a, b), 0);
    return { absolute: most, relative: relative(most) };
  };
  return {
    name,
    dtype,
    elements,
    scale,
    unitRoundoff: isFloat(dtype) ? 2 ** -(dtypes[dtype].mantissa + 1) : 0,
    worst: bound(worst),
    probable: bound(probable),
    measured: {
      absolute,
      relative: relative(absolute),
      largestRelative,
      difference: squares === 0 ? 0 : 1 - (2 * cross) / squares,
      ofWorst,
      ofProbable,
      beyondWorst,
      beyondProbable,
    },
    errors: counted(errors, scale),
    exact,
    magnitude,
    headroom,
    saturates,
  };
}

function counted(errors: Float64Array, scale: number): readonly ErrorCount[] {
  const counts = new Map<number, number>();
  for (const error of errors) {
    if (error === 0 || !Number.isFinite(error) || scale === 0) continue;
    const exponent = Math.floor(Math.log2(error / scale));
    counts.set(exponent, (counts.get(exponent) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => a - b).map(([exponent, elements]) => ({ exponent, elements }));
}
