/** `for` and reductions: their variables, with ranges given or found, and what they make of their body. */
import type { CallExpr, DimExpr, Expr, ForExpr, Name } from "../../grammar/ast.ts";
import { packMisplaced, raggedMismatch, rangeUnknown } from "../diagnostics/axes.ts";
import { createReport, type Place } from "../diagnostics/diagnostic.ts";
import { declaredTwice } from "../diagnostics/names.ts";
import { argumentCount, badOperator, brackets, typeMismatch } from "../diagnostics/values.ts";
import { carried, classOf, dimAxis, printType, sameAxis, scalar } from "./axes.ts";
import { convert, tensorOf } from "./arithmetic.ts";
import {
  type Context,
  declareIndex,
  errorExpr,
  fail,
  inner,
  placeIn,
  report,
  withLocals,
} from "./context.ts";
import { forExpr, indexVariables, readAt } from "./elementwise.ts";
import type { Local } from "./locals.ts";
import { findIndexings } from "./indexings.ts";
import { resolveDim } from "./sizes.ts";
import type { Axis, IndexVariable, ReduceOp, TensorType, TypedExpr } from "./typed.ts";

const reductions: ReadonlySet<string> = new Set<ReduceOp>([
  "sum",
  "prod",
  "max",
  "min",
  "any",
  "all",
  "mean",
  "argmax",
  "logsumexp",
]);

export function isReduction(name: string): name is ReduceOp {
  return reductions.has(name);
}

interface Wanted {
  readonly name: Name | undefined;
  readonly range: DimExpr | undefined;
  readonly place: Place;
}

export function checkFor(cx: Context, e: ForExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  const wanted = e.variables.map((v): Wanted => ({
    name: v.kind === "pack" ? undefined : v.name,
    range: v.kind === "pack" ? undefined : v.range,
    place: placeIn(cx, v.span),
  }));
  const bound = bindVariables(cx, wanted, e.body);
  const errors = cx.scope.report.diagnostics.length;
  const body = cx.expr(bound.cx, e.body);
  if (bound.variables === undefined) return explained(cx, bound.unknown, errors, place);
  if (body.type.kind === "error") return errorExpr(place);
  if (body.type.kind !== "tensor") {
    return fail(
      cx,
      body.place,
      typeMismatch(body.place, {
        found: printType(body.type),
        wanted: "a number or a tensor",
        what: "the body of 'for'",
      }),
    );
  }
  return forExpr(bound.variables, body, place);
}

export function checkReduction(cx: Context, e: CallExpr, op: ReduceOp): TypedExpr {
  const place = placeIn(cx, e.span);
  const [argument, ...more] = e.args;
  const wanted: Wanted[] = [];
  for (const dim of e.dims ?? []) {
    const own = placeIn(cx, dim.span);
    if (dim.kind === "variable") wanted.push({ name: dim.name, range: dim.range, place: own });
    else if (dim.kind === "dim" && dim.dim.kind === "name" && /^[a-z_]/.test(dim.dim.name.text))
      wanted.push({ name: dim.dim.name, range: undefined, place: own });
    else
      return fail(
        cx,
        own,
        brackets(
          own,
          `the brackets of '${op}' hold index variables`,
          `${op}[k](x[k]) reduces over the axis that k indexes`,
        ),
      );
  }
  if (argument === undefined || more.length > 0)
    return fail(
      cx,
      place,
      argumentCount(place, { callee: op, wanted: "one expression", found: e.args.length }),
    );
  if (wanted.length === 0 || (op === "argmax" && wanted.length > 1)) {
    return fail(
      cx,
      place,
      brackets(
        place,
        `'${op}' needs ${op === "argmax" ? "one index variable" : "index variables"} in brackets`,
        `${op}[k](x[k])`,
      ),
    );
  }
  const bound = bindVariables(cx, wanted, argument);
  const errors = cx.scope.report.diagnostics.length;
  const body = cx.expr(bound.cx, argument);
  if (bound.variables === undefined) return explained(cx, bound.unknown, errors, place);
  return reduce(cx, op, bound.variables, body, place);
}

/** A range that could not be found because of a mistake elsewhere is that mistake's diagnostic, not another. */
function explained(cx: Context, unknown: Wanted | undefined, errors: number, place: Place): TypedExpr {
  if (unknown?.name !== undefined && cx.scope.report.diagnostics.length === errors)
    report(cx, rangeUnknown(unknown.place, unknown.name.text));
  return errorExpr(place);
}

function reduce(
  cx: Context,
  op: ReduceOp,
  variables: readonly IndexVariable[],
  body: TypedExpr,
  place: Place,
): TypedExpr {
  const type = tensorOf(body);
  if (body.type.kind === "error") return errorExpr(place);
  if (type === undefined)
    return fail(
      cx,
      body.place,
      typeMismatch(body.place, {
        found: printType(body.type),
        wanted: "a number",
        what: `what '${op}' reduces`,
      }),
    );
  if (type.axes.length > 0) {
    const rest = indexVariables(cx, type.axes);
    return forExpr(rest, reduce(cx, op, variables, readAt(cx, body, type.axes, rest), place), place);
  }
  const kind = classOf(type.dtype, cx.bounds);
  const logical = op === "any" || op === "all";
  if (logical !== (kind === "bool")) {
    return fail(
      cx,
      body.place,
      badOperator(
        body.place,
        op,
        printType(type),
        logical ? "it reduces conditions" : "cast the condition: i32(..) or f32(..)",
      ),
    );
  }
  const result = resultOf(op, kind, type);
  const value =
    kind === "int" && result !== scalarIndex ? convert(cx, body, { ...result, masked: type.masked }) : body;
  return { kind: "reduce", op, variables, body: value, type: result, place };
}

const scalarIndex: TensorType = scalar("i32");

function resultOf(op: ReduceOp, kind: "float" | "int" | "bool", type: TensorType): TensorType {
  if (op === "argmax") return scalarIndex;
  if (kind === "bool") return scalar("bool");
  if (kind === "float" || op === "mean" || op === "logsumexp") return carried;
  const narrow = type.dtype.kind === "dtype" && (type.dtype.dtype === "i8" || type.dtype.dtype === "u8");
  return narrow && (op === "sum" || op === "prod") ? { ...scalar("i32") } : { ...type, masked: false };
}

// ---------------------------------------------------------------- variables

interface Bound {
  readonly cx: Context;
  readonly variables: readonly IndexVariable[] | undefined;
  /** The first whose range was not found. */
  readonly unknown: Wanted | undefined;
}

interface Range {
  readonly axis: Axis;
  /** For a ragged axis, the name of the variable that says which. */
  readonly by: string | undefined;
}

function bindVariables(cx: Context, wanted: readonly Wanted[], body: Expr): Bound {
  const made = new Map<string, IndexVariable | undefined>();
  const ranges = new Map<string, Range>();
  let unknown: Wanted | undefined;
  let failed = false;
  let pack: IndexVariable | undefined;
  for (const [i, want] of wanted.entries()) {
    const name = want.name?.text;
    if (name === undefined) {
      pack = { name: "...", axis: { kind: "pack" }, by: undefined };
      if (!packAllowed(cx, want, i)) failed = true;
      continue;
    }
    const twice = wanted.findIndex((other) => other.name?.text === name);
    if (twice < i) {
      report(cx, declaredTwice(want.place, name, wanted[twice]?.place ?? want.place));
      failed = true;
      continue;
    }
    const range =
      want.range === undefined ? inferRange(cx, name, body) : givenRange(cx, want.range, want.place);
    if (range === undefined || range === "poisoned") {
      failed = true;
      unknown ??= want.range === undefined && range === undefined ? want : undefined;
      made.set(name, undefined);
    } else ranges.set(name, range);
  }
  // A ragged variable is tied to another, which may stand after it.
  for (const [name, { axis }] of ranges)
    if (axis.kind !== "ragged") made.set(name, declareIndex(cx, name, axis, undefined));
  for (const [name, { axis, by }] of ranges) {
    if (axis.kind !== "ragged") continue;
    const on =
      indexNamed(cx, made, by) ??
      [...made.values()].find((v) => v !== undefined && sameAxis(cx.known, v.axis, dimAxis(axis.by)));
    if (on === undefined) {
      const place = wanted.find((want) => want.name?.text === name)?.place ?? wanted[0]?.place;
      if (place !== undefined)
        report(
          cx,
          raggedMismatch(
            place,
            `'${name}' counts rows of ${axis.name}, and no variable says which`,
            `bind a variable over ${axis.by.kind === "symbol" ? axis.by.name : "its axis"} too`,
          ),
        );
      failed = true;
      made.set(name, undefined);
    } else made.set(name, declareIndex(cx, name, axis, on));
  }
  const locals = [...made].map(([name, variable]): [string, Local] => [
    name,
    variable === undefined ? poisoned(name) : { kind: "index", variable },
  ]);
  const next = withLocals(inner(cx), locals, { repeated: true, pack: cx.pack || pack !== undefined });
  const variables = wanted.map((want) => (want.name === undefined ? pack : made.get(want.name.text)));
  const complete = variables.filter((v) => v !== undefined);
  return { cx: next, variables: failed || complete.length < wanted.length ? undefined : complete, unknown };
}

function poisoned(name: string): Local {
  const place = { file: "", start: 0, end: 0 };
  return { kind: "variable", variable: { name, type: { kind: "error" } }, mut: false, place };
}

function packAllowed(cx: Context, want: Wanted, at: number): boolean {
  const message =
    at > 0
      ? "'...' stands for leading axes, so it comes first"
      : !cx.body.hasPack
        ? "no '...' stands in this function's signature"
        : cx.pack
          ? "'...' is bound already"
          : undefined;
  if (message !== undefined) report(cx, packMisplaced(want.place, message));
  return message === undefined;
}

function indexNamed(
  cx: Context,
  made: ReadonlyMap<string, IndexVariable | undefined>,
  name: string | undefined,
): IndexVariable | undefined {
  if (name === undefined) return undefined;
  if (made.has(name)) return made.get(name);
  const local = cx.locals.get(name);
  return local?.kind === "index" ? local.variable : undefined;
}

/** `i in D / 2`, `t in R[e]`. */
function givenRange(cx: Context, range: DimExpr, place: Place): Range | undefined {
  const part = range.kind === "index" && range.indices.length === 1 ? range.indices[0] : undefined;
  const name = range.kind === "index" && range.value.kind === "name" ? range.value.name.text : undefined;
  const declared = name === undefined ? undefined : cx.scope.ragged.get(name);
  if (name !== undefined && part?.kind === "at") {
    if (declared === undefined) {
      report(
        cx,
        raggedMismatch(place, `'${name}' is not declared as a ragged size`, `declare it: dim ${name}[..]`),
      );
      return undefined;
    }
    const by =
      part.value.kind === "name" && /^[a-z_]/.test(part.value.name.text) ? part.value.name.text : undefined;
    return {
      axis: {
        kind: "ragged",
        name,
        instance: cx.raggedInstance(name),
        by: { kind: "symbol", name: declared },
      },
      by,
    };
  }
  const dim = resolveDim(cx, range, "floor");
  return dim === undefined ? undefined : { axis: dimAxis(dim), by: undefined };
}

/** The axis that the variable, alone, first indexes. */
function inferRange(cx: Context, name: string, body: Expr): Range | "poisoned" | undefined {
  for (const { index, at } of findIndexings(body, name)) {
    const { type } = peek(cx, index.value);
    if (type.kind === "error" && isPoisoned(cx, index.value)) return "poisoned";
    if (type.kind !== "tensor") return undefined;
    const { axes } = type;
    const packed = index.indices[0]?.kind === "pack";
    const position = packed ? axes.length - (index.indices.length - at) : at;
    const axis = axes[position];
    if (axis === undefined || axis.kind === "pack") return undefined;
    if (axis.kind === "dim") return { axis, by: undefined };
    const on = axes.findIndex((other) => sameAxis(cx.known, other, dimAxis(axis.by)));
    const part = index.indices[packed ? index.indices.length - (axes.length - on) : on];
    return { axis, by: part?.kind === "at" && part.value.kind === "name" ? part.value.name.text : undefined };
  }
  return undefined;
}

/** A name whose own declaration was wrong: what it is was reported there. */
function isPoisoned(cx: Context, e: Expr): boolean {
  if (e.kind === "paren" || e.kind === "field") return isPoisoned(cx, e.value);
  if (e.kind === "index" && e.indices.some((part) => part.kind === "rename")) return isPoisoned(cx, e.value);
  if (e.kind !== "name") return false;
  const local = cx.locals.get(e.name.text);
  const type =
    local?.kind === "variable" ? local.variable.type : cx.module?.header.types.get(e.name.text)?.type;
  return type?.kind === "error";
}

/** An indexed value before its turn, for its type alone: nothing is reported and nothing counts as used. */
function peek(cx: Context, e: Expr): TypedExpr {
  const before = cx.body.peeked.get(e);
  if (before !== undefined) return before;
  cx.body.quiet += 1;
  const typed = cx.expr({ ...cx, scope: { ...cx.scope, report: createReport() }, whole: false }, e);
  cx.body.quiet -= 1;
  cx.body.peeked.set(e, typed);
  return typed;
}
