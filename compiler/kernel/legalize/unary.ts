/**
 * Writes the unary functions that a target lacks in terms of others: sine and cosine by argument reduction and
 * polynomials, tanh by exp2, the rest in an op or two. Leaves no unary function that the caps lack.
 *
 * Polynomials are those of the Cephes library (sinf.c, cosf.c, tanhf.c; S. Moshier, 1992), within 2 ulp of f32.
 */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Caps, Kernel, UnaryFn, Value } from "../ir.ts";
import { Rewriter } from "../rewrite.ts";
import { quadrantOf } from "./quadrant.ts";

export function expandUnary(kernel: Kernel, caps: Caps): Kernel {
  const has = new Set(caps.unary);
  return new Rewriter(kernel).run({
    unary: (op, cx) => {
      const a = cx.value(op.a);
      const isConstant = cx.b.constantOf(a) !== undefined;
      cx.define(op.dst, has.has(op.fn) || isConstant || a.type !== "f32" ? cx.b.unary(op.fn, a, op.dst.hint) : expand(cx.b, op.fn, a, op.dst.hint));
    },
  });
}

function expand(b: KernelBuilder, fn: UnaryFn, a: Value, hint: string): Value {
  switch (fn) {
    case "sin": return trigonometric(b, a, 0, hint);
    case "cos": return trigonometric(b, a, 1, hint);
    case "tanh": return tanh(b, a, hint);
    case "rsqrt": return b.div(b.f32(1), b.unary("sqrt", a), hint);
    case "rcp": return b.div(b.f32(1), a, hint);
    default: throw new InternalError(`there is no way to expand ${fn}`);
  }
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
  const sine = b.fma(b.mul(square, rest), polynomial(b, square, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]), rest);
  const cosine = b.fma(b.mul(square, square), polynomial(b, square, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]), b.fma(square, b.f32(-0.5), b.f32(1)));
  const value = b.select(b.binary("ne", b.and(turned, b.u32(1)), b.u32(0)), cosine, sine);
  const isBelow = b.binary("ne", b.and(turned, b.u32(2)), b.u32(0));
  return b.select(isBelow, b.unary("neg", value), value, hint);
}

/** 1 - 2 / (e^2|x| + 1) with x's sign; near zero, where that cancels, a polynomial. */
function tanh(b: KernelBuilder, a: Value, hint: string): Value {
  const size = b.unary("abs", a);
  // From 10 on the result is 1; a NaN is not above 10 and passes.
  const limited = b.select(b.binary("gt", size, b.f32(10)), b.f32(10), size);
  const grown = b.unary("exp2", b.mul(limited, b.f32(2 * Math.LOG2E)));
  const far = b.sub(b.f32(1), b.div(b.f32(2), b.add(grown, b.f32(1))));
  const square = b.mul(a, a);
  const coefficients = [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1];
  const near = b.fma(b.mul(polynomial(b, square, coefficients), square), a, a);
  const signed = b.select(b.lt(a, b.f32(0)), b.unary("neg", far), far);
  return b.select(b.lt(size, b.f32(0.625)), near, signed, hint);
}
