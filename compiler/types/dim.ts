/**
 * Sizes as algebra: what a type's axes, a loop's extents, a grid and a byte count are written in.
 *
 * A `Dim` is immutable, interned nowhere, and kept in one canonical form, so that two equal sizes have equal
 * keys: a sum of monomials with integer coefficients over atoms; an atom is a symbol or a quotient, remainder,
 * minimum or maximum that could not be resolved. All values are non-negative integers below 2^53.
 */
export type Dim =
  | { readonly kind: "const"; readonly value: number }
  | { readonly kind: "symbol"; readonly name: string }
  | { readonly kind: "sum"; readonly terms: readonly Dim[] }
  | { readonly kind: "product"; readonly factors: readonly Dim[] }
  /** Floor division; an exact quotient is the same node, its exactness is a fact of the prover's. */
  | { readonly kind: "floordiv"; readonly left: Dim; readonly right: Dim }
  | { readonly kind: "ceildiv"; readonly left: Dim; readonly right: Dim }
  | { readonly kind: "mod"; readonly left: Dim; readonly right: Dim }
  | { readonly kind: "min"; readonly left: Dim; readonly right: Dim }
  | { readonly kind: "max"; readonly left: Dim; readonly right: Dim };
