/**
 * Sums of products of which a batch has only a part, as data says:
 *
 *     sum over block, row: select(first[e] <= block < end[e], x[block, row, d], 0) * y[block, row, f]
 *
 * is, for the batch e, the plain sum of products from first[e] on and before end[e]. Without the condition the factors are
 * tensors as they lie in memory.
 */
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { boundsOf, conditionsOf, conjuncts, type Bound } from "../../tensor/conditions.ts";
import { reachable } from "../../tensor/scalars.ts";
import { constant, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { TileExpr, TileOp } from "../ir.ts";
import { constantOf, volume } from "./analysis.ts";
import { asContraction, type Contraction } from "./matrices.ts";
import { endsOf, where, type Rows } from "./ranges.ts";
import type { KernelSource } from "./source.ts";

export interface VisitedSum {
  /** The node without the conditions, and what it is then. */
  readonly source: KernelSource<LoopNode>;
  readonly contraction: Contraction;
  readonly part: VisitedPart;
}

/** The part of the sum that a batch has, along the first of the summed axes. */
export interface VisitedPart {
  readonly bounds: readonly Bound[];
  /** Elements of the sum in one place of that axis, and the places. */
  readonly size: number;
  readonly places: number;
}

/** Undefined: the whole sum is made, or no more is known of it than that some of its terms are 0. */
export function visitedSum(source: KernelSource<LoopNode>): VisitedSum | undefined {
  const { arena, node: loop } = source;
  const swept = loop.axes.length;
  const [first, ...inner] = loop.over;
  const [places, size] = [
    first === undefined ? undefined : constantOf(first.extent),
    constantOf(volume(inner)),
  ];
  if (places === undefined || size === undefined || loop.results.some((result) => result.axes.length > swept))
    return undefined;
  const found = new Map<Scalar, readonly Bound[]>();
  for (const condition of conditionsOf(loop)) {
    const bounds = boundsOf(condition, swept, (scalar) => isOutside(scalar, swept));
    if (bounds.length > 0) found.set(condition, bounds);
  }
  if (found.size === 0) return undefined;
  const conditions = new Set(found.keys());
  const carriers = loop.carriers.map((carrier) => {
    const [lift = carrier.lift] = where(arena, [carrier.lift], conditions);
    return { ...carrier, lift };
  });
  // With the inputs that the conditions read, as a kernel has them.
  const node: LoopNode = { ...loop, carriers };
  const contraction = asContraction(node);
  if (contraction === undefined) return undefined;
  const bounds = [...found.values()].flat();
  const isOfBatch = bounds.every(({ than }) =>
    than.terms.every(({ scalar }) => axesIn(scalar).every((axis) => contraction.batch.includes(axis))),
  );
  return isOfBatch ? { source: { ...source, node }, contraction, part: { bounds, size, places } } : undefined;
}

function axesIn(scalar: Scalar): readonly number[] {
  return reachable([scalar]).flatMap((part) => (part.kind === "axis" ? [part.axis] : []));
}

/** True for what the sum does not move. */
function isOutside(scalar: Scalar, swept: number): boolean {
  return reachable([scalar]).every(
    (part) => part.kind !== "carrier" && (part.kind !== "axis" || part.axis < swept),
  );
}

/**
 * Bounds of the rows whose results are anything but 0, as data says for a batch:
 *
 *     yield [e, t, f]: select(t < count[e], sum, 0)
 *
 * A tile with none of these rows needs no sum. Undefined: all rows count, as far as is known.
 */
export function visitedRows(loop: LoopNode, { m, batch }: Contraction): readonly Bound[] | undefined {
  const [axis, other] = m;
  if (axis === undefined || other !== undefined) return undefined;
  const isKnown = (scalar: Scalar): boolean =>
    isOutside(scalar, loop.axes.length) && axesIn(scalar).every((one) => batch.includes(one));
  const [first = [], ...rest] = loop.results.map(({ value }) => {
    const kept = value.kind === "round" ? value.arg : value;
    const [condition, , otherwise] = kept.kind === "apply" && kept.fn === "select" ? kept.args : [];
    return otherwise?.kind === "const" && otherwise.value === 0 && condition !== undefined
      ? conjuncts(condition)
      : [];
  });
  const common = first.filter((condition) => rest.every((of) => of.includes(condition)));
  const bounds = common.flatMap((condition) => boundsOf(condition, axis, isKnown));
  return bounds.length === 0 ? undefined : bounds;
}

/** Whether the rows of a tile are any of these. */
export function isAnyVisited(
  bounds: readonly Bound[],
  { base, count }: { readonly base: TileExpr; readonly count: number },
  translate: (scalar: Scalar) => TileExpr,
): TileExpr {
  const { low, high } = endsOf({ bounds, inside: [] }, batchRows(translate), "any");
  const isAbove = low === undefined ? undefined : t.less(low, t.plus(base, t.int(count)));
  const isBelow = high === undefined ? undefined : t.less(base, t.plus(high, t.int(1)));
  return t.both(isAbove, isBelow) ?? t.bool(true);
}

/** Bounds of a batch move with no row. */
function batchRows(translate: (scalar: Scalar) => TileExpr): Rows {
  return { axes: [], extents: [], count: 1, base: t.int(0), translate };
}

/** A sum of so many elements as a part that is all of it, a step being a place; undefined: of how many is not known. */
export function wholeSum(count: Dim, step: number): VisitedPart | undefined {
  const known = constantOf(count);
  return known === undefined ? undefined : { bounds: [], size: step, places: Math.ceil(known / step) };
}

export interface PartSteps {
  readonly ops: readonly TileOp[];
  readonly first: TileExpr;
  /** May be none. */
  readonly steps: TileExpr;
}

/** The part in steps of so many elements, of which a place has a whole number; none where `isAny` is false. */
export function stepsOfPart(
  b: t.TileBuilder,
  { bounds, size, places }: VisitedPart,
  { step, isAny }: { readonly step: number; readonly isAny: TileExpr | undefined },
  translate: (scalar: Scalar) => TileExpr,
): PartSteps {
  const { low, high } = endsOf({ bounds, inside: [] }, batchRows(translate), "any");
  const perPlace = size / step;
  const most = constant(places * perPlace + 1);
  const within = (place: TileExpr): TileExpr =>
    t.apply("min", "i32", [t.apply("max", "i32", [place, t.int(0)]), t.int(places)]);
  const [first, steps] = [b.counter("first_step", most), b.counter("steps", most)];
  const from = t.times(low === undefined ? t.int(0) : within(low), t.int(perPlace));
  const below = t.times(high === undefined ? t.int(places) : within(t.plus(high, t.int(1))), t.int(perPlace));
  const part = t.apply("max", "i32", [t.apply("sub", "i32", [below, t.at(first)]), t.int(0)]);
  const count = isAny === undefined ? part : t.apply("select", "i32", [isAny, part, t.int(0)]);
  return {
    ops: [
      { kind: "index", counter: first, expr: from },
      { kind: "index", counter: steps, expr: count },
    ],
    first: t.at(first),
    steps: t.at(steps),
  };
}
