/**
 * Precedence: a flat list of operands and operators becomes a tree.
 *
 * The grammar reads `- a * b == c and not d as [N]` without levels, which keeps its rules few and its
 * call stack short; here each operator gets its strength. Loops, not recursion, go along a chain.
 */

import type { AxisExpr, BinaryOp, Expr, Span } from "../ast.ts";

/** What stands after an operand. `as` has its axes and no right side. */
export type Infix =
  | { readonly op: BinaryOp | "where"; readonly span: Span }
  | { readonly op: "as"; readonly axes: readonly AxisExpr[]; readonly span: Span };

export interface Prefix {
  readonly op: "-" | "not";
  readonly span: Span;
}

/** An operand with what stands before it. */
export interface Operand {
  readonly prefixes: readonly Prefix[];
  readonly value: Expr;
}

export interface Flat {
  readonly operands: readonly Operand[];
  /** In text order: one between two operands, and any number of `as` after either. */
  readonly infixes: readonly Infix[];
}

export interface FoldReport {
  chained(first: Span, second: Span): void;
  misplacedNot(span: Span): void;
}

const strengths: Readonly<Record<Infix["op"] | "not", number>> = {
  as: 1,
  where: 1,
  or: 2,
  and: 3,
  not: 4,
  "==": 5,
  "!=": 5,
  "<": 5,
  "<=": 5,
  ">": 5,
  ">=": 5,
  "+": 6,
  "-": 6,
  "*": 7,
  "/": 7,
  "%": 7,
  "^": 9,
};
const comparison = strengths["=="];

export function fold(flat: Flat, report: FoldReport): Expr {
  return new Folder(flat, report).run();
}

class Folder {
  readonly #flat: Flat;
  readonly #report: FoldReport;
  #operand = 0;
  #infix = 0;

  constructor(flat: Flat, report: FoldReport) {
    this.#flat = flat;
    this.#report = report;
  }

  run(): Expr {
    return this.#climb(0);
  }

  /** Everything from here that binds more tightly than `floor`. */
  #climb(floor: number): Expr {
    return this.#climbFrom(this.#unary(floor), floor);
  }

  #climbFrom(first: Expr, floor: number): Expr {
    let left = first;
    let compared: Span | undefined;
    for (;;) {
      const infix = this.#flat.infixes[this.#infix];
      if (infix === undefined || strengths[infix.op] <= floor) return left;
      this.#infix += 1;
      if (strengths[infix.op] === comparison) {
        if (compared !== undefined) {
          this.#report.chained(compared, infix.span);
          left = this.#chain(left, infix);
          continue;
        }
        compared = infix.span;
      }
      left = this.#join(left, infix, strengths[infix.op]);
    }
  }

  /**
   * `a < b < c`, once reported, as the `a < b and b < c` that was meant, so that what it is part of has its type. The
   * second `b` is left out: what is wrong in it is said once.
   */
  #chain(left: Expr, infix: Infix): Expr {
    const right = this.#join({ kind: "error", span: left.span }, infix, comparison);
    return {
      kind: "binary",
      op: "and",
      left,
      right,
      span: { start: left.span.start, end: right.span.end },
    };
  }

  #join(left: Expr, infix: Infix, strength: number): Expr {
    if (infix.op === "as") {
      return {
        kind: "as",
        value: left,
        axes: infix.axes,
        span: { start: left.span.start, end: infix.span.end },
      };
    }
    const right = this.#climb(strength);
    const span = { start: left.span.start, end: right.span.end };
    if (infix.op === "where") return { kind: "where", value: left, mask: right, span };
    return { kind: "binary", op: infix.op, left, right, span };
  }

  /** The next operand under its prefixes. A `not` takes a whole comparison, a `-` the operand alone. */
  #unary(floor: number): Expr {
    const operand = this.#flat.operands[this.#operand];
    if (operand === undefined) return { kind: "error", span: { start: 0, end: 0 } };
    this.#operand += 1;
    const nots = operand.prefixes.findLastIndex((prefix) => prefix.op === "not") + 1;
    const misplaced = operand.prefixes.find(
      (prefix, i) => prefix.op === "not" && (floor >= strengths.not || operand.prefixes[i - 1]?.op === "-"),
    );
    if (misplaced !== undefined) this.#report.misplacedNot(misplaced.span);
    let value = this.#wrap(operand.value, operand.prefixes.slice(nots));
    if (nots > 0) value = this.#wrap(this.#climbFrom(value, strengths.not), operand.prefixes.slice(0, nots));
    return value;
  }

  #wrap(value: Expr, prefixes: readonly Prefix[]): Expr {
    let wrapped = value;
    for (const prefix of [...prefixes].reverse()) {
      wrapped = {
        kind: "unary",
        op: prefix.op,
        value: wrapped,
        span: { start: prefix.span.start, end: wrapped.span.end },
      };
    }
    return wrapped;
  }
}
