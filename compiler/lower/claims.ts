/** Relations between sizes that the program claims: decided where the sizes are known, else checked at launch. */
import { claimFails } from "../diagnostics/lower.ts";
import { constant, dimEquals, dimKey, sub, type Dim } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import type { SizeCheck } from "../tensor/ir.ts";
import type { DimCheck } from "../check/typed.ts";
import { extentOf, nameOf, type Frame, type Lowering } from "./frame.ts";

/** Both sides as extents. */
export function claim(cx: Lowering, asked: DimCheck): void {
  const { left, relation, right, place } = asked;
  const verdict = decide(left, relation, right);
  if (verdict === true) return;
  const text = `${printDim(left)} ${relation} ${printDim(right)}`;
  if (verdict === false) {
    cx.report.add(claimFails(asked.message, text, place));
    return;
  }
  const key = `${dimKey(left)} ${relation} ${dimKey(right)}`;
  if (cx.checks.has(key)) return;
  const check: SizeCheck = {
    left,
    relation,
    right,
    message: `${cx.locate(place)}: ${asked.message}: ${text}`,
  };
  cx.checks.set(key, check);
}

/** A claim of a function, in the names of the frame that calls or is it. */
export function claimIn(cx: Lowering, frame: Frame, asked: DimCheck): void {
  const size = (dim: Dim): Dim => extentOf(cx, nameOf(frame, dim));
  claim(cx, { ...asked, left: size(asked.left), right: size(asked.right) });
}

function decide(left: Dim, relation: DimCheck["relation"], right: Dim): boolean | undefined {
  if (dimEquals(left, right)) return relation === "==" || relation === "<=";
  const difference = sub(left, right);
  const value = difference.kind === "const" ? difference.value : undefined;
  if (value === undefined) return relation === "!=" && differs(left, right) ? true : undefined;
  switch (relation) {
    case "==":
      return value === 0;
    case "!=":
      return value !== 0;
    case "<":
      return value < 0;
    case "<=":
      return value <= 0;
  }
}

/** A size is at least 1, so that a sum of sizes and a positive number is not 0. */
function differs(left: Dim, right: Dim): boolean {
  return (
    (left.kind === "symbol" && dimEquals(right, constant(0))) ||
    (right.kind === "symbol" && dimEquals(left, constant(0)))
  );
}
