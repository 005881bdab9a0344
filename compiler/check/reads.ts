/** `x[b, s - w] else 0.0`, `table[ids[b, s], d]` and `x[S as T]`. */
import type { IndexExpr, IndexPart } from "../../grammar/ast.ts";
import {
  axisCount,
  badIndex,
  indexAxisMismatch,
  indexOutside,
  packMisplaced,
  raggedMismatch,
} from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { typeMismatch } from "../diagnostics/values.ts";
import { constant, sub, zero } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { type IndexRange, proveAtMost, proveLess, refute, withIndices } from "../types/prover.ts";
import { carried, classOf, dimAxis, printAxis, printType, sameAxis, sameDtype } from "./axes.ts";
import { convert, tensorOf, unifyNumbers } from "./arithmetic.ts";
import { type Context, errorExpr, fail, inner, placeIn, report } from "./context.ts";
import { affineOf, holdsData } from "./index-arithmetic.ts";
import { checkRenames } from "./renames.ts";
import { textOf } from "./source-text.ts";
import type { Axis, TensorType, TypedExpr, TypedIndex } from "./typed.ts";

export function checkIndex(cx: Context, e: IndexExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const value = cx.expr(inner(cx), e.value);
  const otherwise = e.else === undefined ? undefined : cx.expr(inner(cx), e.else);
  if (e.indices.some((part) => part.kind === "rename")) return checkRenames(cx, e, value);
  const parts = e.indices.map((part) => (part.kind === "at" ? cx.expr(inner(cx), part.value) : undefined));
  const type = tensorOf(value);
  if (
    value.type.kind === "error" ||
    otherwise?.type.kind === "error" ||
    parts.some((part) => part?.type.kind === "error")
  )
    return errorExpr(place);
  if (type === undefined)
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a tensor",
        what: "what is indexed",
      }),
    );
  return read(cx, place, { e, value, type, parts, otherwise });
}

interface Reading {
  readonly e: IndexExpr;
  readonly value: TypedExpr;
  readonly type: TensorType;
  readonly parts: readonly (TypedExpr | undefined)[];
  readonly otherwise: TypedExpr | undefined;
}

function read(cx: Context, place: Place, reading: Reading): TypedExpr {
  const { e, value, type, parts } = reading;
  const tensor = textOf(e.value);
  const packed = e.indices.findIndex((part) => part.kind === "pack");
  const ownPack = type.axes[0]?.kind === "pack";
  // A 'for ...' that may not stand here was reported where it stands.
  if (packed >= 0 && cx.pack && !cx.body.hasPack) return errorExpr(place);
  if (packed > 0 || (packed === 0 && !ownPack)) {
    const message =
      packed > 0
        ? "'...' stands for leading axes, so it comes first"
        : `${tensor} is ${printType(type)}, which has no '...'`;
    return fail(cx, place, packMisplaced(place, message));
  }
  if (packed === 0 && !cx.pack)
    return fail(cx, place, packMisplaced(place, "'[...]' needs a 'for ...' around it"));
  if (ownPack && packed !== 0)
    return fail(
      cx,
      place,
      packMisplaced(place, `${tensor} is ${printType(type)}, so its index begins with '...'`),
    );
  if (parts.length !== type.axes.length) {
    const what = /^[a-z]\w*(\.\w+)*$/.test(tensor) ? `'${tensor}'` : "this";
    return fail(
      cx,
      place,
      axisCount(place, { what, type: printType(type), wanted: type.axes.length, found: parts.length }),
    );
  }
  const indices: TypedIndex[] = [];
  let gathers = false;
  for (const [i, axis] of type.axes.entries()) {
    const index = parts[i];
    const part = e.indices[i];
    if (index === undefined || part === undefined || axis.kind === "pack") {
      indices.push({ kind: "pack" });
      continue;
    }
    const problem = indexProblem(cx, index, part);
    if (problem) return errorExpr(place);
    const outcome = inRange(cx, index, axis, reading, i);
    if (outcome === "wrong") return errorExpr(place);
    gathers ||= outcome === "data";
    indices.push({ kind: "at", value: index });
  }
  return finish(cx, place, reading, indices, gathers, value);
}

function finish(
  cx: Context,
  place: Place,
  { type, otherwise }: Reading,
  indices: readonly TypedIndex[],
  gathers: boolean,
  tensor: TypedExpr,
): TypedExpr {
  const element: TensorType = { ...type, axes: [] };
  const node = (result: TensorType, other: TypedExpr | undefined): TypedExpr => ({
    kind: "read",
    tensor,
    indices,
    otherwise: other,
    gathers,
    type: result,
    place,
  });
  if (otherwise === undefined) return node(element, undefined);
  const given = tensorOf(otherwise);
  if (given === undefined || given.axes.length > 0) {
    return fail(
      cx,
      otherwise.place,
      typeMismatch(otherwise.place, {
        found: printType(otherwise.type),
        wanted: printType(element),
        what: "the value outside",
      }),
    );
  }
  const kind = classOf(element.dtype, cx.bounds);
  const harmless =
    otherwise.kind === "literal" &&
    (otherwise.value === 0 ||
      otherwise.value === 0n ||
      otherwise.value === -Infinity ||
      otherwise.value === Infinity);
  if (kind === "float" && (harmless || sameDtype(given.dtype, element.dtype)))
    return node(element, convert(cx, otherwise, element));
  if (kind === "bool" && classOf(given.dtype, cx.bounds) === "bool") return node(element, otherwise);
  const joined = unifyNumbers(cx, "else", [{ kind: "error", type: element, place }, otherwise]);
  const value = joined?.values[1];
  if (joined === undefined || value === undefined || (kind === "int" && joined.kind === "float")) {
    return fail(
      cx,
      otherwise.place,
      typeMismatch(otherwise.place, {
        found: printType(otherwise.type),
        wanted: printType(element),
        what: "the value outside",
      }),
    );
  }
  // A value that the element's dtype may not hold makes the whole read an f32.
  return kind === "float"
    ? node({ ...carried, masked: element.masked }, value)
    : node(element, convert(cx, otherwise, element));
}

/** True after a report. */
function indexProblem(cx: Context, index: TypedExpr, part: IndexPart): boolean {
  const type = tensorOf(index);
  const place = placeIn(cx, part.span);
  if (type !== undefined && type.axes.length === 0 && classOf(type.dtype, cx.bounds) === "int") return false;
  const help =
    type !== undefined && type.axes.length > 0
      ? "index it too: table[ids[b, s], d]"
      : type === undefined
        ? undefined
        : "cast it: i32(..)";
  report(cx, badIndex(place, printType(index.type), help));
  return true;
}

// ---------------------------------------------------------------- ranges

function inRange(
  cx: Context,
  index: TypedExpr,
  axis: Exclude<Axis, { kind: "pack" }>,
  reading: Reading,
  at: number,
): "proved" | "data" | "wrong" {
  const { e, type } = reading;
  if (axis.kind === "ragged") return ragged(cx, index, axis, reading);
  if (index.kind === "index" && sameAxis(cx.known, index.variable.axis, axis)) return "proved";
  const part = e.indices[at];
  const place = part === undefined ? index.place : placeIn(cx, part.span);
  const affine = affineOf(cx, index);
  if (affine === undefined) {
    if (holdsData(index) || reading.otherwise !== undefined) return holdsData(index) ? "data" : "proved";
    report(
      cx,
      indexOutside(place, {
        index: part?.kind === "at" ? textOf(part.value) : "this",
        axis: printAxis(axis),
        range: undefined,
        never: false,
      }),
    );
    return "wrong";
  }
  if (reading.otherwise !== undefined && index.kind !== "index") return "proved";
  const facts = withIndices(cx.known.sizes, affine.ranges);
  if (proveAtMost(facts, zero, affine.dim) && proveLess(facts, affine.dim, axis.dim))
    return misnamed(index, axis) ? mismatched(cx, index, axis, reading, place) : "proved";
  if (index.kind === "index") {
    return reading.otherwise !== undefined && !misnamed(index, axis)
      ? "proved"
      : mismatched(cx, index, axis, reading, place);
  }
  const never =
    refute(facts, { left: affine.dim, relation: "<", right: axis.dim }) ||
    refute(facts, { left: zero, relation: "<=", right: affine.dim });
  report(
    cx,
    indexOutside(place, {
      index: part?.kind === "at" ? textOf(part.value) : printDim(affine.dim),
      axis: printAxis(axis),
      range: rangeText(affine.ranges, type),
      never,
    }),
  );
  return "wrong";
}

/** A variable over one named axis is no index of another, however their sizes compare. */
function misnamed(index: TypedExpr, axis: Extract<Axis, { kind: "dim" }>): boolean {
  return (
    index.kind === "index" &&
    index.variable.axis.kind === "dim" &&
    index.variable.axis.dim.kind === "symbol" &&
    axis.dim.kind === "symbol"
  );
}

function mismatched(cx: Context, index: TypedExpr, axis: Axis, { e, type }: Reading, place: Place): "wrong" {
  if (index.kind !== "index") return "wrong";
  const { variable } = index;
  const right = [...cx.locals.entries()].find(
    ([, local]) => local.kind === "index" && sameAxis(cx.known, local.variable.axis, axis),
  );
  report(
    cx,
    indexAxisMismatch(place, {
      variable: variable.name,
      over: printAxis(variable.axis),
      axis: printAxis(axis),
      tensor: textOf(e.value),
      type: printType(type),
      inScope: right?.[0],
    }),
  );
  return "wrong";
}

function ragged(
  cx: Context,
  index: TypedExpr,
  axis: Extract<Axis, { kind: "ragged" }>,
  { e, type, parts }: Reading,
): "proved" | "wrong" {
  const on = type.axes.findIndex((other) => sameAxis(cx.known, other, dimAxis(axis.by)));
  const by = parts[on];
  if (
    index.kind === "index" &&
    sameAxis(cx.known, index.variable.axis, axis) &&
    by?.kind === "index" &&
    by.variable === index.variable.by
  )
    return "proved";
  const rows = printAxis(axis);
  const other =
    index.kind === "index" &&
    index.variable.axis.kind === "ragged" &&
    index.variable.axis.instance !== axis.instance;
  const message = other
    ? `these rows come from another dispatch than ${textOf(e.value)}'s`
    : `the axis ${rows} of ${textOf(e.value)} is indexed by a variable over it, with the one that says which ${printDim(axis.by)}`;
  report(
    cx,
    raggedMismatch(index.place, message, other ? undefined : `for e, t: ${textOf(e.value)}[e, t, ..]`),
  );
  return "wrong";
}

function rangeText(ranges: readonly IndexRange[], type: TensorType): string {
  const parts = ranges.map(
    ({ name, extent }) => `${name.replace(/'.*/, "")} is in 0 .. ${printDim(sub(extent, constant(1)))}`,
  );
  return [...parts, `the tensor is ${printType(type)}`].join("; ");
}
