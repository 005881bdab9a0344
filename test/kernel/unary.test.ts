/** Unary functions against f64, within what `ir.ts` promises: 2 ulp of f32, or 2^-21 near a zero of sin and cos. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KernelBuilder } from "../../compiler/kernel/builder.ts";
import type { Kernel, UnaryFn } from "../../compiler/kernel/ir.ts";
import { wgslCaps } from "../../compiler/targets/wgsl/caps.ts";
import { constant } from "../../compiler/types/dim.ts";
import { openDawn, type Gpu } from "../targets/wgsl/gpu.ts";
import { runInterpreted, runJs, runLegalized, runWgsl, type KernelRun } from "./execute.ts";

const length = { kind: "symbol", name: "N" } as const;

function kernelOf(fn: UnaryFn): Kernel {
  const b = new KernelBuilder(1);
  const x = b.buffer({ name: "x", dtype: "f32", length, access: "read", align: 16 });
  const y = b.buffer({ name: "y", dtype: "f32", length, access: "write", align: 16 });
  b.store(y, b.block(0), [b.unary(fn, b.load(x, b.block(0)))]);
  return b.finish({ name: "apply", grid: [length, constant(1), constant(1)], summary: fn, files: [] });
}

interface Case {
  readonly exact: (x: number) => number;
  readonly inputs: readonly number[];
  /** Besides 2 ulp. */
  readonly absolute: number;
}

function spread(low: number, high: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, k) => Math.fround(low + ((high - low) * k) / (count - 1)));
}

/** Of both signs, from 2^-40 to 2^exponent. */
function magnitudes(exponent: number, count: number): readonly number[] {
  return Array.from(
    { length: count },
    (_, k) => 2 ** (-40 + ((exponent + 40) * k) / count) * (1 + ((k * 0.618) % 1)),
  ).flatMap((x) => [Math.fround(x), Math.fround(-x)]);
}

const angles = [
  ...magnitudes(14, 8000),
  ...magnitudes(127, 4000),
  ...spread(-100, 100, 8000),
  0,
  32768,
  163840,
  3.4028234663852886e38,
];
const positive = magnitudes(120, 4000).filter((x) => x > 0);

/** 11 significant bits, half to even, by scaling to integers. */
function nearestTf32(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const step = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 10);
  const [low, rest] = [Math.floor(x / step), x / step - Math.floor(x / step)];
  return (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) * step;
}

/** Halfway between neighbours of tf32, and an f32's step to either side. */
const tiesOfTf32 = Array.from({ length: 200 }, (_, k) => 1 + (2 * ((k * 41) % 1024) + 1) * 2 ** -11).flatMap(
  (x) => [x - 2 ** -23, x, x + 2 ** -23],
);

const cases: Readonly<Partial<Record<UnaryFn, Case>>> = {
  sin: { exact: Math.sin, inputs: angles, absolute: 2 ** -21 },
  cos: { exact: Math.cos, inputs: angles, absolute: 2 ** -21 },
  tanh: {
    exact: Math.tanh,
    inputs: [...magnitudes(100, 4000), ...spread(-12, 12, 8000), 0, Infinity, -Infinity, NaN],
    absolute: 0,
  },
  exp2: {
    exact: (x) => 2 ** x,
    inputs: [...spread(-125, 127.99, 8000), 0, 128, 1e30, -Infinity, -1e30, -160, -140],
    absolute: 2 ** -126,
  },
  log2: { exact: Math.log2, inputs: [...positive, 1, 2, 0.5], absolute: 2 ** -21 },
  sqrt: { exact: Math.sqrt, inputs: [0, ...positive], absolute: 0 },
  rsqrt: { exact: (x) => 1 / Math.sqrt(x), inputs: positive, absolute: 0 },
  rcp: { exact: (x) => 1 / x, inputs: magnitudes(120, 4000), absolute: 0 },
  "round-even": {
    exact: (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)),
    inputs: [...spread(-20, 20, 81), ...magnitudes(40, 500)],
    absolute: 0,
  },
  "round-tf32": {
    exact: nearestTf32,
    inputs: [
      ...magnitudes(127, 2000),
      ...tiesOfTf32,
      ...tiesOfTf32.map((x) => -x),
      0,
      3.4028234663852886e38,
      Infinity,
      -Infinity,
      NaN,
    ],
    absolute: 0,
  },
};

function ulp(x: number): number {
  const size = Math.max(Math.abs(x), 2 ** -126);
  return 2 ** (Math.floor(Math.log2(size)) - 23);
}

type Run = (run: KernelRun) => Promise<readonly Uint8Array[]>;

describe("unary functions", () => {
  let dawn: Gpu;
  beforeAll(async () => {
    dawn = await openDawn();
  });
  afterAll(() => dawn.close());

  const devices: Readonly<Record<string, Run>> = {
    "the interpreter": (run) => Promise.resolve(runInterpreted(run)),
    "the interpreter, as WGSL has them": (run) => Promise.resolve(runLegalized(run, wgslCaps)),
    JavaScript: runJs,
    WGSL: (run) => runWgsl(run, wgslCaps, dawn),
  };

  for (const [fn, { exact, inputs, absolute }] of Object.entries(cases)) {
    for (const [name, device] of Object.entries(devices)) {
      test(`${fn} by ${name}`, async () => {
        const x = Float32Array.from(inputs);
        const results = await device({
          kernel: kernelOf(fn as UnaryFn),
          sizes: [],
          grid: [x.length, 1, 1],
          buffers: [new Uint8Array(x.buffer), new Uint8Array(4 * x.length)],
        });
        const found = new Float32Array(results[1]?.slice().buffer ?? new ArrayBuffer(0));
        expect(found.length).toBe(x.length);
        const wrong = [...x.keys()].filter((k) => {
          const [value, wanted] = [found[k] ?? NaN, exact(x[k] ?? NaN)];
          // WGSL leaves open what becomes of a NaN (15.7.2).
          if (Number.isNaN(wanted)) return name !== "WGSL" && !Number.isNaN(value);
          if (!Number.isFinite(Math.fround(wanted))) return value !== Math.fround(wanted);
          return !(Math.abs(value - wanted) <= Math.max(fn === "round-tf32" ? 0 : 2 * ulp(wanted), absolute));
        });
        expect(wrong.slice(0, 5).map((k) => [x[k], found[k], exact(x[k] ?? NaN)])).toEqual([]);
      });
    }
  }
}, 120_000);
