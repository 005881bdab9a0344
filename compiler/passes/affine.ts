/**
 * Index arithmetic as sums: what is known of an i32 inside a loop, from the extents of its axes.
 *
 * An index is a sum of atoms times sizes, plus a size. An atom is an axis, or a quotient, remainder or read that is
 * no sum. Sizes are products of positive symbols, and indices are taken not to overflow an i32: an axis that does
 * could not be looped over.
 */
import {
  add,
  constant,
  DimError,
  divideExactly,
  floordiv,
  mul,
  sub,
  zero,
  one,
  type Dim,
} from "../types/dim.ts";
import { proveAtMost, proveDivides, proveLess, type Facts } from "../types/prover.ts";
import type { Arena } from "../tensor/arena.ts";
import type { LoopAxis, Scalar } from "../tensor/ir.ts";

export interface Affine {
  readonly terms: ReadonlyMap<Scalar, Dim>;
  readonly constant: Dim;
}

/** Ends of a value, both included. */
export interface Range {
  readonly low: Dim;
  readonly high: Dim;
}

export interface Space {
  readonly arena: Arena;
  readonly axes: readonly LoopAxis[];
  readonly facts: Facts;
}

/** Runs a question about sizes; a size that is too large to reason about has no answer. */
export function guarded<T>(question: () => T): T | undefined {
  try {
    return question();
  } catch (error) {
    if (error instanceof DimError) return undefined;
    throw error;
  }
}

export function affineOf(s: Scalar): Affine {
  if (s.kind === "const") return { terms: new Map(), constant: constant(Number(s.value)) };
  if (s.kind === "dim") return { terms: new Map(), constant: s.dim };
  const [a, b] = s.kind === "apply" ? s.args : [];
  if (s.kind === "apply" && a !== undefined && s.type === "i32") {
    if (s.fn === "add" && b !== undefined) return plus(affineOf(a), affineOf(b), one);
    if (s.fn === "sub" && b !== undefined) return plus(affineOf(a), affineOf(b), constant(-1));
    if (s.fn === "neg") return plus({ terms: new Map(), constant: zero }, affineOf(a), constant(-1));
    if (s.fn === "mul" && b !== undefined) return product(s, affineOf(a), affineOf(b));
  }
  return { terms: new Map([[s, one]]), constant: zero };
}

function product(s: Scalar, a: Affine, b: Affine): Affine {
  const [sum, factor] = b.terms.size === 0 ? [a, b.constant] : [b, a.constant];
  if (a.terms.size > 0 && b.terms.size > 0) return { terms: new Map([[s, one]]), constant: zero };
  return plus({ terms: new Map(), constant: zero }, sum, factor);
}

/** a + factor * b, without terms that vanish. */
export function plus(a: Affine, b: Affine, factor: Dim): Affine {
  const terms = new Map(a.terms);
  for (const [atom, coefficient] of b.terms) {
    const sum = add(terms.get(atom) ?? zero, mul(coefficient, factor));
    if (sum.kind === "const" && sum.value === 0) terms.delete(atom);
    else terms.set(atom, sum);
  }
  return { terms, constant: add(a.constant, mul(b.constant, factor)) };
}

/** The sum as a scalar: atoms in order of their ids, the constant last. */
export function scalarOf(a: Arena, sum: Affine): Scalar {
  let value: Scalar | undefined;
  for (const [atom, coefficient] of [...sum.terms].sort(([x], [y]) => x.id - y.id)) {
    const term = a.apply("mul", atom, a.dim(coefficient));
    value = value === undefined ? term : a.apply("add", value, term);
  }
  return value === undefined ? a.dim(sum.constant) : a.apply("add", value, a.dim(sum.constant));
}

/** Undefined where an atom has no range or a coefficient no sign. */
export function rangeOf(space: Space, sum: Affine): Range | undefined {
  let [low, high] = [sum.constant, sum.constant];
  for (const [atom, coefficient] of sum.terms) {
    const range = atomRange(space, atom);
    if (range === undefined) return undefined;
    if (proveAtMost(space.facts, zero, coefficient)) {
      low = add(low, mul(coefficient, range.low));
      high = add(high, mul(coefficient, range.high));
    } else if (proveAtMost(space.facts, coefficient, zero)) {
      low = add(low, mul(coefficient, range.high));
      high = add(high, mul(coefficient, range.low));
    } else return undefined;
  }
  return { low, high };
}

function atomRange(space: Space, atom: Scalar): Range | undefined {
  if (atom.kind === "axis") {
    const axis = space.axes[atom.axis];
    return axis === undefined ? undefined : { low: zero, high: sub(axis.extent, one) };
  }
  if (atom.kind !== "apply" || atom.type !== "i32") return undefined;
  const [a, b] = atom.args;
  const divisor = b === undefined ? undefined : sizeOf(b);
  if (a === undefined || divisor === undefined || !proveLess(space.facts, zero, divisor)) return undefined;
  if (atom.fn === "mod") return { low: zero, high: sub(divisor, one) };
  if (atom.fn !== "floordiv") return undefined;
  const range = rangeOf(space, affineOf(a));
  if (range === undefined || !proveAtMost(space.facts, zero, range.low)) return undefined;
  const whole = quotient(space, add(range.high, one), divisor);
  return { low: zero, high: whole === undefined ? floordiv(range.high, divisor) : sub(whole, one) };
}

export function sizeOf(s: Scalar): Dim | undefined {
  if (s.kind === "dim") return s.dim;
  return s.kind === "const" && s.type === "i32" ? constant(Number(s.value)) : undefined;
}

/** left / right where that is exact. */
export function quotient(space: Space, left: Dim, right: Dim): Dim | undefined {
  const exact = divideExactly(left, right);
  if (exact !== undefined) return exact;
  return proveDivides(space.facts, right, left) ? floordiv(left, right) : undefined;
}

/** `sum` = divisor * whole + rest with 0 <= rest < divisor; undefined where that cannot be proved. */
export function divide(
  space: Space,
  sum: Affine,
  divisor: Dim,
): { readonly whole: Affine; readonly rest: Affine } | undefined {
  const whole = new Map<Scalar, Dim>();
  const rest = new Map<Scalar, Dim>();
  for (const [atom, coefficient] of sum.terms) {
    const exact = quotient(space, coefficient, divisor);
    if (exact === undefined) rest.set(atom, coefficient);
    else whole.set(atom, exact);
  }
  const exact =
    sum.constant.kind === "const" && sum.constant.value === 0 ? zero : quotient(space, sum.constant, divisor);
  const left: Affine = { terms: rest, constant: exact === undefined ? sum.constant : zero };
  const range = rangeOf(space, left);
  if (
    range === undefined ||
    !proveAtMost(space.facts, zero, range.low) ||
    !proveLess(space.facts, range.high, divisor)
  )
    return undefined;
  return { whole: { terms: whole, constant: exact ?? zero }, rest: left };
}
