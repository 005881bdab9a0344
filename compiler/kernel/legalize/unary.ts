/**
 * Writes the unary functions that a target lacks in terms of others: sine and cosine by argument reduction and
 * polynomials, exp2 by a polynomial, tanh by exp2, rounding to tf32 on bits, the rest in an op or two. Leaves no unary function that the caps lack.
 *
 * Polynomials are those of the Cephes library (sinf.c, exp2f.c, tanhf.c; S. Moshier, 1992), within 2 ulp of f32.
 */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Caps, Kernel, UnaryFn, Value } from "../ir.ts";
import { Rewriter } from "../rewrite.ts";
import { quadrantOf } from "./quadrant.ts";

export function expandUnary(kernel: Kernel, caps: Caps): Kernel {
  const has = new Set(caps.unary);
  return new Rewriter(kernel).run({
    unary: (op, cx) => cx.define(op.dst, apply({ b: cx.b, has }, op.fn, cx.value(op.a), op.dst.hint)),
  });
}

interface UnaryContext {
  readonly b: KernelBuilder;
  /** Functions that the target has. */
  readonly has: ReadonlySet<string>;
}

function apply(cx: UnaryContext, fn: UnaryFn, a: Value, hint: string): Value {
  const { b, has } = cx;
  return has.has(fn) || a.type !== "f32" || b.constantOf(a) !== undefined
    ? b.unary(fn, a, hint)
    : expand(cx, fn, a, hint);
}

function expand(cx: UnaryContext, fn: UnaryFn, a: Value, hint: string): Value {
  const { b } = cx;
  switch (fn) {
    case "sin":
      return trigonometric(b, a, 0, hint);
    case "cos":
      return trigonometric(b, a, 1, hint);
    case "tanh":
      return tanh(cx, a, hint);
    case "exp2":
      return exp2(b, a, hint);
    case "rsqrt":
      return b.div(b.f32(1), b.unary("sqrt", a), hint);
    case "round-tf32":
      return roundTf32(b, a, hint);
    case "rcp":
      return b.div(b.f32(1), a, hint);
    default:
      throw new InternalError(`there is no way to expand ${fn}`);
  }
}

/** Adds half a step, or a little less where the last bit kept is even, and drops what is below; a NaN passes. */
function roundTf32(b: KernelBuilder, a: Value, hint: string): Value {
  const bits = b.bitcast(a, "u32");
  const odd = b.and(b.binary("shr", bits, b.u32(13)), b.u32(1));
  const rounded = b.and(b.add(b.add(bits, odd), b.u32(0xfff)), b.u32(0xffffe000));
  const isNan = b.binary("gt", b.and(bits, b.u32(0x7fffffff)), b.u32(0x7f800000));
  return b.bitcast(b.select(isNan, bits, rounded), "f32", hint);
}

/** Coefficients from the highest power down. */
function polynomial(b: KernelBuilder, x: Value, coefficients: readonly number[]): Value {
  const [first = 0, ...rest] = coefficients;
  return rest.reduce((sum, coefficient) => b.fma(sum, x, b.f32(coefficient)), b.f32(first));
}

/** sin of a, or of a plus `turn` quarter turns. */
function trigonometric(b: KernelBuilder, a: Value, turn: 0 | 1, hint: string): Value {
  const { quadrant, rest } = quadrantOf(b, a);
  const turned = b.add(quadrant, b.u32(turn));
  const square = b.mul(rest, rest);
  const sine = b.fma(
    b.mul(square, rest),
    polynomial(b, square, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]),
    rest,
  );
  const cosine = b.fma(
    b.mul(square, square),
    polynomial(b, square, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]),
    b.fma(square, b.f32(-0.5), b.f32(1)),
  );
  const value = b.select(b.binary("ne", b.and(turned, b.u32(1)), b.u32(0)), cosine, sine);
  const isBelow = b.binary("ne", b.and(turned, b.u32(2)), b.u32(0));
  return b.select(isBelow, b.unary("neg", value), value, hint);
}

/** A polynomial on the fraction, times a power of two in two halves, each of which f32 has. */
function exp2(b: KernelBuilder, a: Value, hint: string): Value {
  // Beyond these the result is 0 and infinity; a NaN is not beyond and passes.
  const raised = b.select(b.lt(a, b.f32(-160)), b.f32(-160), a);
  const limited = b.select(b.binary("gt", raised, b.f32(130)), b.f32(130), raised);
  const whole = b.unary("round-even", limited);
  const fraction = b.sub(limited, whole);
  const coefficients = [
    1.5353361883195e-4, 1.339887440266574e-3, 9.61843735767464e-3, 5.550332471162809e-2, 2.402264791363012e-1,
    6.931472028550421e-1, 1,
  ];
  const power = b.convert(whole, "i32");
  const half = b.binary("shr", power, b.u32(1));
  const scale = (exponent: Value): Value =>
    b.bitcast(b.binary("shl", b.add(exponent, b.i32(127)), b.u32(23)), "f32");
  return b.mul(b.mul(polynomial(b, fraction, coefficients), scale(half)), scale(b.sub(power, half)), hint);
}

/** 1 - 2 / (e^2|x| + 1) with x's sign; near zero, where that cancels, a polynomial. */
function tanh(cx: UnaryContext, a: Value, hint: string): Value {
  const { b } = cx;
  const size = b.unary("abs", a);
  // From 10 on the result is 1; a NaN is not above 10 and passes.
  const limited = b.select(b.binary("gt", size, b.f32(10)), b.f32(10), size);
  const grown = apply(cx, "exp2", b.mul(limited, b.f32(2 * Math.LOG2E)), "");
  const far = b.sub(b.f32(1), b.div(b.f32(2), b.add(grown, b.f32(1))));
  const square = b.mul(a, a);
  const coefficients = [
    -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
  ];
  const near = b.fma(b.mul(polynomial(b, square, coefficients), square), a, a);
  const signed = b.select(b.lt(a, b.f32(0)), b.unary("neg", far), far);
  return b.select(b.lt(size, b.f32(0.625)), near, signed, hint);
}
