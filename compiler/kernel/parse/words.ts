/** Words of a kernel's text that name functions and types. */
import type { BinaryFn, Op, UnaryFn, ValueType } from "../ir.ts";
import { unaryFns } from "../scalar.ts";

const binaryFns: ReadonlySet<string> = new Set<BinaryFn>([
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
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
]);
const unary: ReadonlySet<string> = new Set(unaryFns);
const valueTypes: ReadonlySet<string> = new Set<ValueType>([
  "bool",
  "i32",
  "u32",
  "i64",
  "f32",
  "f16",
  "bf16",
  "b8",
  "h2",
  "b8x4",
  "matrix-left",
  "matrix-right",
  "matrix-result",
]);
const atomicFns: ReadonlySet<string> = new Set<Op<"atomic">["fn"]>(["add", "and", "or", "min", "max"]);

export function isBinaryFn(word: string): word is BinaryFn {
  return binaryFns.has(word);
}

export function isUnaryFn(word: string): word is UnaryFn {
  return unary.has(word);
}

export function isValueType(word: string): word is ValueType {
  return valueTypes.has(word);
}

export function isAtomicFn(word: string): word is Op<"atomic">["fn"] {
  return atomicFns.has(word);
}
