/** Calls: the callee's body in the caller's place, its rigid names bound. Nothing of a call is left in the graph. */
import { invariant } from "../diagnostics/diagnostic.ts";
import type {
  Type,
  TypedBody,
  TypedExpr,
  TypedFn,
  TypedNumerics,
  TypedProgram,
  Variable,
} from "../check/typed.ts";
import type { BlockScaled, ScaledFactors } from "../tensor/block-scales.ts";
import { isFormat } from "../types/dtype.ts";
import { orderedKey, type Dim } from "../types/dim.ts";
import { appendRows } from "./caches.ts";
import { claimIn } from "./claims.ts";
import { boundScope } from "./bindings.ts";
import { lowerDerived } from "./derived.ts";
import {
  extentOf,
  freshSymbol,
  packOf,
  sizeIn,
  type ContractionRule,
  type Frame,
  type Lowering,
} from "./frame.ts";
import { filledElement } from "./rounding.ts";
import type { Terms } from "./terms.ts";
import { settle } from "./tensors.ts";
import type { AxisValue, ModuleValue, Scope, Value } from "./value.ts";

type Call = Extract<TypedExpr, { kind: "call" }>;

export function lowerCall(cx: Lowering, expr: Call, frame: Frame): Value {
  const { callee } = expr;
  const args = callee.params.map((param, k) => {
    const arg = expr.args[k];
    invariant(arg !== undefined, `'${callee.name}' lacks its argument '${param.name}'`);
    return { param, value: settle(cx, cx.evaluate(cx, arg, frame), param.name, arg.place) };
  });
  const self = receiverOf(cx, expr, frame);
  const bound = boundScope(cx, frame, expr.bindings);
  const isTold = tellApart(cx, self?.scope.dims, bound.dims);
  const inner: Frame = {
    fn: callee,
    dims: new Map([...(self?.scope.dims ?? []), ...bound.dims]),
    dtypes: new Map([...(self?.scope.dtypes ?? []), ...bound.dtypes]),
    pack: bound.pack,
    ragged: bound.ragged,
    params: new Map(
      args.map(({ param, value }) => [param.name, isTold ? named(cx, bound, param.type, value) : value]),
    ),
    locals: new Map(),
    indices: new Map(),
    packIndex: new Map(),
    self,
    contraction: contractionOf(cx.program, callee) ?? frame.contraction,
    every: runOfSums(cx.program, callee) ?? frame.every,
    scaled: contractionOf(cx.program, callee) === undefined ? frame.scaled : scaledOf(cx.program, callee),
  };
  const result = inlineFunction(cx, callee, inner);
  for (const [own, theirs] of expr.bindings.ragged) {
    const rows = inner.ragged.get(own);
    if (rows !== undefined && !frame.ragged.has(theirs)) frame.ragged.set(theirs, rows);
  }
  return isTold ? named(cx, frame, expr.type, result) : result;
}

/**
 * Two sizes of the callee that are one of the caller's: the callee's axes of these sizes are not the same for that, so
 * all but the first get a name of their own. Returns whether there are any.
 */
function tellApart(
  cx: Lowering,
  own: ReadonlyMap<string, Dim> | undefined,
  bound: Map<string, Dim>,
): boolean {
  const taken = new Set(
    [...(own ?? [])].flatMap(([name, dim]) => (bound.has(name) ? [] : [orderedKey(dim)])),
  );
  let told = false;
  for (const [name, dim] of bound) {
    const key = orderedKey(dim);
    if (!taken.has(key)) {
      taken.add(key);
      continue;
    }
    const fresh = freshSymbol(cx, name);
    invariant(fresh.kind === "symbol", "a fresh name is a symbol");
    cx.extents.set(fresh.name, extentOf(cx, dim));
    bound.set(name, fresh);
    told = true;
  }
  return told;
}

/** A value with the axes that its type has in a scope. */
function named(cx: Lowering, scope: Scope, type: Type, value: Value): Value {
  if (value.kind === "record" && type.kind === "record")
    return {
      kind: "record",
      fields: value.fields.map((field, k) => {
        const own = type.fields[k]?.type;
        return own === undefined ? field : { name: field.name, value: named(cx, scope, own, field.value) };
      }),
    };
  if (value.kind !== "tensor" || type.kind !== "tensor") return value;
  const pack = packOf(value.axes, type.axes);
  // Rows of experts are told from one another by what dispatched them.
  const axes = type.axes.flatMap((axis): readonly (AxisValue | undefined)[] =>
    axis.kind === "pack" ? pack : [axis.kind === "dim" ? sizeIn(cx, scope, axis.dim) : undefined],
  );
  return { ...value, axes: value.axes.map((axis, k) => axes[k] ?? axis) };
}

function receiverOf(cx: Lowering, expr: Call, frame: Frame): ModuleValue | undefined {
  if (expr.callee.module === undefined) return undefined;
  if (expr.receiver === undefined) return frame.self;
  const receiver = cx.evaluate(cx, expr.receiver, frame);
  invariant(receiver.kind === "module", `'${expr.callee.name}' is called on a ${receiver.kind}`);
  return receiver;
}

/** The function's result in a frame whose parameters are bound. */
export function inlineFunction(cx: Lowering, fn: TypedFn, frame: Frame): Value {
  for (const required of fn.requires) claimIn(cx, frame, required);
  const result =
    fn.body.kind === "derived" ? lowerDerived(cx, fn.body, frame, lowerBody) : lowerBody(cx, fn.body, frame);
  for (const check of fn.checks) claimIn(cx, frame, check);
  return withoutKeep(cx.terms, result);
}

/** A function's result carries no keep bits: what is masked in it is 0. */
function withoutKeep(terms: Terms, value: Value): Value {
  if (value.kind === "record")
    return {
      kind: "record",
      fields: value.fields.map((f) => ({ name: f.name, value: withoutKeep(terms, f.value) })),
    };
  if (value.kind !== "tensor") return value;
  return { ...value, element: filledElement(terms, value.element) };
}

function lowerBody(cx: Lowering, body: TypedBody, frame: Frame): Value {
  for (const statement of body.statements) {
    if (statement.kind === "append") {
      appendRows(cx, statement, frame);
      continue;
    }
    const { variables, value, destructure, place } = statement;
    const [only] = variables;
    const hint = destructure || only === undefined ? undefined : only.name;
    const whole = settle(cx, cx.evaluate(cx, value, frame), hint, place);
    if (destructure || only === undefined) bindParts(cx, frame, variables, whole);
    else bindName(cx, frame, only, whole);
  }
  return cx.evaluate(cx, body.result, frame);
}

function bindParts(cx: Lowering, frame: Frame, variables: readonly Variable[], whole: Value): void {
  invariant(whole.kind === "record", `parts of a ${whole.kind}`);
  variables.forEach((variable, k) => {
    const part = whole.fields[k];
    invariant(part !== undefined, `there is no part for '${variable.name}'`);
    bindName(cx, frame, variable, part.value);
  });
}

/** The first name that a node is given is the one that its kernel carries. */
function bindName(cx: Lowering, frame: Frame, variable: Variable, value: Value): void {
  frame.locals.set(variable, value);
  if (value.kind !== "tensor" || value.element.term.kind !== "read") return;
  const ref = cx.terms.tensorOf(value.element.term);
  if (ref.node.kind !== "input") cx.arena.setHint(ref, variable.name);
}

/** The factors scaled by block that `numerics` of a function asks for; the pass that makes them decides where. */
export function scaledOf(program: TypedProgram, fn: TypedFn): ScaledFactors | undefined {
  const found = clauseOf(program, fn, "contract");
  if (found === undefined) return undefined;
  const [left, right] = [found.left, found.right].map(({ dtype, scale }): BlockScaled | undefined =>
    scale === undefined || !isFormat(dtype) ? undefined : { dtype, ...scale },
  );
  if (left === undefined || right === undefined) return undefined;
  return { left, right, bound: clauseOf(program, fn, "bound")?.value };
}

/** What `numerics` says about the factors of contractions, if it says anything; those scaled by block stay as written here. */
export function contractionOf(program: TypedProgram, fn: TypedFn): ContractionRule | undefined {
  const found = clauseOf(program, fn, "contract");
  if (found === undefined) return undefined;
  const { left, right } = found;
  if (left.scale !== undefined || right.scale !== undefined) return "by type";
  return { left: left.dtype, right: right.dtype };
}

/**
 * Products of 8-bit floats that a matrix unit may add by itself, if `numerics` says: with `accumulate: f32` alone each
 * is added in f32.
 */
export function runOfSums(program: TypedProgram, fn: TypedFn): number | undefined {
  const found = clauseOf(program, fn, "accumulate");
  return found === undefined ? undefined : (found.every ?? 1);
}

/** A clause about a function: its own, or its module's. */
function clauseOf<K extends "contract" | "accumulate" | "bound">(
  program: TypedProgram,
  fn: TypedFn,
  clause: K,
): TypedNumerics[K] | undefined {
  const names = fn.module === undefined ? [fn.name] : [`${fn.module.name}.${fn.name}`, fn.module.name];
  for (const name of names) {
    const found = program.numerics.find((n) => n.target === name)?.[clause];
    if (found !== undefined) return found;
  }
  return undefined;
}
