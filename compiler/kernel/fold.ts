/** What an op is worth before it is built: constants, and identities that are exact in the op's own arithmetic. */
import type { BinaryFn, Op, UnaryFn, Value, ValueType } from "./ir.ts";
import { decideComparison, type Range } from "./range.ts";
import { evaluateBinary, evaluateFma, evaluateUnary, type ScalarValue } from "./scalar.ts";

/** The part of a builder that folding needs. */
export interface FoldContext {
  constant(type: ValueType, value: ScalarValue): Value;
  constantOf(value: Value): ScalarValue | undefined;
  definitionOf(value: Value): Op | undefined;
  rangeOf(value: Value): Range | undefined;
  binary(fn: BinaryFn, a: Value, b: Value, hint?: string): Value;
  unary(fn: UnaryFn, a: Value, hint?: string): Value;
}

const comparisons: ReadonlySet<BinaryFn> = new Set<BinaryFn>(["eq", "ne", "lt", "le", "gt", "ge"]);
const commutative: ReadonlySet<BinaryFn> = new Set<BinaryFn>([
  "add",
  "mul",
  "min",
  "max",
  "and",
  "or",
  "xor",
  "eq",
  "ne",
]);

export function isComparison(fn: BinaryFn): boolean {
  return comparisons.has(fn);
}

export function simplifyUnary(cx: FoldContext, fn: UnaryFn, a: Value): Value | undefined {
  const known = cx.constantOf(a);
  if (known !== undefined) {
    return cx.constant(fn === "popcount" || fn === "clz" ? "u32" : a.type, evaluateUnary(fn, a.type, known));
  }
  const inner = cx.definitionOf(a);
  if ((fn === "neg" || fn === "not") && inner?.kind === "unary" && inner.fn === fn) return inner.a;
  return undefined;
}

export function simplifyBinary(cx: FoldContext, fn: BinaryFn, a: Value, b: Value): Value | undefined {
  const left = cx.constantOf(a);
  const right = cx.constantOf(b);
  if (left !== undefined && right !== undefined) {
    const value = evaluateBinary(fn, a.type, left, right);
    if (value !== undefined) return cx.constant(isComparison(fn) ? "bool" : a.type, value);
  }
  if (left !== undefined && right === undefined && commutative.has(fn)) return cx.binary(fn, b, a);
  const byRange = simplifyByRange(cx, fn, a, b);
  if (byRange !== undefined) return byRange;
  if (right !== undefined)
    return a.type === "f32" ? simplifyFloat(fn, a, right) : simplifyInteger(cx, fn, a, right);
  return a === b && a.type !== "f32" ? simplifySame(cx, fn, a) : undefined;
}

/** `a fn constant` on f32: what holds for every a, NaN, infinities and zeros of both signs included. */
function simplifyFloat(fn: BinaryFn, a: Value, right: ScalarValue): Value | undefined {
  if ((fn === "mul" || fn === "div") && right === 1) return a;
  if (fn === "add" && Object.is(right, -0)) return a;
  if (fn === "sub" && Object.is(right, 0)) return a;
  return undefined;
}

/** `a fn constant` on integers and bools. */
function simplifyInteger(cx: FoldContext, fn: BinaryFn, a: Value, right: ScalarValue): Value | undefined {
  if (a.type === "bool") return simplifyBool(cx, fn, a, right === true);
  const isZero = right === 0 || right === 0n;
  const isOne = right === 1 || right === 1n;
  const isOnes = right === -1n || (typeof right === "number" && (right | 0) === -1);
  switch (fn) {
    case "add":
    case "mul":
      return isZero && fn === "add"
        ? a
        : isOne && fn === "mul"
          ? a
          : isZero
            ? cx.constant(a.type, 0)
            : regroup(cx, fn, a, right);
    case "sub":
      return isZero ? a : undefined;
    case "or":
    case "xor":
    case "shl":
    case "shr":
      return isZero ? a : undefined;
    case "and":
      return isZero ? cx.constant(a.type, 0) : isOnes ? a : undefined;
    // Division by zero has no value, so any will do; and some targets refuse to see it.
    case "div":
      return isZero ? cx.constant(a.type, 0) : isOne ? a : divideByPower(cx, a, right);
    case "rem":
      return isZero || isOne ? cx.constant(a.type, 0) : remainderByPower(cx, a, right);
    default:
      return undefined;
  }
}

function simplifyBool(cx: FoldContext, fn: BinaryFn, a: Value, right: boolean): Value | undefined {
  switch (fn) {
    case "and":
      return right ? a : cx.constant("bool", false);
    case "or":
      return right ? cx.constant("bool", true) : a;
    case "eq":
      return right ? a : cx.unary("not", a);
    case "ne":
    case "xor":
      return right ? cx.unary("not", a) : a;
    default:
      return undefined;
  }
}

/** (x + c1) + c2 = x + (c1 + c2), likewise for products: integers wrap, so both hold always. */
function regroup(cx: FoldContext, fn: "add" | "mul", a: Value, right: ScalarValue): Value | undefined {
  const inner = cx.definitionOf(a);
  if (inner?.kind !== "binary" || inner.fn !== fn) return undefined;
  const constant = cx.constantOf(inner.b);
  if (constant === undefined) return undefined;
  const joined = evaluateBinary(fn, a.type, constant, right);
  return joined === undefined ? undefined : cx.binary(fn, inner.a, cx.constant(a.type, joined));
}

/** log2 of a power of two by which `a`, never negative, is divided. */
function powerFor(cx: FoldContext, a: Value, right: ScalarValue): number | undefined {
  const range = cx.rangeOf(a);
  if (range === undefined || range.low < 0 || typeof right !== "number" || right <= 0) return undefined;
  const power = Math.log2(right);
  return Number.isInteger(power) ? power : undefined;
}

function divideByPower(cx: FoldContext, a: Value, right: ScalarValue): Value | undefined {
  const power = powerFor(cx, a, right);
  return power === undefined ? undefined : cx.binary("shr", a, cx.constant("u32", power));
}

function remainderByPower(cx: FoldContext, a: Value, right: ScalarValue): Value | undefined {
  const power = powerFor(cx, a, right);
  return power === undefined ? undefined : cx.binary("and", a, cx.constant(a.type, 2 ** power - 1));
}

/** `a fn a` on integers and bools. */
function simplifySame(cx: FoldContext, fn: BinaryFn, a: Value): Value | undefined {
  switch (fn) {
    case "sub":
    case "xor":
      return cx.constant(a.type, 0);
    case "min":
    case "max":
    case "and":
    case "or":
      return a;
    case "eq":
    case "le":
    case "ge":
      return cx.constant("bool", true);
    case "ne":
    case "lt":
    case "gt":
      return cx.constant("bool", false);
    default:
      return undefined;
  }
}

function simplifyByRange(cx: FoldContext, fn: BinaryFn, a: Value, b: Value): Value | undefined {
  const left = cx.rangeOf(a);
  const right = cx.rangeOf(b);
  if (left === undefined || right === undefined || fn === "shl" || fn === "shr") return undefined;
  const decided = decideComparison(fn, left, right);
  if (decided !== undefined) return cx.constant("bool", decided);
  switch (fn) {
    case "min":
      return left.high <= right.low ? a : right.high <= left.low ? b : undefined;
    case "max":
      return left.low >= right.high ? a : right.low >= left.high ? b : undefined;
    case "div":
      return left.low >= 0 && left.high < right.low ? cx.constant(a.type, 0) : undefined;
    case "rem":
      return left.low >= 0 && left.high < right.low ? a : undefined;
    case "and":
      return left.low >= 0 && right.low === right.high && isMask(right.high) && left.high <= right.high
        ? a
        : undefined;
    default:
      return undefined;
  }
}

/** 0...01...1. */
function isMask(value: number): boolean {
  return value >= 0 && Number.isInteger(Math.log2(value + 1));
}

export function simplifyFma(cx: FoldContext, a: Value, b: Value, c: Value): Value | undefined {
  const [x, y, z] = [cx.constantOf(a), cx.constantOf(b), cx.constantOf(c)];
  if (x !== undefined && y !== undefined && z !== undefined)
    return cx.constant(a.type, evaluateFma(a.type, x, y, z));
  if (y === 1) return cx.binary("add", a, c);
  if (x === 1) return cx.binary("add", b, c);
  if (a.type !== "f32" && (x === 0 || y === 0)) return c;
  if (a.type === "f32" ? Object.is(z, -0) : z === 0) return cx.binary("mul", a, b);
  return undefined;
}

export function simplifySelect(cx: FoldContext, condition: Value, a: Value, b: Value): Value | undefined {
  const decided = cx.constantOf(condition);
  if (decided !== undefined) return decided === true ? a : b;
  if (a === b) return a;
  if (a.type === "bool" && cx.constantOf(a) === true && cx.constantOf(b) === false) return condition;
  return undefined;
}
