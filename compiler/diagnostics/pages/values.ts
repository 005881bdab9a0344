/** Pages about values, calls, and what is used exactly once. */
import type { Page } from "../pages.ts";

export const valuePages: Readonly<Record<string, Page>> = {
  WF2011: {
    title: "type mismatch",
    page: `A value has another type than the place it stands in. Where a type is written, floats round to it and
integers become floats or wider integers by themselves; a float becomes an integer, and a number a condition, only
by a cast: 'i32(x)', 'x != 0'. Block-scaled types are made by 'quantize' and read by indexing or 'dequantize'.`,
  },
  WF2018: {
    title: "wrong number of arguments",
    page: `A call gives one argument for each parameter; those with a default may be left out at the end.`,
  },
  WF2021: {
    title: "type parameter",
    page: `A type parameter takes its argument's dtype. Its class says which it may take: 'float' any float, 'int' any
integer, 'weight' any stored float, block-scaled too. Two arguments of one parameter have one dtype; an f32 that no
type was written for rounds to the other's.`,
  },
  WF2038: {
    title: "taking a record apart",
    page: `'let (a, b) = r' names the parts of a record in order, all of them.`,
  },
  WF2039: {
    title: "operator without meaning here",
    page: `Arithmetic is for numbers, 'and', 'or' and 'not' for conditions, '%' for integers, 'any' and 'all' for
conditions. 'select(c, a, b)' makes numbers of a condition. A power is written as a product, or 'exp2'.`,
  },
  WF2044: {
    title: "body without a result",
    page: `The last line of a body is the function's result, and has its type.`,
  },
  WF2045: {
    title: "brackets of a call",
    page: `Brackets after a function's name hold the sizes that the call names ('softmax[T](a)', 'topk[E, 8](a)'), or the
index variables of a reduction ('sum[k](x[k])', 'sum[k in T](..)'), or the parts of 'split[A | B]' and 'join[A + B]'.`,
  },
  WF2050: {
    title: "routing plan never used",
    page: `'dispatch' sends copies of rows to experts and gives a plan of where they went; 'combine' brings them back by
that plan. A plan is used exactly once, so that no row is lost:

    let (rows, plan) = dispatch[E](x, index)
    ..
    combine(y, plan, weight)`,
  },
  WF2051: {
    title: "routing plan used twice",
    page: `A plan is used exactly once, so that no row is counted twice. Dispatch again for a second use.`,
  },
  WF2052: {
    title: "routing plan used repeatedly",
    page: `A plan is used exactly once, so not inside 'for' or a reduction, which would use it for each element.`,
  },
  WF2053: {
    title: "state changed without 'mut'",
    page: `A function may append to a cache that its signature has as 'mut':

    fn decode(x: bf16[B, S, D], mut kv: Paged<bf16, 64>[B, T, D]) -> ..

so that a call shows which state it changes.`,
  },
  WF2054: {
    title: "state changed inside an expression",
    page: `State is used in order, line by line. What changes it stands alone on its line or is the whole value of a 'let';
never inside an expression, a 'for' or a reduction.`,
  },
  WF2055: {
    title: "state given twice",
    page: `One call may not change a state that it is also given under another name: the order would not be clear.`,
  },
  WF2056: {
    title: "state kept as a value",
    page: `State is changed in place, so a second name for it would see changes it does not show. Use 'kv.read()'.`,
  },
};
