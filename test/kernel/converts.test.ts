/** Conversions to and from the small floats, on every code and around every rounding boundary, against tables made here. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KernelBuilder, elementType } from "../../compiler/kernel/builder.ts";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import { wgslCaps } from "../../compiler/targets/wgsl/caps.ts";
import { constant } from "../../compiler/types/dim.ts";
import { openDawn, type Gpu } from "../targets/wgsl/gpu.ts";
import { runInterpreted, runJs, runWgsl, type KernelRun } from "./execute.ts";

type Format = "f16" | "bf16" | "e4m3" | "e5m2";

interface Row {
  readonly bits: 8 | 16;
  readonly exponent: number;
  readonly mantissa: number;
  /** Code of infinity, where there is one, and of the largest finite value. */
  readonly infinity: number | undefined;
  readonly largest: number;
  readonly saturates: boolean;
}

const rows: Readonly<Record<Format, Row>> = {
  f16: { bits: 16, exponent: 5, mantissa: 10, infinity: 0x7c00, largest: 0x7bff, saturates: false },
  bf16: { bits: 16, exponent: 8, mantissa: 7, infinity: 0x7f80, largest: 0x7f7f, saturates: false },
  e4m3: { bits: 8, exponent: 4, mantissa: 3, infinity: undefined, largest: 0x7e, saturates: true },
  e5m2: { bits: 8, exponent: 5, mantissa: 2, infinity: 0x7c, largest: 0x7b, saturates: true },
};

/** By the definition: digits of a binary fraction, one at a time. */
function valueOf(row: Row, code: number): number {
  const digits = code.toString(2).padStart(row.bits, "0");
  const sign = digits[0] === "1" ? -1 : 1;
  const magnitude = code % 2 ** (row.bits - 1);
  if (magnitude === row.infinity) return sign * Infinity;
  if (magnitude > row.largest) return NaN;
  const exponent = Number.parseInt(digits.slice(1, 1 + row.exponent), 2);
  const fraction = Array.from(digits.slice(1 + row.exponent)).reduce(
    (sum, digit, k) => sum + Number(digit) * 2 ** -(k + 1),
    0,
  );
  const bias = 2 ** (row.exponent - 1) - 1;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

/** The nearest of all finite values; between two, the even code. Beyond the last by half a step or more: infinity. */
function codeOf(row: Row, values: readonly number[], x: number): number | "nan" {
  if (Number.isNaN(x)) return "nan";
  const sign = x < 0 || Object.is(x, -0) ? 2 ** (row.bits - 1) : 0;
  const size = Math.abs(x);
  const last = values.length - 1;
  const step = (values[last] ?? 0) - (values[last - 1] ?? 0);
  if (size >= (values[last] ?? 0) + step / 2)
    return sign + (row.saturates ? row.largest : (row.infinity ?? row.largest));
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) <= size) low = middle;
    else high = middle;
  }
  if (size >= (values[high] ?? 0)) return sign + high;
  const [down, up] = [size - (values[low] ?? 0), (values[high] ?? 0) - size];
  return sign + (down < up || (down === up && low % 2 === 0) ? low : high);
}

function neighbours(x: number): readonly number[] {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, x);
  const bits = view.getUint32(0);
  return [bits - 1, bits, bits + 1].map((pattern) => {
    view.setUint32(0, pattern >>> 0);
    return view.getFloat32(0);
  });
}

/** Every value, every midpoint, their neighbours, and the ends of f32. */
function probes(values: readonly number[]): Float32Array {
  const out: number[] = [0, -0, NaN, Infinity, -Infinity, 3.4028234663852886e38, 2 ** -126, 2 ** -149, 1e-40];
  values.forEach((value, k) => {
    const next = values[k + 1] ?? value * 2;
    for (const x of [value, (value + next) / 2, value + (next - value) / 4])
      out.push(...neighbours(Math.fround(x)));
  });
  return Float32Array.from(out.flatMap((x) => [x, -x]));
}

const length = { kind: "symbol", name: "N" } as const;

function encodeKernel(format: Format): Kernel {
  const b = new KernelBuilder(1);
  const x = b.buffer({ name: "x", dtype: "f32", length, access: "read", align: 16 });
  const y = b.buffer({ name: "y", dtype: format, length, access: "write", align: 16 });
  const at = b.block(0);
  b.store(y, at, [
    b.convert(b.load(x, at), elementType(format), elementType(format) === "b8" ? format : undefined),
  ]);
  return b.finish({
    name: "encode",
    grid: [length, constant(1), constant(1)],
    summary: `f32 to ${format}`,
    files: [],
  });
}

function decodeKernel(format: Format): Kernel {
  const b = new KernelBuilder(1);
  const x = b.buffer({ name: "x", dtype: format, length, access: "read", align: 16 });
  const y = b.buffer({ name: "y", dtype: "f32", length, access: "write", align: 16 });
  const at = b.block(0);
  b.store(y, at, [b.convert(b.load(x, at), "f32", elementType(format) === "b8" ? format : undefined)]);
  return b.finish({
    name: "decode",
    grid: [length, constant(1), constant(1)],
    summary: `${format} to f32`,
    files: [],
  });
}

type Run = (run: KernelRun) => Promise<readonly Uint8Array[]>;

describe("conversions", () => {
  let dawn: Gpu;
  beforeAll(async () => {
    dawn = await openDawn();
  });
  afterAll(() => dawn.close());

  const devices: Readonly<Record<string, Run>> = {
    "the interpreter": (run) => Promise.resolve(runInterpreted(run)),
    JavaScript: runJs,
    WGSL: (run) => runWgsl(run, wgslCaps, dawn),
  };

  for (const format of ["f16", "bf16", "e4m3", "e5m2"] as const) {
    const row = rows[format];
    const codes = 2 ** row.bits;
    const values = Array.from({ length: row.largest + 1 }, (_, code) => valueOf(row, code));

    for (const [name, device] of Object.entries(devices)) {
      test(`every code of ${format} to f32 by ${name}`, async () => {
        const input =
          row.bits === 8
            ? Uint8Array.from({ length: codes }, (_, code) => code)
            : Uint16Array.from({ length: codes }, (_, code) => code);
        // A dispatch has at most 65535 blocks along an axis.
        const half = codes / 2;
        for (const first of [0, half]) {
          const part = input.slice(first, first + half);
          const results = await device({
            kernel: decodeKernel(format),
            sizes: [],
            grid: [half, 1, 1],
            buffers: [new Uint8Array(part.buffer), new Uint8Array(4 * half)],
          });
          const found = new Float32Array(results[1]?.slice().buffer ?? new ArrayBuffer(0));
          const wanted = Float32Array.from(part, (code) => valueOf(row, code));
          expect(found.length).toBe(half);
          const wrong = [...wanted.keys()].filter((k) => !same(found[k] ?? NaN, wanted[k] ?? NaN));
          expect(wrong.slice(0, 5).map((k) => [part[k], found[k], wanted[k]])).toEqual([]);
        }
      });

      test(`f32 to ${format} by ${name}`, async () => {
        const all = probes(values);
        for (let first = 0; first < all.length; first += 65535) {
          const x = all.slice(first, first + 65535);
          const results = await device({
            kernel: encodeKernel(format),
            sizes: [],
            grid: [x.length, 1, 1],
            buffers: [new Uint8Array(x.buffer), new Uint8Array((x.length * row.bits) / 8)],
          });
          const bytes = results[1]?.slice().buffer ?? new ArrayBuffer(0);
          const found = row.bits === 8 ? new Uint8Array(bytes) : new Uint16Array(bytes);
          const wrong: unknown[] = [];
          x.forEach((value, k) => {
            const wanted = codeOf(row, values, value);
            const code = found[k] ?? -1;
            const isRight = wanted === "nan" ? Number.isNaN(valueOf(row, code)) : code === wanted;
            if (!isRight) wrong.push([value, code, wanted]);
          });
          expect(wrong.slice(0, 5)).toEqual([]);
        }
      });
    }
  }
}, 300_000);

function same(a: number, b: number): boolean {
  return Object.is(a, b) || (Number.isNaN(a) && Number.isNaN(b));
}
