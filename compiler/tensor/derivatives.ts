/**
 * Derivatives of the scalar functions, each written with scalar functions: a row gives, for each operand, the
 * factor that an incoming gradient is multiplied by, or undefined where the derivative is zero wherever it exists
 * (comparisons, floor, the condition of a select). `f` is the function's own value.
 *
 * Where a function has a kink the one-sided value is a choice: `abs` has 0 at 0, `max` and `min` give the gradient
 * to the first operand on a tie.
 */
import type { Scalar } from "./ir.ts";

/** What a derivative needs of an arena. */
export interface ScalarBuilder {
  apply(fn: string, ...args: Scalar[]): Scalar;
  f32(value: number): Scalar;
}

export type Derivative = (
  b: ScalarBuilder,
  args: readonly Scalar[],
  f: Scalar,
) => readonly (Scalar | undefined)[];

function of1(build: (b: ScalarBuilder, x: Scalar, f: Scalar) => Scalar): Derivative {
  return (b, args, f) => (args[0] === undefined ? [] : [build(b, args[0], f)]);
}

function of2(
  build: (b: ScalarBuilder, x: Scalar, y: Scalar, f: Scalar) => readonly (Scalar | undefined)[],
): Derivative {
  return (b, args, f) =>
    args[0] === undefined || args[1] === undefined ? [] : build(b, args[0], args[1], f);
}

function of3(
  build: (b: ScalarBuilder, x: Scalar, y: Scalar, z: Scalar) => readonly (Scalar | undefined)[],
): Derivative {
  return (b, [x, y, z]) => (x === undefined || y === undefined || z === undefined ? [] : build(b, x, y, z));
}

/** 1 where the condition holds, else 0. */
function indicator(b: ScalarBuilder, condition: Scalar): Scalar {
  return b.apply("select", condition, b.f32(1), b.f32(0));
}

function complement(b: ScalarBuilder, x: Scalar): Scalar {
  return b.apply("sub", b.f32(1), x);
}

export const derivatives: ReadonlyMap<string, Derivative> = new Map<string, Derivative>([
  ["add", of2((b) => [b.f32(1), b.f32(1)])],
  ["sub", of2((b) => [b.f32(1), b.f32(-1)])],
  ["mul", of2((_, x, y) => [y, x])],
  ["div", of2((b, _, y, f) => [b.apply("div", b.f32(1), y), b.apply("neg", b.apply("div", f, y))])],
  ["neg", of1((b) => b.f32(-1))],
  [
    "abs",
    of1((b, x) =>
      b.apply("sub", indicator(b, b.apply("gt", x, b.f32(0))), indicator(b, b.apply("lt", x, b.f32(0)))),
    ),
  ],
  ["max", of2((b, x, y) => [indicator(b, b.apply("ge", x, y)), indicator(b, b.apply("lt", x, y))])],
  ["min", of2((b, x, y) => [indicator(b, b.apply("le", x, y)), indicator(b, b.apply("gt", x, y))])],
  [
    "clamp",
    of3((b, x, low, high) => {
      const below = b.apply("lt", x, low);
      const above = b.apply("lt", high, b.apply("max", x, low));
      const inside = b.apply("not", b.apply("or", below, above));
      return [
        indicator(b, inside),
        indicator(b, b.apply("and", below, b.apply("not", above))),
        indicator(b, above),
      ];
    }),
  ],
  ["exp", of1((_, __, f) => f)],
  ["exp2", of1((b, _, f) => b.apply("mul", f, b.f32(Math.LN2)))],
  ["log", of1((b, x) => b.apply("div", b.f32(1), x))],
  ["log2", of1((b, x) => b.apply("div", b.f32(Math.LOG2E), x))],
  ["sqrt", of1((b, _, f) => b.apply("div", b.f32(0.5), f))],
  ["rsqrt", of1((b, x, f) => b.apply("div", b.apply("mul", b.f32(-0.5), f), x))],
  ["sin", of1((b, x) => b.apply("cos", x))],
  ["cos", of1((b, x) => b.apply("neg", b.apply("sin", x)))],
  ["tanh", of1((b, _, f) => complement(b, b.apply("mul", f, f)))],
  ["sigmoid", of1((b, _, f) => b.apply("mul", f, complement(b, f)))],
  [
    "silu",
    of1((b, x) => {
      const s = b.apply("sigmoid", x);
      return b.apply("mul", s, b.apply("add", b.f32(1), b.apply("mul", x, complement(b, s))));
    }),
  ],
  [
    "gelu",
    of1((b, x) => {
      const cumulative = b.apply(
        "mul",
        b.f32(0.5),
        b.apply("add", b.f32(1), b.apply("erf", b.apply("mul", x, b.f32(Math.SQRT1_2)))),
      );
      return b.apply(
        "add",
        cumulative,
        b.apply("mul", x, normalDensity(b, x, 1 / Math.sqrt(2 * Math.PI), 0.5)),
      );
    }),
  ],
  ["erf", of1((b, x) => normalDensity(b, x, 2 / Math.sqrt(Math.PI), 1))],
  [
    "select",
    (b, args) => {
      const condition = args[0];
      return condition === undefined
        ? []
        : [undefined, indicator(b, condition), indicator(b, b.apply("not", condition))];
    },
  ],
]);

/** scale * exp(-steepness * x^2). */
function normalDensity(b: ScalarBuilder, x: Scalar, scale: number, steepness: number): Scalar {
  return b.apply(
    "mul",
    b.f32(scale),
    b.apply("exp", b.apply("mul", b.f32(-steepness), b.apply("mul", x, x))),
  );
}
