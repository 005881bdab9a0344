/** Index arithmetic as sizes over index variables: what the prover can reason about, and what is data. */
import { add, combine, constant, type Dim, DimError, mul, sub, symbol, zero } from "../types/dim.ts";
import { type IndexRange, proveAtMost, withIndices } from "../types/prover.ts";
import { tensorOf } from "./arithmetic.ts";
import type { Context } from "./context.ts";
import type { TypedExpr } from "./typed.ts";

/** An index as a size over index variables, or undefined where it is not affine. */
export function affineOf(
  cx: Context,
  e: TypedExpr,
): { readonly dim: Dim; readonly ranges: readonly IndexRange[] } | undefined {
  const ranges = new Map<string, IndexRange>();
  try {
    const dim = affine(cx, e, ranges);
    return dim === undefined ? undefined : { dim, ranges: [...ranges.values()] };
  } catch (error) {
    if (error instanceof DimError) return undefined;
    throw error;
  }
}

function affine(cx: Context, e: TypedExpr, ranges: Map<string, IndexRange>): Dim | undefined {
  switch (e.kind) {
    case "literal":
      return typeof e.value === "bigint" ? constant(e.value) : undefined;
    case "dim":
      return e.dim;
    case "index": {
      const range = cx.body.indexNames.get(e.variable);
      if (range === undefined) return undefined;
      ranges.set(range.name, range);
      return symbol(range.name);
    }
    case "local":
      return cx.body.sizes.get(e.variable);
    case "cast":
      return tensorOf(e.value) !== undefined && isInteger(e) && isInteger(e.value)
        ? affine(cx, e.value, ranges)
        : undefined;
    case "apply": {
      const args: Dim[] = [];
      for (const arg of e.args) {
        const dim = affine(cx, arg, ranges);
        if (dim === undefined) return undefined;
        args.push(dim);
      }
      return affineApply(cx, e.fn, args, ranges);
    }
    default:
      return undefined;
  }
}

function isInteger(e: TypedExpr): boolean {
  const type = tensorOf(e);
  return type?.dtype.kind === "dtype" && (type.dtype.dtype === "i32" || type.dtype.dtype === "i64");
}

function affineApply(
  cx: Context,
  fn: string,
  args: readonly Dim[],
  ranges: ReadonlyMap<string, IndexRange>,
): Dim | undefined {
  const [a, b, c] = args;
  if (a === undefined) return undefined;
  if (fn === "neg") return sub(zero, a);
  if (b === undefined) return undefined;
  switch (fn) {
    case "add":
      return add(a, b);
    case "sub":
      return sub(a, b);
    case "mul":
      return mul(a, b);
    case "floordiv":
    case "mod": {
      const facts = withIndices(cx.known.sizes, ranges.values());
      return proveAtMost(facts, constant(1), b) ? combine(fn, a, b) : undefined;
    }
    case "min":
    case "max":
      return combine(fn, a, b);
    case "clamp":
      return c === undefined ? undefined : combine("min", combine("max", a, b), c);
    default:
      return undefined;
  }
}

/** True where the index comes out of a tensor: then the read is a gather, clamped, and checked in bounds mode. */
export function holdsData(e: TypedExpr): boolean {
  switch (e.kind) {
    case "read":
    case "call":
    case "reduce":
      return true;
    case "apply":
      return e.args.some(holdsData);
    case "cast":
      return holdsData(e.value);
    case "select":
      return holdsData(e.condition) || holdsData(e.then) || holdsData(e.else);
    default:
      return false;
  }
}
