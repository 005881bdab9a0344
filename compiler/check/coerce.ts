/** Where a type is written: a typed `let`, a parameter, a result, a field. Rounds once, or says what differs. */
import { axisMismatch } from "../diagnostics/axes.ts";
import type { Label, Place } from "../diagnostics/diagnostic.ts";
import { typeMismatch } from "../diagnostics/values.ts";
import {
  classOf,
  printAxis,
  printDtype,
  printType,
  sameAxis,
  sameAxisDim,
  sameDtype,
  sameScale,
} from "./axes.ts";
import { convert, fits, isUntyped } from "./arithmetic.ts";
import { type Context, errorExpr, fail, report } from "./context.ts";
import { dimEquals } from "../types/dim.ts";
import type { Axis, DTypeRef, PagedPart, RecordType, TensorType, Type, TypedExpr } from "./typed.ts";

export interface Wanted {
  readonly type: Type;
  /** What it is for, in words: `argument 'x'`, `the result`. */
  readonly what: string;
  /** Where the type is written. */
  readonly at: Place | undefined;
}

export function coerce(cx: Context, e: TypedExpr, wanted: Wanted): TypedExpr {
  const { type } = wanted;
  if (e.type.kind === "error" || type.kind === "error")
    return e.type.kind === "error" ? e : errorExpr(e.place);
  if (type.kind === "tensor" && e.type.kind === "tensor") return coerceTensor(cx, e, e.type, type, wanted);
  if (type.kind === "record" && e.type.kind === "record") return coerceRecord(cx, e, e.type, type, wanted);
  if (sameOpaque(cx, e.type, type)) return e;
  return mismatch(cx, e, wanted, undefined);
}

function sameOpaque(cx: Context, a: Type, b: Type): boolean {
  if (a.kind === "paged" && b.kind === "paged") {
    const dims = (["page", "batch", "length"] as const).every((field) =>
      sameAxisDim(cx.known, a[field], b[field]),
    );
    return (
      dims && a.parts.length === b.parts.length && a.parts.every((part, k) => samePart(cx, part, b.parts[k]))
    );
  }
  if (a.kind === "plan" && b.kind === "plan") {
    if (!cx.body.rigid.has(b.instance) && b.instance.startsWith("?"))
      cx.body.ragged.set(b.instance.slice(1), a.instance);
    else if (a.instance !== b.instance) return false;
    return (["rows", "choices", "experts"] as const).every((field) =>
      sameAxisDim(cx.known, a[field], b[field]),
    );
  }
  return a.kind === "module" && b.kind === "module" && a.module === b.module;
}

function samePart(cx: Context, a: PagedPart, b: PagedPart | undefined): boolean {
  return (
    b !== undefined &&
    sameAxisDim(cx.known, a.width, b.width) &&
    sameDtype(a.dtype, b.dtype) &&
    sameScale(a.scale, b.scale)
  );
}

function coerceRecord(
  cx: Context,
  e: TypedExpr,
  found: RecordType,
  type: RecordType,
  wanted: Wanted,
): TypedExpr {
  const names = found.fields.map(({ name }) => name).join(", ");
  if (
    found.fields.length !== type.fields.length ||
    type.fields.some(({ name }, i) => name !== found.fields[i]?.name)
  ) {
    return fail(
      cx,
      e.place,
      typeMismatch(e.place, {
        found: `a record of ${names}`,
        wanted: printType(type),
        what: wanted.what,
        ...seen(wanted),
      }),
    );
  }
  const fields = type.fields.map((field, i): { name: string; value: TypedExpr } => {
    const own = e.kind === "record" ? e.fields[i]?.value : undefined;
    const value = own ?? {
      kind: "field",
      value: e,
      field: field.name,
      type: found.fields[i]?.type ?? type,
      place: e.place,
    };
    return {
      name: field.name,
      value: coerce(cx, value, { type: field.type, what: `field '${field.name}'`, at: wanted.at }),
    };
  });
  // A record that needs no cast stays the value that it is.
  const unchanged =
    e.kind !== "record" && fields.every(({ value }) => value.kind === "field" && value.value === e);
  return unchanged ? e : { kind: "record", fields, type, place: e.place };
}

function coerceTensor(
  cx: Context,
  e: TypedExpr,
  found: TensorType,
  type: TensorType,
  wanted: Wanted,
): TypedExpr {
  if (!coerceAxes(cx, e, found, type, wanted)) return errorExpr(e.place);
  const axes = type.axes.map((axis, i) => (axis.kind === "ragged" ? (found.axes[i] ?? axis) : axis));
  const to: TensorType = { ...type, axes };
  if (found.axes.length > 0 && !sameScale(found.scale, type.scale)) {
    const help =
      type.scale === undefined
        ? "dequantize(x) gives the f32 values"
        : `quantize<${printDtype(type.dtype)} @ (${type.scale.block.join(", ")})>(x) makes it`;
    return mismatch(cx, e, wanted, help);
  }
  if (isUntyped(e) && !literalFits(cx, e, type.dtype)) return mismatch(cx, e, wanted, undefined);
  if (!convertible(cx, found, e, type.dtype))
    return mismatch(cx, e, wanted, `cast it: ${printDtype(type.dtype)}(..)`);
  if (isUntyped(e)) return convert(cx, e, to);
  if (
    sameDtype(found.dtype, type.dtype) &&
    found.written === type.written &&
    found.masked === type.masked &&
    sameScale(found.scale, type.scale)
  )
    return e;
  return { kind: "cast", value: e, type: to, place: e.place };
}

function literalFits(cx: Context, e: TypedExpr, to: DTypeRef): boolean {
  if (to.kind === "param")
    return !(e.kind === "literal" && typeof e.value === "number" && classOf(to, cx.bounds) === "int");
  if (classOf(to, cx.bounds) === "float") return true;
  if (e.kind !== "literal" || to.dtype === "bool") return e.kind === "dim" && to.dtype !== "bool";
  return typeof e.value === "bigint" && fits(e.value, to.dtype);
}

/** What happens by itself where a type is written: floats round, integers widen or become floats. */
function convertible(cx: Context, found: TensorType, e: TypedExpr, to: DTypeRef): boolean {
  const [from, into] = [classOf(found.dtype, cx.bounds), classOf(to, cx.bounds)];
  if (sameDtype(found.dtype, to) || isUntyped(e)) return true;
  if (into === "float") return from !== "bool";
  if (from !== "int" || into !== "int" || found.dtype.kind === "param" || to.kind === "param") return false;
  const wider: Readonly<Record<string, readonly string[]>> = {
    i8: ["i32", "i64"],
    u8: ["i32", "u32", "i64"],
    i32: ["i64"],
    u32: ["i64"],
  };
  return wider[found.dtype.dtype]?.includes(to.dtype) ?? false;
}

function coerceAxes(cx: Context, e: TypedExpr, found: TensorType, type: TensorType, wanted: Wanted): boolean {
  if (found.axes.length !== type.axes.length) {
    mismatch(cx, e, wanted, undefined);
    return false;
  }
  for (const [i, axis] of type.axes.entries()) {
    const own = found.axes[i];
    if (own === undefined || fixesRagged(cx, own, axis) || sameAxis(cx.known, own, axis)) continue;
    const reordered = type.axes.every((a) => found.axes.some((b) => sameAxis(cx.known, a, b)));
    report(
      cx,
      axisMismatch(e.place, {
        found: printAxis(own),
        wanted: printAxis(axis),
        detail: `${wanted.what} is ${printType(found)}; expected ${printType(type)}`,
        help: reordered
          ? "the same axes in another order: build it with 'for' in the order of the type"
          : renameHelp(own, axis),
        ...seen(wanted),
      }),
    );
    return false;
  }
  return true;
}

/** The first value written with `R` says which rows `R` means from here on. */
export function fixesRagged(cx: Context, found: Axis, type: Axis): boolean {
  if (
    found.kind !== "ragged" ||
    type.kind !== "ragged" ||
    !type.instance.startsWith("?") ||
    !sameAxisDim(cx.known, found.by, type.by)
  )
    return false;
  const before = cx.body.ragged.get(type.name);
  if (before === undefined) cx.body.ragged.set(type.name, found.instance);
  return before === undefined || before === found.instance;
}

export function renameHelp(found: Axis, wanted: Axis): string | undefined {
  if (found.kind !== "dim" || wanted.kind !== "dim") return undefined;
  if (dimEquals(found.dim, wanted.dim))
    return "the same parts in another order: take them apart with 'split' and put them together with 'join'";
  return `if they are the same axis, rename it: x[${printAxis(found)} as ${printAxis(wanted)}]`;
}

function seen(wanted: Wanted): { more?: readonly Label[] } {
  return wanted.at === undefined ? {} : { more: [{ place: wanted.at, text: "the type is written here" }] };
}

function mismatch(cx: Context, e: TypedExpr, wanted: Wanted, help: string | undefined): TypedExpr {
  return fail(
    cx,
    e.place,
    typeMismatch(e.place, {
      found: printType(e.type),
      wanted: printType(wanted.type),
      what: wanted.what,
      help,
      ...seen(wanted),
    }),
  );
}
