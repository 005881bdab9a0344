/**
 * Where an expression stands: the function around it, the names in scope, and what must be settled when the
 * function ends. The sets and lists here are the only things that change while a body is checked.
 */
import type { Expr, Span } from "../../grammar/ast.ts";
import type { Finding, Place } from "../diagnostics/diagnostic.ts";
import type { Dim } from "../types/dim.ts";
import type { Claim, IndexRange } from "../types/prover.ts";
import { errorType } from "./axes.ts";
import type { ConstEntity, Entity, FnEntity, ModuleEntity, ModuleHeader, Signature } from "./scope.ts";
import { type Local, Locals } from "./locals.ts";
import type { TypeContext } from "./types.ts";
import type { Axis, DimCheck, IndexVariable, TypedExpr, TypedModule, Variable } from "./typed.ts";

/** What holds for the whole body of a function. */
export interface BodyState {
  readonly fn: FnEntity;
  /** Dims of the signature and of the module around: rigid. */
  readonly rigid: ReadonlySet<string>;
  /** Declared dims that the body uses and nothing fixes, in order of use. */
  readonly free: Set<string>;
  /** Dims that a rename of this body brought into being. */
  readonly renamed: Set<string>;
  /** `R` to the instance that the signature or the first value written with it fixed. */
  readonly ragged: Map<string, string>;
  readonly checks: DimCheck[];
  /** First use of each plan. */
  readonly plans: Map<string, Place>;
  /** Sizes that renames of this body made equal: facts from the next statement on. */
  readonly renames: Claim[];
  /** Locals whose value is a size, so that index arithmetic can count with them. */
  readonly sizes: Map<Variable, Dim>;
  /** True where the signature has a `...`. */
  readonly hasPack: boolean;
  /** Index variables by their name in index arithmetic, with their ranges. */
  readonly indexNames: Map<IndexVariable, IndexRange>;
  /** Where each plan that a `let` or a parameter holds was made: `name` or `name.field`. */
  readonly held: Map<Variable, readonly PlanHeld[]>;
  /** Consts as values in this body. */
  readonly consts: Map<ConstEntity, TypedExpr>;
  /** Types of indexed values, for ranges: found once for each place in the source. */
  readonly peeked: Map<Expr, TypedExpr>;
  fresh: number;
  /** Above 0 while a range is inferred: nothing is reported and nothing counts as used. */
  quiet: number;
}

export interface PlanHeld {
  readonly path: string;
  readonly key: string;
  readonly place: Place;
}

export interface Context extends TypeContext {
  readonly body: BodyState;
  readonly locals: Locals;
  readonly module: { readonly entity: ModuleEntity; readonly header: ModuleHeader } | undefined;
  /** True inside `for ...`, where `x[...]` may stand. */
  readonly pack: boolean;
  /** Inside a `for` or a reduction, where nothing may happen that happens once. */
  readonly repeated: boolean;
  /** The whole value of a statement, where state may change. */
  readonly whole: boolean;
  expr(cx: Context, e: Expr): TypedExpr;
  constant(cx: Context, entity: Extract<Entity, { kind: "const" }>, place: Place): TypedExpr;
  signature(entity: FnEntity): Signature | undefined;
  /** The function of a held module. */
  moduleFn(module: TypedModule, name: string): FnEntity | undefined;
  /** Names of a held module's functions, for near misses. */
  moduleFns(module: TypedModule): readonly string[];
}

export function placeIn(cx: Context, span: Span): Place {
  return { file: cx.scope.file, start: span.start, end: span.end };
}

export function report(cx: Context, finding: Finding): void {
  cx.scope.report.add(finding);
}

export function errorExpr(place: Place): TypedExpr {
  return { kind: "error", type: errorType, place };
}

/** Reports, and gives the poisoned expression that reports nothing further. */
export function fail(cx: Context, place: Place, finding: Finding): TypedExpr {
  report(cx, finding);
  return errorExpr(place);
}

export function withLocals(
  cx: Context,
  added: Iterable<readonly [string, Local]>,
  flags: { pack?: boolean; repeated?: boolean } = {},
): Context {
  return {
    ...cx,
    locals: new Locals(cx.locals, added),
    pack: flags.pack ?? cx.pack,
    repeated: flags.repeated ?? cx.repeated,
    whole: false,
  };
}

/** An operand: not the whole value of a statement any more. */
export function inner(cx: Context): Context {
  return cx.whole ? { ...cx, whole: false } : cx;
}

/** An index variable, with a name of its own for index arithmetic. */
export function declareIndex(
  cx: Context,
  name: string,
  axis: Axis,
  by: IndexVariable | undefined,
): IndexVariable {
  const variable: IndexVariable = { name, axis, by };
  if (axis.kind === "dim") {
    cx.body.indexNames.set(variable, { name: `${name}'${cx.body.indexNames.size}`, extent: axis.dim });
  }
  return variable;
}

/** A claim that could not be proved: checked when the sizes are known. */
export function claimLater(
  cx: Context,
  left: Dim,
  relation: DimCheck["relation"],
  right: Dim,
  message: string,
  place: Place,
): void {
  if (cx.body.quiet === 0) cx.body.checks.push({ left, relation, right, message, place });
}

export function freshInstance(cx: Context, name: string): string {
  cx.body.fresh += 1;
  return `${name}#${cx.body.fresh}`;
}
