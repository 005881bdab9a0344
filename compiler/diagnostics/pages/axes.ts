/** Pages about axes, indices and sizes. */
import type { Page } from "../pages.ts";

export const axisPages: Readonly<Record<string, Page>> = {
  WF2012: {
    title: "axis mismatch",
    page: `Every axis has a name, its size as written. Two axes with different names do not stand for one another, even
when their sizes happen to be equal:

    for b, s, t in T: q[b, s] * k[b, s]      // k is [B, T], and s ranges over S

Index with a variable over the right axis. Where two names mean one axis, say so: 'x[S as T]' makes T equal to S,
or checks that it is. 'X + Y' and 'Y + X' are different axes, since they hold their rows in different order.`,
  },
  WF2013: {
    title: "wrong number of indices",
    page: `A tensor is read with one index for each of its axes. In a generic function '...' stands for the leading
axes: 'for ..., d: x[..., d]'.`,
  },
  WF2014: {
    title: "range unknown",
    page: `An index variable ranges over the axis that it, alone, first indexes. One that is used only in index
arithmetic, or not as an index, needs its range:

    for i in D / 2: x[2 * i]`,
  },
  WF2015: {
    title: "index may be outside",
    page: `Index arithmetic is affine in the index variables and sizes, and the compiler proves that it stays inside the
axis. Where it cannot, say what a read outside gives:

    for s: x[s - 1] else 0.0

An index that is read from a tensor ('table[ids[b], d]') is a gather: it needs no proof, and never reads outside.`,
  },
  WF2016: {
    title: "quotient may not be exact",
    page: `A '/' in a type is exact. What makes it so is said once, where the dim is declared or in the function's
'where':

    dim E where E % G == 0
    fn group(x: f32[N, E]) -> f32[N, G, E / G] where E % G == 0`,
  },
  WF2017: {
    title: "reshape that does not fit",
    page: `'x as [..]' splits one axis into neighbours or merges neighbours into one, keeping the order of the elements.
The product of the parts is the whole; where that cannot be proved it is checked when the sizes are known. A
transpose is not a reshape: 'for a, b: x[b, a]'.`,
  },
  WF2019: {
    title: "size that no argument fixes",
    page: `A call binds the sizes of a signature from its arguments. One that none of them fixes is the caller's size of
that name, or is given in brackets: 'f[K](x)' for 'fn f[K](..)'.`,
  },
  WF2020: {
    title: "claim that is false",
    page: `A 'where', a rename or a built-in asks for a relation of sizes that fails for all sizes that are possible
here. A relation that is only not proved is checked at run time instead.`,
  },
  WF2029: {
    title: "axis that stands twice",
    page: `'W[D, D]' has D twice, so the name does not say which is meant. Such a tensor is indexed:
'for i, j: w[i, j]'; or one axis is renamed where the tensor is declared.`,
  },
  WF2030: {
    title: "no such axis",
    page: `Brackets name an axis ('softmax[T](a)', 'split[A | B](x)', 'x[S as T]') that the tensor does not have. The
axis that 'split[A | B]' cuts is 'A + B', in this order.`,
  },
  WF2031: {
    title: "index that is not one integer",
    page: `Each index is one integer. A tensor of indices is itself indexed: 'table[ids[b, s], d]'; a float is cast:
'x[i32(r)]'.`,
  },
  WF2033: {
    title: "size out of range",
    page: `Sizes are whole numbers below 2^53. A product of constants goes beyond that, a size is divided by 0, or a size
has grown to hundreds of terms.`,
  },
  WF2034: {
    title: "not a size",
    page: `Sizes are made of dims (capital names), whole numbers above 0, and + - * / %. A 'where' compares them.`,
  },
  WF2035: {
    title: "'...' in the wrong place",
    page: `'...' stands for any leading axes of a generic function's arguments. It comes first in a type, and in a body
first in 'for ..., d:' and in 'x[..., d]' inside such a 'for'.`,
  },
  WF2036: {
    title: "block scale",
    page: `Block scales are part of a float type, over its last axes: 'e4m3[N, K] @ (128, 128)' has one f32 scale for
each block of 128 x 128, 'ue8m0' after it makes the scales powers of two. A float with the exponents of f32, such as bf16,
has none.`,
  },
  WF2037: {
    title: "ragged axis",
    page: `'dim R[E]' declares a size that depends on the index of the axis E, and 'bf16[E, R[E], D]' has R[e] rows for
each e. Such an axis is indexed together with the one that it depends on: 'for e, t, d: rows[e, t, d]'. Rows of
two dispatches do not mix.`,
  },
};
