/**
 * Tiles of products scaled by block, in the tile interpreter and through their text: waves and pieces of columns, scales of
 * four runs that come together.
 */
import { describe, expect, it } from "vitest";
import { encode } from "../../compiler/tensor/number-formats.ts";
import { compiled, expectTiles, inputsOf, tilesOf, type Sizes } from "./computed.ts";

const experts = `dim B, E, P, D
fn experts(x: e4m3[B, 64, D] @ (1, 128), expert: i32[B], w: e4m3[E, P, D] @ (128, 128)) -> f32[B, 64, P] {
  for b, r in 64, p: sum[d](x[b, r, d] * w[expert[b], p, d])
}`;
const rows = `dim M, N, D
fn rows(x: e4m3[M, D] @ (1, 128), w: e4m3[N, D] @ (128, 128)) -> f32[M, N] { for m, n: sum[d](x[m, d] * w[n, d]) }`;

const numbers = (dtype: "i32", values: readonly number[]) => ({
  dtype,
  shape: [values.length],
  bytes: encode(dtype, Float64Array.from(values)),
});

interface Case {
  readonly text: string;
  readonly schedule: string;
  readonly dims: Sizes;
  /** What the tile program says. */
  readonly has: RegExp;
}

describe("tiles of scaled products in the tile interpreter", () => {
  it.each<[string, Case]>([
    [
      "two waves of columns",
      {
        text: experts,
        schedule: "schedule experts on sm_90a { tile r 64, P 256; stages 2 }",
        dims: { B: 1, E: 2, P: 256, D: 512 },
        has: /m64n128k32/,
      },
    ],
    [
      "columns in pieces",
      {
        text: experts,
        schedule: "schedule experts on sm_90a { tile r 64, P 192; stages 2 }",
        dims: { B: 1, E: 2, P: 192, D: 512 },
        has: /axis piece: 3 register/,
      },
    ],
    [
      "scales of four runs together",
      {
        text: rows,
        schedule: "schedule rows on sm_90a { tile M 128, N 64; roles copy 1, math 2; stages 2 }",
        dims: { M: 128, N: 64, D: 1024 },
        has: /channel scales .*scale_tile/,
      },
    ],
  ])("%s", (_, { text, schedule, dims, has }) => {
    const made = compiled(`${text}\n${schedule}`, dims);
    expect(tilesOf(made)[0]).toMatch(has);
    const inputs = inputsOf(made);
    if (inputs.has("expert")) inputs.set("expert", numbers("i32", [1]));
    expectTiles(made, inputs);
  });
});
