/**
 * What a hardware instruction is: operands, precondition, meaning and spelling in one record, so that an emitter
 * and the kernel interpreter cannot disagree about it.
 *
 * An instruction belongs to a thread, a whole warp or a warpgroup. Its meaning is a body over the lanes; the interpreter lends it
 * the lanes' operands through `Warp`. Values are as the interpreter keeps them: an f32 as a number, an `h2`, `b8x4`
 * or `u32` as its 32 bits unsigned.
 */
import type { Operand, ValueType } from "../ir.ts";
import type { AsyncCopies } from "./async-copies.ts";
import type { Engines } from "./engines.ts";

/** A buffer's memory as bytes; out of bounds is the interpreter's to report. */
export interface Memory {
  read(byte: number, length: number): Uint8Array;
  write(byte: number, bytes: Uint8Array): void;
}

export interface Pointer {
  readonly memory: Memory;
  /** Offset in `memory`. */
  readonly byte: number;
}

/** Where a matrix lies: elements follow one another on a line, lines are `stride` elements apart. */
export interface MatrixPointer extends Pointer {
  readonly stride: number;
}

/** One warp at one instruction, or one warpgroup, whose lanes are its 128 threads. Positions count an op's `dst` and `operands`. */
export interface Warp {
  /** Lanes that execute it, ascending; all unless the instruction says otherwise. */
  readonly active: readonly number[];
  operand(position: number, lane: number): number;
  /** An operand of an integer type, bool or h2 in full; of a product, also where another product under way has it. */
  bits(position: number, lane: number): bigint;
  pointer(position: number, lane: number): Pointer;
  /** Value of an in-place destination before the instruction. */
  current(position: number, lane: number): number;
  define(position: number, lane: number, value: number): void;
  readonly copies: AsyncCopies;
  readonly engines: Engines;
  readonly fragments: Fragments;
}

/** Matrices that a warp holds together, row-major. */
export interface Fragments {
  operand(position: number): Float64Array;
  current(position: number): Float64Array;
  define(position: number, elements: Float64Array): void;
  pointer(position: number): MatrixPointer;
}

/** A value's type, or the space of a buffer with an index, or a tensor map, or a matrix's place. */
export type OperandType = ValueType | "shared" | "global" | "map" | "matrix";

/** What of WGSL the operands and results stand for: an array as a pointer to its panel, offset and stride in its elements. */
export interface WgslOperand {
  readonly text: string;
  readonly offset: string;
  readonly stride: string;
}

export interface Instruction {
  readonly name: string;
  /** Where the PTX ISA manual describes it, or of what else it is said. */
  readonly section: string;
  readonly results: readonly ValueType[];
  /** `in-place`: destinations are registers, read before they are written. */
  readonly destinations: "defined" | "in-place";
  readonly operands: readonly OperandType[];
  /** What must hold beside the operand types, for a reader. The body checks what it can. */
  readonly precondition: string;
  /** What is wrong with operands of the right types; undefined if nothing is. */
  readonly check?: (operands: readonly Operand[]) => string | undefined;
  /** `warpgroup`: 128 threads, the first a multiple of 128, execute it together. `warp`: all 32 lanes do. `thread`: each lane for itself. */
  readonly scope: "warpgroup" | "warp" | "thread";
  /** Bytes that a pointer operand must be a multiple of. */
  readonly align: number;
  /** Bytes of an element of the `matrix` operand, where there is one. */
  readonly matrixBytes?: number;
  readonly evaluate: (warp: Warp) => void;
  /** Where it is there, a lane goes on when it holds. */
  readonly isReady?: (warp: Warp, lane: number) => boolean;
  /**
   * Undefined where PTX lacks it. PTX without the last semicolon, from operands already spelled: an address as `[register+4]`, a bool as a
   * predicate register, a map as the register of its address. CUDA C++ takes it as inline assembly.
   */
  readonly ptx?: (dst: readonly string[], operands: readonly string[]) => string;
  /** A statement of WGSL, undefined where WGSL lacks it; a defined result is declared by it. */
  readonly wgsl?: (dst: readonly string[], operands: readonly WgslOperand[]) => string;
  /** Compute capability (80 is 8.0) and PTX version that have it first; there where `ptx` is. */
  readonly needs?: { readonly sm: number; readonly isa: readonly [number, number] };
}

/** An instruction that PTX has. */
export type PtxInstruction = Instruction & Required<Pick<Instruction, "ptx" | "needs">>;

export function isPtx(record: Instruction): record is PtxInstruction {
  return record.ptx !== undefined && record.needs !== undefined;
}
