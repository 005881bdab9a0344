/**
 * Products over ragged rows, on the simulator: the rows of each expert times its own weight, and sums over the rows of each
 * expert, on matrix units. Counts lie in the device's memory alone, so that one loaded plan takes any. All values are such
 * that every sum is exact.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.ts";
import type { Artifact } from "../../compiler/plan/plan.ts";
import { fromNumbers, toNumbers, type Device, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";

const text = `dim E, D, F, P, R[E]
fn plain(x: bf16[E, R[E], D], w: bf16[E, F, D]) -> f32[E, R[E], F] { for e, r, f: sum[d](x[e, r, d] * w[e, f, d]) }
fn scaled(x: bf16[E, R[E], D], w: e4m3[E, F, D] @ (128, 128)) -> f32[E, R[E], F] {
  let q = quantize<e4m3 @ (1, 128)>(x)
  for e, r, f: sum[d](q[e, r, d] * w[e, f, d])
}
fn weights(x: bf16[E, R[E], D], y: bf16[E, R[E], F]) -> f32[E, D, F] { for e, d, f: sum[r](x[e, r, d] * y[e, r, f]) }
fn made(x: bf16[E, R[E], D], y: bf16[E, R[E], F]) -> f32[E, D, F] {
  let h: bf16[E, R[E], D] = for e, r, d: x[e, r, d] + 4.0
  for e, d, f: sum[r](h[e, r, d] * y[e, r, f])
}
fn turned(x: e4m3[D, B, 128] @ (1, 1, 128), y: e4m3[F, B, 128] @ (1, 1, 128), first: i32[E], below: i32[E]) -> f32[E, F, D] {
  for e, f, d: sum[b, r](select(first[e] <= b and b < below[e], y[f, b, r] * x[d, b, r], 0.0))
}
fn masked(x: bf16[E, T, D], count: i32[E], w: bf16[E, F, D]) -> f32[E, T, F] {
  for e, t, f: select(t < count[e], sum[d](x[e, t, d] * w[e, f, d]), 0.0)
}
fn paired(x: e4m3[B, 64, D] @ (1, 128), expert: i32[B], w: e4m3[E, P, D] @ (128, 128)) -> f32[B, 64, P] {
  for b, r in 64, p: sum[d](x[b, r, d] * w[expert[b], p, d])
}
schedule paired on sm_90a { tile r 64, P 64; cluster 2 }
fn paired_masked(x: bf16[E, T, D], count: i32[E], w: bf16[E, P, D]) -> f32[E, T, P] {
  for e, t, p: select(t < count[e], sum[d](x[e, t, d] * w[e, p, d]), 0.0)
}
schedule paired_masked on sm_90a { tile T 64, P 64; cluster 2 }
fn rows(y: bf16[E, R[E], F], keep: f32[F]) -> (all: f32[E, F], most: f32[E, F]) {
  (all: for e, f: sum[r](y[e, r, f] * y[e, r, f] - keep[f]), most: for e, f: max[r](y[e, r, f] * keep[f]))
}`;

const [E, D, F, rows] = [4, 128, 64, 70];

function compiled(entry: string, more: Readonly<Record<string, number>> = {}): Artifact {
  const { artifact, diagnostics } = compile({
    source: { file: "grouped.dsl", text },
    host: testHost(),
    entry,
    target: "ptx",
    dims: new Map(Object.entries({ E, D, F, R_rows: rows, ...more })),
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

  /** Of each expert the sum over its rows of x[d] + more times y[f]. */
  const y = Array.from({ length: rows * F }, (_, k) => ((k * 11 + Math.floor(k / F)) % 5) - 2);
  function gradients(counts: readonly number[], more: number): readonly number[] {
    const out = Array<number>(E * D * F).fill(0);
    let row = 0;
    counts.forEach((count, e) => {
      for (const end = row + count; row < end; row += 1)
        for (let d = 0; d < D; d += 1) {
          const left = (x[row * D + d] ?? 0) + more;
          for (let f = 0; f < F; f += 1) out[(e * D + d) * F + f]! += left * (y[row * F + f] ?? 0);
        }
    });
    return out;
  }

  it.each([
    ["weights", 0],
    ["made", 4],
  ] as const)(
    "%s: sums over the rows of experts that have none, one, and more than a step",
    async (entry, more) => {
      const artifact = compiled(entry);
      const unit = /wgmma\.mma_async\S*bf16\.bf16/;
      expect([...artifact.files.values()].filter((file) => unit.test(file))).toHaveLength(1);
      const loaded = await device.load(artifact);
      for (const counts of [
        [0, 65, 1, 4],
        [70, 0, 0, 0],
        [2, 3, 64, 0],
      ]) {
        const { outputs } = await loaded.run(
          new Map<string, HostTensor>([
            ["x", fromNumbers("bf16", [rows, D], x)],
            ["y", fromNumbers("bf16", [rows, F], y)],
            ["R", fromNumbers("i32", [E], counts)],
          ]),
          { keep: false, time: false },
        );
        expect(Array.from(toNumbers(outputs.get("out") as HostTensor))).toEqual(gradients(counts, more));
      }
      loaded.free();
    },
  );

  it("what is no product, or no sum, asks each row", async () => {
    const loaded = await device.load(compiled("rows"));
    const counts = [0, 65, 1, 4];
    const keep = Array.from({ length: F }, (_, f) => (f % 3) - 1);
    const { outputs } = await loaded.run(
      new Map<string, HostTensor>([
        ["y", fromNumbers("bf16", [rows, F], y)],
        ["keep", fromNumbers("f32", [F], keep)],
        ["R", fromNumbers("i32", [E], counts)],
      ]),
      { keep: false, time: false },
    );
    loaded.free();
    const of = (e: number, f: number): readonly number[] => {
      const first = counts.slice(0, e).reduce((a, b) => a + b, 0);
      return Array.from({ length: counts[e] ?? 0 }, (_, r) => y[(first + r) * F + f] ?? 0);
    };
    const places = Array.from({ length: E * F }, (_, k) => [Math.floor(k / F), k % F] as const);
    expect(Array.from(toNumbers(outputs.get("all") as HostTensor))).toEqual(
      places.map(([e, f]) => of(e, f).reduce((sum, value) => sum + value * value - (keep[f] ?? 0), 0)),
    );
    expect(Array.from(toNumbers(outputs.get("most") as HostTensor), (value) => value + 0)).toEqual(
      places.map(([e, f]) => Math.max(...of(e, f).map((value) => value * (keep[f] ?? 0) + 0))),
    );
  });

  it("blocks of rows that experts have, as 8-bit floats scaled along the rows, and experts without blocks", async () => {
    const B = 3;
    const artifact = compiled("turned", { B });
    const unit = /wgmma\.mma_async\S*e4m3\.e4m3/;
    expect([...artifact.files.values()].filter((file) => unit.test(file))).toHaveLength(1);
    const codes = (count: number, by: number): readonly number[] =>
      Array.from({ length: count * B * 128 }, (_, k) => ((k * by + Math.floor(k / 128)) % 9) - 4);
    const [left, right] = [codes(D, 5), codes(F, 7)];
    const [leftScales, rightScales] = [D, F].map((count) =>
      Array.from({ length: count * B }, (_, k) => 2 ** ((k % 3) - 1)),
    );
    const [first, below] = [
      [0, 2, 2, 3],
      [2, 2, 3, 3],
    ];
    const loaded = await device.load(artifact);
    const { outputs } = await loaded.run(
      new Map<string, HostTensor>([
        ["x", fromNumbers("e4m3", [D, B, 128], left)],
        ["x.scale", fromNumbers("f32", [D, B, 1], leftScales ?? [])],
        ["y", fromNumbers("e4m3", [F, B, 128], right)],
        ["y.scale", fromNumbers("f32", [F, B, 1], rightScales ?? [])],
        ["first", fromNumbers("i32", [E], first)],
        ["below", fromNumbers("i32", [E], below)],
      ]),
      { keep: false, time: false },
    );
    loaded.free();
    const wanted = Array.from({ length: E * F * D }, (_, k) => {
      const [e, f, d] = [Math.floor(k / (F * D)), Math.floor(k / D) % F, k % D];
      let sum = 0;
      for (let b = first[e] ?? 0; b < (below[e] ?? 0); b += 1)
        for (let r = 0; r < 128; r += 1)
          sum +=
            (left[(d * B + b) * 128 + r] ?? 0) *
            (leftScales?.[d * B + b] ?? 0) *
            (right[(f * B + b) * 128 + r] ?? 0) *
            (rightScales?.[f * B + b] ?? 0);
      return sum;
    });
    expect(Array.from(toNumbers(outputs.get("out") as HostTensor))).toEqual(wanted);
  });

  it("rows up to a count: tiles without any are not multiplied, and what lies in them is not seen", async () => {
    const T = 256;
    const artifact = compiled("masked", { T });
    expect([...artifact.files.values()].filter((file) => /wgmma\.mma_async/.test(file))).toHaveLength(1);
    const counts = [0, 256, 65, 1];
    const values = Array.from({ length: E * T * D }, (_, k) => {
      const [e, t] = [Math.floor(k / (T * D)), Math.floor(k / D) % T];
      return t < (counts[e] ?? 0) ? ((k * 7) % 9) - 4 : NaN;
    });
    const loaded = await device.load(artifact);
    const { outputs } = await loaded.run(
      new Map<string, HostTensor>([
        ["x", fromNumbers("bf16", [E, T, D], values)],
        ["count", fromNumbers("i32", [E], counts)],
        ["w", fromNumbers("bf16", [E, F, D], w)],
      ]),
      { keep: false, time: false },
    );
    loaded.free();
    const wanted = Array.from({ length: E * T * F }, (_, k) => {
      const [e, t, f] = [Math.floor(k / (T * F)), Math.floor(k / F) % T, k % F];
      if (t >= (counts[e] ?? 0)) return 0;
      let sum = 0;
      for (let d = 0; d < D; d += 1)
        sum += (values[(e * T + t) * D + d] ?? 0) * (w[(e * F + f) * D + d] ?? 0);
      return sum;
    });
    expect(Array.from(toNumbers(outputs.get("out") as HostTensor))).toEqual(wanted);
  });

  it("two blocks of a cluster have the rows of one expert's in common", async () => {
    const [P, B, T] = [128, 3, 64];
    const weights = Array.from({ length: E * P * D }, (_, k) => ((k * 5 + Math.floor(k / D)) % 7) - 3);
    const run = async (artifact: Artifact, inputs: ReadonlyMap<string, HostTensor>) => {
      const multicast = [...artifact.files.values()].some((file) => file.includes(".multicast::cluster"));
      expect(multicast).toBe(true);
      const loaded = await device.load(artifact);
      const { outputs } = await loaded.run(inputs, { keep: false, time: false });
      loaded.free();
      return Array.from(toNumbers(outputs.get("out") as HostTensor));
    };
    const product = (values: readonly number[], row: number, e: number, p: number): number => {
      let sum = 0;
      for (let d = 0; d < D; d += 1) sum += (values[row * D + d] ?? 0) * (weights[(e * P + p) * D + d] ?? 0);
      return sum;
    };
    const expert = [2, 0, 2];
    const codes = Array.from({ length: B * 64 * D }, (_, k) => ((k * 7) % 9) - 4);
    const ofBlocks = new Map([
      ["x", fromNumbers("e4m3", [B, 64, D], codes)],
      ["x.scale", fromNumbers("f32", [B, 64, 1], Array<number>(B * 64).fill(2))],
      ["expert", fromNumbers("i32", [B], expert)],
      ["w", fromNumbers("e4m3", [E, P, D], weights)],
      ["w.scale", fromNumbers("f32", [E, 1, 1], scales)],
    ]);
    expect(await run(compiled("paired", { P, B }), ofBlocks)).toEqual(
      Array.from({ length: B * 64 * P }, (_, k) => {
        const row = Math.floor(k / P);
        const e = expert[Math.floor(row / 64)] ?? 0;
        return product(codes, row, e, k % P) * 2 * (scales[e] ?? 0);
      }),
    );
    const counts = [0, 64, 5, 1];
    const values = Array.from({ length: E * T * D }, (_, k) => {
      const [e, t] = [Math.floor(k / (T * D)), Math.floor(k / D) % T];
      return t < (counts[e] ?? 0) ? ((k * 7) % 9) - 4 : NaN;
    });
    const ofExperts = new Map([
      ["x", fromNumbers("bf16", [E, T, D], values)],
      ["count", fromNumbers("i32", [E], counts)],
      ["w", fromNumbers("bf16", [E, P, D], weights)],
    ]);
    expect(await run(compiled("paired_masked", { P, T }), ofExperts)).toEqual(
      Array.from({ length: E * T * P }, (_, k) => {
        const [e, row, p] = [Math.floor(k / (T * P)), Math.floor(k / P), k % P];
        return row % T < (counts[e] ?? 0) ? product(values, row, e, p) : 0;
      }),
    );
  });
});
