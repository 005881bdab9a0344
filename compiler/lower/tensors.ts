/** Views made into nodes: where a name is given to a tensor, a structured node reads it, or an entry returns it. */
import { invariant, type Place } from "../diagnostics/diagnostic.ts";
import { storedAs, type DType } from "../types/dtype.ts";
import { dimEquals, type Dim } from "../types/dim.ts";
import type { Ref, Scalar } from "../tensor/ir.ts";
import { scalarTypeOf } from "../tensor/scalar-types.ts";
import type { Lowering } from "./frame.ts";
import { bindAxes, emitLoop, rowAt, type BoundAxes } from "./loops.ts";
import type { LoopVariable, Terms } from "./terms.ts";
import {
  elementAt,
  variablesFor,
  type AxisValue,
  type Element,
  type TensorValue,
  type Value,
} from "./value.ts";

/** The dtype that elements are stored as: what was written, or what a body carries. */
export function storageOf(tensor: Pick<TensorValue, "dtype" | "written" | "scaling">): DType {
  const stored = storedAs(tensor.dtype);
  return tensor.scaling === undefined && tensor.written ? stored : scalarTypeOf(stored);
}

/** A node that holds a tensor: the variables outside that it depends on come first, then the tensor's axes. */
export interface Stored {
  readonly ref: Ref;
  readonly outer: readonly LoopVariable[];
}

/** Gives every name its node; a view of nodes and a scalar stay as they are. */
export function settle(
  cx: Lowering,
  value: Value,
  hint: string | undefined,
  place: Place | undefined,
): Value {
  if (value.kind === "record") {
    const fields = value.fields.map((f) => {
      const name = hint === undefined ? undefined : `${hint}.${f.name}`;
      return { name: f.name, value: settle(cx, f.value, name, place) };
    });
    return { kind: "record", fields };
  }
  if (value.kind !== "tensor" || value.settled || value.axes.length === 0) return value;
  return materialise(cx, value, hint, place);
}

/** A node with the tensor's elements, read back as a tensor. Its keep bits stay a view. */
export function materialise(
  cx: Lowering,
  tensor: TensorValue,
  hint: string | undefined,
  place: Place | undefined,
): TensorValue {
  const bound = bindAxes(
    cx,
    tensor.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const element = elementAt(cx.terms, tensor, bound.indices);
  const stored = storeElement(cx, bound, element.term, storageOf(tensor), hint, place);
  return readBack(cx, tensor, stored, tensor.axes, tensor.element.keep, tensor.variables);
}

/** The node for `term` over the bound axes. */
export function storeElement(
  cx: Lowering,
  bound: BoundAxes,
  term: Scalar,
  dtype: DType,
  hint: string | undefined,
  place: Place | undefined,
): Stored {
  const outer = cx.terms.freeVariables([term]).filter((v) => !bound.variables.includes(v));
  const node = emitLoop(cx, {
    axes: [...outer, ...bound.variables],
    over: [],
    carriers: [],
    results: [{ value: term, dtype }],
    place,
  });
  const ref = cx.arena.ref(node);
  if (hint !== undefined) cx.arena.setHint(ref, hint);
  return { ref, outer };
}

type Kind = Pick<TensorValue, "dtype" | "written" | "scaling">;

/** A stored node as a tensor of its axes. `keep`, if there is one, is over `keepVariables`. */
export function readBack(
  cx: Lowering,
  kind: Kind,
  stored: Stored,
  axes: readonly AxisValue[],
  keep: Scalar | undefined,
  keepVariables: readonly LoopVariable[],
): TensorValue {
  const { terms } = cx;
  const variables = variablesFor(terms, axes);
  const term = terms.read(stored.ref, [
    ...stored.outer.map((v) => v.term),
    ...physicalIndex(
      terms,
      axes,
      variables.map((v) => v.term),
    ),
  ]);
  const by = new Map(keepVariables.map((v, k) => [v.id, variables[k]?.term ?? v.term]));
  return {
    kind: "tensor",
    axes,
    variables,
    element: { term, keep: terms.substitute(keep, by) },
    dtype: kind.dtype,
    written: kind.written,
    settled: true,
    scaling: kind.scaling,
    parts: undefined,
  };
}

/** Indices of a held tensor from the program's: a ragged pair becomes block and row of the block. */
export function physicalIndex(
  terms: Terms,
  axes: readonly AxisValue[],
  indices: readonly Scalar[],
): readonly Scalar[] {
  const out = [...indices];
  axes.forEach((axis, k) => {
    const t = indices[k];
    if (axis.ragged === undefined || t === undefined) return;
    const by = axis.ragged.by;
    const pair = axes.findIndex((other) => other.key === by);
    const e = indices[pair];
    if (e === undefined) return;
    const at = rowAt(terms, axis.ragged, e, t);
    out[pair] = at.block;
    out[k] = at.row;
  });
  return out;
}

/**
 * A tensor over logical variables from an element over bound loop variables: the inverse of `bindAxes`, for a body
 * that is not stored.
 */
export function unbind(
  cx: Lowering,
  axes: readonly AxisValue[],
  bound: BoundAxes,
  element: Element,
): { readonly variables: readonly LoopVariable[]; readonly element: Element } {
  const { terms } = cx;
  const variables = variablesFor(terms, axes);
  const physical = physicalIndex(
    terms,
    axes,
    variables.map((v) => v.term),
  );
  const by = new Map(bound.variables.map((v, k) => [v.id, physical[k] ?? v.term]));
  return {
    variables,
    element: { term: terms.substitute(element.term, by), keep: terms.substitute(element.keep, by) },
  };
}

/** A tensor, and its keep bits where it has some, as nodes with one list of variables outside: what a structured node reads. */
export function storeTogether(
  cx: Lowering,
  tensor: TensorValue,
  place: Place | undefined,
): Stored & { readonly keep: Ref | undefined } {
  const whole = wholeRef(cx.terms, tensor);
  if (whole !== undefined && tensor.element.keep === undefined)
    return { ref: whole, outer: [], keep: undefined };
  const bound = bindAxes(
    cx,
    tensor.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const { term, keep } = elementAt(cx.terms, tensor, bound.indices);
  const outer = cx.terms.freeVariables([term, keep]).filter((v) => !bound.variables.includes(v));
  const node = emitLoop(cx, {
    axes: [...outer, ...bound.variables],
    over: [],
    carriers: [],
    results: [
      { value: term, dtype: storageOf(tensor) },
      ...(keep === undefined ? [] : [{ value: keep, dtype: "bool" as const }]),
    ],
    place,
  });
  return { ref: cx.arena.ref(node), outer, keep: keep === undefined ? undefined : cx.arena.ref(node, 1) };
}

/** The tensor as a node of exactly its axes: what an entry returns. */
export function storeWhole(
  cx: Lowering,
  tensor: TensorValue,
  hint: string | undefined,
  place: Place | undefined,
): Ref {
  const whole = wholeRef(cx.terms, tensor);
  if (whole !== undefined && whole.node.kind !== "input") return whole;
  const bound = bindAxes(
    cx,
    tensor.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const stored = storeElement(
    cx,
    bound,
    elementAt(cx.terms, tensor, bound.indices).term,
    storageOf(tensor),
    hint,
    place,
  );
  invariant(stored.outer.length === 0, "a result depends on a loop outside it");
  return stored.ref;
}

/** The node that a tensor is, whole and in its own order of axes. */
export function wholeRef(terms: Terms, tensor: TensorValue): Ref | undefined {
  const { term } = tensor.element;
  if (term.kind !== "read" || term.bounds !== "proved" || tensor.axes.length !== term.index.length)
    return undefined;
  const expected = physicalIndex(
    terms,
    tensor.axes,
    tensor.variables.map((v) => v.term),
  );
  if (!term.index.every((index, k) => index === expected[k])) return undefined;
  const ref = terms.tensorOf(term);
  const shape = ref.node.types[ref.output]?.shape ?? [];
  const sizes = tensor.axes.map((axis) => heldExtent(tensor.axes, axis));
  return shape.every((extent, k) => sameExtent(extent, sizes[k])) ? ref : undefined;
}

/** Extent of an axis as it is held. */
export function heldExtent(axes: readonly AxisValue[], axis: AxisValue): Dim {
  if (axis.ragged !== undefined) return axis.ragged.align;
  const pair = axes.find((other) => other.ragged?.by === axis.key);
  return pair?.ragged?.blocks ?? axis.extent;
}

function sameExtent(a: Dim, b: Dim | undefined): boolean {
  return b !== undefined && dimEquals(a, b);
}
