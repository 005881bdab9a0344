/**
 * The bounds of the numerics report: the worst case is never below a measured error and the probable one holds as often
 * as it says, and each says something: there are inputs whose error reaches a tenth of it.
 */
import { describe, expect, test } from "vitest";
import { filled, normal, outputOn, uniform, type Case } from "./measure.ts";

const text = `
dim M, N, K
fn dot(x: f32[M, K], w: f32[K]) -> f32[M] { for m: sum[k](x[m, k] * w[k]) }
fn linear(x: bf16[M, K], w: bf16[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
fn promoted(x: e4m3[M, K], w: e4m3[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
fn unpromoted(x: e4m3[M, K], w: e4m3[N, K]) -> f32[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
numerics unpromoted { accumulate: f32 every 4096 }
fn scaled(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (128, 128)) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}
fn norm(x: bf16[M, K], g: f32[K]) -> bf16[M, K] {
  let scale = for m: rsqrt(sum[k](x[m, k] * x[m, k]) / K + 1e-6)
  for m, k: x[m, k] * scale[m] * g[k]
}
fn soft(x: f32[M, K]) -> f32[M, K] {
  let top = for m: max[k](x[m, k])
  let e = for m, k: exp(x[m, k] - top[m])
  let total = for m: sum[k](e[m, k])
  for m, k: e[m, k] / total[m]
}
`;

const [N, K] = [64, 1024];
/** Rows that the kernels do not count on, so that sums are not split among blocks. */
const M = 4;

type Value = (m: number, k: number) => number;

function products(entry: string, device: Case["device"], x: Value, w: Value): Case {
  const dtype = entry === "linear" ? "bf16" : "e4m3";
  return {
    text,
    entry,
    device,
    dims: { N, K },
    open: { M },
    inputs: new Map([
      ["x", filled(dtype, [M, K], (i) => x(Math.floor(i / K), i % K))],
      ["w", filled(dtype, [N, K], (i) => w(Math.floor(i / K), i % K))],
      ...(entry === "scaled"
        ? ([
            ["x.scale", filled("f32", [M, K / 128], (i) => 0.01 + 0.003 * i)],
            ["w.scale", filled("f32", [1, K / 128], (i) => 0.02 + 0.001 * i)],
          ] as const)
        : []),
    ]),
  };
}

function dot(device: Case["device"], x: (i: number) => number, w: (k: number) => number, rows = M): Case {
  const inputs = new Map([
    ["x", filled("f32", [rows, K], x)],
    ["w", filled("f32", [K], w)],
  ]);
  return { text, entry: "dot", device, dims: { K }, open: { M: rows }, inputs };
}

function rows(device: Case["device"], entry: "norm" | "soft", count: number, x: (i: number) => number): Case {
  const next = normal(11);
  const inputs = new Map([["x", filled(entry === "norm" ? "bf16" : "f32", [count, K], x)]]);
  if (entry === "norm") inputs.set("g", filled("f32", [K], next));
  return { text, entry, device, dims: { K }, open: { M: count }, inputs };
}

/** Codes of both signs and all exponents, as a Gaussian gives them. */
const gaussian = (seed: number): Value => {
  const next = normal(seed);
  return () => next();
};

const positive = (seed: number): Value => {
  const next = uniform(seed);
  return () => 0.25 + next();
};

describe("the worst case is not below the error that is measured", () => {
  for (const device of ["js", "simulate"] as const) {
    for (const entry of ["linear", "promoted", "unpromoted", "scaled"]) {
      for (const [name, make] of Object.entries({ gaussian, positive })) {
        test(`${entry}, ${name}, ${device}`, async () => {
          const { measured, worst, probable } = await outputOn(products(entry, device, make(1), make(2)));
          expect(measured.beyondWorst).toBe(0);
          expect(measured.beyondProbable).toBe(0);
          expect(probable.absolute).toBeLessThanOrEqual(worst.absolute);
        }, 120_000);
      }
    }
    test(`rows: norm and soft, ${device}`, async () => {
      const next = normal(5);
      for (const entry of ["norm", "soft"] as const) {
        const asked = rows(device, entry, M, () => 3 * next());
        const { measured, worst } = await outputOn(asked);
        expect(measured.beyondWorst, entry).toBe(0);
        expect(worst.relative).toBeLessThan(0.05);
      }
    }, 120_000);
  }
});

/** A thousandth less than half a step below 1: whatever it is added to, if that is 1, it is gone. */
const lost = 2 ** -24 * 0.999;

describe("the worst case is reached to a tenth and more", () => {
  const first =
    (large: number, small: number): Value =>
    (_, k) =>
      k === 0 ? large : small;
  test("f32 sums, every addition rounded down", async () => {
    const { measured } = await outputOn(
      dot(
        "js",
        (i) => (i % K === 0 ? 1 : lost),
        () => 1,
      ),
    );
    expect(measured.ofWorst).toBeGreaterThan(0.5);
    expect(measured.ofWorst).toBeLessThanOrEqual(1);
  });
  test("f32 sums of threads: one holds 1, its neighbours in every level what is lost", async () => {
    const { measured } = await outputOn(
      dot(
        "simulate",
        (i) => (i % K === 0 ? 1 : lost),
        () => 1,
      ),
    );
    expect(measured.ofWorst).toBeGreaterThan(0.1);
    expect(measured.ofWorst).toBeLessThanOrEqual(1);
  }, 60_000);
  for (const entry of ["promoted", "unpromoted", "scaled"])
    test(`${entry} sums of 8-bit products, each just below the bits that stay`, async () => {
      // 16 * 16, and products of 0.88 of a 2^13-th of it: all that they have is dropped.
      const asked = products(
        entry,
        "simulate",
        (_, k) => (k % 128 === 0 && (entry !== "unpromoted" || k === 0) ? 16 : 0.1171875),
        (_, k) => (k % 128 === 0 && (entry !== "unpromoted" || k === 0) ? 16 : 0.234375),
      );
      const { measured } = await outputOn(asked);
      expect(measured.ofWorst).toBeGreaterThan(0.1);
      expect(measured.ofWorst).toBeLessThanOrEqual(1);
    }, 60_000);
  test("sums of 16-bit products, each just below the bits that stay", async () => {
    const asked = products(
      "linear",
      "simulate",
      first(1, 2 ** -13 * 1.9921875),
      first(1, 2 ** -14 * 1.9921875),
    );
    const { measured } = await outputOn(asked);
    expect(measured.ofWorst).toBeGreaterThan(0.1);
    expect(measured.ofWorst).toBeLessThanOrEqual(1);
  }, 60_000);
  for (const device of ["js", "simulate"] as const)
    test(`softmax, ${device}: one weight of 1, and others that are lost beside it`, async () => {
      const { measured } = await outputOn(rows(device, "soft", M, (i) => (i % K === 0 ? 0 : Math.log(lost))));
      expect(measured.ofWorst).toBeGreaterThan(0.1);
      expect(measured.ofWorst).toBeLessThanOrEqual(1);
    }, 60_000);
  test("a norm in bf16, of so many elements that some lie where f32's error turns the rounding", async () => {
    const next = normal(7);
    const { measured } = await outputOn(rows("js", "norm", 256, () => next()));
    expect(measured.ofWorst).toBeGreaterThan(0.1);
    expect(measured.ofWorst).toBeLessThanOrEqual(1);
    expect(measured.ofProbable).toBeGreaterThan(0.1);
  }, 60_000);
});

describe("the probable bound holds as often as it says, and is reached to a tenth", () => {
  const draws = 100;
  test(`f32 sums: ${draws} draws`, async () => {
    let [beyond, reached] = [0, 0];
    for (let seed = 1; seed <= draws; seed++) {
      const next = uniform(seed);
      const asked = dot(
        "js",
        () => 0.5 + next() / 2,
        () => 1,
      );
      const { measured, probable, worst } = await outputOn(asked);
      if (measured.beyondProbable > 0) beyond += 1;
      reached = Math.max(reached, measured.ofProbable);
      expect(probable.absolute).toBeLessThan(0.5 * worst.absolute);
    }
    expect(beyond).toBeLessThanOrEqual(draws / 100);
    expect(reached).toBeGreaterThan(0.1);
  }, 120_000);
  for (const entry of ["promoted", "unpromoted", "scaled", "linear"])
    test(`${entry}: sums of products of a matrix unit`, async () => {
      let [beyond, reached] = [0, 0];
      for (let seed = 1; seed <= 4; seed++) {
        const { measured } = await outputOn(
          products(entry, "simulate", seed % 2 === 0 ? positive(seed) : gaussian(seed), positive(seed + 100)),
        );
        beyond += measured.beyondProbable;
        reached = Math.max(reached, measured.ofProbable);
      }
      expect(beyond).toBe(0);
      expect(reached).toBeGreaterThan(0.1);
    }, 120_000);
});
