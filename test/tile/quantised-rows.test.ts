/**
 * Rows quantised by blocks, with what makes them: how a block's places lie over threads, in the tile interpreter and in the
 * simulator, and how codes are made.
 */
import { describe, expect, it } from "vitest";
import { assemble, hasPtxas } from "../targets/ptx/tools.ts";
import { compiled, expectSimulated, expectTiles, inputsOf, tilesOf } from "./computed.ts";

const normed = `import std.nn { rmsnorm }
dim N, D
fn normed(x: bf16[N, D], g: f32[D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(rmsnorm(x, g)) }`;
const alone = `dim N, D
fn alone(x: bf16[N, D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(x) }`;
const wide = `dim N, D
fn wide(x: f32[N, D]) -> e5m2[N, D] @ (1, 128) {
  let total = for n: sum[d](x[n, d])
  quantize<e5m2 @ (1, 128)>(for n, d: x[n, d] - total[n] / D)
}`;
const summed = `import std.nn { rmsnorm }
dim N, D
fn summed(x: bf16[N, D], y: bf16[N, D], g: f32[D]) -> e4m3[N, D] @ (1, 128) {
  quantize<e4m3 @ (1, 128)>(rmsnorm(for n, d: x[n, d] + y[n, d], g))
}`;
const narrow = `import std.nn { softmax }
dim N, D
fn narrow(x: bf16[N, D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(softmax[D](x)) }`;

const accesses = (text: string, D: number): readonly string[] =>
  Array.from(
    (tilesOf(compiled(text, { N: 2, D }))[0] ?? "").matchAll(/^axis col_[wv]: .*$/gm),
    ([line]) => line,
  );

describe("a block's places", () => {
  it("lie in parts where a thread's neighbours would be more than are moved at a time", () => {
    expect(accesses(normed, 7168)).toEqual(["axis col_w: 2 register", "axis col_v: 8 register"]);
    expect(accesses(wide, 7168)).toEqual(["axis col_w: 2 register", "axis col_v: 8 register"]);
    expect(accesses(narrow, 7168)).toEqual(["axis col_v: 16 register"]);
  });

  it.each([
    ["normed", normed, { N: 3, D: 1024 }],
    ["normed, a short row", normed, { N: 5, D: 384 }],
    ["wide", wide, { N: 3, D: 640 }],
    ["narrow", narrow, { N: 3, D: 640 }],
    ["alone", alone, { N: 3, D: 640 }],
  ])("%s computes what it means", async (_, text, dims) => {
    const one = compiled(text, dims);
    const inputs = inputsOf(one);
    expectTiles(one, inputs);
    await expectSimulated(one, inputs);
  });
});

it("asks for as many blocks at once as what a thread holds allows, where rows and their blocks are reduced", () => {
  const resident = (text: string): string | undefined =>
    /resident (\d+)/.exec(tilesOf(compiled(text, { N: 2, D: 7168 }))[0] ?? "")?.[1];
  // 224 threads of 32 elements and 24 registers; two inputs; nothing is reduced first.
  expect([normed, narrow, summed, alone].map(resident)).toEqual(["5", "5", undefined, undefined]);
  const [kernel = ""] = compiled(normed, { N: 2, D: 7168 }).artifact?.files.values() ?? [];
  expect(kernel).toContain("\n.maxntid 224, 1, 1\n.minnctapersm 5\n");
  if (hasPtxas)
    expect(assemble(String(kernel), "sm_90a")).toEqual({ complaints: [], spilling: [], entries: 1 });
});

it("makes codes two at a time", () => {
  for (const [text, format] of [
    [alone, "e4m3"],
    [wide, "e5m2"],
  ] as const) {
    const [kernel = ""] = compiled(text, { N: 64, D: 7168 }).artifact?.files.values() ?? [];
    const pairs = String(kernel).matchAll(
      new RegExp(`cvt\\.rn\\.satfinite\\.${format}x2\\.f32 %\\w+, (\\S+),`, "g"),
    );
    expect(new Set(Array.from(pairs, ([, high]) => high === "0f00000000"))).toEqual(new Set([false]));
    expect(kernel).not.toContain("prmt");
  }
});
