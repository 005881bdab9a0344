/**
 * What becomes of a reduction when another one that it uses changes: the algebra of linked carriers.
 *
 * A sum's lift F(x, d), x being what is swept and d earlier carriers, may split as G(x) H(d); then a sum made with d
 * is one made with d' when it is multiplied by H(d') / H(d). A maximum's or a minimum's may split as G(x) + H(d),
 * and H(d') - H(d) is added. Sums of exponentials that subtract a running maximum are the best known case, but nothing
 * here knows it: whatever follows from products, quotients, exponentials, sums and differences is found.
 */
import type { Arena } from "./arena.ts";
import type { Carrier, Scalar } from "./ir.ts";
import { reachable } from "./scalars.ts";

export interface Change {
  readonly arena: Arena;
  /** True for an axis that is swept. */
  readonly isSwept: (axis: number) => boolean;
  /** A scalar that depends on carriers alone, with what they become; and with what they were. */
  readonly after: (scalar: Scalar) => Scalar;
  readonly before: (scalar: Scalar) => Scalar;
  /** Which way a carrier changes: 1 for one that can only grow, -1 for one that can only shrink. */
  readonly way: (carrier: number) => 1 | -1 | undefined;
}

/** Of carriers by their monoids: an extremum moves one way. */
export function wayOf(carriers: readonly Carrier[]): Change["way"] {
  return (k) => {
    const monoid = carriers[k]?.monoid;
    return monoid === "max" ? 1 : monoid === "min" ? -1 : undefined;
  };
}

/** What a reduced value is multiplied by, or what is added to it. */
export interface Rescaling {
  readonly fn: "mul" | "add";
  readonly by: Scalar;
  /** A factor may be infinite or no number, where the value is 0 and stays it. */
  readonly isGuarded: boolean;
}

/** A factor or a summand; `same` where nothing changes; undefined where the lift does not split. */
type Part = Scalar | "same" | undefined;

/** `value`, which was reduced by the monoid from lifts with the old carriers, as it is with the new ones. */
export function rescaled(change: Change, monoid: string, lift: Scalar, value: Scalar): Scalar | undefined {
  const { arena } = change;
  const found = rescaling(change, monoid, lift);
  if (found === undefined || found === "same") return found && value;
  const scaled = arena.apply(found.fn, value, found.by);
  if (!found.isGuarded) return scaled;
  const zero = arena.f32(0);
  return arena.apply("select", arena.apply("eq", value, zero), zero, scaled);
}

/** `same` where nothing changes; undefined where the lift does not split. */
export function rescaling(change: Change, monoid: string, lift: Scalar): Rescaling | "same" | undefined {
  if (monoid === "sum") {
    const by = ratioOf(change, lift);
    if (by === undefined || by === "same") return by;
    return { fn: "mul", by, isGuarded: !isShrinking(change, lift) };
  }
  if (monoid === "max" || monoid === "min") {
    const by = differenceOf(change, lift);
    return by === undefined || by === "same" ? by : { fn: "add", by, isGuarded: false };
  }
  return usesCarriers(lift) ? undefined : "same";
}

/** True where the ratio is surely from 0 to 1: an exponential of what can only shrink. */
function isShrinking(change: Change, scalar: Scalar): boolean {
  if (!usesCarriers(scalar)) return true;
  if (scalar.kind === "round") return isShrinking(change, scalar.arg);
  if (scalar.kind !== "apply") return false;
  const [a, b] = scalar.args;
  if (a === undefined) return false;
  switch (scalar.fn) {
    case "exp":
    case "exp2":
      return wayOfScalar(change, a) === -1;
    case "neg":
      return isShrinking(change, a);
    case "mul":
      return b !== undefined && isShrinking(change, a) && isShrinking(change, b);
    case "select":
      return b !== undefined && isShrinking(change, b);
    default:
      return false;
  }
}

/** Which way a scalar changes with the carriers: 0 where it does not. */
function wayOfScalar(change: Change, scalar: Scalar): 1 | -1 | 0 | undefined {
  if (!usesCarriers(scalar)) return 0;
  if (scalar.kind === "carrier") return change.way(scalar.carrier);
  if (scalar.kind !== "apply") return undefined;
  const [a, b] = scalar.args;
  if (a === undefined) return undefined;
  const first = wayOfScalar(change, a);
  if (scalar.fn === "neg") return turned(first);
  if (b === undefined) return undefined;
  const second = wayOfScalar(change, b);
  if (scalar.fn === "mul") {
    const [factor, way] = first === 0 ? [a, second] : [b, first];
    if (first !== 0 && second !== 0) return undefined;
    return isPositive(factor) ? way : undefined;
  }
  if (scalar.fn !== "add" && scalar.fn !== "sub") return undefined;
  const other = scalar.fn === "add" ? second : turned(second);
  return first === 0 || first === other ? other : other === 0 ? first : undefined;
}

function turned(way: 1 | -1 | 0 | undefined): 1 | -1 | 0 | undefined {
  return way === 1 ? -1 : way === -1 ? 1 : way;
}

/** Surely above zero and finite, and made of sizes and constants alone. */
export function isPositive(scalar: Scalar): boolean {
  if (scalar.kind === "const") return Number(scalar.value) > 0 && Number(scalar.value) < Infinity;
  if (scalar.kind !== "apply") return false;
  if (scalar.fn === "mul") return scalar.args.every(isPositive);
  const isSize = reachable([scalar]).every(
    (s) => s.kind !== "axis" && s.kind !== "read" && s.kind !== "carrier",
  );
  return isSize && scalar.fn === "rsqrt";
}

/** H(d') / H(d) of G(x) H(d). */
function ratioOf(change: Change, scalar: Scalar): Part {
  const { arena } = change;
  if (!usesCarriers(scalar)) return "same";
  if (scalar.kind === "round" && scalar.scaled) return ratioOf(change, scalar.arg);
  if (scalar.kind === "apply") {
    const [a, b, c] = scalar.args;
    switch (scalar.fn) {
      case "exp":
      case "exp2": {
        const moved = a === undefined ? undefined : differenceOf(change, a);
        return moved === undefined || moved === "same" ? moved : arena.apply(scalar.fn, moved);
      }
      case "neg":
        return a === undefined ? undefined : ratioOf(change, a);
      case "mul":
      case "div": {
        if (a === undefined || b === undefined) return undefined;
        return joined(ratioOf(change, a), ratioOf(change, b), (left, right) =>
          left === "same"
            ? scalar.fn === "mul"
              ? right
              : arena.apply("div", arena.f32(1), right)
            : arena.apply(scalar.fn, left, right),
        );
      }
      case "select":
        // Nothing where the condition does not hold stays nothing.
        if (a === undefined || b === undefined || c?.kind !== "const" || c.value !== 0) break;
        return usesCarriers(a) ? undefined : ratioOf(change, b);
      default:
        break;
    }
  }
  return isFixed(scalar, change.isSwept)
    ? changed(change, scalar, arena.f32(1), (now, then) => arena.apply("div", now, then))
    : undefined;
}

/** H(d') - H(d) of G(x) + H(d). */
function differenceOf(change: Change, scalar: Scalar): Part {
  const { arena } = change;
  if (!usesCarriers(scalar)) return "same";
  if (scalar.kind === "apply") {
    const [a, b] = scalar.args;
    if (scalar.fn === "neg" && a !== undefined) {
      const moved = differenceOf(change, a);
      return moved === undefined || moved === "same" ? moved : arena.apply("neg", moved);
    }
    if ((scalar.fn === "add" || scalar.fn === "sub") && a !== undefined && b !== undefined) {
      return joined(differenceOf(change, a), differenceOf(change, b), (left, right) =>
        left === "same"
          ? scalar.fn === "add"
            ? right
            : arena.apply("neg", right)
          : arena.apply(scalar.fn, left, right),
      );
    }
    if (scalar.fn === "mul" && a !== undefined && b !== undefined && !isFixed(scalar, change.isSwept)) {
      const [factor, rest] = usesCarriers(a) ? [b, a] : [a, b];
      if (usesCarriers(factor) || !isFixed(factor, change.isSwept)) return undefined;
      const moved = differenceOf(change, rest);
      return moved === undefined || moved === "same" ? moved : arena.apply("mul", factor, moved);
    }
  }
  return isFixed(scalar, change.isSwept)
    ? changed(change, scalar, arena.f32(0), (now, then) => arena.apply("sub", now, then))
    : undefined;
}

/** Both parts by `join`, which sees `same` on the left alone; `same` on the right changes nothing. */
function joined(left: Part, right: Part, join: (left: Scalar | "same", right: Scalar) => Scalar): Part {
  if (left === undefined || right === undefined) return undefined;
  return right === "same" ? left : join(left, right);
}

/** `none` where the scalar did not change: equal infinities have no difference or quotient. */
function changed(
  change: Change,
  scalar: Scalar,
  none: Scalar,
  by: (now: Scalar, then: Scalar) => Scalar,
): Scalar {
  const [now, then] = [change.after(scalar), change.before(scalar)];
  return change.arena.apply("select", change.arena.apply("eq", now, then), none, by(now, then));
}

export function usesCarriers(scalar: Scalar): boolean {
  return reachable([scalar]).some((part) => part.kind === "carrier");
}

/** True where nothing that is swept has a part in it. */
export function isFixed(scalar: Scalar, isSwept: (axis: number) => boolean): boolean {
  return !reachable([scalar]).some((part) => part.kind === "axis" && isSwept(part.axis));
}
