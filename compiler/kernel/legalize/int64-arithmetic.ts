/** Arithmetic on i64 as pairs of u32. */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import type { KernelBuilder } from "../builder.ts";
import type { BinaryFn, Value } from "../ir.ts";
import { multiplyWide, type Pair } from "./wide-product.ts";

export function constant64(b: KernelBuilder, value: bigint): Pair {
  return {
    low: b.u32(Number(BigInt.asUintN(32, value))),
    high: b.u32(Number(BigInt.asUintN(32, value >> 32n))),
  };
}

export function select64(b: KernelBuilder, condition: Value, x: Pair, y: Pair): Pair {
  return { low: b.select(condition, x.low, y.low), high: b.select(condition, x.high, y.high) };
}

function one(b: KernelBuilder, condition: Value): Value {
  return b.select(condition, b.u32(1), b.u32(0));
}

export function add64(b: KernelBuilder, x: Pair, y: Pair): Pair {
  const low = b.add(x.low, y.low);
  return { low, high: b.add(b.add(x.high, y.high), one(b, b.lt(low, x.low))) };
}

export function subtract64(b: KernelBuilder, x: Pair, y: Pair): Pair {
  return { low: b.sub(x.low, y.low), high: b.sub(b.sub(x.high, y.high), one(b, b.lt(x.low, y.low))) };
}

export function negate64(b: KernelBuilder, x: Pair): Pair {
  return subtract64(b, constant64(b, 0n), x);
}

function multiply64(b: KernelBuilder, x: Pair, y: Pair): Pair {
  const { low, high } = multiplyWide(b, x.low, y.low);
  return { low, high: b.add(high, b.add(b.mul(x.low, y.high), b.mul(x.high, y.low))) };
}

export function compare64(b: KernelBuilder, fn: BinaryFn, x: Pair, y: Pair): Value {
  switch (fn) {
    case "eq":
      return b.and(b.binary("eq", x.low, y.low), b.binary("eq", x.high, y.high));
    case "ne":
      return b.unary("not", compare64(b, "eq", x, y));
    case "lt":
      return lessThan(b, x, y);
    case "ge":
      return b.unary("not", lessThan(b, x, y));
    case "gt":
      return lessThan(b, y, x);
    case "le":
      return b.unary("not", lessThan(b, y, x));
    default:
      throw new InternalError(`${fn} is no comparison`);
  }
}

function lessThan(b: KernelBuilder, x: Pair, y: Pair): Value {
  const higher = b.lt(b.bitcast(x.high, "i32"), b.bitcast(y.high, "i32"));
  return b.select(b.binary("eq", x.high, y.high), b.lt(x.low, y.low), higher);
}

function isBelow(b: KernelBuilder, x: Pair, y: Pair): Value {
  return b.select(b.binary("eq", x.high, y.high), b.lt(x.low, y.low), b.lt(x.high, y.high));
}

/** `y` of a shift has its count in `low`. */
export function binary64(b: KernelBuilder, fn: BinaryFn, x: Pair, y: Pair): Pair {
  switch (fn) {
    case "add":
      return add64(b, x, y);
    case "sub":
      return subtract64(b, x, y);
    case "mul":
      return multiply64(b, x, y);
    case "min":
      return select64(b, lessThan(b, x, y), x, y);
    case "max":
      return select64(b, lessThan(b, x, y), y, x);
    case "and":
    case "or":
    case "xor":
      return { low: b.binary(fn, x.low, y.low), high: b.binary(fn, x.high, y.high) };
    case "shl":
      return shiftLeft(b, x, y.low);
    case "shr":
      return shiftRight(b, x, y.low);
    case "div":
      return divide(b, x, y).quotient;
    case "rem":
      return divide(b, x, y).remainder;
    default:
      throw new InternalError(`${fn} gives no i64`);
  }
}

/** Counts below 32 and from 32 on, each with shifts that stay below the width. */
function shiftLeft(b: KernelBuilder, x: Pair, count: Value): Pair {
  const part = b.and(count, b.u32(31));
  const crossing = b.binary("shr", b.binary("shr", x.low, b.u32(1)), b.sub(b.u32(31), part));
  const near: Pair = {
    low: b.binary("shl", x.low, part),
    high: b.binary("or", b.binary("shl", x.high, part), crossing),
  };
  const far: Pair = { low: b.u32(0), high: b.binary("shl", x.low, part) };
  return select64(b, b.lt(count, b.u32(32)), near, far);
}

function shiftRight(b: KernelBuilder, x: Pair, count: Value): Pair {
  const part = b.and(count, b.u32(31));
  const crossing = b.binary("shl", b.binary("shl", x.high, b.u32(1)), b.sub(b.u32(31), part));
  const high = b.bitcast(b.binary("shr", b.bitcast(x.high, "i32"), part), "u32");
  const near: Pair = { low: b.binary("or", b.binary("shr", x.low, part), crossing), high };
  const sign = b.bitcast(b.binary("shr", b.bitcast(x.high, "i32"), b.u32(31)), "u32");
  return select64(b, b.lt(count, b.u32(32)), near, { low: high, high: sign });
}

/** Bit by bit, on magnitudes; the quotient truncates and the remainder has the dividend's sign. */
function divide(b: KernelBuilder, x: Pair, y: Pair): { readonly quotient: Pair; readonly remainder: Pair } {
  const zero = b.i32(0);
  const xNegative = b.lt(b.bitcast(x.high, "i32"), zero);
  const yNegative = b.lt(b.bitcast(y.high, "i32"), zero);
  const dividend = select64(b, xNegative, negate64(b, x), x);
  const divisor = select64(b, yNegative, negate64(b, y), y);
  const registers = [dividend.low, dividend.high, b.u32(0), b.u32(0)].map((init, k) =>
    b.var(init, ["quotient_low", "quotient_high", "rest_low", "rest_high"][k] ?? ""),
  );
  const read = (low: number): Pair => {
    const [first, second] = [registers[low], registers[low + 1]];
    if (first === undefined || second === undefined) throw new InternalError("two registers a number");
    return { low: b.get(first), high: b.get(second) };
  };
  b.for(b.i32(0), b.i32(64), 1, "bit", () => {
    const [quotient, rest] = [read(0), read(2)];
    const top = b.binary("shr", quotient.high, b.u32(31));
    const doubled = shiftLeft(b, rest, b.u32(1));
    const next: Pair = { low: b.binary("or", doubled.low, top), high: doubled.high };
    const shifted = shiftLeft(b, quotient, b.u32(1));
    const fits = b.unary("not", isBelow(b, next, divisor));
    const left = select64(b, fits, subtract64(b, next, divisor), next);
    const values = [b.binary("or", shifted.low, one(b, fits)), shifted.high, left.low, left.high];
    registers.forEach((register, k) => b.set(register, values[k] ?? b.u32(0)));
  });
  const [quotient, rest] = [read(0), read(2)];
  return {
    quotient: select64(b, b.binary("xor", xNegative, yNegative), negate64(b, quotient), quotient),
    remainder: select64(b, xNegative, negate64(b, rest), rest),
  };
}
