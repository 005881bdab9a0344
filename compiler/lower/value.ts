/**
 * What an expression is while it is lowered: a tensor that can be read at any index, a record, a cache, a
 * routing plan, a module. A scalar is a tensor of no axes.
 *
 * A tensor here is a *view*: index variables and the term that they give. What is only index arithmetic over a
 * node (a reshape, a rename, a split, a read of pages) stays a view; what computes is made a node when a name is
 * given to it (`settle` in tensors.ts).
 */
import { orderedKey, type Dim } from "../types/dim.ts";
import type { Format } from "../types/dtype.ts";
import type { Ref, Scalar } from "../tensor/ir.ts";
import type { BlockScaling, TypedModule } from "../check/typed.ts";
import type { LoopVariable, Terms } from "./terms.ts";

export type Value = TensorValue | RecordValue | CacheValue | PlanValue | ModuleValue;

export interface TensorValue {
  readonly kind: "tensor";
  readonly axes: readonly AxisValue[];
  /** One for each axis; only ever substituted, never looped over by themselves. */
  readonly variables: readonly LoopVariable[];
  readonly element: Element;
  /** The dtype that was written for it, or that of the codes of a block-scaled tensor; f32 where none was. */
  readonly dtype: Format;
  /** False for a float that no type was written for. */
  readonly written: boolean;
  /** True where reading an element again repeats no arithmetic: a node, or index arithmetic over nodes. */
  readonly settled: boolean;
  /** Set for a block-scaled tensor and every view of it: an element is code times scale, not a value of `dtype`. */
  readonly scaling: BlockScaling | undefined;
  /** Codes and scales of a block-scaled tensor that is still as it was made: what an entry returns. */
  readonly parts: ScaledParts | undefined;
}

export interface Element {
  readonly term: Scalar;
  /** Undefined where every element is kept. */
  readonly keep: Scalar | undefined;
}

export interface ScaledParts {
  readonly codes: Ref;
  readonly scales: Ref;
}

/** An axis, in the names of the function that is lowered from. Two are the same axis when their keys agree. */
export interface AxisValue {
  readonly key: string;
  /** The size as the program names it, and as it is known here. */
  readonly dim: Dim;
  readonly extent: Dim;
  /** Set for `R[e]`. */
  readonly ragged: RaggedRows | undefined;
}

/**
 * Where the rows of a ragged axis lie. A tensor `[E, R[E], ..]` is held as `[blocks, align, ..]`: blocks of rows
 * that belong to one expert each, as a dispatch node lays them out.
 */
export interface RaggedRows {
  readonly id: number;
  /** Key of the axis that it depends on. */
  readonly by: string;
  readonly experts: Dim;
  readonly align: Dim;
  readonly blocks: Dim;
  /** No expert has more rows than this. */
  readonly most: Dim;
  /** i32[blocks]; `experts` for a block that is not used. */
  readonly expert: Ref;
  readonly start: Ref;
  readonly count: Ref;
}

export interface RecordValue {
  readonly kind: "record";
  readonly fields: readonly { readonly name: string; readonly value: Value }[];
}

/** `Paged`: one object for each state, whose parts change as the program appends to it. */
export interface CacheValue {
  readonly kind: "cache";
  readonly parts: readonly CachePart[];
  /** Rows of a page, and pages that the table has room for in a sequence. */
  readonly page: Dim;
  readonly slots: Dim;
  /** As the caller gave them: inputs of the graph. */
  readonly table: Ref;
  /** As the caller gave it, and as it is now. */
  readonly initial: Ref;
  length: Ref;
}

/** A part of a cache's rows: codes and their scales where it is scaled by blocks. */
export interface CachePart {
  readonly dtype: Format;
  readonly scaling: BlockScaling | undefined;
  readonly pages: CachePages;
  readonly scales: CachePages | undefined;
}

/** Pages as the caller gave them, and as they are now. */
export interface CachePages {
  readonly initial: Ref;
  now: Ref;
}

export interface PlanValue {
  readonly kind: "plan";
  readonly rows: RaggedRows;
  readonly position: Ref;
  readonly tokens: AxisValue;
  readonly choices: AxisValue;
}

export interface ModuleValue {
  readonly kind: "module";
  readonly module: TypedModule;
  /** `attn.`, or empty for the module of the entry. */
  readonly prefix: string;
  readonly scope: Scope;
  readonly members: Map<string, Value>;
}

/** What the rigid names of a function or a module stand for. */
export interface Scope {
  readonly dims: ReadonlyMap<string, Dim>;
  readonly dtypes: ReadonlyMap<string, ElementType>;
  /** The axes of `...`. */
  readonly pack: readonly AxisValue[];
  readonly ragged: ReadonlyMap<string, RaggedRows>;
}

/** What a dtype parameter stands for. */
export interface ElementType {
  readonly dtype: Format;
  readonly scale: BlockScaling | undefined;
  readonly written: boolean;
}

export function axisOf(dim: Dim, extent: Dim): AxisValue {
  return { key: orderedKey(dim), dim, extent, ragged: undefined };
}

export function raggedAxis(rows: RaggedRows): AxisValue {
  return { key: `ragged ${rows.id}`, dim: rows.most, extent: rows.most, ragged: rows };
}

export function scalarValue(element: Element, dtype: Format, written: boolean): TensorValue {
  return {
    kind: "tensor",
    axes: [],
    variables: [],
    element,
    dtype,
    written,
    settled: true,
    scaling: undefined,
    parts: undefined,
  };
}

/** The element at these indices, which must lie inside. */
export function elementAt(terms: Terms, tensor: TensorValue, index: readonly Scalar[]): Element {
  const by = new Map(tensor.variables.map((v, k) => [v.id, index[k] ?? v.term]));
  return { term: terms.substitute(tensor.element.term, by), keep: terms.substitute(tensor.element.keep, by) };
}

/** Fresh variables for axes, named as the axes are. */
export function variablesFor(terms: Terms, axes: readonly AxisValue[]): readonly LoopVariable[] {
  return axes.map((axis) => terms.variable(axisName(axis), axis.extent, sizeName(axis)));
}

export function axisName(axis: AxisValue): string {
  if (axis.ragged !== undefined) return "row";
  const name = symbolName(axis.dim);
  return name === undefined ? "i" : name.charAt(0).toLowerCase() + name.slice(1);
}

/** The axis's size where that is one name, and one that can be written. */
export function sizeName({ dim, ragged }: AxisValue): string | undefined {
  const isPlain = ragged === undefined && dim.kind === "symbol" && /^[A-Za-z0-9_]+$/.test(dim.name);
  return isPlain ? dim.name : undefined;
}

function symbolName(dim: Dim): string | undefined {
  if (dim.kind === "symbol") return dim.name.replace(/'.*$/, "");
  return undefined;
}

/** A view of a tensor with other axes: `index` gives the tensor's indices from the view's variables. */
export function viewOf(
  terms: Terms,
  tensor: TensorValue,
  axes: readonly AxisValue[],
  index: (variables: readonly Scalar[]) => readonly Scalar[],
): TensorValue {
  const variables = variablesFor(terms, axes);
  const element = elementAt(terms, tensor, index(variables.map((v) => v.term)));
  return { ...tensor, axes, variables, element, parts: undefined };
}

/** A whole node as a tensor. */
export function tensorOf(
  terms: Terms,
  ref: Ref,
  axes: readonly AxisValue[],
  dtype: Format,
  written: boolean,
): TensorValue {
  const variables = variablesFor(terms, axes);
  const term = terms.read(
    ref,
    variables.map((v) => v.term),
  );
  const element = { term, keep: undefined };
  return {
    kind: "tensor",
    axes,
    variables,
    element,
    dtype,
    written,
    settled: true,
    scaling: undefined,
    parts: undefined,
  };
}
