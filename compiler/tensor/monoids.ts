/**
 * The monoids of reductions: one row each. `combine` is a scalar function, so that a target needs nothing new.
 *
 * The order of a reduction is free: a float `sum` or `prod` may be associated in any way. `max` and `min` ignore
 * NaN as the functions do; with nothing to combine the identity is the result. Integer identities of `max` and
 * `min` are the type's ends.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { boolTypes, numericTypes } from "./scalar-types.ts";
import type { ScalarType } from "./ir.ts";

export interface Monoid {
  readonly name: string;
  readonly types: readonly ScalarType[];
  /** A row of the scalar-function table: commutative and associative, on floats up to rounding. */
  readonly combine: string;
  /** True where combine(x, x) = x, so that a value may be taken twice. */
  readonly idempotent: boolean;
  readonly identity: (type: ScalarType) => number | bigint | boolean;
  /** A function f with f(combine(x, y), z) = combine(f(x, z), f(y, z)): what moves out of the reduction. */
  readonly distributes: readonly { readonly fn: string; readonly sign: "any" | "positive" }[];
}

const zero = { f32: 0, i32: 0, u32: 0, i64: 0n, bool: false };
const one = { f32: 1, i32: 1, u32: 1, i64: 1n, bool: true };
const least = { f32: -Infinity, i32: -(2 ** 31), u32: 0, i64: -(2n ** 63n), bool: false };
const greatest = { f32: Infinity, i32: 2 ** 31 - 1, u32: 2 ** 32 - 1, i64: 2n ** 63n - 1n, bool: true };

function row(
  name: string,
  combine: string,
  types: readonly ScalarType[],
  identities: Readonly<Record<ScalarType, number | bigint | boolean>>,
  distributes: Monoid["distributes"],
): [string, Monoid] {
  const idempotent = name !== "sum" && name !== "prod";
  return [name, { name, types, combine, idempotent, identity: (type) => identities[type], distributes }];
}

export const monoids: ReadonlyMap<string, Monoid> = new Map([
  row("sum", "add", numericTypes, zero, [{ fn: "mul", sign: "any" }]),
  row("prod", "mul", numericTypes, one, []),
  row("max", "max", numericTypes, least, [
    { fn: "add", sign: "any" },
    { fn: "sub", sign: "any" },
    { fn: "mul", sign: "positive" },
  ]),
  row("min", "min", numericTypes, greatest, [
    { fn: "add", sign: "any" },
    { fn: "sub", sign: "any" },
    { fn: "mul", sign: "positive" },
  ]),
  row("any", "or", boolTypes, zero, [{ fn: "and", sign: "any" }]),
  row("all", "and", boolTypes, one, [{ fn: "or", sign: "any" }]),
]);

export function monoidOf(name: string): Monoid {
  const monoid = monoids.get(name);
  invariant(monoid !== undefined, `there is no monoid '${name}'`);
  return monoid;
}
