/**
 * What a call gives the callee's rigid names: axes against axes, by name and place, dtypes by the first argument
 * that has one written, `...` as the union over the arguments.
 */
import { axisMismatch, axisTwice, noSuchAxis, unfixedDim } from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { classBound, dtypeConflict, typeMismatch } from "../diagnostics/values.ts";
import {
  type Dim,
  divideExactly,
  polynomial,
  fromPolynomial,
  sub,
  substitute,
  symbol,
  symbols,
} from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import {
  classOf,
  dimAxis,
  findAxis,
  printAxis,
  printDtype,
  printType,
  raggedOfType,
  sameAxis,
  sameAxisDim,
  sameDtype,
  sameScale,
  substituteAxis,
} from "./axes.ts";
import { isUntyped } from "./arithmetic.ts";
import { type Context, freshInstance, report } from "./context.ts";
import { renameHelp } from "./coerce.ts";
import { satisfies } from "./types.ts";
import type {
  Axis,
  Bindings,
  BlockScaling,
  DTypeRef,
  PagedType,
  PlanType,
  TensorType,
  Type,
  TypedExpr,
  TypedFn,
} from "./typed.ts";

export interface Callee {
  readonly name: string;
  readonly typeParams: TypedFn["typeParams"];
  /** Dims that a call binds. */
  readonly dims: ReadonlySet<string>;
  readonly named: readonly string[];
  readonly result: Type | undefined;
}

export interface Binder {
  readonly cx: Context;
  readonly callee: Callee;
  readonly dims: Map<string, Dim>;
  readonly dtypes: Map<string, DTypeRef>;
  readonly unwritten: Set<string>;
  readonly scales: Map<string, BlockScaling>;
  readonly ragged: Map<string, string>;
  pack: Axis[] | undefined;
  /** Compound axes, compared when every argument has been seen. */
  readonly later: {
    readonly pattern: Dim;
    readonly found: Dim;
    readonly place: Place;
    readonly type: string;
  }[];
}

export function binder(cx: Context, callee: Callee): Binder {
  return {
    cx,
    callee,
    dims: new Map(),
    dtypes: new Map(),
    unwritten: new Set(),
    scales: new Map(),
    ragged: new Map(),
    pack: undefined,
    later: [],
  };
}

export function bindingsOf(b: Binder): Bindings {
  return {
    dims: b.dims,
    dtypes: b.dtypes,
    unwritten: b.unwritten,
    scales: b.scales,
    pack: b.pack,
    ragged: b.ragged,
  };
}

/**
 * Matches one argument; gives it back with its axes in the order of the parameter, where brackets named an axis
 * that stands elsewhere. Undefined after a report.
 */
export function bindArgument(
  b: Binder,
  param: Type,
  arg: TypedExpr,
  what: string,
): { readonly order: readonly Axis[] | undefined } | undefined {
  if (param.kind === "error" || arg.type.kind === "error") return undefined;
  if (param.kind === "tensor" && arg.type.kind === "tensor") {
    const order = bindAxes(b, param, arg.type, arg, what);
    return order === undefined ? undefined : { order: order === "as it is" ? undefined : order };
  }
  if (param.kind === "paged" && arg.type.kind === "paged")
    return bindPaged(b, param, arg.type, arg) ? { order: undefined } : undefined;
  if (param.kind === "plan" && arg.type.kind === "plan")
    return bindPlan(b, param, arg.type, arg) ? { order: undefined } : undefined;
  if (param.kind === "module" && arg.type.kind === "module" && param.module === arg.type.module)
    return { order: undefined };
  if (
    param.kind === "record" &&
    arg.type.kind === "record" &&
    param.fields.length === arg.type.fields.length
  ) {
    for (const [i, field] of param.fields.entries()) {
      const own = arg.type.fields[i];
      const value: TypedExpr = {
        kind: "field",
        value: arg,
        field: field.name,
        type: own?.type ?? field.type,
        place: arg.place,
      };
      if (own?.name !== field.name || bindArgument(b, field.type, value, what) === undefined)
        return undefined;
    }
    return { order: undefined };
  }
  report(b.cx, typeMismatch(arg.place, { found: printType(arg.type), wanted: printType(param), what }));
  return undefined;
}

function bindPaged(b: Binder, param: PagedType, type: PagedType, arg: TypedExpr): boolean {
  const text = printType(type);
  if (param.parts.length !== type.parts.length) {
    report(b.cx, typeMismatch(arg.place, { found: text, wanted: printType(param), what: "this cache" }));
    return false;
  }
  const dims = (["page", "batch", "length"] as const).every((field) =>
    bindDim(b, param[field], type[field], arg.place, text),
  );
  return (
    dims &&
    param.parts.every((part, k) => {
      const own = type.parts[k];
      if (own === undefined || !bindDim(b, part.width, own.width, arg.place, text)) return false;
      const { dtype, scale } = own;
      const element: TensorType = { kind: "tensor", dtype, axes: [], scale, written: true, masked: false };
      return bindDtype(b, part.dtype, element, arg, true, part.scale);
    })
  );
}

function bindPlan(b: Binder, param: PlanType, type: PlanType, arg: TypedExpr): boolean {
  b.ragged.set(param.instance, type.instance);
  return (["rows", "choices", "experts"] as const).every((field) =>
    bindDim(b, param[field], type[field], arg.place, printType(type)),
  );
}

// ---------------------------------------------------------------- axes

function bindAxes(
  b: Binder,
  param: TensorType,
  type: TensorType,
  arg: TypedExpr,
  what: string,
): readonly Axis[] | "as it is" | undefined {
  const ownPack = param.axes[0]?.kind === "pack";
  const fixed = ownPack ? param.axes.slice(1) : param.axes;
  // Axes that brackets named are found wherever they stand; the others are matched by place.
  const taken = new Map<Axis, Axis>();
  for (const axis of fixed) {
    if (axis.kind !== "dim" || axis.dim.kind !== "symbol" || !b.callee.named.includes(axis.dim.name))
      continue;
    const bound = b.dims.get(axis.dim.name);
    if (bound === undefined || !ownPack) continue;
    const at = findAxis(b.cx.known, type.axes, dimAxis(bound));
    const own = type.axes[at];
    if (own === undefined) {
      report(
        b.cx,
        at === -2
          ? axisTwice(arg.place, printDim(bound), printType(type))
          : noSuchAxis(arg.place, printDim(bound), printType(type)),
      );
      return undefined;
    }
    taken.set(axis, own);
  }
  const rest = type.axes.filter((axis) => ![...taken.values()].includes(axis));
  const open = fixed.filter((axis) => !taken.has(axis));
  if (ownPack ? rest.length < open.length : rest.length !== open.length) {
    report(b.cx, typeMismatch(arg.place, { found: printType(type), wanted: printType(param), what }));
    return undefined;
  }
  const lead = rest.slice(0, rest.length - open.length);
  for (const [i, axis] of open.entries()) {
    const own = rest[lead.length + i];
    if (own === undefined || !bindAxis(b, axis, own, arg, type, what)) return undefined;
    taken.set(axis, own);
  }
  if (ownPack) addToPack(b, lead);
  if (!bindDtype(b, param.dtype, type, arg, false, param.scale)) return undefined;
  const order = [...lead, ...fixed.flatMap((axis) => taken.get(axis) ?? [])];
  return order.every((axis, i) => axis === type.axes[i]) ? "as it is" : order;
}

function addToPack(b: Binder, axes: readonly Axis[]): void {
  b.pack ??= [];
  for (const axis of axes) if (!b.pack.some((other) => sameAxis(b.cx.known, other, axis))) b.pack.push(axis);
}

function bindAxis(
  b: Binder,
  pattern: Axis,
  found: Axis,
  arg: TypedExpr,
  type: TensorType,
  what: string,
): boolean {
  if (pattern.kind === "dim" && found.kind === "dim")
    return bindDim(b, pattern.dim, found.dim, arg.place, `${what} is ${printType(type)}`);
  if (pattern.kind === "ragged" && found.kind === "ragged") {
    const before = b.ragged.get(pattern.instance);
    b.ragged.set(pattern.instance, found.instance);
    if (before === undefined || before === found.instance)
      return bindDim(b, pattern.by, found.by, arg.place, `${what} is ${printType(type)}`);
  }
  report(
    b.cx,
    axisMismatch(arg.place, {
      found: printAxis(found),
      wanted: printAxis(pattern),
      detail: `${what} is ${printType(type)}`,
    }),
  );
  return false;
}

function bindDim(b: Binder, pattern: Dim, found: Dim, place: Place, type: string): boolean {
  if (pattern.kind === "symbol" && b.callee.dims.has(pattern.name)) {
    const before = b.dims.get(pattern.name);
    if (before === undefined) {
      b.dims.set(pattern.name, found);
      return true;
    }
    if (sameAxisDim(b.cx.known, before, found)) return true;
    reportAxis(
      b,
      found,
      before,
      place,
      `${type}; ${pattern.name} is ${printDim(before)} by what stands before`,
    );
    return false;
  }
  if (pattern.kind !== "const" && [...symbols(pattern)].some((name) => b.callee.dims.has(name))) {
    b.later.push({ pattern, found, place, type });
    return true;
  }
  if (sameAxisDim(b.cx.known, pattern, found)) return true;
  reportAxis(b, found, pattern, place, type);
  return false;
}

function reportAxis(b: Binder, found: Dim, wanted: Dim, place: Place, detail: string): void {
  report(
    b.cx,
    axisMismatch(place, {
      found: printDim(found),
      wanted: printDim(wanted),
      detail,
      help: renameHelp(dimAxis(found), dimAxis(wanted)),
    }),
  );
}

/** `Ck + Dr` against an axis: solved for what is still open, then compared. False after a report. */
export function bindCompounds(b: Binder): boolean {
  for (const { pattern, found, place, type } of b.later) {
    solveOpen(b, pattern, found);
    const wanted = substitute(pattern, b.dims);
    const open = [...symbols(pattern)].find((name) => b.callee.dims.has(name) && !b.dims.has(name));
    if (open !== undefined) continue;
    if (sameAxisDim(b.cx.known, wanted, found)) continue;
    reportAxis(b, found, wanted, place, type);
    return false;
  }
  return true;
}

function solveOpen(b: Binder, pattern: Dim, found: Dim): void {
  const isOpen = (name: string): boolean => b.callee.dims.has(name) && !b.dims.has(name);
  const open = [...symbols(pattern)].filter(isOpen);
  const parts = polynomial(pattern);
  const own = polynomial(found);
  // Two sums of as many parts bind part by part, in order.
  if (parts.length > 1 && parts.length === own.length && open.length > 0) {
    for (const [i, part] of parts.entries()) {
      const [atom] = part.atoms;
      const term = own[i];
      if (
        part.coefficient === 1n &&
        part.atoms.length === 1 &&
        atom?.kind === "symbol" &&
        isOpen(atom.name) &&
        term
      )
        b.dims.set(atom.name, fromPolynomial([term]));
    }
    return;
  }
  const [only] = open;
  if (only === undefined || open.length > 1) return;
  // pattern = factor * only + rest, with neither naming it: only = (found - rest) / factor.
  const bound = polynomial(substitute(pattern, b.dims));
  const mine = bound.filter((term) =>
    term.atoms.some((atom) => atom.kind === "symbol" && atom.name === only),
  );
  const others = bound.filter((term) => !mine.includes(term));
  const [single] = mine;
  if (
    single === undefined ||
    mine.length > 1 ||
    others.some((term) => symbols(fromPolynomial([term])).has(only))
  )
    return;
  const factor = divideExactly(fromPolynomial([single]), symbol(only));
  if (factor === undefined || symbols(factor).has(only)) return;
  const quotient = divideExactly(sub(found, fromPolynomial(others)), factor);
  if (quotient !== undefined) b.dims.set(only, quotient);
}

/** Dims that no argument fixed are the caller's of that name. False after a report. */
export function bindRest(b: Binder, names: Iterable<string>, place: Place): boolean {
  for (const name of names) {
    if (b.dims.has(name)) continue;
    if (!b.cx.useDim(name)) {
      report(b.cx, unfixedDim(place, name, b.callee.name));
      return false;
    }
    b.dims.set(name, symbol(name));
  }
  return true;
}

/** Ragged sizes of the result that no argument fixed are new at each call. */
export function bindRagged(b: Binder): void {
  if (b.callee.result === undefined) return;
  const instances = new Set<string>();
  raggedOfType(b.callee.result, instances);
  for (const instance of instances)
    if (!b.ragged.has(instance)) b.ragged.set(instance, freshInstance(b.cx, instance.replace(/[#?].*/, "")));
}

// ---------------------------------------------------------------- dtypes

function bindDtype(
  b: Binder,
  pattern: DTypeRef,
  type: TensorType,
  arg: TypedExpr,
  exact: boolean,
  scale?: BlockScaling,
): boolean {
  const param =
    pattern.kind === "param" ? b.callee.typeParams.find(({ name }) => name === pattern.name) : undefined;
  if (param === undefined) {
    if (!exact || sameDtype(pattern, type.dtype)) return true;
    report(
      b.cx,
      typeMismatch(arg.place, {
        found: printDtype(type.dtype),
        wanted: printDtype(pattern),
        what: "its dtype",
      }),
    );
    return false;
  }
  if (scale !== undefined || isUntyped(arg)) return true;
  const before = b.dtypes.get(param.name);
  const own = type.axes.length > 0 ? type.scale : undefined;
  if (before !== undefined && !b.unwritten.has(param.name)) {
    if (!type.written || (sameDtype(before, type.dtype) && sameScale(b.scales.get(param.name), own)))
      return true;
    report(
      b.cx,
      dtypeConflict(arg.place, {
        param: param.name,
        first: printDtype(before),
        second: printDtype(type.dtype),
      }),
    );
    return false;
  }
  if (before !== undefined && !type.written) return true;
  if (!satisfies(b.cx, type.dtype, own, param.bound)) {
    const integral = classOf(type.dtype, b.cx.bounds) === "int" && param.bound === "float";
    report(
      b.cx,
      classBound(arg.place, {
        param: param.name,
        bound: param.bound,
        found: integral
          ? `${printDtype(type.dtype)}; cast it: f32(..)`
          : printType({ ...type, axes: own === undefined ? [] : type.axes }),
      }),
    );
    return false;
  }
  b.dtypes.set(param.name, type.dtype);
  if (type.written) b.unwritten.delete(param.name);
  else b.unwritten.add(param.name);
  if (own !== undefined) b.scales.set(param.name, own);
  return true;
}

/** What brackets gave, in order: `softmax[T](a)`. */
export function bindNamed(b: Binder, dims: readonly Dim[]): void {
  for (const [i, name] of b.callee.named.entries()) {
    const dim = dims[i];
    if (dim !== undefined) b.dims.set(name, dim);
  }
}

/** The callee's axes as the caller sees them. */
export function seenByCaller(b: Binder, axes: readonly Axis[]): readonly Axis[] {
  return axes.flatMap((axis) => substituteAxis(axis, bindingsOf(b)));
}
