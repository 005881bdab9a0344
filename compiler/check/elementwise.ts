/**
 * Whole-tensor operators: `a + b` and `exp(a)` over tensors become a `for` over the axes of both, aligned by
 * name in the left one's order, with the scalar operation inside.
 */
import type { Place } from "../diagnostics/diagnostic.ts";
import { axisTwice, packMisplaced } from "../diagnostics/axes.ts";
import { carried, dtypeRef, findAxis, printAxis, printType, sameAxis } from "./axes.ts";
import { type Context, declareIndex, fail } from "./context.ts";
import { tensorOf } from "./arithmetic.ts";
import type { Axis, IndexVariable, TensorType, TypedExpr, TypedIndex } from "./typed.ts";

/** Applies `scalarly` to the operands, element by element where any of them has axes. */
export function elementwise(
  cx: Context,
  place: Place,
  args: readonly TypedExpr[],
  scalarly: (values: readonly TypedExpr[]) => TypedExpr,
): TypedExpr {
  if (args.every((arg) => (tensorOf(arg)?.axes.length ?? 0) === 0)) return scalarly(args);
  const axes: Axis[] = [];
  for (const arg of args) {
    const type = tensorOf(arg);
    for (const axis of type?.axes ?? []) {
      if (type !== undefined && findAxis(cx.known, type.axes, axis) === -2)
        return fail(cx, arg.place, axisTwice(arg.place, printAxis(axis), printType(type)));
      if (!axes.some((other) => sameAxis(cx.known, other, axis))) axes.push(axis);
    }
  }
  if (cx.pack && axes.some((axis) => axis.kind === "pack")) {
    return fail(
      cx,
      place,
      packMisplaced(place, "this is a whole tensor inside 'for ...': index it with [...]"),
    );
  }
  const variables = indexVariables(cx, axes);
  const body = scalarly(args.map((arg) => readAt(cx, arg, axes, variables)));
  return forExpr(variables, body, place);
}

/** One index variable for each axis, ragged ones tied to the variable that they depend on. */
export function indexVariables(cx: Context, axes: readonly Axis[]): IndexVariable[] {
  const made: IndexVariable[] = [];
  for (const axis of axes) {
    const by =
      axis.kind === "ragged"
        ? made.find((v) => v.axis.kind === "dim" && sameAxis(cx.known, v.axis, { kind: "dim", dim: axis.by }))
        : undefined;
    made.push(declareIndex(cx, axis.kind === "pack" ? "..." : `${letter(axis)}${made.length}`, axis, by));
  }
  return made;
}

function letter(axis: Axis): string {
  const name = axis.kind === "ragged" ? axis.name : printAxis(axis);
  return /^[A-Za-z]/.test(name) ? name.slice(0, 1).toLowerCase() : "i";
}

export function readAt(
  cx: Context,
  tensor: TypedExpr,
  axes: readonly Axis[],
  variables: readonly IndexVariable[],
): TypedExpr {
  const type = tensorOf(tensor);
  if (type === undefined || type.axes.length === 0) return tensor;
  const indices = type.axes.map((axis): TypedIndex => {
    const at = axes.findIndex((other) => sameAxis(cx.known, other, axis));
    const variable = variables[at];
    if (axis.kind === "pack" || variable === undefined) return { kind: "pack" };
    return { kind: "at", value: indexExpr(variable, tensor.place) };
  });
  return {
    kind: "read",
    tensor,
    indices,
    otherwise: undefined,
    gathers: false,
    type: { ...type, axes: [] },
    place: tensor.place,
  };
}

export function indexExpr(variable: IndexVariable, place: Place): TypedExpr {
  return {
    kind: "index",
    variable,
    type: {
      kind: "tensor",
      dtype: dtypeRef("i32"),
      axes: [],
      scale: undefined,
      written: true,
      masked: false,
    },
    place,
  };
}

/** A `for` with its type: the variables' axes, then those of the body. */
export function forExpr(variables: readonly IndexVariable[], body: TypedExpr, place: Place): TypedExpr {
  const type = tensorOf(body);
  if (type === undefined) return { kind: "for", variables, body, type: { kind: "error" }, place };
  // Code times scale is no value of the code's dtype: the elements of a block-scaled tensor are f32.
  const element: TensorType =
    type.axes.length === 0 && type.scale !== undefined ? { ...carried, masked: type.masked } : type;
  return {
    kind: "for",
    variables,
    body,
    type: { ...element, axes: [...variables.map((v) => v.axis), ...type.axes] },
    place,
  };
}

/** The tensor with its axes in another order. */
export function permute(cx: Context, tensor: TypedExpr, axes: readonly Axis[]): TypedExpr {
  const variables = indexVariables(cx, axes);
  return forExpr(variables, readAt(cx, tensor, axes, variables), tensor.place);
}

/** Brings axes that the value lacks in front of it: `for` over them, with the value inside. */
export function broadcast(cx: Context, value: TypedExpr, axes: readonly Axis[]): TypedExpr {
  const variables = indexVariables(cx, axes);
  return forExpr(variables, readAt(cx, value, axes, variables), value.place);
}
