/** Types from syntax. */
import type { AxisExpr, NamedType, TypeExpr } from "../../grammar/ast.ts";
import { blockScale, notASize, packMisplaced, raggedMismatch } from "../diagnostics/axes.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { noMeshYet } from "../diagnostics/directives.ts";
import { unknownName, unknownType } from "../diagnostics/names.ts";
import { argumentCount, classBound, typeMismatch } from "../diagnostics/values.ts";
import { type Dim, symbol } from "../types/dim.ts";
import { customFloats, dtypes, isFormat, isFloat, takesScales } from "../types/dtype.ts";
import { dimAxis, dtypeRef, errorType } from "./axes.ts";
import { type Entity, isCapital, type ModuleEntity, placeOf } from "./scope.ts";
import { resolveDim, type SizeContext } from "./sizes.ts";
import type { Axis, Bindings, BlockScaling, DTypeRef, PagedPart, TypedModule, Type } from "./typed.ts";

export interface TypeContext extends SizeContext {
  /** Type parameters in scope with their bounds. */
  readonly bounds: ReadonlyMap<string, string>;
  /** What the ragged size stands for here, or a free name that the first value written with it fixes. */
  raggedInstance(name: string): string;
  moduleHeader(module: ModuleEntity): TypedModule | undefined;
}

export function resolveType(cx: TypeContext, t: TypeExpr): Type {
  switch (t.kind) {
    case "error-type":
      return errorType;
    case "tuple-type":
      return {
        kind: "record",
        fields: t.fields.map(({ name, type }) => ({ name: name.text, type: resolveType(cx, type) })),
      };
    case "type":
      return resolveNamed(cx, t);
  }
}

function resolveNamed(cx: TypeContext, t: NamedType): Type {
  const name = t.name.text;
  const entity: Entity | undefined = cx.scope.names.get(name);
  if (isFormat(name) || cx.bounds.has(name))
    return resolveTensor(cx, t, isFormat(name) ? dtypeRef(name) : { kind: "param", name });
  if (entity?.kind === "module") return resolveModule(cx, t, entity);
  if (name === "Paged") return resolvePaged(cx, t);
  if (name === "Plan") return resolvePlan(cx, t);
  cx.scope.report.add(unknownType(placeOf(cx.scope, t.name.span), name, typeNames(cx)));
  return errorType;
}

function* typeNames(cx: TypeContext): Generator<string> {
  yield* Object.keys(dtypes);
  yield* customFloats;
  yield* cx.bounds.keys();
  yield* ["Paged", "Plan"];
  for (const [name, entity] of cx.scope.names) if (entity.kind === "module") yield name;
}

function resolveTensor(cx: TypeContext, t: NamedType, dtype: DTypeRef): Type {
  if (t.args.length > 0) {
    cx.scope.report.add(
      argumentCount(placeOf(cx.scope, t.span), {
        callee: t.name.text,
        wanted: "no type arguments",
        found: t.args.length,
      }),
    );
    return errorType;
  }
  const axes = resolveAxes(cx, t.axes ?? []);
  if (axes === undefined) return errorType;
  const scale = t.scale === undefined ? undefined : resolveScale(cx, t, dtype, axes);
  if (scale === "error") return errorType;
  return { kind: "tensor", dtype, axes, scale, written: true, masked: false };
}

/** Undefined after a report. */
export function resolveAxes(cx: TypeContext, list: readonly AxisExpr[]): Axis[] | undefined {
  const axes: Axis[] = [];
  let failed = false;
  for (const [i, axis] of list.entries()) {
    const resolved = axis.kind === "pack" ? resolvePack(cx, axis, i) : resolveAxis(cx, axis);
    if (resolved === undefined) failed = true;
    else axes.push(resolved);
  }
  return failed ? undefined : axes;
}

function resolvePack(cx: TypeContext, axis: AxisExpr, at: number): Axis | undefined {
  if (at === 0) return { kind: "pack" };
  cx.scope.report.add(
    packMisplaced(placeOf(cx.scope, axis.span), "'...' stands for leading axes, so it comes first"),
  );
  return undefined;
}

function resolveAxis(cx: TypeContext, axis: Extract<AxisExpr, { kind: "axis" }>): Axis | undefined {
  const place = placeOf(cx.scope, axis.span);
  if (axis.mesh !== undefined) {
    const mesh = axis.mesh.text;
    if (cx.scope.meshes.has(mesh)) cx.scope.report.add(noMeshYet(place, `placement '@ ${mesh}'`));
    else cx.scope.report.add(unknownName(placeOf(cx.scope, axis.mesh.span), mesh, cx.scope.meshes));
    return undefined;
  }
  const { dim } = axis;
  if (dim.kind === "index" && dim.value.kind === "name") return resolveRagged(cx, axis, dim.value.name.text);
  if (dim.kind === "name" && cx.scope.ragged.has(dim.name.text)) {
    const by = cx.scope.ragged.get(dim.name.text) ?? "";
    cx.scope.report.add(
      raggedMismatch(
        place,
        `the ragged size '${dim.name.text}' depends on ${by}`,
        `write ${dim.name.text}[${by}]`,
      ),
    );
    return undefined;
  }
  const size = resolveDim(cx, dim, "exact");
  if (size === undefined) return undefined;
  if (size.kind === "const" && size.value < 1) {
    cx.scope.report.add(notASize(place, `${size.value}`));
    return undefined;
  }
  return dimAxis(size);
}

function resolveRagged(
  cx: TypeContext,
  axis: Extract<AxisExpr, { kind: "axis" }>,
  name: string,
): Axis | undefined {
  const place = placeOf(cx.scope, axis.span);
  const declared = cx.scope.ragged.get(name);
  const part = axis.dim.kind === "index" && axis.dim.indices.length === 1 ? axis.dim.indices[0] : undefined;
  if (declared === undefined) {
    cx.scope.report.add(
      raggedMismatch(place, `'${name}' is not declared as a ragged size`, `declare it: dim ${name}[..]`),
    );
    return undefined;
  }
  const by = part?.kind === "at" ? resolveDim(cx, part.value, "exact") : undefined;
  if (by === undefined) return undefined;
  if (by.kind !== "symbol" || by.name !== declared) {
    cx.scope.report.add(
      raggedMismatch(place, `the ragged size '${name}' depends on ${declared}`, `write ${name}[${declared}]`),
    );
    return undefined;
  }
  return { kind: "ragged", name, instance: cx.raggedInstance(name), by };
}

function resolveScale(
  cx: TypeContext,
  t: NamedType,
  dtype: DTypeRef,
  axes: readonly Axis[],
): BlockScaling | "error" {
  const { scale } = t;
  const place = placeOf(cx.scope, scale?.span ?? t.span);
  const fail = (message: string): "error" => {
    cx.scope.report.add(blockScale(place, message));
    return "error";
  };
  if (scale === undefined) return "error";
  if (dtype.kind === "param" || !isFloat(dtype.dtype))
    return fail(`'${t.name.text}' cannot carry block scales`);
  if (!takesScales(dtype.dtype)) return fail(`'${t.name.text}' has the range of f32, and no scales`);
  if (scale.block.some((n) => !Number.isSafeInteger(n) || n < 1 || n > 2 ** 20))
    return fail("a block's extents are whole numbers from 1 to 2^20");
  if (t.axes !== undefined && scale.block.length > axes.filter((axis) => axis.kind === "dim").length) {
    return fail(`a block over ${scale.block.length} axes does not fit ${axes.length}`);
  }
  const format = scale.format?.text ?? "f32";
  if (format !== "f32" && format !== "ue8m0") return fail(`a scale is f32 or ue8m0, not '${format}'`);
  return { block: scale.block, format };
}

/** A type argument such as `e4m3 @ (1, 128)`: a dtype with its scaling, of no axes. */
export function resolveElement(
  cx: TypeContext,
  t: TypeExpr,
): { readonly dtype: DTypeRef; readonly scale: BlockScaling | undefined } | undefined {
  if (t.kind === "error-type") return undefined;
  if (
    t.kind === "type" &&
    (isFormat(t.name.text) || cx.bounds.has(t.name.text)) &&
    t.axes === undefined &&
    t.args.length === 0
  ) {
    const dtype: DTypeRef = isFormat(t.name.text)
      ? dtypeRef(t.name.text)
      : { kind: "param", name: t.name.text };
    const scale = t.scale === undefined ? undefined : resolveScale(cx, t, dtype, []);
    return scale === "error" ? undefined : { dtype, scale };
  }
  if (t.kind === "type" && t.axes === undefined && !isFormat(t.name.text)) resolveNamed(cx, t);
  else
    cx.scope.report.add(
      typeMismatch(placeOf(cx.scope, t.span), { found: "not a dtype", wanted: "a dtype such as bf16" }),
    );
  return undefined;
}

// ---------------------------------------------------------------- built-in types

function resolvePaged(cx: TypeContext, t: NamedType): Type {
  const elements = t.args.slice(0, -1);
  const rows = t.args.at(-1);
  const place = placeOf(cx.scope, t.span);
  if (elements.length === 0 || rows === undefined || t.axes?.length !== elements.length + 2) {
    const wanted = "Paged<dtype, rows of a page>[B, T, C], with as many dtypes as a row has parts";
    cx.scope.report.add(typeMismatch(place, { found: "not complete", wanted }));
    return errorType;
  }
  const types = elements.map((element) => pagedElement(cx, element, place));
  const page = sizeArgument(cx, rows);
  const [batch, length, ...widths] = resolveAxes(cx, t.axes) ?? [];
  const parts = types.flatMap((type, k): PagedPart[] => {
    const width = widths[k];
    return type === undefined || width?.kind !== "dim" ? [] : [{ ...type, width: width.dim }];
  });
  if (page === undefined || batch?.kind !== "dim" || length?.kind !== "dim" || parts.length < types.length)
    return errorType;
  return { kind: "paged", parts, page, batch: batch.dim, length: length.dim };
}

/** A part of a cache's rows. Its scales are of blocks along the row, for rows come one at a time. */
function pagedElement(
  cx: TypeContext,
  element: NamedType["args"][number],
  place: Place,
): Omit<PagedPart, "width"> | undefined {
  if (!isTypeExpr(element)) {
    cx.scope.report.add(typeMismatch(place, { found: "not a dtype", wanted: "a dtype such as bf16" }));
    return undefined;
  }
  const type = resolveElement(cx, element);
  if (type?.scale !== undefined && type.scale.block.length !== 1) {
    cx.scope.report.add(blockScale(place, "rows of a cache have scales along themselves: e4m3 @ (128)"));
    return undefined;
  }
  if (type?.dtype.kind === "param" && cx.bounds.get(type.dtype.name) === "weight") {
    const found = `${type.dtype.name}, a weight`;
    cx.scope.report.add(typeMismatch(place, { found, wanted: "a dtype or a type parameter of floats" }));
    return undefined;
  }
  return type;
}

/** A size among type arguments: `64`, or a name, which the parser takes for a type. */
function sizeArgument(cx: TypeContext, argument: NamedType["args"][number]): Dim | undefined {
  if (!isTypeExpr(argument)) return resolveDim(cx, argument, "exact");
  if (argument.kind !== "type" || argument.axes !== undefined) {
    cx.scope.report.add(notASize(placeOf(cx.scope, argument.span), "this"));
    return undefined;
  }
  return resolveDim(cx, { kind: "name", name: argument.name, span: argument.span }, "exact");
}

function isTypeExpr(argument: NamedType["args"][number]): argument is TypeExpr {
  return argument.kind === "type" || argument.kind === "tuple-type" || argument.kind === "error-type";
}

function resolvePlan(cx: TypeContext, t: NamedType): Type {
  const axes = resolveAxes(cx, t.axes ?? []);
  const [rows, choices, experts] = axes ?? [];
  if (axes?.length !== 3 || rows?.kind !== "dim" || choices?.kind !== "dim" || experts?.kind !== "dim") {
    if (axes !== undefined)
      cx.scope.report.add(
        typeMismatch(placeOf(cx.scope, t.span), { found: "not complete", wanted: "Plan[N, K, E]" }),
      );
    return errorType;
  }
  const by = experts.dim.kind === "symbol" ? experts.dim.name : "";
  const ragged = [...cx.scope.ragged].find(([, on]) => on === by)?.[0] ?? `R[${by}]`;
  return {
    kind: "plan",
    rows: rows.dim,
    choices: choices.dim,
    experts: experts.dim,
    instance: cx.raggedInstance(ragged),
  };
}

function resolveModule(cx: TypeContext, t: NamedType, entity: ModuleEntity): Type {
  const place = placeOf(cx.scope, t.span);
  const header = cx.moduleHeader(entity);
  if (header === undefined) return errorType;
  const params = header.typeParams;
  if (t.args.length !== params.length || t.axes !== undefined || t.scale !== undefined) {
    const wanted =
      params.length === 0 ? "no type arguments" : `<${params.map(({ name }) => name).join(", ")}>`;
    cx.scope.report.add(argumentCount(place, { callee: t.name.text, wanted, found: t.args.length }));
    return errorType;
  }
  const types = new Map<string, DTypeRef>();
  const scales = new Map<string, BlockScaling>();
  for (const [i, param] of params.entries()) {
    const argument = t.args[i];
    const element = argument !== undefined && isTypeExpr(argument) ? resolveElement(cx, argument) : undefined;
    if (element === undefined) return errorType;
    if (!satisfies(cx, element.dtype, element.scale, param.bound)) {
      cx.scope.report.add(
        classBound(place, {
          param: param.name,
          bound: param.bound,
          found: element.dtype.kind === "param" ? element.dtype.name : element.dtype.dtype,
        }),
      );
      return errorType;
    }
    types.set(param.name, element.dtype);
    if (element.scale !== undefined) scales.set(param.name, element.scale);
  }
  const dims = moduleDims(cx, header.dims, entity);
  for (const [name, dim] of dims) if (dim.kind === "symbol" && dim.name === name) cx.useDim(name);
  const bindings: Bindings = {
    dims,
    dtypes: types,
    unwritten: new Set(),
    scales,
    pack: undefined,
    ragged: new Map(),
  };
  return { kind: "module", module: header, bindings };
}

/** A module's sizes are the holder's of their names, but for those to which its own file gives a value. */
function moduleDims(
  cx: TypeContext,
  names: readonly string[],
  entity: ModuleEntity,
): ReadonlyMap<string, Dim> {
  const dims = new Map<string, Dim>(names.map((name) => [name, symbol(name)]));
  if (entity.scope.file === cx.scope.file) return dims;
  for (const [name, { value }] of entity.scope.dims) if (value !== undefined) dims.set(name, value);
  return dims;
}

export function satisfies(
  cx: { readonly bounds: ReadonlyMap<string, string> },
  dtype: DTypeRef,
  scale: BlockScaling | undefined,
  bound: string,
): boolean {
  if (dtype.kind === "param") {
    const own = cx.bounds.get(dtype.name);
    return own === bound || (bound === "weight" && own === "float");
  }
  if (bound === "int") return !isFloat(dtype.dtype) && dtype.dtype !== "bool";
  return isFloat(dtype.dtype) && (bound === "weight" || scale === undefined);
}

/** A capital name that a type position reads as a size. */
export function isDimName(cx: TypeContext, name: string): boolean {
  return isCapital(name) && !cx.bounds.has(name) && !cx.scope.names.has(name);
}
