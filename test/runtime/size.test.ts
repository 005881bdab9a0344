import fc from "fast-check";
import { expect, test } from "vitest";
import { sizeExpression } from "../../compiler/types/dim-text.ts";
import {
  add,
  ceildiv,
  constant,
  evaluate,
  floordiv,
  max,
  min,
  mod,
  mul,
  sub,
  symbol,
} from "../../compiler/types/dim.ts";
import type { Dim } from "../../compiler/types/dim.ts";
import { SizeError, evaluateCount, parseSize } from "../../runtime/plan/size.ts";

const dims = new Map([
  ["B", 3],
  ["S", 130],
]);

test("sizes as plans write them", () => {
  const rows: readonly (readonly [string, number])[] = [
    ["ceildiv(B * S, 4)", 98],
    ["floordiv(B * S, 4)", 97],
    ["mod(S, 4)", 2],
    ["mod(B - 5, 4)", 2],
    ["floordiv(B - 4, 2) + 9", 8],
    ["ceildiv(B - 4, 2) + 9", 9],
    ["max(B, S, 200) - min(B, S)", 197],
    ["2 * (B + 1) - -1", 9],
    ["256", 256],
    [" B*S ", 390],
  ];
  for (const [text, value] of rows) expect(evaluateCount(text, dims), text).toBe(value);
});

test("what is no size, has no value, or leaves the exact integers", () => {
  const rows: readonly (readonly [string, string])[] = [
    ["", "is not a size"],
    ["B +", "is not a size"],
    ["B S", "is not a size"],
    ["(B", "is not a size"],
    ["B / 2", "is not a size"],
    ["pow(B, 2)", "is not a size"],
    ["min(B)", "is not a size"],
    ["constructor(B, 2)", "is not a size"],
    ["X", "the dim X has no value"],
    ["mod(B, B - 3)", "divided by zero"],
    ["9007199254740991 * B", "beyond 2^53"],
    ["99999999999999999999", "beyond 2^53"],
    ["B - S", "the size B - S is -127"],
    [`${"(".repeat(500)}1${")".repeat(500)}`, "nested more than 100 deep"],
    ["1 + ".repeat(5000), "characters"],
  ];
  for (const [text, message] of rows) {
    expect(() => evaluateCount(text, dims), text.slice(0, 40)).toThrow(SizeError);
    expect(() => evaluateCount(text, dims), text.slice(0, 40)).toThrow(message);
  }
});

test("zero has one sign", () => {
  const dims = new Map([["B", 1]]);
  for (const text of [
    "min(-1 * floordiv(B, 2), 2 * B)",
    "-1 * (B - 1)",
    "ceildiv(-1 * (B - 1), 3)",
    "-(B - 1)",
  ])
    expect(parseSize(text)(dims), text).toBe(0);
});

test("agrees with the compiler's algebra on what the compiler prints", () => {
  const { dim } = fc.letrec<{ dim: Dim }>((tie) => ({
    dim: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(symbol("B"), symbol("S")),
      fc.integer({ min: 1, max: 9 }).map(constant),
      fc
        .tuple(fc.constantFrom(add, sub, mul, min, max), tie("dim"), tie("dim"))
        .map(([make, a, b]) => make(a, b)),
      fc
        .tuple(fc.constantFrom(floordiv, ceildiv, mod), tie("dim"), fc.integer({ min: 1, max: 7 }))
        .map(([make, a, b]) => make(a, constant(b))),
    ),
  }));
  const sizes = fc.record({ B: fc.integer({ min: 1, max: 40 }), S: fc.integer({ min: 1, max: 40 }) });
  const property = fc.property(dim, sizes, (d, { B, S }) => {
    const values = new Map([
      ["B", B],
      ["S", S],
    ]);
    const value = parseSize(sizeExpression(d))(values);
    if (value >= 0) expect(evaluate(d, values)).toBe(value);
    else expect(() => evaluate(d, values)).toThrow();
  });
  fc.assert(property, { numRuns: 500 });
});
