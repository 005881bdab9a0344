/** A product by tensor copies, mbarriers and warpgroups, interpreted, against one by three loops; and its mistakes. */
import { describe, expect, test } from "vitest";
import { interpretKernel } from "../../compiler/kernel/interpret.ts";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import { parseKernel } from "../../compiler/kernel/parse.ts";
import { printKernel } from "../../compiler/kernel/print.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { gemmKernel, type Gemm, type Mistake } from "./gemm.ts";

/** Whole numbers from -3 to 3: exact in bf16, and their sums in f32. */
function numbers(count: number, seed: number): readonly number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 16) % 7) - 3;
  });
}

/** The upper half of an f32's bits, which for these numbers are all that is set. */
function bf16(values: readonly number[]): Uint8Array {
  const words = new Uint32Array(Float32Array.from(values).buffer);
  return new Uint8Array(Uint16Array.from(words, (word) => word >>> 16).buffer);
}

function run(
  kernel: Kernel,
  { m, n, k }: Gemm,
): { readonly found: Float32Array; readonly a: readonly number[]; readonly b: readonly number[] } {
  const [a, b] = [numbers(m * k, 1), numbers(n * k, 2)];
  const found = new Float32Array(m * n).fill(Number.NaN);
  const grid = kernel.grid.map((dim) => evaluate(dim, new Map())) as [number, number, number];
  const buffers = [bf16(a), bf16(b), new Uint8Array(found.buffer)];
  interpretKernel(kernel, { buffers, sizes: [], grid, subgroup: 32 });
  return { found, a, b };
}

function product({ m, n, k, left, right }: Gemm, a: readonly number[], b: readonly number[]): Float32Array {
  const d = new Float32Array(m * n);
  for (let row = 0; row < m; row += 1) {
    for (let column = 0; column < n; column += 1) {
      let sum = 0;
      for (let i = 0; i < k; i += 1) {
        const x = a[left === "k" ? row * k + i : i * m + row] ?? Number.NaN;
        const y = b[right === "k" ? column * k + i : i * n + column] ?? Number.NaN;
        sum += x * y;
      }
      d[row * n + column] = sum;
    }
  }
  return d;
}

const small: Gemm = {
  m: 64,
  n: 64,
  k: 256,
  tile: { m: 64, n: 64 },
  stages: 2,
  left: "k",
  right: "k",
  output: "threads",
  pending: 0,
};
const across: Gemm = { ...small, left: "m", right: "n" };
const boxes: Gemm = { ...small, output: "boxes" };

const good: Readonly<Record<string, Gemm>> = {
  "a and b along k": { ...small, k: 128 },
  "b along n": { ...small, right: "n" },
  "a along m": { ...small, left: "m" },
  "both along their rows, a product behind": { ...across, pending: 1, stages: 3 },
  "written as boxes": boxes,
  "parts of tiles": { ...small, m: 100, n: 72, k: 136, pending: 1 },
  "parts of tiles across, written as boxes": { ...across, m: 72, n: 104, k: 72, output: "boxes" },
  "two warpgroups": { ...small, m: 128, n: 256, k: 192, tile: { m: 128, n: 256 }, pending: 1 },
  "two warpgroups across, parts of tiles": {
    ...across,
    m: 200,
    n: 136,
    k: 72,
    tile: { m: 128, n: 128 },
    output: "boxes",
  },
};

describe("a product by warpgroups", () => {
  for (const [name, spec] of Object.entries(good)) {
    test(name, () => {
      const kernel = gemmKernel(spec);
      expect(verifyKernel(kernel).map(({ message }) => message)).toEqual([]);
      const { found, a, b } = run(kernel, spec);
      expect(found).toEqual(product(spec, a, b));
    });
  }
  test("prints and parses to the same text", () => {
    for (const spec of Object.values(good)) {
      const text = printKernel(gemmKernel(spec));
      expect(printKernel(parseKernel(text))).toBe(text);
    }
  });
});

const mistakes: Readonly<Record<Mistake, readonly [Gemm, RegExp]>> = {
  "no wait for the copy": [small, /nobody can go on: copy waits for .*empty\[0\] is in phase 2/],
  "no wait for the stage": [small, /mbarrier.expect by thread 128 comes too often: full\[0\]/],
  "no wait for the product": [small, /in flight/],
  "stage given back early": [{ ...small, pending: 1 }, /races|under way/],
  "wrong parity": [small, /nobody can go on: math waits for .*full\[0\].*copy waits for .*empty\[0\]/],
  "no expect": [small, /while a copy is under way/],
  "too few bytes": [small, /nobody can go on: .*128 bytes more than expected/],
  "too many bytes": [small, /nobody can go on: .*128 bytes to come/],
  "one arrival too few": [small, /nobody can go on: .*1 of 2 arrivals missing/],
  "barriers made unseen": [small, /races with another thread in (full|empty)/],
  "staging unseen": [boxes, /races with another thread in staging/],
  "staging written again": [boxes, /stores of boxes are still under way at the end|races/],
};

describe("a product by warpgroups with a mistake", () => {
  for (const [mistake, [spec, fault]] of Object.entries(mistakes)) {
    test(mistake, () => {
      const kernel = gemmKernel({ ...spec, mistake: mistake as Mistake });
      expect(() => run(kernel, spec)).toThrow(fault);
    });
  }
});
