import { expect, test } from "vitest";
import type { DType } from "../../compiler/types/dtype.ts";
import { compareTensors, roundingBound } from "../../runtime/tensor/comparison.ts";
import type { RandomFill } from "../../runtime/tensor/random.ts";
import { randomTensor } from "../../runtime/tensor/random.ts";
import { TensorError, elementCount, tensorOf, zeros } from "../../runtime/tensor/tensor.ts";
import { fromBigInts, fromNumbers, toBigInts, toNumbers } from "../../runtime/tensor/values.ts";

const fill: RandomFill = { seed: 7, name: "x", deviation: 1, low: 0, high: 10 };

test("shapes: scalars, zeros, and extents that no tensor has", () => {
  expect(elementCount([])).toBe(1);
  expect(elementCount([3, 0, 5])).toBe(0);
  for (const shape of [
    [-1],
    [1.5],
    [NaN],
    [2 ** 53],
    [4194305, 4194305, 211106198978564],
    [0, 2 ** 40, 2 ** 40],
  ]) {
    expect(() => elementCount(shape), `${shape}`).toThrow(TensorError);
  }
  expect(() => tensorOf("bf16", [2, 2], new Uint8Array(7))).toThrow(
    "bf16[2, 2] takes 8 bytes, and 7 were given",
  );
});

test("i64 keeps every bit", () => {
  const values = [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n];
  expect(Array.from(toBigInts(fromBigInts([5], values)))).toEqual(values);
  expect(Array.from(toNumbers(fromNumbers("i64", [3], [2 ** 53, -5, 1e300])))).toEqual([
    2 ** 53,
    -5,
    2 ** 63,
  ]);
});

test("the random generator's first numbers are pinned", () => {
  const numbers = toNumbers(randomTensor("i32", [6], { ...fill, low: -1000, high: 1000 }));
  expect(Array.from(numbers)).toMatchInlineSnapshot(`
    [
      -745,
      -628,
      684,
      192,
      -461,
      358,
    ]
  `);
  expect(Array.from(toNumbers(randomTensor("f32", [4], fill)))).toMatchInlineSnapshot(`
    [
      -0.24716529250144958,
      -0.208383709192276,
      1.1237400770187378,
      0.3163439631462097,
    ]
  `);
  expect(Array.from(toNumbers(randomTensor("bool", [8], fill)))).toMatchInlineSnapshot(`
    [
      0,
      0,
      0,
      0,
      1,
      1,
      1,
      0,
    ]
  `);
});

test("random floats are normal, integers uniform, and names and seeds have streams of their own", () => {
  const count = 100_000;
  const x = toNumbers(randomTensor("f32", [count], { ...fill, deviation: 3 }));
  const mean = x.reduce((a, b) => a + b, 0) / count;
  const moment = (power: number): number => x.reduce((a, b) => a + (b / 3) ** power, 0) / count;
  // Standard errors of these moments at 100,000 draws are 0.003, 0.0045 and 0.031; five of each.
  expect(Math.abs(mean / 3)).toBeLessThan(0.016);
  expect(Math.abs(moment(2) - 1)).toBeLessThan(0.023);
  expect(Math.abs(moment(4) - 3)).toBeLessThan(0.16);
  const counts = Array.from({ length: 10 }, () => 0);
  for (const k of toNumbers(randomTensor("u8", [count], fill))) counts[k] = (counts[k] ?? 0) + 1;
  for (const k of counts) expect(Math.abs(k - count / 10)).toBeLessThan(500);
  const other = toNumbers(randomTensor("f32", [4], { ...fill, name: "y" }));
  const seeded = toNumbers(randomTensor("f32", [4], { ...fill, seed: 8 }));
  expect(other).not.toEqual(x.subarray(0, 4));
  expect(seeded).not.toEqual(other);
  expect(() => randomTensor("i32", [1], { ...fill, low: 3, high: 3 })).toThrow("3..3 is not a range");
});

test("comparison: numbers", () => {
  const y = fromNumbers("f32", [4], [1, 2, -4, 0]);
  const x = fromNumbers("f32", [4], [1, 2.5, -4, 0.25]);
  const result = compareTensors(x, y);
  expect(result).toMatchObject({
    maxAbsolute: 0.5,
    maxRelative: 0.25,
    scale: 4,
    special: 0,
    different: 2,
    worst: 1,
  });
  // 1 - 2 * 22 / (23.3125 + 21)
  expect(result.calcDiff).toBeCloseTo(0.3125 / 44.3125, 15);
  expect(compareTensors(zeros("f32", [3]), zeros("f32", [3]))).toMatchObject({
    calcDiff: 0,
    different: 0,
    worst: -1,
  });
  expect(() => compareTensors(zeros("f32", [3]), zeros("f32", [1, 3]))).toThrow("f32[3] and f32[1, 3]");
});

test("comparison: places of NaN and infinity", () => {
  const y = fromNumbers("f32", [4], [NaN, Infinity, 1, 5]);
  expect(compareTensors(y, y)).toMatchObject({ special: 0, different: 0 });
  const x = fromNumbers("f32", [4], [NaN, -Infinity, NaN, 6]);
  expect(compareTensors(x, y)).toMatchObject({ special: 2, different: 3, worst: 1, maxAbsolute: 1 });
});

test("comparison: i64 beyond 2^53", () => {
  const a = fromBigInts([2], [2n ** 60n, 5n]);
  const b = fromBigInts([2], [2n ** 60n + 1n, 5n]);
  expect(compareTensors(a, b)).toMatchObject({ different: 1, maxAbsolute: 1, worst: 0 });
});

test("the rounding bound is the format's step, and nothing for integers", () => {
  const bound = (dtype: DType): number => roundingBound(dtype, 1, 8);
  expect(bound("i32")).toBe(0);
  expect(bound("bf16")).toBe(8 * (2 ** -7 + 2 ** -23));
  expect(roundingBound("f32", 1024, 1)).toBe(1025 * 2 ** -23);
});
