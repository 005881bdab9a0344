/**
 * Kernels that compute every scalar op on a list of operands, one operand tuple a thread, and what each should give
 * by `kernel/scalar.ts`. PTX runs them on the simulator; CUDA C++ is compiled from the same.
 */
import { KernelBuilder } from "../../../compiler/kernel/builder.ts";
import type {
  BinaryFn,
  Buffer,
  Caps,
  Kernel,
  UnaryFn,
  Value,
  ValueType,
} from "../../../compiler/kernel/ir.ts";
import {
  evaluateBinary,
  evaluateConvert,
  evaluateFma,
  evaluateUnary,
  type ScalarValue,
} from "../../../compiler/kernel/scalar.ts";
import { constant } from "../../../compiler/types/dim.ts";
import type { DType } from "../../../compiler/types/dtype.ts";

export const threads = 64;

/** A kernel with its inputs, and outputs as they should be; `undefined` where the kernel IR leaves a value open. */
export interface OpCase {
  readonly kernel: Kernel;
  readonly inputs: readonly { readonly dtype: DType; readonly values: readonly ScalarValue[] }[];
  readonly outputs: readonly {
    readonly label: string;
    readonly dtype: DType;
    readonly values: readonly (ScalarValue | undefined)[];
  }[];
}

type Arithmetic = "f32" | "i32" | "u32" | "i64" | "bool";

const nan = NaN;
const interesting: Readonly<Record<Arithmetic, readonly ScalarValue[]>> = {
  f32: [
    0,
    -0,
    1,
    -1,
    0.5,
    1.5,
    2.5,
    -2.5,
    3.1415927,
    1e-40,
    -1e-45,
    3.4e38,
    -3.4e38,
    Infinity,
    -Infinity,
    nan,
    7,
    123456.7,
    -0.1,
    2147483648,
    -2147483648,
    4294967296,
    255.5,
    -129,
    1e19,
    448,
    464,
    65520,
    0.001953125,
  ].map(Math.fround),
  i32: [
    0, 1, -1, 2, 7, -7, 31, 100, -128, 127, 128, 255, 256, 2147483647, -2147483648, 65536, -65535, 123456789,
  ],
  u32: [0, 1, 2, 7, 31, 127, 128, 255, 256, 2147483647, 2147483648, 4294967295, 65536, 123456789],
  i64: [
    0n,
    1n,
    -1n,
    7n,
    -7n,
    255n,
    -129n,
    2147483648n,
    -2147483649n,
    4294967296n,
    9223372036854775807n,
    -9223372036854775808n,
    1099511627776n,
    123456789012345n,
    16777217n,
    36028797018963969n,
  ],
  bool: [false, true],
};

/** Ops whose PTX and kernel IR results agree in every bit; the rest are approximations, tested elsewhere against a bound. */
const exactUnary: Readonly<Record<Arithmetic, readonly UnaryFn[]>> = {
  f32: ["neg", "abs", "sqrt", "rcp", "floor", "ceil", "trunc", "round-even"],
  i32: ["neg", "abs", "not"],
  u32: ["neg", "not", "popcount", "clz"],
  i64: ["neg", "abs", "not"],
  bool: ["not"],
};

const comparisons: readonly BinaryFn[] = ["eq", "ne", "lt", "le", "gt", "ge"];
const integers: readonly BinaryFn[] = [
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
  "shl",
  "shr",
  ...comparisons,
];
const binaryFns: Readonly<Record<Arithmetic, readonly BinaryFn[]>> = {
  f32: ["add", "sub", "mul", "div", "min", "max", ...comparisons],
  i32: integers,
  u32: integers,
  i64: integers,
  bool: ["and", "or", "xor", "eq", "ne"],
};

export function opCases(caps: Caps): readonly OpCase[] {
  const types: readonly Arithmetic[] = ["f32", "i32", "u32", "i64", "bool"];
  return [
    ...types.map(binaryCase),
    ...types.map(unaryCase),
    ...(["f32", "i32", "i64"] as const).map(fmaCase),
    ...convertCases(caps),
  ];
}

/** Operand lists, repeated or cut to a whole number of blocks. */
function pairs(type: Arithmetic): { readonly a: readonly ScalarValue[]; readonly b: readonly ScalarValue[] } {
  const values = interesting[type];
  const a = values.flatMap((x) => values.map(() => x));
  const b = values.flatMap(() => [...values]);
  return { a: filled(a), b: filled(b) };
}

function filled(values: readonly ScalarValue[]): readonly ScalarValue[] {
  const length = Math.ceil(values.length / threads) * threads;
  return Array.from({ length }, (_, i) => values[i % values.length] ?? 0);
}

class CaseBuilder {
  readonly b: KernelBuilder = new KernelBuilder(threads);
  readonly #length: number;
  readonly #index: Value;
  readonly #inputs: { readonly dtype: DType; readonly values: readonly ScalarValue[] }[] = [];
  readonly #outputs: {
    readonly label: string;
    readonly dtype: DType;
    readonly values: readonly (ScalarValue | undefined)[];
  }[] = [];
  readonly #stores: (() => void)[] = [];

  constructor(length: number) {
    this.#length = length;
    const { b } = this;
    this.#index = b.add(b.mul(b.block(0), b.i32(threads)), b.thread(), "i");
  }

  input(name: string, dtype: DType, values: readonly ScalarValue[]): Value {
    const { b } = this;
    this.#inputs.push({ dtype, values });
    return b.load(
      b.buffer({ name, dtype, length: constant(this.#length), access: "read", align: 16 }),
      this.#index,
    );
  }

  output(label: string, dtype: DType, value: Value, values: readonly (ScalarValue | undefined)[]): void {
    const { b } = this;
    this.#outputs.push({ label, dtype, values });
    this.#stores.push(() => {
      const buffer: Buffer = b.buffer({
        name: label,
        dtype,
        length: constant(this.#length),
        access: "write",
        align: 16,
      });
      b.store(buffer, this.#index, [value]);
    });
  }

  finish(name: string): OpCase {
    for (const store of this.#stores) store();
    const grid = [constant(this.#length / threads), constant(1), constant(1)] as const;
    return {
      kernel: this.b.finish({ name, grid, summary: `${name}: every result apart`, files: [] }),
      inputs: this.#inputs,
      outputs: this.#outputs,
    };
  }
}

function binaryCase(type: Arithmetic): OpCase {
  const { a, b } = pairs(type);
  const shifts = b.map((x) => (typeof x === "bigint" ? Number(x & 63n) : Number(x) & 31));
  const cx = new CaseBuilder(a.length);
  const left = cx.input("a", type, a);
  const right = cx.input("b", type, b);
  const isShifted = type === "i32" || type === "u32" || type === "i64";
  const shift = isShifted ? cx.input("shift", "u32", shifts) : right;
  for (const fn of binaryFns[type]) {
    const by = fn === "shl" || fn === "shr" ? { value: shift, list: shifts } : { value: right, list: b };
    const result = cx.b.binary(fn, left, by.value);
    cx.output(
      fn,
      result.type === "bool" ? "bool" : type,
      result,
      a.map((x, i) => expected(fn, type, x, by.list[i] ?? 0)),
    );
  }
  return cx.finish(`binary_${type}`);
}

function expected(fn: BinaryFn, type: Arithmetic, a: ScalarValue, b: ScalarValue): ScalarValue | undefined {
  if ((fn === "min" || fn === "max") && type === "f32") {
    if (Number.isNaN(a) || Number.isNaN(b) || (a === 0 && b === 0)) return undefined;
  }
  // The one quotient that does not fit.
  if (
    (fn === "div" || fn === "rem") &&
    (b === -1 || b === -1n) &&
    (a === -2147483648 || a === -9223372036854775808n)
  )
    return undefined;
  return evaluateBinary(fn, type, a, b);
}

/** The simulator rounds a reciprocal rightly; below 2^-126 it may be 0 or not. */
function unaryCase(type: Arithmetic): OpCase {
  const a = filled(interesting[type]);
  const cx = new CaseBuilder(a.length);
  const operand = cx.input("a", type, a);
  for (const fn of exactUnary[type]) {
    const result = cx.b.unary(fn, operand);
    cx.output(
      fn,
      result.type === "bool" ? "bool" : type,
      result,
      a.map((x) => (fn === "rcp" && Math.abs(Number(x)) > 2 ** 126 ? undefined : evaluateUnary(fn, type, x))),
    );
  }
  return cx.finish(`unary_${type}`);
}

function fmaCase(type: "f32" | "i32" | "i64"): OpCase {
  const { a, b } = pairs(type);
  const c = a.map((_, i) => b[(i * 7 + 3) % b.length] ?? 0);
  const cx = new CaseBuilder(a.length);
  const operands = [cx.input("a", type, a), cx.input("b", type, b), cx.input("c", type, c)] as const;
  cx.output(
    "fma_result",
    type,
    cx.b.fma(...operands),
    a.map((x, i) => evaluateFma(type, x, b[i] ?? 0, c[i] ?? 0)),
  );
  const condition = cx.b.binary("lt", operands[0], operands[1]);
  cx.output(
    "chosen",
    type,
    cx.b.select(condition, operands[2], operands[0]),
    a.map((x, i) => (x < (b[i] ?? 0) ? c[i] : x)),
  );
  return cx.finish(`fma_${type}`);
}

const codes: Readonly<Partial<Record<DType, readonly number[]>>> = {
  f16: Array.from({ length: 1024 }, (_, i) => i * 64 + (i % 64)),
  bf16: Array.from({ length: 1024 }, (_, i) => i * 64 + (i % 64)),
  e4m3: Array.from({ length: 256 }, (_, i) => i),
  e5m2: Array.from({ length: 256 }, (_, i) => i),
  i8: Array.from({ length: 256 }, (_, i) => i),
  u8: Array.from({ length: 256 }, (_, i) => i),
};

/** f32 whose neighbourhoods decide how a narrower float rounds. */
function floats(): readonly ScalarValue[] {
  const list: ScalarValue[] = [...interesting.f32];
  for (let e = -18; e < 18; e += 1)
    for (const m of [1, 1.0625, 1.1875, 1.125, 1.00048828125, 1.0009765625, 1.99999])
      list.push(Math.fround(m * 2 ** e), Math.fround(-m * 2 ** e));
  return list;
}

const byteFormats: ReadonlySet<string> = new Set(["e4m3", "e5m2", "i8", "u8"]);

function isByte(name: string): name is "e4m3" | "e5m2" | "i8" | "u8" {
  return byteFormats.has(name);
}

/** All conversions of a source in one kernel. */
function convertCases(caps: Caps): readonly OpCase[] {
  const sources = [...new Set(caps.converts.map((name) => name.split(">")[0] ?? ""))];
  return sources.map((source) => {
    const dtype = source as DType;
    const a = filled(source === "f32" ? floats() : (codes[dtype] ?? interesting[source as Arithmetic]));
    const cx = new CaseBuilder(a.length);
    const operand = cx.input("a", dtype, a);
    for (const name of caps.converts.filter((pair) => pair.startsWith(`${source}>`))) {
      const target = (name.split(">")[1] ?? "") as DType;
      const to: ValueType = isByte(target) ? "b8" : (target as ValueType);
      const storage = isByte(target) ? target : isByte(source) ? source : undefined;
      const from: ValueType = isByte(source) ? "b8" : (source as ValueType);
      cx.output(
        `to_${target}`,
        target,
        cx.b.convert(operand, to, storage),
        a.map((x) => evaluateConvert(from, to, storage, x)),
      );
    }
    return cx.finish(`convert_${source}`);
  });
}
