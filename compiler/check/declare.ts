/** A file's scope: what its declarations and imports put under each name. */
import type { DimDecl, ImportDecl, ModuleDecl } from "../../grammar/ast.ts";
import type { Report } from "../diagnostics/diagnostic.ts";
import { notASize } from "../diagnostics/axes.ts";
import { declaredTwice, importedNameMissing, unknownDim } from "../diagnostics/names.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import type { Dim } from "../types/dim.ts";
import { substitute, symbol, symbols } from "../types/dim.ts";
import type { ProgramFile } from "./files.ts";
import {
  type ConstEntity,
  type Entity,
  type FileScope,
  type FnEntity,
  type Known,
  type ModuleEntity,
  placeOf,
} from "./scope.ts";
import { learnClaims, nothingKnown, resolveClaims, resolveDim } from "./sizes.ts";

/** Types that every file knows, which a library module may be asked for by name. */
const libraryTypes: Readonly<Record<string, string>> = { Paged: "stdlib/cache.dsl" };

export function declareFile(
  source: ProgramFile,
  scopes: ReadonlyMap<string, FileScope>,
  report: Report,
): FileScope {
  const scope: FileScope = {
    file: source.file,
    ast: source.ast,
    report,
    names: new Map(),
    dims: new Map(),
    claims: [],
    ragged: new Map(),
    meshes: new Set(),
    inexact: new Set(),
  };
  const places = new Map<string, Place>();
  const claim = (name: string, place: Place): boolean => {
    const first = places.get(name);
    if (first !== undefined) report.add(declaredTwice(place, name, first));
    else places.set(name, place);
    return first === undefined;
  };
  for (const [decl, from] of source.imports)
    if (from !== undefined) importNames(scope, decl, scopes.get(from.file), claim);
  for (const decl of source.ast.declarations) {
    switch (decl.kind) {
      case "fn":
      case "derive":
        if (claim(decl.name.text, placeOf(scope, decl.name.span)))
          scope.names.set(decl.name.text, fnEntity(decl, scope, undefined));
        break;
      case "module":
        if (claim(decl.name.text, placeOf(scope, decl.name.span)))
          scope.names.set(decl.name.text, moduleEntity(decl, scope));
        break;
      case "const":
        if (claim(decl.name.text, placeOf(scope, decl.name.span)))
          scope.names.set(decl.name.text, {
            kind: "const",
            name: decl.name.text,
            decl,
            scope,
            busy: false,
            circular: false,
          });
        break;
      case "kernel":
        if (claim(decl.name.text, placeOf(scope, decl.name.span)))
          scope.names.set(decl.name.text, { kind: "kernel", name: decl.name.text, decl });
        break;
      case "mesh":
        for (const name of decl.names)
          if (claim(name.text, placeOf(scope, name.span))) scope.meshes.add(name.text);
        break;
      case "dim":
        for (const { name, raggedBy } of decl.dims) {
          const place = placeOf(scope, name.span);
          if (!claim(name.text, place)) continue;
          if (raggedBy === undefined) scope.dims.set(name.text, { place, value: undefined });
          else scope.ragged.set(name.text, raggedBy.text);
        }
        break;
      case "pipeline":
        claim(decl.name.text, placeOf(scope, decl.name.span));
        break;
      case "import":
      case "numerics":
      case "schedule":
        break;
    }
  }
  for (const decl of source.ast.declarations) if (decl.kind === "dim") defineDims(scope, decl);
  return scope;
}

export function fnEntity(
  decl: FnEntity["decl"],
  scope: FileScope,
  module: ModuleEntity | undefined,
): FnEntity {
  return {
    kind: "fn",
    name: decl.name.text,
    decl,
    scope,
    module,
    signature: undefined,
    typed: undefined,
    needs: [],
    recursive: false,
  };
}

function moduleEntity(decl: ModuleDecl, scope: FileScope): ModuleEntity {
  const module: ModuleEntity = {
    kind: "module",
    name: decl.name.text,
    decl,
    scope,
    fns: new Map(),
    consts: new Map(),
    members: new Map(),
    header: undefined,
  };
  const places = new Map<string, Place>();
  for (const member of decl.members) {
    const place = placeOf(scope, member.name.span);
    const first = places.get(member.name.text);
    if (first !== undefined) {
      scope.report.add(declaredTwice(place, member.name.text, first));
      continue;
    }
    places.set(member.name.text, place);
    if (member.kind === "fn" || member.kind === "derive")
      module.fns.set(member.name.text, fnEntity(member, scope, module));
    else if (member.kind === "const") {
      const entity: ConstEntity = {
        kind: "const",
        name: member.name.text,
        decl: member,
        scope,
        busy: false,
        circular: false,
      };
      module.consts.set(member.name.text, entity);
    } else module.members.set(member.name.text, member);
  }
  return module;
}

function importNames(
  scope: FileScope,
  decl: ImportDecl,
  from: FileScope | undefined,
  claim: (name: string, place: Place) => boolean,
): void {
  if (from === undefined) return;
  for (const name of decl.names) {
    const place = placeOf(scope, name.span);
    const entity: Entity | undefined = from.names.get(name.text);
    const dim = from.dims.get(name.text);
    if (entity !== undefined) {
      if (claim(name.text, place)) scope.names.set(name.text, entity);
    } else if (dim !== undefined) {
      if (claim(name.text, place)) scope.dims.set(name.text, dim);
    } else if (
      libraryTypes[name.text] === from.file ||
      from.file.endsWith(`/${libraryTypes[name.text] ?? " "}`)
    ) {
      claim(name.text, place);
    } else {
      const shown = decl.path?.text ?? decl.module?.map(({ text }) => text).join(".") ?? "";
      scope.report.add(
        importedNameMissing(place, name.text, shown, [...from.names.keys(), ...from.dims.keys()]),
      );
    }
  }
}

function defineDims(scope: FileScope, decl: DimDecl): void {
  const cx = {
    scope,
    known: nothingKnown,
    useDim: (name: string): boolean => scope.dims.has(name),
    dimNames: (): Iterable<string> => scope.dims.keys(),
  };
  for (const { name, raggedBy, value } of decl.dims) {
    const place = placeOf(scope, name.span);
    if (raggedBy !== undefined && !scope.dims.has(raggedBy.text))
      scope.report.add(unknownDim(placeOf(scope, raggedBy.span), raggedBy.text, scope.dims.keys()));
    if (value === undefined || raggedBy !== undefined) continue;
    const dim = resolveDim(cx, value, "floor");
    if (dim === undefined) continue;
    if (symbols(dim).has(name.text) || (dim.kind === "const" && dim.value < 1)) {
      scope.report.add(
        notASize(
          placeOf(scope, value.span),
          dim.kind === "const" ? String(dim.value) : "a dim in terms of itself",
        ),
      );
      continue;
    }
    scope.dims.set(name.text, { place, value: dim });
  }
  scope.claims.push(...resolveClaims(cx, decl.where));
}

/** What each function of a file asks anew, once its dims are declared. */
const valuesOf = new WeakMap<FileScope, ReadonlyMap<string, Dim>>();

/** The dims of a declared file that have a value, each in terms of those that have none. */
export function dimValues(scope: FileScope): ReadonlyMap<string, Dim> {
  let values = valuesOf.get(scope);
  if (values === undefined) valuesOf.set(scope, (values = resolvedValues(scope)));
  return values;
}

function resolvedValues(scope: FileScope): ReadonlyMap<string, Dim> {
  const values = new Map<string, Dim>();
  for (const [name, { value }] of scope.dims) if (value !== undefined) values.set(name, value);
  // As many rounds as there are values resolve every chain; a circle stays as it is.
  for (let round = 0; round < Math.min(values.size, 16); round += 1) {
    let changed = false;
    for (const [name, value] of values) {
      if (![...symbols(value)].some((other) => values.has(other))) continue;
      values.set(name, substitute(value, values));
      changed = true;
    }
    if (!changed) break;
  }
  return values;
}

/** What a file's dims say, for every signature in it. */
export function fileFacts(scope: FileScope): Known {
  const definitions = [...dimValues(scope)].map(([name, value]) => ({
    left: symbol(name),
    relation: "==" as const,
    right: value,
  }));
  return learnClaims(nothingKnown, scope.claims, definitions);
}
