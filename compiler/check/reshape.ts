/** `x as [..]`, `split[A | B](x)` and `join[A + B](x, y)`: axes taken apart and put together. */
import type { CallExpr, Expr } from "../../grammar/ast.ts";
import { axisTwice, noSuchAxis, reshape } from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { argumentCount, brackets, typeMismatch } from "../diagnostics/values.ts";
import { add, constant, type Dim, DimError, mul } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { proveEqual, refute } from "../types/prover.ts";
import {
  dimAxis,
  findAxis,
  printAxes,
  printAxis,
  printType,
  sameAxis,
  sameDtype,
  sameScale,
} from "./axes.ts";
import { claimLater, type Context, errorExpr, fail, inner, placeIn } from "./context.ts";
import { permute } from "./elementwise.ts";
import { tensorOf } from "./arithmetic.ts";
import { resolveDim } from "./sizes.ts";
import { resolveAxes } from "./types.ts";
import type { Axis, TensorType, TypedExpr } from "./typed.ts";

export function checkAs(cx: Context, e: Extract<Expr, { kind: "as" }>): TypedExpr {
  const place = placeIn(cx, e.span);
  const value = cx.expr(inner(cx), e.value);
  const axes = resolveAxes(cx, e.axes);
  if (value.type.kind === "error" || axes === undefined) return errorExpr(place);
  const type = tensorOf(value);
  if (type === undefined)
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a tensor",
        what: "what 'as' reshapes",
      }),
    );
  const reason = regroup(cx, type.axes, axes, place);
  if (reason !== undefined)
    return fail(cx, place, reshape(place, { from: printAxes(type.axes), to: printAxes(axes), ...reason }));
  return { kind: "reshape", value, type: { ...type, axes }, place };
}

interface Reason {
  readonly reason: string;
  readonly help?: string | undefined;
}

/** Walks both lists and matches one axis with its parts, or parts with their product. */
function regroup(cx: Context, from: readonly Axis[], to: readonly Axis[], place: Place): Reason | undefined {
  let [start, fromEnd, toEnd] = [0, from.length, to.length];
  const same = (a: Axis | undefined, b: Axis | undefined): boolean =>
    a !== undefined && b !== undefined && sameAxis(cx.known, a, b);
  while (start < fromEnd && start < toEnd && same(from[start], to[start])) start += 1;
  while (fromEnd > start && toEnd > start && same(from[fromEnd - 1], to[toEnd - 1])) {
    fromEnd -= 1;
    toEnd -= 1;
  }
  const left = sizesOf(from.slice(start, fromEnd));
  const right = sizesOf(to.slice(start, toEnd));
  if (left === undefined || right === undefined) return { reason: "'...' and ragged axes stay as they are" };
  return regroupSizes(cx, left, right, place);
}

function regroupSizes(
  cx: Context,
  from: readonly Dim[],
  to: readonly Dim[],
  place: Place,
): Reason | undefined {
  if (from.length === 0 && to.length === 0) return undefined;
  if (from.length <= 1 || to.length <= 1) return claimProduct(cx, from, to, place);
  // Several on both sides: the shortest prefixes with one product make a group.
  for (let i = 1; i <= from.length; i += 1) {
    for (let j = 1; j <= to.length; j += 1) {
      if ((i > 1 && j > 1) || (i === from.length && j === to.length)) continue;
      if (!proveEqual(cx.known.sizes, product(from.slice(0, i)), product(to.slice(0, j)))) continue;
      return regroupSizes(cx, from.slice(i), to.slice(j), place);
    }
  }
  const turned = from.length === to.length && from.every((a) => to.some((b) => printDim(a) === printDim(b)));
  return {
    reason: "the axes do not split or merge into these",
    help: turned ? "'as' keeps the order of the elements; build a transpose with 'for'" : undefined,
  };
}

function claimProduct(
  cx: Context,
  from: readonly Dim[],
  to: readonly Dim[],
  place: Place,
): Reason | undefined {
  const [left, right] = [product(from), product(to)];
  if (proveEqual(cx.known.sizes, left, right)) return undefined;
  if (refute(cx.known.sizes, { left, relation: "==", right }))
    return { reason: `${printDim(left)} is never ${printDim(right)}` };
  claimLater(cx, left, "==", right, `${printDim(left)} == ${printDim(right)}`, place);
  return undefined;
}

function product(dims: readonly Dim[]): Dim {
  try {
    return mul(constant(1), ...dims);
  } catch (error) {
    if (error instanceof DimError) return constant(Number.MAX_SAFE_INTEGER);
    throw error;
  }
}

function sizesOf(axes: readonly Axis[]): Dim[] | undefined {
  const dims = axes.flatMap((axis) => (axis.kind === "dim" ? [axis.dim] : []));
  return dims.length === axes.length ? dims : undefined;
}

/** The one tensor that a built-in works on, or an error expression after a report. */
function onlyTensor(
  cx: Context,
  e: CallExpr,
  name: string,
): { value: TypedExpr; type: TensorType } | undefined {
  const place = placeIn(cx, e.span);
  const [argument, ...more] = e.args;
  if (argument === undefined || more.length > 0) {
    fail(cx, place, argumentCount(place, { callee: name, wanted: "one tensor", found: e.args.length }));
    return undefined;
  }
  const value = cx.expr(inner(cx), argument);
  const type = tensorOf(value);
  if (value.type.kind === "error") return undefined;
  if (type === undefined) {
    fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a tensor",
        what: `the argument of '${name}'`,
      }),
    );
    return undefined;
  }
  return { value, type };
}

export function checkSplit(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const [dims, ...others] = e.dims ?? [];
  const argument = onlyTensor(cx, e, "split");
  if (dims?.kind !== "parts" || others.length > 0 || dims.parts.length < 2) {
    return fail(
      cx,
      place,
      brackets(
        place,
        "'split' needs the parts of the axis in brackets",
        "split[A | B](x) cuts the axis A + B",
      ),
    );
  }
  const parts = dims.parts.map((part) => resolveDim(cx, part, "exact"));
  if (argument === undefined || parts.some((part) => part === undefined)) return errorExpr(place);
  const sizes = parts.filter((part) => part !== undefined);
  const whole = add(...sizes);
  const { value, type } = argument;
  const at = findAxis(cx.known, type.axes, dimAxis(whole));
  if (at === -1) return fail(cx, place, noSuchAxis(place, sizes.map(printDim).join(" + "), printType(type)));
  if (at === -2) return fail(cx, place, axisTwice(place, printDim(whole), printType(type)));
  const fields = sizes.map((size, i) => ({
    name: String(i),
    type: { ...type, scale: undefined, axes: type.axes.map((axis, k) => (k === at ? dimAxis(size) : axis)) },
  }));
  if (type.scale !== undefined)
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(type),
        wanted: "a tensor without block scales",
        what: "the argument of 'split'",
        help: "dequantize it first",
      }),
    );
  return {
    kind: "builtin",
    builtin: { name: "split", axis: at, parts: sizes },
    args: [value],
    type: { kind: "record", fields },
    place,
  };
}

export function checkJoin(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const [dim, ...others] = e.dims ?? [];
  const parts = dim?.kind === "dim" && others.length === 0 ? summands(dim.dim) : [];
  const args = e.args.map((argument) => cx.expr(inner(cx), argument));
  if (dim?.kind !== "dim" || parts.length < 2) {
    return fail(
      cx,
      place,
      brackets(
        place,
        "'join' needs the parts of the new axis in brackets",
        "join[A + B](x, y) makes the axis A + B",
      ),
    );
  }
  if (args.length !== parts.length)
    return fail(
      cx,
      place,
      argumentCount(place, { callee: "join", wanted: `${parts.length} tensors`, found: args.length }),
    );
  const sizes = parts.map((part) => resolveDim(cx, part, "exact")).filter((size) => size !== undefined);
  if (sizes.length < parts.length || args.some((arg) => arg.type.kind === "error")) return errorExpr(place);
  return joined(cx, args, sizes, place);
}

function joined(cx: Context, args: readonly TypedExpr[], sizes: readonly Dim[], place: Place): TypedExpr {
  const aligned: TypedExpr[] = [];
  let first: { type: TensorType; at: number } | undefined;
  let mixed: TensorType | undefined;
  for (const [i, arg] of args.entries()) {
    const type = tensorOf(arg);
    const size = sizes[i];
    if (type === undefined || size === undefined || (type.scale !== undefined && type.axes.length > 0)) {
      return fail(
        cx,
        arg.place,
        typeMismatch(arg.place, {
          found: printType(arg.type),
          wanted: "a tensor without block scales",
          what: "what 'join' puts together",
        }),
      );
    }
    const at = findAxis(cx.known, type.axes, dimAxis(size));
    if (at === -1) return fail(cx, arg.place, noSuchAxis(arg.place, printDim(size), printType(type)));
    if (at === -2) return fail(cx, arg.place, axisTwice(arg.place, printDim(size), printType(type)));
    first ??= { type, at };
    const wanted = first.type.axes.map((axis, k) => (k === first?.at ? dimAxis(size) : axis));
    const missing = wanted.find((axis) => !type.axes.some((own) => sameAxis(cx.known, own, axis)));
    if (missing !== undefined || wanted.length !== type.axes.length) {
      const axis =
        missing ??
        type.axes.find((own) => !wanted.some((other) => sameAxis(cx.known, own, other))) ??
        dimAxis(size);
      return fail(
        cx,
        arg.place,
        typeMismatch(arg.place, {
          found: printType(type),
          wanted: `a tensor [${printAxes(wanted)}]`,
          what: "this part",
          help: `the parts differ in '${printAxis(axis)}'`,
        }),
      );
    }
    if (
      !sameDtype(type.dtype, first.type.dtype) ||
      type.written !== first.type.written ||
      !sameScale(type.scale, first.type.scale)
    )
      mixed ??= type;
    aligned.push(
      wanted.every((axis, k) => sameAxis(cx.known, axis, type.axes[k] ?? axis))
        ? arg
        : permute(cx, arg, wanted),
    );
  }
  if (first === undefined) return errorExpr(place);
  if (mixed !== undefined) {
    return fail(
      cx,
      place,
      typeMismatch(place, {
        found: `${printType(first.type)} and ${printType(mixed)}`,
        wanted: "one dtype",
        what: "what 'join' puts together",
        help: "cast one of them",
      }),
    );
  }
  const at = first.at;
  const whole = add(...sizes);
  const axes = first.type.axes.map((axis, k) => (k === at ? dimAxis(whole) : axis));
  const masked = args.some((arg) => tensorOf(arg)?.masked === true);
  return {
    kind: "builtin",
    builtin: { name: "join", axis: at },
    args: aligned,
    type: { ...first.type, axes, masked },
    place,
  };
}

function summands(e: Expr): readonly Expr[] {
  if (e.kind === "paren") return summands(e.value);
  return e.kind === "binary" && e.op === "+" ? [...summands(e.left), ...summands(e.right)] : [e];
}
