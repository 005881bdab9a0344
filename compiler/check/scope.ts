/** What names mean in a file: its declarations and imports, before any body is looked at. */
import type {
  ConstDecl,
  DeriveDecl,
  FnDecl,
  KernelDecl,
  Member,
  ModuleDecl,
  SourceFile,
  Span,
} from "../../grammar/ast.ts";
import type { Place, Report } from "../diagnostics/diagnostic.ts";
import type { Dim } from "../types/dim.ts";
import type { Claim, Facts } from "../types/prover.ts";
import type { DeriveStep, DimCheck, TypedFn, TypedModule, TypedParam, Type } from "./typed.ts";

export interface FileScope {
  readonly file: string;
  readonly ast: SourceFile;
  readonly report: Report;
  readonly names: Map<string, Entity>;
  readonly dims: Map<string, DeclaredDim>;
  /** Claims of `dim .. where` and `dim D = ..`, with their places. */
  readonly claims: PlacedClaim[];
  /** The ragged sizes: `R` of `dim R[E]` by `E`. */
  readonly ragged: Map<string, string>;
  readonly meshes: Set<string>;
  /** Quotients already reported as inexact, so that each is reported once. */
  readonly inexact: Set<string>;
}

export interface DeclaredDim {
  readonly place: Place;
  readonly value: Dim | undefined;
}

export interface PlacedClaim extends Claim {
  readonly message: string;
  readonly place: Place;
}

/** What the file's dims and a signature's `where` say: of sizes, and of which axes are one. */
export interface Known {
  readonly sizes: Facts;
  /** Divisibility and symbolic definitions only: equal numbers do not make two axes one. */
  readonly axes: Facts;
}

export type Entity = FnEntity | ModuleEntity | ConstEntity | KernelEntity;

export interface FnEntity {
  readonly kind: "fn";
  readonly name: string;
  readonly decl: FnDecl | DeriveDecl;
  readonly scope: FileScope;
  readonly module: ModuleEntity | undefined;
  signature: Signature | undefined;
  typed: TypedFn | undefined;
  /** Free dims of the body that a caller must have too. */
  needs: readonly string[];
  /** Set where the function calls itself, in a circle. */
  recursive: boolean;
}

export interface ModuleEntity {
  readonly kind: "module";
  readonly name: string;
  readonly decl: ModuleDecl;
  readonly scope: FileScope;
  readonly fns: Map<string, FnEntity>;
  readonly consts: Map<string, ConstEntity>;
  readonly members: Map<string, Exclude<Member, { kind: "fn" | "derive" | "const" }>>;
  /** Filled before any body is checked; `fns` of it grows while bodies are. */
  header: ModuleHeader | undefined;
}

export interface ModuleHeader {
  readonly typed: TypedModule & { readonly fns: TypedFn[] };
  readonly types: ReadonlyMap<string, { readonly type: Type; readonly role: "param" | "state" }>;
}

export interface ConstEntity {
  readonly kind: "const";
  readonly name: string;
  readonly decl: ConstDecl;
  readonly scope: FileScope;
  busy: boolean;
  /** Set where its value needs itself. */
  circular: boolean;
}

export interface KernelEntity {
  readonly kind: "kernel";
  readonly name: string;
  readonly decl: KernelDecl;
}

export interface Signature {
  readonly typeParams: TypedFn["typeParams"];
  readonly dims: readonly string[];
  /** Dims in brackets after the name, which a call names. */
  readonly named: readonly string[];
  readonly params: readonly TypedParam[];
  /** Undefined where the body decides. */
  readonly result: Type | undefined;
  readonly requires: readonly DimCheck[];
  readonly known: Known;
  readonly steps: readonly DeriveStep[] | undefined;
}

export function placeOf(scope: { readonly file: string }, span: Span): Place {
  return { file: scope.file, start: span.start, end: span.end };
}

export function isCapital(name: string): boolean {
  return /^[A-Z]/.test(name);
}
