/**
 * What is known of sizes, and what follows from it.
 *
 * A claim is proved by writing a difference as a polynomial over variables that are at least 0: where all its
 * coefficients are, so is it. Where some are not, known inequalities are taken away from it, a few steps deep.
 * "E % G == 0" becomes E = G * q with a new size q, so that exact quotients are plain polynomials.
 *
 * Sound: what is proved holds for all sizes that the facts allow. Not complete: a step budget bounds every
 * question, and "not proved" is then the answer. A caller makes it a run-time check or a diagnostic.
 */
import {
  add,
  children,
  combine,
  constant,
  type Dim,
  DimError,
  dimEquals,
  dimKey,
  divideExactly,
  divideMonomial,
  fromPolynomial,
  gcd,
  monomial,
  mul,
  one,
  polynomial,
  sub,
  substitute,
  symbol,
  symbols,
  zero,
} from "./dim.ts";

export type Relation = "==" | "<" | "<=" | "!=";

export interface Claim {
  readonly left: Dim;
  readonly relation: Relation;
  readonly right: Dim;
}

/** A variable of index arithmetic: `0 <= name < extent`. */
export interface IndexRange {
  readonly name: string;
  readonly extent: Dim;
}

export interface Facts {
  /** Sizes that others define: constants, equalities, and `E = G * q` for `E % G == 0`. */
  readonly values: ReadonlyMap<string, Dim>;
  /** Differences that are at least 0. */
  readonly nonNegative: readonly Dim[];
  /** `left % right == 0` that no value could say. */
  readonly multiples: readonly { readonly left: Dim; readonly right: Dim }[];
  /** Variables that may be 0; every other symbol is at least 1. */
  readonly fromZero: ReadonlySet<string>;
}

export const noFacts: Facts = { values: new Map(), nonNegative: [], multiples: [], fromZero: new Set() };

const maxSteps = 400;
const maxDepth = 5;
const maxFacts = 64;

// ---------------------------------------------------------------- learning

/** Adds claims that hold. What a claim says in a form that the prover cannot use is left out, which is sound. */
export function learn(facts: Facts, claims: Iterable<Claim>): Facts {
  let known = facts;
  for (const claim of claims) known = guarded(() => learnOne(known, claim), known);
  return known;
}

export function withIndices(facts: Facts, ranges: Iterable<IndexRange>): Facts {
  let known = facts;
  for (const { name, extent } of ranges) {
    const fromZero = new Set(known.fromZero).add(name);
    const last = sub(sub(extent, one), symbol(name));
    known = { ...known, fromZero, nonNegative: [...known.nonNegative, simplify(known, last)] };
  }
  return known;
}

function learnOne(facts: Facts, claim: Claim): Facts {
  const left = simplify(facts, claim.left);
  const right = simplify(facts, claim.right);
  if (claim.relation === "!=" || facts.nonNegative.length + facts.multiples.length >= maxFacts) return facts;
  if (claim.relation === "<") return atLeastZero(facts, sub(sub(right, left), one));
  if (claim.relation === "<=") return atLeastZero(facts, sub(right, left));
  const remainder =
    left.kind === "mod" && isZero(right) ? left : right.kind === "mod" && isZero(left) ? right : undefined;
  if (remainder) return learnMultiple(facts, remainder.left, remainder.right);
  const solved = solve(left, right) ?? solve(right, left);
  if (solved) return define(facts, solved.name, solved.value);
  return atLeastZero(atLeastZero(facts, sub(left, right)), sub(right, left));
}

function learnMultiple(facts: Facts, left: Dim, right: Dim): Facts {
  if (left.kind === "symbol" && !symbols(right).has(left.name)) {
    // The name prints like the quotient and cannot be a user's.
    return define(facts, left.name, mul(right, symbol(`${left.name}/${dimKey(right)}`)));
  }
  return { ...facts, multiples: [...facts.multiples, { left, right }] };
}

function solve(side: Dim, other: Dim): { name: string; value: Dim } | undefined {
  return side.kind === "symbol" && !symbols(other).has(side.name)
    ? { name: side.name, value: other }
    : undefined;
}

function define(facts: Facts, name: string, value: Dim): Facts {
  const by = new Map([[name, value]]);
  const values = new Map<string, Dim>();
  for (const [known, dim] of facts.values) values.set(known, substitute(dim, by));
  values.set(name, value);
  const bounds = facts.nonNegative.map((bound) => substitute(bound, by));
  // The defined size was at least 1, and that must not be lost with its name.
  if (!facts.fromZero.has(name)) bounds.push(sub(value, one));
  const multiples = facts.multiples.map((m) => ({
    left: substitute(m.left, by),
    right: substitute(m.right, by),
  }));
  return { ...facts, values, nonNegative: bounds.filter((bound) => bound.kind !== "const"), multiples };
}

function atLeastZero(facts: Facts, difference: Dim): Facts {
  return difference.kind === "const" ? facts : { ...facts, nonNegative: [...facts.nonNegative, difference] };
}

function isZero(d: Dim): boolean {
  return d.kind === "const" && d.value === 0;
}

// ---------------------------------------------------------------- asking

/** The size with everything put in that the facts define, and quotients and remainders that they resolve. */
export function simplify(facts: Facts, d: Dim): Dim {
  const plain = facts.values.size > 0 ? substitute(d, facts.values) : d;
  return facts.multiples.length > 0 && hasQuotient(plain) ? resolveMultiples(facts, plain) : plain;
}

function hasQuotient(d: Dim): boolean {
  return d.kind === "mod" || d.kind === "ceildiv" || children(d).some(hasQuotient);
}

function resolveMultiples(facts: Facts, d: Dim): Dim {
  if (d.kind === "const" || d.kind === "symbol") return d;
  if (d.kind === "sum") return add(...d.terms.map((term) => resolveMultiples(facts, term)));
  if (d.kind === "product") return mul(...d.factors.map((factor) => resolveMultiples(facts, factor)));
  const [left, right] = [resolveMultiples(facts, d.left), resolveMultiples(facts, d.right)];
  if (d.kind === "mod" && divisible(facts, left, right, maxDepth)) return zero;
  if (d.kind === "ceildiv" && divisible(facts, left, right, maxDepth))
    return combine("floordiv", left, right);
  return combine(d.kind, left, right);
}

export function proveEqual(facts: Facts, left: Dim, right: Dim): boolean {
  return guarded(() => {
    if (dimEquals(left, right)) return true;
    const [l, r] = [simplify(facts, left), simplify(facts, right)];
    if (dimEquals(l, r)) return true;
    const difference = sub(l, r);
    if (difference.kind === "const") return difference.value === 0;
    // Two symbols that no fact relates are the common case of a mistake: say so at once.
    if (!mayRelate(facts, difference)) return false;
    return proveNonNegative(facts, difference) && proveNonNegative(facts, sub(r, l));
  }, false);
}

/** Both sides can be settled only by a fact, or by what a quotient, remainder, minimum or maximum means. */
function mayRelate(facts: Facts, difference: Dim): boolean {
  return (
    facts.nonNegative.length > 0 ||
    facts.multiples.length > 0 ||
    polynomial(difference).some((term) => term.atoms.some((a) => a.kind !== "symbol"))
  );
}

/** `dividend % divisor == 0`. */
export function proveDivides(facts: Facts, divisor: Dim, dividend: Dim): boolean {
  return guarded(
    () => divisible(facts, simplify(facts, dividend), simplify(facts, divisor), maxDepth),
    false,
  );
}

export function proveAtMost(facts: Facts, left: Dim, right: Dim): boolean {
  return guarded(() => proveNonNegative(facts, sub(simplify(facts, right), simplify(facts, left))), false);
}

export function proveLess(facts: Facts, left: Dim, right: Dim): boolean {
  return guarded(
    () => proveNonNegative(facts, sub(sub(simplify(facts, right), simplify(facts, left)), one)),
    false,
  );
}

/** True where `left != right` for all sizes: then a type can be refused at once. */
export function proveDifferent(facts: Facts, left: Dim, right: Dim): boolean {
  return proveLess(facts, left, right) || proveLess(facts, right, left);
}

export function prove(facts: Facts, claim: Claim): boolean {
  switch (claim.relation) {
    case "==": {
      const { left, right } = claim;
      if (left.kind === "mod" && isZero(right)) return proveDivides(facts, left.right, left.left);
      if (right.kind === "mod" && isZero(left)) return proveDivides(facts, right.right, right.left);
      return proveEqual(facts, left, right);
    }
    case "<":
      return proveLess(facts, claim.left, claim.right);
    case "<=":
      return proveAtMost(facts, claim.left, claim.right);
    case "!=":
      return proveDifferent(facts, claim.left, claim.right);
  }
}

/** The claim fails for all sizes that the facts allow. */
export function refute(facts: Facts, claim: Claim): boolean {
  switch (claim.relation) {
    case "==":
      return proveDifferent(facts, claim.left, claim.right);
    case "<":
      return proveAtMost(facts, claim.right, claim.left);
    case "<=":
      return proveLess(facts, claim.right, claim.left);
    case "!=":
      return proveEqual(facts, claim.left, claim.right);
  }
}

/** A question that overflows or explodes is not proved. */
function guarded<T>(question: () => T, otherwise: T): T {
  try {
    return question();
  } catch (error) {
    if (error instanceof DimError) return otherwise;
    throw error;
  }
}

// ---------------------------------------------------------------- divisibility

function divisible(facts: Facts, dividend: Dim, divisor: Dim, depth: number): boolean {
  if (isZero(dividend)) return true;
  if (divideExactly(dividend, divisor) !== undefined) return true;
  if (depth === 0) return false;
  for (const [i, fact] of facts.multiples.entries()) {
    const quotient = divideExactly(dividend, fact.left);
    if (quotient === undefined) continue;
    const multiple = mul(quotient, fact.right, symbol(`multiple/${i}/${depth}`));
    if (divisible(facts, multiple, divisor, depth - 1)) return true;
  }
  // A sum is divisible when its terms are.
  const terms = polynomial(dividend);
  return (
    terms.length > 1 && terms.every((term) => divisible(facts, fromPolynomial([term]), divisor, depth - 1))
  );
}

// ---------------------------------------------------------------- inequalities

interface Search {
  readonly facts: readonly Dim[];
  steps: number;
}

/** A difference that is at least 0 under the facts. A minimum or maximum is one of its operands: both cases are proved. */
function proveNonNegative(facts: Facts, difference: Dim, splits = 3): boolean {
  if (difference.kind === "const") return difference.value >= 0;
  const choice = splits > 0 ? findExtremum(difference) : undefined;
  if (choice !== undefined) {
    const { left, right } = choice;
    const ordered = choice.kind === "max" ? sub(left, right) : sub(right, left);
    const key = dimKey(choice);
    const holds = (taken: Dim, order: Dim): boolean =>
      proveNonNegative(atLeastZero(facts, order), replaced(difference, key, taken), splits - 1);
    return holds(left, ordered) && holds(right, sub(zero, ordered));
  }
  const opaque = new OpaqueAtoms(facts);
  const goal = opaque.flat(difference);
  const known = facts.nonNegative.map((bound) => opaque.flat(bound));
  const shift = opaque.shift();
  const shifted = (d: Dim): Dim => substitute(d, shift);
  const search: Search = { facts: [...known, ...opaque.laws].map(shifted), steps: 0 };
  const start = shifted(goal);
  // Shallow proofs first: nearly all are, and a deep search into the wrong branch would use up the steps.
  for (let depth = 1; depth <= maxDepth; depth += 1)
    if (searchNonNegative(search, start, opaque.unbounded, depth)) return true;
  return false;
}

function findExtremum(d: Dim): Extract<Dim, { left: Dim }> | undefined {
  if (d.kind === "min" || d.kind === "max") return d;
  for (const part of children(d)) {
    const found = findExtremum(part);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The size with one of its atoms, by key, replaced. */
function replaced(d: Dim, key: string, by: Dim): Dim {
  if (d.kind === "const" || d.kind === "symbol") return d;
  if (d.kind === "sum") return add(...d.terms.map((term) => replaced(term, key, by)));
  if (d.kind === "product") return mul(...d.factors.map((factor) => replaced(factor, key, by)));
  if (dimKey(d) === key) return by;
  return combine(d.kind, replaced(d.left, key, by), replaced(d.right, key, by));
}

/**
 * Names for the atoms that are not symbols, with what holds of them by definition, so that a polynomial has
 * symbols only. The laws are collected while atoms are named.
 */
class OpaqueAtoms {
  readonly laws: Dim[] = [];
  /** Names that may be negative. */
  readonly unbounded: Set<string> = new Set();
  readonly #facts: Facts;
  readonly #names = new Map<string, string>();
  readonly #seen = new Set<string>();
  #depth = 0;

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  flat(d: Dim): Dim {
    switch (d.kind) {
      case "const":
        return d;
      case "symbol":
        this.#seen.add(d.name);
        return d;
      case "sum":
        return add(...d.terms.map((term) => this.flat(term)));
      case "product":
        return mul(...d.factors.map((factor) => this.flat(factor)));
      default:
        return this.#name(d);
    }
  }

  /** Every name as its least value plus something that is at least 0. */
  shift(): ReadonlyMap<string, Dim> {
    const map = new Map<string, Dim>();
    for (const name of this.#seen) if (!this.#facts.fromZero.has(name)) map.set(name, add(symbol(name), one));
    return map;
  }

  #name(d: Extract<Dim, { left: Dim }>): Dim {
    const key = dimKey(d);
    const before = this.#names.get(key);
    if (before !== undefined) return symbol(before);
    const name = `@${this.#names.size}`;
    this.#names.set(key, name);
    const self = symbol(name);
    const [left, right] = [this.flat(d.left), this.flat(d.right)];
    const law = (bound: Dim): void => void this.laws.push(bound);
    switch (d.kind) {
      case "floordiv":
        law(sub(left, mul(right, self)));
        law(
          divisible(this.#facts, d.left, d.right, 2)
            ? sub(mul(right, self), left)
            : sub(sub(add(mul(right, self), right), one), left),
        );
        this.#bound(name, [d.left]);
        break;
      case "ceildiv":
        law(sub(mul(right, self), left));
        law(sub(sub(add(left, right), one), mul(right, self)));
        this.#bound(name, [d.left]);
        break;
      case "mod":
        law(sub(sub(right, one), self));
        this.#tie(self, d, left, right);
        break;
      case "min":
        law(sub(left, self));
        law(sub(right, self));
        this.#bound(name, [d.left, d.right]);
        break;
      case "max":
        law(sub(self, left));
        law(sub(self, right));
        if (!this.#isNonNegative(d.left)) this.#bound(name, [d.right]);
        break;
    }
    return self;
  }

  /** A remainder and the quotient of the same two: a = b * (a / b) + a % b. */
  #tie(remainder: Dim, d: Extract<Dim, { left: Dim }>, left: Dim, right: Dim): void {
    const rest = sub(left, mul(right, this.flat(combine("floordiv", d.left, d.right))));
    this.laws.push(sub(rest, remainder), sub(remainder, rest));
  }

  #bound(name: string, needed: readonly Dim[]): void {
    if (!needed.every((d) => this.#isNonNegative(d))) this.unbounded.add(name);
  }

  #isNonNegative(d: Dim): boolean {
    if (d.kind === "const") return d.value >= 0;
    if (polynomial(d).every((term) => term.coefficient >= 0n && term.atoms.every((a) => a.kind === "symbol")))
      return true;
    if (this.#depth >= 2) return false;
    this.#depth += 1;
    const proved = proveShallow(this.#facts, d);
    this.#depth -= 1;
    return proved;
  }
}

/** As `proveNonNegative`, for an operand of an atom: only the symbols' own bounds and the facts as they stand. */
function proveShallow(facts: Facts, difference: Dim): boolean {
  const bounds = [difference, ...facts.nonNegative];
  if (bounds.some((d) => polynomial(d).some((term) => term.atoms.some((a) => a.kind !== "symbol"))))
    return false;
  const shift = new Map<string, Dim>();
  for (const d of bounds)
    for (const name of symbols(d)) if (!facts.fromZero.has(name)) shift.set(name, add(symbol(name), one));
  const search: Search = { facts: facts.nonNegative.map((d) => substitute(d, shift)), steps: maxSteps / 2 };
  return searchNonNegative(search, substitute(difference, shift), new Set(), 3);
}

function searchNonNegative(
  search: Search,
  goal: Dim,
  unbounded: ReadonlySet<string>,
  depth: number,
): boolean {
  const terms = polynomial(goal);
  const harmful = terms.filter(
    (term) => term.coefficient < 0n || term.atoms.some((a) => a.kind === "symbol" && unbounded.has(a.name)),
  );
  if (harmful.length === 0) return true;
  if (depth === 0) return false;
  for (const bad of harmful) {
    for (const fact of search.facts) {
      for (const part of polynomial(fact)) {
        if ((search.steps += 1) > maxSteps) return false;
        // Taking the fact away must cancel the term, so the signs agree and its monomial divides the term's.
        if (
          part.coefficient < 0n !== bad.coefficient < 0n ||
          (part.atoms.length === 0 && bad.atoms.length > 0)
        )
          continue;
        const ratio = divideMonomial({ ...bad, coefficient: 1n }, { ...part, coefficient: 1n });
        if (ratio === undefined || ratio.atoms.some((a) => a.kind === "symbol" && unbounded.has(a.name)))
          continue;
        const shared = gcd(bad.coefficient, part.coefficient);
        const times = absolute(part.coefficient / shared);
        const taken = monomial(absolute(bad.coefficient / shared), ratio.atoms);
        // In whole numbers k * p + (k - 1) >= 0 says no less than p >= 0.
        const enlarged = add(mul(constant(times), goal), constant(times - 1n));
        const next = sub(enlarged, mul(fromPolynomial([taken]), fact));
        if (searchNonNegative(search, next, unbounded, depth - 1)) return true;
      }
    }
  }
  return false;
}

function absolute(n: bigint): bigint {
  return n < 0n ? -n : n;
}
