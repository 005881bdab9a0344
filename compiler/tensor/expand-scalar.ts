/**
 * Writes the scalar functions that targets lack with those that every target has.
 *
 * What is left after it: add sub mul div rcp floordiv mod, neg abs min max, exp2 log2 sqrt rsqrt sin cos, floor ceil
 * round order, comparisons, and or not, select. Each expansion, in f32, is within its row's accuracy as long as the
 * primitives are within theirs; NaN gives NaN, and infinities give the limits.
 *
 * The polynomials were fitted by least squares at Chebyshev nodes: erf to 4e-8 below 1 and 2e-8 of the exponent
 * above. That of tanh is the quotient of least relative error (Lawson's weights), 1.5e-7, 7.6 units of 2^-24 in f32.
 */
import type { Arena } from "./arena.ts";
import type { Scalar } from "./ir.ts";
import { isPositive } from "./rescale.ts";
import { rewriteScalars } from "./scalars.ts";

type Expansion = (a: Arena, args: readonly [Scalar, Scalar, Scalar]) => Scalar;

/** erf(x) / x in x^2, for |x| below 1. */
const erfNear = [
  1.1283791065216064, -0.37612348794937134, 0.11280364543199539, -0.026716385036706924, 0.004923277534544468,
  -0.0005654105916619301,
];
/** -log2(erfc(t)) in t, for t from 1 to 4. */
const erfcExponent = [
  -0.00043883436592295766, 1.6304911375045776, 0.9116842150688171, 0.15867236256599426, -0.03804013878107071,
  0.006839987356215715, -0.0008554467931389809, 6.580279296031222e-5, -2.3300174234464066e-6,
];
/** tanh(x) / x in x^2, for |x| up to 8: one polynomial over another. */
const tanhEnd = 8;
const tanhAbove = [0.9999998544362325, 0.12925661295957697, 0.002951021972816186, 0.000011428404635191252];
const tanhBelow = [1, 0.462588769034365, 0.02381554673292734, 0.00023866891674476535, 2.459205037359417e-7];

function polynomial(a: Arena, x: Scalar, coefficients: readonly number[]): Scalar {
  const [first = 0, ...rest] = [...coefficients].reverse();
  return rest.reduce((sum, c) => a.apply("add", a.apply("mul", sum, x), a.f32(c)), a.f32(first));
}

/** k x; the constant goes to the factors of a difference of products, each of which is then one rounding. */
function times(a: Arena, x: Scalar, k: number): Scalar {
  const multiple = (s: Scalar | undefined): Scalar | undefined => {
    if (s?.kind !== "apply" || s.fn !== "mul") return undefined;
    const [c, rest] = s.args;
    if (c === undefined || rest === undefined || !isPositive(c)) return undefined;
    const factor = c.kind === "const" ? a.f32(Number(c.value) * k) : a.apply("mul", c, a.f32(k));
    return a.apply("mul", rest, factor);
  };
  const [first, second] = x.kind === "apply" && x.fn === "sub" ? x.args.map(multiple) : [];
  return first === undefined || second === undefined
    ? a.apply("mul", x, a.f32(k))
    : a.apply("sub", first, second);
}

function withSignOf(a: Arena, x: Scalar, magnitude: Scalar): Scalar {
  return a.apply("select", a.apply("lt", x, a.f32(0)), a.apply("neg", magnitude), magnitude);
}

/** 1 + e^-x. */
function logisticDivisor(a: Arena, x: Scalar): Scalar {
  return a.apply("add", a.f32(1), a.apply("exp2", a.apply("mul", x, a.f32(-Math.LOG2E))));
}

function erf(a: Arena, x: Scalar): Scalar {
  const t = a.apply("abs", x);
  const near = a.apply("mul", x, polynomial(a, a.apply("mul", x, x), erfNear));
  // Beyond 4 erf is 1 in f32. Written as a select, so that NaN stays.
  const held = a.apply("select", a.apply("gt", t, a.f32(4)), a.f32(4), t);
  const far = a.apply("sub", a.f32(1), a.apply("exp2", a.apply("neg", polynomial(a, held, erfcExponent))));
  return a.apply("select", a.apply("lt", t, a.f32(1)), near, withSignOf(a, x, far));
}

function tanh(a: Arena, x: Scalar): Scalar {
  const square = a.apply("mul", x, x);
  const above = a.apply("mul", x, polynomial(a, square, tanhAbove));
  const near = a.apply("mul", above, a.apply("rcp", polynomial(a, square, tanhBelow)));
  // Beyond the end tanh is 1 within 4 units of 2^-24. A NaN is not beyond it.
  const isFar = a.apply("gt", a.apply("abs", x), a.f32(tanhEnd));
  return a.apply("select", isFar, withSignOf(a, x, a.f32(1)), near);
}

const expansions: ReadonlyMap<string, Expansion> = new Map<string, Expansion>([
  ["exp", (a, [x]) => a.apply("exp2", times(a, x, Math.LOG2E))],
  ["log", (a, [x]) => a.apply("mul", a.apply("log2", x), a.f32(Math.LN2))],
  ["sigmoid", (a, [x]) => a.apply("rcp", logisticDivisor(a, x))],
  ["silu", (a, [x]) => a.apply("mul", x, a.apply("rcp", logisticDivisor(a, x)))],
  [
    "gelu",
    (a, [x]) =>
      a.apply(
        "mul",
        a.apply("mul", x, a.f32(0.5)),
        a.apply("add", a.f32(1), erf(a, a.apply("mul", x, a.f32(Math.SQRT1_2)))),
      ),
  ],
  ["erf", (a, [x]) => erf(a, x)],
  ["tanh", (a, [x]) => tanh(a, x)],
  ["clamp", (a, [x, low, high]) => a.apply("min", a.apply("max", x, low), high)],
]);

/** Functions that `expandScalars` takes away. */
export const expandedFunctions: readonly string[] = [...expansions.keys()];

export function isExpanded(s: Scalar): boolean {
  return s.kind === "apply" && expansions.has(s.fn);
}

/** The bodies with every expanded function written out. */
export function expandScalars(arena: Arena, roots: readonly Scalar[]): readonly Scalar[] {
  return rewriteScalars(arena, roots, (s) => {
    const expansion = s.kind === "apply" ? expansions.get(s.fn) : undefined;
    const [x, y = x, z = x] = s.kind === "apply" ? s.args : [];
    return expansion === undefined || x === undefined || y === undefined || z === undefined
      ? s
      : expansion(arena, [x, y, z]);
  });
}

/** `expandScalars` of one body. */
export function expandScalar(arena: Arena, scalar: Scalar): Scalar {
  return expandScalars(arena, [scalar])[0] ?? scalar;
}
