/**
 * What the kernel IR's scalar operations mean, on JavaScript values: f32 is a number that `Math.fround` leaves
 * alone, i32 and u32 are numbers in range, i64 a bigint in range, bool a boolean, f16, bf16, b8, h2 and b8x4
 * their bit patterns as unsigned numbers.
 *
 * The builder folds constants with it and the interpreter runs on it.
 */
import { InternalError, invariant } from "../diagnostics/diagnostic.ts";
import type { DType } from "../types/dtype.ts";
import type { BinaryFn, PlainType, UnaryFn, ValueType } from "./ir.ts";
import { decodeFloat, encodeFloat, storageFormat } from "./small-float.ts";

export type ScalarValue = number | bigint | boolean;

export const bitsOfType: Readonly<Record<PlainType, number>> = {
  bool: 1,
  i32: 32,
  u32: 32,
  i64: 64,
  f32: 32,
  f16: 16,
  bf16: 16,
  b8: 8,
  h2: 32,
  b8x4: 32,
};

/** The type of what one thread holds by itself. */
export function plainType(type: ValueType): PlainType {
  switch (type) {
    case "matrix-left":
    case "matrix-right":
    case "matrix-result":
      throw new InternalError(`a ${type} is no scalar`);
    default:
      return type;
  }
}

/** A constant of the type: integers wrap, floats round. */
export function normalizeScalar(type: ValueType, value: ScalarValue): ScalarValue {
  const plain = plainType(type);
  switch (plain) {
    case "bool":
      return Boolean(value);
    case "f32":
      return Math.fround(Number(value));
    case "i64":
      return BigInt.asIntN(64, typeof value === "bigint" ? value : BigInt(value));
    case "i32":
      return typeof value === "bigint" ? Number(BigInt.asIntN(32, value)) : Number(value) | 0;
    case "u32":
    case "h2":
    case "b8x4":
      return typeof value === "bigint" ? Number(BigInt.asUintN(32, value)) : Number(value) >>> 0;
    case "f16":
    case "bf16":
      return Number(value) & 0xffff;
    case "b8":
      return Number(value) & 0xff;
  }
}

/** Zero of a type, which is all zero bits. */
export function zeroOf(type: ValueType): ScalarValue {
  return normalizeScalar(type, 0);
}

/** Undefined where the result is not defined by the operands alone: integer division by zero. */
export function evaluateBinary(
  fn: BinaryFn,
  type: ValueType,
  a: ScalarValue,
  b: ScalarValue,
): ScalarValue | undefined {
  if (typeof a === "bigint") return evaluateBinary64(fn, a, b);
  if (typeof a === "boolean") return evaluateBool(fn, a, Boolean(b));
  const right = Number(b);
  if (type === "f32") return evaluateFloat(fn, a, right);
  return evaluateInt(fn, type, a, right);
}

function evaluateFloat(fn: BinaryFn, a: number, b: number): ScalarValue {
  switch (fn) {
    case "add":
      return Math.fround(a + b);
    case "sub":
      return Math.fround(a - b);
    case "mul":
      return Math.fround(a * b);
    // The quotient of two f32 rounded to f64 and then to f32 is the correctly rounded one: 53 >= 2 * 24 + 2.
    case "div":
      return Math.fround(a / b);
    case "rem":
      return Math.fround(a % b);
    case "min":
      return Number.isNaN(a) ? b : b < a ? b : a;
    case "max":
      return Number.isNaN(a) ? b : b > a ? b : a;
    default:
      return compare(fn, a, b);
  }
}

function evaluateInt(fn: BinaryFn, type: ValueType, a: number, b: number): ScalarValue | undefined {
  const wrap = type === "u32" ? (x: number): number => x >>> 0 : (x: number): number => x | 0;
  switch (fn) {
    case "add":
      return wrap(a + b);
    case "sub":
      return wrap(a - b);
    case "mul":
      return wrap(Math.imul(a, b));
    case "div":
      return b === 0 ? undefined : wrap(Math.trunc(a / b));
    case "rem":
      return b === 0 ? undefined : wrap(a % b);
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
    case "and":
      return wrap(a & b);
    case "or":
      return wrap(a | b);
    case "xor":
      return wrap(a ^ b);
    case "shl":
      return wrap(a << b);
    case "shr":
      return type === "u32" ? a >>> b : a >> b;
    default:
      return compare(fn, a, b);
  }
}

function evaluateBinary64(fn: BinaryFn, a: bigint, b: ScalarValue): ScalarValue | undefined {
  if (fn === "shl") return BigInt.asIntN(64, a << BigInt(b));
  if (fn === "shr") return a >> BigInt(b);
  invariant(typeof b === "bigint", "an i64 operation on another type");
  switch (fn) {
    case "add":
      return BigInt.asIntN(64, a + b);
    case "sub":
      return BigInt.asIntN(64, a - b);
    case "mul":
      return BigInt.asIntN(64, a * b);
    case "div":
      return b === 0n ? undefined : BigInt.asIntN(64, a / b);
    case "rem":
      return b === 0n ? undefined : a % b;
    case "min":
      return a < b ? a : b;
    case "max":
      return a > b ? a : b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    default:
      return compare(fn, a, b);
  }
}

function evaluateBool(fn: BinaryFn, a: boolean, b: boolean): boolean {
  switch (fn) {
    case "and":
      return a && b;
    case "or":
      return a || b;
    case "xor":
    case "ne":
      return a !== b;
    case "eq":
      return a === b;
    default:
      invariant(false, `${fn} on bool`);
  }
}

function compare<T extends number | bigint>(fn: BinaryFn, a: T, b: T): boolean {
  switch (fn) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "lt":
      return a < b;
    case "le":
      return a <= b;
    case "gt":
      return a > b;
    case "ge":
      return a >= b;
    default:
      invariant(false, `${fn} has no meaning on this type`);
  }
}

const floatFunctions: Readonly<Record<string, (x: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  exp2: (x) => 2 ** x,
  log2: Math.log2,
  sin: Math.sin,
  cos: Math.cos,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  rcp: (x) => 1 / x,
  tanh: Math.tanh,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  "round-even": roundEven,
  "round-tf32": roundTf32,
};

/** Half to even; keeps the sign of zero. */
export function roundEven(x: number): number {
  if (Math.abs(x) >= 2 ** 52 || Number.isNaN(x)) return x;
  const shifted = x < 0 || Object.is(x, -0) ? x - 2 ** 52 + 2 ** 52 : x + 2 ** 52 - 2 ** 52;
  return shifted === 0 && (x < 0 || Object.is(x, -0)) ? -0 : shifted;
}

const single = new DataView(new ArrayBuffer(4));

/** An f32 to 10 bits of mantissa, half to even: a carry out of the mantissa is one into the exponent. */
function roundTf32(x: number): number {
  if (!Number.isFinite(x)) return x;
  single.setFloat32(0, x);
  const bits = single.getUint32(0);
  single.setUint32(0, ((bits + 0xfff + ((bits >>> 13) & 1)) & 0xffffe000) >>> 0);
  return single.getFloat32(0);
}

/** All of them, as the JavaScript target has them too. */
export const unaryFns: readonly UnaryFn[] = [
  "neg",
  "not",
  "abs",
  "exp2",
  "log2",
  "sin",
  "cos",
  "sqrt",
  "rsqrt",
  "rcp",
  "tanh",
  "floor",
  "ceil",
  "trunc",
  "round-even",
  "round-tf32",
  "popcount",
  "clz",
];

export function evaluateUnary(fn: UnaryFn, type: ValueType, a: ScalarValue): ScalarValue {
  if (fn === "not")
    return typeof a === "boolean" ? !a : typeof a === "bigint" ? ~a : normalizeScalar(type, ~a);
  if (fn === "popcount") return popcount(Number(a));
  if (fn === "clz") return Math.clz32(Number(a));
  if (type === "f32") {
    const evaluate = floatFunctions[fn];
    invariant(evaluate !== undefined, `${fn} on f32`);
    return Math.fround(evaluate(Number(a)));
  }
  invariant((fn === "neg" || fn === "abs") && typeof a !== "boolean", `${fn} on ${type}`);
  return normalizeScalar(type, fn === "neg" || a < 0 ? -a : a);
}

function popcount(x: number): number {
  let count = 0;
  for (let rest = x >>> 0; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

/** a * b + c rounded once: the product of two f32 is exact in f64, and the sum is rounded to odd before the last rounding. */
export function evaluateFma(type: ValueType, a: ScalarValue, b: ScalarValue, c: ScalarValue): ScalarValue {
  if (typeof a === "bigint" && typeof b === "bigint" && typeof c === "bigint")
    return BigInt.asIntN(64, a * b + c);
  if (type !== "f32") return normalizeScalar(type, Math.imul(Number(a), Number(b)) + Number(c));
  const product = Number(a) * Number(b);
  const addend = Number(c);
  const sum = product + addend;
  if (!Number.isFinite(sum)) return Math.fround(sum);
  const part = sum - product;
  const error = product - (sum - part) + (addend - part);
  return Math.fround(error === 0 ? sum : towardsOdd(sum, error));
}

const word = new DataView(new ArrayBuffer(8));

/** `sum`, or its neighbour on the side of the error, whichever has an odd last bit. */
function towardsOdd(sum: number, error: number): number {
  word.setFloat64(0, sum);
  const bits = word.getBigInt64(0);
  if ((bits & 1n) === 1n) return sum;
  word.setBigInt64(0, bits + (error > 0 === sum > 0 ? 1n : -1n));
  return word.getFloat64(0);
}

const integerRange: Readonly<Record<string, readonly [bigint, bigint]>> = {
  i32: [-(2n ** 31n), 2n ** 31n - 1n],
  u32: [0n, 2n ** 32n - 1n],
  i64: [-(2n ** 63n), 2n ** 63n - 1n],
  i8: [-128n, 127n],
  u8: [0n, 255n],
};

/** The `convert` op. `storage` names the format of a b8 side. */
export function evaluateConvert(
  from: ValueType,
  to: ValueType,
  storage: DType | undefined,
  a: ScalarValue,
): ScalarValue {
  const value = widen(from, storage, a);
  if (to === "bool") return typeof value === "bigint" ? value !== 0n : value !== 0;
  if (to === "f32") return typeof value === "bigint" ? int64ToFloat(value) : Math.fround(value);
  const format = to === "b8" ? storage : to;
  if (format === "f16" || format === "bf16" || format === "e4m3" || format === "e5m2") {
    return encodeFloat(storageFormat(format), typeof value === "bigint" ? int64ToFloat(value) : value);
  }
  // i32 and u32 keep each other's bits; every other integer conversion saturates.
  if ((from === "i32" && to === "u32") || (from === "u32" && to === "i32")) return normalizeScalar(to, value);
  const range = format === undefined ? undefined : integerRange[format];
  invariant(range !== undefined, `convert ${from} to ${to} needs a storage format`);
  const clamped = saturate(value, range);
  return to === "i64" ? clamped : to === "b8" ? Number(clamped & 0xffn) : Number(clamped);
}

function widen(from: ValueType, storage: DType | undefined, a: ScalarValue): number | bigint {
  if (typeof a === "boolean") return a ? 1 : 0;
  if (from === "f16" || from === "bf16") return decodeFloat(storageFormat(from), Number(a));
  if (from !== "b8") return a;
  switch (storage) {
    case "i8":
      return (Number(a) << 24) >> 24;
    case "u8":
      return a;
    case "e4m3":
    case "e5m2":
      return decodeFloat(storageFormat(storage), Number(a));
    default:
      invariant(false, "convert of a b8 needs a storage format");
  }
}

function saturate(value: number | bigint, [low, high]: readonly [bigint, bigint]): bigint {
  if (typeof value === "number") {
    if (Number.isNaN(value)) return 0n;
    if (value <= Number(low)) return low;
    if (value >= Number(high)) return high;
    return BigInt(Math.trunc(value));
  }
  return value < low ? low : value > high ? high : value;
}

/** Rounded once; through f64 it would be rounded twice. */
function int64ToFloat(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  const excess = magnitude.toString(2).length - 40;
  if (excess <= 0) return Math.fround(Number(value));
  const shift = BigInt(excess);
  const kept = magnitude >> shift;
  const sticky = kept << shift === magnitude ? 0n : 1n;
  const rounded = Math.fround(Number(kept * 2n + sticky)) * 2 ** (excess - 1);
  return value < 0n ? -rounded : rounded;
}

/** The same bits in another type of the same width, or of the low part of a u32. */
export function evaluateBitcast(from: ValueType, to: ValueType, a: ScalarValue): ScalarValue {
  const bits = scalarBits(from, a);
  if (to === "f32") {
    word.setUint32(0, bits);
    return word.getFloat32(0);
  }
  return normalizeScalar(to, bits);
}

/** Bits of a value of at most 32 bits. */
export function scalarBits(type: ValueType, a: ScalarValue): number {
  if (typeof a === "boolean") return a ? 1 : 0;
  invariant(typeof a === "number", "the bits of an i64 do not fit in a word");
  if (type !== "f32") return a >>> 0;
  word.setFloat32(0, a);
  return word.getUint32(0);
}
