/** Sizes and claims about them, from syntax. */
import type { DimExpr, Expr } from "../../grammar/ast.ts";
import { inexactQuotient, notASize, sizeError } from "../diagnostics/axes.ts";
import { unknownDim } from "../diagnostics/names.ts";
import { add, constant, type Dim, DimError, floordiv, mod, mul, sub, symbol } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { type Claim, learn, noFacts, proveDivides, type Relation } from "../types/prover.ts";
import { type FileScope, isCapital, type Known, type PlacedClaim, placeOf } from "./scope.ts";

export interface SizeContext {
  readonly scope: FileScope;
  readonly known: Known;
  /** Says whether a dim may stand here, and notes that it does. */
  useDim(name: string): boolean;
  /** For the near misses of a dim that may not. */
  dimNames(): Iterable<string>;
}

/** `exact` asks that every quotient is known to be exact, as in a type; a value or a range floors. */
export function resolveDim(cx: SizeContext, e: DimExpr, quotients: "exact" | "floor"): Dim | undefined {
  try {
    return sizeOf(cx, e, quotients);
  } catch (error) {
    if (!(error instanceof DimError)) throw error;
    cx.scope.report.add(sizeError(placeOf(cx.scope, e.span), error.message));
    return undefined;
  }
}

function sizeOf(cx: SizeContext, e: DimExpr, quotients: "exact" | "floor"): Dim | undefined {
  if (e.kind === "int") return constant(e.value);
  if (e.kind === "paren") return sizeOf(cx, e.value, quotients);
  if (e.kind === "error") return undefined;
  if (e.kind === "name") {
    const name = e.name.text;
    if (!isCapital(name)) {
      cx.scope.report.add(notASize(placeOf(cx.scope, e.span), `'${name}'`));
      return undefined;
    }
    if (cx.useDim(name)) return symbol(name);
    cx.scope.report.add(unknownDim(placeOf(cx.scope, e.span), name, cx.dimNames()));
    return undefined;
  }
  if (e.kind !== "binary" || !/^[-+*/%]$/.test(e.op)) {
    cx.scope.report.add(notASize(placeOf(cx.scope, e.span), "this"));
    return undefined;
  }
  const left = sizeOf(cx, e.left, quotients);
  const right = sizeOf(cx, e.right, quotients);
  if (left === undefined || right === undefined) return undefined;
  switch (e.op) {
    case "+":
      return add(left, right);
    case "-":
      return sub(left, right);
    case "*":
      return mul(left, right);
    case "%":
      return mod(left, right);
    default:
      if (quotients === "exact") requireExact(cx, e, left, right);
      return floordiv(left, right);
  }
}

function requireExact(cx: SizeContext, e: Expr, left: Dim, right: Dim): void {
  // Division by 0 is another mistake, found where the quotient is made.
  if ((right.kind === "const" && right.value < 1) || proveDivides(cx.known.sizes, right, left)) return;
  const [l, r] = [printDim(left), printDim(right)];
  const key = `${l} / ${r}`;
  if (!cx.scope.inexact.has(key))
    cx.scope.report.add(inexactQuotient(placeOf(cx.scope, e.span), wrapped(l), wrapped(r)));
  cx.scope.inexact.add(key);
}

function wrapped(text: string): string {
  return / /.test(text) ? `(${text})` : text;
}

const relations: Readonly<Record<string, readonly [Relation, "as written" | "turned"]>> = {
  "==": ["==", "as written"],
  "!=": ["!=", "as written"],
  "<": ["<", "as written"],
  "<=": ["<=", "as written"],
  ">": ["<", "turned"],
  ">=": ["<=", "turned"],
};

/** `E % G == 0, M >= 2 * P and P > 1` as claims; what is no relation of sizes is reported. */
export function resolveClaims(cx: SizeContext, clauses: readonly Expr[]): PlacedClaim[] {
  const claims: PlacedClaim[] = [];
  const queue = [...clauses].reverse();
  for (let e = queue.pop(); e !== undefined; e = queue.pop()) {
    if (e.kind === "paren") queue.push(e.value);
    else if (e.kind === "binary" && e.op === "and") queue.push(e.right, e.left);
    else if (e.kind === "error") continue;
    else {
      const relation = e.kind === "binary" ? relations[e.op] : undefined;
      if (e.kind !== "binary" || relation === undefined) {
        cx.scope.report.add(notASize(placeOf(cx.scope, e.span), "a 'where' clause compares sizes, and this"));
        continue;
      }
      const left = resolveDim(cx, e.left, "floor");
      const right = resolveDim(cx, e.right, "floor");
      if (left === undefined || right === undefined) continue;
      const [kind, order] = relation;
      const message = `${printDim(left)} ${e.op} ${printDim(right)}`;
      const place = placeOf(cx.scope, e.span);
      claims.push(
        order === "turned"
          ? { left: right, relation: kind, right: left, message, place }
          : { left, relation: kind, right, message, place },
      );
    }
  }
  return claims;
}

export const nothingKnown: Known = { sizes: noFacts, axes: noFacts };

/**
 * Every claim is a fact about sizes. That two axes are one follows only from a definition by other dims
 * (`dim D = H * Dh`) and, for quotients, from divisibility: equal numbers do not make axes equal.
 */
export function learnClaims(
  known: Known,
  claims: readonly Claim[],
  definitions: readonly Claim[] = [],
): Known {
  const dividing = claims.filter(
    (c) =>
      c.relation === "==" &&
      (c.left.kind === "mod" || c.right.kind === "mod") &&
      (isZero(c.left) || isZero(c.right)),
  );
  const symbolic = definitions.filter((c) => c.right.kind !== "const");
  return {
    sizes: learn(known.sizes, [...definitions, ...claims]),
    axes: learn(known.axes, [...symbolic, ...dividing]),
  };
}

function isZero(d: Dim): boolean {
  return d.kind === "const" && d.value === 0;
}
