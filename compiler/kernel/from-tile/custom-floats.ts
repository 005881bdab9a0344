/**
 * Rounding to the floats that a program names by their bits, as integer arithmetic on those of an f32: no target has an
 * instruction for it, and all come to the same bits.
 */
import type { CustomFloatRow } from "../../types/dtype.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Value } from "../ir.ts";

const infinity = 0x7f800000;

/** Exponents and mantissas of f32. */
const [bias, mantissaBits] = [127, 23];

/** The nearest value, the even one of two, as an f32; the largest for what is beyond it, and a NaN for a NaN. */
export function roundToCustom(b: KernelBuilder, value: Value, format: CustomFloatRow): Value {
  const bits = b.bitcast(value, "u32");
  const magnitude = b.and(bits, b.u32(0x7fffffff));
  const dropped = mantissaBits - format.mantissa;
  const odd = b.and(b.binary("shr", magnitude, b.u32(dropped)), b.u32(1));
  const nearest = b.and(
    b.add(b.add(magnitude, odd), b.u32(2 ** (dropped - 1) - 1)),
    b.u32(2 ** 32 - 2 ** dropped),
  );
  const finite = b.binary("min", small(b, magnitude, nearest, format), b.u32(bitsOf(format.max)));
  const rounded = b.select(b.binary("gt", magnitude, b.u32(infinity)), magnitude, finite);
  return b.bitcast(b.binary("or", rounded, b.and(bits, b.u32(0x80000000))), "f32");
}

/** Below the least normal number all values are as far apart; with the exponents of f32 they are so in f32 already. */
function small(
  b: KernelBuilder,
  magnitude: Value,
  nearest: Value,
  { least, mantissa }: CustomFloatRow,
): Value {
  if (least === 1 - bias) return nearest;
  const step = 2 ** (least - mantissa);
  // Added to 2^23 steps, a small number is rounded to steps, which the low bits then count.
  const base = b.f32(step * 2 ** mantissaBits);
  const steps = b.sub(b.bitcast(b.add(b.bitcast(magnitude, "f32"), base), "u32"), b.bitcast(base, "u32"));
  const value = b.mul(b.convert(b.bitcast(steps, "i32"), "f32"), b.f32(step));
  return b.select(b.lt(magnitude, b.u32(bitsOf(2 ** least))), b.bitcast(value, "u32"), nearest);
}

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
}
