/** What the builder makes of an op computes the same as the op: on constants, on identities, and by ranges. */
import { expect, test } from "vitest";
import type { BinaryFn, Kernel, Op, UnaryFn, Value, ValueType } from "../../compiler/kernel/ir.ts";
import { Rewriter } from "../../compiler/kernel/rewrite.ts";
import type { ScalarValue } from "../../compiler/kernel/scalar.ts";
import { constant } from "../../compiler/types/dim.ts";
import { runInterpreted } from "./execute.ts";

const values: Readonly<Record<"i32" | "u32" | "i64" | "f32" | "bool", readonly ScalarValue[]>> = {
  i32: [0, 1, -1, 2, 3, 8, -8, 31, 100, 2147483647, -2147483648],
  u32: [0, 1, 2, 3, 8, 31, 255, 2147483648, 4294967295],
  i64: [0n, 1n, -1n, 8n, 1000000007n, 2n ** 62n, -(2n ** 63n)],
  f32: [0, -0, 1, -1, 0.5, 3, Infinity, -Infinity, NaN],
  bool: [false, true],
};
type Type = keyof typeof values;

const integerFns: readonly BinaryFn[] = [
  "add",
  "sub",
  "mul",
  "div",
  "rem",
  "min",
  "max",
  "and",
  "or",
  "xor",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
];
const binaryFns: Readonly<Record<Type, readonly BinaryFn[]>> = {
  i32: integerFns,
  u32: integerFns,
  i64: integerFns,
  f32: ["add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge"],
  bool: ["and", "or", "xor", "eq", "ne"],
};
const unaryFns: Readonly<Record<Type, readonly UnaryFn[]>> = {
  i32: ["neg", "not", "abs"],
  u32: ["not", "popcount", "clz"],
  i64: ["neg", "not", "abs"],
  f32: ["neg", "abs", "floor", "ceil", "trunc", "round-even", "sqrt"],
  bool: ["not"],
};

/** Ops with nothing folded: values are made here and not by a builder. */
class Raw {
  readonly body: Op[] = [];
  readonly results: Value[] = [];
  #count = 0;

  value(type: ValueType): Value {
    const value: Value = { id: this.#count, type, hint: "" };
    this.#count += 1;
    return value;
  }

  constant(type: ValueType, value: ScalarValue): Value {
    const dst = this.value(type);
    this.body.push({ kind: "const", dst, value });
    return dst;
  }

  binary(fn: BinaryFn, a: Value, b: Value): Value {
    const isComparison = ["eq", "ne", "lt", "le", "gt", "ge"].includes(fn);
    const dst = this.value(isComparison ? "bool" : a.type);
    this.body.push({ kind: "binary", dst, fn, a, b });
    this.results.push(dst);
    return dst;
  }

  unary(fn: UnaryFn, a: Value): Value {
    const dst = this.value(fn === "popcount" || fn === "clz" ? "u32" : a.type);
    this.body.push({ kind: "unary", dst, fn, a });
    this.results.push(dst);
    return dst;
  }
}

/** Every function on every pair of values, each operand once a constant and once unknown (read from memory). */
function kernelOf(type: Type): { readonly kernel: Kernel; readonly inputs: Uint8Array } {
  const raw = new Raw();
  const all = values[type];
  const stored = type === "bool" ? "bool" : type;
  const input = {
    id: 0,
    name: "x",
    space: "global",
    dtype: stored,
    length: constant(all.length),
    access: "read",
    align: 8,
  } as const;
  const known = all.map((value) => raw.constant(type, value));
  const unknown = all.map((_, k) => {
    const dst = raw.value(type);
    raw.body.push({
      kind: "load",
      dst: [dst],
      buffer: input,
      index: raw.constant("i32", k),
      guard: undefined,
      otherwise: undefined,
    });
    return dst;
  });
  for (const fn of unaryFns[type]) for (const a of [...known, ...unknown]) raw.unary(fn, raw.unary(fn, a));
  for (const fn of binaryFns[type]) {
    all.forEach((divisor, k) => {
      // Division by zero has no value.
      if ((fn === "div" || fn === "rem") && Number(divisor) === 0 && type !== "f32") return;
      const c = known[k];
      const d = unknown[k];
      if (c === undefined || d === undefined) return;
      for (const a of [...known, ...unknown]) {
        const first = raw.binary(fn, a, c);
        raw.binary(fn, a, d);
        if (first.type === a.type) raw.binary(fn, first, c);
      }
    });
    if (fn !== "div" && fn !== "rem") for (const a of unknown) raw.binary(fn, a, a);
  }
  const byType = new Map<ValueType, Value[]>();
  for (const result of raw.results) byType.set(result.type, [...(byType.get(result.type) ?? []), result]);
  const outputs = [...byType].map(([dtype, results], k) => {
    if (dtype !== "i32" && dtype !== "u32" && dtype !== "i64" && dtype !== "f32" && dtype !== "bool")
      throw new Error(dtype);
    const buffer = {
      id: k + 1,
      name: `y_${dtype}`,
      space: "global",
      dtype,
      length: constant(results.length),
      access: "write",
      align: 8,
    } as const;
    results.forEach((value, at) =>
      raw.body.push({
        kind: "store",
        buffer,
        index: raw.constant("i32", at),
        values: [value],
        guard: undefined,
      }),
    );
    return buffer;
  });
  const kernel: Kernel = {
    name: "fold",
    buffers: [input, ...outputs],
    sizes: [],
    maps: [],
    grid: [constant(1), constant(1), constant(1)],
    threads: 1,
    body: raw.body,
    summary: "",
    files: [],
  };
  return { kernel, inputs: bytesOf(type, all) };
}

function bytesOf(type: Type, all: readonly ScalarValue[]): Uint8Array {
  switch (type) {
    case "i32":
      return new Uint8Array(Int32Array.from(all.map(Number)).buffer);
    case "u32":
      return new Uint8Array(Uint32Array.from(all.map(Number)).buffer);
    case "i64":
      return new Uint8Array(BigInt64Array.from(all.map((value) => BigInt(value))).buffer);
    case "f32":
      return new Uint8Array(Float32Array.from(all.map(Number)).buffer);
    case "bool":
      return Uint8Array.from(all.map(Number));
  }
}

for (const type of ["i32", "u32", "i64", "f32", "bool"] as const) {
  test(`folding keeps every ${type} operation`, () => {
    const { kernel, inputs } = kernelOf(type);
    const folded = new Rewriter(kernel).run({});
    expect(folded.body.length).toBeLessThan(kernel.body.length);
    const run = (chosen: Kernel): readonly (readonly number[])[] => {
      const buffers = chosen.buffers.map((buffer, k) =>
        k === 0 ? inputs : new Uint8Array(8 * (buffer.length.kind === "const" ? buffer.length.value : 0)),
      );
      const results = runInterpreted({ kernel: chosen, buffers, sizes: [], grid: [1, 1, 1] });
      // A NaN's payload is nobody's promise; the sign of a zero is.
      return results
        .slice(1)
        .map((bytes, k) =>
          chosen.buffers[k + 1]?.dtype === "f32" ? [...new Float32Array(bytes.slice().buffer)] : [...bytes],
        );
    };
    expect(run(folded)).toEqual(run(kernel));
  });
}
