/**
 * A quotient rounded to the nearest f32, ties to even, where the target's division is only near it (WGSL allows 2.5 units in
 * the last place): all targets then quantise to the same codes.
 *
 * With significands A and B of 24 bits, A 2^s / B is the result's significand, with s such that it has 24 bits too. The
 * target's quotient is a few units away from it, so that the remainder A 2^s - Q B has far fewer than 32 bits and integer
 * arithmetic modulo 2^32 gives it exactly. Q is moved until the remainder is between 0 and B, and rounded. Numbers that are
 * not normal, or give one that is not, keep the target's quotient.
 */
import type { Value } from "../ir.ts";
import type { Context } from "./context.ts";

/** Units that the target's quotient may be off by, either way; one more for the other scale beyond a power of two. */
const away = 4;

export function nearestQuotient(cx: Context, x: Value, y: Value): Value {
  const { b } = cx;
  const near = b.binary("div", x, y);
  if (cx.caps.exactDivision) return near;
  const i = (value: number): Value => b.i32(value);
  const [bitsX, bitsY, bitsQ] = [x, y, near].map((value) => b.bitcast(value, "i32"));
  if (bitsX === undefined || bitsY === undefined || bitsQ === undefined) return near;
  const field = (bits: Value): Value => b.and(b.binary("shr", bits, b.u32(23)), i(255));
  const significand = (bits: Value): Value => b.binary("or", b.and(bits, i(0x7fffff)), i(0x800000));
  const [top, bottom] = [significand(bitsX), significand(bitsY)];
  const isLess = b.lt(top, bottom);
  // The result's exponent field, and A 2^s modulo 2^32.
  const base = b.add(b.sub(field(bitsX), field(bitsY)), i(127));
  const exponent = b.select(isLess, b.sub(base, i(1)), base);
  const shifted = b.select(isLess, b.binary("shl", top, b.u32(24)), b.binary("shl", top, b.u32(23)));
  const floor = b.binary("shl", b.sub(exponent, i(1)), b.u32(23));
  let quotient = b.sub(b.and(bitsQ, i(0x7fffffff)), floor);
  let rest = b.sub(shifted, b.mul(quotient, bottom));
  const move = (when: Value, by: 1 | -1): void => {
    quotient = b.select(when, b.add(quotient, i(by)), quotient);
    rest = b.select(when, b.sub(rest, b.mul(bottom, i(by))), rest);
  };
  for (let step = 0; step < away; step++) move(b.lt(rest, i(0)), -1);
  for (let step = 0; step < away; step++) move(b.binary("ge", rest, bottom), 1);
  const twice = b.add(rest, rest);
  const isOdd = b.binary("eq", b.and(quotient, i(1)), i(1));
  const up = b.binary("or", b.lt(bottom, twice), b.and(b.binary("eq", bottom, twice), isOdd));
  const rounded = b.add(b.add(quotient, floor), b.select(up, i(1), i(0)));
  const sign = b.and(b.binary("xor", bitsX, bitsY), i(-(2 ** 31)));
  const isNormal = (value: Value): Value => b.and(b.lt(i(0), value), b.lt(value, i(255)));
  const all = [field(bitsX), field(bitsY), field(bitsQ)].map(isNormal).reduce((a, c) => b.and(a, c));
  const inside = b.and(all, b.and(b.lt(i(1), exponent), b.lt(exponent, i(254))));
  return b.select(inside, b.bitcast(b.binary("or", rounded, sign), "f32"), near);
}

/** The least normal power of two that is not below a positive number: its exponent, one more where a bit stands behind it. */
export function powerNotBelow(cx: Context, x: Value): Value {
  const { b } = cx;
  const next = b.add(b.bitcast(x, "i32"), b.i32(0x7fffff));
  const power = b.bitcast(b.and(next, b.i32(0x7f800000)), "f32");
  return b.select(b.lt(b.f32(0), x), power, x);
}
