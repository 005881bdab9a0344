/**
 * Which part of a swept axis matters for the rows of a tile, found from the conditions under which lifts are neutral.
 *
 * A condition that compares the swept axis with what moves along rows, or not at all, bounds it: a tile need not visit
 * what no row of it sees, and where every row sees all the condition need not be asked. What a condition of data comes
 * to is found before (`passes/visits.ts`) and stands beside it as `bounded(condition, only, whole)`.
 */
import type { Arena } from "../../tensor/arena.ts";
import { boundsOf, conditionsOf, conjuncts, type Bound, type Linear } from "../../tensor/conditions.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { isKnownOfTile, movesWithRows, stepOf, type RowAxes } from "../../tensor/row-places.ts";
import { rewriteScalars } from "../../tensor/scalars.ts";
import * as t from "../build.ts";
import type { TileExpr } from "../ir.ts";

/** And where they begin; `translate` gives what stands at no row, but for scalars whose value is given. */
export interface Rows extends RowAxes {
  readonly base: TileExpr;
  readonly translate: (scalar: Scalar, given?: ReadonlyMap<Scalar, TileExpr>) => TileExpr;
}

export interface Range {
  /** Outside of these all lifts are neutral. */
  readonly bounds: readonly Bound[];
  /** Conditions that hold wherever the bounds and these do. */
  readonly inside: readonly Bound[];
  readonly conditions: ReadonlySet<Scalar>;
  /** Of each condition the bounds within which it holds. */
  readonly boundsOf: ReadonlyMap<Scalar, readonly Bound[]>;
}

/** Bounds that every carrier's lift has. */
export function rangeOf(loop: LoopNode, rows: RowAxes): Range {
  const swept = loop.axes.length;
  const isKnown = (scalar: Scalar): boolean => isKnownOfTile(scalar, loop, rows);
  const all = (of: readonly Scalar[]): readonly Bound[] | undefined => {
    const found = of.map((condition) => boundsOf(condition, swept, isKnown));
    return found.every((bounds) => bounds.length > 0) ? found.flat() : undefined;
  };
  const [bounds, inside]: [Bound[], Bound[]] = [[], []];
  const boundsOfEach = new Map<Scalar, readonly Bound[]>();
  for (const condition of conditionsOf(loop)) {
    const [, only, whole] = hintsOf(condition) ?? [];
    if (only === undefined || whole === undefined) {
      const own = boundsOf(condition, swept, isKnown);
      if (own.length === 0) continue;
      bounds.push(...own);
      boundsOfEach.set(condition, own);
    } else {
      const around = all(conjuncts(only)) ?? [];
      bounds.push(...around);
      const own = all(conjuncts(whole));
      if (own === undefined) continue;
      inside.push(...own);
      boundsOfEach.set(condition, [...around, ...own]);
    }
  }
  return { bounds, inside, conditions: new Set(boundsOfEach.keys()), boundsOf: boundsOfEach };
}

/** Of `bounded(condition, only, whole)` its operands. */
function hintsOf(scalar: Scalar): readonly Scalar[] | undefined {
  return scalar.kind === "apply" && scalar.fn === "bounded" ? scalar.args : undefined;
}

/** Ends, both included, of what any row sees, and of what every row sees; undefined: no bound. */
export interface Ends {
  readonly low: TileExpr | undefined;
  readonly high: TileExpr | undefined;
}

export function endsOf(range: Pick<Range, "bounds" | "inside">, rows: Rows, who: "any" | "every"): Ends {
  const places = placesOf(rows);
  const bounds = who === "any" ? range.bounds : [...range.bounds, ...range.inside];
  const end = (side: Bound["side"]): TileExpr | undefined => {
    const isLargest = (side === "high") === (who === "any");
    const ends = bounds.flatMap((bound) =>
      bound.side === side ? [extreme(bound.than, rows, places, isLargest)] : [],
    );
    return ends.length === 0 ? undefined : extremeOf(ends, side === "low");
  };
  return { low: end("low"), high: end("high") };
}

function extremeOf(values: readonly TileExpr[], isLargest: boolean): TileExpr {
  return values.reduce((a, b) => t.apply(isLargest ? "max" : "min", "i32", [a, b]));
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
    const isTop = isLargest === coefficient > 0;
    const ends = scalar.kind === "axis" ? places.get(scalar.axis) : undefined;
    const value = ends === undefined ? extremeOf(valuesOf(scalar, rows, places), isTop) : ends[isTop ? 1 : 0];
    return t.plus(sum, t.times(value, t.int(coefficient)));
  }, t.int(constant));
}

/** What a scalar is for any row: the element for each of its places, the last one again where there are fewer. */
function valuesOf(
  scalar: Scalar,
  rows: Rows,
  places: ReadonlyMap<number, readonly [TileExpr, TileExpr]>,
): readonly TileExpr[] {
  if (scalar.kind !== "read") return [rows.translate(scalar)];
  let given: ReadonlyMap<Scalar, TileExpr>[] = [new Map()];
  for (const index of new Set(scalar.index)) {
    const step = movesWithRows(index, rows) ? stepOf(index, rows) : undefined;
    const ends = step === undefined ? undefined : places.get(step.axis);
    if (step === undefined || ends === undefined) continue;
    const [first, last] = ends.map((end) => t.over(end, t.int(step.by)));
    if (first === undefined || last === undefined) continue;
    given = given.flatMap((map) =>
      Array.from({ length: step.count }, (_, k) => {
        const place = k === 0 ? first : t.apply("min", "i32", [t.plus(first, t.int(k)), last]);
        return new Map([...map, [index, place] as const]);
      }),
    );
  }
  return given.map((map) => rows.translate(scalar, map));
}

/** Scalars where these conditions hold; others that stand with bounds as they are. */
export function where(
  arena: Arena,
  scalars: readonly Scalar[],
  conditions: ReadonlySet<Scalar>,
): readonly Scalar[] {
  const isTrue = (s: Scalar | undefined): boolean => s?.kind === "const" && s.value === true;
  return rewriteScalars(arena, scalars, (s) => {
    if (conditions.has(s)) return arena.bool(true);
    const [a, b] = s.kind === "apply" ? s.args : [];
    if (s.kind !== "apply" || a === undefined || b === undefined) return s;
    if (s.fn === "bounded") return a;
    if (s.fn === "select") return isTrue(a) ? b : s;
    if (s.fn === "and") return isTrue(a) ? b : isTrue(b) ? a : s;
    return s;
  });
}
