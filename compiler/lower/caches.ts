/**
 * `Paged`: the rows of a sequence lie in pages, which its row of the table names in order. Reading is a gather, and
 * a view; appending is a scatter that makes the next state.
 */
import type { TypedStatement } from "../check/typed.ts";
import { invariant } from "../diagnostics/diagnostic.ts";
import { ceildiv, constant, mul } from "../types/dim.ts";
import type { Format } from "../types/dtype.ts";
import type { Scalar } from "../tensor/ir.ts";
import { claim } from "./claims.ts";
import type { Frame, Lowering } from "./frame.ts";
import { bindAxes, emitLoop } from "./loops.ts";
import { quantizeTo } from "./quantizing.ts";
import { tensorAt } from "./scopes.ts";
import { settle } from "./tensors.ts";
import {
  elementAt,
  tensorOf,
  variablesFor,
  type AxisValue,
  type CachePages,
  type CachePart,
  type CacheValue,
  type TensorValue,
  type Value,
} from "./value.ts";

type Append = Extract<TypedStatement, { kind: "append" }>;

/** `kv.read()`: [B, T, C], 0 from a sequence's end on; a record of them where rows have parts. */
export function readCache(cx: Lowering, cache: CacheValue, axes: readonly (readonly AxisValue[])[]): Value {
  const parts = cache.parts.flatMap((part, k) => {
    const own = axes[k];
    return own === undefined ? [] : [readPart(cx, cache, part, own)];
  });
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  return { kind: "record", fields: parts.map((value, k) => ({ name: String(k), value })) };
}

function readPart(
  cx: Lowering,
  cache: CacheValue,
  { dtype, scaling, pages, scales }: CachePart,
  axes: readonly AxisValue[],
): TensorValue {
  const { terms } = cx;
  const variables = variablesFor(terms, axes);
  const [b, t, c] = variables.map((v) => v.term);
  invariant(b !== undefined && t !== undefined && c !== undefined, "a cache has three axes");
  const there = terms.apply("lt", t, terms.read(cache.length, [b]));
  const page = terms.dim(cache.page);
  const number = terms.read(cache.table, [b, terms.floordiv(t, page)]);
  // Where there is no row the table says nothing: page 0 is read, and not used.
  const row = [terms.select(there, number, terms.i32(0)), terms.mod(t, page)];
  const code = terms.read(pages.now, [...row, c], "clamp");
  const block = terms.i32(scaling?.block[0] ?? 1);
  const value =
    scales === undefined
      ? code
      : terms.mul(code, terms.read(scales.now, [...row, terms.floordiv(c, block)], "clamp"));
  return {
    kind: "tensor",
    axes,
    variables,
    element: { term: terms.select(there, value, terms.f32(0)), keep: undefined },
    dtype,
    written: true,
    settled: true,
    scaling,
    parts: undefined,
  };
}

/** `kv.visible(pos)`: [B, S, T]. */
export function visibleRows(
  cx: Lowering,
  cache: CacheValue,
  pos: TensorValue,
  axes: readonly AxisValue[],
): TensorValue {
  const { terms } = cx;
  const variables = variablesFor(terms, axes);
  const [b, s, t] = variables.map((v) => v.term);
  invariant(b !== undefined && s !== undefined && t !== undefined, "a mask over a cache has three axes");
  const there = terms.apply("lt", t, terms.read(cache.length, [b]));
  const seen = terms.apply("le", t, elementAt(terms, pos, [b, s]).term);
  const element = { term: terms.apply("and", there, seen), keep: undefined };
  return {
    kind: "tensor",
    axes,
    variables,
    element,
    dtype: "bool",
    written: true,
    settled: false,
    scaling: undefined,
    parts: undefined,
  };
}

/** T rows must have room in the table. */
export function claimRoom(cx: Lowering, cache: CacheValue, length: AxisValue, place: Append["place"]): void {
  const room = mul(cache.slots, cache.page);
  claim(cx, {
    left: length.extent,
    relation: "<=",
    right: room,
    message: "the table has room for the longest sequence",
    place,
  });
}

/** `kv.append(x, count)`: row s < count[b] of x becomes row length[b] + s. */
export function appendRows(cx: Lowering, statement: Append, frame: Frame): void {
  const { arena, terms } = cx;
  const cache = cx.evaluate(cx, statement.state, frame);
  invariant(cache.kind === "cache", "append to no cache");
  const counts = statement.count === undefined ? undefined : tensorAt(cx, statement.count, frame);
  const rows = cache.parts.map((part, k) => {
    const given = statement.rows[k];
    invariant(given !== undefined, "rows of each part are appended");
    return { part, value: tensorAt(cx, given, frame) };
  });
  const [batch, steps] = rows[0]?.value.axes ?? [];
  invariant(batch !== undefined && steps !== undefined, "appended rows have three axes");
  const appended: Appended = {
    cache,
    place: statement.place,
    countOf: (sequence) => {
      if (counts === undefined) return terms.dim(steps.extent);
      const index = counts.axes.length === 0 ? [] : [sequence];
      return terms.cast("i32", elementAt(terms, counts, index).term);
    },
    isWhole: counts === undefined,
  };
  for (const { part, value } of rows) {
    if (part.scaling === undefined || part.scales === undefined) {
      scatterRows(cx, appended, part.pages, { rows: value, dtype: part.dtype });
      continue;
    }
    const x = settle(cx, value, undefined, statement.place);
    invariant(x.kind === "tensor", "rows are a tensor");
    const scaled = quantizeTo(cx, x, { dtype: part.dtype, scale: part.scaling }, statement.place);
    const codes = tensorOf(terms, scaled.codes.ref, value.axes, part.dtype, true);
    const [, , width] = value.axes;
    invariant(width !== undefined, "appended rows have three axes");
    const blocks = { ...width, extent: ceildiv(width.extent, constant(part.scaling.block[0] ?? 1)) };
    const scales = tensorOf(terms, scaled.scales.ref, [batch, steps, blocks], "f32", true);
    scatterRows(cx, appended, part.pages, { rows: codes, dtype: part.dtype });
    scatterRows(cx, appended, part.scales, { rows: scales, dtype: "f32" });
  }
  const sequence = terms.variable("b", batch.extent);
  const length = emitLoop(cx, {
    axes: [sequence],
    over: [],
    carriers: [],
    place: statement.place,
    results: [
      {
        value: terms.add(terms.read(cache.length, [sequence.term]), appended.countOf(sequence.term)),
        dtype: "i32",
      },
    ],
  });
  cache.length = arena.ref(length);
}

interface Appended {
  readonly cache: CacheValue;
  readonly countOf: (sequence: Scalar) => Scalar;
  /** Every row is appended. */
  readonly isWhole: boolean;
  readonly place: Append["place"];
}

/** Writes rows behind those that are there, into the pages that the table names. */
function scatterRows(
  cx: Lowering,
  { cache, countOf, isWhole, place }: Appended,
  pages: CachePages,
  { rows: x, dtype }: { readonly rows: TensorValue; readonly dtype: Format },
): void {
  const { arena, terms } = cx;
  const rows = bindAxes(
    cx,
    x.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const [b, s, c] = rows.indices;
  invariant(b !== undefined && s !== undefined && c !== undefined, "appended rows have three axes");
  const added = isWhole ? undefined : terms.apply("lt", s, countOf(b));
  const at = terms.add(terms.read(cache.length, [b]), s);
  const room = terms.apply("lt", at, terms.dim(mul(cache.slots, cache.page)));
  const page = terms.dim(cache.page);
  // A row that is not added has no page, and asks for none.
  const slot = terms.floordiv(added === undefined ? at : terms.select(added, at, terms.i32(0)), page);
  const target = [terms.read(cache.table, [b, slot], "clamp"), terms.mod(at, page), c];
  const keep = terms.both(added, room) ?? room;
  const element = elementAt(terms, x, rows.indices);
  const value =
    element.keep === undefined ? element.term : terms.select(element.keep, element.term, terms.f32(0));
  const rounded = x.written && x.dtype === dtype ? value : terms.round(dtype, value);
  const { bodies, inputs } = terms.bodies([...target, rounded, keep], rows.variables, [pages.now]);
  const [valueBody, keepBody] = bodies.slice(target.length);
  invariant(valueBody !== undefined && keepBody !== undefined, "a scatter has a value");
  const axes = rows.variables.map((v) => ({ name: v.name, extent: v.extent }));
  const scatter = arena.scatter({
    axes,
    inputs,
    target: bodies.slice(0, target.length),
    value: valueBody,
    keep: keepBody,
  });
  arena.setPlace(scatter, place);
  pages.now = arena.ref(scatter);
}
