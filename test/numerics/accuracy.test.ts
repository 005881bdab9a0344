/**
 * How near products of block-scaled factors are to what they stand for, as JavaScript and as PTX on the simulator, whose
 * matrix unit drops the bits that an H200's drops: to the product of the codes times their scales, and to the product of
 * the numbers that were quantised. What is expected is made here in f64, from the codes by the format's definition.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile } from "../../compiler/index.ts";
import {
  fromNumbers,
  openDevice,
  toNumbers,
  type Device,
  type HostTensor,
  type LoadedPlan,
} from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";
import { normal, uniform } from "./measure.ts";

const text = `
dim M, N, K
fn activations(x: bf16[M, K]) -> e4m3[M, K] @ (1, 128) { quantize<e4m3 @ (1, 128)>(x) }
fn weights(x: bf16[M, K]) -> e4m3[M, K] @ (128, 128) { quantize<e4m3 @ (128, 128)>(x) }
fn product(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (128, 128)) -> (narrow: bf16[M, N], wide: f32[M, N]) {
  let out = for m, n: sum[k](x[m, k] * w[n, k])
  (narrow: out, wide: out)
}
fn plain(x: e5m2[M, K], w: e5m2[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
`;

const [K, N, block] = [4096, 64, 128];
const blocks = K / block;

/** What rows of x are drawn from, 8 each. The weights are normal. */
const draws: Readonly<Record<string, (k: number) => number>> = (() => {
  const [next, even] = [normal(11), uniform(12)];
  // Student's t with two degrees of freedom: its variance is infinite.
  const heavy = (): number => next() / Math.sqrt(-Math.log(1 - even()));
  return {
    normal: next,
    "Student's t, 2 degrees": heavy,
    "one channel in 64 a hundred times larger": (k) => next() * (k % 64 === 17 ? 100 : 1),
  };
})();
const names = Object.keys(draws);
const rowsEach = 8;
/** Rows after those that are drawn: of zeros, with a NaN, with an infinity. */
const [zeros, withNan, withInfinity] = [0, 1, 2].map((k) => rowsEach * names.length + k) as [
  number,
  number,
  number,
];
const M = withInfinity + 1;

function numbersOfX(): readonly number[] {
  const rows = names.flatMap((name) => Array.from({ length: rowsEach }, () => draws[name]));
  const drawn = rows.flatMap((draw) => Array.from({ length: K }, (_, k) => draw?.(k) ?? 0));
  const special = (found: number): readonly number[] =>
    Array.from({ length: K }, (_, k) => (k === 300 ? found : 1));
  return [...drawn, ...Array.from({ length: K }, () => 0), ...special(NaN), ...special(Infinity)];
}

const next = normal(13);
const wide = {
  x: fromNumbers("bf16", [M, K], numbersOfX()),
  w: fromNumbers(
    "bf16",
    [N, K],
    Array.from({ length: N * K }, () => next()),
  ),
};

function valueOf(code: number): number {
  const size = code & 127;
  if (size === 127) return NaN;
  const [binade, rest] = [size >> 3, size & 7];
  const value = binade === 0 ? rest * 2 ** -9 : (8 + rest) * 2 ** (binade - 10);
  return code > 127 ? -value : value;
}

/** `rows`: how many rows have one scale. */
function dequantised(codes: Uint8Array, scales: Float32Array, rows: number): Float64Array {
  return Float64Array.from(codes, (code, i) => {
    const [m, k] = [Math.floor(i / K), i % K];
    const at = Math.floor(m / rows) * blocks + Math.floor(k / block);
    return valueOf(code) * (scales[at] ?? NaN);
  });
}

function products(x: ArrayLike<number>, w: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: M * N }, (_, i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    let sum = 0;
    for (let k = 0; k < K; k += 1) sum += (x[m * K + k] ?? 0) * (w[n * K + k] ?? 0);
    return sum;
  });
}

/** 1 - 2 sum(xy) / sum(x^2 + y^2), of the rows that were drawn in one way. */
function difference(name: string, found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [apart, squares] = [0, 0];
  const first = names.indexOf(name) * rowsEach * N;
  for (let i = first; i < first + rowsEach * N; i += 1) {
    const [a, b] = [found[i] ?? NaN, wanted[i] ?? NaN];
    // The same number as in the formula, without its cancellation.
    apart += (a - b) ** 2;
    squares += a * a + b * b;
  }
  return apart / squares;
}

function bytesOf(tensor: unknown): Uint8Array {
  if (typeof tensor !== "object" || tensor === null || !("bytes" in tensor)) throw new Error("it stays");
  return (tensor as HostTensor).bytes.slice();
}

/** As the first device quantised them: every device gives the same bits (formats.test.ts). */
const scaled = new Map<string, HostTensor>();
const parts = new Map<string, { readonly codes: Uint8Array; readonly scales: Float32Array }>();

const opening = { js: () => openDevice("js"), simulate: () => openSimulator() } as const;
const page = readFileSync(join(import.meta.dirname, "../../docs/numerics.md"), "utf8");

for (const [deviceName, open] of Object.entries(opening))
  describe(`on ${deviceName}, K = ${K}`, () => {
    let device: Device;
    const results = new Map<string, ArrayLike<number>>();

    const plans = new Map<string, LoadedPlan>();

    async function run(
      entry: string,
      inputs: ReadonlyMap<string, HostTensor>,
      dims: Readonly<Record<string, number>>,
    ): Promise<ReadonlyMap<string, HostTensor>> {
      const key = JSON.stringify([entry, dims]);
      const plan = plans.get(key) ?? (await loaded(entry, dims));
      plans.set(key, plan);
      const { outputs } = await plan.run(inputs, { keep: false, time: false });
      return outputs as ReadonlyMap<string, HostTensor>;
    }

    function loaded(entry: string, dims: Readonly<Record<string, number>>): Promise<LoadedPlan> {
      const { artifact, diagnostics } = compile({
        source: { file: "accuracy.dsl", text },
        host: testHost(),
        entry,
        target: device.targets[0],
        dims: new Map(Object.entries(dims)),
        dtypes: new Map(),
      });
      if (artifact === undefined) throw new Error(JSON.stringify(diagnostics));
      // With scales it is the matrix unit that multiplies, where there is one.
      if (device.targets[0]?.startsWith("ptx") === true && entry === "product" && dims["N"] === N)
        expect([...artifact.files.values()].join("")).toContain("wgmma");
      return device.load(artifact);
    }

    beforeAll(async () => {
      device = await open();
      for (const [name, entry, rows] of [
        ["x", "activations", M],
        ["w", "weights", N],
      ] as const) {
        if (scaled.has(name)) continue;
        const made = await run(entry, new Map([["x", wide[name]]]), { K });
        const [codes, scales] = [bytesOf(made.get("out")), bytesOf(made.get("out.scale"))];
        const outer = name === "x" ? rows : Math.ceil(rows / block);
        scaled.set(name, { dtype: "e4m3", shape: [rows, K], bytes: codes });
        scaled.set(`${name}.scale`, { dtype: "f32", shape: [outer, blocks], bytes: scales });
        parts.set(name, { codes, scales: new Float32Array(scales.buffer) });
      }
      for (const [name, out] of await run("product", scaled, { N, K }))
        results.set(name, Array.from(toNumbers(out), Number));
      expect([...results.keys()]).toEqual(["narrow", "wide"]);
    }, 120_000);
    afterAll(() => device.close());

    test("against the product of codes and scales", () => {
      const [x, w] = [parts.get("x"), parts.get("w")];
      if (x === undefined || w === undefined) throw new Error("they were made");
      const wanted = products(dequantised(x.codes, x.scales, 1), dequantised(w.codes, w.scales, block));
      for (const name of names) {
        expect(difference(name, results.get("narrow") ?? [], wanted), name).toBeLessThan(3e-6);
        expect(difference(name, results.get("wide") ?? [], wanted), name).toBeLessThan(1e-6);
      }
    });

    test("against the bf16 product of the numbers that were quantised; the page says how much", () => {
      const exact = products(toNumbers(wide.x) as Float64Array, toNumbers(wide.w) as Float64Array);
      const wanted = toNumbers(fromNumbers("bf16", [M, N], exact)) as ArrayLike<number>;
      const found = names.map((name) => difference(name, results.get("narrow") ?? [], wanted));
      expect(found[0]).toBeLessThan(1e-3);
      const rows = names.map((name, k) => `| ${name} | ${(found[k] ?? NaN).toExponential(1)} |`);
      const said = page.split("\n").filter((line) => names.some((name) => line.startsWith(`| ${name} | `)));
      expect(said.filter((line) => line.includes("e-"))).toEqual(rows);
    });

    test("zeros have finite scales; NaN stays in its row, and an infinity makes its row NaN", () => {
      const { codes, scales } = parts.get("x") ?? { codes: new Uint8Array(), scales: new Float32Array() };
      const least = Math.fround(Math.fround(1e-4) / 448);
      expect(new Set(scales.subarray(zeros * blocks, (zeros + 1) * blocks))).toEqual(new Set([least]));
      expect(new Set(codes.subarray(zeros * K, (zeros + 1) * K))).toEqual(new Set([0]));
      for (const out of results.values())
        for (let row = 0; row < M; row += 1) {
          const found = Array.from({ length: N }, (_, n) => out[row * N + n] ?? 0);
          if (row === zeros) expect(found).toEqual(new Array(N).fill(0));
          else if (row === withNan || row === withInfinity) expect(found).toEqual(new Array(N).fill(NaN));
          else expect([row, found.every(Number.isFinite)]).toEqual([row, true]);
        }
    });

    test("infinite scales and codes: what IEEE arithmetic gives", async () => {
      const ones = (value: number): HostTensor => fromNumbers("e4m3", [1, 256], new Array(256).fill(value));
      const scales = (a: number, b: number): HostTensor => fromNumbers("f32", [1, 2], [a, b]);
      const last = async (
        x: number,
        w: number,
        a: number,
        b: number,
        result: "wide" | "narrow",
      ): Promise<number> => {
        const inputs = new Map([
          ["x", ones(x)],
          ["x.scale", scales(a, b)],
          ["w", ones(w)],
          ["w.scale", scales(1, 1)],
        ]);
        const out = (await run("product", inputs, { N: 1, K: 256 })).get(result);
        return Number(out === undefined ? 0 : toNumbers(out)[0]);
      };
      expect(await last(1, 2, Infinity, 1, "wide")).toBe(Infinity);
      expect(await last(1, -2, Infinity, 1, "narrow")).toBe(-Infinity);
      expect(await last(0, 2, Infinity, 1, "wide")).toBeNaN();
      expect(await last(1, 2, Infinity, -Infinity, "wide")).toBeNaN();
      expect(await last(1, 1, NaN, 1, "narrow")).toBeNaN();
      // 256 times 3e38 is beyond f32, and so is its bf16.
      expect(await last(1, 1, 3e38, 1, "narrow")).toBe(Infinity);
      const codes = (...first: readonly number[]): HostTensor => ({
        dtype: "e5m2",
        shape: [1, 256],
        bytes: Uint8Array.from({ length: 256 }, (_, k) => first[k] ?? 0x3c),
      });
      const [infinite, negative, notANumber, zero] = [0x7c, 0xfc, 0x7e, 0];
      for (const [first, second, wanted] of [
        [codes(infinite), codes(), Infinity],
        [codes(negative), codes(), -Infinity],
        [codes(infinite, negative), codes(), NaN],
        [codes(infinite), codes(zero), NaN],
        [codes(notANumber), codes(), NaN],
        [codes(), codes(), 256],
      ] as const) {
        const inputs = new Map([
          ["x", first],
          ["w", second],
        ]);
        const out = (await run("plain", inputs, { N: 1, K: 256 })).get("out");
        expect(Number(out === undefined ? 0 : toNumbers(out)[0])).toBe(wanted);
      }
    }, 60_000);
  });
