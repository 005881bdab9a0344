/**
 * Which part of a swept axis matters for some rows, found from the conditions under which lifts are neutral.
 *
 * A lift `select(t <= s, x, neutral)` is neutral beyond s. A condition that compares the swept axis with what moves
 * along rows, or not at all, bounds it: a tile need not visit what no row of it sees, and where every row sees all the
 * condition need not be asked.
 */
import type { Arena } from "../../tensor/arena.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import { reachable, rewriteScalars } from "../../tensor/scalars.ts";
import type { Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { TileExpr } from "../ir.ts";
import { axesOf } from "./analysis.ts";

/** `coefficient * scalar`, summed. */
interface Linear {
  readonly terms: readonly { readonly coefficient: number; readonly scalar: Scalar }[];
  readonly constant: number;
}

/** The swept axis is at least, or at most, `than`. */
interface Bound {
  readonly side: "low" | "high";
  readonly than: Linear;
}

export interface Range {
  readonly bounds: readonly Bound[];
  /** Conditions that hold wherever the bounds do. */
  readonly conditions: ReadonlySet<Scalar>;
}

/** Bounds that every carrier's lift has: outside of them all lifts are neutral. */
export function rangeOf(loop: LoopNode, rowAxes: readonly number[]): Range {
  const swept = loop.axes.length;
  const sets = loop.carriers.map(
    ({ monoid, lift }) => new Set(conditionsOf(lift, monoidOf(monoid).identity(lift.type), monoid === "sum")),
  );
  const [first = new Set<Scalar>(), ...rest] = sets;
  const bounds: Bound[] = [];
  const conditions = new Set<Scalar>();
  for (const condition of first) {
    if (!rest.every((set) => set.has(condition))) continue;
    const found = boundsOf(condition, swept, new Set(rowAxes), loop);
    if (found.length === 0) continue;
    bounds.push(...found);
    conditions.add(condition);
  }
  return { bounds, conditions };
}

/** Conditions without which a lift is neutral. */
function conditionsOf(scalar: Scalar, neutral: number | bigint | boolean, isSum: boolean): readonly Scalar[] {
  if (scalar.kind === "round") return conditionsOf(scalar.arg, neutral, isSum);
  if (scalar.kind !== "apply") return [];
  const [a, b, c] = scalar.args;
  if (
    scalar.fn === "select" &&
    a !== undefined &&
    b !== undefined &&
    c?.kind === "const" &&
    c.value === neutral
  )
    return [...conjuncts(a), ...conditionsOf(b, neutral, isSum)];
  if (scalar.fn === "mul" && isSum) return scalar.args.flatMap((arg) => conditionsOf(arg, neutral, isSum));
  return [];
}

function conjuncts(condition: Scalar): readonly Scalar[] {
  return condition.kind === "apply" && condition.fn === "and"
    ? condition.args.flatMap(conjuncts)
    : [condition];
}

function boundsOf(
  condition: Scalar,
  swept: number,
  rows: ReadonlySet<number>,
  loop: LoopNode,
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
    const isKnown = others.every(({ scalar }) => isPlain(scalar, swept, rows, loop));
    if (own.length !== 1 || Math.abs(coefficient) !== 1 || !isKnown) return [];
    const than = plus({ terms: [], constant: 0 }, { terms: others, constant: one.constant }, -coefficient, 0);
    return [{ side: coefficient === 1 ? "high" : "low", than }];
  });
  return bounds.length === below.length ? bounds : [];
}

/** A row's place, or what no row moves and no sweep. */
function isPlain(scalar: Scalar, swept: number, rows: ReadonlySet<number>, loop: LoopNode): boolean {
  if (scalar.kind === "axis" && rows.has(scalar.axis)) return true;
  if (reachable([scalar]).some((part) => part.kind === "carrier")) return false;
  return ![...axesOf(scalar)].some((axis) => axis >= Math.min(swept, loop.axes.length) || rows.has(axis));
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

/** Rows of a tile: `base` and `count` of them, of the flattened axes; and what stands at no row. */
export interface Rows {
  readonly axes: readonly number[];
  readonly extents: readonly Dim[];
  readonly base: TileExpr;
  readonly count: number;
  readonly translate: (scalar: Scalar) => TileExpr;
}

/** Ends, both included, of what any row sees, and of what every row sees; undefined: no bound. */
export interface Ends {
  readonly low: TileExpr | undefined;
  readonly high: TileExpr | undefined;
}

export function endsOf(range: Range, rows: Rows, who: "any" | "every"): Ends {
  const places = placesOf(rows);
  const end = (side: Bound["side"]): TileExpr | undefined => {
    const found = range.bounds.filter((bound) => bound.side === side);
    const isLargest = (side === "high") === (who === "any");
    const ends = found.map(({ than }) => extreme(than, rows, places, isLargest));
    return ends.reduce<TileExpr | undefined>(
      (a, b) => (a === undefined ? b : t.apply(side === "high" ? "min" : "max", "i32", [a, b])),
      undefined,
    );
  };
  return { low: end("low"), high: end("high") };
}

/** First and last place of each row axis in the tile. */
function placesOf({ axes, extents, base, count }: Rows): ReadonlyMap<number, readonly [TileExpr, TileExpr]> {
  const all = extents.reduce<TileExpr>((product, extent) => t.times(product, t.size(extent)), t.int(1));
  const last = t.apply("min", "i32", [t.plus(base, t.int(count - 1)), minusOne(all)]);
  return new Map(
    axes.map((axis, k): [number, readonly [TileExpr, TileExpr]] => {
      if (k > 0) return [axis, [t.int(0), minusOne(t.size(extents[k] ?? { kind: "const", value: 1 }))]];
      const stride = extents
        .slice(1)
        .reduce<TileExpr>((product, extent) => t.times(product, t.size(extent)), t.int(1));
      return [axis, [t.over(base, stride), t.over(last, stride)]];
    }),
  );
}

function minusOne(expr: TileExpr): TileExpr {
  return t.plus(expr, t.int(-1));
}

function extreme(
  { terms, constant }: Linear,
  rows: Rows,
  places: ReadonlyMap<number, readonly [TileExpr, TileExpr]>,
  isLargest: boolean,
): TileExpr {
  return terms.reduce<TileExpr>((sum, { coefficient, scalar }) => {
    const ends = scalar.kind === "axis" ? places.get(scalar.axis) : undefined;
    const value = ends === undefined ? rows.translate(scalar) : ends[isLargest === coefficient > 0 ? 1 : 0];
    return t.plus(sum, t.times(value, t.int(coefficient)));
  }, t.int(constant));
}

/** Scalars where these conditions hold. */
export function where(
  arena: Arena,
  scalars: readonly Scalar[],
  conditions: ReadonlySet<Scalar>,
): readonly Scalar[] {
  if (conditions.size === 0) return scalars;
  const isTrue = (s: Scalar | undefined): boolean => s?.kind === "const" && s.value === true;
  return rewriteScalars(arena, scalars, (s) => {
    if (conditions.has(s)) return arena.bool(true);
    const [a, b] = s.kind === "apply" ? s.args : [];
    if (s.kind !== "apply" || a === undefined || b === undefined) return s;
    if (s.fn === "select") return isTrue(a) ? b : s;
    if (s.fn === "and") return isTrue(a) ? b : isTrue(b) ? a : s;
    return s;
  });
}
