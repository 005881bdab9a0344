/**
 * The syntax tree: what the parser makes of a `.dsl` file, and the formatter and the checker read.
 *
 * Every node carries a `span`; names keep the span of the identifier alone. Nothing is resolved here:
 * a name is a string, a type is as written. A part that the parser could not read is an `ErrorExpr` or
 * is left out, with a syntax error beside the tree.
 */

/** Half-open range of UTF-16 offsets into the source text. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface Name {
  readonly text: string;
  readonly span: Span;
}

export interface SourceFile {
  readonly kind: "file";
  /** The `///` text that opens the file, without slashes, or undefined. */
  readonly doc: string | undefined;
  readonly declarations: readonly Declaration[];
  /** Plain `//` comments in source order, for the formatter. */
  readonly comments: readonly Comment[];
  readonly span: Span;
}

export interface Comment {
  readonly text: string;
  readonly span: Span;
}

// ---------------------------------------------------------------- declarations

export type Declaration =
  | ImportDecl
  | DimDecl
  | MeshDecl
  | ConstDecl
  | FnDecl
  | ModuleDecl
  | DeriveDecl
  | NumericsDecl
  | ScheduleDecl
  | PipelineDecl
  | KernelDecl;

interface Declared {
  readonly doc: string | undefined;
  readonly span: Span;
}

export interface ImportDecl extends Declared {
  readonly kind: "import";
  /** `std.nn` as `["std", "nn"]`; undefined for a file import. */
  readonly module: readonly Name[] | undefined;
  /** `"./blocks.dsl"` without quotes; undefined for a library import. */
  readonly path: Name | undefined;
  readonly names: readonly Name[];
}

/** `dim B, S` · `dim Dh = 128` · `dim E where E % 8 == 0` · `dim R[E]`. */
export interface DimDecl extends Declared {
  readonly kind: "dim";
  readonly dims: readonly DimBinding[];
  readonly where: readonly Expr[];
}

export interface DimBinding {
  readonly name: Name;
  /** `E` in `dim R[E]`: the axis that a ragged size depends on. */
  readonly raggedBy: Name | undefined;
  readonly value: DimExpr | undefined;
}

export interface MeshDecl extends Declared {
  readonly kind: "mesh";
  readonly names: readonly Name[];
}

export interface ConstDecl extends Declared {
  readonly kind: "const";
  readonly name: Name;
  readonly value: Expr;
}

export interface FnDecl extends Declared {
  readonly kind: "fn";
  readonly name: Name;
  /** `<A: float>`. */
  readonly typeParams: readonly TypeParam[];
  /** `[X, K]` in `fn softmax<A: float>[X](..)`: dims that a call names. */
  readonly dimParams: readonly Name[];
  readonly params: readonly Param[];
  readonly result: TypeExpr | undefined;
  readonly where: readonly Expr[];
  /** Undefined for a signature alone. */
  readonly body: Block | undefined;
}

export interface TypeParam {
  readonly name: Name;
  /** `float`, `int`, `weight`. */
  readonly bound: Name;
}

export interface Param {
  readonly mut: boolean;
  readonly name: Name;
  readonly type: TypeExpr;
  readonly default: Expr | undefined;
  readonly span: Span;
}

export interface ModuleDecl extends Declared {
  readonly kind: "module";
  readonly name: Name;
  readonly typeParams: readonly TypeParam[];
  readonly members: readonly Member[];
}

export type Member = ParamMember | StateMember | ConstDecl | FnDecl | DeriveDecl;

/** `param w_dq: W[Cq, Dm]`, or `param attn: Mla<W>`, which holds another module. */
export interface ParamMember extends Declared {
  readonly kind: "param";
  readonly name: Name;
  readonly type: TypeExpr;
}

export interface StateMember extends Declared {
  readonly kind: "state";
  readonly name: Name;
  readonly type: TypeExpr;
}

/** `derive g from f by reassociate { w into q, u after p }`. */
export interface DeriveDecl extends Declared {
  readonly kind: "derive";
  readonly name: Name;
  readonly from: Name;
  readonly rule: Name;
  readonly steps: readonly DeriveStep[];
}

export interface DeriveStep {
  readonly factor: Name;
  readonly where: "into" | "after";
  readonly target: Name;
  readonly span: Span;
}

/** `numerics Mla { contract: e4m3 @ (1, 128), (128, 128); accumulate: f32 every 128; bound: rel 2^-5 }`. */
export interface NumericsDecl extends Declared {
  readonly kind: "numerics";
  /** `Mla` or `Mla.decode`. */
  readonly target: readonly Name[];
  readonly clauses: readonly NumericsClause[];
}

export type NumericsClause =
  | { readonly kind: "contract"; readonly types: readonly TypeExpr[]; readonly span: Span }
  | {
      readonly kind: "accumulate";
      readonly type: TypeExpr;
      readonly every: Expr | undefined;
      readonly span: Span;
    }
  | { readonly kind: "bound"; readonly measure: Name; readonly value: Expr; readonly span: Span };

/** `schedule Mla.decode on sm_90a { tile (S H) 64, T 64; split T auto; roles copy 0, math 2 over Ck; stages 2; persistent }`. */
export interface ScheduleDecl extends Declared {
  readonly kind: "schedule";
  readonly target: readonly Name[];
  readonly on: Name;
  readonly clauses: readonly ScheduleClause[];
}

/** One clause as words: `keyword`, then comma-separated items of axes, numbers and words. */
export interface ScheduleClause {
  readonly keyword: Name;
  readonly items: readonly ScheduleItem[];
  readonly span: Span;
}

export interface ScheduleItem {
  readonly parts: readonly SchedulePart[];
  readonly span: Span;
}

export type SchedulePart =
  | { readonly kind: "word"; readonly text: string; readonly span: Span }
  | { readonly kind: "number"; readonly value: number; readonly span: Span }
  | { readonly kind: "group"; readonly axes: readonly Name[]; readonly span: Span };

/** The escape hatch: a tile-level body, kept as tokens until tile bodies have a grammar of their own. */
export interface KernelDecl extends Declared {
  readonly kind: "kernel";
  readonly name: Name;
  readonly typeParams: readonly TypeParam[];
  readonly params: readonly Param[];
  readonly result: TypeExpr | undefined;
  readonly implements: Name | undefined;
  readonly body: Block;
}

// ---------------------------------------------------------------- pipelines

export interface PipelineDecl extends Declared {
  readonly kind: "pipeline";
  readonly name: Name;
  readonly params: readonly Name[];
  readonly where: readonly Expr[];
  readonly items: readonly PipelineItem[];
}

export type PipelineItem =
  /** `rank r in P` */
  | { readonly kind: "rank"; readonly variable: Name; readonly count: Expr; readonly span: Span }
  /** `direction down: stage r`; several stages a rank are written `stage r, r + P`. */
  | { readonly kind: "direction"; readonly name: Name; readonly stages: readonly Expr[]; readonly span: Span }
  | { readonly kind: "let"; readonly name: Name; readonly value: Expr; readonly span: Span }
  /** `phase warm for i in n { F(near) }`; without `for` the body runs once. */
  | {
      readonly kind: "phase";
      readonly name: Name;
      readonly variable: Name | undefined;
      readonly count: Expr | undefined;
      readonly body: readonly PipelineAction[];
      readonly span: Span;
    };

export type PipelineAction =
  /** `F(near)`, `W`, `F(down, 1)`: an action, its direction, and which of the rank's stages there it is for. */
  | {
      readonly kind: "action";
      readonly name: Name;
      readonly direction: Expr | undefined;
      /** Counts the stages of `direction down: stage r, r + P` from 0; undefined where it is not written. */
      readonly slot: Expr | undefined;
      readonly span: Span;
    }
  | { readonly kind: "overlap"; readonly actions: readonly PipelineAction[]; readonly span: Span }
  | {
      readonly kind: "if";
      readonly condition: Expr;
      readonly then: readonly PipelineAction[];
      readonly else: readonly PipelineAction[];
      readonly span: Span;
    };

// ---------------------------------------------------------------- types

export type TypeExpr = NamedType | TupleType | ErrorType;

/** `bf16[B, S] @ (1, 128) ue8m0`, `Paged<bf16, 64>[B, T, C]`, `Mla<W>`, `i32`, `A`. */
export interface NamedType {
  readonly kind: "type";
  readonly name: Name;
  /** `<bf16, 64>`: types, or integers as `IntExpr`. */
  readonly args: readonly (TypeExpr | Expr)[];
  /** Undefined for a scalar. */
  readonly axes: readonly AxisExpr[] | undefined;
  readonly scale: BlockScale | undefined;
  readonly span: Span;
}

/** `@ (128, 128)` or `@ (128, 128) ue8m0`. */
export interface BlockScale {
  readonly block: readonly number[];
  /** `f32` (unwritten) or `ue8m0`. */
  readonly format: Name | undefined;
  readonly span: Span;
}

/** `(c: bf16[B, S, C], r: bf16[B, S, Dr])`. */
export interface TupleType {
  readonly kind: "tuple-type";
  readonly fields: readonly { readonly name: Name; readonly type: TypeExpr }[];
  readonly span: Span;
}

export interface ErrorType {
  readonly kind: "error-type";
  readonly span: Span;
}

export type AxisExpr =
  /** `...` */
  | { readonly kind: "pack"; readonly span: Span }
  /** `Dn + Dr`, `E / G`, `3`, `R[E]`; `@ ep` places it on a mesh. */
  | { readonly kind: "axis"; readonly dim: DimExpr; readonly mesh: Name | undefined; readonly span: Span };

/** A size as written. It is the expression grammar restricted to names, integers, `+ - * / %` and `R[E]`. */
export type DimExpr = Expr;

// ---------------------------------------------------------------- expressions

/** `let`s and state calls, then the result. */
export interface Block {
  readonly kind: "block";
  readonly statements: readonly Statement[];
  readonly result: Expr | undefined;
  readonly span: Span;
}

export type Statement =
  | {
      readonly kind: "let";
      readonly pattern: readonly Name[];
      /** True for `let (a, b) = ..`, also with one name. */
      readonly destructure: boolean;
      readonly type: TypeExpr | undefined;
      readonly value: Expr;
      readonly span: Span;
    }
  /** A call for its effect, such as `kv.append(x)`. */
  | { readonly kind: "do"; readonly value: Expr; readonly span: Span };

export type BinaryOp =
  "+" | "-" | "*" | "/" | "%" | "^" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or";

export type Expr =
  | { readonly kind: "int"; readonly value: bigint; readonly span: Span }
  | { readonly kind: "float"; readonly value: number; readonly text: string; readonly span: Span }
  | { readonly kind: "bool"; readonly value: boolean; readonly span: Span }
  | { readonly kind: "inf"; readonly span: Span }
  | { readonly kind: "name"; readonly name: Name; readonly span: Span }
  | { readonly kind: "unary"; readonly op: "-" | "not"; readonly value: Expr; readonly span: Span }
  | {
      readonly kind: "binary";
      readonly op: BinaryOp;
      readonly left: Expr;
      readonly right: Expr;
      readonly span: Span;
    }
  | ForExpr
  | {
      readonly kind: "if";
      readonly condition: Expr;
      readonly then: Expr;
      readonly else: Expr;
      readonly span: Span;
    }
  | CallExpr
  | IndexExpr
  | { readonly kind: "field"; readonly value: Expr; readonly field: Name; readonly span: Span }
  /** `x as [B, S, H, Dh]`. */
  | { readonly kind: "as"; readonly value: Expr; readonly axes: readonly AxisExpr[]; readonly span: Span }
  /** `a where keep`. */
  | { readonly kind: "where"; readonly value: Expr; readonly mask: Expr; readonly span: Span }
  /** `(c: .., r: ..)`, a record of results. */
  | {
      readonly kind: "record";
      readonly fields: readonly { readonly name: Name; readonly value: Expr }[];
      readonly span: Span;
    }
  | { readonly kind: "paren"; readonly value: Expr; readonly span: Span }
  | { readonly kind: "error"; readonly span: Span };

export interface ForExpr {
  readonly kind: "for";
  readonly variables: readonly ForVariable[];
  readonly body: Expr;
  readonly span: Span;
}

export type ForVariable =
  | { readonly kind: "pack"; readonly span: Span }
  | { readonly kind: "index"; readonly name: Name; readonly range: DimExpr | undefined; readonly span: Span };

/**
 * `f<A>[X, K](a, b)`. A reduction `sum[j, k in T](e)` is a call whose `dims` bind variables; which of the
 * two it is, the checker decides by the name. `dims` is undefined where no bracket stands.
 */
export interface CallExpr {
  readonly kind: "call";
  readonly callee: Expr;
  readonly typeArgs: readonly TypeExpr[];
  readonly dims: readonly CallDim[] | undefined;
  readonly args: readonly Expr[];
  readonly span: Span;
}

export type CallDim =
  /** `T`, `Ck + Dr`, `128`. */
  | { readonly kind: "dim"; readonly dim: DimExpr; readonly span: Span }
  /** `k in T`: a reduction's variable with its range. */
  | { readonly kind: "variable"; readonly name: Name; readonly range: DimExpr; readonly span: Span }
  /** `A | B` of `split`. */
  | { readonly kind: "parts"; readonly parts: readonly DimExpr[]; readonly span: Span };

/** `x[b, s - w, c] else 0.0`, `x[..., d]`, `x[S as T]`. */
export interface IndexExpr {
  readonly kind: "index";
  readonly value: Expr;
  readonly indices: readonly IndexPart[];
  readonly else: Expr | undefined;
  readonly span: Span;
}

export type IndexPart =
  | { readonly kind: "pack"; readonly span: Span }
  | { readonly kind: "at"; readonly value: Expr; readonly span: Span }
  /** `S as T`. */
  | { readonly kind: "rename"; readonly from: DimExpr; readonly to: DimExpr; readonly span: Span };
