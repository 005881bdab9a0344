/**
 * From a typed function to a tensor graph. Every call is inlined and every name bound: what is left is loops and
 * the structured nodes. Gone with it are records, packs, dtype parameters, masks (an element and its keep bit,
 * until a reduction takes them), block scales (codes times scales), ragged axes (blocks of rows), caches (pages,
 * table, length) and modules.
 *
 * A size that `dims` does not bind stays a symbol of the graph. What the program claims about sizes and their
 * values here do not decide is a check of the graph.
 */
import type { Place, Report } from "../diagnostics/diagnostic.ts";
import {
  badSize,
  opaqueEntry,
  raggedEntry,
  sameName,
  scalingLost,
  unboundType,
  wrongType,
  tooManyAxes,
} from "../diagnostics/lower.ts";
import { constant, DimError, substitute, symbols, type Dim } from "../types/dim.ts";
import { isFloat, takesScales, type Format } from "../types/dtype.ts";
import type { Arena } from "../tensor/arena.ts";
import type { ScaledFactors } from "../tensor/block-scales.ts";
import { namesOfSizes, topological } from "../tensor/graphs.ts";
import type { Graph, Node, Ref } from "../tensor/ir.ts";
import type { BlockScaling, Type, TypedFn, TypedModule, TypedProgram } from "../check/typed.ts";
import { entryPack, type PackAxes } from "./entry-pack.ts";
import { contractionOf, inlineFunction, runOfSums, scaledOf } from "./calls.ts";
import { lowerExpression } from "./expressions.ts";
import type { DerivedCall, Forms, Frame, Lowering } from "./frame.ts";
import { input, inputValue } from "./members.ts";
import { canCross, packRows, raggedAxesOf, raggedInputs, type MakeInput } from "./ragged-border.ts";
import { Refusal } from "./refusal.ts";
import { Terms } from "./terms.ts";
import { storeWhole } from "./tensors.ts";
import type { ElementType, ModuleValue, RaggedRows, Scope, Value } from "./value.ts";

export interface LowerOptions {
  /** Sizes that are known; others stay symbolic. */
  readonly dims: ReadonlyMap<string, number>;
  /** What the dtype parameters of the function and its module stand for. */
  readonly dtypes: ReadonlyMap<string, Format | ScaledType>;
  /** The axes that `...` in the signature stands for. */
  readonly pack?: PackAxes | undefined;
  readonly arena: Arena;
  readonly report: Report;
  /** Told of each sum whose factors `numerics` lets be scaled by block. */
  readonly onScaled?: (node: Node, asked: ScaledFactors) => void;
  /** `forms` of compiler/passes/forms.ts. */
  readonly forms: Forms;
  /** Calls of derived functions are added here, with what their forms cost. */
  readonly derived?: DerivedCall[] | undefined;
  /** Rows of a block of routed rows, which belongs to one expert; 64 where it is not said. */
  readonly align?: number;
  /** `file:line:column` of a place, for the messages of size checks; without it they name the file. */
  readonly locate?: (place: Place) => string;
}

export interface ScaledType {
  readonly dtype: Format;
  readonly scale: BlockScaling;
}

export const defaultAlign = 64;

/** The graph of a function, or undefined with the reasons in the report. */
export function lowerFunction(program: TypedProgram, fn: TypedFn, options: LowerOptions): Graph | undefined {
  const { report, arena } = options;
  const before = report.diagnostics.length;
  try {
    const graph = lowerEntry(program, fn, options);
    const failed = report.diagnostics.slice(before).some((d) => d.severity === "error");
    return failed || graph === undefined ? undefined : arena.graph(graph);
  } catch (problem) {
    if (problem instanceof Refusal) report.add(problem.diagnostic);
    else if (problem instanceof DimError) report.add(badSize(problem.message, fn.place));
    else throw problem;
    return undefined;
  }
}

function lowerEntry(program: TypedProgram, fn: TypedFn, options: LowerOptions): Graph | undefined {
  const { report, arena } = options;
  const types = entryTypes(fn, options);
  if (types === undefined || !bordersAreOpen(fn, report)) return undefined;
  const cx: Lowering = {
    arena,
    report,
    program,
    terms: new Terms(arena),
    align: options.align ?? defaultAlign,
    extents: entryExtents(program, options.dims),
    checks: new Map(),
    inputs: new Set(),
    caches: [],
    unnamed: [],
    zeroPadded: new Map(),
    fresh: 0,
    locate: options.locate ?? ((place) => place.file),
    onScaled: options.onScaled,
    forms: options.forms,
    derived: options.derived,
    evaluate: lowerExpression,
  };
  const plain: Scope = { dims: new Map(), dtypes: types, pack: [], ragged: new Map() };
  const leading = entryPack(cx, fn, plain, options.pack);
  if (leading === undefined) return undefined;
  const frame = entryFrame(cx, program, fn, { ...plain, pack: leading });
  const value = inlineFunction(cx, fn, frame);
  if (report.failed) return undefined;
  const results: { name: string; value: Ref }[] = [];
  storeResults(cx, fn, frame, fn.result, value, undefined, results);
  for (const { ref, name } of cx.unnamed) arena.setHint(ref, name);
  const graph = graphOf(cx, fn, results);
  checkAxes(cx, fn, graph);
  return report.failed ? undefined : graph;
}

/** Passes split axes and keep sets of them as bits: loops are held to fewer than these would take. */
const maxAxes = 24;

function checkAxes({ arena, report }: Lowering, fn: TypedFn, graph: Graph): void {
  for (const node of topological(graph)) {
    if (node.kind !== "loop" && node.kind !== "scatter") continue;
    const count = node.axes.length + (node.kind === "loop" ? node.over.length : 0);
    if (count > maxAxes) report.add(tooManyAxes(count, maxAxes, arena.place(node) ?? fn.place));
  }
}

function graphOf(cx: Lowering, fn: TypedFn, results: Graph["results"]): Graph {
  const updates = cx.caches.flatMap(({ parts, initial, length }) => {
    const pages = parts.flatMap((part) =>
      part.scales === undefined ? [part.pages] : [part.pages, part.scales],
    );
    return [...pages, { initial, now: length }].flatMap(({ initial: { node: input }, now: value }) =>
      input.kind === "input" && value.node !== input ? [{ input, value }] : [],
    );
  });
  const name = fn.module === undefined ? fn.name : `${fn.module.name}_${fn.name}`;
  const inputs = [...cx.inputs];
  const checks = [...cx.checks.values()];
  const known = new Set<string>();
  for (const input of inputs) {
    for (const type of input.types) for (const dim of type.shape) symbols(dim, known);
  }
  const graph: Graph = { name, inputs, results, updates, dims: [], checks };
  namesOfSizes(graph, known);
  for (const check of checks) for (const dim of [check.left, check.right]) symbols(dim, known);
  return { ...graph, dims: [...known] };
}

// ---------------------------------------------------------------- the entry's names

/** Constant dims of the file and the sizes given, each in terms of what stays symbolic. */
function entryExtents(program: TypedProgram, given: ReadonlyMap<string, number>): Map<string, Dim> {
  const extents = new Map<string, Dim>();
  for (const [name, value] of given) extents.set(name, constant(value));
  for (const [name, dim] of program.dimValues) if (!extents.has(name)) extents.set(name, dim);
  // A constant may be written in others; they are declared without cycles, so this ends.
  for (const [name, dim] of extents) extents.set(name, resolve(dim, extents));
  return extents;
}

function resolve(dim: Dim, extents: ReadonlyMap<string, Dim>): Dim {
  let [now, next] = [dim, substitute(dim, extents)];
  for (let round = 0; round < extents.size && next !== now; round++)
    [now, next] = [next, substitute(next, extents)];
  return next;
}

function entryTypes(fn: TypedFn, options: LowerOptions): ReadonlyMap<string, ElementType> | undefined {
  const types = new Map<string, ElementType>();
  const params = [...(fn.module?.typeParams ?? []), ...fn.typeParams];
  for (const { name, bound } of params) {
    const given = options.dtypes.get(name);
    if (given === undefined) {
      options.report.add(unboundType(fn.name, name, bound, fn.place));
      continue;
    }
    const [dtype, scale] = typeof given === "string" ? [given, undefined] : [given.dtype, given.scale];
    const fits =
      bound === "int"
        ? !isFloat(dtype) && dtype !== "bool"
        : isFloat(dtype) && (scale === undefined || (bound === "weight" && takesScales(dtype)));
    if (!fits)
      options.report.add(
        wrongType(
          name,
          bound,
          scale === undefined ? dtype : `${dtype} @ (${scale.block.join(", ")})`,
          fn.place,
        ),
      );
    types.set(name, { dtype, scale, written: true });
  }
  return options.report.failed ? undefined : types;
}

/** False, with the reason said, where a value of the signature cannot cross the border of what is compiled. */
function bordersAreOpen(fn: TypedFn, report: Report): boolean {
  let open = true;
  const refuse = (add: () => void): void => {
    add();
    open = false;
  };
  const visit = (name: string, type: Type, result: boolean): void => {
    if (type.kind === "record") for (const field of type.fields) visit(field.name, field.type, result);
    if (type.kind === "plan")
      refuse(() => report.add(opaqueEntry(fn.name, name, "a routing plan", fn.place)));
    if (type.kind === "module") refuse(() => report.add(opaqueEntry(fn.name, name, "a module", fn.place)));
    if (type.kind === "paged" && result)
      refuse(() => report.add(opaqueEntry(fn.name, name, "a cache", fn.place)));
    if (type.kind !== "tensor") return;
    if (!canCross(type)) refuse(() => report.add(raggedEntry(fn.name, name, fn.place)));
  };
  const members = (module: TypedModule, prefix: string): void => {
    for (const { name, type } of module.params) {
      if (type.kind === "module") members(type.module, `${prefix}${name}.`);
      else if (raggedAxesOf(type).length > 0)
        refuse(() => report.add(raggedEntry(fn.name, prefix + name, fn.place)));
    }
  };
  if (fn.module !== undefined) members(fn.module, "");
  for (const param of fn.params) visit(param.name, param.type, false);
  visit("the result", fn.result, true);
  return open;
}

function entryFrame(cx: Lowering, program: TypedProgram, fn: TypedFn, given: Scope): Frame {
  const self: ModuleValue | undefined =
    fn.module === undefined
      ? undefined
      : { kind: "module", module: fn.module, prefix: "", scope: given, members: new Map() };
  const params = new Map<string, Value>();
  const taken = new Set(
    [...(fn.module?.params ?? []), ...(fn.module?.states ?? [])].map((member) => member.name),
  );
  const make: MakeInput = (name, dtype, shape) => input(cx, name, "argument", dtype, shape);
  const ragged = raggedInputs(cx, fn, given, make);
  const scope: Scope = { ...given, ragged };
  for (const param of fn.params) {
    if (taken.has(param.name)) cx.report.add(sameName(param.name, param.place));
    params.set(param.name, inputValue(cx, scope, param.type, param.name, "argument"));
  }
  return {
    fn,
    dims: new Map(),
    dtypes: scope.dtypes,
    pack: scope.pack,
    ragged: new Map(ragged),
    params,
    locals: new Map(),
    indices: new Map(),
    packIndex: new Map(),
    self,
    contraction: contractionOf(program, fn) ?? "by type",
    every: runOfSums(program, fn),
    scaled: scaledOf(program, fn),
  };
}

// ---------------------------------------------------------------- results

/** Names of results: their fields in the signature, or `out`. */
function storeResults(
  cx: Lowering,
  fn: TypedFn,
  frame: Frame,
  type: Type,
  value: Value,
  path: string | undefined,
  results: { name: string; value: Ref }[],
): void {
  if (value.kind === "record" && type.kind === "record") {
    for (const field of type.fields) {
      const own = value.fields.find((f) => f.name === field.name);
      const name = path === undefined ? field.name : `${path}.${field.name}`;
      if (own !== undefined) storeResults(cx, fn, frame, field.type, own.value, name, results);
    }
    return;
  }
  if (value.kind !== "tensor") return;
  const name = path ?? "out";
  if (value.scaling !== undefined && type.kind === "tensor" && resultIsScaled(frame, type)) {
    if (value.parts === undefined) cx.report.add(scalingLost(fn.place));
    else
      results.push({ name, value: value.parts.codes }, { name: `${name}.scale`, value: value.parts.scales });
    return;
  }
  const [rows] = value.axes.flatMap((axis) => axis.ragged ?? []);
  if (rows === undefined) {
    results.push({ name, value: storeWhole(cx, value, name, fn.place) });
    return;
  }
  results.push({ name, value: packRows(cx, value, name) });
  const [ragged] = raggedAxesOf(type);
  // Counts that came in are known to the caller.
  if (ragged === undefined || isGiven(fn, frame, rows)) return;
  const counts = ragged.axis.name;
  const before = results.find((result) => result.name === counts);
  if (before === undefined) results.push({ name: counts, value: rows.count });
  else if (before.value !== rows.count) cx.report.add(raggedEntry(fn.name, name, fn.place));
}

/** Whether the rows are those of a parameter. */
function isGiven(fn: TypedFn, frame: Frame, rows: RaggedRows): boolean {
  return fn.params.some(({ type }) =>
    raggedAxesOf(type).some(({ axis }) => frame.ragged.get(axis.instance) === rows),
  );
}

function resultIsScaled(frame: Frame, type: Extract<Type, { kind: "tensor" }>): boolean {
  if (type.scale !== undefined) return true;
  return type.dtype.kind === "param" && frame.dtypes.get(type.dtype.name)?.scale !== undefined;
}
