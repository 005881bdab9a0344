/** The syntax tree of a PTX module: names are as written, and nothing is resolved yet. */
import type { SourceLine } from "../finding.ts";

export type Operand =
  | { readonly kind: "name"; readonly name: string; readonly negated: boolean }
  | { readonly kind: "integer"; readonly value: bigint }
  | { readonly kind: "float"; readonly value: number; readonly bits: 32 | 64 }
  | { readonly kind: "vector"; readonly items: readonly Operand[] }
  | { readonly kind: "pair"; readonly first: Operand; readonly second: Operand }
  | { readonly kind: "beyond"; readonly base: Operand; readonly offset: number }
  | { readonly kind: "sink" }
  | {
      readonly kind: "address";
      readonly base: Operand;
      readonly offset: number;
      readonly coordinates: Operand | undefined;
    };

export interface Guard {
  readonly name: string;
  readonly negated: boolean;
}

export interface Instruction {
  /** The opcode with its modifiers, split at the dots: ["add", "s32"]. */
  readonly parts: readonly string[];
  readonly guard: Guard | undefined;
  readonly operands: readonly Operand[];
  readonly line: number;
  readonly source: SourceLine | undefined;
  /** The statement as written, for messages. */
  readonly text: string;
  readonly scope: Scope;
}

export type StateSpace = "reg" | "shared" | "local" | "global" | "const" | "param";

/** A variable in memory, or a register. */
export interface Variable {
  readonly name: string;
  readonly space: StateSpace;
  /** Fundamental type: "b32", "f16x2", "pred" ... */
  readonly type: string;
  /** Elements per variable: 1, or 2 or 4 for `.v2`, `.v4`. */
  readonly vector: number;
  /** Elements of an array; -1 for an array of unknown extent (`.extern .shared x[]`), 0 for a scalar. */
  readonly extent: number;
  readonly align: number;
  readonly external: boolean;
  readonly initial: readonly Operand[];
  readonly line: number;
}

/** Names visible in a `{ }`; labels and variables of an outer scope are seen through `outer`. */
export interface Scope {
  readonly outer: Scope | undefined;
  readonly variables: Map<string, Variable>;
  /** Label to the index of the instruction that follows it. */
  readonly labels: Map<string, number>;
}

export interface KernelSyntax {
  readonly name: string;
  readonly entry: boolean;
  readonly params: readonly Variable[];
  /** `.maxntid`, `.reqntid`, `.maxnreg`, `.minnctapersm`, `.reqnctapercluster` ... with their numbers. */
  readonly directives: ReadonlyMap<string, readonly number[]>;
  readonly instructions: readonly Instruction[];
  readonly scope: Scope;
  readonly variables: readonly Variable[];
  /** `.branchtargets` lists by label, for `brx.idx`. */
  readonly targets: ReadonlyMap<string, readonly string[]>;
  readonly line: number;
}

export interface ModuleSyntax {
  readonly version: string;
  readonly target: string;
  readonly variables: readonly Variable[];
  readonly kernels: readonly KernelSyntax[];
  readonly scope: Scope;
}

/** Bytes of one element of a fundamental type (PTX ISA 5.2.1); predicates have none in memory. */
export function typeBytes(type: string): number {
  if (type === "pred") return 0;
  if (type === "f16x2" || type === "bf16x2" || type === "e4m3x4" || type === "e5m2x4") return 4;
  if (type === "e4m3x2" || type === "e5m2x2") return 2;
  if (type === "tf32") return 4;
  if (type === "e4m3" || type === "e5m2") return 1;
  const bits = /\d+$/.exec(type)?.[0];
  return bits === undefined ? 0 : Number(bits) / 8;
}

export function variableBytes(variable: Variable): number {
  return typeBytes(variable.type) * variable.vector * Math.max(1, variable.extent);
}
