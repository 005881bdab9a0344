/** Expressions to values: one function for each kind of the typed tree, or the file that has it. */
import { InternalError, invariant, unreachable } from "../diagnostics/diagnostic.ts";
import type { IndexVariable, TypedExpr } from "../check/typed.ts";
import { storedAs } from "../types/dtype.ts";
import type { Scalar } from "../tensor/ir.ts";
import { scalarTypeOf } from "../tensor/scalar-types.ts";
import { raggedInLoop } from "../diagnostics/lower.ts";
import { lowerBuiltin } from "./builtins.ts";
import { lowerCall } from "./calls.ts";
import { elementType, extentOf, nameOf, type Frame, type Lowering } from "./frame.ts";
import { bindAxes } from "./loops.ts";
import { memberOf } from "./members.ts";
import { lowerRead } from "./reads.ts";
import { lowerReduction } from "./reductions.ts";
import { Refusal } from "./refusal.ts";
import { renameAxis, reshape } from "./reshapes.ts";
import { castTensor, convertElement, type Masking } from "./rounding.ts";
import { enter, tensorAt, type BoundVariables } from "./scopes.ts";
import { readBack, storageOf, storeElement, unbind } from "./tensors.ts";
import {
  elementAt,
  scalarValue,
  viewOf,
  type AxisValue,
  type Element,
  type ElementType,
  type TensorValue,
  type Value,
} from "./value.ts";

type Kind<K extends TypedExpr["kind"]> = Extract<TypedExpr, { kind: K }>;

export function lowerExpression(cx: Lowering, expr: TypedExpr, frame: Frame): Value {
  const { terms } = cx;
  switch (expr.kind) {
    case "literal":
      return constantOf(frame, expr.type, (type) => terms.constant(type, expr.value));
    case "dim":
      return constantOf(frame, expr.type, (type) =>
        terms.cast(type, terms.dim(extentOf(cx, nameOf(frame, expr.dim)))),
      );
    case "index": {
      const term = frame.indices.get(expr.variable);
      invariant(term !== undefined, `the index '${expr.variable.name}' is not bound`);
      return scalarValue({ term, keep: undefined }, "i32", true);
    }
    case "local": {
      const value = frame.locals.get(expr.variable) ?? frame.params.get(expr.variable.name);
      invariant(value !== undefined, `'${expr.variable.name}' has no value`);
      return value;
    }
    case "member":
      invariant(frame.self !== undefined, `'${expr.name}' outside a module`);
      return memberOf(cx, frame.self, expr.name);
    case "field":
      return fieldOf(cx, lowerExpression(cx, expr.value, frame), expr.field);
    case "record":
      return {
        kind: "record",
        fields: expr.fields.map((f) => ({ name: f.name, value: lowerExpression(cx, f.value, frame) })),
      };
    case "for":
      return lowerFor(cx, expr, frame, undefined);
    case "reduce":
      return lowerReduction(cx, expr, frame);
    case "read":
      return lowerRead(cx, expr, frame);
    case "apply":
      return lowerApply(cx, expr, frame);
    case "select":
      return lowerSelect(cx, expr, frame);
    case "cast":
      return lowerCast(cx, expr, frame);
    case "where":
      return lowerWhere(cx, expr, frame);
    case "reshape":
      return reshape(cx, expr, frame);
    case "rename":
      return renameAxis(cx, expr, frame);
    case "call":
      return lowerCall(cx, expr, frame);
    case "builtin":
      return lowerBuiltin(cx, expr, frame);
    case "error":
      throw new InternalError("an expression with an error was lowered");
    default:
      return unreachable(expr);
  }
}

function constantOf(
  frame: Frame,
  type: TypedExpr["type"],
  make: (type: Scalar["type"]) => Scalar,
): TensorValue {
  const dtype = type.kind === "tensor" ? elementType(frame, type.dtype).dtype : "i32";
  return scalarValue({ term: make(scalarTypeOf(storedAs(dtype))), keep: undefined }, dtype, false);
}

function fieldOf(cx: Lowering, value: Value, field: string): Value {
  if (value.kind === "module") return memberOf(cx, value, field);
  invariant(value.kind === "record", `'.${field}' of a ${value.kind}`);
  const found = value.fields.find((f) => f.name === field);
  invariant(found !== undefined, `there is no field '${field}'`);
  return found.value;
}

function lowerApply(cx: Lowering, expr: Kind<"apply">, frame: Frame): TensorValue {
  const { terms } = cx;
  const args = expr.args.map((arg) => tensorAt(cx, arg, frame));
  const term = terms.apply(expr.fn, ...args.map((arg) => arg.element.term));
  const keep = args.reduce<Scalar | undefined>((all, arg) => terms.both(all, arg.element.keep), undefined);
  return scalarValue({ term, keep }, term.type, false);
}

/** A select is masked where the side that it takes is. */
function lowerSelect(cx: Lowering, expr: Kind<"select">, frame: Frame): TensorValue {
  const { terms } = cx;
  const condition = tensorAt(cx, expr.condition, frame);
  const [a, b] = [tensorAt(cx, expr.then, frame), tensorAt(cx, expr.else, frame)];
  invariant(a.axes.length === 0 && b.axes.length === 0, "a select of tensors");
  const c = condition.element.term;
  const term = terms.select(c, a.element.term, b.element.term);
  const yes = terms.bool(true);
  const sides =
    a.element.keep === undefined && b.element.keep === undefined
      ? undefined
      : terms.select(c, a.element.keep ?? yes, b.element.keep ?? yes);
  return scalarValue({ term, keep: terms.both(condition.element.keep, sides) }, term.type, false);
}

function lowerCast(cx: Lowering, expr: Kind<"cast">, frame: Frame): Value {
  if (expr.type.kind !== "tensor") return cx.evaluate(cx, expr.value, frame);
  const bound = elementType(frame, expr.type.dtype);
  const type = {
    dtype: bound.dtype,
    written: bound.written && expr.type.written,
    scale: expr.type.scale ?? bound.scale,
  };
  const masking = expr.type.masked ? "keep" : "clear";
  if (expr.value.kind === "for") return lowerFor(cx, expr.value, frame, { type, masking });
  return castTensor(cx.terms, tensorAt(cx, expr.value, frame), type, masking);
}

/** `a where keep`: the mask's axes are found by name, and one that the value lacks becomes the value's. */
function lowerWhere(cx: Lowering, expr: Kind<"where">, frame: Frame): TensorValue {
  const { terms } = cx;
  const value = tensorAt(cx, expr.value, frame);
  const mask = tensorAt(cx, expr.mask, frame);
  const axes = [
    ...value.axes,
    ...mask.axes.filter((axis) => !value.axes.some((own) => own.key === axis.key)),
  ];
  const made = viewOf(terms, value, axes, (v) => v.slice(0, value.axes.length));
  const at = mask.axes.map(
    (axis) => made.variables[axes.findIndex((own) => own.key === axis.key)]?.term ?? terms.i32(0),
  );
  const bits = elementAt(terms, mask, at);
  return {
    ...made,
    element: {
      term: made.element.term,
      keep: terms.both(terms.both(made.element.keep, bits.term), bits.keep),
    },
  };
}

// ---------------------------------------------------------------- for

/** The type that a `for` is cast to, which its body is rounded to in place. */
interface Written {
  readonly type: ElementType;
  readonly masking: Masking;
}

function lowerFor(cx: Lowering, expr: Kind<"for">, frame: Frame, to: Written | undefined): TensorValue {
  const outerPack = frame.packIndex;
  const nest = flattened(expr);
  const bound = enter(cx, frame, nest.variables, "rows");
  if (!heldInBlocks(bound.axes)) throw new Refusal(raggedInLoop(expr.place));
  const body = tensorAt(cx, nest.body, frame);
  frame.packIndex = outerPack;
  if (body.axes.length > 0) return nestedTensor(cx, expr, bound, body, to);
  return finish(cx, bound, body, body.element, to, expr);
}

/** True where each ragged axis stands with its experts' axis, and has it for itself. */
function heldInBlocks(axes: readonly AxisValue[]): boolean {
  return axes.every(({ ragged }) => {
    if (ragged === undefined) return true;
    return (
      axes.some((axis) => axis.key === ragged.by) &&
      axes.filter((axis) => axis.ragged?.by === ragged.by).length === 1
    );
  });
}

/** `for a: for b: e` is `for a, b: e`, so that a ragged axis meets the axis that it depends on. */
function flattened(expr: Kind<"for">): {
  readonly variables: readonly IndexVariable[];
  readonly body: TypedExpr;
} {
  const variables = [...expr.variables];
  let body = expr.body;
  while (body.kind === "for") {
    variables.push(...body.variables);
    body = body.body;
  }
  return { variables, body };
}

/** A tensor-valued body: its axes follow the loop's own. */
function nestedTensor(
  cx: Lowering,
  expr: Kind<"for">,
  bound: BoundVariables,
  body: TensorValue,
  to: Written | undefined,
): TensorValue {
  const inner = bindAxes(
    cx,
    body.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const both: BoundVariables = {
    axes: [...bound.axes, ...body.axes],
    variables: [...bound.variables, ...inner.variables],
    indices: [...bound.indices, ...inner.indices],
    valid: cx.terms.both(bound.valid, inner.valid),
    byBlocks: [],
  };
  return finish(cx, both, body, elementAt(cx.terms, body, inner.indices), to, expr);
}

function finish(
  cx: Lowering,
  bound: BoundVariables,
  computed: TensorValue,
  at: Element,
  to: Written | undefined,
  expr: TypedExpr,
): TensorValue {
  // Code times scale is no value of the code's dtype: elements of a block-scaled tensor are f32 here.
  const body =
    computed.scaling === undefined ? computed : { dtype: "f32" as const, written: false, scaling: undefined };
  const element = to === undefined ? at : convertElement(cx.terms, at, computed, to.type, to.masking);
  const kind =
    to === undefined ? body : { dtype: to.type.dtype, written: to.type.written, scaling: undefined };
  const whole = unbind(cx, bound.axes, bound, element);
  if (isView(element.term)) {
    return {
      kind: "tensor",
      axes: bound.axes,
      ...whole,
      dtype: kind.dtype,
      written: kind.written,
      settled: true,
      scaling: kind.scaling,
      parts: undefined,
    };
  }
  const stored = storeElement(cx, bound, element.term, storageOf(kind), undefined, expr.place);
  return readBack(cx, kind, stored, bound.axes, whole.element.keep, whole.variables);
}

/** A body that reads one element at plain indices computes nothing: the tensor is a view. */
function isView(term: Scalar): boolean {
  return (
    term.kind === "read" &&
    term.bounds === "proved" &&
    term.index.every((i) => i.kind === "axis" || i.kind === "const")
  );
}
