/**
 * Sums of products of 8-bit floats as Hopper's matrix units make them: 13 bits are kept, so that a long sum loses what
 * promotion to f32 every 128 products keeps (DeepSeek-V3 report, section 3.3.2: about 2% at K = 4096).
 */
import { expect, test } from "vitest";
import { compile } from "../../compiler/index.ts";
import { fromNumbers, parsePlan, toNumbers, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";

const text = `
dim M, N, K
fn promoted(x: e4m3[M, K], w: e4m3[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
fn longer(x: e4m3[M, K], w: e4m3[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
numerics longer { accumulate: f32 every 512 }
fn never(x: e4m3[M, K], w: e4m3[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
numerics never { accumulate: f32 every 4096 }
fn exact(x: e4m3[M, K], w: e4m3[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
numerics exact { accumulate: f32 }
fn scaled(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (128, 128)) -> f32[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}
fn both(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (1, 128)) -> f32[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}
`;

const [M, N, K] = [64, 64, 4096];

/** e4m3 from 1/4 to 2, so that sums grow as they go on. */
function numbers(count: number, seed: number): readonly number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const code = Math.floor((state / 2 ** 32) * 24);
    return (1 + (code % 8) / 8) * 2 ** (Math.floor(code / 8) - 2);
  });
}

const x = numbers(M * K, 1);
const w = numbers(N * K, 2);
const blocks = K / 128;
const xScale = numbers(M * blocks, 3);
const wScale = numbers(blocks, 4);
/** Of each column its own. */
const wScales = numbers(N * blocks, 5);

async function run(entry: string): Promise<readonly number[]> {
  const { artifact, diagnostics, trace } = compile({
    source: { file: "promotion.dsl", text },
    host: { read: () => undefined },
    entry,
    target: "ptx:sm_90a",
    // With rows that nobody counted the sum is not split among blocks.
    dims: new Map([
      ["N", N],
      ["K", K],
    ]),
    dtypes: new Map(),
  });
  expect(diagnostics).toEqual([]);
  if (artifact === undefined) throw new Error("it compiles");
  const device = await openSimulator();
  const loaded = await device.load({ plan: parsePlan(JSON.stringify(artifact.plan)), files: artifact.files });
  const inputs = new Map([
    ["x", fromNumbers("e4m3", [M, K], x)],
    ["w", fromNumbers("e4m3", [N, K], w)],
    ...(entry === "scaled"
      ? ([
          ["x.scale", fromNumbers("f32", [M, blocks], xScale)],
          ["w.scale", fromNumbers("f32", [1, blocks], wScale)],
        ] as const)
      : []),
    ...(entry === "both"
      ? ([
          ["x.scale", fromNumbers("f32", [M, blocks], xScale)],
          ["w.scale", fromNumbers("f32", [N, blocks], wScales)],
        ] as const)
      : []),
  ]);
  // The scales of rows, and of columns where each has its own, come in slots.
  const slots =
    (trace.find(({ pass }) => pass === "tile")?.text() ?? "").match(/^channel .*/gm)?.join() ?? "";
  expect(slots.match(/scale_tile/g) ?? []).toHaveLength(entry === "both" ? 2 : entry === "scaled" ? 1 : 0);
  const { outputs } = await loaded.run(inputs, { keep: false, time: false });
  await device.close();
  return Array.from(toNumbers(outputs.get("out") as HostTensor), Number);
}

/** The largest error of a result, relatively. */
function worst(found: readonly number[], scale: (m: number, k: number, n: number) => number): number {
  let most = 0;
  for (let m = 0; m < M; m += 1)
    for (let n = 0; n < N; n += 1) {
      let sum = 0;
      for (let k = 0; k < K; k += 1) sum += (x[m * K + k] ?? 0) * (w[n * K + k] ?? 0) * scale(m, k, n);
      most = Math.max(most, Math.abs((found[m * N + n] ?? Number.NaN) - sum) / sum);
    }
  return most;
}

const one = (): number => 1;

test("promotion keeps what the matrix unit drops", async () => {
  const errors = Object.fromEntries(
    await Promise.all(
      ["promoted", "longer", "never", "exact"].map(
        async (entry) => [entry, worst(await run(entry), one)] as const,
      ),
    ),
  );
  expect(errors["never"]).toBeGreaterThan(0.02);
  expect(errors["longer"]).toBeLessThan(0.01);
  expect(errors["promoted"]).toBeLessThan(0.001);
  expect(errors["exact"]).toBeLessThan(2 ** -20);
}, 120_000);

test("a run's scales multiply its sum", async () => {
  const scale = (m: number, k: number): number => {
    const block = Math.floor(k / 128);
    return (xScale[m * blocks + block] ?? 0) * (wScale[block] ?? 0);
  };
  const error = worst(await run("scaled"), scale);
  expect(error).toBeLessThan(0.001);
}, 60_000);

test("as do those of each row and each column", async () => {
  const scale = (m: number, k: number, n: number): number => {
    const block = Math.floor(k / 128);
    return (xScale[m * blocks + block] ?? 0) * (wScales[n * blocks + block] ?? 0);
  };
  const error = worst(await run("both"), scale);
  expect(error).toBeLessThan(0.001);
}, 60_000);
