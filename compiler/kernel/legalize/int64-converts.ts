/** Conversions between i64 as a pair of u32 and the other types. */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Value, ValueType } from "../ir.ts";
import { constant64, negate64, select64 } from "./int64-arithmetic.ts";
import type { Pair } from "./wide-product.ts";

export function to64(b: KernelBuilder, a: Value): Pair {
  switch (a.type) {
    case "bool":
      return { low: b.select(a, b.u32(1), b.u32(0)), high: b.u32(0) };
    case "u32":
      return { low: a, high: b.u32(0) };
    case "i32":
      return { low: b.bitcast(a, "u32"), high: b.bitcast(b.binary("shr", a, b.u32(31)), "u32") };
    case "f32":
      return fromFloat(b, a);
    default:
      throw new InternalError(`convert ${a.type} to i64`);
  }
}

export function from64(b: KernelBuilder, a: Pair, to: ValueType, hint: string): Value {
  switch (to) {
    case "bool":
      return b.binary("ne", b.binary("or", a.low, a.high), b.u32(0), hint);
    case "i32":
      return toInt(b, a, hint);
    case "u32":
      return toUnsigned(b, a, hint);
    case "f32":
      return toFloat(b, a, hint);
    default:
      throw new InternalError(`convert i64 to ${to}`);
  }
}

function isNegative(b: KernelBuilder, a: Pair): Value {
  return b.lt(b.bitcast(a.high, "i32"), b.i32(0));
}

/** Saturates: in range exactly where the high word repeats the low word's sign. */
function toInt(b: KernelBuilder, a: Pair, hint: string): Value {
  const low = b.bitcast(a.low, "i32");
  const sign = b.bitcast(b.binary("shr", low, b.u32(31)), "u32");
  const limit = b.select(isNegative(b, a), b.i32(-(2 ** 31)), b.i32(2 ** 31 - 1));
  return b.select(b.binary("eq", a.high, sign), low, limit, hint);
}

function toUnsigned(b: KernelBuilder, a: Pair, hint: string): Value {
  const limit = b.select(isNegative(b, a), b.u32(0), b.u32(2 ** 32 - 1));
  return b.select(b.binary("eq", a.high, b.u32(0)), a.low, limit, hint);
}

/** The magnitude's top 32 bits with a last bit that says whether any were lost, rounded once by the conversion. */
function toFloat(b: KernelBuilder, a: Pair, hint: string): Value {
  const magnitude = select64(b, isNegative(b, a), negate64(b, a), a);
  const zeros = b.unary("clz", magnitude.high);
  const excess = b.sub(b.u32(32), zeros);
  // A shift by 32 has no meaning, so each goes in two steps.
  const part = b.and(zeros, b.u32(31));
  const joined = b.binary(
    "or",
    b.binary("shl", magnitude.high, part),
    b.binary("shr", b.binary("shr", magnitude.low, b.u32(1)), b.sub(b.u32(31), part)),
  );
  const lost = b.binary("ne", b.binary("shl", magnitude.low, part), b.u32(0));
  const sticky = b.binary("or", joined, b.select(lost, b.u32(1), b.u32(0)));
  const isSmall = b.binary("eq", magnitude.high, b.u32(0));
  const mantissa = b.convert(b.select(isSmall, magnitude.low, sticky), "f32");
  const exponent = b.select(isSmall, b.u32(0), excess);
  const scale = b.bitcast(b.binary("shl", b.add(exponent, b.u32(127)), b.u32(23)), "f32");
  const size = b.mul(mantissa, scale);
  return b.select(isNegative(b, a), b.unary("neg", size), size, hint);
}

function fromFloat(b: KernelBuilder, a: Value): Pair {
  const size = b.unary("trunc", b.unary("abs", a));
  const high = b.unary("floor", b.mul(size, b.f32(2 ** -32)));
  const low = b.fma(high, b.f32(-(2 ** 32)), size);
  const magnitude: Pair = { low: b.convert(low, "u32"), high: b.convert(high, "u32") };
  const negative = b.lt(a, b.f32(0));
  const signed = select64(b, negative, negate64(b, magnitude), magnitude);
  const limit = select64(b, negative, constant64(b, -(2n ** 63n)), constant64(b, 2n ** 63n - 1n));
  const inRange = b.lt(size, b.f32(2 ** 63));
  const isNan = b.binary("gt", b.and(b.bitcast(a, "u32"), b.u32(0x7fffffff)), b.u32(0x7f800000));
  return select64(b, isNan, constant64(b, 0n), select64(b, inRange, signed, limit));
}
