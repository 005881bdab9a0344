/**
 * `sum[k](e)` and its kin: a loop of its own over the variables outside that `e` uses, with one carrier, read back
 * at those variables. A masked element lifts to the monoid's identity, so that a row with nothing kept gives it.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { TypedExpr } from "../check/typed.ts";
import { mul } from "../types/dim.ts";
import type { Scalar } from "../tensor/ir.ts";
import { monoidOf } from "../tensor/monoids.ts";
import { lowerSummand } from "./contractions.ts";
import type { Frame, Lowering } from "./frame.ts";
import { bindAxes, emitLoop } from "./loops.ts";
import { summedBlocks } from "./summed-blocks.ts";
import { enter, tensorAt, type BoundVariables } from "./scopes.ts";
import type { LoopVariable } from "./terms.ts";
import { elementAt, scalarValue, type Element, type TensorValue } from "./value.ts";
import { readBack } from "./tensors.ts";

type Reduce = Extract<TypedExpr, { kind: "reduce" }>;

export function lowerReduction(cx: Lowering, expr: Reduce, frame: Frame): TensorValue {
  const { terms } = cx;
  const outerPack = frame.packIndex;
  const bound = enter(cx, frame, expr.variables, "blocks");
  const body =
    expr.op === "sum" ? lowerSummand(cx, expr.body, frame, bound.variables) : tensorAt(cx, expr.body, frame);
  frame.packIndex = outerPack;
  const inner = bindAxes(
    cx,
    body.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const element = body.axes.length === 0 ? body.element : elementAt(terms, body, inner.indices);
  const kept = (expr.op === "sum" ? summedBlocks(cx, bound, element) : undefined) ?? {
    term: element.term,
    keep: terms.both(element.keep, bound.valid),
  };
  const result = reduceElement(cx, expr, bound, kept, frame);
  if (body.axes.length === 0) return scalarValue({ term: result, keep: undefined }, result.type, false);
  const outer = terms.freeVariables([result]).filter((v) => !inner.variables.includes(v));
  const node = emitLoop(cx, {
    axes: [...outer, ...inner.variables],
    over: [],
    carriers: [],
    results: [{ value: result, dtype: result.type }],
    place: expr.place,
  });
  const kind = { dtype: result.type, written: false, scaling: undefined };
  return readBack(cx, kind, { ref: cx.arena.ref(node), outer }, body.axes, undefined, []);
}

function reduceElement(
  cx: Lowering,
  expr: Reduce,
  bound: BoundVariables,
  element: Element,
  { every, scaled }: Pick<Frame, "every" | "scaled">,
): Scalar {
  const { terms } = cx;
  const run = (monoid: string, name: string, of: Element): Scalar =>
    reduceBy(cx, monoid, name, of, bound.variables, expr, monoid === "sum" ? { every, scaled } : undefined);
  switch (expr.op) {
    case "mean":
      return terms.apply("div", run("sum", "sum", element), countOf(cx, expr, bound, element.keep));
    case "logsumexp": {
      // The largest is taken out so that nothing overflows; where it is infinite there is nothing to take out.
      const max = run("max", "max", element);
      const infinite = terms.apply("eq", terms.apply("abs", max), terms.f32(Infinity));
      const shift = terms.select(infinite, terms.f32(0), max);
      const total = run("sum", "sum", {
        term: terms.apply("exp", terms.sub(element.term, shift)),
        keep: element.keep,
      });
      return terms.add(terms.apply("log", total), shift);
    }
    case "argmax":
      return lowestOfLargest(cx, bound, element, run);
    default:
      return run(expr.op, expr.op, element);
  }
}

type Run = (monoid: string, name: string, of: Element) => Scalar;

/** The row-major index of the first element that is the largest; 0 where there is none. */
function lowestOfLargest(cx: Lowering, bound: BoundVariables, element: Element, run: Run): Scalar {
  const { terms } = cx;
  const max = run("max", "max", element);
  const position = bound.indices.reduce<Scalar>((at, index, k) => {
    const extent = bound.axes[k]?.extent;
    return extent === undefined ? at : terms.add(terms.mul(at, terms.dim(extent)), index);
  }, terms.i32(0));
  const largest = terms.both(element.keep, terms.apply("eq", element.term, max));
  const first = run("min", "first", { term: position, keep: largest });
  return terms.select(terms.apply("eq", first, terms.i32(2 ** 31 - 1)), terms.i32(0), first);
}

/** How many elements a mean is over: all of them, or those that are kept. */
function countOf(cx: Lowering, expr: Reduce, bound: BoundVariables, keep: Scalar | undefined): Scalar {
  const { terms } = cx;
  if (keep !== undefined)
    return reduceBy(cx, "sum", "count", { term: terms.f32(1), keep }, bound.variables, expr);
  return terms.cast("f32", terms.dim(mul(...bound.axes.map((axis) => axis.extent))));
}

function reduceBy(
  cx: Lowering,
  monoid: string,
  name: string,
  element: Element,
  over: readonly LoopVariable[],
  expr: Reduce,
  numerics: Partial<Pick<Frame, "every" | "scaled">> = {},
): Scalar {
  const { terms, arena } = cx;
  const { term, keep } = element;
  const row = monoidOf(monoid);
  invariant(row.types.includes(term.type), `${monoid} of ${term.type}`);
  const lift =
    keep === undefined ? term : terms.select(keep, term, terms.constant(term.type, row.identity(term.type)));
  const axes = terms.freeVariables([lift]).filter((v) => !over.includes(v));
  const node = emitLoop(cx, {
    axes,
    over,
    carriers: [{ name, monoid, lift, every: numerics.every }],
    results: [{ value: arena.carrier(0, term.type), dtype: term.type }],
    place: expr.place,
  });
  const ref = arena.ref(node);
  if (numerics.scaled !== undefined) cx.onScaled?.(node, numerics.scaled);
  cx.unnamed.push({ ref, name: expr.op });
  return terms.read(
    ref,
    axes.map((v) => v.term),
  );
}
