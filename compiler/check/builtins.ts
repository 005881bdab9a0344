/** The built-in operations on whole tensors, one row each: what their brackets and arguments must be. */
import type { CallExpr } from "../../grammar/ast.ts";
import { axisTwice, falseClaim, noSuchAxis, raggedMismatch } from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { argumentCount, badOperator, brackets, typeMismatch } from "../diagnostics/values.ts";
import { type Dim, symbol } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { proveAtMost, refute } from "../types/prover.ts";
import {
  carried,
  classOf,
  dimAxis,
  findAxis,
  printAxis,
  printDtype,
  printType,
  sameAxis,
  sameAxisDim,
  scalar,
} from "./axes.ts";
import { tensorOf } from "./arithmetic.ts";
import { coerce } from "./coerce.ts";
import { claimLater, type Context, errorExpr, fail, freshInstance, inner, placeIn } from "./context.ts";
import { checkJoin, checkSplit } from "./reshape.ts";
import { resolveDim } from "./sizes.ts";
import { resolveElement } from "./types.ts";
import type { Axis, Builtin, PagedType, TensorType, Type, TypedExpr } from "./typed.ts";

export const builtins: ReadonlyMap<string, (cx: Context, e: CallExpr) => TypedExpr> = new Map([
  ["topk", checkTopk],
  ["cumsum", (cx, e) => checkAlong(cx, e, "cumsum")],
  ["sort", (cx, e) => checkAlong(cx, e, "sort")],
  ["scatter_add", checkScatterAdd],
  ["split", checkSplit],
  ["join", checkJoin],
  ["quantize", checkQuantize],
  ["dequantize", checkDequantize],
  ["dispatch", checkDispatch],
  ["combine", checkCombine],
]);

/** Sizes in brackets and arguments, as many as there must be; undefined after a report. */
function taken(
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

function tensorArgument(cx: Context, arg: TypedExpr | undefined, name: string): TensorType | undefined {
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
function axisOf(cx: Context, type: TensorType, dim: Dim, place: Place): number {
  const at = findAxis(cx.known, type.axes, dimAxis(dim));
  if (at === -1) fail(cx, place, noSuchAxis(place, printDim(dim), printType(type)));
  if (at === -2) fail(cx, place, axisTwice(place, printDim(dim), printType(type)));
  return Math.max(at, -1);
}

function node(builtin: Builtin, args: readonly TypedExpr[], type: Type, place: Place): TypedExpr {
  return { kind: "builtin", builtin, args, type, place };
}

function checkTopk(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const call = taken(cx, e, "topk", "topk[X, k](a)", 2, 1);
  const [value] = call?.args ?? [];
  const [along, k] = call?.dims ?? [];
  const type = tensorArgument(cx, value, "topk");
  if (value === undefined || along === undefined || k === undefined || type === undefined)
    return errorExpr(place);
  if (classOf(type.dtype, cx.bounds) === "bool")
    return fail(cx, value.place, badOperator(value.place, "topk", printType(type), "cast it to a number"));
  const axis = axisOf(cx, type, along, value.place);
  if (axis < 0) return errorExpr(place);
  const claim = `${printDim(k)} <= ${printDim(along)}`;
  if (refute(cx.known.sizes, { left: k, relation: "<=", right: along }))
    return fail(cx, place, falseClaim(place, { claim, why: "topk cannot choose more than there are" }));
  if (!proveAtMost(cx.known.sizes, k, along)) claimLater(cx, k, "<=", along, claim, place);
  const chosen = type.axes.map((own, i): Axis => (i === axis ? dimAxis(k) : own));
  const fields = [
    { name: "values", type: { ...type, axes: chosen, masked: false } },
    { name: "index", type: { ...scalar("i32"), axes: chosen } },
    { name: "mask", type: { ...scalar("bool"), axes: type.axes } },
  ];
  return node({ name: "topk", axis, k }, [value], { kind: "record", fields }, place);
}

function checkAlong(cx: Context, e: CallExpr, name: "cumsum" | "sort"): TypedExpr {
  const place = placeIn(cx, e.span);
  const call = taken(cx, e, name, `${name}[X](a)`, 1, 1);
  const [value] = call?.args ?? [];
  const [along] = call?.dims ?? [];
  const type = tensorArgument(cx, value, name);
  if (value === undefined || along === undefined || type === undefined) return errorExpr(place);
  const kind = classOf(type.dtype, cx.bounds);
  if (kind === "bool")
    return fail(cx, value.place, badOperator(value.place, name, printType(type), "cast it to a number"));
  const axis = axisOf(cx, type, along, value.place);
  if (axis < 0) return errorExpr(place);
  const result: TensorType =
    name === "cumsum" && kind === "float" ? { ...carried, axes: type.axes } : { ...type, masked: false };
  return node({ name, axis }, [value], result, place);
}

function checkScatterAdd(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const call = taken(cx, e, "scatter_add", "scatter_add[E](index, x)", 1, 2);
  const [index, value] = call?.args ?? [];
  const [size] = call?.dims ?? [];
  const type = tensorArgument(cx, value, "scatter_add");
  const at = index === undefined ? undefined : tensorOf(index);
  if (index === undefined || value === undefined || size === undefined || type === undefined)
    return errorExpr(place);
  const [rows] = at?.axes ?? [];
  if (
    at === undefined ||
    rows === undefined ||
    at.axes.length !== 1 ||
    classOf(at.dtype, cx.bounds) !== "int"
  ) {
    return fail(
      cx,
      index.place,
      typeMismatch(index.place, {
        found: printType(index.type),
        wanted: "integers over one axis, such as i32[N]",
        what: "the index of 'scatter_add'",
      }),
    );
  }
  const [first, ...rest] = type.axes;
  if (first === undefined || !sameAxis(cx.known, first, rows)) {
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(type),
        wanted: `a tensor that begins with the axis '${printAxis(rows)}'`,
        what: "what is scattered",
      }),
    );
  }
  const kind = classOf(type.dtype, cx.bounds);
  if (kind === "bool")
    return fail(
      cx,
      value.place,
      badOperator(value.place, "scatter_add", printType(type), "cast it to a number"),
    );
  const axes = [dimAxis(size), ...rest];
  return node(
    { name: "scatter_add", size },
    [index, value],
    kind === "float" ? { ...carried, axes } : { ...type, axes, masked: false },
    place,
  );
}

// ---------------------------------------------------------------- block scales

function checkQuantize(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const usage = "quantize<e4m3 @ (1, 128)>(x)";
  const call = taken(cx, e, "quantize", usage, 0, 1);
  const [value] = call?.args ?? [];
  const [argument, ...more] = e.typeArgs;
  if (argument === undefined || more.length > 0)
    return fail(
      cx,
      place,
      argumentCount(place, {
        callee: "quantize",
        wanted: `one type argument: ${usage}`,
        found: e.typeArgs.length,
      }),
    );
  const element = resolveElement(cx, argument);
  const type = tensorArgument(cx, value, "quantize");
  if (value === undefined || type === undefined || element === undefined) return errorExpr(place);
  if (classOf(type.dtype, cx.bounds) !== "float")
    return fail(cx, value.place, badOperator(value.place, "quantize", printType(type), "cast it to a float"));
  if (element.scale === undefined && element.dtype.kind === "dtype") {
    return fail(
      cx,
      place,
      typeMismatch(placeIn(cx, argument.span), {
        found: printDtype(element.dtype),
        wanted: "a block-scaled type",
        help: `${usage}; a plain cast is ${printDtype(element.dtype)}(x)`,
      }),
    );
  }
  if (
    element.scale !== undefined &&
    element.scale.block.length > type.axes.filter((axis) => axis.kind === "dim").length
  ) {
    return fail(
      cx,
      place,
      typeMismatch(value.place, {
        found: printType(type),
        wanted: `a tensor of ${element.scale.block.length} axes or more`,
        what: "what is quantized",
      }),
    );
  }
  return node(
    { name: "quantize" },
    [value],
    {
      kind: "tensor",
      dtype: element.dtype,
      axes: type.axes,
      scale: element.scale,
      written: true,
      masked: false,
    },
    place,
  );
}

function checkDequantize(cx: Context, e: CallExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const call = taken(cx, e, "dequantize", "dequantize(x)", 0, 1);
  const [value] = call?.args ?? [];
  const type = value === undefined ? undefined : tensorOf(value);
  if (value === undefined) return errorExpr(place);
  if (type === undefined || classOf(type.dtype, cx.bounds) !== "float") {
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a block-scaled tensor",
        what: "the argument of 'dequantize'",
      }),
    );
  }
  return node({ name: "dequantize" }, [value], { ...scalar("f32"), axes: type.axes }, place);
}

// ---------------------------------------------------------------- routing

function checkDispatch(cx: Context, e: CallExpr): TypedExpr {
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

function checkCombine(cx: Context, e: CallExpr): TypedExpr {
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

// ---------------------------------------------------------------- paged state

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
