/** Index variables in scope, and expressions that must be tensors. */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { IndexVariable, TypedExpr } from "../check/typed.ts";
import type { Scalar } from "../tensor/ir.ts";
import { axesIn, type Frame, type Lowering } from "./frame.ts";
import { bindAxes, type BoundAxes, type LoopAxisRequest } from "./loops.ts";
import type { AxisValue, TensorValue } from "./value.ts";

export function tensorAt(cx: Lowering, expr: TypedExpr, frame: Frame): TensorValue {
  const value = cx.evaluate(cx, expr, frame);
  invariant(value.kind === "tensor", `a tensor is needed where a ${value.kind} stands`);
  return value;
}

export interface BoundVariables extends BoundAxes {
  readonly axes: readonly AxisValue[];
}

/** Binds the variables of a `for` or a reduction in the frame; the caller restores `packIndex`. `by`: how rows of one expert are counted. */
export function enter(
  cx: Lowering,
  frame: Frame,
  variables: readonly IndexVariable[],
  by: "rows" | "blocks",
): BoundVariables {
  const requests = variables.flatMap((variable): LoopAxisRequest[] => {
    const expert = variable.by === undefined ? undefined : frame.indices.get(variable.by);
    const named = variable.axis.kind === "pack" ? undefined : variable.name;
    return axesIn(cx, frame, [variable.axis]).map((axis) => ({ name: named, axis, expert, by }));
  });
  const bound = bindAxes(cx, requests);
  let at = 0;
  for (const variable of variables) {
    if (variable.axis.kind !== "pack") {
      const index = bound.indices[at];
      invariant(index !== undefined, `no loop for '${variable.name}'`);
      frame.indices.set(variable, index);
      at += 1;
      continue;
    }
    const entries = frame.pack.map((axis, k): [string, Scalar] => [
      axis.key,
      bound.indices[at + k] ?? cx.terms.i32(0),
    ]);
    frame.packIndex = new Map(entries);
    at += frame.pack.length;
  }
  return { ...bound, axes: requests.map((r) => r.axis) };
}
