/**
 * The scalar functions: one row each. Whatever is said about a function elsewhere is derived from its row.
 *
 * Floats are computed in f64 by `float`; i32 and u32 by `int`, on JS numbers, wrapped to the type by the caller;
 * i64 by `big`. Bools are the numbers 0 and 1. Integer arithmetic wraps (two's complement); `floordiv` and `mod`
 * floor, and by zero both give 0, so that nothing traps. Comparisons are false where an operand is NaN, except
 * `ne`. `min`, `max` and `clamp` ignore a NaN operand when the other is a number (IEEE minimumNumber: PTX
 * `max.f32`, C `fmaxf`; WGSL and JS write `a > b || b != b ? a : b`). The sign of zero is not kept by `min` and
 * `max`. Subnormals may be flushed by a target.
 */
import type { ScalarType } from "./ir.ts";
import { errorFunction } from "./error-function.ts";
import { derivatives, type Derivative } from "./derivatives.ts";
import { boolTypes, floatTypes, intTypes, numericTypes, scalarTypes, signedTypes } from "./scalar-types.ts";

/** What a rewrite may rely on, and a property test holds. `exact` laws hold bit for bit on finite f64, NaN apart. */
export type FunctionLaw =
  | { readonly law: "commutative" }
  /** On floats only up to rounding, unless the row is `min`, `max`, `and` or `or`. */
  | { readonly law: "associative" }
  | { readonly law: "idempotent" }
  /** f(x, identity) = x. */
  | { readonly law: "identity"; readonly value: number }
  /** f(from(x, y)) = to(f(x), f(y)), up to rounding. */
  | { readonly law: "homomorphism"; readonly from: string; readonly to: string }
  /** f(over(x, y), z) = over(f(x, z), f(y, z)), up to rounding; with `sign`, for z of that sign only. */
  | { readonly law: "distributes"; readonly over: string; readonly sign: "any" | "positive" }
  /** f(-x) = -f(x), f(-x) = f(x). */
  | { readonly law: "odd" }
  | { readonly law: "even" }
  /** x <= y implies f(x) <= f(y) over the domain. */
  | { readonly law: "increasing" };

export interface ScalarFunction {
  readonly name: string;
  readonly arity: 1 | 2 | 3;
  /** The types that the operands share; `select` has a bool before them. */
  readonly types: readonly ScalarType[];
  readonly result: "same" | "bool" | "i32";
  /** FLOPs that one evaluation counts as in a roofline. */
  readonly cost: number;
  readonly float: (a: number, b: number, c: number) => number;
  readonly int: (a: number, b: number, c: number) => number;
  readonly big: (a: bigint, b: bigint, c: bigint) => bigint | boolean;
  readonly laws: readonly FunctionLaw[];
  /** Undefined where the derivative is zero wherever it exists, or the function has no float form. */
  readonly derivative: Derivative | undefined;
  /** How the bound on a target's f32 result follows; see `error-bound.ts`. */
  readonly accuracy: Accuracy;
}

/**
 * Error of one evaluation in f32, the widest that a target may have: (relative + perArgument |x|) 2^-24 |f(x)| plus
 * an absolute part. `expand-scalar` keeps within it when its primitives keep within theirs.
 */
export interface Accuracy {
  readonly relative: number;
  readonly perArgument: number;
  readonly absolute: number;
}

function accurate(relative: number, perArgument: number = 0, absolute: number = 0): Accuracy {
  return { relative, perArgument, absolute };
}

type Row = Omit<ScalarFunction, "name" | "derivative">;

const exact: Accuracy = accurate(0);
const rounded: Accuracy = accurate(1);

const commutative: FunctionLaw = { law: "commutative" };
const associative: FunctionLaw = { law: "associative" };
const idempotent: FunctionLaw = { law: "idempotent" };

function noInt(): number {
  return Number.NaN;
}
function noBig(): bigint {
  return 0n;
}

function unary(
  cost: number,
  accuracy: Accuracy,
  float: (a: number) => number,
  laws: readonly FunctionLaw[] = [],
): Row {
  return { arity: 1, types: floatTypes, result: "same", cost, float, int: noInt, big: noBig, laws, accuracy };
}

function comparison(
  types: readonly ScalarType[],
  test: (a: number, b: number) => boolean,
  big: (a: bigint, b: bigint) => boolean,
  laws: readonly FunctionLaw[] = [],
): Row {
  const number = (a: number, b: number): number => (test(a, b) ? 1 : 0);
  return { arity: 2, types, result: "bool", cost: 1, float: number, int: number, big, laws, accuracy: exact };
}

function maximum(a: number, b: number): number {
  return a > b || b !== b ? a : b;
}
function minimum(a: number, b: number): number {
  return a < b || b !== b ? a : b;
}

const keyFloat = new Float32Array(1);
const keyBits = new Int32Array(keyFloat.buffer);

/**
 * An i32 in the order of f32s: the bits, with those below the sign turned over where it is set. Both zeros give 0,
 * NaN gives -2^31 + 1, below all numbers, and nothing gives -2^31, which is left for what comes after everything.
 */
function orderKey(x: number): number {
  if (x !== x) return -(2 ** 31) + 1;
  keyFloat[0] = x === 0 ? 0 : x;
  const bits = keyBits[0] ?? 0;
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}

/** Of f32's normal powers of two, and infinity, the least that is not below a positive number; other numbers stay. */
function powerNotBelow(x: number): number {
  if (!(x > 2 ** -126)) return x > 0 ? 2 ** -126 : x;
  if (x > 2 ** 127) return Infinity;
  let power = 2 ** Math.ceil(Math.log2(x));
  // The logarithm may be on the wrong side of a whole number.
  while (power < x) power *= 2;
  while (power / 2 >= x) power /= 2;
  return power;
}

/** Nearest integer, ties to even; a negative number that rounds to zero gives -0. */
export function roundEven(x: number): number {
  const magnitude = Math.abs(x);
  const floor = Math.floor(magnitude);
  const rest = magnitude - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  const rounded = up ? floor + 1 : floor;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}

function floorDivide(a: number, b: number): number {
  return b === 0 ? 0 : Math.floor(a / b);
}
function floorModulo(a: number, b: number): number {
  if (b === 0) return 0;
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}
function floorDivideBig(a: bigint, b: bigint): bigint {
  if (b === 0n) return 0n;
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

const rows = {
  add: {
    arity: 2,
    types: numericTypes,
    result: "same",
    cost: 1,
    accuracy: rounded,
    float: (a, b) => a + b,
    int: (a, b) => a + b,
    big: (a, b) => a + b,
    laws: [commutative, associative, { law: "identity", value: 0 }],
  },
  sub: {
    arity: 2,
    types: numericTypes,
    result: "same",
    cost: 1,
    accuracy: rounded,
    float: (a, b) => a - b,
    int: (a, b) => a - b,
    big: (a, b) => a - b,
    laws: [{ law: "identity", value: 0 }],
  },
  // a / b as the nearest f32, in every target; 'div' may be a few units in the last place away.
  nearestQuotient: {
    arity: 2,
    types: floatTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: (a, b) => Math.fround(a / b),
    int: noInt,
    big: noBig,
    laws: [],
  },
  mul: {
    arity: 2,
    types: numericTypes,
    result: "same",
    cost: 1,
    accuracy: rounded,
    float: (a, b) => a * b,
    int: Math.imul,
    big: (a, b) => a * b,
    laws: [
      commutative,
      associative,
      { law: "identity", value: 1 },
      { law: "distributes", over: "add", sign: "any" },
      { law: "distributes", over: "max", sign: "positive" },
      { law: "distributes", over: "min", sign: "positive" },
    ],
  },
  div: {
    arity: 2,
    types: floatTypes,
    result: "same",
    cost: 1,
    accuracy: accurate(6),
    float: (a, b) => a / b,
    int: noInt,
    big: noBig,
    laws: [
      { law: "identity", value: 1 },
      { law: "distributes", over: "add", sign: "any" },
    ],
  },
  floordiv: {
    arity: 2,
    types: intTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: floorDivide,
    int: floorDivide,
    big: floorDivideBig,
    laws: [{ law: "identity", value: 1 }],
  },
  mod: {
    arity: 2,
    types: intTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: floorModulo,
    int: floorModulo,
    big: (a, b) => (b === 0n ? 0n : a - floorDivideBig(a, b) * b),
    laws: [],
  },
  neg: {
    arity: 1,
    types: signedTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: (a) => -a,
    int: (a) => -a,
    big: (a) => -a,
    laws: [{ law: "odd" }, { law: "homomorphism", from: "add", to: "add" }],
  },
  abs: {
    arity: 1,
    types: signedTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: Math.abs,
    int: Math.abs,
    big: (a) => (a < 0n ? -a : a),
    laws: [{ law: "even" }, { law: "homomorphism", from: "mul", to: "mul" }],
  },
  min: {
    arity: 2,
    types: numericTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: minimum,
    int: minimum,
    big: (a, b) => (a < b ? a : b),
    laws: [commutative, associative, idempotent, { law: "identity", value: Infinity }],
  },
  max: {
    arity: 2,
    types: numericTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: maximum,
    int: maximum,
    big: (a, b) => (a > b ? a : b),
    laws: [commutative, associative, idempotent, { law: "identity", value: -Infinity }],
  },
  clamp: {
    arity: 3,
    types: numericTypes,
    result: "same",
    cost: 2,
    accuracy: exact,
    float: (x, low, high) => minimum(maximum(x, low), high),
    int: (x, low, high) => minimum(maximum(x, low), high),
    big: (x, low, high) => (x < low ? (low < high ? low : high) : x < high ? x : high),
    laws: [],
  },
  exp: unary(8, accurate(6, 3), Math.exp, [
    { law: "homomorphism", from: "add", to: "mul" },
    { law: "increasing" },
  ]),
  exp2: unary(4, accurate(6), (a) => 2 ** a, [
    { law: "homomorphism", from: "add", to: "mul" },
    { law: "increasing" },
  ]),
  log: unary(8, accurate(8, 0, 2 ** -21), Math.log, [
    { law: "homomorphism", from: "mul", to: "add" },
    { law: "increasing" },
  ]),
  log2: unary(4, accurate(6, 0, 2 ** -21), Math.log2, [
    { law: "homomorphism", from: "mul", to: "add" },
    { law: "increasing" },
  ]),
  sqrt: unary(4, accurate(6), Math.sqrt, [
    { law: "homomorphism", from: "mul", to: "mul" },
    { law: "increasing" },
  ]),
  rsqrt: unary(4, accurate(4), (a) => 1 / Math.sqrt(a), [{ law: "homomorphism", from: "mul", to: "mul" }]),
  sin: unary(8, accurate(8, 0, 2 ** -20), Math.sin, [{ law: "odd" }]),
  cos: unary(8, accurate(8, 0, 2 ** -20), Math.cos, [{ law: "even" }]),
  tanh: unary(12, accurate(16), Math.tanh, [{ law: "odd" }, { law: "increasing" }]),
  sigmoid: unary(10, accurate(16, 3), (a) => 1 / (1 + Math.exp(-a)), [{ law: "increasing" }]),
  silu: unary(11, accurate(18, 3), (a) => a / (1 + Math.exp(-a))),
  gelu: unary(20, accurate(16, 0, 2 ** -20), (a) => a * 0.5 * (1 + errorFunction(a * Math.SQRT1_2))),
  erf: unary(16, accurate(16), errorFunction, [{ law: "odd" }, { law: "increasing" }]),
  // 1 / x, as quotients within other functions need it; their rows' accuracy has room for it, that of 'div' has not.
  rcp: unary(1, accurate(6, 0, 2 ** -126), (a) => 1 / a, [{ law: "odd" }]),
  powerNotBelow: unary(2, exact, powerNotBelow, [idempotent, { law: "increasing" }]),
  floor: unary(1, exact, Math.floor, [idempotent, { law: "increasing" }]),
  ceil: unary(1, exact, Math.ceil, [idempotent, { law: "increasing" }]),
  round: unary(1, exact, roundEven, [idempotent, { law: "odd" }, { law: "increasing" }]),
  order: {
    arity: 1,
    types: floatTypes,
    result: "i32",
    cost: 1,
    accuracy: exact,
    float: orderKey,
    int: noInt,
    big: noBig,
    laws: [{ law: "increasing" }],
  },
  eq: comparison(
    scalarTypes,
    (a, b) => a === b,
    (a, b) => a === b,
    [commutative],
  ),
  ne: comparison(
    scalarTypes,
    (a, b) => a !== b,
    (a, b) => a !== b,
    [commutative],
  ),
  lt: comparison(
    numericTypes,
    (a, b) => a < b,
    (a, b) => a < b,
  ),
  le: comparison(
    numericTypes,
    (a, b) => a <= b,
    (a, b) => a <= b,
  ),
  gt: comparison(
    numericTypes,
    (a, b) => a > b,
    (a, b) => a > b,
  ),
  ge: comparison(
    numericTypes,
    (a, b) => a >= b,
    (a, b) => a >= b,
  ),
  and: {
    arity: 2,
    types: boolTypes,
    result: "bool",
    cost: 1,
    accuracy: exact,
    float: (a, b) => a & b,
    int: (a, b) => a & b,
    big: noBig,
    laws: [commutative, associative, idempotent, { law: "identity", value: 1 }],
  },
  or: {
    arity: 2,
    types: boolTypes,
    result: "bool",
    cost: 1,
    accuracy: exact,
    float: (a, b) => a | b,
    int: (a, b) => a | b,
    big: noBig,
    laws: [commutative, associative, idempotent, { law: "identity", value: 0 }],
  },
  not: {
    arity: 1,
    types: boolTypes,
    result: "bool",
    cost: 1,
    accuracy: exact,
    float: (a) => 1 - a,
    int: (a) => 1 - a,
    big: noBig,
    laws: [],
  },
  // The first. It is false where the second is, and true where the third is: what has been found out about it.
  bounded: {
    arity: 3,
    types: boolTypes,
    result: "bool",
    cost: 0,
    accuracy: exact,
    float: (a) => a,
    int: (a) => a,
    big: noBig,
    laws: [],
  },
  select: {
    arity: 3,
    types: scalarTypes,
    result: "same",
    cost: 1,
    accuracy: exact,
    float: (c, a, b) => (c !== 0 ? a : b),
    int: (c, a, b) => (c !== 0 ? a : b),
    big: (c, a, b) => (c !== 0n ? a : b),
    laws: [],
  },
} satisfies Record<string, Row>;

export const scalarFunctions: ReadonlyMap<string, ScalarFunction> = new Map(
  Object.entries(rows).map(([name, row]: [string, Row]): [string, ScalarFunction] => [
    name,
    { ...row, name, derivative: derivatives.get(name) },
  ]),
);

/** The type of `fn` applied to operands of these types, or a sentence that says what is wrong. */
export function inferApply(
  fn: string,
  operands: readonly ScalarType[],
): ScalarType | { readonly problem: string } {
  const row = scalarFunctions.get(fn);
  if (row === undefined) return { problem: `there is no scalar function '${fn}'` };
  if (operands.length !== row.arity)
    return { problem: `'${fn}' takes ${row.arity} operands, not ${operands.length}` };
  const first = fn === "select" ? 1 : 0;
  if (first === 1 && operands[0] !== "bool")
    return { problem: `the condition of 'select' is ${operands[0]}` };
  const type = operands[first] ?? "f32";
  if (!row.types.includes(type)) return { problem: `'${fn}' does not take ${type}` };
  for (let i = first + 1; i < operands.length; i++) {
    if (operands[i] !== type) return { problem: `'${fn}' of ${operands.join(", ")}` };
  }
  return row.result === "same" ? type : row.result;
}
