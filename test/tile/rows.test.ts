/** Rows whose later stages are structured, or read other places of the row: one kernel, which computes what is meant. */
import { describe, expect, it } from "vitest";
import { compiled, expectSimulated, expectTiles, inputsOf, tilesOf } from "./computed.ts";

const head = `import std.nn { softmax }
dim N, E
`;

const programs: Readonly<Record<string, string>> = {
  "the largest of a softmax": `${head}fn f(a: f32[N, E]) -> (v: f32[N, 5], i: i32[N, 5], m: bool[N, E]) {
  let (v, i, m) = topk[E, 5](softmax[E](a))
  (v: v, i: i, m: m)
}`,
  "a softmax of the largest": `${head}fn f(a: bf16[N, E]) -> (w: f32[N, 5], i: i32[N, 5]) {
  let (v, i, m) = topk[E, 5](a)
  (w: softmax(f32(v)), i: i)
}`,
  "a softmax of all but the largest": `${head}fn f(a: f32[N, E]) -> f32[N, E] {
  let (v, i, m) = topk[E, 3](a)
  for n, e: select(m[n, e], 0.0, softmax[E](a)[n, e] / sum[j](v[n, j]))
}`,
  "weights of the largest by what they add up to": `${head}fn f(a: f32[N, E], b: f32[E]) -> (w: f32[N, 4], i: i32[N, 4]) {
  let s = for n, e: sigmoid(a[n, e])
  let (v, i, m) = topk[E, 4](for n, e: s[n, e] + b[e])
  let own = for n, j in 4: s[n, i[n, j]]
  (w: for n, j: own[n, j] / sum[k](own[n, k]), i: i)
}`,
  "masked elements": `${head}fn f(a: f32[N, E], keep: bool[N, E]) -> (v: f32[N, 4], i: i32[N, 4]) {
  let (v, i, m) = topk[E, 4](for n, e: exp(a[n, e]) where keep[n, e])
  (v: v, i: i)
}`,
  "what stands at a place of the row": `${head}fn f(a: f32[N, E], which: i32[N]) -> f32[N] {
  let s = for n, e: tanh(a[n, e])
  for n: log(sum[e](exp(s[n, e]))) - s[n, max(which[n], 0)]
}`,
};

describe("one kernel a program", () => {
  it.each(Object.entries(programs))("%s", async (_, text) => {
    for (const dims of [
      { N: 5, E: 32 },
      { N: 3, E: 300 },
    ]) {
      const made = compiled(text, dims);
      const inputs = inputsOf(made);
      expectTiles(made, inputs);
      if (dims.E === 32) await expectSimulated(made, inputs);
    }
  });

  it("a row is read once, and again where the largest are", () => {
    const made = compiled(programs["the largest of a softmax"] ?? "", { N: 64, E: 256 });
    expect(tilesOf(made)).toHaveLength(1);
    expect(made.artifact?.plan.launches).toHaveLength(1);
  });
});
