/**
 * Scales that a kernel makes for a product are written as the product's slots want them, and the product is what it was:
 * on the simulator, with values such that every sum is exact.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { fromNumbers, toNumbers, type Device, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";

const text = `dim M, N, K
fn inner(x: bf16[M, K], w: e4m3[N, K] @ (128, 128)) -> f32[M, N] {
  let q = quantize<e4m3 @ (1, 128)>(x)
  for m, n: sum[k](q[m, k] * w[n, k])
}
fn both(x: bf16[M, K], y: bf16[N, K]) -> f32[M, N] {
  let q = quantize<e4m3 @ (1, 128)>(x)
  let r = quantize<e4m3 @ (1, 128)>(y)
  for m, n: sum[k](q[m, k] * r[n, k])
}
fn handed(x: bf16[M, K], w: e4m3[N, K] @ (128, 128)) -> (q: e4m3[M, K] @ (1, 128), out: f32[M, N]) {
  let q = quantize<e4m3 @ (1, 128)>(x)
  (q: q, out: for m, n: sum[k](q[m, k] * w[n, k]))
}`;

const [N, K] = [64, 384];

function compiled(entry: string, M: number): Compiled {
  return compile({
    source: { file: "scales.dsl", text },
    host: testHost(),
    entry,
    target: "ptx",
    dims: new Map(Object.entries({ M, N, K })),
    dtypes: new Map(),
  });
}

function graphOf({ trace }: Compiled): string {
  return trace.find(({ pass }) => pass === "scale-layout")?.text() ?? "";
}

/** In each block of 128 one 448 times a power of two, so that scales are such powers and codes whole numbers. */
const values = (rows: number, large = 7): readonly number[] =>
  Array.from({ length: rows * K }, (_, i) => {
    const [row, k] = [Math.floor(i / K), i % K];
    return (k % 128 === large ? 448 : ((i * 7) % 9) - 4) * 2 ** ((row + Math.floor(k / 128)) % 3);
  });

function product(x: readonly number[], w: readonly number[], M: number): readonly number[] {
  return Array.from({ length: M * N }, (_, i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    let sum = 0;
    for (let k = 0; k < K; k += 1) sum += (x[m * K + k] ?? 0) * (w[n * K + k] ?? 0);
    return sum;
  });
}

describe("scales in the layout of the product that reads them", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openSimulator();
  });
  afterAll(() => device.close());

  async function run(made: Compiled, inputs: ReadonlyMap<string, HostTensor>): Promise<readonly number[]> {
    if (made.artifact === undefined) throw new Error(JSON.stringify(made.diagnostics));
    const loaded = await device.load(made.artifact);
    const { outputs } = await loaded.run(inputs, { keep: false, time: false });
    loaded.free();
    return Array.from(toNumbers(outputs.get("out") as HostTensor), Number);
  }

  const codes = Array.from({ length: N * K }, (_, k) => ((k * 5 + Math.floor(k / K)) % 7) - 3);
  const weights = new Map<string, HostTensor>([
    ["w", fromNumbers("e4m3", [N, K], codes)],
    ["w.scale", fromNumbers("f32", [1, K / 128], [0.5, 1, 2])],
  ]);
  const w = codes.map((code, i) => code * 2 ** (Math.floor((i % K) / 128) - 1));

  it.each([
    ["rows of whole tiles", 128, "f32[k, m]"],
    ["rows that fill no tile", 68, "f32[k, m]"],
    ["rows whose scales are no whole pieces", 66, "f32[m, k]"],
  ])("%s", async (_, M, layout) => {
    const made = compiled("inner", M);
    expect(graphOf(made)).toContain(`yield ${layout}`);
    const found = await run(made, new Map([["x", fromNumbers("bf16", [M, K], values(M))], ...weights]));
    expect(found).toEqual(product(values(M), w, M));
  });

  it("on both sides", async () => {
    const made = compiled("both", 64);
    expect(graphOf(made).match(/yield f32\[k, [mn]\]/g)).toHaveLength(2);
    // Where one has its large number the other has a small one: the unit keeps all bits of such sums.
    const [x, y] = [values(64), values(64, 9)];
    const inputs = new Map([
      ["x", fromNumbers("bf16", [64, K], x)],
      ["y", fromNumbers("bf16", [64, K], y)],
    ]);
    expect(await run(made, inputs)).toEqual(product(x, y, 64));
  });

  it("but for those that are handed out", () => {
    expect(graphOf(compiled("handed", 128))).toContain("yield f32[m, k]");
  });
});
