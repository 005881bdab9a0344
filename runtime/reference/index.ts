/**
 * The reference: runs a tensor graph with the interpreter (f64, rounded where types are written), no kernels
 * involved. It is what every other device is compared with, and the bound that it gives says how far a correct one
 * may be from it.
 */
import type { Arena } from "../../compiler/tensor/arena.ts";
import { interpret, InterpretError } from "../../compiler/tensor/interpret.ts";
import type { Graph } from "../../compiler/tensor/ir.ts";
import { DeviceError } from "../device.ts";
import type { HostTensor } from "../tensor/tensor.ts";

export interface ReferenceOptions {
  /** "error": an index outside its axis, where it is used, ends the run; "clamp": it is moved inside. */
  readonly bounds: "clamp" | "error";
  /** Also give, for each element of each output, how far a correct target may be from it. */
  readonly errors: boolean;
}

export interface ReferenceResult {
  /** By result name, and new state by the input's name. */
  readonly outputs: ReadonlyMap<string, HostTensor>;
  /** By the same names: |target - reference| at most, for each element in row-major order. Empty unless asked for. */
  readonly bounds: ReadonlyMap<string, Float64Array>;
}

/** Runs a graph on tensors by input name. Throws `DeviceError` for a missing or misshapen input, a failed size check or, in bounds mode, an index outside. */
export function runReference(
  arena: Arena,
  graph: Graph,
  inputs: ReadonlyMap<string, HostTensor>,
  dims: ReadonlyMap<string, number>,
  options: ReferenceOptions = { bounds: "clamp", errors: false },
): ReferenceResult {
  try {
    const { results, updates, bounds } = interpret(arena, graph, inputs, dims, options);
    return { outputs: new Map([...results, ...updates]), bounds };
  } catch (error) {
    if (!(error instanceof InterpretError)) throw error;
    const { place } = error;
    throw new DeviceError(
      place === undefined ? error.message : `${place.file}:${place.start}: ${error.message}`,
    );
  }
}

/** For each output, the bound of `runReference` alone. */
export function errorBound(
  arena: Arena,
  graph: Graph,
  inputs: ReadonlyMap<string, HostTensor>,
  dims: ReadonlyMap<string, number>,
): ReadonlyMap<string, Float64Array> {
  return runReference(arena, graph, inputs, dims, { bounds: "clamp", errors: true }).bounds;
}

/**
 * How many elements of `actual` are farther from `expected` than `bound` allows. A NaN or an infinity of the
 * reference must be met exactly, unless its bound is infinite.
 */
export function violations(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: ArrayLike<number>,
): number {
  let count = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, e, b] = [actual[i] ?? Number.NaN, expected[i] ?? Number.NaN, bound[i] ?? 0];
    const within = b === Infinity || Object.is(a, e) || Math.abs(a - e) <= b;
    if (!within) count += 1;
  }
  return count;
}
