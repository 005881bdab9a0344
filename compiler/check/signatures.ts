/** Signatures and module headers: everything about a function or module that a caller sees. */
import type { FnDecl, TypeParam } from "../../grammar/ast.ts";
import { importCycle, notAFunction, recursion, unknownName } from "../diagnostics/names.ts";
import { brackets } from "../diagnostics/values.ts";
import { symbol, symbols } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { isFormat } from "../types/dtype.ts";
import { raggedOfType } from "./axes.ts";
import { dimValues, fileFacts } from "./declare.ts";
import {
  type FileScope,
  type FnEntity,
  type Known,
  type ModuleEntity,
  type ModuleHeader,
  placeOf,
  type Signature,
} from "./scope.ts";
import { learnClaims, resolveClaims } from "./sizes.ts";
import { resolveType, type TypeContext } from "./types.ts";
import type { DeriveStep, DimCheck, TypedFn, TypedModule, TypedParam, Type } from "./typed.ts";

/** Headers and signatures as they are asked for; one for each program. */
export interface Headers {
  readonly facts: Map<FileScope, Known>;
  readonly busy: Set<ModuleEntity | FnEntity>;
}

export function factsOf(headers: Headers, scope: FileScope): Known {
  const before = headers.facts.get(scope);
  if (before !== undefined) return before;
  const facts = fileFacts(scope);
  headers.facts.set(scope, facts);
  return facts;
}

interface Collected {
  readonly cx: TypeContext;
  readonly dims: Set<string>;
}

/** Any capital name is a dim of the signature that writes it. */
function collector(
  headers: Headers,
  scope: FileScope,
  known: Known,
  bounds: ReadonlyMap<string, string>,
  raggedInstance: (name: string) => string,
): Collected {
  const dims = new Set<string>();
  const cx: TypeContext = {
    scope,
    known,
    bounds,
    raggedInstance,
    useDim: (name) => {
      if (bounds.has(name) || scope.ragged.has(name) || scope.names.has(name)) return false;
      dims.add(name);
      return true;
    },
    dimNames: () => scope.dims.keys(),
    moduleHeader: (module) => moduleHeader(headers, module)?.typed,
  };
  return { cx, dims };
}

// ---------------------------------------------------------------- modules

export function moduleHeader(headers: Headers, module: ModuleEntity): ModuleHeader | undefined {
  if (module.header !== undefined) return module.header;
  const { scope, decl } = module;
  const place = placeOf(scope, decl.name.span);
  if (headers.busy.has(module)) {
    scope.report.add(importCycle(place, [module.name, module.name]));
    return undefined;
  }
  headers.busy.add(module);
  const typeParams = resolveTypeParams(scope, decl.typeParams);
  const bounds = new Map(typeParams.map(({ name, bound }) => [name, bound]));
  const { cx, dims } = collector(headers, scope, factsOf(headers, scope), bounds, (name) => name);
  const types = new Map<string, { type: Type; role: "param" | "state" }>();
  const params: TypedParam[] = [];
  const states: TypedParam[] = [];
  for (const [name, member] of module.members) {
    const type = resolveType(cx, member.type);
    types.set(name, { type, role: member.kind });
    const typed: TypedParam = {
      name,
      mut: member.kind === "state",
      type,
      place: placeOf(scope, member.name.span),
    };
    (member.kind === "state" ? states : params).push(typed);
  }
  const fns: TypedFn[] = [];
  const typed: TypedModule & { readonly fns: TypedFn[] } = {
    kind: "module",
    name: module.name,
    file: scope.file,
    doc: decl.doc,
    typeParams,
    dims: [...dims],
    params,
    states,
    fns,
    place,
  };
  headers.busy.delete(module);
  module.header = { typed, types };
  return module.header;
}

function resolveTypeParams(scope: FileScope, params: readonly TypeParam[]): TypedFn["typeParams"] {
  return params.map(({ name, bound }) => {
    const { text } = bound;
    if (text === "float" || text === "int" || text === "weight") return { name: name.text, bound: text };
    scope.report.add(unknownName(placeOf(scope, bound.span), text, ["float", "int", "weight"]));
    return { name: name.text, bound: "float" };
  });
}

// ---------------------------------------------------------------- functions

export function signatureOf(headers: Headers, entity: FnEntity): Signature | undefined {
  if (entity.signature !== undefined) return entity.signature;
  if (headers.busy.has(entity)) {
    entity.scope.report.add(
      recursion(placeOf(entity.scope, entity.decl.name.span), [entity.name, entity.name]),
    );
    entity.recursive = true;
    return undefined;
  }
  headers.busy.add(entity);
  entity.signature =
    entity.decl.kind === "fn" ? fnSignature(headers, entity, entity.decl) : derivedSignature(headers, entity);
  headers.busy.delete(entity);
  return entity.signature;
}

function fnSignature(headers: Headers, entity: FnEntity, decl: FnDecl): Signature {
  const { scope } = entity;
  const header = entity.module === undefined ? undefined : moduleHeader(headers, entity.module);
  const typeParams = resolveTypeParams(scope, decl.typeParams);
  const bounds = new Map(
    [...(header?.typed.typeParams ?? []), ...typeParams].map(({ name, bound }) => [name, bound]),
  );
  const clauses = collector(headers, scope, factsOf(headers, scope), bounds, (name) => name);
  const claims = resolveClaims(clauses.cx, decl.where);
  const known = learnClaims(factsOf(headers, scope), claims);
  const { cx, dims } = collector(headers, scope, known, bounds, (name) => name);
  const named: string[] = [];
  for (const name of decl.dimParams) {
    const place = placeOf(scope, name.span);
    if (isFormat(name.text) || !cx.useDim(name.text))
      scope.report.add(
        brackets(
          place,
          `'${name.text}' is no dim`,
          `fn ${decl.name.text}[X](..) names the dims that a call gives`,
        ),
      );
    else named.push(name.text);
  }
  const params = decl.params.map((param): TypedParam => ({
    name: param.name.text,
    mut: param.mut,
    type: resolveType(cx, param.type),
    place: placeOf(scope, param.name.span),
  }));
  const rigid = new Set<string>();
  for (const { type } of params) raggedOfType(type, rigid);
  const result =
    decl.result === undefined
      ? undefined
      : resolveType({ ...cx, raggedInstance: (name) => (rigid.has(name) ? name : `?${name}`) }, decl.result);
  const outer = new Set(header?.typed.dims ?? []);
  const own = [...dims].filter((name) => !outer.has(name));
  const requires: DimCheck[] = [...claims, ...inherited(scope, new Set([...dims, ...outer]))];
  return { typeParams, dims: own, named, params, result, requires, known, steps: undefined };
}

/** What the file says of dims that the signature has: a caller's sizes must satisfy it too. */
export function inherited(scope: FileScope, dims: ReadonlySet<string>): DimCheck[] {
  const checks: DimCheck[] = [];
  for (const claim of scope.claims) {
    if ([...symbols(claim.left), ...symbols(claim.right)].every((name) => dims.has(name))) checks.push(claim);
  }
  for (const [name, value] of dimValues(scope)) {
    const place = scope.dims.get(name)?.place;
    if (place === undefined || !dims.has(name) || ![...symbols(value)].every((other) => dims.has(other)))
      continue;
    checks.push({
      left: symbol(name),
      relation: "==",
      right: value,
      message: `${name} == ${printDim(value)}`,
      place,
    });
  }
  return checks;
}

function derivedSignature(headers: Headers, entity: FnEntity): Signature | undefined {
  const { decl, scope } = entity;
  if (decl.kind !== "derive") return undefined;
  const from = derivedFrom(entity);
  if (from === undefined) {
    const place = placeOf(scope, decl.from.span);
    const names = [
      ...(entity.module?.fns.keys() ?? []),
      ...[...scope.names].filter(([, e]) => e.kind === "fn").map(([name]) => name),
    ];
    const other = scope.names.get(decl.from.text);
    scope.report.add(
      other === undefined
        ? unknownName(
            place,
            decl.from.text,
            names.filter((name) => name !== entity.name),
          )
        : notAFunction(place, decl.from.text, `a ${other.kind}`),
    );
    return undefined;
  }
  const signature = signatureOf(headers, from);
  if (signature === undefined) return undefined;
  const steps = decl.steps.map((step): DeriveStep => ({
    factor: step.factor.text,
    where: step.where,
    target: step.target.text,
    place: placeOf(scope, step.span),
  }));
  return { ...signature, steps };
}

/** The function that a `derive` names, in its module or its file. */
export function derivedFrom(entity: FnEntity): FnEntity | undefined {
  if (entity.decl.kind !== "derive") return undefined;
  const name = entity.decl.from.text;
  const found = entity.module?.fns.get(name) ?? entity.scope.names.get(name);
  return found?.kind === "fn" ? found : undefined;
}
