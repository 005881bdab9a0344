/**
 * Sizes as algebra: what a type's axes, a loop's extents, a grid and a byte count are written in.
 *
 * A `Dim` is immutable, interned nowhere, and kept in one canonical form: a sum of monomials with integer
 * coefficients over atoms; an atom is a symbol or a quotient, remainder, minimum or maximum that could not be
 * resolved. Two sizes with equal keys (`dimKey`) are equal for all values of their symbols. The order of terms
 * and factors stays as written, for messages and because axes `X + Y` and `Y + X` hold their rows in different
 * order (`orderedKey`); the key does not see it.
 *
 * Symbols are integers of at least 1, divisors are positive. A size is a non-negative integer below 2^53;
 * differences on the way to one may be negative. Arithmetic is exact (bigint inside): what does not fit, a zero
 * divisor and a form that grows beyond `maxTerms` throw `DimError`, never wrap.
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

/** Operators that stay in the canonical form as atoms. */
export type DimCall = "floordiv" | "ceildiv" | "mod" | "min" | "max";

export type DimErrorReason = "overflow" | "zero divisor" | "unbound" | "negative" | "too large" | "syntax";

/** What arithmetic on sizes cannot do. Callers that hold a user's text turn it into a diagnostic. */
export class DimError extends Error {
  override readonly name = "DimError";
  readonly reason: DimErrorReason;
  constructor(reason: DimErrorReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A size with more terms or factors than this is nobody's tensor. */
export const maxTerms = 256;
const maxFactors = 64;
const maxDepth = 64;

export const zero: Dim = { kind: "const", value: 0 };
export const one: Dim = { kind: "const", value: 1 };

/** Throws `DimError` unless `n` is a safe integer. */
export function constant(n: number | bigint): Dim {
  const value = Number(n);
  if (!Number.isSafeInteger(value)) throw new DimError("overflow", `the size ${n} does not fit in 53 bits`);
  return { kind: "const", value };
}

export function symbol(name: string): Dim {
  return { kind: "symbol", name };
}

// ---------------------------------------------------------------- polynomials

/** One term of the canonical form. `key` names the monomial whatever the order of its factors. */
export interface Monomial {
  readonly coefficient: bigint;
  readonly atoms: readonly Dim[];
  readonly key: string;
}

export type Polynomial = readonly Monomial[];

/** The terms of a size, in the order written. */
export function polynomial(d: Dim): Polynomial {
  const terms = d.kind === "sum" ? d.terms : [d];
  const out: Monomial[] = [];
  for (const term of terms) {
    if (term.kind === "const") {
      if (term.value !== 0) out.push(monomial(BigInt(term.value), []));
    } else if (term.kind === "product") {
      const [first, ...rest] = term.factors;
      if (first?.kind === "const") out.push(monomial(BigInt(first.value), rest));
      else out.push(monomial(1n, term.factors));
    } else out.push(monomial(1n, [term]));
  }
  return out;
}

export function monomial(coefficient: bigint, atoms: readonly Dim[]): Monomial {
  if (atoms.length > maxFactors) throw new DimError("too large", "a size has too many factors");
  const key = atoms.length === 1 && atoms[0] ? dimKey(atoms[0]) : atoms.map(dimKey).sort().join("*");
  return { coefficient, atoms, key };
}

/** Merges like terms where the first of them stands, and builds the size. */
export function fromPolynomial(terms: Polynomial): Dim {
  const merged = new Map<string, Monomial>();
  for (const term of terms) {
    const before = merged.get(term.key);
    merged.set(term.key, before ? { ...before, coefficient: before.coefficient + term.coefficient } : term);
  }
  const dims: Dim[] = [];
  for (const term of merged.values()) if (term.coefficient !== 0n) dims.push(fromMonomial(term));
  if (dims.length > maxTerms) throw new DimError("too large", "a size has too many terms");
  const [first] = dims;
  if (first === undefined) return zero;
  return dims.length === 1 ? first : { kind: "sum", terms: dims };
}

function fromMonomial(term: Monomial): Dim {
  const scale = constant(term.coefficient);
  const [first] = term.atoms;
  if (first === undefined) return scale;
  if (term.coefficient !== 1n) return { kind: "product", factors: [scale, ...term.atoms] };
  return term.atoms.length === 1 ? first : { kind: "product", factors: term.atoms };
}

function scaled(terms: Polynomial, by: bigint): Polynomial {
  return terms.map((term) => ({ ...term, coefficient: term.coefficient * by }));
}

function multiplied(left: Polynomial, right: Polynomial): Polynomial {
  if (left.length * right.length > maxTerms * 4) throw new DimError("too large", "a size has too many terms");
  return left.flatMap((a) =>
    right.map((b) => monomial(a.coefficient * b.coefficient, [...a.atoms, ...b.atoms])),
  );
}

/** `m / by` as a monomial when all of `by`'s atoms and its coefficient are factors of `m`. */
export function divideMonomial(m: Monomial, by: Monomial): Monomial | undefined {
  if (by.coefficient === 0n || m.coefficient % by.coefficient !== 0n) return undefined;
  const atoms = [...m.atoms];
  for (const atom of by.atoms) {
    const at = atoms.findIndex((a) => dimEquals(a, atom));
    if (at < 0) return undefined;
    atoms.splice(at, 1);
  }
  return monomial(m.coefficient / by.coefficient, atoms);
}

// ---------------------------------------------------------------- operations

export function add(...dims: readonly Dim[]): Dim {
  return fromPolynomial(dims.flatMap(polynomial));
}

export function sub(left: Dim, right: Dim): Dim {
  return fromPolynomial([...polynomial(left), ...scaled(polynomial(right), -1n)]);
}

export function mul(...dims: readonly Dim[]): Dim {
  let product = polynomial(one);
  for (const dim of dims) product = polynomial(fromPolynomial(multiplied(product, polynomial(dim))));
  return fromPolynomial(product);
}

/** Rounds towards minus infinity. `right` must be positive where it is evaluated. */
export function floordiv(left: Dim, right: Dim): Dim {
  return divided("floordiv", left, right);
}

export function ceildiv(left: Dim, right: Dim): Dim {
  return divided("ceildiv", left, right);
}

/** `left - right * floordiv(left, right)`: never negative. */
export function mod(left: Dim, right: Dim): Dim {
  const divisor = positiveDivisor(right);
  const rest = fromPolynomial(splitMultiples(polynomial(left), divisor).rest);
  if (rest.kind === "const" && right.kind === "const")
    return constant(floorMod(BigInt(rest.value), BigInt(right.value)));
  if (rest.kind === "const" && rest.value === 0) return zero;
  if (rest.kind === "mod" && dimEquals(rest.right, right)) return rest;
  return atom("mod", rest, right);
}

export function min(left: Dim, right: Dim): Dim {
  return extremum("min", left, right);
}

export function max(left: Dim, right: Dim): Dim {
  return extremum("max", left, right);
}

function divided(kind: "floordiv" | "ceildiv", left: Dim, right: Dim): Dim {
  const exact = divideExactly(left, right);
  if (exact !== undefined) return exact;
  const divisor = positiveDivisor(right);
  const { quotient, rest } = splitMultiples(polynomial(left), divisor);
  const remaining = fromPolynomial(rest);
  return fromPolynomial([...quotient, ...polynomial(dividedRest(kind, remaining, right))]);
}

/** A quotient from which no whole multiple can be taken out any more. */
function dividedRest(kind: "floordiv" | "ceildiv", left: Dim, right: Dim): Dim {
  if (left.kind === "const" && right.kind === "const") {
    const [l, r] = [BigInt(left.value), BigInt(right.value)];
    return constant(kind === "floordiv" ? floorDiv(l, r) : -floorDiv(-l, r));
  }
  if (left.kind === "const" && left.value === 0) return zero;
  const shared = commonFactor([...polynomial(left), ...polynomial(right)]);
  if (shared.coefficient !== 1n || shared.atoms.length > 0) {
    return divided(kind, quotientBy(left, shared), quotientBy(right, shared));
  }
  // floor(floor(a / b) / c) = floor(a / (b c)), and likewise upwards.
  if (left.kind === kind) return divided(kind, left.left, mul(left.right, right));
  return atom(kind, left, right);
}

/** The exact polynomial quotient, or undefined where there is none for all values of the symbols. */
export function divideExactly(left: Dim, right: Dim): Dim | undefined {
  const divisor = polynomial(right);
  // One order for both makes the leading term of a product the product of the leading terms.
  const [head] = leadingFirst(divisor);
  if (head === undefined) throw new DimError("zero divisor", "a size is divided by 0");
  const quotient: Monomial[] = [];
  let rest = left;
  for (let step = 0; step < maxTerms; step += 1) {
    const [lead] = leadingFirst(polynomial(rest));
    if (lead === undefined) return fromPolynomial(quotient);
    const part = divideMonomial(lead, head);
    if (part === undefined) return undefined;
    quotient.push(part);
    rest = fromPolynomial([...polynomial(rest), ...scaled(multiplied([part], divisor), -1n)]);
  }
  return undefined;
}

/** Highest degree first, then by atoms compared one by one: a monomial order, so that division ends. */
function leadingFirst(terms: Polynomial): Polynomial {
  if (terms.length < 2) return terms;
  const keyed = terms.map((term) => ({ term, keys: term.atoms.map(dimKey).sort() }));
  keyed.sort((a, b) => b.keys.length - a.keys.length || compareKeys(a.keys, b.keys));
  return keyed.map(({ term }) => term);
}

function compareKeys(a: readonly string[], b: readonly string[]): number {
  for (const [i, key] of a.entries()) {
    const other = b[i] ?? "";
    if (key !== other) return key < other ? -1 : 1;
  }
  return 0;
}

/** Writes `terms` as `quotient * divisor + rest`, for a divisor of one term. */
function splitMultiples(terms: Polynomial, divisor: Dim): { quotient: Polynomial; rest: Polynomial } {
  const [head, ...others] = polynomial(divisor);
  if (head === undefined || others.length > 0) return { quotient: [], rest: terms };
  const quotient: Monomial[] = [];
  const rest: Monomial[] = [];
  for (const term of terms) {
    // 7 k + .. over 3 gives 2 k and leaves k: the remainder's coefficient is the canonical one.
    const left = floorMod(term.coefficient, head.coefficient);
    const part = divideMonomial({ ...term, coefficient: term.coefficient - left }, head);
    if (part === undefined) rest.push(term);
    else {
      if (part.coefficient !== 0n) quotient.push(part);
      if (left !== 0n) rest.push({ ...term, coefficient: left });
    }
  }
  return { quotient, rest };
}

function positiveDivisor(right: Dim): Dim {
  if (right.kind === "const" && right.value <= 0)
    throw new DimError("zero divisor", `a size is divided by ${right.value}`);
  return right;
}

function commonFactor(terms: Polynomial): Monomial {
  const [first, ...rest] = terms;
  if (first === undefined) return monomial(1n, []);
  let coefficient = first.coefficient < 0n ? -first.coefficient : first.coefficient;
  let atoms = [...first.atoms];
  for (const term of rest) {
    coefficient = gcd(coefficient, term.coefficient);
    const left = [...term.atoms];
    atoms = atoms.filter((atom) => {
      const at = left.findIndex((other) => dimEquals(atom, other));
      if (at >= 0) left.splice(at, 1);
      return at >= 0;
    });
  }
  return monomial(coefficient, atoms);
}

function quotientBy(d: Dim, factor: Monomial): Dim {
  return fromPolynomial(polynomial(d).flatMap((term) => divideMonomial(term, factor) ?? []));
}

function extremum(kind: "min" | "max", left: Dim, right: Dim): Dim {
  const parts = new Map<string, Dim>();
  for (const side of [left, right]) for (const part of operands(kind, side)) parts.set(dimKey(part), part);
  const kept = [...parts.values()].filter((part, i, all) =>
    all.every((other, j) => {
      if (i === j) return true;
      const difference = sub(part, other);
      // Two that differ by a constant are never both needed.
      return difference.kind !== "const" || (kind === "min" ? difference.value < 0 : difference.value > 0);
    }),
  );
  kept.sort((a, b) => (dimKey(a) < dimKey(b) ? -1 : 1));
  return kept.reduce((a, b) => atom(kind, a, b));
}

function operands(kind: "min" | "max", d: Dim): readonly Dim[] {
  return d.kind === kind ? [...operands(kind, d.left), ...operands(kind, d.right)] : [d];
}

function atom(kind: DimCall, left: Dim, right: Dim): Dim {
  const made: Dim = { kind, left, right };
  if (depth(made) > maxDepth) throw new DimError("too large", "a size is nested too deeply");
  return made;
}

function depth(d: Dim): number {
  switch (d.kind) {
    case "const":
    case "symbol":
      return 0;
    case "sum":
      return Math.max(...d.terms.map(depth));
    case "product":
      return Math.max(...d.factors.map(depth));
    default:
      return 1 + Math.max(depth(d.left), depth(d.right));
  }
}

// ---------------------------------------------------------------- comparison and traversal

/** A string that two sizes share exactly when their canonical forms agree, whatever the order written. */
export function dimKey(d: Dim): string {
  switch (d.kind) {
    case "const":
      return String(d.value);
    case "symbol":
      return d.name;
    case "sum":
      return `(${d.terms.map(dimKey).sort().join("+")})`;
    case "product": {
      const [first, ...rest] = d.factors;
      const atoms = first?.kind === "const" ? rest : d.factors;
      const scale = first?.kind === "const" ? `${first.value}*` : "";
      return scale + atoms.map(dimKey).sort().join("*");
    }
    default:
      return `${d.kind}(${dimKey(d.left)},${dimKey(d.right)})`;
  }
}

export function dimEquals(a: Dim, b: Dim): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind) return false;
  if (a.kind === "const" && b.kind === "const") return a.value === b.value;
  if (a.kind === "symbol" && b.kind === "symbol") return a.name === b.name;
  return dimKey(a) === dimKey(b);
}

/** As `dimKey`, but `X + Y` and `Y + X` differ: the identity of an axis that was joined from parts. */
export function orderedKey(d: Dim): string {
  return d.kind === "sum" ? `(${d.terms.map(dimKey).join("+")})` : dimKey(d);
}

/** True for a size that is 1 at least whatever its symbols are; false where that does not show at once. */
export function isPositive(d: Dim): boolean {
  switch (d.kind) {
    case "const":
      return d.value >= 1;
    case "symbol":
      return true;
    case "sum":
      return d.terms.every(isPositive);
    case "product":
      return d.factors.every(isPositive);
    case "ceildiv":
    case "min":
      return isPositive(d.left) && isPositive(d.right);
    case "max":
      return isPositive(d.left) || isPositive(d.right);
    case "floordiv":
    case "mod":
      return false;
  }
}

export function isConstant(d: Dim): d is Extract<Dim, { kind: "const" }> {
  return d.kind === "const";
}

/** Names in order of first appearance. */
export function symbols(d: Dim, into: Set<string> = new Set()): Set<string> {
  if (d.kind === "symbol") into.add(d.name);
  else for (const part of children(d)) symbols(part, into);
  return into;
}

export function children(d: Dim): readonly Dim[] {
  switch (d.kind) {
    case "const":
    case "symbol":
      return [];
    case "sum":
      return d.terms;
    case "product":
      return d.factors;
    default:
      return [d.left, d.right];
  }
}

/** Replaces symbols, all at once, and brings the result into canonical form. */
export function substitute(d: Dim, by: ReadonlyMap<string, Dim>): Dim {
  return rebuild(d, (name) => by.get(name) ?? symbol(name));
}

function rebuild(d: Dim, of: (name: string) => Dim): Dim {
  switch (d.kind) {
    case "const":
      return d;
    case "symbol":
      return of(d.name);
    case "sum":
      return add(...d.terms.map((term) => rebuild(term, of)));
    case "product":
      return mul(...d.factors.map((factor) => rebuild(factor, of)));
    default:
      return combine(d.kind, rebuild(d.left, of), rebuild(d.right, of));
  }
}

/** The canonical form of one call. */
export function combine(kind: DimCall, left: Dim, right: Dim): Dim {
  switch (kind) {
    case "floordiv":
      return floordiv(left, right);
    case "ceildiv":
      return ceildiv(left, right);
    case "mod":
      return mod(left, right);
    case "min":
      return min(left, right);
    case "max":
      return max(left, right);
  }
}

// ---------------------------------------------------------------- values

/** The size's value. Throws `DimError` where a symbol is unbound or the value is negative or above 2^53 - 1. */
export function evaluate(d: Dim, values: ReadonlyMap<string, number>): number {
  const value = evaluateSigned(d, values);
  if (value < 0n) throw new DimError("negative", `the size ${dimKey(d)} is ${value}`);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new DimError("overflow", `the size ${dimKey(d)} is ${value}, more than 2^53 - 1`);
  return Number(value);
}

/** As `evaluate`, with undefined for what would throw. */
export function tryEvaluate(d: Dim, values: ReadonlyMap<string, number>): number | undefined {
  try {
    return evaluate(d, values);
  } catch (error) {
    if (error instanceof DimError) return undefined;
    throw error;
  }
}

/** The exact value, which may be negative: for relations between sizes. */
export function evaluateSigned(d: Dim, values: ReadonlyMap<string, number>): bigint {
  switch (d.kind) {
    case "const":
      return BigInt(d.value);
    case "symbol": {
      const value = values.get(d.name);
      if (value === undefined) throw new DimError("unbound", `the size ${d.name} is not given`);
      if (!Number.isSafeInteger(value)) throw new DimError("overflow", `the size ${d.name} is ${value}`);
      return BigInt(value);
    }
    case "sum":
      return d.terms.reduce((total, term) => total + evaluateSigned(term, values), 0n);
    case "product":
      return d.factors.reduce((total, factor) => total * evaluateSigned(factor, values), 1n);
    default: {
      const left = evaluateSigned(d.left, values);
      const right = evaluateSigned(d.right, values);
      if (d.kind === "min") return left < right ? left : right;
      if (d.kind === "max") return left > right ? left : right;
      if (right <= 0n) throw new DimError("zero divisor", `a size is divided by ${right}`);
      if (d.kind === "floordiv") return floorDiv(left, right);
      return d.kind === "ceildiv" ? -floorDiv(-left, right) : floorMod(left, right);
    }
  }
}

/** Towards minus infinity, for divisors of either sign. */
export function floorDiv(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

export function floorMod(a: bigint, b: bigint): bigint {
  const rest = a % b;
  return rest < 0n ? rest + (b < 0n ? -b : b) : rest;
}

export function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a < 0n ? -a : a, b < 0n ? -b : b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}
