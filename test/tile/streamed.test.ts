/** The streamed contraction schedule: channels and roles compute what the loop means, in the tile interpreter. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { parse } from "../../compiler/tile/parse.ts";
import { print } from "../../compiler/tile/print.ts";
import { ptx } from "../../compiler/targets/ptx/index.ts";
import { disagreement, makeCase, runTiles, streamedWith } from "./agreement.ts";
import { longProducts, matrixProducts, scaledProducts } from "./random-loops.ts";

const caps = ptx.caps("sm_90a");

for (const [name, samples, runs] of [
  ["random matrix products", matrixProducts, 6],
  ["random products of 8-bit floats, scaled and promoted", scaledProducts, 4],
] as const) {
  it(`computes ${name}`, () => {
    let streamed = 0;
    fc.assert(
      fc.property(samples, fc.nat(1000), (sample, seed) => {
        const one = makeCase(sample, caps, seed);
        if (one.program.channels.length > 0) streamed += 1;
        const text = print(one.program);
        expect(print(parse(text))).toBe(text);
        expect(disagreement(one.expected, runTiles(one, sample.dims))).toBeUndefined();
      }),
      { numRuns: runs },
    );
    expect(streamed).toBeGreaterThan(0);
  }, 120_000);
}

it("shares tiles among blocks where a round would not be full", () => {
  let shared = 0;
  fc.assert(
    fc.property(longProducts, fc.constantFrom(2, 3, 5), fc.nat(1000), (sample, units, seed) => {
      const one = makeCase(sample, { ...caps, units }, seed, streamedWith({ shared: 1 }));
      if (one.program.buffers.some(({ use }) => use === "flags")) shared += 1;
      const text = print(one.program);
      expect(print(parse(text))).toBe(text);
      expect(disagreement(one.expected, runTiles(one, sample.dims))).toBeUndefined();
    }),
    { numRuns: 3 },
  );
  expect(shared).toBeGreaterThan(0);
}, 120_000);
