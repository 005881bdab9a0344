/** Views by index arithmetic: `as`, a rename, `split` and `join`. None of them moves an element. */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { TypedExpr } from "../check/typed.ts";
import { add, constant, dimEquals, mul, sub, type Dim } from "../types/dim.ts";
import type { Scalar } from "../tensor/ir.ts";
import { axesIn, extentOf, freshSymbol, packOf, sizeIn, type Frame, type Lowering } from "./frame.ts";
import { tensorAt } from "./scopes.ts";
import type { LoopVariable, Terms } from "./terms.ts";
import {
  axisOf,
  elementAt,
  variablesFor,
  viewOf,
  type AxisValue,
  type Element,
  type TensorValue,
  type Value,
} from "./value.ts";

type Kind<K extends TypedExpr["kind"]> = Extract<TypedExpr, { kind: K }>;

export function reshape(cx: Lowering, expr: Kind<"reshape">, frame: Frame): TensorValue {
  const tensor = tensorAt(cx, expr.value, frame);
  invariant(expr.type.kind === "tensor" && expr.value.type.kind === "tensor", "a reshape of no tensor");
  const pack = packOf(tensor.axes, expr.value.type.axes);
  const axes = axesIn(cx, frame, expr.type.axes, pack);
  return reshapeTo(cx.terms, tensor, axes);
}

/** Equal axes at both ends stay; what lies between is one run of elements in row-major order, cut anew. */
export function reshapeTo(terms: Terms, tensor: TensorValue, axes: readonly AxisValue[]): TensorValue {
  const groups = groupsOf(tensor.axes, axes);
  return viewOf(terms, tensor, axes, (variables) =>
    groups.flatMap(({ from, to }) => {
      const source = tensor.axes.slice(from.start, from.end);
      if (source.length === 1 && to.end - to.start === 1) return variables.slice(to.start, to.end);
      return cut(terms, flat(terms, axes.slice(to.start, to.end), variables.slice(to.start, to.end)), source);
    }),
  );
}

interface Range {
  readonly start: number;
  readonly end: number;
}

function groupsOf(
  from: readonly AxisValue[],
  to: readonly AxisValue[],
): readonly { readonly from: Range; readonly to: Range }[] {
  const groups: { from: Range; to: Range }[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    const [a, b] = closed(from, to, i, j);
    groups.push({ from: { start: i, end: a }, to: { start: j, end: b } });
    [i, j] = [a, b];
  }
  return groups;
}

/** The shortest runs from i and j with provably equal products; the whole rest where nothing is proved. */
function closed(
  from: readonly AxisValue[],
  to: readonly AxisValue[],
  i: number,
  j: number,
): readonly [number, number] {
  for (let length = 1; length <= from.length - i + (to.length - j); length++) {
    for (let a = i + 1; a <= Math.min(from.length, i + length); a++) {
      const b = j + 1 + (i + length - a);
      if (b > to.length) continue;
      if (dimEquals(sizeOf(from.slice(i, a)), sizeOf(to.slice(j, b)))) return withUnits(from, to, a, b);
    }
  }
  return [from.length, to.length];
}

/** Axes of extent 1 at the end of one side alone belong to the run before them. */
function withUnits(
  from: readonly AxisValue[],
  to: readonly AxisValue[],
  a: number,
  b: number,
): readonly [number, number] {
  if (a === from.length) return [a, to.length];
  return b === to.length ? [from.length, b] : [a, b];
}

function sizeOf(axes: readonly AxisValue[]): Dim {
  return mul(constant(1), ...axes.map((axis) => axis.extent));
}

function flat(terms: Terms, axes: readonly AxisValue[], index: readonly Scalar[]): Scalar {
  return axes.reduce<Scalar>(
    (at, axis, k) => terms.add(terms.mul(at, terms.dim(axis.extent)), index[k] ?? terms.i32(0)),
    terms.i32(0),
  );
}

/** Row-major indices over `axes` from a flat one. */
function cut(terms: Terms, index: Scalar, axes: readonly AxisValue[]): readonly Scalar[] {
  const out: Scalar[] = [];
  let rest = index;
  for (let k = axes.length - 1; k > 0; k--) {
    const extent = terms.dim(axes[k]?.extent ?? constant(1));
    out.unshift(terms.mod(rest, extent));
    rest = terms.floordiv(rest, extent);
  }
  return axes.length === 0 ? [] : [rest, ...out];
}

/** `x[S as T]`. Where T is new it gets the size of S; where it is not, the checker has claimed that they are equal. */
export function renameAxis(cx: Lowering, expr: Kind<"rename">, frame: Frame): TensorValue {
  const tensor = tensorAt(cx, expr.value, frame);
  const from = sizeIn(cx, frame, expr.from);
  if (expr.binds) bind(cx, frame, expr.to, from.extent);
  const to = sizeIn(cx, frame, expr.to);
  const at = tensor.axes.findIndex((axis) => axis.key === from.key);
  invariant(at >= 0, "the renamed axis is not there");
  return { ...tensor, axes: tensor.axes.map((axis, k) => (k === at ? to : axis)) };
}

/** A second binding of one name to the same size is the same axis. */
function bind(cx: Lowering, frame: Frame, to: Dim, extent: Dim): void {
  invariant(to.kind === "symbol", "only a name is bound by a rename");
  const known = frame.dims.get(to.name);
  if (known !== undefined && dimEquals(extentOf(cx, known), extent)) return;
  const name = freshSymbol(cx, to.name);
  invariant(name.kind === "symbol", "a fresh name is a symbol");
  cx.extents.set(name.name, extent);
  frame.dims.set(to.name, name);
}

/** Cuts an axis `A + B` into its parts: each is the tensor from an offset on. */
export function splitAxis(
  cx: Lowering,
  tensor: TensorValue,
  axis: number,
  parts: readonly Dim[],
  frame: Frame,
): Value {
  const { terms } = cx;
  const whole = tensor.axes[axis];
  invariant(whole !== undefined, "the axis to split is not there");
  let offset: Dim = constant(0);
  const fields = parts.map((part, k) => {
    const own = sizeIn(cx, frame, part);
    const start = terms.dim(offset);
    offset = add(offset, own.extent);
    const axes = tensor.axes.map((a, i) => (i === axis ? own : a));
    const value = viewOf(terms, tensor, axes, (v) =>
      v.map((term, i) => (i === axis ? terms.add(start, term) : term)),
    );
    return { name: String(k), value };
  });
  return { kind: "record", fields };
}

/** Tensors one after the other along an axis. Each part is read inside its own range only. */
export function joinAxes(cx: Lowering, parts: readonly TensorValue[], axis: number, name: Dim): TensorValue {
  const { terms } = cx;
  const [first] = parts;
  invariant(first !== undefined, "a join of nothing");
  const axes = first.axes.map((a, k) => (k === axis ? axisOf(name, extentOf(cx, name)) : a));
  const variables = variablesFor(terms, axes);
  const masked = parts.some((part) => part.element.keep !== undefined);
  const place = variables[axis]?.term ?? terms.i32(0);
  let end: Dim = axes[axis]?.extent ?? constant(0);
  let made: Element | undefined;
  // From the last part to the first: what is already made lies behind the part.
  for (const part of [...parts].reverse()) {
    const element = partAt(terms, part, axes, variables, axis, end);
    const bits = masked ? (element.keep ?? terms.bool(true)) : undefined;
    const before = terms.apply("lt", place, terms.dim(end));
    made =
      made === undefined
        ? { term: element.term, keep: bits }
        : {
            term: terms.select(before, element.term, made.term),
            keep:
              bits === undefined || made.keep === undefined
                ? undefined
                : terms.select(before, bits, made.keep),
          };
    end = sub(end, part.axes[axis]?.extent ?? constant(0));
  }
  invariant(made !== undefined, "a join of nothing");
  const written = parts.every((part) => part.written && part.dtype === first.dtype);
  const settled = parts.every((part) => part.settled);
  return {
    kind: "tensor",
    axes,
    variables,
    element: made,
    dtype: first.dtype,
    written,
    settled,
    scaling: undefined,
    parts: undefined,
  };
}

/** A part that ends at `end` of the joined axis, read at the joined tensor's variables. */
function partAt(
  terms: Terms,
  part: TensorValue,
  axes: readonly AxisValue[],
  variables: readonly LoopVariable[],
  axis: number,
  end: Dim,
): Element {
  const extent = part.axes[axis]?.extent ?? constant(1);
  const index = part.axes.map((own, k) => {
    const v = variables[k === axis ? axis : axes.findIndex((a) => a.key === own.key)]?.term ?? terms.i32(0);
    if (k !== axis) return v;
    return terms.apply(
      "clamp",
      terms.sub(v, terms.dim(sub(end, extent))),
      terms.i32(0),
      terms.dim(sub(extent, constant(1))),
    );
  });
  return elementAt(terms, part, index);
}
