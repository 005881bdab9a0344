/**
 * What a condition can be over a block of points, from the least and the greatest that each value in it has there.
 *
 * Interval arithmetic (Moore, Interval Analysis, 1966) on i32; a bool's interval is from `false` to `true`, so that its
 * ends are whether it holds everywhere and whether it may hold anywhere. Sums are taken of places and sizes alone: one
 * of data may wrap, and what wraps is not in order.
 */
import type { Arena } from "../tensor/arena.ts";
import type { Scalar } from "../tensor/ir.ts";
import { reachable } from "../tensor/scalars.ts";

export interface Interval {
  readonly least: Scalar;
  readonly most: Scalar;
}

/** `leaf` gives axes and reads their intervals. Undefined where there is no rule, or a leaf has none. */
export function intervalOf(
  arena: Arena,
  scalar: Scalar,
  leaf: (scalar: Scalar) => Interval | undefined,
): Interval | undefined {
  const found = new Map<Scalar, Interval | undefined>();
  const visit = (s: Scalar): Interval | undefined => {
    if (!found.has(s)) found.set(s, make(s));
    return found.get(s);
  };
  const make = (s: Scalar): Interval | undefined => {
    if (s.kind === "const" || s.kind === "dim") return { least: s, most: s };
    if (s.kind === "axis" || s.kind === "read") return leaf(s);
    if (s.kind !== "apply" || (s.type !== "i32" && s.type !== "bool")) return undefined;
    const args: Interval[] = [];
    for (const arg of s.args) {
      const own = arg.type === "i32" || arg.type === "bool" ? visit(arg) : undefined;
      if (own === undefined) return undefined;
      args.push(own);
    }
    const [a, b] = args;
    if (isSum(s) && reachable([s]).some((part) => part.kind === "read")) return undefined;
    return a === undefined ? undefined : applied(arena, s.fn, a, b);
  };
  return visit(scalar);
}

function isSum(s: Scalar): boolean {
  return s.kind === "apply" && (s.fn === "add" || s.fn === "sub" || s.fn === "neg");
}

function applied(arena: Arena, fn: string, a: Interval, b: Interval | undefined): Interval | undefined {
  const two = (name: string, x: Scalar, y: Scalar): Scalar => arena.apply(name, x, y);
  const not = ({ least, most }: Interval): Interval => ({
    least: arena.apply("not", most),
    most: arena.apply("not", least),
  });
  if (fn === "not") return not(a);
  if (fn === "neg") return { least: arena.apply("neg", a.most), most: arena.apply("neg", a.least) };
  if (b === undefined) return undefined;
  const same = (name: string): Interval => ({
    least: two(name, a.least, b.least),
    most: two(name, a.most, b.most),
  });
  /** x < y and x <= y: everywhere where the greatest x is, somewhere where the least is. */
  const below = (name: "lt" | "le", x: Interval, y: Interval): Interval => ({
    least: two(name, x.most, y.least),
    most: two(name, x.least, y.most),
  });
  switch (fn) {
    case "add":
    case "min":
    case "max":
    case "and":
    case "or":
      return same(fn);
    case "sub":
      return { least: two("sub", a.least, b.most), most: two("sub", a.most, b.least) };
    case "floordiv": {
      const by = b.least.kind === "const" && b.least === b.most ? Number(b.least.value) : 0;
      return by > 0 ? same(fn) : undefined;
    }
    case "lt":
    case "le":
      return below(fn, a, b);
    case "gt":
      return below("lt", b, a);
    case "ge":
      return below("le", b, a);
    case "eq":
    case "ne": {
      if (a.least.type === "bool") return undefined;
      const meet = two("and", two("le", a.least, b.most), two("le", b.least, a.most));
      const one = two("and", two("eq", a.least, a.most), two("eq", b.least, b.most));
      const equal = { least: two("and", one, two("eq", a.least, b.least)), most: meet };
      return fn === "eq" ? equal : not(equal);
    }
    default:
      return undefined;
  }
}
