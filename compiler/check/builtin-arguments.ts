/** What the built-in operations have in common: their brackets, arguments and axes. */
import type { CallExpr } from "../../grammar/ast.ts";
import { axisTwice, noSuchAxis } from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { argumentCount, brackets, typeMismatch } from "../diagnostics/values.ts";
import { type Dim } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { dimAxis, findAxis, printType } from "./axes.ts";
import { tensorOf } from "./arithmetic.ts";
import { type Context, fail, inner, placeIn } from "./context.ts";
import { resolveDim } from "./sizes.ts";
import type { Builtin, TensorType, Type, TypedExpr } from "./typed.ts";

/** Sizes in brackets and arguments, as many as there must be; undefined after a report. */
export function taken(
  cx: Context,
  e: CallExpr,
  name: string,
  usage: string,
  sizes: number,
  values: number,
): { dims: Dim[]; args: TypedExpr[]; place: Place } | undefined {
  const place = placeIn(cx, e.span);
  const args = e.args.map((argument) => cx.expr(inner(cx), argument));
  const given = e.dims ?? [];
  const dims = given.flatMap((dim) => (dim.kind === "dim" ? (resolveDim(cx, dim.dim, "exact") ?? []) : []));
  if (given.length !== sizes || given.some((dim) => dim.kind !== "dim")) {
    fail(
      cx,
      place,
      brackets(
        place,
        `'${name}' takes ${sizes === 0 ? "no brackets" : `${sizes} size${sizes === 1 ? "" : "s"} in brackets`}`,
        usage,
      ),
    );
    return undefined;
  }
  if (args.length !== values) {
    fail(
      cx,
      place,
      argumentCount(place, {
        callee: name,
        wanted: `${values} argument${values === 1 ? "" : "s"}: ${usage}`,
        found: args.length,
      }),
    );
    return undefined;
  }
  return dims.length < sizes || args.some((arg) => arg.type.kind === "error")
    ? undefined
    : { dims, args, place };
}

export function tensorArgument(
  cx: Context,
  arg: TypedExpr | undefined,
  name: string,
): TensorType | undefined {
  const type = arg === undefined ? undefined : tensorOf(arg);
  if (arg === undefined || arg.type.kind === "error") return undefined;
  if (type === undefined || (type.scale !== undefined && type.axes.length > 0)) {
    fail(
      cx,
      arg.place,
      typeMismatch(arg.place, {
        found: printType(arg.type),
        wanted: "a tensor without block scales",
        what: `the argument of '${name}'`,
        help: type === undefined ? undefined : "dequantize it first",
      }),
    );
    return undefined;
  }
  return type;
}

/** Position of a named axis, -1 after a report. */
export function axisOf(cx: Context, type: TensorType, dim: Dim, place: Place): number {
  const at = findAxis(cx.known, type.axes, dimAxis(dim));
  if (at === -1) fail(cx, place, noSuchAxis(place, printDim(dim), printType(type)));
  if (at === -2) fail(cx, place, axisTwice(place, printDim(dim), printType(type)));
  return Math.max(at, -1);
}

export function node(builtin: Builtin, args: readonly TypedExpr[], type: Type, place: Place): TypedExpr {
  return { kind: "builtin", builtin, args, type, place };
}
