/** What is known of an integer value: bounds that hold for every thread and every trip. */
import type { BinaryFn, ValueType } from "./ir.ts";

export interface Range {
  readonly low: number;
  readonly high: number;
}

const whole: Readonly<Partial<Record<ValueType, Range>>> = {
  i32: { low: -(2 ** 31), high: 2 ** 31 - 1 },
  u32: { low: 0, high: 2 ** 32 - 1 },
};

/** All values of the type; undefined for types whose ranges are not followed. */
export function wholeRange(type: ValueType): Range | undefined {
  return whole[type];
}

/** Range of `a fn b`; the whole type where the operation might wrap. */
export function binaryRange(fn: BinaryFn, type: ValueType, a: Range, b: Range): Range | undefined {
  const all = wholeRange(type);
  const found = rangeRule(fn, a, b);
  if (found === undefined || all === undefined) return all;
  return found.low < all.low || found.high > all.high ? all : found;
}

function rangeRule(fn: BinaryFn, a: Range, b: Range): Range | undefined {
  switch (fn) {
    case "add":
      return { low: a.low + b.low, high: a.high + b.high };
    case "sub":
      return { low: a.low - b.high, high: a.high - b.low };
    case "mul":
      return hull([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high]);
    case "min":
      return { low: Math.min(a.low, b.low), high: Math.min(a.high, b.high) };
    case "max":
      return { low: Math.max(a.low, b.low), high: Math.max(a.high, b.high) };
    case "div":
      return a.low >= 0 && b.low > 0
        ? { low: Math.floor(a.low / b.high), high: Math.floor(a.high / b.low) }
        : undefined;
    case "rem":
      return a.low >= 0 && b.low > 0 ? { low: 0, high: Math.min(a.high, b.high - 1) } : undefined;
    case "and":
      return a.low >= 0 && b.low >= 0
        ? { low: 0, high: Math.min(a.high, b.high) }
        : b.low >= 0
          ? { low: 0, high: b.high }
          : undefined;
    case "or":
    case "xor":
      return a.low >= 0 && b.low >= 0
        ? { low: 0, high: 2 ** Math.ceil(Math.log2(Math.max(a.high, b.high) + 1)) - 1 }
        : undefined;
    case "shr":
      return a.low >= 0 && b.low === b.high
        ? { low: Math.floor(a.low / 2 ** b.low), high: Math.floor(a.high / 2 ** b.low) }
        : undefined;
    case "shl":
      return a.low >= 0 && b.low === b.high
        ? { low: a.low * 2 ** b.low, high: a.high * 2 ** b.low }
        : undefined;
    case "eq":
    case "ne":
    case "lt":
    case "le":
    case "gt":
    case "ge":
      return undefined;
  }
}

function hull(values: readonly number[]): Range {
  return { low: Math.min(...values), high: Math.max(...values) };
}

export function joinRanges(a: Range, b: Range): Range {
  return { low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
}

/** The comparison's value where the ranges decide it. */
export function decideComparison(fn: BinaryFn, a: Range, b: Range): boolean | undefined {
  switch (fn) {
    case "lt":
      return a.high < b.low ? true : a.low >= b.high ? false : undefined;
    case "le":
      return a.high <= b.low ? true : a.low > b.high ? false : undefined;
    case "gt":
      return decideComparison("lt", b, a);
    case "ge":
      return decideComparison("le", b, a);
    case "eq":
      return a.high < b.low || b.high < a.low
        ? false
        : a.low === a.high && b.low === b.high && a.low === b.low
          ? true
          : undefined;
    case "ne": {
      const equal = decideComparison("eq", a, b);
      return equal === undefined ? undefined : !equal;
    }
    default:
      return undefined;
  }
}
