/** Every schedule computes what the loop means: the tile interpreter against the tensor interpreter on random loops. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "../../compiler/tile/parse.ts";
import { print } from "../../compiler/tile/print.ts";
import { jsCaps } from "../../compiler/targets/js/caps.ts";
import { ptx } from "../../compiler/targets/ptx/index.ts";
import type { Caps } from "../../compiler/types/caps.ts";
import { disagreement, makeCase, runTiles } from "./agreement.ts";
import { contractions, sweeps } from "./random-loops.ts";

const targets: readonly Caps[] = [
  ptx.caps("sm_90a"),
  jsCaps,
  { ...ptx.caps("sm_80"), target: "no subgroups", subgroup: 1, instructions: [], int64: false },
];

/** Some samples have large tiles of little, which the interpreter takes many seconds for: no more are begun then. */
const interruptAfterTimeLimit = 15_000;

describe.each(targets.map((caps) => [caps.target, caps] as const))("%s", (_, caps) => {
  it("computes random sweeps", () => {
    fc.assert(
      fc.property(sweeps, fc.nat(1000), (sample, seed) => {
        const one = makeCase(sample, caps, seed);
        expect(disagreement(one.expected, runTiles(one, sample.dims))).toBeUndefined();
      }),
      { numRuns: 40, interruptAfterTimeLimit },
    );
  }, 60_000);

  it("computes random contractions", () => {
    fc.assert(
      fc.property(contractions, fc.nat(1000), (sample, seed) => {
        const one = makeCase(sample, caps, seed);
        expect(disagreement(one.expected, runTiles(one, sample.dims))).toBeUndefined();
      }),
      { numRuns: 8, interruptAfterTimeLimit },
    );
  }, 60_000);

  it("prints and parses every program", () => {
    fc.assert(
      fc.property(fc.oneof(sweeps, contractions), (sample) => {
        const text = print(makeCase(sample, caps, 1).program);
        expect(print(parse(text))).toBe(text);
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});
