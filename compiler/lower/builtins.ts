/** Whole-tensor operations that no `for` says: the structured nodes, and what each of the other files holds. */
import { invariant, type Place } from "../diagnostics/diagnostic.ts";
import type { Builtin, Type, TypedExpr } from "../check/typed.ts";
import { isFloat } from "../types/dtype.ts";
import type { Ref } from "../tensor/ir.ts";
import { monoidOf } from "../tensor/monoids.ts";
import { axesIn, nameOf, sizeIn, type Frame, type Lowering } from "./frame.ts";
import { bindAxes, emitLoop } from "./loops.ts";
import { claimRoom, readCache, visibleRows } from "./caches.ts";
import { dequantize, quantize } from "./quantizing.ts";
import { joinAxes, splitAxis } from "./reshapes.ts";
import { combineRows, dispatchRows } from "./routing.ts";
import { tensorAt } from "./scopes.ts";
import { readBack, storageOf, storeTogether } from "./tensors.ts";
import { elementAt, type AxisValue, type TensorValue, type Value } from "./value.ts";

type Call = Extract<TypedExpr, { kind: "builtin" }>;

export function lowerBuiltin(cx: Lowering, expr: Call, frame: Frame): Value {
  const { builtin } = expr;
  const arg = (k: number): TensorValue => tensorAt(cx, argument(expr, k), frame);
  switch (builtin.name) {
    case "topk":
      return topk(cx, arg(0), axisAt(expr, arg(0), builtin.axis), sizeIn(cx, frame, builtin.k), expr.place);
    case "cumsum":
      return cumulate(cx, arg(0), axisAt(expr, arg(0), builtin.axis), expr.place);
    case "sort":
      return sorted(cx, arg(0), axisAt(expr, arg(0), builtin.axis), expr.place);
    case "scatter_add":
      return scatterAdd(cx, arg(0), arg(1), sizeIn(cx, frame, builtin.size), expr.place);
    case "split":
      return splitAxis(cx, arg(0), axisAt(expr, arg(0), builtin.axis), builtin.parts, frame);
    case "join":
      return join(cx, expr, builtin, frame);
    case "quantize":
      return quantize(cx, expr, arg(0), frame);
    case "dequantize":
      return dequantize(arg(0));
    case "dispatch":
      return dispatchRows(cx, expr, builtin, frame);
    case "combine":
      return combineRows(cx, expr, frame);
    case "paged-read":
    case "paged-visible":
      return cacheCall(cx, expr, frame);
  }
}

function argument(expr: Call, k: number): TypedExpr {
  const arg = expr.args[k];
  invariant(arg !== undefined, `${expr.builtin.name} lacks argument ${k}`);
  return arg;
}

/** An axis counted in the first argument's type, where `...` counts as one. */
function axisAt(expr: Call, tensor: TensorValue, axis: number): number {
  const type = argument(expr, 0).type;
  invariant(type.kind === "tensor", `${expr.builtin.name} of no tensor`);
  const pack = type.axes.findIndex((a) => a.kind === "pack");
  return pack < 0 || axis < pack ? axis : tensor.axes.length - (type.axes.length - axis);
}

function cacheCall(cx: Lowering, expr: Call, frame: Frame): Value {
  const cache = cx.evaluate(cx, argument(expr, 0), frame);
  const { type } = expr;
  invariant(cache.kind === "cache", "a call on no cache");
  const axesOf = (part: Type): readonly AxisValue[] => {
    invariant(part.kind === "tensor", "what is read of a cache is tensors");
    return axesIn(cx, frame, part.axes);
  };
  if (expr.builtin.name === "paged-read") {
    const parts = type.kind === "record" ? type.fields.map((field) => axesOf(field.type)) : [axesOf(type)];
    const length = parts[0]?.[1];
    if (length !== undefined) claimRoom(cx, cache, length, expr.place);
    return readCache(cx, cache, parts);
  }
  const axes = axesOf(type);
  const length = axes[2];
  if (length !== undefined) claimRoom(cx, cache, length, expr.place);
  return visibleRows(cx, cache, tensorAt(cx, argument(expr, 1), frame), axes);
}

function join(
  cx: Lowering,
  expr: Call,
  builtin: Extract<Builtin, { name: "join" }>,
  frame: Frame,
): TensorValue {
  const parts = expr.args.map((part) => tensorAt(cx, part, frame));
  const [first] = parts;
  invariant(first !== undefined && expr.type.kind === "tensor", "a join of nothing");
  const axis = axisAt(expr, first, builtin.axis);
  const named = expr.type.axes[builtin.axis];
  invariant(named?.kind === "dim", "the joined axis has a size");
  return joinAxes(cx, parts, axis, nameOf(frame, named.dim));
}

/** Values, indices and which were chosen. The values of masked elements, which come last, stay masked. */
function topk(cx: Lowering, tensor: TensorValue, axis: number, size: AxisValue, place: Place): Value {
  const { arena, terms } = cx;
  const stored = storeTogether(cx, tensor, place);
  const node = arena.topk(stored.ref, stored.outer.length + axis, size.extent, stored.keep);
  arena.setPlace(node, place);
  const chosen = tensor.axes.map((a, k) => (k === axis ? size : a));
  const at = (output: number): { readonly ref: Ref; readonly outer: typeof stored.outer } => ({
    ref: arena.ref(node, output),
    outer: stored.outer,
  });
  const integer = { dtype: "i32", written: true, scaling: undefined } as const;
  const bit = { dtype: "bool", written: true, scaling: undefined } as const;
  const storage = { dtype: storageOf(tensor), written: tensor.written, scaling: undefined };
  const index = readBack(cx, integer, at(1), chosen, undefined, []);
  const values = readBack(cx, storage, at(0), chosen, undefined, []);
  const where = elementAt(
    terms,
    index,
    values.variables.map((v) => v.term),
  ).term;
  const keep = elementAt(
    terms,
    tensor,
    values.variables.map((v, k) => (k === axis ? where : v.term)),
  ).keep;
  return {
    kind: "record",
    fields: [
      { name: "values", value: { ...values, element: { term: values.element.term, keep } } },
      { name: "index", value: index },
      { name: "mask", value: readBack(cx, bit, at(2), tensor.axes, undefined, []) },
    ],
  };
}

/** The tensor with something in place of its masked elements. */
function filled(cx: Lowering, tensor: TensorValue, monoid: "sum" | "min"): TensorValue {
  const { term, keep } = tensor.element;
  if (keep === undefined) return tensor;
  const filler = cx.terms.constant(term.type, monoidOf(monoid).identity(term.type));
  return {
    ...tensor,
    element: { term: cx.terms.select(keep, term, filler), keep: undefined },
    settled: false,
  };
}

/** A masked element adds nothing, and what is summed up to it is masked. */
function cumulate(cx: Lowering, tensor: TensorValue, axis: number, place: Place): TensorValue {
  const stored = storeTogether(cx, filled(cx, tensor, "sum"), place);
  const node = cx.arena.scan(stored.ref, stored.outer.length + axis);
  cx.arena.setPlace(node, place);
  const type = isFloat(tensor.dtype)
    ? { dtype: "f32" as const, written: false }
    : { dtype: storageOf(tensor), written: true };
  return readBack(
    cx,
    { ...type, scaling: undefined },
    { ref: cx.arena.ref(node), outer: stored.outer },
    tensor.axes,
    tensor.element.keep,
    tensor.variables,
  );
}

/** Kept elements in ascending order; those that are masked come last and stay masked. */
function sorted(cx: Lowering, tensor: TensorValue, axis: number, place: Place): TensorValue {
  const { terms } = cx;
  const stored = storeTogether(cx, filled(cx, tensor, "min"), place);
  const node = cx.arena.sort(stored.ref, stored.outer.length + axis);
  cx.arena.setPlace(node, place);
  const kind = { dtype: storageOf(tensor), written: tensor.written, scaling: undefined };
  const made = readBack(
    cx,
    kind,
    { ref: cx.arena.ref(node), outer: stored.outer },
    tensor.axes,
    undefined,
    [],
  );
  if (tensor.element.keep === undefined) return made;
  const along = tensor.axes[axis];
  invariant(along !== undefined, "the sorted axis is there");
  const over = terms.variable("i", along.extent);
  const rest = tensor.variables.map((v, k) => (k === axis ? over.term : (made.variables[k]?.term ?? v.term)));
  const lift = terms.select(
    elementAt(terms, tensor, rest).keep ?? terms.bool(true),
    terms.i32(1),
    terms.i32(0),
  );
  const axes = terms.freeVariables([lift]).filter((v) => v !== over);
  const fresh = axes.map((v) => terms.variable(v.name, v.extent, v.size));
  const moved = terms.substitute(lift, new Map(axes.map((v, k) => [v.id, fresh[k]?.term ?? v.term])));
  const count = emitLoop(cx, {
    axes: fresh,
    over: [over],
    place,
    carriers: [{ name: "count", monoid: "sum", lift: moved }],
    results: [{ value: cx.arena.carrier(0, "i32"), dtype: "i32" }],
  });
  const kept = terms.apply(
    "lt",
    made.variables[axis]?.term ?? terms.i32(0),
    terms.read(
      cx.arena.ref(count),
      axes.map((v) => v.term),
    ),
  );
  return { ...made, element: { term: made.element.term, keep: kept } };
}

/** `out[e, ..] = sum over n with index[n] == e of x[n, ..]`. */
function scatterAdd(
  cx: Lowering,
  index: TensorValue,
  x: TensorValue,
  size: AxisValue,
  place: Place,
): TensorValue {
  const { terms } = cx;
  const [rows, ...rest] = x.axes;
  invariant(rows !== undefined, "scatter_add of a scalar");
  const bound = bindAxes(
    cx,
    [size, ...rest].map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const over = terms.variable("n", rows.extent);
  const [e, ...others] = bound.indices;
  invariant(e !== undefined, "scatter_add has a target axis");
  const at = elementAt(terms, index, [over.term]);
  const element = elementAt(terms, x, [over.term, ...others]);
  const here = terms.apply("eq", terms.cast("i32", at.term), e);
  const keep = terms.both(terms.both(here, at.keep), element.keep) ?? here;
  const zero = terms.constant(element.term.type, 0);
  const lift = terms.select(keep, element.term, zero);
  const outer = terms.freeVariables([lift]).filter((v) => v !== over && !bound.variables.includes(v));
  const type = element.term.type;
  const node = emitLoop(cx, {
    axes: [...outer, ...bound.variables],
    over: [over],
    place,
    carriers: [{ name: "sum", monoid: "sum", lift }],
    results: [{ value: cx.arena.carrier(0, type), dtype: type }],
  });
  const kind = { dtype: type, written: false, scaling: undefined };
  return readBack(cx, kind, { ref: cx.arena.ref(node), outer }, [size, ...rest], undefined, []);
}
