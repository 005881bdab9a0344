/**
 * What holds while one function is lowered: `Lowering` for the whole entry, a `Frame` for each call that is
 * inlined. A frame says what the rigid names of its function stand for: dims and ragged instances in the names of
 * the entry, dtypes, the axes of `...`.
 *
 * A size has two faces. Its *name*, a `Dim` over the entry's symbols, is what makes two axes the same one; its
 * *extent* is what is known of the number. `S` and `T` stay two axes after `x[S as T]`, with one extent.
 */
import type { Place, Report } from "../diagnostics/diagnostic.ts";
import { invariant } from "../diagnostics/diagnostic.ts";
import { substitute, symbol, type Dim } from "../types/dim.ts";
import type { Rounding } from "../types/dtype.ts";
import type { Arena } from "../tensor/arena.ts";
import type { ScaledFactors } from "../tensor/block-scales.ts";
import type { InputNode, Node, Ref, Scalar, SizeCheck } from "../tensor/ir.ts";
import type {
  Axis,
  DTypeRef,
  IndexVariable,
  TypedExpr,
  TypedFn,
  TypedProgram,
  Variable,
} from "../check/typed.ts";
import type { Terms } from "./terms.ts";
import {
  axisOf,
  raggedAxis,
  type AxisValue,
  type CacheValue,
  type ElementType,
  type ModuleValue,
  type RaggedRows,
  type Scope,
  type Value,
} from "./value.ts";

/** The rewrite of sums of products that `derive` asks for; a pass over nodes, handed in because passes are no part of lowering. */
export type Reassociate = (
  arena: Arena,
  roots: readonly Ref[],
  step: {
    /** The weight that moves: one ref, or codes and scales. */
    readonly factor: readonly Ref[];
    readonly where: "into" | "after";
    readonly target: readonly Ref[];
    /** Nodes that came from outside what is rewritten. */
    readonly outside: ReadonlySet<Node>;
    readonly rounding: "contraction" | "exact";
  },
) =>
  | { readonly kind: "done"; readonly find: (ref: Ref) => Ref }
  | { readonly kind: "refused"; readonly why: string };

/** What a form of a function costs. */
export interface FormCost {
  readonly flops: Dim;
  readonly bytes: Dim;
}

/** The rewrite that makes a derived form, and what forms cost: `forms` of compiler/passes/forms.ts. */
export interface Forms {
  readonly reassociate: Reassociate;
  /** Of what makes `roots` from the nodes outside. */
  readonly costOfForm: (arena: Arena, roots: readonly Ref[], outside: ReadonlySet<Node>) => FormCost;
  readonly isCheaper: (a: FormCost, b: FormCost) => boolean;
}

/** A call of a derived function: what both forms cost there, and which one is taken. */
export interface DerivedCall {
  readonly name: string;
  readonly from: string;
  readonly place: Place;
  readonly cost: { readonly from: FormCost; readonly derived: FormCost };
  readonly taken: "from" | "derived";
}

export interface Lowering {
  readonly arena: Arena;
  readonly terms: Terms;
  readonly report: Report;
  readonly program: TypedProgram;
  /** Rows of a block that belongs to one expert. */
  readonly align: number;
  /** `file:line:column` of a place, for messages that are kept until launch. */
  readonly locate: (place: Place) => string;
  /** What is known of the entry's symbols; a symbol that is not here stays one. */
  readonly extents: Map<string, Dim>;
  readonly checks: Map<string, SizeCheck>;
  /** Inputs in the order of their first mention. */
  readonly inputs: Set<InputNode>;
  /** Caches in the order of their first mention, for the updates. */
  readonly caches: CacheValue[];
  /** Nodes that no `let` names in the end get these names. */
  readonly unnamed: { readonly ref: Ref; readonly name: string }[];
  /** Tensors of ragged rows by what has the same, but 0 in the rows of padding. */
  readonly zeroPadded: Map<Ref, Ref>;
  /** Symbols made for renames and ragged rows: names that nobody can write. */
  fresh: number;
  /** Told of each sum whose factors may be scaled by block. */
  readonly onScaled: ((node: Node, asked: ScaledFactors) => void) | undefined;
  readonly forms: Forms;
  /** Where calls of derived functions are told of. */
  readonly derived: DerivedCall[] | undefined;
  readonly evaluate: (cx: Lowering, expr: TypedExpr, frame: Frame) => Value;
}

export interface Frame extends Scope {
  readonly fn: TypedFn;
  readonly dims: Map<string, Dim>;
  readonly ragged: Map<string, RaggedRows>;
  readonly params: ReadonlyMap<string, Value>;
  readonly locals: Map<Variable, Value>;
  readonly indices: Map<IndexVariable, Scalar>;
  /** Where the innermost `for ...` stands, by axis key. */
  packIndex: ReadonlyMap<string, Scalar>;
  readonly self: ModuleValue | undefined;
  readonly contraction: ContractionRule;
  /** As a carrier has it: what `numerics` says of sums of 8-bit products. */
  readonly every: number | undefined;
  /** What `numerics` says of factors that are scaled by block. */
  readonly scaled: ScaledFactors | undefined;
}

/**
 * How factors of contractions are rounded: by the types that were written for them, or the left and the right one as
 * `numerics` says; to f32 is not at all.
 */
export type ContractionRule = "by type" | { readonly left: Rounding; readonly right: Rounding };

export type { Scope };

/** A size of the frame's function in the entry's names. */
export function nameOf(scope: Scope, dim: Dim): Dim {
  return scope.dims.size === 0 ? dim : substitute(dim, scope.dims);
}

/** What is known of a size in the entry's names. */
export function extentOf(cx: Lowering, name: Dim): Dim {
  return substitute(name, cx.extents);
}

export function sizeIn(cx: Lowering, scope: Scope, dim: Dim): AxisValue {
  const name = nameOf(scope, dim);
  return axisOf(name, extentOf(cx, name));
}

/** The axes that a type of the frame's function has, `...` in full. */
export function axesIn(
  cx: Lowering,
  scope: Scope,
  axes: readonly Axis[],
  pack: readonly AxisValue[] = scope.pack,
): AxisValue[] {
  return axes.flatMap((axis) => {
    switch (axis.kind) {
      case "pack":
        return pack;
      case "dim":
        return [sizeIn(cx, scope, axis.dim)];
      case "ragged":
        return [raggedAxis(raggedIn(scope, axis.instance))];
    }
  });
}

export function raggedIn(scope: Scope, instance: string): RaggedRows {
  const rows = scope.ragged.get(instance);
  invariant(rows !== undefined, `the ragged axis '${instance}' has no rows`);
  return rows;
}

export function elementType(scope: Scope, ref: DTypeRef): ElementType {
  if (ref.kind === "dtype") return { dtype: ref.dtype, scale: undefined, written: true };
  const bound = scope.dtypes.get(ref.name);
  invariant(bound !== undefined, `the type '${ref.name}' is not bound`);
  return bound;
}

/** A symbol for a size that the program names `name`, apart from every other. */
export function freshSymbol(cx: Lowering, name: string): Dim {
  cx.fresh += 1;
  return symbol(`${name}'${cx.fresh}`);
}

/** The axes of the pack in a value, whose type in the function has `...` at one place. */
export function packOf(value: readonly AxisValue[], type: readonly Axis[]): readonly AxisValue[] {
  const at = type.findIndex((axis) => axis.kind === "pack");
  return at < 0 ? [] : value.slice(at, value.length - (type.length - at - 1));
}
