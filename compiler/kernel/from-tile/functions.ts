/** Scalar functions as kernel ops. What is not here was expanded into these before scheduling. */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import { type Context, floorDivide } from "./context.ts";
import { nearestQuotient, powerNotBelow } from "./quotient.ts";
import type { BinaryFn, UnaryFn, Value } from "../ir.ts";

const unary: Readonly<Record<string, UnaryFn>> = {
  neg: "neg",
  not: "not",
  abs: "abs",
  exp2: "exp2",
  log2: "log2",
  sin: "sin",
  cos: "cos",
  sqrt: "sqrt",
  rsqrt: "rsqrt",
  rcp: "rcp",
  tanh: "tanh",
  floor: "floor",
  ceil: "ceil",
  round: "round-even",
};

const binary: Readonly<Record<string, BinaryFn>> = {
  add: "add",
  sub: "sub",
  mul: "mul",
  div: "div",
  min: "min",
  max: "max",
  and: "and",
  or: "or",
  eq: "eq",
  ne: "ne",
  lt: "lt",
  le: "le",
  gt: "gt",
  ge: "ge",
};

export function applyFunction(cx: Context, fn: string, args: readonly Value[]): Value {
  const { b } = cx;
  const [x, y, z] = args;
  invariant(x !== undefined, `${fn} of nothing`);
  const one = unary[fn];
  if (one !== undefined) return b.unary(one, x);
  if (fn === "order") return orderKey(cx, x);
  if (fn === "powerNotBelow") return powerNotBelow(cx, x);
  invariant(y !== undefined, `there is no function '${fn}' of one operand`);
  const two = binary[fn];
  if (two !== undefined) return b.binary(two, x, y);
  switch (fn) {
    case "nearestQuotient":
      return nearestQuotient(cx, x, y);
    case "floordiv":
      return guardZero(cx, y, floorDivide(cx, x, nonZero(cx, y)));
    case "mod": {
      const quotient = floorDivide(cx, x, nonZero(cx, y));
      return guardZero(cx, y, b.sub(x, b.mul(quotient, y)));
    }
    case "select":
      invariant(z !== undefined, "select takes three");
      return b.select(x, y, z);
    default:
      throw new InternalError(`no lowering for the function '${fn}'`);
  }
}

/** The row `order`: the bits, with those below the sign turned over where it is set; both zeros give 0, NaN the second least i32. */
function orderKey(cx: Context, x: Value): Value {
  const { b } = cx;
  const zero = b.i32(0);
  const bits = b.bitcast(x, "i32");
  const turned = b.select(b.lt(bits, zero), b.binary("xor", bits, b.i32(0x7fffffff)), bits);
  const key = b.select(b.binary("eq", x, b.f32(0)), zero, turned);
  return b.select(b.binary("eq", x, x), key, b.i32(-(2 ** 31) + 1));
}

/** Integer division by zero is 0 in the language; no target may trap on it. */
function nonZero(cx: Context, divisor: Value): Value {
  const known = cx.b.constantOf(divisor);
  if (known !== undefined && Number(known) !== 0) return divisor;
  const zero = cx.b.constant(divisor.type, divisor.type === "i64" ? 0n : 0);
  const one = cx.b.constant(divisor.type, divisor.type === "i64" ? 1n : 1);
  return cx.b.select(cx.b.binary("eq", divisor, zero), one, divisor);
}

function guardZero(cx: Context, divisor: Value, result: Value): Value {
  const known = cx.b.constantOf(divisor);
  const zero = cx.b.constant(divisor.type, divisor.type === "i64" ? 0n : 0);
  if (known !== undefined) return Number(known) === 0 ? zero : result;
  return cx.b.select(cx.b.binary("eq", divisor, zero), zero, result);
}
