/**
 * `Paged`: the rows of a sequence lie in pages, which its row of the table names in order. Reading is a gather, and
 * a view; appending is a scatter that makes the next state.
 */
import type { TypedStatement } from "../check/typed.ts";
import { invariant } from "../diagnostics/diagnostic.ts";
import { mul } from "../types/dim.ts";
import type { Scalar } from "../tensor/ir.ts";
import { claim } from "./claims.ts";
import type { Frame, Lowering } from "./frame.ts";
import { bindAxes, emitLoop } from "./loops.ts";
import { tensorAt } from "./scopes.ts";
import { elementAt, variablesFor, type AxisValue, type CacheValue, type TensorValue } from "./value.ts";

type Append = Extract<TypedStatement, { kind: "append" }>;

/** `kv.read()`: [B, T, C], 0 from a sequence's end on. */
export function readCache(cx: Lowering, cache: CacheValue, axes: readonly AxisValue[]): TensorValue {
  const { terms } = cx;
  const variables = variablesFor(terms, axes);
  const [b, t, c] = variables.map((v) => v.term);
  invariant(b !== undefined && t !== undefined && c !== undefined, "a cache has three axes");
  const there = terms.apply("lt", t, terms.read(cache.length, [b]));
  const page = terms.dim(cache.page);
  const number = terms.read(cache.table, [b, terms.floordiv(t, page)]);
  // Where there is no row the table says nothing: page 0 is read, and not used.
  const row = terms.read(
    cache.pages,
    [terms.select(there, number, terms.i32(0)), terms.mod(t, page), c],
    "clamp",
  );
  const element = { term: terms.select(there, row, terms.f32(0)), keep: undefined };
  return {
    kind: "tensor",
    axes,
    variables,
    element,
    dtype: cache.dtype,
    written: true,
    settled: true,
    scaling: undefined,
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
  const x = tensorAt(cx, statement.rows, frame);
  const counts = statement.count === undefined ? undefined : tensorAt(cx, statement.count, frame);
  const rows = bindAxes(
    cx,
    x.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const [b, s, c] = rows.indices;
  const steps = x.axes[1];
  invariant(
    b !== undefined && s !== undefined && c !== undefined && steps !== undefined,
    "appended rows have three axes",
  );
  const countOf = (sequence: Scalar): Scalar => {
    if (counts === undefined) return terms.dim(steps.extent);
    const index = counts.axes.length === 0 ? [] : [sequence];
    return terms.cast("i32", elementAt(terms, counts, index).term);
  };
  const added = counts === undefined ? undefined : terms.apply("lt", s, countOf(b));
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
  const rounded = x.written && x.dtype === cache.dtype ? value : terms.round(cache.dtype, value);
  const { bodies, inputs } = terms.bodies([...target, rounded, keep], rows.variables, [cache.pages]);
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
  arena.setPlace(scatter, statement.place);
  const sequence = terms.variable("b", x.axes[0]?.extent ?? steps.extent);
  const length = emitLoop(cx, {
    axes: [sequence],
    over: [],
    carriers: [],
    place: statement.place,
    results: [
      { value: terms.add(terms.read(cache.length, [sequence.term]), countOf(sequence.term)), dtype: "i32" },
    ],
  });
  cache.pages = arena.ref(scatter);
  cache.length = arena.ref(length);
}
