/**
 * Expressions of the C-like languages: text and how tightly it binds.
 *
 * Parentheses follow WGSL's grammar, the strictest of them: shifts, bitwise operators and `||` take operands that
 * need no thought, and are themselves always in parentheses inside of something else. C++ and JavaScript read the
 * same text the same way.
 */

/** How tightly an expression binds, loosest first. */
export const levels = {
  closed: 0,
  conjunction: 1,
  relation: 2,
  sum: 3,
  product: 4,
  unary: 5,
  primary: 6,
} as const;

export type Level = (typeof levels)[keyof typeof levels];

export interface Expr {
  readonly text: string;
  readonly level: Level;
  /**
   * The expression before a rounding or wrapping that its user may leave out: JavaScript's `a + b` in
   * `Math.fround(a + b)`, where a Float32Array rounds anyway.
   */
  readonly exact?: Expr | undefined;
}

export function primary(text: string): Expr {
  return { text, level: levels.primary };
}

/** The text, in parentheses unless it binds at least as tightly as `level`. */
export function within(e: Expr, level: Level): string {
  return e.level >= level ? e.text : `(${e.text})`;
}

export function call(name: string, ...args: readonly Expr[]): Expr {
  return primary(`${name}(${args.map((arg) => arg.text).join(", ")})`);
}

export function prefix(operator: "-" | "!" | "~", a: Expr): Expr {
  return { text: `${operator}${within(a, levels.primary)}`, level: levels.unary };
}

export type InfixOperator =
  | "+"
  | "-"
  | "*"
  | "/"
  | "%"
  | "<<"
  | ">>"
  | ">>>"
  | "&"
  | "|"
  | "^"
  | "=="
  | "!="
  | "==="
  | "!=="
  | "<"
  | "<="
  | ">"
  | ">="
  | "&&"
  | "||";

interface Grammar {
  readonly level: Level;
  readonly left: Level;
  readonly right: Level;
}

const closed: Grammar = { level: levels.closed, left: levels.unary, right: levels.unary };
const relation: Grammar = { level: levels.relation, left: levels.sum, right: levels.sum };
const product: Grammar = { level: levels.product, left: levels.product, right: levels.unary };
const sum: Grammar = { level: levels.sum, left: levels.sum, right: levels.product };

const grammar: Readonly<Record<InfixOperator, Grammar>> = {
  "*": product,
  "/": product,
  "%": product,
  "+": sum,
  "-": sum,
  "<<": closed,
  ">>": closed,
  ">>>": closed,
  "&": closed,
  "|": closed,
  "^": closed,
  "==": relation,
  "!=": relation,
  "===": relation,
  "!==": relation,
  "<": relation,
  "<=": relation,
  ">": relation,
  ">=": relation,
  "&&": { level: levels.conjunction, left: levels.conjunction, right: levels.relation },
  "||": { level: levels.closed, left: levels.relation, right: levels.relation },
};

export function infix(operator: InfixOperator, a: Expr, b: Expr): Expr {
  const { level, left, right } = grammar[operator];
  return { text: `${within(a, left)} ${operator} ${within(b, right)}`, level };
}

/** `c ? a : b`, of C++ and JavaScript. */
export function conditional(condition: Expr, a: Expr, b: Expr): Expr {
  return {
    text: `${within(condition, levels.conjunction)} ? ${within(a, levels.sum)} : ${within(b, levels.sum)}`,
    level: levels.closed,
  };
}

export function indexed(array: string, index: Expr): Expr {
  return primary(`${array}[${index.text}]`);
}
