/**
 * The typed tree: what the checker hands to `lower/`. Names are resolved, every expression has a type, sugar
 * is gone. Functions stay generic: their dims, dtypes and the axis pack `...` are rigid names, which a call
 * binds and `lower/` substitutes while it inlines.
 *
 * What the checker has taken away, so that `lower/` need not know it: whole-tensor operators and scalar
 * functions over tensors (they are `for` with generated index variables), `mean`, `logsumexp` and `argmax`
 * stay reductions by name, parentheses, argument defaults (they are filled in), untyped literals (they have
 * the dtype they met), implicit integer casts (they are `cast`).
 */
import type { PipelineDecl } from "../../grammar/ast.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import type { Dim } from "../types/dim.ts";
import type { DType, Format, Rounding } from "../types/dtype.ts";

// ---------------------------------------------------------------- types

/** A dtype, or a rigid type parameter of the function or module around. */
export type DTypeRef =
  { readonly kind: "dtype"; readonly dtype: Format } | { readonly kind: "param"; readonly name: string };

export type Axis =
  | { readonly kind: "dim"; readonly dim: Dim }
  /** `...`: any leading axes; bound by a call to a list of axes. */
  | { readonly kind: "pack" }
  /**
   * `R[e]` rows for each index of the axis `by`. Two ragged axes are equal when both `instance`s are: each
   * `dispatch` makes a new one, a signature's `R` is rigid and is bound by the call. An `R` that only the result
   * names has the instance `?R`, which a call's bindings map to a new one.
   */
  | { readonly kind: "ragged"; readonly name: string; readonly instance: string; readonly by: Dim };

export interface BlockScaling {
  /** Block extents over the last axes, for example `[128, 128]`. */
  readonly block: readonly number[];
  readonly format: "f32" | "ue8m0";
}

export interface TensorType {
  readonly kind: "tensor";
  readonly dtype: DTypeRef;
  /** Empty for a scalar. */
  readonly axes: readonly Axis[];
  /** Also on the scalar that a read of a block-scaled tensor gives: its value is code times scale. */
  readonly scale: BlockScaling | undefined;
  /** False for a float that no type was written for: it carries f32 and a contraction may round it. */
  readonly written: boolean;
  /**
   * True where each element carries a keep bit, from `where`. In a generic body this is what the body alone says:
   * a parameter `A[..]` may carry keep bits that its argument brings. A function's result never does.
   */
  readonly masked: boolean;
}

export interface RecordType {
  readonly kind: "record";
  readonly fields: readonly { readonly name: string; readonly type: Type }[];
}

/** `Paged<A, P>[B, T, C]`, or of rows in several parts `Paged<A1, A2, P>[B, T, C1, C2]`. */
export interface PagedType {
  readonly kind: "paged";
  /** What a row is made of, one after the other; not empty. */
  readonly parts: readonly PagedPart[];
  /** Rows of a page. */
  readonly page: Dim;
  readonly batch: Dim;
  readonly length: Dim;
}

export interface PagedPart {
  readonly dtype: DTypeRef;
  /** Blocks along the row. */
  readonly scale: BlockScaling | undefined;
  readonly width: Dim;
}

/** `Plan[N, K, E]` of the dispatch whose ragged axis has this `instance`. */
export interface PlanType {
  readonly kind: "plan";
  readonly rows: Dim;
  readonly choices: Dim;
  readonly experts: Dim;
  readonly instance: string;
}

/** A module held as a param: `param attn: Mla<W>`. */
export interface ModuleType {
  readonly kind: "module";
  readonly module: TypedModule;
  readonly bindings: Bindings;
}

export type Type = TensorType | RecordType | PagedType | PlanType | ModuleType | { readonly kind: "error" };

// ---------------------------------------------------------------- declarations

export interface TypedParam {
  readonly name: string;
  readonly mut: boolean;
  readonly type: Type;
  readonly place: Place;
}

/** A relation between sizes that was claimed and not proved: checked when the sizes are known. */
export interface DimCheck {
  readonly left: Dim;
  readonly relation: "==" | "<" | "<=" | "!=";
  readonly right: Dim;
  /** What the program says in words, for the message of a failed check. */
  readonly message: string;
  readonly place: Place;
}

export interface TypedFn {
  readonly kind: "fn";
  readonly name: string;
  readonly file: string;
  readonly doc: string | undefined;
  /** The module that the function belongs to. */
  readonly module: TypedModule | undefined;
  readonly typeParams: readonly { readonly name: string; readonly bound: "float" | "int" | "weight" }[];
  /** Dims that the signature fixes, in order of appearance; a module's own come with the module. */
  readonly dims: readonly string[];
  /** Dims used in the body that no signature fixes: the caller's of that name, or renamed into being (`x[S as T]`). */
  readonly freeDims: readonly string[];
  readonly params: readonly TypedParam[];
  readonly result: Type;
  /** `where` clauses and the facts of the signature's dims: a call's bindings must satisfy them, at run time where the checker could not tell. */
  readonly requires: readonly DimCheck[];
  /** What the body claims by `as`, by a rename or by a built-in's `where`, and the checker could not prove: in the function's own dims. */
  readonly checks: readonly DimCheck[];
  readonly body:
    | TypedBody
    | {
        readonly kind: "derived";
        readonly from: TypedFn;
        readonly steps: readonly DeriveStep[];
        /** `cheaper`: the function that it is derived from wherever that one takes less work. */
        readonly rule: DeriveRule;
      };
  readonly place: Place;
}

export type DeriveRule = "reassociate" | "cheaper";

export interface DeriveStep {
  /** Name of the weight (a module's param or a parameter of the function) that moves. */
  readonly factor: string;
  readonly where: "into" | "after";
  /** Name of the parameter or `let` of the function that it moves into or after. */
  readonly target: string;
  readonly place: Place;
}

export interface TypedModule {
  readonly kind: "module";
  readonly name: string;
  readonly file: string;
  readonly doc: string | undefined;
  readonly typeParams: readonly { readonly name: string; readonly bound: "float" | "int" | "weight" }[];
  /** Dims of the params and states, in order of appearance. */
  readonly dims: readonly string[];
  readonly params: readonly TypedParam[];
  readonly states: readonly TypedParam[];
  readonly fns: readonly TypedFn[];
  readonly place: Place;
}

export interface TypedNumerics {
  /** `Mla` or `Mla.decode`. */
  readonly target: string;
  readonly contract: { readonly left: ContractType; readonly right: ContractType } | undefined;
  readonly accumulate: { readonly dtype: DType; readonly every: number | undefined } | undefined;
  readonly bound: { readonly measure: "rel"; readonly value: number } | undefined;
  readonly place: Place;
}

export interface ContractType {
  readonly dtype: Rounding;
  readonly scale: BlockScaling | undefined;
}

export interface TypedSchedule {
  /** `Mla`, `Mla.decode` or `softmax`; all but the last name where that names a kernel. */
  readonly target: string;
  /** The value that one kernel of the function computes, `score` of `Mla.decode.score`; undefined: any of them. */
  readonly kernel: string | undefined;
  /** `sm_90a`, `wgsl`. */
  readonly on: string;
  readonly tile: readonly { readonly axes: readonly string[]; readonly size: number }[];
  /** Parts that a long sum is cut in, by its axis; undefined: as many as pay. */
  readonly split: readonly {
    readonly axis: string;
    readonly parts: number | undefined;
    readonly place: Place;
  }[];
  /** `copy` in warpgroups, `persistent` 1. */
  readonly knobs: Partial<
    Readonly<Record<"stages" | "copy" | "threads" | "persistent" | "cluster" | "shared", number>>
  >;
  /** The axis that the warpgroups of `math` share. */
  readonly over: string | undefined;
  readonly place: Place;
}

/** One file and what it imports, checked. Pipelines stay syntax: `compiler/pipeline` reads them. */
export interface TypedProgram {
  readonly file: string;
  /** Functions of the file itself, callable by name from outside. */
  readonly fns: readonly TypedFn[];
  readonly modules: readonly TypedModule[];
  readonly numerics: readonly TypedNumerics[];
  readonly schedules: readonly TypedSchedule[];
  /** Constant dims and facts of the file's `dim` declarations, which bound symbols everywhere. */
  readonly dimValues: ReadonlyMap<string, Dim>;
  /** Names checked; `compiler/pipeline` proves the rest. */
  readonly pipelines: readonly PipelineDecl[];
}

/**
 * What a call gives the callee's rigid names. `dims` has the signature's dims, the callee's module's, its free
 * dims (but for those that it renames into being itself) and the dims to which its file gives a value.
 */
export interface Bindings {
  readonly dims: ReadonlyMap<string, Dim>;
  readonly dtypes: ReadonlyMap<string, DTypeRef>;
  /** Type parameters bound to a float that no type was written for: a cast to one of them does not round. */
  readonly unwritten: ReadonlySet<string>;
  /** Type parameters bound to a block-scaled type. */
  readonly scales: ReadonlyMap<string, BlockScaling>;
  /** Axes of `...`: the union by name over the arguments. Undefined where the signature has no pack. */
  readonly pack: readonly Axis[] | undefined;
  /** Ragged instances: the callee's to the caller's. */
  readonly ragged: ReadonlyMap<string, string>;
}

// ---------------------------------------------------------------- bodies

export interface TypedBody {
  readonly kind: "body";
  readonly statements: readonly TypedStatement[];
  readonly result: TypedExpr;
}

export type TypedStatement =
  /** One value or the parts of a record or split, in order; a written type rounds. */
  | {
      readonly kind: "let";
      readonly variables: readonly Variable[];
      readonly destructure: boolean;
      readonly value: TypedExpr;
      readonly place: Place;
    }
  /** `kv.append(x, count)`: updates the state in place, in program order. */
  | {
      readonly kind: "append";
      readonly state: TypedExpr;
      /** One tensor for each part of the rows. */
      readonly rows: readonly TypedExpr[];
      readonly count: TypedExpr | undefined;
      readonly place: Place;
    };

/** A local: a parameter, a `let`, or an index variable. Compared by identity; two of one name may coexist. */
export interface Variable {
  readonly name: string;
  readonly type: Type;
}

/** An index variable of a `for` or a reduction. Its value is an i32 in `0 .. extent of axis`. */
export interface IndexVariable {
  readonly name: string;
  /** A pack variable (`...`) stands for one variable per axis of the pack. */
  readonly axis: Axis;
  /**
   * For a ragged axis `R[e]`: the index variable that says which `e`. Undefined otherwise.
   */
  readonly by: IndexVariable | undefined;
}

export type ReduceOp = "sum" | "prod" | "max" | "min" | "any" | "all" | "mean" | "argmax" | "logsumexp";

interface Typed {
  readonly type: Type;
  readonly place: Place;
}

export type TypedExpr =
  | (Typed & { readonly kind: "literal"; readonly value: number | bigint | boolean })
  /** A size as an integer value. */
  | (Typed & { readonly kind: "dim"; readonly dim: Dim })
  | (Typed & { readonly kind: "index"; readonly variable: IndexVariable })
  /** A parameter or a `let`. */
  | (Typed & { readonly kind: "local"; readonly variable: Variable })
  /** A module's own param (or a held module), or its state. `self` unless reached through `held`. */
  | (Typed & { readonly kind: "member"; readonly name: string })
  | (Typed & { readonly kind: "field"; readonly value: TypedExpr; readonly field: string })
  | (Typed & {
      readonly kind: "record";
      readonly fields: readonly { readonly name: string; readonly value: TypedExpr }[];
    })
  /** Builds a tensor: the axes of `variables`, in order, then those of a tensor-valued body. */
  | (Typed & { readonly kind: "for"; readonly variables: readonly IndexVariable[]; readonly body: TypedExpr })
  | (Typed & {
      readonly kind: "reduce";
      readonly op: ReduceOp;
      readonly variables: readonly IndexVariable[];
      readonly body: TypedExpr;
    })
  /**
   * Reads one element (an element of a block-scaled tensor is code times scale). There is one entry in
   * `indices` for each axis of the tensor; a `pack` entry reads the pack axes by name.
   */
  | (Typed & {
      readonly kind: "read";
      readonly tensor: TypedExpr;
      readonly indices: readonly TypedIndex[];
      /** Value of a read outside the tensor. */
      readonly otherwise: TypedExpr | undefined;
      /** True when some index is data (a gather): the read is clamped, and is an error in bounds mode. */
      readonly gathers: boolean;
    })
  /** A row of the scalar-function table, or `+ - * / % < ...` by their table names (`add`, `lt`, ..), on scalars. */
  | (Typed & { readonly kind: "apply"; readonly fn: string; readonly args: readonly TypedExpr[] })
  /** `select`/`if`: both sides are pure, the condition is a scalar bool. */
  | (Typed & {
      readonly kind: "select";
      readonly condition: TypedExpr;
      readonly then: TypedExpr;
      readonly else: TypedExpr;
    })
  /** Rounds to the type's dtype: `bf16(x)`, a typed `let`, an argument, a result. Tensor-valued or scalar. Clears a mask to 0. */
  | (Typed & { readonly kind: "cast"; readonly value: TypedExpr })
  /** `a where keep`, elementwise; `mask` is aligned to the value by axis name. Tensor or scalar. */
  | (Typed & { readonly kind: "where"; readonly value: TypedExpr; readonly mask: TypedExpr })
  /** `x as [..]`: row-major order of the elements is kept. */
  | (Typed & { readonly kind: "reshape"; readonly value: TypedExpr })
  /** `x[S as T]`: the same elements, an axis renamed; `binds` says that T is defined by it. */
  | (Typed & {
      readonly kind: "rename";
      readonly value: TypedExpr;
      readonly from: Dim;
      readonly to: Dim;
      readonly binds: boolean;
    })
  | (Typed & {
      readonly kind: "call";
      readonly callee: TypedFn;
      readonly receiver: TypedExpr | undefined;
      readonly bindings: Bindings;
      readonly args: readonly TypedExpr[];
    })
  | (Typed & { readonly kind: "builtin"; readonly builtin: Builtin; readonly args: readonly TypedExpr[] })
  | (Typed & { readonly kind: "error" });

export type TypedIndex = { readonly kind: "pack" } | { readonly kind: "at"; readonly value: TypedExpr };

/** Whole-tensor operations that no `for` says. `axis` counts in the first argument's axes, the pack as one. */
export type Builtin =
  | { readonly name: "topk"; readonly axis: number; readonly k: Dim }
  | { readonly name: "cumsum"; readonly axis: number }
  | { readonly name: "sort"; readonly axis: number }
  /** `scatter_add[E](index, x)`: index i32[N], x [N, ..rest] gives [E, ..rest]. */
  | { readonly name: "scatter_add"; readonly size: Dim }
  | { readonly name: "split"; readonly axis: number; readonly parts: readonly Dim[] }
  | { readonly name: "join"; readonly axis: number }
  | { readonly name: "quantize" }
  | { readonly name: "dequantize" }
  | { readonly name: "dispatch"; readonly experts: Dim; readonly instance: string }
  | { readonly name: "combine" }
  /** `kv.read()` and `kv.visible(pos)`. */
  | { readonly name: "paged-read" }
  | { readonly name: "paged-visible" };
