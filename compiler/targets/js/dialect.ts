/**
 * How JavaScript spells scalar ops: f32 as a number kept rounded by `Math.fround`, i32 and u32 as numbers kept in
 * range by `| 0` and `>>> 0`, i64 as a BigInt, bool as a boolean, 16- and 8-bit values as their patterns.
 *
 * `Expr.exact` is a sum or product of integers, or a float, before it is wrapped or rounded: another wrap around
 * it makes the inner one needless while the number stays below 2^53, and a Float32Array rounds by itself.
 */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import type { BinaryFn, Buffer, Kernel, Op, UnaryFn, ValueType } from "../../kernel/ir.ts";
import type { ScalarValue } from "../../kernel/scalar.ts";
import type { DType } from "../../types/dtype.ts";
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
import { infixOperators } from "../c/infix.ts";
import type { Printer } from "../c/printer.ts";

/** `sizes` are the names of the size parameters. */
export function jsDialect(sizes: readonly string[]): Dialect {
  return { ...shared, size: (_cx, param) => primary(sizes[param] ?? "") };
}

const shared: Omit<Dialect, "size"> = {
  literal: (_cx, type, value) => literal(type, value),
  thread: () => primary("0"),
  lane: () => primary("0"),
  subgroup: () => primary("0"),
  block: (cx, axis) =>
    primary(isOneBlock(cx.kernel, axis) ? "0" : (["block_x", "block_y", "block_z"] as const)[axis]),
  unary: (cx, fn, type, a) => unary(cx, fn, type, a),
  binary: (cx, fn, type, a, b) =>
    type === "f32" && (fn === "min" || fn === "max")
      ? call(cx.use(fn === "min" ? "smaller" : "larger"), a, b)
      : binary(fn, type, a, b),
  fma: (_cx, type, a, b, c) => fma(type, a, b, c),
  select: (_cx, condition, a, b) => conditional(condition, a, b),
  convert,
  bitcast,
  pack: (_cx, parts) => pack(parts),
  unpack: (_cx, a, part, type) => unpack(a, part, type),
  declare: (_type, name, e) => `const ${name} = ${e.text};`,
  declareVariable: (_type, name, e) => `let ${name}${e === undefined ? "" : ` = ${e.text}`};`,
  assign: (_type, name, e) => `${name} = ${e.text};`,
  forLoop: (op, index, from, to) =>
    `for (let ${index} = ${from.text}; ${index} < ${within(to, levels.sum)}; ${index} += ${op.index.type === "i64" ? `${op.step}n` : op.step})`,
  element: (cx, buffer, index) => element(buffer, indexed(cx.buffer(buffer), arrayIndex(index))),
  storeElement: (cx, buffer, index, value) =>
    `${cx.buffer(buffer)}[${arrayIndex(index).text}] = ${stored(buffer, value)};`,
  atomic,
  offset: (index, offset) => (offset === 0 ? index : infix("+", index, primary(String(offset)))),
  conditionalExpression: true,
  // One thread: there is nobody to wait for, and every lane is this one.
  barrier: "",
  shuffleXor: (_cx, _value, e) => e,
  shuffleIndex: (_cx, _value, e) => e,
  instruction: (_cx, op) => {
    throw new InternalError(`js has no instruction ${op.name}`);
  },
};

/** Whether the grid has one block along the axis, whatever the sizes are. */
export function isOneBlock(kernel: Kernel, axis: 0 | 1 | 2): boolean {
  const extent = kernel.grid[axis];
  return extent.kind === "const" && extent.value === 1;
}

function literal(type: ValueType, value: ScalarValue): Expr {
  if (typeof value === "boolean") return primary(String(value));
  const text = type === "i64" ? `${value}n` : Object.is(value, -0) ? "-0" : String(value);
  return text.startsWith("-") ? { text, level: levels.unary } : primary(text);
}

/** `Math.fround(e)`, for a user who needs it. */
function rounded(e: Expr): Expr {
  return { ...call("Math.fround", e), exact: e };
}

function signed(e: Expr, exact?: Expr): Expr {
  return { text: `${within(e, levels.unary)} | 0`, level: levels.closed, exact };
}

function unsigned(e: Expr, exact?: Expr): Expr {
  return { text: `${within(e, levels.unary)} >>> 0`, level: levels.closed, exact };
}

function wrap(type: ValueType, e: Expr, exact?: Expr): Expr {
  return type === "i32" ? signed(e, exact) : unsigned(e, exact);
}

/** The unwrapped number; a sum has fewer terms than a line has room for, so it stays below 2^53. */
function exactOf(e: Expr): Expr {
  return e.exact ?? e;
}

function arrayIndex(index: Expr): Expr {
  // A valid index is below 2^31, so its unwrapped sum is the same number.
  return exactOf(index);
}

function binary(fn: BinaryFn, type: ValueType, a: Expr, b: Expr): Expr {
  if (fn === "min" || fn === "max") return minimum(fn, type, a, b);
  switch (fn) {
    case "eq":
      return infix("===", a, b);
    case "ne":
      return infix("!==", a, b);
    case "lt":
    case "le":
    case "gt":
    case "ge":
      return infix(infixOperators[fn], a, b);
    default:
      break;
  }
  if (type === "bool") return infix(fn === "and" ? "&&" : fn === "or" ? "||" : "!==", a, b);
  if (type === "f32") return rounded(infix(infixOperators[fn], a, b));
  if (type === "i64") return binary64(fn, a, b);
  return binary32(fn, type, a, b);
}

function minimum(fn: "min" | "max", type: ValueType, a: Expr, b: Expr): Expr {
  if (type !== "i64") return call(`Math.${fn}`, a, b);
  return conditional(infix(fn === "min" ? "<" : ">", a, b), a, b);
}

function binary32(fn: Exclude<BinaryFn, "min" | "max">, type: ValueType, a: Expr, b: Expr): Expr {
  switch (fn) {
    case "add":
    case "sub": {
      const sum = infix(infixOperators[fn], exactOf(a), exactOf(b));
      return wrap(type, sum, sum);
    }
    case "mul":
      return type === "i32"
        ? call("Math.imul", exactOf(a), exactOf(b))
        : unsigned(call("Math.imul", exactOf(a), exactOf(b)));
    case "div":
      return wrap(type, infix("/", a, b));
    case "rem":
      return wrap(type, infix("%", a, b));
    case "shr":
      return type === "u32" ? infix(">>>", a, b) : infix(">>", a, b);
    default: {
      const bits = infix(infixOperators[fn], a, b);
      return type === "u32" ? unsigned(bits) : bits;
    }
  }
}

function binary64(fn: Exclude<BinaryFn, "min" | "max">, a: Expr, b: Expr): Expr {
  const right = fn === "shl" || fn === "shr" ? call("BigInt", b) : b;
  const e = infix(infixOperators[fn], a, right);
  const staysInRange = fn === "rem" || fn === "and" || fn === "or" || fn === "xor" || fn === "shr";
  return staysInRange ? e : call("BigInt.asIntN", primary("64"), e);
}

/** The product is exact in 53 bits, and the sum is rounded to 53 bits before it is to 24. */
function fma(type: ValueType, a: Expr, b: Expr, c: Expr): Expr {
  if (type === "f32") return rounded(infix("+", infix("*", a, b), c));
  return binary("add", type, binary("mul", type, a, b), c);
}

const mathFunctions: Readonly<Record<string, string>> = {
  log2: "Math.log2",
  sin: "Math.sin",
  cos: "Math.cos",
  sqrt: "Math.sqrt",
  tanh: "Math.tanh",
};

function unary(cx: Printer, fn: UnaryFn, type: ValueType, a: Expr): Expr {
  const math = mathFunctions[fn];
  if (math !== undefined) return rounded(call(math, a));
  switch (fn) {
    case "neg":
      return negative(type, a);
    case "abs":
      return type === "i64"
        ? call("BigInt.asIntN", primary("64"), conditional(infix("<", a, primary("0n")), prefix("-", a), a))
        : type === "i32"
          ? signed(call("Math.abs", a))
          : call("Math.abs", a);
    case "not":
      return type === "bool" ? prefix("!", a) : type === "u32" ? unsigned(prefix("~", a)) : prefix("~", a);
    case "exp2":
      return rounded(call("Math.exp", infix("*", a, primary("Math.LN2"))));
    case "rsqrt":
      return rounded(infix("/", primary("1"), call("Math.sqrt", a)));
    case "rcp":
      return rounded(infix("/", primary("1"), a));
    case "floor":
    case "ceil":
    case "trunc":
      return call(`Math.${fn}`, a);
    case "round-even":
      return call(cx.use("roundEven"), a);
    case "popcount":
      return call(cx.use("popcount"), a);
    case "clz":
      return call("Math.clz32", a);
    default:
      throw new InternalError(`js has no ${fn}`);
  }
}

function negative(type: ValueType, a: Expr): Expr {
  const e = prefix("-", a);
  return type === "f32" ? e : type === "i64" ? call("BigInt.asIntN", primary("64"), e) : wrap(type, e, e);
}

function convert(cx: Printer, from: ValueType, to: ValueType, storage: DType | undefined, a: Expr): Expr {
  switch (`${from}>${to}`) {
    case "bool>i32":
    case "bool>u32":
    case "bool>f32":
      return conditional(a, primary("1"), primary("0"));
    case "bool>i64":
      return conditional(a, primary("1n"), primary("0n"));
    case "i32>bool":
    case "u32>bool":
    case "f32>bool":
      return infix("!==", a, primary("0"));
    case "i64>bool":
      return infix("!==", a, primary("0n"));
    case "i32>f32":
    case "u32>f32":
      return rounded(a);
    case "i64>f32":
      return call(cx.use("floatOf64"), a);
    case "f32>i32":
      return call(cx.use("toI32"), a);
    case "f32>u32":
      return call(cx.use("toU32"), a);
    case "f32>i64":
      return call(cx.use("toI64"), a);
    case "i32>u32":
      return unsigned(a, a.exact);
    case "u32>i32":
      return signed(a, a.exact);
    case "i32>i64":
    case "u32>i64":
      return call("BigInt", a);
    case "i64>i32":
      return call(cx.use("narrow64"), a, primary("-(2n ** 31n)"), primary("2n ** 31n - 1n"));
    case "i64>u32":
      return call(cx.use("narrow64"), a, primary("0n"), primary("2n ** 32n - 1n"));
    default:
      throw new InternalError(
        `js has no convert from ${from} to ${to} (${storage ?? "no storage"}): legalize writes it as bits`,
      );
  }
}

function bitcast(cx: Printer, from: ValueType, to: ValueType, a: Expr): Expr {
  const bits = from === "f32" ? call(cx.use("floatBits"), a) : a;
  switch (to) {
    case "f32":
      return call(cx.use("bitsFloat"), bits);
    case "i32":
      return signed(bits);
    case "u32":
      return from === "i32" ? unsigned(bits) : bits;
    case "f16":
    case "bf16":
      return infix("&", bits, primary("0xffff"));
    case "b8":
      return infix("&", bits, primary("0xff"));
    case "h2":
    case "b8x4":
      return unsigned(bits);
    default:
      throw new InternalError(`js has no bitcast from ${from} to ${to}`);
  }
}

function pack(parts: readonly Expr[]): Expr {
  const bits = 32 / parts.length;
  const shifted = parts.map((part, k) => (k === 0 ? part : infix("<<", part, primary(String(k * bits)))));
  return unsigned(shifted.reduce((all, part) => infix("|", all, part)));
}

function unpack(a: Expr, part: number, type: ValueType): Expr {
  const bits = type === "b8" ? 8 : 16;
  const moved = part === 0 ? a : infix(">>>", a, primary(String(part * bits)));
  return infix("&", moved, primary(bits === 8 ? "0xff" : "0xffff"));
}

function element(buffer: Buffer, e: Expr): Expr {
  return buffer.dtype === "bool" ? infix("!==", e, primary("0")) : e;
}

function stored(buffer: Buffer, value: Expr): string {
  switch (buffer.dtype) {
    // These arrays round and wrap what they are given.
    case "f32":
    case "i32":
    case "u32":
      return exactOf(value).text;
    case "bool":
      return conditional(value, primary("1"), primary("0")).text;
    default:
      return value.text;
  }
}

function atomic(cx: Printer, op: Op<"atomic">, index: Expr, value: Expr): string {
  const place = indexed(cx.buffer(op.buffer), arrayIndex(index));
  invariant(op.buffer.dtype === "u32" || op.buffer.dtype === "i32", "an atomic is on u32 or i32");
  return `${place.text} = ${exactOf(binary(op.fn, op.buffer.dtype, place, value)).text};`;
}
