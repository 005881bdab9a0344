/** `dispatch` and `combine`. */
import type { CallExpr } from "../../grammar/ast.ts";
import { raggedMismatch } from "../diagnostics/axes.ts";
import { typeMismatch } from "../diagnostics/values.ts";
import { printDim } from "../types/dim-text.ts";
import { carried, classOf, dimAxis, printAxis, printType, sameAxis, sameAxisDim, scalar } from "./axes.ts";
import { tensorOf } from "./arithmetic.ts";
import { coerce } from "./coerce.ts";
import { type Context, errorExpr, fail, freshInstance, placeIn } from "./context.ts";
import { node, taken, tensorArgument } from "./builtin-arguments.ts";
import type { Axis, TypedExpr } from "./typed.ts";

export function checkDispatch(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const call = taken(cx, e, "dispatch", "dispatch[E](x, index)", 1, 2);
  const [value, index] = call?.args ?? [];
  const [experts] = call?.dims ?? [];
  const type = tensorArgument(cx, value, "dispatch");
  const at = index === undefined ? undefined : tensorOf(index);
  if (value === undefined || index === undefined || experts === undefined || type === undefined)
    return errorExpr(place);
  const [rows, width] = type.axes;
  if (
    classOf(type.dtype, cx.bounds) !== "float" ||
    type.axes.length !== 2 ||
    rows?.kind !== "dim" ||
    width?.kind !== "dim"
  ) {
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(type),
        wanted: "a float tensor [N, D]",
        what: "what is dispatched",
      }),
    );
  }
  const [first, choices] = at?.axes ?? [];
  const isIndex = at?.dtype.kind === "dtype" && at.dtype.dtype === "i32" && at.axes.length === 2;
  if (!isIndex || first === undefined || choices?.kind !== "dim" || !sameAxis(cx.known, first, rows)) {
    return fail(
      cx,
      index.place,
      typeMismatch(index.place, {
        found: printType(index.type),
        wanted: `i32[${printAxis(rows)}, K]`,
        what: "the index of 'dispatch'",
      }),
    );
  }
  const declared =
    experts.kind === "symbol" ? [...cx.scope.ragged].find(([, by]) => by === experts.name)?.[0] : undefined;
  const name = declared ?? "R";
  const instance = freshInstance(cx, name);
  const ragged: Axis = { kind: "ragged", name, instance, by: experts };
  const fields = [
    { name: "rows", type: { ...type, axes: [dimAxis(experts), ragged, width], masked: false } },
    {
      name: "plan",
      type: { kind: "plan", rows: rows.dim, choices: choices.dim, experts, instance } as const,
    },
  ];
  return node({ name: "dispatch", experts, instance }, [value, index], { kind: "record", fields }, place);
}

export function checkCombine(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const call = taken(cx, e, "combine", "combine(y, plan, weight)", 0, 3);
  const [value, plan, weight] = call?.args ?? [];
  const type = tensorArgument(cx, value, "combine");
  if (value === undefined || plan === undefined || weight === undefined || type === undefined)
    return errorExpr(place);
  if (plan.type.kind !== "plan") {
    return fail(
      cx,
      plan.place,
      typeMismatch(plan.place, {
        found: printType(plan.type),
        wanted: "the plan of a dispatch",
        what: "the second argument of 'combine'",
      }),
    );
  }
  const [by, ragged, width] = type.axes;
  if (
    type.axes.length !== 3 ||
    by?.kind !== "dim" ||
    ragged?.kind !== "ragged" ||
    width?.kind !== "dim" ||
    !sameAxisDim(cx.known, by.dim, plan.type.experts)
  ) {
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(type),
        wanted: `the experts' rows [${printDim(plan.type.experts)}, R[${printDim(plan.type.experts)}], D]`,
        what: "what is combined",
      }),
    );
  }
  if (ragged.instance !== plan.type.instance) {
    return fail(
      cx,
      value.place,
      raggedMismatch(value.place, "these rows come from another dispatch than the plan", undefined),
    );
  }
  const axes = [dimAxis(plan.type.rows), dimAxis(plan.type.choices)];
  const weights = coerce(cx, weight, {
    type: { ...scalar("f32"), axes },
    what: "the weight of 'combine'",
    at: undefined,
  });
  if (weights.kind === "error") return errorExpr(place);
  return node(
    { name: "combine" },
    [value, plan, weights],
    { ...carried, axes: [dimAxis(plan.type.rows), width] },
    place,
  );
}
