/** Bodies: statements in order, then the result; and what must be settled when the function ends. */
import type { Block, Statement } from "../../grammar/ast.ts";
import { planUnused, stateNotMut, stateRepeated, stateValue } from "../diagnostics/linear.ts";
import { sizeError } from "../diagnostics/axes.ts";
import { destructureCount, noResult, typeMismatch } from "../diagnostics/values.ts";
import { DimError } from "../types/dim.ts";
import { printType } from "./axes.ts";
import { checkAppend } from "./paged.ts";
import { stateName } from "./function-calls.ts";
import { coerce } from "./coerce.ts";
import { type Context, errorExpr, placeIn, report } from "./context.ts";
import { type Local, Locals } from "./locals.ts";
import { holdPlans, planPaths, reportUnused } from "./linear.ts";
import { affineOf } from "./index-arithmetic.ts";
import { learnClaims } from "./sizes.ts";
import { resolveType } from "./types.ts";
import type { Type, TypedBody, TypedExpr, TypedParam, TypedStatement, Variable } from "./typed.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import type { Expr } from "../../grammar/ast.ts";

export interface CheckedBody {
  readonly body: TypedBody;
  readonly result: Type;
}

/** The parameters as locals. */
export function parameterLocals(cx: Context, params: readonly TypedParam[]): Locals {
  const locals = new Locals();
  for (const param of params) {
    const variable: Variable = { name: param.name, type: param.type };
    holdPlans(cx, variable, param.place);
    locals.add(param.name, { kind: "variable", variable, mut: param.mut, place: param.place });
  }
  return locals;
}

export function checkBody(
  start: Context,
  block: Block,
  wanted: Type | undefined,
  where: { readonly name: string; readonly place: Place },
): CheckedBody {
  let cx = start;
  const statements: TypedStatement[] = [];
  for (const statement of block.statements) {
    const checked = guarded(cx, placeIn(cx, statement.span), () => checkStatement(cx, statement));
    if (checked === undefined) {
      cx = nextContext(cx, statement.kind === "let" ? poisonedNames(cx, statement) : []);
      continue;
    }
    if (checked.statement !== undefined) statements.push(checked.statement);
    cx = nextContext(cx, checked.locals);
  }
  const result = checkResult(cx, block, wanted, where);
  reportUnused(cx);
  return { body: { kind: "body", statements, result }, result: wanted ?? resultType(result) };
}

/** A function's result is written by its signature, or is what the body gives, without keep bits. */
function resultType(result: TypedExpr): Type {
  return result.type.kind === "tensor" ? { ...result.type, masked: false } : result.type;
}

function checkResult(
  cx: Context,
  block: Block,
  wanted: Type | undefined,
  where: { readonly name: string; readonly place: Place },
): TypedExpr {
  const end = placeIn(cx, { start: block.span.end - 1, end: block.span.end });
  if (block.result === undefined) {
    // A body whose statements could not all be read has its diagnostic already.
    if (wanted !== undefined && wanted.kind !== "error") report(cx, noResult(end, where.name));
    return wanted === undefined
      ? { kind: "record", fields: [], type: { kind: "record", fields: [] }, place: end }
      : errorExpr(end);
  }
  const { result } = block;
  const value =
    guarded(cx, placeIn(cx, result.span), () => cx.expr({ ...cx, whole: true }, result)) ?? errorExpr(end);
  if (wanted === undefined)
    return value.type.kind === "tensor" && value.type.masked
      ? { kind: "cast", value, type: { ...value.type, masked: false }, place: value.place }
      : value;
  return coerce(cx, value, { type: wanted, what: "the result", at: where.place });
}

/** The names of a `let` whose value was wrong, so that their uses are not wrong too. */
function poisonedNames(
  cx: Context,
  statement: Extract<Statement, { kind: "let" }>,
): CheckedStatement["locals"] {
  return statement.pattern.map(({ text, span }) => [
    text,
    {
      kind: "variable",
      variable: { name: text, type: { kind: "error" } },
      mut: false,
      place: placeIn(cx, span),
    },
  ]);
}

/** Sizes that overflow anywhere in a statement end that statement alone. */
function guarded<T>(cx: Context, place: Place, check: () => T): T | undefined {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof DimError)) throw error;
    report(cx, sizeError(place, error.message));
    return undefined;
  }
}

interface CheckedStatement {
  readonly statement: TypedStatement | undefined;
  readonly locals: readonly (readonly [string, Local])[];
}

/** Names and facts of one statement hold from the next one on. */
function nextContext(cx: Context, added: CheckedStatement["locals"]): Context {
  const renamed = cx.body.renames.splice(0);
  for (const [name, local] of added) cx.locals.add(name, local);
  if (renamed.length === 0) return cx;
  const known = { sizes: learnClaims(cx.known, renamed).sizes, axes: cx.known.axes };
  return { ...cx, known };
}

function checkStatement(cx: Context, statement: Statement): CheckedStatement {
  return statement.kind === "let" ? checkLet(cx, statement) : checkDo(cx, statement.value);
}

function checkLet(cx: Context, statement: Extract<Statement, { kind: "let" }>): CheckedStatement {
  const place = placeIn(cx, statement.span);
  const type = statement.type === undefined ? undefined : resolveType(cx, statement.type);
  const given = cx.expr({ ...cx, whole: true }, statement.value);
  if (given.type.kind === "paged") report(cx, stateValue(given.place, statement.pattern[0]?.text ?? "this"));
  const written = statement.type === undefined ? undefined : placeIn(cx, statement.type.span);
  const value = type === undefined ? given : coerce(cx, given, { type, what: "this value", at: written });
  // What the `let` promises holds after it, also where the value was wrong: one mistake, one message.
  const seen =
    type === undefined || type.kind === "error" || value.type.kind !== "error"
      ? value.type
      : fixedRagged(cx, type);
  const types = statement.destructure ? partTypes(cx, statement, seen) : [seen];
  const variables = statement.pattern.map((name, i): Variable => ({
    name: name.text,
    type: types[i] ?? { kind: "error" },
  }));
  const locals = variables.map((variable, i): readonly [string, Local] => {
    const own = placeIn(cx, statement.pattern[i]?.span ?? statement.span);
    holdPlans(cx, variable, own);
    noteSize(cx, variable, value, statement.destructure);
    return [variable.name, { kind: "variable", variable, mut: false, place: own }];
  });
  return { statement: { kind: "let", variables, destructure: statement.destructure, value, place }, locals };
}

function fixedRagged(cx: Context, type: Type): Type {
  if (type.kind !== "tensor") return type;
  const open = type.axes.some(
    (axis) => axis.kind === "ragged" && axis.instance.startsWith("?") && !cx.body.ragged.has(axis.name),
  );
  return open ? { kind: "error" } : type;
}

/** A local that is a size takes part in index arithmetic. */
function noteSize(cx: Context, variable: Variable, value: TypedExpr, destructured: boolean): void {
  if (destructured || variable.type.kind !== "tensor" || variable.type.axes.length > 0) return;
  const size = affineOf(cx, value);
  if (size !== undefined && size.ranges.length === 0) cx.body.sizes.set(variable, size.dim);
}

function partTypes(cx: Context, statement: Extract<Statement, { kind: "let" }>, type: Type): readonly Type[] {
  if (type.kind === "error") return [];
  const place = placeIn(cx, statement.span);
  if (type.kind !== "record") {
    report(
      cx,
      typeMismatch(placeIn(cx, statement.value.span), {
        found: printType(type),
        wanted: "a record of results",
        what: "what is taken apart",
      }),
    );
    return [];
  }
  if (type.fields.length !== statement.pattern.length) {
    report(cx, destructureCount(place, statement.pattern.length, type.fields.length));
    return [];
  }
  return type.fields.map((field) => field.type);
}

function checkDo(cx: Context, e: Expr): CheckedStatement {
  const place = placeIn(cx, e.span);
  if (e.kind === "call" && e.callee.kind === "field" && e.callee.field.text === "append") {
    const state = cx.expr({ ...cx, whole: false }, e.callee.value);
    if (state.type.kind === "error") return { statement: undefined, locals: [] };
    if (state.type.kind === "paged") {
      const append = checkAppend(cx, e, state.type);
      if (stateName(cx, state) === undefined) {
        report(cx, stateNotMut(state.place, state.kind === "local" ? state.variable.name : "this"));
        return { statement: undefined, locals: [] };
      }
      if (cx.repeated) report(cx, stateRepeated(place, "the cache"));
      if (append === undefined) return { statement: undefined, locals: [] };
      return {
        statement: { kind: "append", state, rows: append.rows, count: append.count, place },
        locals: [],
      };
    }
  }
  const value = cx.expr({ ...cx, whole: true }, e);
  if (planPaths(value.type).length > 0) report(cx, planUnused(place, "plan"));
  if (value.kind === "error") return { statement: undefined, locals: [] };
  return { statement: { kind: "let", variables: [], destructure: false, value, place }, locals: [] };
}
