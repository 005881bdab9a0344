/**
 * Ragged rows at the border of what is compiled: `x: A[E, R[E], D]` crosses it as `x: A[R_rows, D]`, the rows of all
 * experts, one expert's behind another's, and `R: i32[E]`, how many rows each has. Tensors with one R share it.
 *
 * Inside, rows lie in blocks of one expert each, as a dispatch lays them out. Rows that the counts leave over belong to
 * no expert, and are 0 in a result; counts that ask for more rows than there are get those there are.
 */
import { invariant, type Place } from "../diagnostics/diagnostic.ts";
import type { Axis, TensorType, Type, TypedFn } from "../check/typed.ts";
import { storedAs, type DType, type Format } from "../types/dtype.ts";
import { constant, dimEquals, floordiv, mul, symbol, type Dim } from "../types/dim.ts";
import { dispatchRows as capacity } from "../tensor/arena.ts";
import type { Ref, Scalar } from "../tensor/ir.ts";
import { claim } from "./claims.ts";
import { extentOf, sizeIn, type Lowering, type Scope } from "./frame.ts";
import { bindAxes, emitLoop, type LoopRequest } from "./loops.ts";
import { materialise, readBack, storageOf, storeElement } from "./tensors.ts";
import type { LoopVariable } from "./terms.ts";
import { elementAt, type AxisValue, type RaggedRows, type TensorValue } from "./value.ts";

type RaggedAxis = Extract<Axis, { kind: "ragged" }>;

/** Makes an input that crosses the border as it is. */
export type MakeInput = (name: string, dtype: DType, shape: readonly Dim[]) => Ref;

/** The size of the axis that holds the rows of all experts. */
export function rowsName(ragged: string): string {
  return `${ragged}_rows`;
}

/** Ragged axes of a type, with each the axis before it. */
export function raggedAxesOf(
  type: Type,
): readonly { readonly axis: RaggedAxis; readonly before: Axis | undefined }[] {
  if (type.kind === "record") return type.fields.flatMap((field) => raggedAxesOf(field.type));
  if (type.kind !== "tensor") return [];
  return type.axes.flatMap((axis, k) => (axis.kind === "ragged" ? [{ axis, before: type.axes[k - 1] }] : []));
}

/** The names of the sizes of rows that a function's parameters bring. */
export function rowSizes(fn: TypedFn): readonly string[] {
  return fn.params.flatMap(({ type }) => raggedAxesOf(type).map(({ axis }) => rowsName(axis.name)));
}

/** Whether a tensor's ragged axis, if it has one, can cross: behind its experts' axis, and the only one. */
export function canCross(type: TensorType): boolean {
  const found = raggedAxesOf(type);
  const [first] = found;
  if (first === undefined) return true;
  const { axis, before } = first;
  return (
    found.length === 1 && type.scale === undefined && before?.kind === "dim" && dimEquals(before.dim, axis.by)
  );
}

/** The rows of an entry's ragged axes by instance, from counts that are inputs. */
export function raggedInputs(
  cx: Lowering,
  fn: TypedFn,
  scope: Scope,
  input: MakeInput,
): ReadonlyMap<string, RaggedRows> {
  const found = new Map<string, RaggedRows>();
  for (const { axis } of fn.params.flatMap(({ type }) => raggedAxesOf(type))) {
    if (found.has(axis.instance)) continue;
    const experts = sizeIn(cx, scope, axis.by);
    const most = extentOf(cx, symbol(rowsName(axis.name)));
    found.set(
      axis.instance,
      layOut(cx, axis.name, {
        given: input(axis.name, "i32", [experts.extent]),
        experts,
        most,
        place: fn.place,
      }),
    );
  }
  return found;
}

interface CountedRows {
  /** i32[experts]. */
  readonly given: Ref;
  readonly experts: AxisValue;
  readonly most: Dim;
  readonly place: Place;
}

/** Blocks for rows of which each expert has as many as it is given; no more than `most` in all. */
function layOut(cx: Lowering, name: string, { given, experts, most, place }: CountedRows): RaggedRows {
  const { terms } = cx;
  const limit = terms.dim(most);
  // A sum of counts that are each at most the rows is an i32.
  const message = `the sizes of '${name}' are too large`;
  claim(cx, { left: mul(experts.extent, most), relation: "<", right: constant(2 ** 31), message, place });
  // Never beyond the rows there are, and never going down, whatever was given: so that each count is from 0 up.
  const ends = prefixSums(cx, `${name}_ends`, experts.extent, (e) =>
    terms.apply("clamp", terms.read(given, [e]), terms.i32(0), limit),
  );
  const endOf = (e: Scalar): Scalar => terms.apply("min", terms.read(ends, [e]), limit);
  const count = overExperts(cx, `${name}_count`, experts.extent, (e) => {
    const before = terms.apply("max", terms.sub(e, terms.i32(1)), terms.i32(0));
    const isFirst = terms.apply("eq", e, terms.i32(0));
    return terms.sub(endOf(e), terms.select(isFirst, terms.i32(0), endOf(before)));
  });
  const align = constant(cx.align);
  const padded = (e: Scalar): Scalar => {
    const up = terms.add(terms.read(count, [e]), terms.i32(cx.align - 1));
    return terms.mul(terms.floordiv(up, terms.dim(align)), terms.dim(align));
  };
  const paddedEnds = prefixSums(cx, `${name}_block_ends`, experts.extent, padded);
  const start = overExperts(cx, `${name}_start`, experts.extent, (e) =>
    terms.sub(terms.read(paddedEnds, [e]), padded(e)),
  );
  const blocks = floordiv(capacity([most], experts.extent, cx.align), align);
  const block = terms.variable("block", blocks);
  const expert = endsBefore(cx, `${name}_expert`, block, {
    ends: paddedEnds,
    at: terms.mul(block.term, terms.dim(align)),
    experts: experts.extent,
  });
  cx.fresh += 1;
  const { key: by, extent } = experts;
  return { id: cx.fresh, by, experts: extent, align, blocks, most, expert, start, count };
}

function overExperts(cx: Lowering, name: string, experts: Dim, value: (e: Scalar) => Scalar): Ref {
  const e = cx.terms.variable("e", experts);
  return stored(cx, name, {
    axes: [e],
    over: [],
    carriers: [],
    results: [{ value: value(e.term), dtype: "i32" }],
  });
}

/** For each expert the sum of the values of it and of those before it. */
function prefixSums(cx: Lowering, name: string, experts: Dim, value: (e: Scalar) => Scalar): Ref {
  const { arena, terms } = cx;
  const [e, before] = [terms.variable("e", experts), terms.variable("before", experts)];
  const counts = terms.apply("le", before.term, e.term);
  const lift = terms.select(counts, value(before.term), terms.i32(0));
  return stored(cx, name, {
    axes: [e],
    over: [before],
    carriers: [{ name: "sum", monoid: "sum", lift }],
    results: [{ value: arena.carrier(0, "i32"), dtype: "i32" }],
  });
}

/** How many experts end at or before `at`: the expert that has it, or the number of experts where none has. */
function endsBefore(
  cx: Lowering,
  name: string,
  along: LoopVariable,
  { ends, at, experts }: { readonly ends: Ref; readonly at: Scalar; readonly experts: Dim },
): Ref {
  const { arena, terms } = cx;
  const e = terms.variable("e", experts);
  const isBefore = terms.apply("le", terms.read(ends, [e.term]), at);
  const lift = terms.select(isBefore, terms.i32(1), terms.i32(0));
  return stored(cx, name, {
    axes: [along],
    over: [e],
    carriers: [{ name: "before", monoid: "sum", lift }],
    results: [{ value: arena.carrier(0, "i32"), dtype: "i32" }],
  });
}

function stored(cx: Lowering, name: string, request: Omit<LoopRequest, "place">): Ref {
  const ref = cx.arena.ref(emitLoop(cx, { ...request, place: undefined }));
  cx.arena.setHint(ref, name);
  return ref;
}

/** First row of an expert when the rows of one stand behind those of another; `ends` are sums of the counts. */
function firstOf(cx: Lowering, ends: Ref, rows: RaggedRows, e: Scalar): Scalar {
  const { terms } = cx;
  return terms.sub(terms.read(ends, [e]), terms.read(rows.count, [e]));
}

/** An input with ragged rows, brought into blocks. */
export function raggedInput(
  cx: Lowering,
  axes: readonly AxisValue[],
  name: string,
  dtype: Format,
  input: MakeInput,
): TensorValue {
  const { terms } = cx;
  const at = raggedAt(axes);
  const rows = axes[at]?.ragged;
  invariant(rows !== undefined && at > 0, "ragged rows behind their experts");
  const shape = axes.flatMap((axis, k) => (k === at - 1 ? [] : [k === at ? rows.most : axis.extent]));
  const ref = input(name, storedAs(dtype), shape);
  const ends = prefixSums(cx, `${name}_ends`, rows.experts, (e) => terms.read(rows.count, [e]));
  const bound = bindAxes(
    cx,
    axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const [e, t] = [bound.indices[at - 1], bound.indices[at]];
  invariant(e !== undefined && t !== undefined && bound.valid !== undefined, "rows lie in blocks");
  const row = terms.select(bound.valid, terms.add(firstOf(cx, ends, rows, e), t), terms.i32(0));
  const term = terms.read(ref, [...bound.indices.slice(0, at - 1), row, ...bound.indices.slice(at + 1)]);
  const value = terms.select(bound.valid, term, terms.constant(term.type, 0));
  const held = storeElement(cx, bound, value, storedAs(dtype), `${name}_rows`, undefined);
  cx.zeroPadded.set(held.ref, held.ref);
  return readBack(cx, { dtype, written: true, scaling: undefined }, held, axes, undefined, []);
}

/** A result with ragged rows, as rows one behind another: `rows.most` of them, those that no expert has 0. */
export function packRows(cx: Lowering, value: TensorValue, name: string): Ref {
  const { terms } = cx;
  const at = raggedAt(value.axes);
  const rows = value.axes[at]?.ragged;
  invariant(rows !== undefined && at > 0, "ragged rows behind their experts");
  const held = value.settled ? value : materialise(cx, value, name, undefined);
  const ends = prefixSums(cx, `${name}_ends`, rows.experts, (e) => terms.read(rows.count, [e]));
  const n = terms.variable("row", rows.most);
  const expertOf = endsBefore(cx, `${name}_expert`, n, { ends, at: n.term, experts: rows.experts });
  const others = value.axes.filter((_, k) => k !== at && k !== at - 1);
  const bound = bindAxes(
    cx,
    others.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const found = terms.read(expertOf, [n.term]);
  const used = terms.apply("lt", found, terms.dim(rows.experts));
  const e = terms.select(used, found, terms.i32(0));
  // Row 0 of all stands in for a row that nobody has, so that the read of it lies inside.
  const none = terms.sub(terms.i32(0), terms.read(rows.start, [e]));
  const t = terms.select(used, terms.sub(n.term, firstOf(cx, ends, rows, e)), none);
  const index: Scalar[] = [...bound.indices.slice(0, at - 1), e, t, ...bound.indices.slice(at - 1)];
  const { term } = elementAt(terms, held, index);
  const variables = [...bound.variables.slice(0, at - 1), n, ...bound.variables.slice(at - 1)];
  const packed = terms.select(used, term, terms.constant(term.type, 0));
  return storeElement(cx, { ...bound, variables }, packed, storageOf(held), name, undefined).ref;
}

function raggedAt(axes: readonly AxisValue[]): number {
  return axes.findIndex((axis) => axis.ragged !== undefined);
}
