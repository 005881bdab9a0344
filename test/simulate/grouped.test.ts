/**
 * Products over ragged rows, on the simulator: the rows of each expert times its own weight, on matrix units. Counts lie in
 * the device's memory alone, so that one loaded plan takes any. All values are such that every sum is exact.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.ts";
import type { Artifact } from "../../compiler/plan/plan.ts";
import { fromNumbers, toNumbers, type Device, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";

const text = `dim E, D, F, R[E]
fn plain(x: bf16[E, R[E], D], w: bf16[E, F, D]) -> f32[E, R[E], F] { for e, r, f: sum[d](x[e, r, d] * w[e, f, d]) }
fn scaled(x: bf16[E, R[E], D], w: e4m3[E, F, D] @ (128, 128)) -> f32[E, R[E], F] {
  let q = quantize<e4m3 @ (1, 128)>(x)
  for e, r, f: sum[d](q[e, r, d] * w[e, f, d])
}`;

const [E, D, F, rows] = [4, 128, 64, 70];

function compiled(entry: string): Artifact {
  const { artifact, diagnostics } = compile({
    source: { file: "grouped.dsl", text },
    host: testHost(),
    entry,
    target: "ptx",
    dims: new Map(Object.entries({ E, D, F, R_rows: rows })),
    dtypes: new Map(),
  });
  if (artifact === undefined) throw new Error(diagnostics.map(({ message }) => message).join());
  return artifact;
}

/** Small whole numbers, and in each block of 128 a 448, so that the block's scale is one and its codes are its values. */
const x = Array.from({ length: rows * D }, (_, k) => (k % 128 === 7 ? 448 : ((k * 7) % 9) - 4));
const w = Array.from({ length: E * F * D }, (_, k) => ((k * 5 + Math.floor(k / D)) % 7) - 3);
/** A scale of each expert's weight, which is one block. */
const scales = Array.from({ length: E }, (_, e) => 2 ** ((e % 3) - 1));

function expected(counts: readonly number[], isScaled: boolean): readonly number[] {
  const experts = counts.flatMap((count, e): readonly number[] => Array<number>(count).fill(e));
  return Array.from({ length: rows * F }, (_, k) => {
    const [row, f] = [Math.floor(k / F), k % F];
    const e = experts[row];
    if (e === undefined) return 0;
    let sum = 0;
    for (let d = 0; d < D; d += 1) sum += (x[row * D + d] ?? 0) * (w[(e * F + f) * D + d] ?? 0);
    return isScaled ? sum * (scales[e] ?? 0) : sum;
  });
}

describe("grouped products on the simulator", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openSimulator();
  });
  afterAll(() => device.close());

  it.each([
    ["plain", "bf16", /wgmma\.mma_async\S*bf16\.bf16/],
    ["scaled", "e4m3", /wgmma\.mma_async\S*e4m3\.e4m3/],
  ] as const)(
    "%s: experts without rows, with one, and with rows that fill no tile",
    async (entry, dtype, unit) => {
      const artifact = compiled(entry);
      expect([...artifact.files.values()].filter((file) => unit.test(file))).toHaveLength(1);
      const loaded = await device.load(artifact);
      const isScaled = entry === "scaled";
      // The first plan runs again with other counts.
      for (const counts of [[0, 65, 1, 4], ...(isScaled ? [] : [[68, 0, 0, 1]])]) {
        const inputs = new Map<string, HostTensor>([
          ["x", fromNumbers("bf16", [rows, D], x)],
          ["w", fromNumbers(dtype, [E, F, D], w)],
          ["R", fromNumbers("i32", [E], counts)],
        ]);
        if (isScaled) inputs.set("w.scale", fromNumbers("f32", [E, 1, 1], scales));
        const { outputs } = await loaded.run(inputs, { keep: false, time: false });
        const out = outputs.get("out");
        expect(Array.from(toNumbers(out as HostTensor))).toEqual(expected(counts, isScaled));
      }
      loaded.free();
    },
  );
});
