/** Linked reductions of rows that no block holds: one sweep where they can follow one another, one each elsewhere. */
import { describe, expect, it } from "vitest";
import { compiled, expectSimulated, expectTiles, inputsOf, tilesOf } from "./computed.ts";

const head = `import std.nn { softmax, cross_entropy }
dim N, E
`;
/** 32 threads take 512 elements at a time. */
const rows = "schedule f on ptx { split E 1; tile N 1, E 512; threads 32 }";

const followed: Readonly<Record<string, string>> = {
  "cross-entropy": "fn f(a: bf16[N, E], i: i32[N]) -> f32[N] { cross_entropy[E](a, i) }",
  softmax: "fn f(a: f32[N, E]) -> f32[N, E] { softmax[E](a) }",
  "rows of which little or nothing is kept": `fn f(a: f32[N, E], keep: bool[N, E], row: bool[N]) -> f32[N] {
  for n: logsumexp[e](a[n, e] where (keep[n, e] and row[n]))
}`,
  "exponents of a minimum, and a factor of the row": `fn f(a: f32[N, E], b: f32[N]) -> f32[N] {
  let m = for n: min[e](a[n, e])
  for n: sum[e](exp(m[n] - a[n, e]) * a[n, e] * b[n])
}`,
};

const apart: Readonly<Record<string, string>> = {
  "squares of what is left of the mean": `fn f(a: f32[N, E]) -> f32[N] {
  let m = for n: mean[e](a[n, e])
  for n: mean[e]((a[n, e] - m[n]) * (a[n, e] - m[n]))
}`,
  "weights that may add up to nothing in a part": `fn f(a: f32[N, E]) -> f32[N] {
  let z = for n: sum[e](tanh(a[n, e]))
  for n: sum[e](tanh(a[n, e]) / z[n] * a[n, e])
}`,
};

/** Loops over chunks of the row, those that store apart. */
function sweeps(tiles: string): number {
  return tiles.split("\n").filter((line) => /^ *for chunk/.test(line)).length;
}

describe("a row that is not held", () => {
  it.each(Object.entries(followed))("one sweep: %s", async (name, text) => {
    for (const E of [2048, 1100]) {
      const made = compiled(`${head}${text}\n${rows}`, { N: 3, E });
      // What is left of whole chunks is a loop of its own.
      const loops = (E % 512 === 0 ? 1 : 2) + (name === "softmax" ? 1 : 0);
      expect(sweeps(tilesOf(made)[0] ?? "")).toBe(loops);
      const inputs = inputsOf(made);
      expectTiles(made, inputs);
      if (E === 1100) await expectSimulated(made, inputs);
    }
  });

  it.each(Object.entries(apart))("a sweep each: %s", (_, text) => {
    const made = compiled(`${head}${text}\n${rows}`, { N: 3, E: 1100 });
    expect(sweeps(tilesOf(made)[0] ?? "")).toBe(2);
    expectTiles(made, inputsOf(made));
  });
});
