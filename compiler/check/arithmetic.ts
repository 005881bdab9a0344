/* oxlint-disable unicorn/no-thenable -- `then` is the branch of a `select`; no tree is awaited. */
/**
 * Scalars: what operators and scalar functions make of dtypes. Float arithmetic carries f32, whatever the
 * operands; integers keep or widen theirs; literals and dims take the dtype they meet, other integers are cast.
 */
import type { Place } from "../diagnostics/diagnostic.ts";
import { sizeError } from "../diagnostics/axes.ts";
import { badOperator, typeMismatch } from "../diagnostics/values.ts";
import { constant, type Dim, floorDiv, floordiv, mod, mul, add, sub, zero } from "../types/dim.ts";
import { isFloat, maxOf, type Format } from "../types/dtype.ts";
import { proveAtMost } from "../types/prover.ts";
import { carried, type Class, classOf, dtypeRef, printType, sameDtype, scalar } from "./axes.ts";
import { type Context, errorExpr, fail } from "./context.ts";
import type { DTypeRef, TensorType, TypedExpr } from "./typed.ts";

const floatFunctions = [
  "exp",
  "exp2",
  "log",
  "log2",
  "sqrt",
  "rsqrt",
  "sin",
  "cos",
  "tanh",
  "sigmoid",
  "silu",
  "gelu",
  "erf",
  "floor",
  "ceil",
  "round",
] as const;

/** Scalar functions by name, with the number of arguments. */
export const scalarFunctions: ReadonlyMap<string, number> = new Map([
  ...floatFunctions.map((name): [string, number] => [name, 1]),
  ["abs", 1],
  ["min", 2],
  ["max", 2],
  ["clamp", 3],
  ["select", 3],
]);

const floats: ReadonlySet<string> = new Set(floatFunctions);
const comparisons: ReadonlySet<string> = new Set(["eq", "ne", "lt", "le", "gt", "ge"]);

/** Operators as written, by their table names. */
export const operatorNames: Readonly<Record<string, string>> = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "%": "mod",
  "==": "eq",
  "!=": "ne",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
  and: "and",
  or: "or",
};

/** The type of a scalar or tensor expression, or undefined for anything else. */
export function tensorOf(e: TypedExpr): TensorType | undefined {
  return e.type.kind === "tensor" ? e.type : undefined;
}

export function classOfExpr(cx: Context, e: TypedExpr): Class | undefined {
  const type = tensorOf(e);
  return type === undefined ? undefined : classOf(type.dtype, cx.bounds);
}

/** A number without a dtype of its own: a literal or a size. */
export function isUntyped(e: TypedExpr): boolean {
  return e.kind === "dim" || (e.kind === "literal" && typeof e.value !== "boolean");
}

/** A scalar function or operator on scalars; `shown` is how the user wrote it. */
export function applyScalars(
  cx: Context,
  place: Place,
  fn: string,
  args: readonly TypedExpr[],
  shown: string,
): TypedExpr {
  if (args.some((arg) => arg.type.kind === "error")) return errorExpr(place);
  const classes = args.map((arg) => classOfExpr(cx, arg));
  const types = args.map((arg) => printType(arg.type)).join(" and ");
  const masked = args.some((arg) => tensorOf(arg)?.masked === true);
  if (classes.includes(undefined)) return fail(cx, place, badOperator(place, shown, types, undefined));
  if (fn === "and" || fn === "or" || fn === "not") {
    if (classes.every((c) => c === "bool")) return apply(place, fn, args, { ...scalar("bool"), masked });
    return fail(cx, place, badOperator(place, shown, types, "it joins conditions: a < b and c"));
  }
  if (fn === "select") return applySelect(cx, place, args, masked);
  if (classes.includes("bool")) {
    const equality = (fn === "eq" || fn === "ne") && classes.every((c) => c === "bool");
    if (equality) return apply(place, fn, args, { ...scalar("bool"), masked });
    return fail(
      cx,
      place,
      badOperator(place, shown, types, "cast the condition to a number: f32(..), or use select(c, a, b)"),
    );
  }
  const folded = foldSizes(cx, place, fn, args);
  if (folded !== undefined) return folded;
  const joined = unifyNumbers(cx, fn, args);
  if (joined === undefined) return fail(cx, place, badOperator(place, shown, types, "cast one of them"));
  const { values, type, kind } = joined;
  if (comparisons.has(fn)) return apply(place, fn, values, { ...scalar("bool"), masked });
  if (kind === "float") {
    if (fn === "mod") return fail(cx, place, badOperator(place, shown, types, "% is for integers"));
    return apply(place, fn, values, { ...carried, masked });
  }
  return apply(place, fn === "div" ? "floordiv" : fn, values, { ...type, masked });
}

function applySelect(cx: Context, place: Place, args: readonly TypedExpr[], masked: boolean): TypedExpr {
  const [condition, then, otherwise] = args;
  if (condition === undefined || then === undefined || otherwise === undefined) return errorExpr(place);
  if (classOfExpr(cx, condition) !== "bool") {
    return fail(
      cx,
      condition.place,
      typeMismatch(condition.place, { found: printType(condition.type), wanted: "a condition" }),
    );
  }
  const bools = classOfExpr(cx, then) === "bool" && classOfExpr(cx, otherwise) === "bool";
  const joined = bools
    ? { values: [then, otherwise], type: scalar("bool") }
    : unifyNumbers(cx, "select", [then, otherwise]);
  const [a, b] = joined?.values ?? [];
  if (joined === undefined || a === undefined || b === undefined) {
    return fail(
      cx,
      place,
      typeMismatch(otherwise.place, { found: printType(otherwise.type), wanted: printType(then.type) }),
    );
  }
  return { kind: "select", condition, then: a, else: b, type: { ...joined.type, masked }, place };
}

function apply(place: Place, fn: string, args: readonly TypedExpr[], type: TensorType): TypedExpr {
  return { kind: "apply", fn, args, type, place };
}

/** Brings numbers to one dtype; undefined where a bool is among them. */
export function unifyNumbers(
  cx: Context,
  fn: string,
  args: readonly TypedExpr[],
): { values: TypedExpr[]; type: TensorType; kind: "float" | "int" } | undefined {
  const classes = args.map((arg) => classOfExpr(cx, arg));
  if (classes.includes("bool") || classes.includes(undefined)) return undefined;
  if (floats.has(fn) || classes.includes("float"))
    return { values: args.map((arg) => toFloat(cx, arg)), type: carried, kind: "float" };
  const typed = args.filter((arg) => !isUntyped(arg)).map((arg) => tensorOf(arg)?.dtype ?? dtypeRef("i32"));
  const dtype = typed.length > 0 ? widest(typed) : literalDtype(args);
  const type: TensorType = { ...scalar("i32"), dtype };
  return { values: args.map((arg) => convert(cx, arg, type)), type, kind: "int" };
}

function literalDtype(args: readonly TypedExpr[]): DTypeRef {
  const wide = args.some(
    (arg) => arg.kind === "literal" && typeof arg.value === "bigint" && !fits(arg.value, "i32"),
  );
  return dtypeRef(wide ? "i64" : "i32");
}

function widest(refs: readonly DTypeRef[]): DTypeRef {
  return refs.reduce((a, b) => {
    if (sameDtype(a, b) || a.kind === "param") return a;
    if (b.kind === "param") return b;
    const names = [a.dtype, b.dtype];
    if (names.includes("i64") || (names.includes("u32") && names.some((n) => n === "i32" || n === "i8")))
      return dtypeRef("i64");
    return dtypeRef(names.includes("u32") ? "u32" : "i32");
  });
}

function toFloat(cx: Context, e: TypedExpr): TypedExpr {
  return classOfExpr(cx, e) === "float" ? e : convert(cx, e, carried);
}

/** The value in another dtype: a literal is rewritten, anything else is a cast. */
export function convert(cx: Context, e: TypedExpr, to: TensorType): TypedExpr {
  const type = tensorOf(e);
  if (type === undefined) return e;
  const kind = classOf(to.dtype, cx.bounds);
  if (e.kind === "literal" && typeof e.value !== "boolean") {
    if (kind === "int" && typeof e.value === "bigint") return { ...e, type: { ...to, masked: false } };
    if (kind === "float") return { ...e, value: Number(e.value), type: { ...to, masked: false } };
  }
  if (e.kind === "dim" && kind === "int") return { ...e, type: { ...to, masked: false } };
  if (sameDtype(type.dtype, to.dtype)) return e;
  return { kind: "cast", value: e, type: { ...to, axes: type.axes, masked: type.masked }, place: e.place };
}

export function fits(value: bigint, dtype: Format): boolean {
  if (isFloat(dtype) || dtype === "bool") return true;
  if (dtype === "i64") return value >= -(2n ** 63n) && value < 2n ** 63n;
  const high = BigInt(maxOf(dtype));
  const low = dtype.startsWith("u") ? 0n : -high - 1n;
  return value >= low && value <= high;
}

// ---------------------------------------------------------------- sizes as values

const sizeOperators: Readonly<Record<string, (a: Dim, b: Dim) => Dim>> = {
  add,
  sub,
  mul,
  div: floordiv,
  mod,
};

/** `D / 2` and `S - 1` stay sizes, where they are known not to be negative; `2 * 3` stays a literal. */
function foldSizes(cx: Context, place: Place, fn: string, args: readonly TypedExpr[]): TypedExpr | undefined {
  const operator = sizeOperators[fn];
  const [a, b] = args;
  if (operator === undefined || a === undefined || b === undefined) return undefined;
  if (a.kind === "literal" && b.kind === "literal") return foldLiterals(cx, place, fn, a.value, b.value);
  const [left, right] = [sizeValue(a), sizeValue(b)];
  if (left === undefined || right === undefined) return undefined;
  if ((fn === "div" || fn === "mod") && !proveAtMost(cx.known.sizes, constant(1), right)) return undefined;
  const dim = operator(left, right);
  if (!proveAtMost(cx.known.sizes, zero, dim)) return undefined;
  return dimExpr(dim, place);
}

/** Whole numbers are exact up to 64 bits, and no program means more. */
function foldLiterals(
  cx: Context,
  place: Place,
  fn: string,
  a: number | bigint | boolean,
  b: number | bigint | boolean,
): TypedExpr | undefined {
  if (typeof a !== "bigint" || typeof b !== "bigint") return undefined;
  if ((fn === "div" || fn === "mod") && b === 0n)
    return fail(cx, place, sizeError(place, "a whole number is divided by 0"));
  const results: Readonly<Record<string, () => bigint>> = {
    add: () => a + b,
    sub: () => a - b,
    mul: () => a * b,
    div: () => floorDiv(a, b),
    mod: () => a - b * floorDiv(a, b),
  };
  const value = results[fn]?.();
  if (value === undefined) return undefined;
  return fits(value, "i64")
    ? intLiteral(value, place)
    : fail(cx, place, sizeError(place, `the number ${value} does not fit in 64 bits`));
}

function sizeValue(e: TypedExpr): Dim | undefined {
  if (e.kind === "dim") return e.dim;
  if (e.kind !== "literal" || typeof e.value !== "bigint") return undefined;
  return fits(e.value, "i32") ? constant(e.value) : undefined;
}

export function dimExpr(dim: Dim, place: Place): TypedExpr {
  return { kind: "dim", dim, type: scalar("i32"), place };
}

export function intLiteral(value: bigint, place: Place): TypedExpr {
  return { kind: "literal", value, type: scalar(fits(value, "i32") ? "i32" : "i64"), place };
}

export function floatLiteral(value: number, place: Place): TypedExpr {
  return { kind: "literal", value, type: carried, place };
}

/** `-x`; a literal keeps being one. */
export function negate(cx: Context, place: Place, e: TypedExpr): TypedExpr {
  if (e.kind === "literal" && typeof e.value === "bigint") return intLiteral(-e.value, place);
  if (e.kind === "literal" && typeof e.value === "number") return { ...e, value: -e.value, place };
  return applyScalars(cx, place, "neg", [e], "-");
}
