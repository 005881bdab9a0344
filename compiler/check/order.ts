/** The order in which bodies are checked, callees first, and the circles that have no such order. */
import type { Block, Expr } from "../../grammar/ast.ts";
import { recursion } from "../diagnostics/names.ts";
import { operands } from "./indexings.ts";
import { type FileScope, type FnEntity, type ModuleEntity, placeOf } from "./scope.ts";
import { derivedFrom } from "./signatures.ts";

/** All functions, each after those that it calls; functions in a circle are reported and marked. */
export function callOrder(scopes: readonly FileScope[]): readonly FnEntity[] {
  const order: FnEntity[] = [];
  const state = new Map<FnEntity, "open" | "done">();
  for (const scope of scopes) {
    for (const root of functionsOf(scope)) {
      if (state.has(root)) continue;
      const stack: { readonly fn: FnEntity; readonly callees: Iterator<FnEntity> }[] = [];
      const enter = (fn: FnEntity): void => {
        state.set(fn, "open");
        stack.push({ fn, callees: calleesOf(fn)[Symbol.iterator]() });
      };
      enter(root);
      for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
        const next = top.callees.next();
        if (next.done === true) {
          state.set(top.fn, "done");
          order.push(top.fn);
          stack.pop();
        } else if (state.get(next.value) === "open")
          reportCircle(
            stack.map(({ fn }) => fn),
            next.value,
          );
        else if (!state.has(next.value)) enter(next.value);
      }
    }
  }
  return order;
}

export function functionsOf(scope: FileScope): readonly FnEntity[] {
  return [...scope.names.values()].flatMap((entity) => {
    if (entity.kind === "fn") return entity.scope === scope ? [entity] : [];
    return entity.kind === "module" && entity.scope === scope ? [...entity.fns.values()] : [];
  });
}

function reportCircle(stack: readonly FnEntity[], again: FnEntity): void {
  const circle = stack.slice(stack.indexOf(again));
  if (circle.some((fn) => fn.recursive)) return;
  for (const fn of circle) fn.recursive = true;
  again.scope.report.add(
    recursion(
      placeOf(again.scope, again.decl.name.span),
      [...circle, again].slice(0, 8).map(({ name }) => name),
    ),
  );
}

function calleesOf(fn: FnEntity): ReadonlySet<FnEntity> {
  const found = new Set<FnEntity>();
  if (fn.decl.kind === "derive") {
    const from = derivedFrom(fn);
    if (from !== undefined) found.add(from);
    return found;
  }
  const stack: Expr[] = fn.decl.params.flatMap((param) =>
    param.default === undefined ? [] : [param.default],
  );
  if (fn.decl.body !== undefined) stack.push(...valuesOf(fn.decl.body));
  for (let e = stack.pop(); e !== undefined; e = stack.pop()) {
    for (const called of e.kind === "call" ? calledBy(fn, e) : []) found.add(called);
    stack.push(...operands(e));
  }
  return found;
}

/** The function that a call names, and one that is handed to `grad`; any other name may be a local of that name. */
function calledBy(fn: FnEntity, e: Extract<Expr, { kind: "call" }>): readonly FnEntity[] {
  const { callee } = e;
  const found = callee.kind === "field" ? method(fn, callee) : undefined;
  if (found !== undefined) return [found];
  if (callee.kind !== "name") return [];
  const handed = callee.name.text === "grad" || callee.name.text === "vjp" ? e.args : [];
  return [callee, ...handed].flatMap((value) =>
    value.kind === "name" ? (named(fn, value.name.text) ?? []) : [],
  );
}

function valuesOf(body: Block): readonly Expr[] {
  return [...body.statements.map(({ value }) => value), ...(body.result === undefined ? [] : [body.result])];
}

function named(fn: FnEntity, name: string): FnEntity | undefined {
  const entity = fn.module?.fns.get(name) ?? fn.scope.names.get(name);
  return entity?.kind === "fn" ? entity : undefined;
}

/** `attn.forward`, where `attn` is a held module or a parameter of module type. */
function method(fn: FnEntity, e: Extract<Expr, { kind: "field" }>): FnEntity | undefined {
  return heldModule(fn, e.value)?.fns.get(e.field.text);
}

function heldModule(fn: FnEntity, e: Expr): ModuleEntity | undefined {
  if (e.kind === "paren") return heldModule(fn, e.value);
  const held = e.kind === "field" ? heldModule(fn, e.value) : undefined;
  const name = e.kind === "field" ? e.field.text : e.kind === "name" ? e.name.text : undefined;
  if (name === undefined || (e.kind === "field" && held === undefined)) return undefined;
  const param =
    fn.decl.kind === "fn" && e.kind === "name" ? fn.decl.params.find((p) => p.name.text === name) : undefined;
  const type = param?.type ?? (e.kind === "field" ? held : fn.module)?.members.get(name)?.type;
  const entity = type?.kind === "type" ? (held ?? fn).scope.names.get(type.name.text) : undefined;
  return entity?.kind === "module" ? entity : undefined;
}
