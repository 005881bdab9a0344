/** Products of 8-bit floats at the sizes of models: ptxas assembles them without a spill or a serialized product. */
import { describe, expect, test } from "vitest";
import { compile } from "../../../compiler/index.ts";
import { assemble, hasPtxas, needing } from "./tools.ts";

const text = `
dim M, N, K
fn alone(x: e4m3[M, K], w: e5m2[N, K]) -> bf16[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
numerics alone { accumulate: f32 every 65536 }
fn promoted(x: e4m3[M, K], w: e4m3[N, K]) -> bf16[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
fn longer(x: e4m3[M, K], w: e4m3[N, K]) -> bf16[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
numerics longer { accumulate: f32 every 512 }
fn exact(x: e4m3[M, K], w: e4m3[N, K]) -> bf16[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
numerics exact { accumulate: f32 }
fn scaled(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (128, 128)) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}
fn both(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (1, 128)) -> f32[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}
fn columns(x: e4m3[M, K], w: e4m3[K, N]) -> bf16[M, N] { for m, n: sum[k](x[m, k] * w[k, n]) }
fn weights(x: bf16[M, K], w: e4m3[N, K] @ (128, 128)) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}
`;

/** What multiplies in each: the unit's instruction, by its depth and dtypes. */
const products = {
  alone: "k32.f32.e4m3.e5m2",
  promoted: "k32.f32.e4m3.e4m3",
  longer: "k32.f32.e4m3.e4m3",
  exact: "k16.f32.bf16.bf16",
  scaled: "k32.f32.e4m3.e4m3",
  both: "k32.f32.e4m3.e4m3",
  columns: "k32.f32.e4m3.e4m3",
  weights: "k16.f32.bf16.bf16",
} as const;

const sizes = [
  { M: 4096, N: 7168, K: 16384 },
  { M: 128, N: 4096, K: 7168 },
];

function emitted(entry: string, dims: Readonly<Record<string, number>>): string {
  const { artifact, diagnostics } = compile({
    source: { file: "products.dsl", text },
    host: { read: () => undefined },
    entry,
    target: "ptx:sm_90a",
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
  expect(diagnostics).toEqual([]);
  return [...(artifact?.files.values() ?? [])].join("\n");
}

describe("products of 8-bit floats", () => {
  for (const [entry, instruction] of Object.entries(products))
    test(`${entry} multiplies by ${instruction}`, () => {
      for (const dims of sizes) expect(emitted(entry, dims)).toContain(instruction);
    });
  for (const entry of Object.keys(products))
    test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, entry), () => {
      for (const dims of sizes)
        expect(assemble(emitted(entry, dims), "sm_90a")).toEqual({
          complaints: [],
          spilling: [],
          entries: 1,
        });
    });
});
