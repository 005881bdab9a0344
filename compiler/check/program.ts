/**
 * A program, from text to typed tree. Every function of every file is checked once, generic as it stands, callees
 * before callers; nothing is instantiated here, so chains of generic calls cost no more than their length.
 */
import type { KernelDecl } from "../../grammar/ast.ts";
import { sizeError } from "../diagnostics/axes.ts";
import { createReport, type Finding, type Place, type Report } from "../diagnostics/diagnostic.ts";
import { noKernelYet } from "../diagnostics/directives.ts";
import { deriveName, notConstant, recursion, unknownName, unknownRewrite } from "../diagnostics/names.ts";
import { DimError, symbols } from "../types/dim.ts";
import { checkBody, parameterLocals } from "./bodies.ts";
import { coerce } from "./coerce.ts";
import { type BodyState, type Context, errorExpr } from "./context.ts";
import { declareFile, dimValues } from "./declare.ts";
import { checkNumerics } from "./directives.ts";
import { checkSchedules } from "./schedules.ts";
import { checkExpr } from "./expressions.ts";
import { loadProgram, type SourceHost } from "./files.ts";
import { Locals } from "./locals.ts";
import { callOrder, functionsOf } from "./order.ts";
import { checkPipelines } from "./pipelines.ts";
import {
  type ConstEntity,
  type FileScope,
  type FnEntity,
  type ModuleEntity,
  placeOf,
  type Signature,
} from "./scope.ts";
import { derivedFrom, factsOf, type Headers, inherited, moduleHeader, signatureOf } from "./signatures.ts";
import type { DimCheck, Type, TypedExpr, TypedFn, TypedModule, TypedProgram } from "./typed.ts";

export interface ProgramSource {
  /** The file's name, as the host and the messages know it. */
  readonly file: string;
  readonly text: string;
  readonly host: SourceHost;
  readonly report: Report;
}

/** The program's typed tree, or undefined after errors in the report. */
export function checkProgram({ file, text, host, report }: ProgramSource): TypedProgram | undefined {
  const { main, files } = loadProgram(file, text, host, report);
  const scopes = new Map<string, FileScope>();
  for (const source of files) scopes.set(source.file, declareFile(source, scopes, report));
  const headers: Headers = { facts: new Map(), busy: new Set() };
  const checker: Checker = { headers, modules: new Map() };
  for (const scope of scopes.values()) checkHeaders(checker, scope);
  for (const entity of callOrder([...scopes.values()])) {
    if (report.isFull) return undefined;
    if (!entity.recursive) sized(entity.scope, entity, () => checkFn(checker, entity));
  }
  const scope = scopes.get(main.file);
  if (scope === undefined) return undefined;
  for (const each of scopes.values()) checkKernels(each);
  const numerics = checkNumerics(scope);
  const schedules = checkSchedules(scope);
  const pipelines = checkPipelines(scope);
  if (report.failed) return undefined;
  return {
    file,
    fns: functionsOf(scope).flatMap((fn) =>
      fn.module === undefined && fn.typed !== undefined ? [fn.typed] : [],
    ),
    modules: [...scope.names.values()].flatMap((entity) =>
      entity.kind === "module" && entity.scope === scope && entity.header ? [entity.header.typed] : [],
    ),
    numerics,
    schedules,
    pipelines,
    dimValues: dimValues(scope),
  };
}

interface Checker {
  readonly headers: Headers;
  /** The entity of each typed module, for calls through held ones. */
  readonly modules: Map<TypedModule, ModuleEntity>;
}

function checkHeaders(checker: Checker, scope: FileScope): void {
  for (const entity of scope.names.values()) {
    if (entity.kind !== "module" || entity.scope !== scope) continue;
    const header = sized(scope, entity, () => moduleHeader(checker.headers, entity));
    if (header) checker.modules.set(header.typed, entity);
    for (const own of entity.consts.values()) checkConst(checker, own, entity);
  }
  for (const entity of scope.names.values())
    if (entity.kind === "const" && entity.scope === scope) checkConst(checker, entity, undefined);
}

/** Sizes that overflow in a signature end that declaration alone. */
function sized<T>(
  scope: FileScope,
  entity: { readonly decl: { readonly name: { readonly span: { start: number; end: number } } } },
  check: () => T,
): T | undefined {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof DimError)) throw error;
    scope.report.add(sizeError(placeOf(scope, entity.decl.name.span), error.message));
    return undefined;
  }
}

// ---------------------------------------------------------------- functions

function checkFn(checker: Checker, entity: FnEntity): void {
  const signature = signatureOf(checker.headers, entity);
  if (signature === undefined) return;
  if (entity.decl.kind === "derive") checkDerived(entity, signature);
  else checkWritten(checker, entity, signature);
  if (entity.typed !== undefined) entity.module?.header?.typed.fns.push(entity.typed);
}

function checkWritten(checker: Checker, entity: FnEntity, signature: Signature): void {
  const { decl } = entity;
  if (decl.kind !== "fn" || decl.body === undefined) return;
  const body = bodyState(entity, signature);
  const bare = context(checker, entity.scope, entity.module, body, signature);
  for (const [i, param] of decl.params.entries()) {
    const type = signature.params[i]?.type;
    if (param.default === undefined || type === undefined) continue;
    const value = bare.expr(bare, param.default);
    const typed =
      type.kind === "tensor" && type.axes.length === 0
        ? coerce(bare, value, { type, what: `the default of '${param.name.text}'`, at: undefined })
        : value;
    if (typed.kind !== "error" && !isConstant(typed))
      entity.scope.report.add(notConstant(typed.place, param.name.text));
  }
  const cx: Context = { ...bare, locals: parameterLocals(bare, signature.params) };
  const where = { name: entity.name, place: placeOf(entity.scope, decl.result?.span ?? decl.name.span) };
  const checked = checkBody(cx, decl.body, signature.result, where);
  entity.needs = [...body.free];
  entity.typed = typedFn(entity, signature, {
    result: checked.result,
    body: checked.body,
    freeDims: [...body.free, ...[...body.renamed].filter((name) => !body.free.has(name))],
    checks: [...body.checks, ...freeClaims(entity, signature, body)],
  });
}

/** What the file says of sizes that only the body has: no caller's bindings show it. */
function freeClaims(entity: FnEntity, signature: Signature, body: BodyState): readonly DimCheck[] {
  if (body.free.size === 0) return [];
  const asked = new Set(signature.requires.map(({ place }) => place));
  return inherited(entity.scope, new Set([...body.rigid, ...body.free])).filter(
    ({ place }) => !asked.has(place),
  );
}

function typedFn(
  entity: FnEntity,
  signature: Signature,
  rest: Pick<TypedFn, "result" | "body" | "freeDims" | "checks">,
): TypedFn {
  return {
    kind: "fn",
    name: entity.name,
    file: entity.scope.file,
    doc: entity.decl.doc,
    module: entity.module?.header?.typed,
    typeParams: signature.typeParams,
    dims: signature.dims,
    params: signature.params,
    requires: signature.requires,
    place: placeOf(entity.scope, entity.decl.name.span),
    ...rest,
  };
}

function bodyState(fn: FnEntity, signature: Signature): BodyState {
  const ragged = new Map<string, string>();
  const packed = (type: Type): boolean => type.kind === "tensor" && type.axes[0]?.kind === "pack";
  for (const { type } of signature.params) {
    if (type.kind === "tensor")
      for (const axis of type.axes) if (axis.kind === "ragged") ragged.set(axis.name, axis.instance);
    if (type.kind === "plan") ragged.set(type.instance, type.instance);
  }
  return {
    fn,
    rigid: new Set([...signature.dims, ...(fn.module?.header?.typed.dims ?? [])]),
    free: new Set(),
    renamed: new Set(),
    ragged,
    checks: [],
    plans: new Map(),
    renames: [],
    sizes: new Map(),
    hasPack:
      signature.params.some(({ type }) => packed(type)) ||
      (signature.result !== undefined && packed(signature.result)),
    indexNames: new Map(),
    held: new Map(),
    consts: new Map(),
    peeked: new Map(),
    fresh: 0,
    quiet: 0,
  };
}

function context(
  checker: Checker,
  scope: FileScope,
  module: ModuleEntity | undefined,
  body: BodyState,
  signature: Signature,
): Context {
  const header = module?.header;
  const bounds = new Map(
    [...(header?.typed.typeParams ?? []), ...signature.typeParams].map(({ name, bound }) => [name, bound]),
  );
  const values = dimValues(scope);
  return {
    scope,
    known: signature.known,
    bounds,
    body,
    locals: new Locals(),
    module: module === undefined || header === undefined ? undefined : { entity: module, header },
    pack: false,
    repeated: false,
    whole: false,
    useDim: (name) => {
      if (body.rigid.has(name) || body.renamed.has(name)) return true;
      if (!scope.dims.has(name)) return false;
      const value = values.get(name);
      if (body.quiet > 0) return true;
      // A dim with a value needs what the value is made of.
      for (const free of value === undefined ? [name] : symbols(value))
        if (!body.rigid.has(free) && !body.renamed.has(free)) body.free.add(free);
      return true;
    },
    *dimNames() {
      yield* body.rigid;
      yield* body.renamed;
      yield* scope.dims.keys();
    },
    raggedInstance: (name) => body.ragged.get(name) ?? `?${name}`,
    moduleHeader: (entity) => moduleHeader(checker.headers, entity)?.typed,
    expr: checkExpr,
    constant: (cx, entity, place) => constantValue(cx, entity, place),
    signature: (entity) => signatureOf(checker.headers, entity),
    moduleFn: (typed, name) => checker.modules.get(typed)?.fns.get(name),
    moduleFns: (typed) => [...(checker.modules.get(typed)?.fns.keys() ?? [])],
  };
}

// ---------------------------------------------------------------- consts

/** Reported where it is declared; uses are silent. */
function checkConst(checker: Checker, entity: ConstEntity, module: ModuleEntity | undefined): void {
  const { scope } = entity;
  const signature: Signature = {
    typeParams: [],
    dims: module?.header?.typed.dims ?? [],
    named: [],
    params: [],
    result: undefined,
    requires: [],
    known: factsOf(checker.headers, scope),
    steps: undefined,
  };
  const fn: FnEntity = {
    kind: "fn",
    name: entity.name,
    decl: {
      kind: "derive",
      doc: undefined,
      name: entity.decl.name,
      from: entity.decl.name,
      rule: entity.decl.name,
      steps: [],
      span: entity.decl.span,
    },
    scope,
    module,
    signature,
    typed: undefined,
    needs: [],
    recursive: false,
  };
  const cx = context(checker, scope, module, bodyState(fn, signature), signature);
  const place = placeOf(scope, entity.decl.value.span);
  entity.busy = true;
  const value = sized(scope, entity, () => cx.expr(cx, entity.decl.value));
  entity.busy = false;
  if (entity.circular) scope.report.add(recursion(place, [entity.name, entity.name]));
  if (value !== undefined && value.kind !== "error" && !isConstant(value))
    scope.report.add(notConstant(place, entity.name));
}

function constantValue(cx: Context, entity: ConstEntity, place: Place): TypedExpr {
  if (entity.busy) {
    entity.circular = true;
    return errorExpr(place);
  }
  if (entity.circular) return errorExpr(place);
  const before = cx.body.consts.get(entity);
  if (before !== undefined) return { ...before, place };
  const silent = {
    ...cx,
    scope: { ...entity.scope, report: createReport() },
    locals: new Locals(),
    whole: false,
    repeated: true,
    pack: false,
  };
  entity.busy = true;
  const value = cx.expr(silent, entity.decl.value);
  entity.busy = false;
  const usable = isConstant(value) ? value : errorExpr(place);
  cx.body.consts.set(entity, usable);
  return { ...usable, place };
}

/** Made of numbers, sizes and scalar functions, and of no more than anyone writes. */
function isConstant(root: TypedExpr): boolean {
  const stack = [root];
  let seen = 0;
  for (let e = stack.pop(); e !== undefined; e = stack.pop()) {
    if ((seen += 1) > 4096) return false;
    if (e.kind === "literal" || e.kind === "dim") continue;
    if (e.kind === "apply") stack.push(...e.args);
    else if (e.kind === "cast") stack.push(e.value);
    else if (e.kind === "select") stack.push(e.condition, e.then, e.else);
    else return false;
  }
  return true;
}

// ---------------------------------------------------------------- derived functions and kernels

function checkDerived(entity: FnEntity, signature: Signature): void {
  const { decl, scope } = entity;
  const from = derivedFrom(entity);
  if (decl.kind !== "derive" || from?.typed === undefined) return;
  const rule = decl.rule.text;
  if (rule !== "reassociate" && rule !== "cheaper") {
    scope.report.add(unknownRewrite(placeOf(scope, decl.rule.span), rule));
    return;
  }
  const params = signature.params.map(({ name }) => name);
  const weights = [...(entity.module?.header?.typed.params.map(({ name }) => name) ?? []), ...params];
  const lets =
    writtenBody(from)?.statements.flatMap((s) =>
      s.kind === "let" ? s.pattern.map(({ text }) => text) : [],
    ) ?? [];
  let right = true;
  for (const step of decl.steps) {
    if (!weights.includes(step.factor.text)) {
      scope.report.add(
        deriveName(
          placeOf(scope, step.factor.span),
          step.factor.text,
          from.name,
          "weight or parameter",
          weights,
        ),
      );
      right = false;
    }
    if (![...params, ...lets].includes(step.target.text)) {
      scope.report.add(
        deriveName(placeOf(scope, step.target.span), step.target.text, from.name, "parameter or 'let'", [
          ...params,
          ...lets,
        ]),
      );
      right = false;
    }
  }
  if (!right) return;
  entity.needs = from.needs;
  entity.typed = typedFn(entity, signature, {
    result: from.typed.result,
    body: { kind: "derived", from: from.typed, steps: signature.steps ?? [], rule },
    freeDims: from.typed.freeDims,
    checks: from.typed.checks,
  });
}

function writtenBody(fn: FnEntity):
  | {
      readonly statements: readonly (
        { kind: "let"; pattern: readonly { text: string }[] } | { kind: "do" }
      )[];
    }
  | undefined {
  const from = derivedFrom(fn);
  if (from !== undefined) return writtenBody(from);
  return fn.decl.kind === "fn" ? fn.decl.body : undefined;
}

function checkKernels(scope: FileScope): void {
  for (const entity of scope.names.values()) {
    if (entity.kind !== "kernel" || !scope.ast.declarations.includes(entity.decl)) continue;
    scope.report.add(kernelDiagnostic(scope, entity.decl));
  }
}

function kernelDiagnostic(scope: FileScope, decl: KernelDecl): Finding {
  const target = decl.implements;
  if (target !== undefined && scope.names.get(target.text)?.kind !== "fn") {
    return unknownName(
      placeOf(scope, target.span),
      target.text,
      [...scope.names].filter(([, e]) => e.kind === "fn").map(([name]) => name),
    );
  }
  return noKernelYet(placeOf(scope, decl.name.span), decl.name.text);
}
