/**
 * The shape of the instruction table: records of pattern, operand types, meaning and PTX ISA section.
 *
 * A pattern spells an opcode as the manual does, its parts joined by dots. A part is a literal (`sync`), a
 * required choice (`type:s32|u32`) or an optional choice (`ftz?ftz`); matching reads the parts in order. The
 * choices that were met are handed to the record under their names.
 */
import type { Site } from "../compile/site.ts";
import type { Warp } from "../machine/warp.ts";

/** The choices met while matching, by name; an optional one that was absent is missing. */
export type Choices = Readonly<Record<string, string | undefined>>;

/**
 * An instruction that each lane executes for itself on registers.
 *
 * `operands` lists the operands as `name:type`, where the type is a fundamental type or the name of a choice;
 * a bare name has the type of the choice `type`, `2*name` is twice as wide, `bits` is `type` without its meaning. The first operand is the result.
 * `is` is a JavaScript expression over the other names: 32-bit and narrower integers and all floats are numbers,
 * 64-bit integers are BigInts, predicates booleans. The value is wrapped or rounded to the type of the result.
 */
export interface LaneRow {
  readonly pattern: string;
  readonly section: string;
  readonly operands: string;
  readonly is: string | ((choices: Choices) => string);
  /** The value of the second result, where the result is a pair `p|q`. */
  readonly second?: (choices: Choices) => string;
}

/** One execution by the lanes of `mask` of a warp. */
export type Step = (warp: Warp, mask: number) => void;

/** An instruction that the warp executes as a whole: memory, shuffles, matrices, asynchronous copies. */
export interface WarpRow {
  readonly pattern: string;
  readonly section: string;
  /** Which operands it writes, by position; the others are read. */
  readonly writes: readonly number[];
  /** Whether it makes a segment of its own, so that its effect falls between the instructions around it. */
  readonly alone?: boolean;
  bind(site: Site): Step;
}

/** What a waiting instruction says: go on, or wait and be told when to ask again. */
export type Attempt = (warp: Warp, mask: number) => boolean;

/** An instruction that may wait: barriers, mbarrier waits. It ends a straight run of code. */
export interface WaitRow {
  readonly pattern: string;
  readonly section: string;
  readonly writes: readonly number[];
  attempt(site: Site): Attempt;
}

/** An instruction that changes the flow of control; `flow.ts` gives it meaning. */
export interface FlowRow {
  readonly pattern: string;
  readonly section: string;
  readonly flow: "branch" | "indexed" | "exit" | "trap" | "call";
}

export type Row = LaneRow | WarpRow | WaitRow | FlowRow;
