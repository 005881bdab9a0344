/** Runs a lowered function on arrays of numbers: what every test of lowering and of the library compares with plain loops. */
import { expect } from "vitest";
import { createReport } from "../../compiler/diagnostics/diagnostic.ts";
import { forms } from "../../compiler/passes/forms.ts";
import { lowerFunction, type LowerOptions } from "../../compiler/lower/lower.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { interpret, type InterpretOptions } from "../../compiler/tensor/interpret.ts";
import type { Graph } from "../../compiler/tensor/ir.ts";
import { decode, encode } from "../../compiler/tensor/number-formats.ts";
import { verify } from "../../compiler/tensor/verify.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import type { TypedFn, TypedProgram } from "../../compiler/check/typed.ts";

export interface Lowered {
  readonly arena: Arena;
  readonly graph: Graph;
}

export type Types = LowerOptions["dtypes"];

/** The graph, which must verify. `dims` are bound at compile time. */
export function lowered(
  program: TypedProgram,
  fn: TypedFn,
  dims: Readonly<Record<string, number>>,
  dtypes: Types = new Map(),
  align?: number,
): Lowered {
  const arena = new Arena();
  const report = createReport();
  const options = {
    dims: new Map(Object.entries(dims)),
    dtypes,
    arena,
    report,
    forms,
    ...(align === undefined ? {} : { align }),
  };
  const graph = lowerFunction(program, fn, options);
  expect(report.diagnostics.filter((d) => d.severity === "error").map((d) => d.message)).toEqual([]);
  if (graph === undefined) throw new Error(`'${fn.name}' was not lowered`);
  expect(verify(graph).map((v) => v.message)).toEqual([]);
  return { arena, graph };
}

export interface Ran {
  readonly [name: string]: readonly number[];
}

/** Results and new states as numbers. `sizes` binds the dims that stayed symbolic. Inputs are rounded to their dtypes as they go in. */
export function run(
  { arena, graph }: Lowered,
  inputs: Readonly<Record<string, readonly number[]>>,
  sizes: Readonly<Record<string, number>> = {},
  options: InterpretOptions = { bounds: "error", errors: false },
): Ran {
  const dims = new Map(Object.entries(sizes));
  const given = new Map(
    graph.inputs.map((input) => {
      const [type] = input.types;
      const numbers = inputs[input.name];
      if (type === undefined || numbers === undefined)
        throw new Error(`no numbers for the input '${input.name}'`);
      const shape = type.shape.map((dim) => evaluate(dim, dims));
      if (numbers.length !== shape.reduce((a, b) => a * b, 1))
        throw new Error(`'${input.name}' has shape [${shape.join(", ")}], not ${numbers.length} numbers`);
      const held = type.dtype in formats ? stored(type.dtype as keyof typeof formats, numbers) : numbers;
      const data = type.dtype === "i64" ? BigInt64Array.from(held, BigInt) : Float64Array.from(held);
      return [input.name, { dtype: type.dtype, shape, bytes: encode(type.dtype, data) }];
    }),
  );
  const done = interpret(arena, graph, given, dims, options);
  const out: Record<string, readonly number[]> = {};
  for (const [name, tensor] of [...done.results, ...done.updates])
    out[name] = Array.from(decode(tensor.dtype, tensor.bytes), Number);
  return out;
}

const formats = {
  f32: { bits: 23, least: -126, max: 3.4028234663852886e38 },
  bf16: { bits: 7, least: -126, max: 3.3895313892515355e38 },
  f16: { bits: 10, least: -14, max: 65504 },
  e4m3: { bits: 3, least: -6, max: 448 },
};

/** The numbers as the dtype holds them: nearest, ties to even; e4m3 saturates. Written apart from the compiler's. */
export function stored(dtype: keyof typeof formats, values: readonly number[]): number[] {
  return values.map((x) => nearest(dtype, x));
}

export function nearest(dtype: keyof typeof formats, x: number): number {
  const { bits, least, max } = formats[dtype];
  if (x === 0 || !Number.isFinite(x))
    return dtype === "e4m3" && Math.abs(x) === Infinity ? Math.sign(x) * max : x;
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), least) - bits);
  const units = x / step;
  const floor = Math.floor(units);
  const rest = units - floor;
  const even = floor % 2 === 0 ? floor : floor + 1;
  const rounded = (rest < 0.5 ? floor : rest > 0.5 ? floor + 1 : even) * step;
  if (Math.abs(rounded) <= max) return rounded;
  return Math.sign(x) * (dtype === "e4m3" ? max : Infinity);
}

/** A small generator of its own, so that a failure is the same on every machine. */
export function random(seed: number): () => number {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

export function numbers(count: number, next: () => number, scale = 1): number[] {
  return Array.from({ length: count }, () => next() * scale);
}

/** Equal but for the last bits: `ulps` units of the dtype's rounding at the size of the larger one, and `absolute`. */
export function expectClose(
  actual: readonly number[] | undefined,
  expected: readonly number[],
  relative: number,
  absolute = 0,
): void {
  expect(actual?.length).toBe(expected.length);
  actual?.forEach((a, i) => {
    const e = expected[i] ?? Number.NaN;
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) return;
    const room = relative * Math.max(Math.abs(a), Math.abs(e)) + absolute;
    if (!(Math.abs(a - e) <= room))
      throw new Error(
        `element ${i}: ${a}, expected ${e}, apart by ${Math.abs(a - e)} where ${room} is allowed`,
      );
  });
}

/** Half a unit in the last place of a dtype, relative: what one rounding may change. */
export const halfUlp = { bf16: 2 ** -8, f16: 2 ** -11, f32: 2 ** -24 };
