/**
 * `x[i, j]`: an element of a view. An index that the checker proved is used as it is. One that it did not prove
 * either has a value for outside (`else`) or is data (a gather), which is moved inside; where the view is a node
 * read at plain indices, the node's own read says so, else the index is clamped before the view sees it.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { TypedExpr } from "../check/typed.ts";
import { isFloat } from "../types/dtype.ts";
import { constant, dimEquals, sub } from "../types/dim.ts";
import type { Scalar, ScalarRead } from "../tensor/ir.ts";
import type { Frame, Lowering } from "./frame.ts";
import { tensorAt } from "./scopes.ts";
import type { Terms } from "./terms.ts";
import { elementAt, scalarValue, type Element, type TensorValue } from "./value.ts";

type Read = Extract<TypedExpr, { kind: "read" }>;

export function lowerRead(cx: Lowering, expr: Read, frame: Frame): TensorValue {
  const { terms } = cx;
  const tensor = tensorAt(cx, expr.tensor, frame);
  const packed = tensor.axes.length - expr.indices.length + 1;
  const index: Scalar[] = [];
  let keep: Scalar | undefined;
  for (const part of expr.indices) {
    if (part.kind === "pack") {
      for (let k = 0; k < packed; k++) {
        const axis = tensor.axes[index.length];
        const at = axis === undefined ? undefined : frame.packIndex.get(axis.key);
        invariant(at !== undefined, `'...' has no index for an axis of '${frame.fn.name}'`);
        index.push(at);
      }
      continue;
    }
    const value = tensorAt(cx, part.value, frame);
    keep = terms.both(keep, value.element.keep);
    index.push(terms.cast("i32", value.element.term));
  }
  invariant(index.length === tensor.axes.length, `${index.length} indices for ${tensor.axes.length} axes`);
  const otherwise = expr.otherwise === undefined ? undefined : tensorAt(cx, expr.otherwise, frame);
  const element =
    otherwise !== undefined
      ? readElse(terms, tensor, index, otherwise)
      : expr.gathers
        ? gather(terms, tensor, index)
        : elementAt(terms, tensor, index);
  const whole = { term: element.term, keep: terms.both(keep, element.keep) };
  return { ...scalarValue(whole, tensor.dtype, tensor.written), scaling: tensor.scaling };
}

function gather(terms: Terms, tensor: TensorValue, index: readonly Scalar[]): Element {
  const open = openAxes(terms, tensor, index);
  if (open.length === 0) return elementAt(terms, tensor, index);
  const root = plainRead(terms, tensor, open);
  if (root === undefined || tensor.element.keep !== undefined)
    return elementAt(terms, tensor, clamped(terms, tensor, index, open));
  return {
    term: terms.read(terms.tensorOf(root), indexAt(terms, tensor, root, index), "clamp"),
    keep: undefined,
  };
}

function readElse(
  terms: Terms,
  tensor: TensorValue,
  index: readonly Scalar[],
  otherwise: TensorValue,
): Element {
  const open = openAxes(terms, tensor, index);
  if (open.length === 0) return elementAt(terms, tensor, index);
  const outside =
    tensor.written && isFloat(tensor.dtype) && tensor.scaling === undefined
      ? terms.round(tensor.dtype, otherwise.element.term)
      : otherwise.element.term;
  const root = plainRead(terms, tensor, open);
  if (root !== undefined && tensor.element.keep === undefined && otherwise.element.keep === undefined) {
    return {
      term: terms.read(terms.tensorOf(root), indexAt(terms, tensor, root, index), "else", outside),
      keep: undefined,
    };
  }
  const inside = open
    .map((k) => isInside(terms, tensor, k, index[k] ?? terms.i32(0)))
    .reduce((a, b) => terms.apply("and", a, b));
  const element = elementAt(terms, tensor, clamped(terms, tensor, index, open));
  const yes = terms.bool(true);
  const masked = element.keep !== undefined || otherwise.element.keep !== undefined;
  return {
    term: terms.select(inside, element.term, outside),
    keep: masked ? terms.select(inside, element.keep ?? yes, otherwise.element.keep ?? yes) : undefined,
  };
}

/** Axes whose index is not simply a loop variable of the same extent. */
function openAxes(terms: Terms, tensor: TensorValue, index: readonly Scalar[]): number[] {
  return tensor.axes.flatMap((axis, k) => {
    const i = index[k];
    if (axis.ragged !== undefined) return [];
    if (i?.kind === "axis" && dimEquals(terms.variableById(i.axis).extent, axis.extent)) return [];
    return [k];
  });
}

/** The one read that the view is, if each open axis of it is an axis of the node, index for index. */
function plainRead(terms: Terms, tensor: TensorValue, open: readonly number[]): ScalarRead | undefined {
  const { term } = tensor.element;
  if (term.kind !== "read" || term.bounds !== "proved") return undefined;
  const shape = terms.tensorOf(term).node.types[terms.tensorOf(term).output]?.shape ?? [];
  const plain = open.every((k) => {
    const variable = tensor.variables[k];
    const extent = tensor.axes[k]?.extent;
    if (variable === undefined || extent === undefined) return false;
    const places = term.index.flatMap((i, at) => (terms.dependsOn(i, [variable]) ? [at] : []));
    const [at] = places;
    const size = at === undefined ? undefined : shape[at];
    return (
      places.length === 1 &&
      at !== undefined &&
      size !== undefined &&
      term.index[at] === variable.term &&
      dimEquals(size, extent)
    );
  });
  return plain ? term : undefined;
}

function indexAt(
  terms: Terms,
  tensor: TensorValue,
  read: ScalarRead,
  index: readonly Scalar[],
): readonly Scalar[] {
  const by = new Map(tensor.variables.map((v, k) => [v.id, index[k] ?? v.term]));
  return read.index.map((i) => terms.substitute(i, by));
}

function clamped(
  terms: Terms,
  tensor: TensorValue,
  index: readonly Scalar[],
  open: readonly number[],
): readonly Scalar[] {
  return index.map((i, k) => {
    const extent = tensor.axes[k]?.extent;
    if (extent === undefined || !open.includes(k)) return i;
    return terms.apply("clamp", i, terms.i32(0), terms.dim(sub(extent, constant(1))));
  });
}

function isInside(terms: Terms, tensor: TensorValue, axis: number, i: Scalar): Scalar {
  const extent = tensor.axes[axis]?.extent ?? constant(1);
  return terms.apply("and", terms.apply("ge", i, terms.i32(0)), terms.apply("lt", i, terms.dim(extent)));
}
