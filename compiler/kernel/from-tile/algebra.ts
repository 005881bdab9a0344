/**
 * Index arithmetic while tiles are lowered: integer polynomials over what a thread knows only at run time.
 *
 * The remainder x mod m is written x - m * (x div m), so a position that was taken apart into coordinates and put
 * together again is itself: the divisions cancel and are never computed. Polynomials also answer what wide accesses
 * and guards ask: by how much two indices differ, what an index is a multiple of, between which numbers it lies.
 */
import { polynomial, type Dim } from "../../types/dim.ts";

/** Something that is known at run time alone: a counter, a thread's coordinate, a size, a quotient, a loaded value. */
export interface Atom {
  readonly key: string;
  readonly origin:
    | { readonly kind: "run-time" }
    | { readonly kind: "size"; readonly dim: Dim }
    | { readonly kind: "quotient"; readonly of: Poly; readonly by: Poly };
  /** Bounds, where known. */
  readonly low: number | undefined;
  readonly high: number | undefined;
  /** A size that it stays below, where there is one. */
  readonly below?: Poly;
  /** Orders the terms of a sum, what changes most often last: 0 the grid, 1 threads, 2 loaded values, 3 loops; 4 is a size. */
  readonly rank: number;
}

export interface Term {
  readonly coefficient: number;
  /** Sorted by key; repeated for powers. */
  readonly atoms: readonly Atom[];
}

/** Terms by the key of their atoms; the constant has the empty key. No coefficient is 0. */
export type Poly = ReadonlyMap<string, Term>;

export const zero: Poly = new Map();

export function constantPoly(value: number): Poly {
  return value === 0 ? zero : new Map([["", { coefficient: value, atoms: [] }]]);
}

export function atomPoly(atom: Atom): Poly {
  return new Map([[atom.key, { coefficient: 1, atoms: [atom] }]]);
}

export function addPoly(a: Poly, b: Poly, factor = 1): Poly {
  if (b.size === 0) return a;
  if (a.size === 0 && factor === 1) return b;
  const sum = new Map(a);
  for (const [key, term] of b) {
    const coefficient = (sum.get(key)?.coefficient ?? 0) + factor * term.coefficient;
    if (coefficient === 0) sum.delete(key);
    else sum.set(key, { coefficient, atoms: term.atoms });
  }
  return sum;
}

export function mulPoly(a: Poly, b: Poly): Poly {
  const [left, right] = [constantOfPoly(a), constantOfPoly(b)];
  // Nearly all products are by a constant.
  if (right !== undefined) return scaled(a, right);
  if (left !== undefined) return scaled(b, left);
  let product: Poly = zero;
  for (const x of a.values()) {
    const row = new Map<string, Term>();
    for (const y of b.values()) {
      const atoms = [...x.atoms, ...y.atoms].sort((p, q) => (p.key < q.key ? -1 : p.key > q.key ? 1 : 0));
      row.set(atoms.map((atom) => atom.key).join("*"), { coefficient: x.coefficient * y.coefficient, atoms });
    }
    product = addPoly(product, row);
  }
  return product;
}

function scaled(p: Poly, by: number): Poly {
  if (by === 1) return p;
  if (by === 0) return zero;
  const product = new Map<string, Term>();
  for (const [key, { coefficient, atoms }] of p) product.set(key, { coefficient: coefficient * by, atoms });
  return product;
}

export function constantOfPoly(p: Poly): number | undefined {
  if (p.size === 0) return 0;
  const only = p.size === 1 ? p.get("") : undefined;
  return only?.coefficient;
}

/** The constant part, and the rest. */
export function splitConstant(p: Poly): { readonly constant: number; readonly rest: Poly } {
  const term = p.get("");
  if (term === undefined) return { constant: 0, rest: p };
  const rest = new Map(p);
  rest.delete("");
  return { constant: term.coefficient, rest };
}

export function keyOf(p: Poly): string {
  return [...p.entries()]
    .map(([key, term]) => `${term.coefficient}*${key}`)
    .sort()
    .join("+");
}

/** A size as a polynomial; a part that is no polynomial is one atom. */
export function sizePoly(dim: Dim): Poly {
  let poly = sizePolys.get(dim);
  if (poly === undefined) {
    poly = makeSizePoly(dim);
    sizePolys.set(dim, poly);
  }
  return poly;
}

/** Sizes never change, and each is asked for at every access. */
const sizePolys = new WeakMap<Dim, Poly>();

function makeSizePoly(dim: Dim): Poly {
  let sum: Poly = zero;
  for (const monomial of polynomial(dim)) {
    let product = constantPoly(Number(monomial.coefficient));
    for (const atom of monomial.atoms) product = mulPoly(product, atomPoly(sizeAtom(atom)));
    sum = addPoly(sum, product);
  }
  return sum;
}

function sizeAtom(dim: Dim): Atom {
  return {
    key: `size ${JSON.stringify(dim)}`,
    origin: { kind: "size", dim },
    low: 0,
    high: undefined,
    rank: 4,
  };
}

/** Is `p` below `bound`, whatever its atoms are? Of an atom that stays below a size, the last value counts. */
export function isBelow(p: Poly, bound: Poly): boolean {
  let most: Poly = zero;
  for (const [key, term] of p) {
    const [atom] = term.atoms;
    const below = term.atoms.length === 1 && term.coefficient > 0 ? atom?.below : undefined;
    const last =
      below === undefined ? new Map([[key, { ...term, coefficient: 1 }]]) : addPoly(below, constantPoly(-1));
    most = addPoly(most, last, term.coefficient);
  }
  return (rangeOf(addPoly(bound, most, -1)).low ?? 0) >= 1;
}

/** The greatest number that divides every coefficient. */
export function contentOf(p: Poly): number {
  let divisor = 0;
  for (const term of p.values()) divisor = gcd(divisor, Math.abs(term.coefficient));
  return divisor;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function scale(p: Poly, divisor: number): Poly {
  return new Map(
    [...p].map(([key, term]) => [key, { coefficient: term.coefficient / divisor, atoms: term.atoms }]),
  );
}

/** floor(a / b) for b > 0. */
export function divPoly(a: Poly, b: Poly): Poly {
  const divisor = constantOfPoly(b);
  if (divisor === 1) return a;
  if (divisor !== undefined) {
    // Terms that the divisor divides come out; of the rest, what is below the common step changes nothing.
    let whole: Poly = zero;
    let rest: Poly = zero;
    for (const [key, term] of a) {
      const quotient = Math.floor(term.coefficient / divisor);
      const remainder = term.coefficient - quotient * divisor;
      if (remainder === 0)
        whole = addPoly(whole, new Map([[key, { coefficient: quotient, atoms: term.atoms }]]));
      else if (key === "") {
        whole = addPoly(whole, constantPoly(quotient));
        rest = addPoly(rest, constantPoly(remainder));
      } else rest = addPoly(rest, new Map([[key, term]]));
    }
    const { constant, rest: moving } = splitConstant(rest);
    if (moving.size === 0) return whole;
    const step = gcd(contentOf(moving), divisor);
    const kept = addPoly(moving, constantPoly(constant - (constant % step)));
    const bounds = rangeOf(kept);
    if (bounds.low !== undefined && bounds.low >= 0 && bounds.high !== undefined && bounds.high < divisor)
      return whole;
    return addPoly(whole, atomPoly(quotientAtom(scale(kept, step), constantPoly(divisor / step))));
  }
  // A symbolic divisor: terms that hold it as a factor come out.
  const only = b.size === 1 ? [...b.values()][0] : undefined;
  if (only !== undefined && only.coefficient === 1) {
    let whole: Poly = zero;
    let rest: Poly = zero;
    for (const [key, term] of a) {
      const left = without(term, only.atoms);
      if (left === undefined) rest = addPoly(rest, new Map([[key, term]]));
      else whole = addPoly(whole, left);
    }
    if (whole.size > 0) return rest.size === 0 ? whole : addPoly(whole, divPoly(rest, b));
  }
  if (a.size === 0) return zero;
  return atomPoly(quotientAtom(a, b));
}

function without(term: Term, atoms: readonly Atom[]): Poly | undefined {
  const left = [...term.atoms];
  for (const atom of atoms) {
    const at = left.findIndex((other) => other.key === atom.key);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return new Map([[left.map((atom) => atom.key).join("*"), { coefficient: term.coefficient, atoms: left }]]);
}

/** a mod b for b > 0. */
export function modPoly(a: Poly, b: Poly): Poly {
  return addPoly(a, mulPoly(b, divPoly(a, b)), -1);
}

function quotientAtom(of: Poly, by: Poly): Atom {
  const bounds = rangeOf(of);
  const divisor = constantOfPoly(by);
  const low = bounds.low !== undefined && bounds.low >= 0 ? 0 : undefined;
  const high = bounds.high === undefined ? undefined : Math.floor(bounds.high / (divisor ?? 1));
  const rank = Math.max(
    0,
    ...[...of.values()].flatMap((term) => term.atoms.map((atom) => (atom.rank === 4 ? 0 : atom.rank))),
  );
  return { key: `(${keyOf(of)})/(${keyOf(by)})`, origin: { kind: "quotient", of, by }, low, high, rank };
}

export interface Bounds {
  readonly low: number | undefined;
  readonly high: number | undefined;
}

/** Bounds of a polynomial: term by term, after remainders have been recognised. */
export function rangeOf(p: Poly): Bounds {
  // x - m * (x div m) lies in 0 .. m - 1; take such parts out first.
  for (const term of p.values()) {
    if (term.coefficient >= 0) continue;
    for (const atom of term.atoms) {
      if (atom.origin.kind !== "quotient") continue;
      const by = constantOfPoly(atom.origin.by);
      if (by === undefined) continue;
      const count = -term.coefficient / by;
      if (!Number.isInteger(count) || term.atoms.length !== 1) continue;
      const remainder = addPoly(atom.origin.of, mulPoly(atomPoly(atom), atom.origin.by), -1);
      const rest = addPoly(p, remainder, -count);
      if (rest.size >= p.size) continue;
      const bounds = rangeOf(rest);
      return {
        low: bounds.low,
        high: bounds.high === undefined ? undefined : bounds.high + count * (by - 1),
      };
    }
  }
  let low: number | undefined = 0;
  let high: number | undefined = 0;
  for (const term of p.values()) {
    const bounds = termBounds(term);
    low = low === undefined || bounds.low === undefined ? undefined : low + bounds.low;
    high = high === undefined || bounds.high === undefined ? undefined : high + bounds.high;
  }
  return { low, high };
}

function termBounds(term: Term): Bounds {
  let low: number | undefined = 1;
  let high: number | undefined = 1;
  for (const atom of term.atoms) {
    // Products of bounds hold for factors that are not negative; others are unbounded here.
    if (atom.low === undefined || atom.low < 0) return { low: undefined, high: undefined };
    low = low * atom.low;
    high = high === undefined || atom.high === undefined ? undefined : high * atom.high;
  }
  if (term.coefficient >= 0)
    return { low: low * term.coefficient, high: high === undefined ? undefined : high * term.coefficient };
  return { low: high === undefined ? undefined : high * term.coefficient, high: low * term.coefficient };
}

/** True where every value of the polynomial is a multiple of `step`. */
export function isMultiple(p: Poly, step: number): boolean {
  return contentOf(p) % step === 0;
}

/** b - a where the two differ by a constant, else undefined. */
export function difference(a: Poly, b: Poly): number | undefined {
  let moving = 0;
  for (const [key, { coefficient }] of b) {
    if (key === "") continue;
    if (a.get(key)?.coefficient !== coefficient) return undefined;
    moving += 1;
  }
  if (a.size - (a.has("") ? 1 : 0) !== moving) return undefined;
  return (b.get("")?.coefficient ?? 0) - (a.get("")?.coefficient ?? 0);
}

export function termsInOrder(p: Poly): Term[] {
  if (p.size < 2) return [...p.values()];
  const ranked = [...p].map(([key, term]) => ({ key, term, rank: rankOf(term) }));
  ranked.sort((a, b) => a.rank - b.rank || (a.key < b.key ? -1 : 1));
  return ranked.map(({ term }) => term);
}

/** The highest rank of what changes; a size's where nothing does. */
function rankOf({ atoms }: Term): number {
  let most = -1;
  for (const { rank } of atoms) if (rank !== 4 && rank > most) most = rank;
  return most < 0 ? 4 : most;
}
