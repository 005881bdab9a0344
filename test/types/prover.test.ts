import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  add,
  constant,
  type Dim,
  DimError,
  evaluateSigned,
  floordiv,
  max,
  min,
  mod,
  mul,
  sub,
  symbol,
} from "../../compiler/types/dim.ts";
import { parseSize } from "../../compiler/types/dim-text.ts";
import {
  type Claim,
  learn,
  noFacts,
  prove,
  proveAtMost,
  proveDifferent,
  proveDivides,
  proveEqual,
  proveLess,
  refute,
  type Relation,
  withIndices,
} from "../../compiler/types/prover.ts";

const d = parseSize;
const claim = (left: string, relation: Relation, right: string): Claim => ({
  left: d(left),
  relation,
  right: d(right),
});

function holds(c: Claim, env: ReadonlyMap<string, number>): boolean {
  const [l, r] = [evaluateSigned(c.left, env), evaluateSigned(c.right, env)];
  return { "==": l === r, "!=": l !== r, "<": l < r, "<=": l <= r }[c.relation];
}

const leaf: fc.Arbitrary<Dim> = fc.oneof(
  fc.integer({ min: 0, max: 5 }).map(constant),
  fc.constantFrom("A", "B", "C").map(symbol),
);
const size: fc.Arbitrary<Dim> = fc.letrec<{ size: Dim }>((tie) => ({
  size: fc.oneof(
    { maxDepth: 3 },
    leaf,
    fc
      .tuple(fc.constantFrom(add, sub, mul, min, max), tie("size"), tie("size"))
      .map(([make, a, b]) => make(a, b)),
    fc
      .tuple(
        fc.constantFrom(floordiv, mod),
        tie("size"),
        fc.constantFrom(constant(2), constant(3), symbol("A"), symbol("B")),
      )
      .map(([make, a, b]) => make(a, b)),
  ),
})).size;
const relation = fc.constantFrom<Relation>("==", "<", "<=", "!=");
const fact: fc.Arbitrary<Claim> = fc.oneof(
  fc.record({ left: size, relation, right: size }),
  fc
    .tuple(fc.constantFrom("A", "B", "A*B", "A+B"), fc.constantFrom("2", "3", "B", "C"))
    .map(([a, b]) => claim(`mod(${a},${b})`, "==", "0")),
  fc
    .tuple(fc.constantFrom("A", "B", "C"), size)
    .map(([name, value]): Claim => ({ left: symbol(name), relation: "==", right: value })),
);

describe("soundness", () => {
  test("what is proved or refuted under random facts holds or fails at every point that satisfies them", () => {
    let proved = 0;
    fc.assert(
      fc.property(fc.array(fact, { maxLength: 3 }), size, relation, size, (given, left, rel, right) => {
        const facts = learn(noFacts, given);
        const question: Claim = { left, relation: rel, right };
        const [yes, no] = [prove(facts, question), refute(facts, question)];
        if (!yes && !no) return;
        proved += 1;
        for (let a = 1; a <= 5; a += 1)
          for (let b = 1; b <= 5; b += 1)
            for (let c = 1; c <= 5; c += 1) {
              const env = new Map([
                ["A", a],
                ["B", b],
                ["C", c],
              ]);
              if (given.every((f) => holds(f, env)) && holds(question, env) !== yes)
                expect.fail(`wrong at ${a}, ${b}, ${c}`);
            }
      }),
      { numRuns: 1200 },
    );
    expect(proved).toBeGreaterThan(120);
  }, 30_000);

  test("index ranges: a proved bound holds for every index", () => {
    let proved = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: 1, max: 4 }),
        (offset, slack, scale) => {
          const facts = withIndices(noFacts, [{ name: "i", extent: symbol("A") }]);
          const index = add(mul(constant(scale), symbol("i")), constant(offset));
          const extent = add(mul(constant(scale), symbol("A")), constant(slack));
          const [low, high] = [proveAtMost(facts, constant(0), index), proveLess(facts, index, extent)];
          for (let a = 1; a <= 5; a += 1)
            for (let i = 0; i < a; i += 1) {
              const env = new Map([
                ["A", a],
                ["i", i],
              ]);
              if (low) expect(evaluateSigned(index, env) >= 0n).toBe(true);
              if (high) expect(evaluateSigned(index, env) < evaluateSigned(extent, env)).toBe(true);
            }
          // Complete for this family: i runs over all of 0 .. A - 1.
          expect(low).toBe(offset >= 0);
          expect(high).toBe(offset < scale + slack);
          if (low && high) proved += 1;
        },
      ),
    );
    expect(proved).toBeGreaterThan(5);
  });
});

describe("what programs need", () => {
  test("exact quotients fold under a divisibility fact, and not without", () => {
    const facts = learn(noFacts, [claim("mod(E, G)", "==", "0")]);
    expect(proveEqual(facts, d("floordiv(E, G) * G"), d("E"))).toBe(true);
    expect(proveEqual(noFacts, d("floordiv(E, G) * G"), d("E"))).toBe(false);
    expect(proveEqual(facts, d("2 * floordiv(E, G) * G * N"), d("N * E + E * N"))).toBe(true);
    expect(proveDivides(facts, d("G"), d("3 * E"))).toBe(true);
    expect(proveDivides(facts, d("E"), d("G"))).toBe(false);
  });

  test("chains, constants and several divisors of one size", () => {
    const facts = learn(noFacts, [
      claim("mod(E, 8)", "==", "0"),
      claim("mod(E, G)", "==", "0"),
      claim("mod(G, H)", "==", "0"),
    ]);
    expect(proveDivides(facts, d("4"), d("E"))).toBe(true);
    expect(proveDivides(facts, d("G"), d("E"))).toBe(true);
    expect(proveDivides(facts, d("H"), d("E"))).toBe(true);
    expect(proveEqual(facts, d("floordiv(E, G) * G"), d("E"))).toBe(true);
    expect(proveDivides(facts, d("16"), d("E"))).toBe(false);
    const constants = learn(noFacts, [claim("Dh", "==", "128"), claim("D", "==", "2 * Dh")]);
    expect(proveEqual(constants, d("D"), d("256"))).toBe(true);
    expect(proveDivides(constants, d("64"), d("Dh"))).toBe(true);
    expect(proveDifferent(constants, d("D"), d("128"))).toBe(true);
  });

  test("inequalities of a pipeline", () => {
    const facts = learn(noFacts, [
      claim("mod(P, 2)", "==", "0"),
      claim("mod(M, 2)", "==", "0"),
      claim("2 * P", "<=", "M"),
    ]);
    expect(proveAtMost(facts, d("P"), d("floordiv(M, 2)"))).toBe(true);
    expect(proveLess(facts, d("P"), d("M"))).toBe(true);
    expect(proveLess(facts, d("M"), d("P"))).toBe(false);
  });

  test("index arithmetic with quotients and remainders", () => {
    const facts = withIndices(learn(noFacts, [claim("mod(D, 2)", "==", "0")]), [
      { name: "d", extent: d("D") },
      { name: "i", extent: d("floordiv(D, 2)") },
    ]);
    expect(proveLess(facts, d("2 * i + 1"), d("D"))).toBe(true);
    expect(proveLess(facts, d("floordiv(d, 2)"), d("floordiv(D, 2)"))).toBe(true);
    expect(proveLess(facts, d("mod(d, 2)"), d("2"))).toBe(true);
    expect(proveAtMost(facts, d("0"), d("D - 1 - d"))).toBe(true);
    expect(proveLess(facts, d("d + 1"), d("D"))).toBe(false);
    expect(proveLess(facts, d("min(d, S - 1)"), d("S"))).toBe(true);
    expect(proveAtMost(facts, d("0"), d("max(d - W, 0)"))).toBe(true);
  });

  test("a refuted claim is different for all sizes, an open one is neither", () => {
    expect(refute(noFacts, claim("S + 1", "<=", "S"))).toBe(true);
    expect(refute(noFacts, claim("S", "==", "T"))).toBe(false);
    expect(prove(noFacts, claim("S", "==", "T"))).toBe(false);
  });
});

test("a hostile question ends soon", () => {
  const names = Array.from({ length: 12 }, (_, i) => `S${i}`);
  const claims = names.flatMap((a) => names.map((b) => claim(`${a} * ${b}`, "<=", `${b} + 3 * ${a}`)));
  const begin = performance.now();
  const facts = learn(noFacts, claims);
  prove(facts, claim(names.join(" * "), "<=", names.join(" + ")));
  let deep: Dim = symbol("A");
  for (let i = 0; i < 40; i += 1) deep = floordiv(add(deep, symbol(`S${i % 12}`)), symbol("B"));
  prove(facts, { left: deep, relation: "<", right: add(deep, constant(1)) });
  let grown: Dim = symbol("A");
  expect(() => {
    for (let i = 0; i < 80; i += 1) grown = max(mul(grown, symbol(`S${i % 12}`)), symbol("B"));
    prove(facts, { left: grown, relation: "<", right: deep });
  }).toThrow(DimError);
  expect(performance.now() - begin).toBeLessThan(2000);
});
