/** The methods of a paged cache. */
import type { CallExpr } from "../../grammar/ast.ts";
import { argumentCount, typeMismatch } from "../diagnostics/values.ts";
import { symbol, type Dim } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { dimAxis, printType, sameAxis, scalar } from "./axes.ts";
import { tensorOf } from "./arithmetic.ts";
import { coerce } from "./coerce.ts";
import { type Context, errorExpr, fail, inner, placeIn } from "./context.ts";
import { node, taken } from "./builtin-arguments.ts";
import type { DTypeRef, PagedPart, PagedType, TensorType, TypedExpr } from "./typed.ts";

export function checkPagedRead(cx: Context, e: CallExpr, state: TypedExpr, type: PagedType): TypedExpr {
  const place = placeIn(cx, e.span);
  if (taken(cx, e, "read", "kv.read()", 0, 0) === undefined) return errorExpr(place);
  const fields = type.parts.map(({ dtype, scale, width }, k) => {
    const axes = [type.batch, type.length, width].map(dimAxis);
    return { name: String(k), type: { ...scalar("f32"), dtype, axes, scale } };
  });
  const [only] = fields;
  const read = fields.length === 1 && only !== undefined ? only.type : { kind: "record" as const, fields };
  return node({ name: "paged-read" }, [state], read, place);
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
): { readonly rows: readonly TypedExpr[]; readonly count: TypedExpr | undefined } | undefined {
  const place = placeIn(cx, e.span);
  const parts = type.parts.length;
  if (e.args.length < parts || e.args.length > parts + 1 || e.dims !== undefined) {
    const usage =
      parts === 1
        ? "rows and, if not all of them, their count: kv.append(x, count)"
        : `${parts} parts of rows and, if not all of them, their count`;
    fail(cx, place, argumentCount(place, { callee: "append", wanted: usage, found: e.args.length }));
    return undefined;
  }
  const values = e.args.map((argument) => cx.expr(inner(cx), argument));
  if (values.some((value) => value.type.kind === "error")) return undefined;
  const steps = stepsOf(values[0]);
  const rows = type.parts.flatMap((part, k): TypedExpr[] => {
    const value = values[k];
    const wanted = { type: rowsType(type, part, steps), what: "what is appended", at: undefined };
    return value === undefined ? [] : [coerce(cx, value, wanted)];
  });
  const given = values[parts];
  const count =
    given === undefined
      ? undefined
      : coerce(cx, given, {
          type: { ...scalar("i32"), axes: [dimAxis(type.batch)] },
          what: "the count of rows",
          at: undefined,
        });
  return rows.some((row) => row.kind === "error") || count?.kind === "error" ? undefined : { rows, count };
}

function stepsOf(rows: TypedExpr | undefined): Dim {
  const steps = rows === undefined ? undefined : tensorOf(rows)?.axes[1];
  return steps?.kind === "dim" ? steps.dim : symbol("S");
}

/** Rows to append, `steps` of each sequence; where they are scaled by blocks, appending them finds the scales. */
function rowsType(type: PagedType, part: PagedPart, steps: Dim): TensorType {
  const axes = [type.batch, steps, part.width].map(dimAxis);
  const dtype: DTypeRef = part.scale === undefined ? part.dtype : { kind: "dtype", dtype: "f32" };
  return { ...scalar("f32"), dtype, axes };
}
