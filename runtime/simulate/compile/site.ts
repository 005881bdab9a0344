/** An instruction with its names resolved: what the code generator and the warp-level steps work on. */
import type { Choices } from "../table/row.ts";
import type { Instruction } from "../parse/syntax.ts";

/**
 * A register of the kernel. Each warp keeps all of them in one array of 32-bit words: a 16- or 32-bit register is 32
 * words, one a lane; a 64-bit one is 32 pairs; a predicate is a single word, one bit a lane.
 */
export interface Register {
  readonly name: string;
  readonly bits: 1 | 16 | 32 | 64;
  /** First word in the register file of the warp. */
  readonly base: number;
  /** Dense number, for bit sets. */
  readonly id: number;
}

export type SymbolSpace = "shared" | "local" | "global" | "param";

export type Value =
  | { readonly kind: "register"; readonly register: Register; readonly negated: boolean }
  | { readonly kind: "integer"; readonly value: bigint }
  | { readonly kind: "float"; readonly value: number; readonly bits: 32 | 64 }
  /** `offset` is from the start of the block's variables of that space; for global, the index of the variable. */
  | { readonly kind: "symbol"; readonly space: SymbolSpace; readonly offset: number; readonly name: string }
  | { readonly kind: "special"; readonly name: string }
  | { readonly kind: "vector"; readonly items: readonly Value[] }
  | { readonly kind: "pair"; readonly first: Value; readonly second: Value }
  | { readonly kind: "sink" }
  | {
      readonly kind: "address";
      readonly base: Value;
      readonly offset: number;
      readonly coordinates: readonly Value[];
    };

export interface Site {
  /** Dense number within the kernel: index of side tables, and what the shadow memory records. */
  readonly id: number;
  readonly instruction: Instruction;
  readonly choices: Choices;
  readonly operands: readonly Value[];
}

/** The registers that a value names, addresses and vectors included. */
export function registersOf(value: Value | undefined): Register[] {
  switch (value?.kind) {
    case "register":
      return [value.register];
    case "vector":
      return value.items.flatMap(registersOf);
    case "pair":
      return [...registersOf(value.first), ...registersOf(value.second)];
    case "address":
      return [...registersOf(value.base), ...value.coordinates.flatMap(registersOf)];
    default:
      return [];
  }
}
