/**
 * Distributivity: what does not vary along a swept axis leaves the sum.
 *
 *     sum: p[t] / z * v[t]   =>   (sum: p[t] * v[t]) / z
 *
 * A rounding at any scale lets it through, and so does a condition without which a term is nothing.
 */
import type { Arena } from "../tensor/arena.ts";
import type { Carrier, Scalar } from "../tensor/ir.ts";
import { isFixed, usesCarriers } from "../tensor/rescale.ts";

export interface Parts {
  /** What varies along the swept axis. */
  readonly rest: Scalar;
  /** Factors and divisors that do not. */
  readonly factors: readonly Scalar[];
  readonly divisors: readonly Scalar[];
  /** A part of `rest` was 0 where some condition did not hold, whatever the divisors were. */
  readonly isGuarded: boolean;
}

/** A summed product without what no swept axis moves; that is summed and multiplied after. */
export function withoutFixed(
  arena: Arena,
  lift: Scalar,
  isSwept: (axis: number) => boolean,
  carriers: readonly Carrier[],
): Parts {
  const whole = (rest: Scalar): Parts => ({ rest, factors: [], divisors: [], isGuarded: false });
  const part = (s: Scalar): Parts => {
    if (!usesCarriers(s)) return whole(s);
    if (isFixed(s, isSwept)) return { rest: arena.f32(1), factors: [s], divisors: [], isGuarded: false };
    if (s.kind === "round" && s.scaled) {
      const inside = part(s.arg);
      return { ...inside, rest: arena.round(s.to, inside.rest, true) };
    }
    if (s.kind !== "apply") return whole(s);
    const [a, b, c] = s.args;
    if (s.fn === "exp" && a !== undefined) return withoutLogs(arena, s, a, isSwept, carriers);
    if (s.fn === "neg" && a !== undefined) {
      const inside = part(a);
      return { ...inside, rest: arena.apply("neg", inside.rest) };
    }
    if (s.fn === "select" && a !== undefined && b !== undefined && c?.kind === "const" && c.value === 0) {
      if (usesCarriers(a)) return whole(s);
      const inside = part(b);
      return { ...inside, rest: arena.apply("select", a, inside.rest, c), isGuarded: true };
    }
    if ((s.fn !== "mul" && s.fn !== "div") || a === undefined || b === undefined) return whole(s);
    const [left, right] = [part(a), part(b)];
    const [above, below] =
      s.fn === "mul" ? (["factors", "divisors"] as const) : (["divisors", "factors"] as const);
    return {
      rest: isOne(right.rest)
        ? left.rest
        : isOne(left.rest) && s.fn === "mul"
          ? right.rest
          : arena.apply(s.fn, left.rest, right.rest),
      factors: [...left.factors, ...right[above]],
      divisors: [...left.divisors, ...right[below]],
      isGuarded: left.isGuarded || right.isGuarded,
    };
  };
  return part(lift);
}

/** exp(x - log z) as exp(x) / z, for a z that does not vary and is not below zero. */
function withoutLogs(
  arena: Arena,
  whole: Scalar,
  exponent: Scalar,
  isSwept: (axis: number) => boolean,
  carriers: readonly Carrier[],
): Parts {
  const [factors, divisors]: [Scalar[], Scalar[]] = [[], []];
  /** What is left of a summand; undefined: nothing. */
  const left = (s: Scalar, sign: 1 | -1): Scalar | undefined => {
    const [a, b] = s.kind === "apply" ? s.args : [];
    if (s.kind !== "apply" || a === undefined || !usesCarriers(s)) return s;
    if (s.fn === "log" && isFixed(a, isSwept) && isNotBelowZero(a, carriers)) {
      (sign === 1 ? factors : divisors).push(a);
      return undefined;
    }
    if ((s.fn !== "add" && s.fn !== "sub") || b === undefined) return s;
    const [x, y] = [left(a, sign), left(b, s.fn === "add" ? sign : sign === 1 ? -1 : 1)];
    if (x === a && y === b) return s;
    if (y === undefined) return x;
    return x === undefined ? (s.fn === "add" ? y : arena.apply("neg", y)) : arena.apply(s.fn, x, y);
  };
  const rest = left(exponent, 1);
  if (factors.length + divisors.length === 0 || rest === undefined)
    return { rest: whole, factors: [], divisors: [], isGuarded: false };
  return { rest: arena.apply("exp", rest), factors, divisors, isGuarded: false };
}

/** Sums of exponentials, of squares and of nothing are not below zero, whatever they are of. */
function isNotBelowZero(s: Scalar, carriers: readonly Carrier[]): boolean {
  const all = (parts: readonly Scalar[]): boolean => parts.every((part) => isNotBelowZero(part, carriers));
  if (s.kind === "const") return Number(s.value) >= 0;
  if (s.kind === "carrier") {
    const carrier = carriers[s.carrier];
    return carrier?.monoid === "sum" && isNotBelowZero(carrier.lift, carriers);
  }
  if (s.kind !== "apply") return false;
  if (s.fn === "exp" || s.fn === "exp2" || s.fn === "abs") return true;
  if (s.fn === "select") return all(s.args.slice(1));
  if (s.fn === "mul" && s.args[0] === s.args[1]) return true;
  return (s.fn === "add" || s.fn === "mul") && all(s.args);
}

function isOne(s: Scalar): boolean {
  return s.kind === "const" && s.value === 1;
}

/**
 * The sum with its factors. Divisors are turned once, for all of a row's columns: the turned one is a subnormal, and
 * less precise, only beyond 2^126, where two bits are lost, which is within what a quotient may be off.
 */
export function timesFixed(arena: Arena, sum: Scalar, { factors, divisors, isGuarded }: Parts): Scalar {
  if (factors.length === 0 && divisors.length === 0) return sum;
  const turned = divisors.map((divisor) => arena.apply("div", arena.f32(1), divisor));
  const value = [...factors, ...turned].reduce((product, factor) => arena.apply("mul", product, factor), sum);
  const zero = arena.f32(0);
  return isGuarded ? arena.apply("select", arena.apply("eq", sum, zero), zero, value) : value;
}
