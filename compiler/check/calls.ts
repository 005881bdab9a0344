/** Calls: of functions and methods with their bindings, of casts, scalar functions, reductions and built-ins. */
import type { CallExpr } from "../../grammar/ast.ts";
import { falseClaim } from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { noGradientYet, noMeshYet } from "../diagnostics/directives.ts";
import { stateAliased, stateNotMut, stateRepeated } from "../diagnostics/linear.ts";
import { notAFunction, signatureOnly, unknownMember, unknownName } from "../diagnostics/names.ts";
import { argumentCount, badOperator, brackets, classBound, typeMismatch } from "../diagnostics/values.ts";
import { type Dim, substitute, symbol } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { isDType } from "../types/dtype.ts";
import { refute } from "../types/prover.ts";
import { classOf, dtypeRef, printType, sameAxis, substituteType } from "./axes.ts";
import { applyScalars, convert, scalarFunctions, tensorOf } from "./arithmetic.ts";
import { builtins, checkPagedRead, checkPagedVisible } from "./builtins.ts";
import { coerce } from "./coerce.ts";
import { type Context, errorExpr, fail, inner, placeIn, report } from "./context.ts";
import { elementwise, permute } from "./elementwise.ts";
import { Locals } from "./locals.ts";
import { checkReduction, isReduction } from "./loops.ts";
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
import type { Axis, Bindings, DTypeRef, ModuleType, TensorType, Type, TypedExpr } from "./typed.ts";

const notYet: Readonly<Record<string, "gradient" | "mesh">> = {
  grad: "gradient",
  vjp: "gradient",
  all_gather: "mesh",
  reduce_scatter: "mesh",
  send: "mesh",
  recv: "mesh",
};

export function checkCall(cx: Context, e: CallExpr): TypedExpr {
  const { callee } = e;
  if (callee.kind === "field") return checkMethod(cx, e, callee);
  const place = placeIn(cx, e.span);
  if (callee.kind === "call") {
    // `grad(f)(x)`: the inner call says what is missing.
    const value = cx.expr(inner(cx), callee);
    return value.kind === "error"
      ? value
      : fail(cx, place, notAFunction(place, "this", printType(value.type)));
  }
  if (callee.kind !== "name")
    return callee.kind === "error"
      ? errorExpr(place)
      : fail(cx, place, notAFunction(place, "this", "an expression"));
  return checkNamed(cx, e, callee.name.text, place);
}

function checkNamed(cx: Context, e: CallExpr, name: string, place: Place): TypedExpr {
  const own = placeIn(cx, e.callee.span);
  const local = cx.locals.get(name);
  if (local !== undefined) {
    if (local.kind === "variable" && local.variable.type.kind === "error") return errorExpr(place);
    const what =
      local.kind === "variable" &&
      local.variable.type.kind === "tensor" &&
      local.variable.type.axes.length > 0
        ? "a tensor"
        : "a value";
    return fail(cx, own, notAFunction(own, name, what));
  }
  const member = cx.module?.entity.fns.get(name);
  if (member !== undefined) return callFn(cx, e, member, undefined, undefined);
  const entity = cx.scope.names.get(name);
  if (entity?.kind === "fn") return callFn(cx, e, entity, undefined, undefined);
  if (entity !== undefined)
    return fail(cx, own, notAFunction(own, name, entity.kind === "const" ? "a const" : `a ${entity.kind}`));
  if (isDType(name)) return checkCast(cx, e, dtypeRef(name), place);
  if (cx.bounds.has(name)) return checkCast(cx, e, { kind: "param", name }, place);
  if (isReduction(name) && (e.dims !== undefined || !scalarFunctions.has(name)))
    return checkReduction(cx, e, name);
  const arity = scalarFunctions.get(name);
  if (arity !== undefined) return checkScalar(cx, e, name, arity, place);
  const builtin = builtins.get(name);
  if (builtin !== undefined) return builtin(cx, e);
  const missing = Object.hasOwn(notYet, name) ? notYet[name] : undefined;
  if (missing !== undefined) return checkNotYet(cx, e, name, missing, own);
  return fail(cx, own, unknownName(own, name, callables(cx)));
}

function* callables(cx: Context): Generator<string> {
  yield* cx.module?.entity.fns.keys() ?? [];
  for (const [name, entity] of cx.scope.names) if (entity.kind === "fn") yield name;
  yield* scalarFunctions.keys();
  yield* ["sum", "prod", "any", "all", "mean", "argmax", "logsumexp"];
  yield* builtins.keys();
}

/** Names inside are checked, so that this is the last thing to mend. */
function checkNotYet(
  cx: Context,
  e: CallExpr,
  name: string,
  what: "gradient" | "mesh",
  place: Place,
): TypedExpr {
  for (const argument of e.args) {
    const isFn =
      argument.kind === "name" &&
      (cx.scope.names.get(argument.name.text)?.kind === "fn" ||
        cx.module?.entity.fns.has(argument.name.text));
    if (!isFn && cx.expr(inner(cx), argument).kind === "error") return errorExpr(place);
  }
  return fail(cx, place, what === "gradient" ? noGradientYet(place, name) : noMeshYet(place, `'${name}'`));
}

function checkScalar(cx: Context, e: CallExpr, name: string, arity: number, place: Place): TypedExpr {
  const args = e.args.map((argument) => cx.expr(inner(cx), argument));
  if (args.length !== arity) {
    return fail(
      cx,
      place,
      argumentCount(place, {
        callee: name,
        wanted: `${arity} argument${arity === 1 ? "" : "s"}`,
        found: args.length,
      }),
    );
  }
  if (args.some((arg) => arg.type.kind === "error")) return errorExpr(place);
  if (e.dims !== undefined)
    return fail(
      cx,
      place,
      brackets(place, `'${name}' takes no brackets`, `${name}(x) works element by element`),
    );
  return elementwise(cx, place, args, (values) => applyScalars(cx, place, name, values, name));
}

function checkCast(cx: Context, e: CallExpr, dtype: DTypeRef, place: Place): TypedExpr {
  const [argument, ...more] = e.args;
  if (argument === undefined || more.length > 0)
    return fail(
      cx,
      place,
      argumentCount(place, { callee: "a cast", wanted: "one value", found: e.args.length }),
    );
  const value = cx.expr(inner(cx), argument);
  const type = tensorOf(value);
  if (value.type.kind === "error") return value;
  if (type === undefined)
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a number or a tensor",
        what: "what is cast",
      }),
    );
  const to: TensorType = {
    kind: "tensor",
    dtype,
    axes: type.axes,
    scale: undefined,
    written: true,
    masked: false,
  };
  if (type.scale !== undefined && type.axes.length > 0) {
    return fail(
      cx,
      value.place,
      badOperator(value.place, "a cast", printType(type), "dequantize(x) gives the f32 values"),
    );
  }
  if (value.kind === "literal" && typeof value.value === "number" && classOf(dtype, cx.bounds) === "int") {
    return { kind: "cast", value, type: to, place };
  }
  const converted =
    value.kind === "literal" &&
    typeof value.value !== "boolean" &&
    !(dtype.kind === "dtype" && dtype.dtype === "bool")
      ? convert(cx, value, to)
      : value;
  if (
    converted !== value &&
    dtype.kind === "dtype" &&
    (dtype.dtype === "f32" || classOf(dtype, cx.bounds) === "int")
  )
    return converted;
  return { kind: "cast", value, type: to, place };
}

// ---------------------------------------------------------------- methods

function checkMethod(
  cx: Context,
  e: CallExpr,
  callee: Extract<CallExpr["callee"], { kind: "field" }>,
): TypedExpr {
  const place = placeIn(cx, e.span);
  const own = placeIn(cx, callee.field.span);
  const name = callee.field.text;
  const receiver = cx.expr(inner(cx), callee.value);
  switch (receiver.type.kind) {
    case "error":
      return errorExpr(place);
    case "paged":
      if (name === "read") return checkPagedRead(cx, e, receiver, receiver.type);
      if (name === "visible") return checkPagedVisible(cx, e, receiver, receiver.type);
      if (name === "append") return fail(cx, own, stateRepeated(own, "the cache"));
      return fail(cx, own, unknownMember(own, name, printType(receiver.type), ["append", "read", "visible"]));
    case "module": {
      const fn = cx.moduleFn(receiver.type.module, name);
      if (fn !== undefined) return callFn(cx, e, fn, receiver, receiver.type);
      return fail(
        cx,
        own,
        unknownMember(own, name, `module ${receiver.type.module.name}`, cx.moduleFns(receiver.type.module)),
      );
    }
    case "record":
    case "tensor":
    case "plan":
      return fail(cx, own, unknownMember(own, name, printType(receiver.type), []));
  }
}

// ---------------------------------------------------------------- functions

function callFn(
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
