import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  add,
  ceildiv,
  constant,
  type Dim,
  DimError,
  dimEquals,
  dimKey,
  evaluate,
  evaluateSigned,
  floordiv,
  max,
  min,
  mod,
  mul,
  orderedKey,
  sub,
  substitute,
  symbol,
  symbols,
  tryEvaluate,
} from "../../compiler/types/dim.ts";
import { parseSize, printDim, sizeExpression } from "../../compiler/types/dim-text.ts";

const [A, B, C] = [symbol("A"), symbol("B"), symbol("C")];
const n = constant;

/** An expression as a tree of our own, with a brute-force evaluator that knows nothing of canonical forms. */
type Tree = number | string | { op: string; left: Tree; right: Tree };

const tree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.integer({ min: -4, max: 9 }),
    fc.constantFrom("A", "B", "C"),
    fc.record({ op: fc.constantFrom("+", "-", "*", "min", "max"), left: tie("tree"), right: tie("tree") }),
    fc.record({
      op: fc.constantFrom("/", "%", "ceil"),
      left: tie("tree"),
      right: fc.oneof(
        fc.integer({ min: 1, max: 6 }),
        fc.constantFrom("A", "B", "C"),
        fc.constant({ op: "*", left: "A", right: "B" }),
      ),
    }),
  ),
})).tree;

function build(t: Tree): Dim {
  if (typeof t === "number") return n(t);
  if (typeof t === "string") return symbol(t);
  const [left, right] = [build(t.left), build(t.right)];
  const make = { "+": add, "-": sub, "*": mul, "/": floordiv, "%": mod, ceil: ceildiv, min, max }[t.op];
  if (!make) throw new Error(t.op);
  return make(left, right);
}

function brute(t: Tree, values: ReadonlyMap<string, number>): number {
  if (typeof t === "number") return t;
  if (typeof t === "string") return values.get(t) ?? NaN;
  const [l, r] = [brute(t.left, values), brute(t.right, values)];
  switch (t.op) {
    case "+":
      return l + r;
    case "-":
      return l - r;
    case "*":
      return l * r;
    case "/":
      return Math.floor(l / r);
    case "%":
      return l - r * Math.floor(l / r);
    case "ceil":
      return Math.ceil(l / r);
    case "min":
      return Math.min(l, r);
    default:
      return Math.max(l, r);
  }
}

const values = fc
  .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }))
  .map(
    ([a, b, c]) =>
      new Map([
        ["A", a],
        ["B", b],
        ["C", c],
      ]),
  );

describe("the canonical form", () => {
  test("has the value that brute force gives", () => {
    fc.assert(
      fc.property(tree, values, (t, env) => {
        expect(Number(evaluateSigned(build(t), env))).toBe(brute(t, env) + 0);
      }),
      { numRuns: 3000 },
    );
  });

  test("is a fixed point: building it again changes no key", () => {
    fc.assert(
      fc.property(tree, (t) => {
        const d = build(t);
        expect(dimKey(substitute(d, new Map()))).toBe(dimKey(d));
      }),
      { numRuns: 1000 },
    );
  });

  test("commutes, associates and distributes by key", () => {
    fc.assert(
      fc.property(tree, tree, tree, (x, y, z) => {
        const [a, b, c] = [build(x), build(y), build(z)];
        expect(dimKey(add(a, b))).toBe(dimKey(add(b, a)));
        expect(dimKey(mul(a, b))).toBe(dimKey(mul(b, a)));
        expect(dimKey(mul(a, add(b, c)))).toBe(dimKey(add(mul(a, b), mul(a, c))));
        expect(dimKey(sub(add(a, b), b))).toBe(dimKey(a));
        expect(dimKey(min(a, min(b, c)))).toBe(dimKey(min(min(c, a), b)));
      }),
      { numRuns: 500 },
    );
  });

  test("substitution agrees with evaluation", () => {
    fc.assert(
      fc.property(tree, fc.constantFrom(n(3), add(B, n(1)), mul(B, C)), values, (t, by, env) => {
        const outer = new Map(env).set("A", Number(evaluateSigned(by, env)));
        const d = build(t);
        expect(evaluateSigned(substitute(d, new Map([["A", by]])), env)).toBe(evaluateSigned(d, outer));
      }),
      { numRuns: 1000 },
    );
  });

  test("divides exactly where the algebra shows it", () => {
    expect(dimEquals(floordiv(mul(A, B), A), B)).toBe(true);
    expect(dimEquals(floordiv(add(mul(A, A), mul(n(2), A, B), mul(B, B)), add(A, B)), add(A, B))).toBe(true);
    expect(printDim(floordiv(add(mul(n(7), A), B), n(3)))).toBe("2 * A + (A + B) / 3");
    expect(printDim(mod(add(mul(n(4), A), B), n(2)))).toBe("B % 2");
    expect(printDim(floordiv(floordiv(A, n(2)), n(3)))).toBe("A / 6");
  });

  test("keeps the order written, which only orderedKey sees", () => {
    expect(printDim(add(B, A))).toBe("B + A");
    expect(dimEquals(add(A, B), add(B, A))).toBe(true);
    expect(orderedKey(add(A, B))).not.toBe(orderedKey(add(B, A)));
  });

  test("names its symbols in order", () => {
    expect([...symbols(add(mul(B, A), C))]).toEqual(["B", "A", "C"]);
  });
});

describe("text", () => {
  test("prints as a user writes", () => {
    const E = symbol("E");
    const G = symbol("G");
    expect(printDim(mul(n(2), symbol("F")))).toBe("2 * F");
    expect(printDim(floordiv(E, G))).toBe("E / G");
    expect(printDim(mul(n(2), floordiv(E, G)))).toBe("2 * (E / G)");
    expect(printDim(floordiv(E, mul(G, n(2))))).toBe("E / (2 * G)");
    expect(printDim(sub(symbol("P"), add(n(1), symbol("r"))))).toBe("P - 1 - r");
    expect(printDim(add(n(-1), E))).toBe("E - 1");
    expect(sizeExpression(ceildiv(mul(B, A), n(4)))).toBe("ceildiv(B * A, 4)");
    expect(sizeExpression(mul(n(2), floordiv(E, G)))).toBe("2 * floordiv(E, G)");
  });

  test("a plan's text reads back to the same key", () => {
    fc.assert(
      fc.property(tree, (t) => {
        const d = build(t);
        expect(dimKey(parseSize(sizeExpression(d)))).toBe(dimKey(d));
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    "",
    "A +",
    "foo(A, B)",
    "(A",
    "A B",
    "1.5",
    "A)",
    "min(A)",
    "1e9",
    "(".repeat(5000),
    "-".repeat(9000) + "A",
    "A+".repeat(50_000),
  ])("refuses %j with a DimError", (text) => {
    expect(() => parseSize(text)).toThrow(DimError);
  });

  test("never throws anything else", () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom("A", "1", "(", ")", "+", "-", "*", ",", " ", "min", "mod", "floordiv"),
        }),
        (text) => {
          try {
            parseSize(text);
          } catch (error) {
            expect(error).toBeInstanceOf(DimError);
          }
        },
      ),
    );
  });
});

describe("limits", () => {
  const big = n(2 ** 50);
  test("a constant that does not fit is an error, not a wrapped number", () => {
    expect(() => mul(big, big)).toThrow(DimError);
    expect(() => constant(2 ** 53)).toThrow(DimError);
    expect(() => floordiv(A, n(0))).toThrow(DimError);
  });

  test("a value that does not fit is an error", () => {
    const env = new Map([
      ["A", 4194305],
      ["B", 4194305],
      ["C", 211106198978564],
    ]);
    expect(() => evaluate(mul(A, B, C), env)).toThrow(DimError);
    expect(tryEvaluate(mul(A, B), env)).toBe(4194305 * 4194305);
    expect(tryEvaluate(sub(n(1), A), env)).toBeUndefined();
    expect(tryEvaluate(symbol("Z"), env)).toBeUndefined();
    expect(tryEvaluate(floordiv(A, sub(A, B)), env)).toBeUndefined();
  });

  test("an exploding power is refused quickly", () => {
    const wide = add(...Array.from({ length: 40 }, (_, i) => symbol(`S${i}`)));
    const begin = performance.now();
    expect(() => mul(wide, wide, wide, wide, wide)).toThrow(DimError);
    expect(performance.now() - begin).toBeLessThan(1000);
  });
});
