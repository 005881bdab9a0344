/** Calls of functions: arguments matched with parameters, bindings, and state that a call changes. */
import type { CallExpr } from "../../grammar/ast.ts";
import { falseClaim } from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { stateAliased, stateNotMut, stateRepeated } from "../diagnostics/linear.ts";
import { signatureOnly } from "../diagnostics/names.ts";
import { argumentCount, brackets, classBound } from "../diagnostics/values.ts";
import { type Dim, substitute, symbol } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { refute } from "../types/prover.ts";
import { dtypeRef, sameAxis, substituteType } from "./axes.ts";
import { coerce } from "./coerce.ts";
import { type Context, errorExpr, fail, inner, placeIn, report } from "./context.ts";
import { permute } from "./elementwise.ts";
import { Locals } from "./locals.ts";
import type { FnEntity, Signature } from "./scope.ts";
import { resolveDim } from "./sizes.ts";
import { resolveElement, satisfies } from "./types.ts";
import {
  bindArgument,
  bindCompounds,
  binder,
  type Binder,
  bindNamed,
  bindingsOf,
  bindRagged,
  bindRest,
} from "./unify.ts";
import type { Axis, Bindings, ModuleType, Type, TypedExpr } from "./typed.ts";

export function callFn(
  cx: Context,
  e: CallExpr,
  entity: FnEntity,
  receiver: TypedExpr | undefined,
  held: ModuleType | undefined,
): TypedExpr {
  const place = placeIn(cx, e.span);
  const args = e.args.map((argument) => cx.expr(inner(cx), argument));
  const signature = cx.signature(entity);
  if (signature === undefined || entity.recursive) return errorExpr(place);
  if (entity.decl.kind === "fn" && entity.decl.body === undefined)
    return fail(cx, place, signatureOnly(place, entity.name));
  const required = signature.params.filter(
    (_, i) => entity.decl.kind !== "fn" || entity.decl.params[i]?.default === undefined,
  ).length;
  if (args.length < required || args.length > signature.params.length) {
    const wanted =
      required === signature.params.length ? `${required}` : `${required} to ${signature.params.length}`;
    return fail(
      cx,
      place,
      argumentCount(place, {
        callee: entity.name,
        wanted: `${wanted} argument${wanted === "1" ? "" : "s"}`,
        found: args.length,
      }),
    );
  }
  if (args.some((arg) => arg.type.kind === "error") || !checkMutable(cx, signature, args, place))
    return errorExpr(place);
  const b = binder(cx, {
    name: entity.name,
    typeParams: signature.typeParams,
    dims: new Set(signature.dims),
    named: signature.named,
    result: signature.result,
  });
  if (!bindBrackets(cx, e, b, signature, place)) return errorExpr(place);
  const own = (type: Type): Type => (held === undefined ? type : substituteType(type, held.bindings));
  const orders: (readonly Axis[] | undefined)[] = [];
  for (const [i, param] of signature.params.entries()) {
    const arg = args[i];
    if (arg === undefined) break;
    const bound = bindArgument(b, own(param.type), arg, `argument '${param.name}'`);
    if (bound === undefined) return errorExpr(place);
    orders.push(bound.order);
  }
  if (!finishBindings(cx, b, entity, signature, held, place)) return errorExpr(place);
  const bindings = held === undefined ? bindingsOf(b) : mergeHeld(held.bindings, bindingsOf(b));
  if (!checkRequires(cx, signature, bindings, place)) return errorExpr(place);
  const values = passArguments(cx, entity, signature, bindings, args, orders, place);
  return finishCall(cx, { entity, signature, bindings, receiver, values, args, orders, place });
}

interface Call {
  readonly entity: FnEntity;
  readonly signature: Signature;
  readonly bindings: Bindings;
  readonly receiver: TypedExpr | undefined;
  readonly values: readonly TypedExpr[];
  readonly args: readonly TypedExpr[];
  readonly orders: readonly (readonly Axis[] | undefined)[];
  readonly place: Place;
}

function finishCall(
  cx: Context,
  { entity, bindings, receiver, values, args, orders, place }: Call,
): TypedExpr {
  const { typed } = entity;
  if (typed === undefined || values.some((value) => value.kind === "error")) return errorExpr(place);
  const type = substituteType(typed.result, bindings);
  const call: TypedExpr = { kind: "call", callee: typed, receiver, bindings, args: values, type, place };
  // An axis that brackets named keeps its place in the result.
  const moved = orders.findIndex((order) => order !== undefined);
  const before = args[moved]?.type;
  if (moved < 0 || type.kind !== "tensor" || before?.kind !== "tensor") return call;
  const axes = before.axes.filter((axis) => type.axes.some((other) => sameAxis(cx.known, axis, other)));
  return axes.length === type.axes.length ? permute(cx, call, axes) : call;
}

/** A held module's bindings beside the call's own; the names of the two are apart. */
function mergeHeld(held: Bindings, own: Bindings): Bindings {
  return {
    dims: new Map([...held.dims, ...own.dims]),
    dtypes: new Map([...held.dtypes, ...own.dtypes]),
    unwritten: new Set([...held.unwritten, ...own.unwritten]),
    scales: new Map([...held.scales, ...own.scales]),
    pack: own.pack,
    ragged: new Map([...held.ragged, ...own.ragged]),
  };
}

function bindBrackets(cx: Context, e: CallExpr, b: Binder, signature: Signature, place: Place): boolean {
  const dims = e.dims ?? [];
  if (dims.length > signature.named.length) {
    const help =
      signature.named.length === 0
        ? `call it without: ${b.callee.name}(..)`
        : `${b.callee.name}[${signature.named.join(", ")}](..)`;
    report(
      cx,
      brackets(
        place,
        `'${b.callee.name}' takes ${signature.named.length} sizes in brackets, and is given ${dims.length}`,
        help,
      ),
    );
    return false;
  }
  const given: Dim[] = [];
  for (const dim of dims) {
    const size = dim.kind === "dim" ? resolveDim(cx, dim.dim, "exact") : undefined;
    if (dim.kind !== "dim")
      report(
        cx,
        brackets(
          placeIn(cx, dim.span),
          `'${b.callee.name}' takes sizes in brackets`,
          "a reduction such as sum[k](..) takes variables",
        ),
      );
    if (size === undefined) return false;
    given.push(size);
  }
  bindNamed(b, given);
  if (e.typeArgs.length > signature.typeParams.length) {
    report(
      cx,
      argumentCount(place, {
        callee: b.callee.name,
        wanted: `${signature.typeParams.length} type arguments`,
        found: e.typeArgs.length,
      }),
    );
    return false;
  }
  for (const [i, argument] of e.typeArgs.entries()) {
    const param = signature.typeParams[i];
    const element = resolveElement(cx, argument);
    if (element === undefined || param === undefined) return false;
    if (!satisfies(cx, element.dtype, element.scale, param.bound)) {
      report(
        cx,
        classBound(placeIn(cx, argument.span), {
          param: param.name,
          bound: param.bound,
          found: element.dtype.kind === "dtype" ? element.dtype.dtype : element.dtype.name,
        }),
      );
      return false;
    }
    b.dtypes.set(param.name, element.dtype);
    if (element.scale !== undefined) b.scales.set(param.name, element.scale);
  }
  return true;
}

function finishBindings(
  cx: Context,
  b: Binder,
  entity: FnEntity,
  signature: Signature,
  held: ModuleType | undefined,
  place: Place,
): boolean {
  if (!bindCompounds(b)) return false;
  for (const { name } of signature.typeParams) {
    if (b.dtypes.has(name)) continue;
    // Literals alone say nothing: the f32 that an unannotated number carries.
    b.dtypes.set(name, dtypeRef("f32"));
    b.unwritten.add(name);
  }
  if (!bindRest(b, signature.dims, place) || !bindRest(b, heldFree(entity, held), place)) return false;
  for (const [name, { value }] of entity.scope.dims) {
    if (value === undefined || b.dims.has(name)) continue;
    b.dims.set(name, entity.scope === cx.scope || entity.scope.file === cx.scope.file ? symbol(name) : value);
  }
  if (signature.params.some(({ type }) => type.kind === "tensor" && type.axes[0]?.kind === "pack"))
    b.pack ??= [];
  bindRagged(b);
  return true;
}

function heldFree(entity: FnEntity, held: ModuleType | undefined): readonly string[] {
  return entity.needs.filter((name) => held === undefined || !held.bindings.dims.has(name));
}

function checkRequires(cx: Context, signature: Signature, bindings: Bindings, place: Place): boolean {
  for (const check of signature.requires) {
    const claim = {
      left: substitute(check.left, bindings.dims),
      relation: check.relation,
      right: substitute(check.right, bindings.dims),
    };
    if (!refute(cx.known.sizes, claim)) continue;
    const why = `here that is ${printDim(claim.left)} ${claim.relation} ${printDim(claim.right)}`;
    report(
      cx,
      falseClaim(place, { claim: check.message, why, label: { place: check.place, text: "asked for here" } }),
    );
    return false;
  }
  return true;
}

function checkMutable(cx: Context, signature: Signature, args: readonly TypedExpr[], place: Place): boolean {
  const changed = new Set<string>();
  for (const [i, param] of signature.params.entries()) {
    const arg = args[i];
    if (arg === undefined || !param.mut) continue;
    const name = stateName(cx, arg);
    if (name === undefined) {
      report(cx, stateNotMut(arg.place, arg.kind === "local" ? arg.variable.name : "this"));
      return false;
    }
    if (!cx.whole || cx.repeated) {
      report(cx, stateRepeated(place, name));
      return false;
    }
    changed.add(name);
  }
  const names = args.flatMap((arg) => (arg.type.kind === "paged" ? [stateText(arg)] : []));
  const twice = names.find((name, i) => changed.has(name) && names.indexOf(name) !== i);
  if (twice !== undefined) report(cx, stateAliased(place, twice));
  return twice === undefined;
}

/** The state's name where it may be changed. */
export function stateName(cx: Context, e: TypedExpr): string | undefined {
  if (e.kind === "member" || e.kind === "field") return e.type.kind === "paged" ? stateText(e) : undefined;
  if (e.kind !== "local") return undefined;
  const local = cx.locals.get(e.variable.name);
  return local?.kind === "variable" && local.variable === e.variable && local.mut
    ? e.variable.name
    : undefined;
}

function stateText(e: TypedExpr): string {
  if (e.kind === "local") return e.variable.name;
  if (e.kind === "member") return e.name;
  return e.kind === "field" ? `${stateText(e.value)}.${e.field}` : "this";
}

// ---------------------------------------------------------------- arguments

function passArguments(
  cx: Context,
  entity: FnEntity,
  signature: Signature,
  bindings: Bindings,
  args: readonly TypedExpr[],
  orders: readonly (readonly Axis[] | undefined)[],
  place: Place,
): TypedExpr[] {
  return signature.params.map((param, i) => {
    const arg = args[i];
    const what = `argument '${param.name}'`;
    const at = param.place;
    if (arg === undefined) {
      const value = entity.decl.kind === "fn" ? entity.decl.params[i]?.default : undefined;
      if (value === undefined) return errorExpr(place);
      return coerce(cx, defaultValue(cx, entity, bindings, value, place), {
        type: substituteType(param.type, bindings),
        what,
        at,
      });
    }
    const order = orders[i];
    const placed = order === undefined ? arg : permute(cx, arg, order);
    const type = substituteType(param.type, bindings);
    if (type.kind !== "tensor" || placed.type.kind !== "tensor")
      return type.kind === "record" ? coerce(cx, placed, { type, what, at }) : placed;
    const generic = param.type.kind === "tensor" && param.type.dtype.kind === "param";
    return coerce(cx, placed, {
      type: { ...type, axes: placed.type.axes, masked: generic && placed.type.masked },
      what,
      at,
    });
  });
}

/** A default stands in the callee's scope, with the callee's sizes as this call gives them. */
function defaultValue(
  cx: Context,
  entity: FnEntity,
  bindings: Bindings,
  e: CallExpr["args"][number],
  place: Place,
): TypedExpr {
  const names: ReadonlySet<string> = new Set(bindings.dims.keys());
  const there: Context = {
    ...cx,
    scope: { ...entity.scope, report: cx.scope.report },
    locals: new Locals(),
    module: undefined,
    whole: false,
    useDim: (name) => names.has(name),
    dimNames: () => names,
  };
  return substituteSizes(cx.expr(there, e), bindings.dims, place);
}

function substituteSizes(e: TypedExpr, by: ReadonlyMap<string, Dim>, place: Place): TypedExpr {
  switch (e.kind) {
    case "dim":
      return { ...e, dim: substitute(e.dim, by), place };
    case "apply":
      return { ...e, args: e.args.map((arg) => substituteSizes(arg, by, place)), place };
    case "cast":
      return { ...e, value: substituteSizes(e.value, by, place), place };
    default:
      return { ...e, place };
  }
}
