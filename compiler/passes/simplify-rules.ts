/**
 * The rules of simplify, as data: a name that is the law, the functions that it begins at, and the rewrite.
 *
 * Each is exact: in IEEE arithmetic on every f64, NaN, infinities and both zeros included, but for rules on indices,
 * which use the ranges of axes. The right side is never worse. A rule has one direction.
 */
import { zero } from "../types/dim.ts";
import { proveAtMost, proveLess } from "../types/prover.ts";
import { holdsFloat, isRounding, type DType, type Rounding } from "../types/dtype.ts";
import type { Scalar } from "../tensor/ir.ts";
import { scalarFunctions } from "../tensor/scalar-functions.ts";
import {
  affineOf,
  divide,
  guarded,
  plus,
  quotient,
  rangeOf,
  scalarOf,
  sizeOf,
  type Affine,
  type Space,
} from "./affine.ts";

export interface RuleContext extends Space {
  /** Dtype of the tensor that a read reads. */
  readonly dtypeOf: (input: number) => DType;
  /** Extents of the tensor that a read reads. */
  readonly shapeOf: (input: number) => readonly Space["axes"][number]["extent"][];
}

export interface Rule {
  readonly name: string;
  /** A function's name, or a kind of scalar. */
  readonly roots: readonly string[];
  readonly rewrite: (cx: RuleContext, s: Scalar) => Scalar | undefined;
}

type Args = readonly [Scalar, Scalar, Scalar];

function onApply(
  name: string,
  fn: string,
  rewrite: (cx: RuleContext, args: Args, s: Scalar) => Scalar | undefined,
): Rule {
  return {
    name,
    roots: [fn],
    rewrite: (cx, s) => {
      const [a, b = a, c = a] = s.kind === "apply" ? s.args : [];
      return a === undefined || b === undefined || c === undefined ? undefined : rewrite(cx, [a, b, c], s);
    },
  };
}

/** The constant's value, told apart from -0 by `Object.is`. */
function isConst(s: Scalar, value: number | boolean): boolean {
  return s.kind === "const" && Object.is(s.value, value);
}

function argOf(s: Scalar, fn: string): Scalar | undefined {
  return s.kind === "apply" && s.fn === fn ? s.args[0] : undefined;
}

/** The dtype whose values the scalar has, or tf32, where one is known. */
function formatOf(cx: RuleContext, s: Scalar): Rounding | undefined {
  if (s.kind === "round") return s.to;
  if (s.kind === "read" && s.bounds !== "else") return cx.dtypeOf(s.input);
  return undefined;
}

const scalarRules: readonly Rule[] = [
  onApply("neg (neg x) -> x", "neg", (_, [x]) => argOf(x, "neg")),
  onApply("abs (neg x) -> abs x", "abs", (cx, [x], s) => {
    const inner = argOf(x, "neg");
    return s.type !== "f32" || inner === undefined ? undefined : cx.arena.apply("abs", inner);
  }),
  onApply("abs (abs x) -> abs x", "abs", (_, [x], s) =>
    s.type === "f32" && argOf(x, "abs") !== undefined ? x : undefined,
  ),
  onApply("not (not x) -> x", "not", (_, [x]) => argOf(x, "not")),
  onApply("x * 1 -> x", "mul", (_, [x, y]) => (isConst(y, 1) ? x : isConst(x, 1) ? y : undefined)),
  onApply("-x * -y -> x * y", "mul", (cx, [x, y], s) => {
    const [a, b] = [argOf(x, "neg"), argOf(y, "neg")];
    return s.type !== "f32" || a === undefined || b === undefined ? undefined : cx.arena.apply("mul", a, b);
  }),
  onApply("x / 1 -> x", "div", (_, [x, y]) => (isConst(y, 1) ? x : undefined)),
  onApply("x / 2^k -> x * 2^-k", "div", (cx, [x, y]) => {
    if (y.kind !== "const" || typeof y.value !== "number") return undefined;
    const exponent = Math.log2(Math.abs(y.value));
    return Number.isInteger(exponent) && Math.abs(exponent) < 126
      ? cx.arena.apply("mul", x, cx.arena.f32(1 / y.value))
      : undefined;
  }),
  onApply("x - 0 -> x", "sub", (_, [x, y], s) => (s.type === "f32" && isConst(y, 0) ? x : undefined)),
  onApply("x + -0 -> x", "add", (_, [x, y], s) =>
    s.type !== "f32" ? undefined : isConst(y, -0) ? x : isConst(x, -0) ? y : undefined,
  ),
  onApply("x + -y -> x - y", "add", (cx, [x, y], s) => {
    const inner = s.type === "f32" ? argOf(y, "neg") : undefined;
    return inner === undefined ? undefined : cx.arena.apply("sub", x, inner);
  }),
  onApply("x - -y -> x + y", "sub", (cx, [x, y], s) => {
    const inner = s.type === "f32" ? argOf(y, "neg") : undefined;
    return inner === undefined ? undefined : cx.arena.apply("add", x, inner);
  }),
  onApply("max x x -> x", "max", (_, [x, y]) => (x === y ? x : undefined)),
  onApply("min x x -> x", "min", (_, [x, y]) => (x === y ? x : undefined)),
  onApply("select (not c) x y -> select c y x", "select", (cx, [c, x, y]) => {
    const inner = argOf(c, "not");
    return inner === undefined ? undefined : cx.arena.apply("select", inner, y, x);
  }),
  onApply("select c true false -> c", "select", (_, [c, x, y]) =>
    isConst(x, true) && isConst(y, false) ? c : undefined,
  ),
  onApply("select c false true -> not c", "select", (cx, [c, x, y]) =>
    isConst(x, false) && isConst(y, true) ? cx.arena.apply("not", c) : undefined,
  ),
  onApply("select c (select c x y) z -> select c x z", "select", (cx, [c, x, z]) =>
    x.kind === "apply" && x.fn === "select" && x.args[0] === c && x.args[1] !== undefined
      ? cx.arena.apply("select", c, x.args[1], z)
      : undefined,
  ),
  onApply("select c x (select c y z) -> select c x z", "select", (cx, [c, x, z]) =>
    z.kind === "apply" && z.fn === "select" && z.args[0] === c && z.args[2] !== undefined
      ? cx.arena.apply("select", c, x, z.args[2])
      : undefined,
  ),
  {
    name: "round of what has such values -> it",
    roots: ["round"],
    rewrite: (cx, s) => {
      if (s.kind !== "round") return undefined;
      const format = formatOf(cx, s.arg);
      // An f32 tensor of the oracle is not rounded, so that a rounding to f32 of it does something.
      return format !== undefined && format !== "f32" && isRounding(format) && holdsFloat(s.to, format)
        ? s.arg
        : undefined;
    },
  },
  {
    name: "cast of a constant integer to f32 -> constant",
    roots: ["cast"],
    rewrite: (cx, s) =>
      s.kind === "cast" && s.to === "f32" && s.arg.kind === "const"
        ? cx.arena.f32(Number(s.arg.value))
        : undefined,
  },
];

/** A function of constant floats is a constant. */
const folding: readonly Rule[] = [...scalarFunctions.values()].map((row) => ({
  name: `${row.name} of constants -> constant`,
  roots: [row.name],
  rewrite: (cx, s) => {
    if (
      s.kind !== "apply" ||
      !s.args.every((arg) => arg.kind === "const" && typeof arg.value !== "bigint") ||
      s.args.at(-1)?.type !== "f32"
    )
      return undefined;
    const [x = 0, y = 0, z = 0] = s.args.map((arg) => (arg.kind === "const" ? Number(arg.value) : 0));
    const value = row.float(x, y, z);
    return s.type === "bool" ? cx.arena.bool(value !== 0) : cx.arena.const(s.type, value);
  },
}));

function sumOf(s: Scalar): Affine | undefined {
  return s.type === "i32" ? guarded(() => affineOf(s)) : undefined;
}

/** lhs - rhs is at least `least` wherever the loop goes. */
function isAtLeast(cx: RuleContext, left: Scalar, right: Scalar, least: 0 | 1): boolean {
  return (
    guarded(() => {
      const range = rangeOf(cx, plus(affineOf(left), affineOf(right), { kind: "const", value: -1 }));
      if (range === undefined) return false;
      return least === 0 ? proveAtMost(cx.facts, zero, range.low) : proveLess(cx.facts, zero, range.low);
    }) === true
  );
}

function comparison(
  fn: string,
  holdsIf: (cx: RuleContext, x: Scalar, y: Scalar) => boolean,
  failsIf: (cx: RuleContext, x: Scalar, y: Scalar) => boolean,
): Rule {
  return onApply(`${fn} of indices whose ranges decide it -> constant`, fn, (cx, [x, y]) => {
    if (x.type !== "i32") return undefined;
    if (holdsIf(cx, x, y)) return cx.arena.bool(true);
    return failsIf(cx, x, y) ? cx.arena.bool(false) : undefined;
  });
}

const less = (cx: RuleContext, x: Scalar, y: Scalar): boolean => isAtLeast(cx, y, x, 1);
const atMost = (cx: RuleContext, x: Scalar, y: Scalar): boolean => isAtLeast(cx, y, x, 0);

const indexRules: readonly Rule[] = [
  onApply("(d q + r) / d -> q, for 0 <= r < d", "floordiv", (cx, [x, y]) => {
    const [sum, divisor] = [sumOf(x), sizeOf(y)];
    if (sum === undefined || divisor === undefined) return undefined;
    const parts = guarded(() => divide(cx, sum, divisor));
    return parts === undefined ? undefined : scalarOf(cx.arena, parts.whole);
  }),
  onApply("(d q + r) % d -> r, for 0 <= r < d", "mod", (cx, [x, y]) => {
    const [sum, divisor] = [sumOf(x), sizeOf(y)];
    if (sum === undefined || divisor === undefined) return undefined;
    const parts = guarded(() => divide(cx, sum, divisor));
    return parts === undefined ? undefined : scalarOf(cx.arena, parts.rest);
  }),
  onApply("(x / a) / b -> x / (a b)", "floordiv", (cx, [x, y]) => {
    const [inner, first] = x.kind === "apply" && x.fn === "floordiv" ? x.args : [];
    const [a, b] = [first === undefined ? undefined : sizeOf(first), sizeOf(y)];
    if (inner === undefined || first === undefined || a === undefined || b === undefined) return undefined;
    const positive = guarded(() => proveLess(cx.facts, zero, a) && proveLess(cx.facts, zero, b)) === true;
    return positive ? cx.arena.apply("floordiv", inner, cx.arena.apply("mul", first, y)) : undefined;
  }),
  onApply("(x / d) d + x % d -> x", "add", (cx, _, s) => {
    const sum = sumOf(s);
    const joined = sum === undefined ? undefined : guarded(() => rejoin(cx, sum));
    return joined === undefined ? undefined : scalarOf(cx.arena, joined);
  }),
  comparison("lt", less, (cx, x, y) => atMost(cx, y, x)),
  comparison("le", atMost, (cx, x, y) => less(cx, y, x)),
  comparison("gt", (cx, x, y) => less(cx, y, x), atMost),
  comparison("ge", (cx, x, y) => atMost(cx, y, x), less),
  {
    name: "a read whose indices are in range needs no bounds",
    roots: ["read"],
    rewrite: (cx, s) => {
      if (s.kind !== "read" || s.bounds === "proved") return undefined;
      const shape = cx.shapeOf(s.input);
      const inside = s.index.every((index, k) => {
        const extent = shape[k];
        return (
          extent !== undefined &&
          guarded(() => {
            const range = rangeOf(cx, affineOf(index));
            return (
              range !== undefined &&
              proveAtMost(cx.facts, zero, range.low) &&
              proveLess(cx.facts, range.high, extent)
            );
          }) === true
        );
      });
      return inside ? cx.arena.readAt(s.input, s.type, s.index, "proved", undefined) : undefined;
    },
  },
];

/** Replaces c d (x / d) + c (x % d) by c x. */
function rejoin(cx: RuleContext, sum: Affine): Affine | undefined {
  for (const [atom, coefficient] of sum.terms) {
    const [x, d] = atom.kind === "apply" && atom.fn === "mod" ? atom.args : [];
    const size = d === undefined ? undefined : sizeOf(d);
    if (x === undefined || d === undefined || size === undefined) continue;
    const whole = cx.arena.apply("floordiv", x, d);
    const other = sum.terms.get(whole);
    const factor = other === undefined ? undefined : quotient(cx, other, size);
    if (
      factor === undefined ||
      scalarOf(cx.arena, { terms: new Map(), constant: factor }) !==
        scalarOf(cx.arena, { terms: new Map(), constant: coefficient })
    )
      continue;
    const terms = new Map(sum.terms);
    terms.delete(atom);
    terms.delete(whole);
    return plus({ terms, constant: sum.constant }, affineOf(x), coefficient);
  }
  return undefined;
}

export const simplifyRules: readonly Rule[] = [...scalarRules, ...folding, ...indexRules];
