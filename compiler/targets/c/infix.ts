/** The kernel IR's binary functions that all C-like languages write between their operands. */
import type { BinaryFn } from "../../kernel/ir.ts";
import type { InfixOperator } from "./expression.ts";

/** `min` and `max` are calls; `eq` and `ne`, and `and`, `or`, `xor` of bools, are the dialect's. */
export const infixOperators: Readonly<Record<Exclude<BinaryFn, "min" | "max">, InfixOperator>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  rem: "%",
  and: "&",
  or: "|",
  xor: "^",
  shl: "<<",
  shr: ">>",
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

/** The same on bools. */
export const boolOperators: Readonly<Partial<Record<BinaryFn, InfixOperator>>> = {
  and: "&&",
  or: "||",
  xor: "!=",
  eq: "==",
  ne: "!=",
};
