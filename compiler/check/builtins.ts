/** The built-in operations on whole tensors, one row each: what their brackets and arguments must be. */
import type { CallExpr } from "../../grammar/ast.ts";
import { falseClaim } from "../diagnostics/axes.ts";
import { argumentCount, badOperator, typeMismatch } from "../diagnostics/values.ts";
import { printDim } from "../types/dim-text.ts";
import { proveAtMost, refute } from "../types/prover.ts";
import { carried, classOf, dimAxis, printAxis, printDtype, printType, sameAxis, scalar } from "./axes.ts";
import { tensorOf } from "./arithmetic.ts";
import { claimLater, type Context, errorExpr, fail, placeIn } from "./context.ts";
import { axisOf, node, taken, tensorArgument } from "./builtin-arguments.ts";
import { checkJoin, checkSplit } from "./reshape.ts";
import { checkCombine, checkDispatch } from "./routing.ts";
import { resolveElement } from "./types.ts";
import type { Axis, TensorType, TypedExpr } from "./typed.ts";

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
