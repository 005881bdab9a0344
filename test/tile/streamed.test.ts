/** The streamed contraction schedule: channels and roles compute what the loop means, in the tile interpreter. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { parse } from "../../compiler/tile/parse.ts";
import { print } from "../../compiler/tile/print.ts";
import { ptx } from "../../compiler/targets/ptx/index.ts";
import { disagreement, makeCase, runTiles } from "./agreement.ts";
import { matrixProducts } from "./random-loops.ts";

const caps = ptx.caps("sm_90a");

it("computes random matrix products", () => {
  let streamed = 0;
  fc.assert(
    fc.property(matrixProducts, fc.nat(1000), (sample, seed) => {
      const one = makeCase(sample, caps, seed);
      if (one.program.channels.length > 0) streamed += 1;
      const text = print(one.program);
      expect(print(parse(text))).toBe(text);
      expect(disagreement(one.expected, runTiles(one, sample.dims))).toBeUndefined();
    }),
    { numRuns: 6 },
  );
  expect(streamed).toBeGreaterThan(0);
}, 120_000);
