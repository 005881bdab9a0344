/**
 * Conditions on a swept axis: under which lifts count at all, and what of the axis a condition leaves.
 *
 * A lift `select(t <= s, x, neutral)` is neutral beyond s. A condition that compares the swept axis with what the
 * sweep does not move bounds it.
 */
import type { LoopNode, Scalar } from "./ir.ts";
import { monoidOf } from "./monoids.ts";

/** `coefficient * scalar`, summed. */
export interface Linear {
  readonly terms: readonly { readonly coefficient: number; readonly scalar: Scalar }[];
  readonly constant: number;
}

/** The swept axis is at least, or at most, `than`. */
export interface Bound {
  readonly side: "low" | "high";
  readonly than: Linear;
}

/** Conditions that every carrier's lift has: where one does not hold all lifts are neutral. */
export function conditionsOf(loop: LoopNode): readonly Scalar[] {
  const [first = new Set<Scalar>(), ...rest] = loop.carriers.map(
    ({ monoid, lift }) => new Set(counting(lift, monoidOf(monoid).identity(lift.type), monoid === "sum")),
  );
  return [...first].filter((condition) => rest.every((set) => set.has(condition)));
}

/** Conditions without which a lift is neutral. */
function counting(scalar: Scalar, neutral: number | bigint | boolean, isSum: boolean): readonly Scalar[] {
  if (scalar.kind === "round") return counting(scalar.arg, neutral, isSum);
  if (scalar.kind !== "apply") return [];
  const [a, b, c] = scalar.args;
  if (
    scalar.fn === "select" &&
    a !== undefined &&
    b !== undefined &&
    c?.kind === "const" &&
    c.value === neutral
  )
    return [...conjuncts(a), ...counting(b, neutral, isSum)];
  if (scalar.fn === "mul" && isSum) return scalar.args.flatMap((arg) => counting(arg, neutral, isSum));
  return [];
}

export function conjuncts(condition: Scalar): readonly Scalar[] {
  return condition.kind === "apply" && condition.fn === "and"
    ? condition.args.flatMap(conjuncts)
    : [condition];
}

/**
 * What a comparison says of the swept axis, which stands in it once; nothing where it compares something else, or with
 * what `isKnown` does not accept.
 */
export function boundsOf(
  condition: Scalar,
  swept: number,
  isKnown: (scalar: Scalar) => boolean,
): readonly Bound[] {
  if (condition.kind !== "apply" || condition.args.some((arg) => arg.type !== "i32")) return [];
  const [a, b] = condition.args.map(linear);
  if (a === undefined || b === undefined) return [];
  // Each is `x <= 0`.
  const below =
    condition.fn === "le"
      ? [plus(a, b, -1, 0)]
      : condition.fn === "lt"
        ? [plus(a, b, -1, 1)]
        : condition.fn === "ge"
          ? [plus(b, a, -1, 0)]
          : condition.fn === "gt"
            ? [plus(b, a, -1, 1)]
            : condition.fn === "eq"
              ? [plus(a, b, -1, 0), plus(b, a, -1, 0)]
              : [];
  const bounds = below.flatMap((one): Bound[] => {
    const own = one.terms.filter(({ scalar }) => scalar.kind === "axis" && scalar.axis === swept);
    const others = one.terms.filter((term) => !own.includes(term));
    const [{ coefficient } = { coefficient: 0 }] = own;
    if (own.length !== 1 || Math.abs(coefficient) !== 1) return [];
    if (!others.every(({ scalar }) => isKnown(scalar))) return [];
    const than = plus({ terms: [], constant: 0 }, { terms: others, constant: one.constant }, -coefficient, 0);
    return [{ side: coefficient === 1 ? "high" : "low", than }];
  });
  return bounds.length === below.length ? bounds : [];
}

function linear(scalar: Scalar): Linear {
  if (scalar.kind === "const") return { terms: [], constant: Number(scalar.value) };
  const [a, b] = scalar.kind === "apply" ? scalar.args : [];
  if (scalar.kind === "apply" && a !== undefined && b !== undefined) {
    if (scalar.fn === "add") return plus(linear(a), linear(b), 1, 0);
    if (scalar.fn === "sub") return plus(linear(a), linear(b), -1, 0);
  }
  return { terms: [{ coefficient: 1, scalar }], constant: 0 };
}

/** a + by b + constant. */
function plus(a: Linear, b: Linear, by: number, constant: number): Linear {
  const terms = new Map(a.terms.map(({ coefficient, scalar }) => [scalar, coefficient]));
  for (const { coefficient, scalar } of b.terms)
    terms.set(scalar, (terms.get(scalar) ?? 0) + by * coefficient);
  return {
    terms: [...terms].flatMap(([scalar, coefficient]) =>
      coefficient === 0 ? [] : [{ coefficient, scalar }],
    ),
    constant: a.constant + by * b.constant + constant,
  };
}
