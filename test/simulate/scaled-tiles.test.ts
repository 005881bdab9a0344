/**
 * Products of 8-bit floats scaled by block, on the simulator: tiles that are promoted in waves of columns, columns in pieces
 * with a scale each, scales of four runs that come together. All values are such that every sum is exact.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.ts";
import type { Artifact } from "../../compiler/plan/plan.ts";
import { fromNumbers, toNumbers, type Device, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";

const grouped = (name: string, rows: number, tile: string): string => `
fn ${name}(x: e4m3[B, ${rows}, D] @ (1, 128), expert: i32[B], w: e4m3[E, P, D] @ (128, 128)) -> f32[B, ${rows}, P] {
  for b, r in ${rows}, p: sum[d](x[b, r, d] * w[expert[b], p, d])
}
schedule ${name} on sm_90a { ${tile} }`;

const text = `dim B, E, P, D, M, N
${grouped("waves", 64, "tile r 64, P 256; stages 2")}
${grouped("pieces", 64, "tile r 64, P 192; stages 2")}
${grouped("pairs", 64, "tile r 64, P 128; stages 2; cluster 2")}
${grouped("together", 128, "tile r 128, P 64; roles copy 1, math 2; stages 3")}
${grouped("together_in_pairs", 128, "tile r 128, P 64; roles copy 1, math 2; stages 3; cluster 2")}
fn both(x: e4m3[M, D] @ (1, 128), w: e4m3[N, D] @ (1, 128), c: f32[M, N]) -> f32[M, N] {
  for m, n: c[m, n] + sum[d](x[m, d] * w[n, d])
}
schedule both on sm_90a { tile M 128, N 128; roles copy 1, math 2; stages 2 }`;

function compiled(entry: string, dims: Readonly<Record<string, number>>): Artifact {
  const { artifact, diagnostics } = compile({
    source: { file: "scaled-tiles.dsl", text },
    host: testHost(),
    entry,
    target: "ptx",
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
  if (artifact === undefined) throw new Error(diagnostics.map(({ message }) => message).join());
  return artifact;
}

const codes = (count: number, by: number): number[] =>
  Array.from({ length: count }, (_, k) => ((k * by) % 9) - 4);
const powers = (count: number): number[] => Array.from({ length: count }, (_, k) => 2 ** ((k % 5) - 2));

/** The sum of a row of one matrix with one of another over `depth`, scaled by runs of 128. */
function dot(
  [x, row, xScale]: readonly [readonly number[], number, (run: number) => number],
  [w, column, wScale]: readonly [readonly number[], number, (run: number) => number],
  depth: number,
): number {
  let total = 0;
  for (let run = 0; run < depth / 128; run += 1) {
    let sum = 0;
    for (let d = run * 128; d < (run + 1) * 128; d += 1)
      sum += (x[row * depth + d] ?? 0) * (w[column * depth + d] ?? 0);
    total += sum * xScale(run) * wScale(run);
  }
  return total;
}

describe("tiles of scaled products on the simulator", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openSimulator();
  });
  afterAll(() => device.close());

  async function run(artifact: Artifact, inputs: Iterable<readonly [string, HostTensor]>): Promise<number[]> {
    const loaded = await device.load(artifact);
    const { outputs } = await loaded.run(new Map(inputs), { keep: false, time: false });
    loaded.free();
    return Array.from(toNumbers(outputs.get("out") as HostTensor), Number);
  }
  const has = (artifact: Artifact, part: string): boolean =>
    [...artifact.files.values()].some((file) => file.includes(part));

  const E = 2;
  const weightsOf = (P: number, runs: number) => {
    const [w, scales, blocks] = [
      codes(E * P * runs * 128, 5),
      powers(E * Math.ceil(P / 128) * runs),
      Math.ceil(P / 128),
    ];
    return {
      w,
      scales,
      blocks,
      scaleOf:
        (e: number, p: number) =>
        (run: number): number =>
          scales[(e * blocks + Math.floor(p / 128)) * runs + run] ?? 0,
    };
  };

  it.each([
    ["waves", "of two waves of columns, each promoted before the next", 384, 128],
    ["pieces", "of columns in pieces, each with a scale", 320, 192],
    ["pairs", "of two blocks that have their rows in common", 256, 128],
    ["together", "whose scales of four runs come together", 128, 64],
    ["together_in_pairs", "of two blocks, with scales of four runs together", 128, 64],
  ])("%s: tiles %s, of experts' rows in bands", async (entry, _, P, columns) => {
    const isTogether = entry.startsWith("together");
    const [B, rows] = isTogether ? [3, 128] : [9, 64];
    // Two groups of four runs, or one.
    const [runs, depth] = isTogether ? [8, 1024] : [4, 512];
    const artifact = compiled(entry, { P, B, E, D: depth });
    expect(has(artifact, `m64n${columns}k32`)).toBe(true);
    expect(has(artifact, ".multicast::cluster")).toBe(entry.endsWith("pairs"));
    expect(has(artifact, "scales_barriers")).toBe(isTogether);
    const { w, scales, blocks, scaleOf } = weightsOf(P, runs);
    const [x, ofRows] = [codes(B * rows * depth, 7), powers(B * rows * runs)];
    const expert = Array.from({ length: B }, (_, b) => (b * 3) % E);
    const found = await run(artifact, [
      ["x", fromNumbers("e4m3", [B, rows, depth], x)],
      ["x.scale", fromNumbers("f32", [B, rows, runs], ofRows)],
      ["expert", fromNumbers("i32", [B], expert)],
      ["w", fromNumbers("e4m3", [E, P, depth], w)],
      ["w.scale", fromNumbers("f32", [E, blocks, runs], scales)],
    ]);
    const wanted = Array.from({ length: B * rows * P }, (_, k) => {
      const [row, p] = [Math.floor(k / P), k % P];
      const e = expert[Math.floor(row / rows)] ?? 0;
      return dot([x, row, (r) => ofRows[row * runs + r] ?? 0], [w, e * P + p, scaleOf(e, p)], depth);
    });
    expect(found).toEqual(wanted);
  });

  it("scales of rows and of columns come together", async () => {
    const [M, N, runs, depth] = [128, 192, 8, 1024];
    const artifact = compiled("both", { M, N, D: depth });
    expect(has(artifact, "scales_barriers")).toBe(true);
    const [x, w] = [codes(M * depth, 7), codes(N * depth, 5)];
    const [xScale, wScale] = [powers(M * runs), powers(N * runs)];
    const c = codes(M * N, 2);
    const found = await run(artifact, [
      ["x", fromNumbers("e4m3", [M, depth], x)],
      ["x.scale", fromNumbers("f32", [M, runs], xScale)],
      ["w", fromNumbers("e4m3", [N, depth], w)],
      ["w.scale", fromNumbers("f32", [N, runs], wScale)],
      ["c", fromNumbers("f32", [M, N], c)],
    ]);
    const wanted = Array.from({ length: M * N }, (_, k) => {
      const [m, n] = [Math.floor(k / N), k % N];
      const own = dot(
        [x, m, (r) => xScale[m * runs + r] ?? 0],
        [w, n, (r) => wScale[n * runs + r] ?? 0],
        depth,
      );
      return (c[k] ?? 0) + own;
    });
    expect(found).toEqual(wanted);
  });
});
