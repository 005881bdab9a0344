/** How CUDA C++ spells scalar ops. Signed arithmetic on values from memory wraps as the kernel IR's does; see `wrap.ts`. */
import { InternalError, invariant, unreachable } from "../../diagnostics/diagnostic.ts";
import { instructionOf } from "../../kernel/instructions.ts";
import type { BinaryFn, Op, UnaryFn, ValueType } from "../../kernel/ir.ts";
import type { ScalarValue } from "../../kernel/scalar.ts";
import { isAddress, isMap, isMatrix, isRegister } from "../../kernel/walk.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import type { Dialect } from "../c/dialect.ts";
import {
  call,
  conditional,
  indexed,
  infix,
  levels,
  prefix,
  primary,
  within,
  type Expr,
} from "../c/expression.ts";
import { floatText } from "../c/float-text.ts";
import { boolOperators, infixOperators } from "../c/infix.ts";
import { type Printer, touchesMemory } from "../c/printer.ts";
import { instructionFunction } from "./instruction-name.ts";
import { typeName } from "./types.ts";

export function cudaDialect(sizes: readonly string[]): Dialect {
  return { ...shared, size: (_cx, param) => primary(sizes[param] ?? "") };
}

const allLanes = primary("0xffffffffu");

const shared: Omit<Dialect, "size"> = {
  literal: (_cx, type, value) => literal(type, value),
  thread: () => primary("int(threadIdx.x)"),
  lane: () => primary("int(threadIdx.x % 32)"),
  subgroup: () => primary("int(threadIdx.x / 32)"),
  block: (_cx, axis) => primary(`int(blockIdx.${"xyz"[axis] ?? ""})`),
  unary: (cx, fn, type, a) => (fn === "round-tf32" ? call(cx.use("round_to_tf32"), a) : unary(fn, type, a)),
  binary: (_cx, fn, type, a, b) => binary(fn, type, a, b),
  fma: (_cx, type, a, b, c) => (type === "f32" ? call("fmaf", a, b, c) : infix("+", infix("*", a, b), c)),
  select: (_cx, condition, a, b) => conditional(condition, a, b),
  convert,
  bitcast: (_cx, from, to, a) => bitcast(from, to, a),
  pack: (cx, parts, type) => call(cx.use(type === "b8" ? "pack_bytes" : "pack_halves"), ...parts),
  unpack: (cx, a, part, type) => partOf(cx, a, part, type),
  declare: (type, name, e) => `const ${typeName(type)} ${name} = ${e.text};`,
  declareVariable: (type, name, e) => `${typeName(type)} ${name}${e === undefined ? "" : ` = ${e.text}`};`,
  assign: (_type, name, e) => `${name} = ${e.text};`,
  forLoop: (op, index, from, to) => {
    const step = op.step === 1 ? `++${index}` : `${index} += ${op.step}`;
    return `for (${typeName(op.index.type)} ${index} = ${from.text}; ${index} < ${within(to, levels.sum)}; ${step})`;
  },
  element: (cx, buffer, index) => indexed(cx.buffer(buffer), index),
  storeElement: (cx, buffer, index, value) => `${indexed(cx.buffer(buffer), index).text} = ${value.text};`,
  atomic: (cx, op, index, value) =>
    `${atomics[op.fn]}(&${indexed(cx.buffer(op.buffer), index).text}, ${value.text});`,
  offset: (index, offset) => (offset === 0 ? index : infix("+", index, primary(String(offset)))),
  conditionalExpression: true,
  barrier: "__syncthreads();",
  shuffleXor: (_cx, value, e, mask) =>
    shuffled(value.type, call("__shfl_xor_sync", allLanes, sent(value.type, e), primary(String(mask)))),
  shuffleIndex: (_cx, value, e, lane) =>
    shuffled(value.type, call("__shfl_sync", allLanes, sent(value.type, e), lane)),
  instruction,
};

const atomics: Readonly<Record<Op<"atomic">["fn"], string>> = {
  add: "atomicAdd",
  and: "atomicAnd",
  or: "atomicOr",
  min: "atomicMin",
  max: "atomicMax",
};

export function literal(type: ValueType, value: ScalarValue): Expr {
  if (typeof value === "boolean") return primary(String(value));
  if (typeof value === "bigint") return integer64(value);
  switch (type) {
    case "f32":
      return float(value);
    case "u32":
    case "h2":
    case "b8x4":
      return primary(`${value}u`);
    case "f16":
    case "bf16":
    case "b8":
      return primary(`${typeName(type)}(0x${value.toString(16)})`);
    default:
      return value === -(2 ** 31) ? primary("(-2147483647 - 1)") : signed(String(value));
  }
}

function integer64(value: bigint): Expr {
  return value === -(2n ** 63n) ? primary("(-9223372036854775807ll - 1)") : signed(`${value}ll`);
}

function float(value: number): Expr {
  if (Number.isNaN(value)) return primary("__uint_as_float(0x7fffffffu)");
  if (!Number.isFinite(value)) return primary(`__uint_as_float(0x${value > 0 ? "7f" : "ff"}800000u)`);
  return signed(`${floatText(value)}f`);
}

function signed(text: string): Expr {
  return text.startsWith("-") ? { text, level: levels.unary } : primary(text);
}

const functions: Readonly<Partial<Record<UnaryFn, string>>> = {
  abs: "fabsf",
  exp2: "exp2f",
  log2: "log2f",
  sin: "sinf",
  cos: "cosf",
  sqrt: "sqrtf",
  rsqrt: "rsqrtf",
  tanh: "tanhf",
  floor: "floorf",
  ceil: "ceilf",
  trunc: "truncf",
  "round-even": "rintf",
};

/** Unary functions as caps name them. */
export const unaryFunctions: readonly string[] = [
  ...Object.keys(functions),
  "neg",
  "not",
  "rcp",
  "round-tf32",
  "popcount",
  "clz",
];

function unary(fn: UnaryFn, type: ValueType, a: Expr): Expr {
  switch (fn) {
    case "neg":
      return type === "f32" ? prefix("-", a) : cast(type, infix("-", primary("0u"), widened(type, a)));
    case "not":
      return prefix(type === "bool" ? "!" : "~", a);
    case "rcp":
      return primary(`__fdividef(1.0f, ${a.text})`);
    case "popcount":
      return primary(`unsigned(__popc(${a.text}))`);
    case "clz":
      return primary(`unsigned(__clz(int(${a.text})))`);
    case "abs":
      if (type !== "f32") return type === "u32" ? a : call(type === "i64" ? "llabs" : "abs", a);
      return call("fabsf", a);
    default: {
      const name = functions[fn];
      invariant(name !== undefined && type === "f32", `cuda has no ${fn} of ${type}`);
      return call(name, a);
    }
  }
}

function binary(fn: BinaryFn, type: ValueType, a: Expr, b: Expr): Expr {
  if (fn === "min" || fn === "max") return call(type === "f32" ? `f${fn}f` : fn, a, b);
  return infix((type === "bool" ? boolOperators[fn] : undefined) ?? infixOperators[fn], a, b);
}

const wrapping: ReadonlySet<BinaryFn> = new Set<BinaryFn>(["add", "sub", "mul", "shl"]);

/** The same on signed integers that may overflow: C++ leaves that undefined, so it is done unsigned. */
export function wrappingBinary(fn: BinaryFn, type: ValueType, a: Expr, b: Expr): Expr {
  if (!wrapping.has(fn) || (type !== "i32" && type !== "i64")) return binary(fn, type, a, b);
  return cast(type, binary(fn, "u32", widened(type, a), fn === "shl" ? b : widened(type, b)));
}

export function wrappingFma(type: ValueType, a: Expr, b: Expr, c: Expr): Expr {
  return cast(type, infix("+", infix("*", widened(type, a), widened(type, b)), widened(type, c)));
}

function widened(type: ValueType, a: Expr): Expr {
  return type === "i64"
    ? primary(`(unsigned long long)(${a.text})`)
    : type === "i32"
      ? call("unsigned", a)
      : a;
}

function cast(type: ValueType, a: Expr): Expr {
  return type === "i64" ? primary(`(long long)(${a.text})`) : call(typeName(type), a);
}

function convert(cx: Printer, from: ValueType, to: ValueType, storage: DType | undefined, a: Expr): Expr {
  const side = (type: ValueType): string => (type === "b8" ? (storage ?? "b8") : type);
  const [source, target] = [side(from), side(to)];
  if (target === "bool")
    return infix(
      "!=",
      source === "i8" || source === "u8" ? call("int", a) : a,
      literal(from === "b8" ? "i32" : from, from === "i64" ? 0n : 0),
    );
  // An i8 is kept as its byte.
  const whole = source === "i8" ? call("i8", a) : a;
  switch (`${source}>${target}`) {
    case "f32>i32":
      return call("__float2int_rz", a);
    case "f32>u32":
      return call("__float2uint_rz", a);
    case "f32>i64":
      return call(cx.use("float_to_i64"), a);
    case "i64>i32":
    case "i64>u32":
      return call(cx.use(`i64_to_${target}`), a);
    case "f32>i8":
    case "f32>u8":
      return cast("b8", call(cx.use(`to_${target}`), call("__float2int_rz", a)));
    case "i8>u32":
      return call("unsigned", call("max", call("int", whole), primary("0")));
    case "f32>f16":
    case "f32>bf16":
    case "f32>e4m3":
    case "f32>e5m2":
      return call(cx.use(`float_to_${target}`), a);
    case "f16>f32":
    case "bf16>f32":
    case "e4m3>f32":
    case "e5m2>f32":
      return call(cx.use(`${source}_to_float`), a);
    default:
      break;
  }
  if (target === "i8" || target === "u8")
    return source === "bool" ? call("u8", a) : cast("b8", call(cx.use(`to_${target}`), a));
  invariant(isNumber(source) && isNumber(target), `cuda has no conversion ${source}>${target}`);
  return cast(to, whole);
}

function isNumber(name: string): boolean {
  return ["bool", "i8", "u8", "i32", "u32", "i64", "f32"].includes(name);
}

function bitcast(from: ValueType, to: ValueType, a: Expr): Expr {
  if (to === "f32") return call(from === "i32" ? "__int_as_float" : "__uint_as_float", a);
  if (from === "f32") return call(to === "i32" ? "__float_as_int" : "__float_as_uint", a);
  return cast(to, a);
}

/** Half or byte `part` of a word, low part first. */
export function partOf(cx: Printer, word: Expr, part: number, type: ValueType): Expr {
  if (type === "b8") return call(cx.use("byte_of"), word, primary(String(part)));
  return call(cx.use(part === 0 ? "low_half" : "high_half"), word);
}

/** Shuffles take 32 and 64 bits. */
function sent(type: ValueType, e: Expr): Expr {
  return isNarrow(type) ? call("unsigned", e) : e;
}

function shuffled(type: ValueType, e: Expr): Expr {
  return isNarrow(type) ? call(typeName(type), e) : e;
}

function isNarrow(type: ValueType): boolean {
  switch (type) {
    case "bool":
    case "f16":
    case "bf16":
    case "b8":
      return true;
    case "i32":
    case "u32":
    case "i64":
    case "f32":
    case "h2":
    case "b8x4":
    case "matrix-left":
    case "matrix-right":
    case "matrix-result":
      return false;
    default:
      return unreachable(type);
  }
}

/** A call of the device function that holds the instruction; defined results are variables of their own. */
function instruction(cx: Printer, op: Op<"instruction">): void {
  const record = instructionOf(op.name);
  const operands = op.operands.map((operand) => {
    if (isMap(operand)) return `&${cx.map(operand.map)}`;
    if (isMatrix(operand)) throw new InternalError(`CUDA C++ has no ${op.name}`);
    if (!isAddress(operand)) return cx.expr(operand).text;
    return `&${indexed(cx.buffer(operand.buffer), cx.expr(operand.index)).text}`;
  });
  cx.flush({ ...touchesMemory, registers: new Set(op.dst.filter(isRegister)) });
  const dst = op.dst.map((target) => {
    if (isRegister(target)) return cx.register(target);
    const name = cx.name(target);
    cx.out.line(`${typeName(target.type)} ${name};`);
    return name;
  });
  if (record.results.length !== dst.length)
    throw new InternalError(`${op.name} defines ${record.results.length} values, not ${dst.length}`);
  cx.out.line(`${cx.use(instructionFunction(op.name))}(${[...dst, ...operands].join(", ")});`);
}

/** Bytes of an element, for wide accesses. */
export function bytesOf(dtype: DType): number {
  return dtypes[dtype].bytes;
}
