/**
 * What differs between the C-like languages, as one record: how each scalar op, declaration and memory access is
 * spelled. What they share is in `printer.ts` (names, and which values stand inside of others) and `op-table.ts`
 * (structure).
 *
 * A spelling that needs a function of its own (`toInt`, `roundEven`) says so by `cx.use(name)`; the target writes
 * the functions that were used above the kernel.
 */
import type { ScalarValue } from "../../kernel/scalar.ts";
import type { BinaryFn, Buffer, Op, UnaryFn, Value, ValueType } from "../../kernel/ir.ts";
import type { DType } from "../../types/dtype.ts";
import type { Expr } from "./expression.ts";
import type { Printer } from "./printer.ts";

export interface Dialect {
  literal(cx: Printer, type: ValueType, value: ScalarValue): Expr;
  thread(cx: Printer): Expr;
  lane(cx: Printer): Expr;
  subgroup(cx: Printer): Expr;
  block(cx: Printer, axis: 0 | 1 | 2): Expr;
  size(cx: Printer, param: number): Expr;

  unary(cx: Printer, fn: UnaryFn, type: ValueType, a: Expr): Expr;
  /** `type` is the operands'. */
  binary(cx: Printer, fn: BinaryFn, type: ValueType, a: Expr, b: Expr): Expr;
  fma(cx: Printer, type: ValueType, a: Expr, b: Expr, c: Expr): Expr;
  select(cx: Printer, condition: Expr, a: Expr, b: Expr): Expr;
  convert(cx: Printer, from: ValueType, to: ValueType, storage: DType | undefined, a: Expr): Expr;
  bitcast(cx: Printer, from: ValueType, to: ValueType, a: Expr): Expr;
  pack(cx: Printer, parts: readonly Expr[], type: ValueType): Expr;
  unpack(cx: Printer, a: Expr, part: number, type: ValueType): Expr;

  /** `const x = e;` */
  declare(type: ValueType, name: string, e: Expr): string;
  /** `let x = e;`, for what changes; without `e` it is set before it is read. */
  declareVariable(type: ValueType, name: string, e: Expr | undefined): string;
  assign(type: ValueType, name: string, e: Expr): string;
  forLoop(op: Op<"for">, index: string, from: Expr, to: Expr): string;

  /** One element, as a value. */
  element(cx: Printer, buffer: Buffer, index: Expr): Expr;
  /** The statement that writes one element. */
  storeElement(cx: Printer, buffer: Buffer, index: Expr, value: Expr): string;
  atomic(cx: Printer, op: Op<"atomic">, index: Expr, value: Expr): string;
  /** `index + offset`. */
  offset(index: Expr, offset: number): Expr;
  /**
   * Whether a guarded load may be an expression that does not touch memory where the guard is false; else it is a
   * variable and an `if`.
   */
  readonly conditionalExpression: boolean;

  readonly barrier: string;
  shuffleXor(cx: Printer, value: Value, e: Expr, mask: number): Expr;
  shuffleIndex(cx: Printer, value: Value, e: Expr, lane: Expr): Expr;
  instruction(cx: Printer, op: Op<"instruction">): void;
}
