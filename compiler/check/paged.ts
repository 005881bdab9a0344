/** The methods of a paged cache. */
import type { CallExpr } from "../../grammar/ast.ts";
import { argumentCount, typeMismatch } from "../diagnostics/values.ts";
import { symbol } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { dimAxis, printType, sameAxis, scalar } from "./axes.ts";
import { tensorOf } from "./arithmetic.ts";
import { coerce } from "./coerce.ts";
import { type Context, errorExpr, fail, inner, placeIn } from "./context.ts";
import { node, taken } from "./builtin-arguments.ts";
import type { PagedType, TensorType, TypedExpr } from "./typed.ts";

export function checkPagedRead(cx: Context, e: CallExpr, state: TypedExpr, type: PagedType): TypedExpr {
  const place = placeIn(cx, e.span);
  if (taken(cx, e, "read", "kv.read()", 0, 0) === undefined) return errorExpr(place);
  const axes = [type.batch, type.length, type.width].map(dimAxis);
  return node({ name: "paged-read" }, [state], { ...scalar("f32"), dtype: type.dtype, axes }, place);
}

export function checkPagedVisible(cx: Context, e: CallExpr, state: TypedExpr, type: PagedType): TypedExpr {
  const place = placeIn(cx, e.span);
  const call = taken(cx, e, "visible", "kv.visible(pos)", 0, 1);
  const [pos] = call?.args ?? [];
  const at = pos === undefined ? undefined : tensorOf(pos);
  if (pos === undefined) return errorExpr(place);
  const [batch, query] = at?.axes ?? [];
  const isPos = at?.dtype.kind === "dtype" && at.dtype.dtype === "i32" && at.axes.length === 2;
  if (
    !isPos ||
    batch === undefined ||
    query?.kind !== "dim" ||
    !sameAxis(cx.known, batch, dimAxis(type.batch))
  ) {
    return fail(
      cx,
      pos.place,
      typeMismatch(pos.place, {
        found: printType(pos.type),
        wanted: `i32[${printDim(type.batch)}, S]`,
        what: "the argument of 'visible'",
      }),
    );
  }
  const axes = [dimAxis(type.batch), query, dimAxis(type.length)];
  return node({ name: "paged-visible" }, [state, pos], { ...scalar("bool"), axes }, place);
}

/** The rows and their count that `kv.append(x, count)` takes, or undefined after a report. */
export function checkAppend(
  cx: Context,
  e: CallExpr,
  type: PagedType,
): { readonly rows: TypedExpr; readonly count: TypedExpr | undefined } | undefined {
  const place = placeIn(cx, e.span);
  const [x, n, ...more] = e.args;
  if (x === undefined || more.length > 0 || e.dims !== undefined) {
    fail(
      cx,
      place,
      argumentCount(place, {
        callee: "append",
        wanted: "rows and, if not all of them, their count: kv.append(x, count)",
        found: e.args.length,
      }),
    );
    return undefined;
  }
  const value = cx.expr(inner(cx), x);
  const given = n === undefined ? undefined : cx.expr(inner(cx), n);
  const own = tensorOf(value);
  if (value.type.kind === "error" || given?.type.kind === "error") return undefined;
  const steps = own?.axes[1];
  const wanted: TensorType = {
    ...scalar("f32"),
    dtype: type.dtype,
    axes: [dimAxis(type.batch), steps?.kind === "dim" ? steps : dimAxis(symbol("S")), dimAxis(type.width)],
  };
  const rows = coerce(cx, value, { type: wanted, what: "what is appended", at: undefined });
  const count =
    given === undefined
      ? undefined
      : coerce(cx, given, {
          type: { ...scalar("i32"), axes: [dimAxis(type.batch)] },
          what: "the count of rows",
          at: undefined,
        });
  return rows.kind === "error" || count?.kind === "error" ? undefined : { rows, count };
}
