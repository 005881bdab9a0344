/**
 * The body of a `sum`, rounded as tensor cores want it: in a product whose two factors vary along the reduced
 * axes, a factor that no type was written for rounds to the other's dtype, or to bf16 where that has 8 bits.
 *
 * What does not vary along the sum is a scale of its factor: `scale * q[d] * k[d]` has the factors q[d] and k[d],
 * and the scale stays outside the rounding. Where `numerics` names the factors' types, both round to these.
 */
import type { TypedExpr } from "../check/typed.ts";
import { isFloat, storedAs, type DType, type Rounding } from "../types/dtype.ts";
import type { ContractionRule, Frame, Lowering } from "./frame.ts";
import { factorType } from "./rounding.ts";
import { tensorAt } from "./scopes.ts";
import type { LoopVariable, Terms } from "./terms.ts";
import { scalarValue, type TensorValue } from "./value.ts";

export function lowerSummand(
  cx: Lowering,
  expr: TypedExpr,
  frame: Frame,
  over: readonly LoopVariable[],
): TensorValue {
  if (isExact(frame.contraction)) return tensorAt(cx, expr, frame);
  return factorOf(cx, expr, frame, over).value(undefined);
}

/** Factors are not rounded. */
export function isExact(rule: ContractionRule): boolean {
  return rule !== "by type" && rule.left === "f32" && rule.right === "f32";
}

interface Factor {
  /** True where it changes along the sum. */
  readonly varies: boolean;
  /** The dtype that was written for the part that varies, if one was. */
  readonly written: DType | undefined;
  /** Its value with the part that varies rounded. */
  readonly value: (to: Rounding | undefined) => TensorValue;
}

function factorOf(cx: Lowering, expr: TypedExpr, frame: Frame, over: readonly LoopVariable[]): Factor {
  const scales = expr.kind === "apply" && (expr.fn === "mul" || expr.fn === "div" || expr.fn === "neg");
  const args = scales ? expr.args.map((arg) => factorOf(cx, arg, frame, over)) : [];
  const [a, b] = args;
  if (!scales || a === undefined) return leaf(cx.terms, tensorAt(cx, expr, frame), over);
  const varying = args.filter((arg) => arg.varies);
  if (varying.length === 2 && b !== undefined && expr.fn === "mul") {
    const { contraction } = frame;
    const left = roundingOf(contraction, "left", a, b);
    const right = roundingOf(contraction, "right", b, a);
    return leaf(cx.terms, combine(cx.terms, "mul", [a.value(left), b.value(right)]), over);
  }
  const plain = (): TensorValue =>
    combine(
      cx.terms,
      expr.fn,
      args.map((arg) => arg.value(undefined)),
    );
  const carriesScale = varying.length === 1 && (expr.fn !== "div" || a.varies);
  if (!carriesScale) return leaf(cx.terms, plain(), over);
  return {
    varies: true,
    written: varying[0]?.written,
    value: (to) =>
      combine(
        cx.terms,
        expr.fn,
        args.map((arg) => arg.value(arg.varies ? to : undefined)),
      ),
  };
}

function leaf(terms: Terms, tensor: TensorValue, over: readonly LoopVariable[]): Factor {
  const { element } = tensor;
  const float = element.term.type === "f32";
  return {
    varies: terms.dependsOn(element.term, over),
    written: tensor.written && isFloat(tensor.dtype) ? storedAs(tensor.dtype) : undefined,
    value: (to) =>
      to === undefined || !float
        ? tensor
        : { ...tensor, element: { term: terms.round(to, element.term, true), keep: element.keep } },
  };
}

/** What a factor rounds to beside the other, if it does. */
function roundingOf(
  rule: ContractionRule,
  side: "left" | "right",
  factor: Factor,
  other: Factor,
): Rounding | undefined {
  if (rule !== "by type")
    return rule[side] === "f32" || rule[side] === factor.written ? undefined : rule[side];
  if (factor.written !== undefined || other.written === undefined) return undefined;
  const to = factorType(other.written);
  return to === "f32" ? undefined : to;
}

function combine(terms: Terms, fn: string, args: readonly TensorValue[]): TensorValue {
  const term = terms.apply(fn, ...args.map((arg) => arg.element.term));
  const keep = args.map((arg) => arg.element.keep).reduce((all, one) => terms.both(all, one), undefined);
  return scalarValue({ term, keep }, term.type, false);
}
