/** `weft bench`: the arithmetic of its report, and what it says on the devices that are here. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BenchReport } from "../../compiler/cli/bench-report.ts";
import { benchText, median, rowsOf } from "../../compiler/cli/bench-report.ts";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";
import { compile } from "../../compiler/index.ts";
import { jsTexts, scalePlan } from "../runtime/scale-plan.ts";
import { weft } from "./session.ts";

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-bench-"));
  await writeFile(join(cwd, "good.dsl"), "fn scale()\n");
});
afterAll(() => rm(cwd, { recursive: true }));

describe("the report", () => {
  const { plan } = scalePlan(jsTexts, (scale) => ({
    ...scale,
    kernels: scale.kernels.map((kernel, k) => ({
      ...kernel,
      bytes: "1000 * N",
      flops: "100 * N",
      roofline: { bandwidth: 1, flops: k === 0 ? 1e5 : 1e3 },
    })),
  }));
  const measured = {
    clock: "device" as const,
    runs: [0.5, 0.3, 0.4],
    launches: [
      { kernel: 0, seconds: [0.1, 0.3, 0.2] },
      { kernel: 1, seconds: [0.4, 0.4, 0.4] },
    ],
  };

  test("medians, rates, and shares of both ceilings", () => {
    // 2,000 bytes at 100,000 bytes/s are 20 ms; 200 FLOP are 2 ms of the first kernel's unit, 200 ms of the second's.
    const { kernels, total } = rowsOf(plan, new Map([["N", 2]]), measured, 1e5);
    expect(kernels).toEqual([
      expect.objectContaining({
        name: "affine",
        seconds: 0.2,
        least: 0.1,
        most: 0.3,
        bytes: 2000,
        flops: 200,
      }),
      expect.objectContaining({ name: "double", seconds: 0.4, peak: 1e3 }),
    ]);
    const near = (value: number): unknown => expect.closeTo(value, 12);
    expect(kernels[0]).toMatchObject({ ofCopy: near(0.1), ofPeak: near(0.01), ofCeiling: near(0.1) });
    expect(kernels[1]).toMatchObject({ ofCopy: near(0.05), ofPeak: near(0.5), ofCeiling: near(0.5) });
    expect(total).toMatchObject({ seconds: 0.4, bytes: 4000, flops: 400, peak: null, ofPeak: null });
    expect(total).toMatchObject({ ofCopy: near(0.1), ofCeiling: near(0.22 / 0.4) });
  });

  test("the median of an even number of samples is the mean of the middle two", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([5])]).toEqual([2, 2.5, 5]);
  });

  test("as text", () => {
    const report: BenchReport = {
      program: "scale.dsl:scale",
      device: "a device",
      target: "js",
      dims: { N: 2 },
      clock: "device",
      samples: 3,
      inputs: { mode: "rotated", sets: 3, bytes: 1000, cacheBytes: 5000 },
      copy: { bytesPerSecond: 1e5, bytes: 1e4, seconds: 0.1 },
      ...rowsOf(plan, new Map([["N", 2]]), measured, 1e5),
    };
    expect(benchText(report)).toBe(
      [
        "scale.dsl:scale on a device with N=2",
        "3 sets of tensors in turn, 3 kB, before a cache of 5 kB, which holds them all; median of 3 samples on the device's clock",
        "copy, measured now: 100 kB/s; peak, from the table of js: 100 kFLOP/s, 1 kFLOP/s",
        "  kernel  time    range             moved           of copy  work                  of peak  of ceiling",
        "  affine  200 ms  100 ms .. 300 ms  2 kB   10 kB/s  10.0%    200 FLOP  1 kFLOP/s   1.0%     10.0%",
        "  double  400 ms  400 ms .. 400 ms  2 kB   5 kB/s   5.0%     200 FLOP  500 FLOP/s  50.0%    50.0%",
        "  all     400 ms  300 ms .. 500 ms  4 kB   10 kB/s  10.0%    400 FLOP  1 kFLOP/s   -        55.0%",
      ].join("\n"),
    );
  });
});

describe("the command", () => {
  test("on js, by the host's clock", async () => {
    const { code, out, note } = await weft(
      ["bench", "good.dsl", "--dims", "N=64", "--device", "js", "--samples", "3", "--json"],
      { cwd },
    );
    expect([code, note]).toEqual([0, ""]);
    const report = JSON.parse(out) as BenchReport;
    expect(report).toMatchObject({
      target: "js",
      dims: { N: 64 },
      clock: "host",
      samples: 3,
      inputs: { mode: "warm", sets: 1, bytes: 2048, cacheBytes: null },
    });
    expect(report.kernels.map(({ name, bytes, flops }) => [name, bytes, flops])).toEqual([
      ["affine", 2048, 512],
      ["double", 2048, 512],
    ]);
    expect(report.total).toMatchObject({ name: "all", bytes: 4096, flops: 1024, peak: 1 });
    expect(report.total.seconds).toBeGreaterThan(0);
    expect(report.copy.bytesPerSecond).toBeGreaterThan(0);
  });

  const refused: readonly (readonly [readonly string[], number, string])[] = [
    [["--device", "js", "--cold"], 2, "--cold: JavaScript, one thread does not tell the size of its cache"],
    [["--device", "js", "--cold", "--warm"], 2, "mutually exclusive"],
    [["--device", "js", "--samples", "0"], 2, "--samples takes a whole number from 1"],
    [["--device", "tpu"], 2, "Invalid values"],
  ];
  for (const [args, status, words] of refused)
    test(`refuses ${args.join(" ")}`, async () => {
      const { code, note } = await weft(["bench", "good.dsl", "--dims", "N=64", ...args], { cwd });
      expect(code).toBe(status);
      expect(note).toContain(words);
    });

  test("a device that is missing is said, with the reason", async () => {
    process.env["WEFT_CUDA_PATH"] = "/nowhere/libcuda.so";
    const { code, out, note } = await weft(["bench", "good.dsl", "--dims", "N=64", "--device", "cuda"], {
      cwd,
    });
    delete process.env["WEFT_CUDA_PATH"];
    expect([code, out]).toEqual([1, ""]);
    expect(note).toContain("weft: /nowhere/libcuda.so does not load");
  });

  test("on a driver: sets in turn, one set again and again, or a flushed cache", async () => {
    const library = join(cwd, "libcuda.so");
    const source = resolve(import.meta.dirname, "../runtime/fake-cuda.c");
    execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, source]);
    await writeFile(join(cwd, "double.dsl"), "fn double(x: f32[N]) -> f32[N] {\n  for n: 2.0 * x[n]\n}\n");
    process.env["WEFT_CUDA_PATH"] = library;
    const run = async (...args: readonly string[]): Promise<BenchReport> => {
      const out: string[] = [];
      const stream = { write: (text: string): void => void out.push(text) };
      const terminal = terminalOf({ out: stream, err: stream }, {}, cwd);
      const words = ["bench", "double.dsl:double", "--device", "cuda", "--json", "--samples", "2", ...args];
      expect(await runCli(words, terminal, () => Promise.resolve(compilerApi()), "1"), out.join("")).toBe(0);
      return JSON.parse(out.join("")) as BenchReport;
    };
    const dims = ["--dims", "N=65536"];
    const cacheBytes = 2 ** 20;
    const inputs = { bytes: 2 ** 19, cacheBytes };
    // Four times the cache of half a cache each; every pass takes the fake's 0.25 ms, of which a run is an eighth.
    const rotated = await run(...dims);
    expect(rotated.inputs).toEqual({ ...inputs, mode: "rotated", sets: 8 });
    expect(rotated).toMatchObject({ clock: "device", target: "ptx:sm_90a", kernels: [{ bytes: 2 ** 19 }] });
    const warm = await run(...dims, "--warm");
    expect(warm.inputs).toEqual({ ...inputs, mode: "warm", sets: 1 });
    const cold = await run(...dims, "--cold");
    expect(cold.inputs).toEqual({ ...inputs, mode: "cold", sets: 1 });
    expect(cold.total.seconds).toBeCloseTo(0.00025, 9);
    expect(cold.copy.bytes).toBe(8 * cacheBytes);
    delete process.env["WEFT_CUDA_PATH"];
  });
});

test("a kernel's peak is that of the unit its products run on", () => {
  const text = `fn product(x: A[M, K], w: A[N, K]) -> f32[M, N] {\n  for m, n: sum[k](x[m, k] * w[n, k])\n}\n`;
  const peakOf = (dtype: string): number | undefined =>
    compile({
      source: { file: "product.dsl", text: text.replaceAll("A[", `${dtype}[`) },
      host: { read: () => undefined },
      entry: "product",
      target: "ptx:sm_90a",
      dims: new Map([
        ["M", 256],
        ["N", 256],
        ["K", 256],
      ]),
      dtypes: new Map(),
    }).artifact?.plan.kernels[0]?.roofline.flops;
  expect(peakOf("bf16")).toBeGreaterThan(peakOf("f32") ?? Infinity);
});
