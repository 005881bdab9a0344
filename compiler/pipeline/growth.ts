/**
 * How the phases of a pipeline grow with the number of micro-batches, read off its text.
 *
 * The growth of an expression is by how much it increases when M increases by a step, where that is the same whatever
 * M is: M grows by the step, a sum by the sum of its parts' growths, (a + k) / c by k / c where c divides k. Where it is
 * not the same for every M, it is undefined, and nothing is claimed.
 */
import type { Expr, PipelineAction, PipelineItem } from "../../grammar/ast.ts";
import type { Program } from "./evaluate.ts";

type PhaseItem = Extract<PipelineItem, { kind: "phase" }>;
type Growths = ReadonlyMap<string, number | undefined>;

export interface SteadyPhase {
  readonly name: string;
  /** Iterations more, on every rank, for each step of micro-batches. */
  readonly growth: number;
}

/** The one phase that grows with M, or why there is none whose iterations are alike. */
export function steadyPhase({ decl }: Program, step: number): SteadyPhase | string {
  const growths = new Map<string, number | undefined>([[decl.params[1]?.text ?? "", step]]);
  const steady: { phase: PhaseItem; growth: number }[] = [];
  for (const item of decl.items)
    switch (item.kind) {
      case "let":
        growths.set(item.name.text, growthOf(item.value, growths));
        break;
      case "rank":
        if (growthOf(item.count, growths) !== 0) return "the number of ranks depends on M";
        growths.set(item.variable.text, 0);
        break;
      case "direction":
        if (item.stages.some((stage) => growthOf(stage, growths) !== 0)) return "stages depend on M";
        growths.set(item.name.text, 0);
        break;
      case "phase": {
        const growth = item.count === undefined ? 0 : growthOf(item.count, growths);
        if (growth === undefined || growth < 0)
          return `the count of phase '${item.name.text}' does not grow evenly with M`;
        if (growth > 0) steady.push({ phase: item, growth });
        const inside = new Map(growths);
        if (item.variable !== undefined) inside.set(item.variable.text, 0);
        if (item.body.some((action) => !expressionsOf(action).every((e) => growthOf(e, inside) === 0)))
          return `the body of phase '${item.name.text}' depends on M`;
      }
    }
  const [only] = steady;
  if (only === undefined || steady.length > 1)
    return `${steady.length} phases grow with M, so that there is no one steady phase`;
  const { phase, growth } = only;
  const variable = phase.variable?.text;
  if (variable !== undefined && phase.body.some((action) => !tellsFirstAlone(action, variable)))
    return `the body of phase '${phase.name.text}' computes with its iteration`;
  return { name: phase.name.text, growth };
}

/** By how much the expression grows for each step; a condition by 0 where it stays as it is. */
function growthOf(e: Expr, growths: Growths): number | undefined {
  const parts = children(e).map((part) => growthOf(part, growths));
  const [first, second] = parts;
  const isEven = parts.every((growth) => growth === first);
  switch (e.kind) {
    case "name":
      return growths.has(e.name.text) ? growths.get(e.name.text) : 0;
    case "paren":
      return first;
    case "unary":
      return e.op === "-" && first !== undefined ? 0 - first : first === 0 ? 0 : undefined;
    case "binary":
      if (first === undefined || second === undefined) return undefined;
      if (e.op === "+") return first + second;
      if (e.op === "-") return first - second;
      if (e.op === "*") return timesConstant(e.left, second, e.right, first);
      if (first === 0 && second === 0) return 0;
      if (e.op === "/" || e.op === "%") return divided(e.op, first, e.right);
      break;
    case "if": {
      const [condition, ...values] = parts;
      return condition === 0 && values.every((growth) => growth === values[0]) ? values[0] : undefined;
    }
    case "call":
      if (e.callee.kind === "name" && ["min", "max"].includes(e.callee.name.text) && isEven) return first;
      break;
    default:
      break;
  }
  // Whatever else it is, it stays as it is where its parts do.
  return parts.every((growth) => growth === 0) ? 0 : undefined;
}

function timesConstant(left: Expr, rightGrowth: number, right: Expr, leftGrowth: number): number | undefined {
  if (leftGrowth === 0 && rightGrowth === 0) return 0;
  if (left.kind === "int") return Number(left.value) * rightGrowth;
  return right.kind === "int" ? Number(right.value) * leftGrowth : undefined;
}

/** Of a quotient or a remainder: whole multiples of the divisor pass a division as they are. */
function divided(op: "/" | "%", growth: number, by: Expr): number | undefined {
  if (by.kind !== "int" || by.value === 0n || growth % Number(by.value) !== 0) return undefined;
  return op === "%" ? 0 : growth / Number(by.value);
}

function children(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "paren":
    case "unary":
      return [e.value];
    case "binary":
      return [e.left, e.right];
    case "if":
      return [e.condition, e.then, e.else];
    case "call":
      return e.args;
    default:
      return [];
  }
}

function expressionsOf(action: PipelineAction): readonly Expr[] {
  switch (action.kind) {
    case "action":
      return [action.direction, action.slot].filter((e) => e !== undefined);
    case "overlap":
      return action.actions.flatMap(expressionsOf);
    case "if":
      return [action.condition, ...[...action.then, ...action.else].flatMap(expressionsOf)];
  }
}

function mentions(e: Expr, name: string): boolean {
  return e.kind === "name" ? e.name.text === name : children(e).some((part) => mentions(part, name));
}

/** Whether the iteration is only compared with 0, so that all but the first are alike. */
function tellsFirstAlone(action: PipelineAction, variable: string): boolean {
  const compares = (e: Expr): boolean => {
    if (!mentions(e, variable)) return true;
    if (e.kind === "paren" || e.kind === "unary") return compares(e.value);
    if (e.kind !== "binary") return false;
    if (e.op === "and" || e.op === "or") return compares(e.left) && compares(e.right);
    const isZero = e.right.kind === "int" && e.right.value === 0n;
    return ["==", "!=", ">"].includes(e.op) && e.left.kind === "name" && isZero;
  };
  switch (action.kind) {
    case "action":
      return expressionsOf(action).every((e) => !mentions(e, variable));
    case "overlap":
      return action.actions.every((inside) => tellsFirstAlone(inside, variable));
    case "if":
      return (
        compares(action.condition) &&
        [...action.then, ...action.else].every((inside) => tellsFirstAlone(inside, variable))
      );
  }
}
