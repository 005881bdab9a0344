import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseKernel } from "../../compiler/kernel/parse.ts";
import { printKernel } from "../../compiler/kernel/print.ts";
import { jsCaps } from "../../compiler/targets/js/caps.ts";
import { wgslCaps, wgslF16Caps } from "../../compiler/targets/wgsl/caps.ts";
import type { DType } from "../../compiler/types/dtype.ts";
import { openDawn, openWgpu, type Gpu } from "../targets/wgsl/gpu.ts";
import { comparable, runInterpreted, runJs, runLegalized, runWgsl, type KernelRun } from "./execute.ts";
import { randomKernel } from "./random-kernel.ts";

const seeds = Number(process.env["WEFT_SEEDS"] ?? 150);
/** wgpu on lavapipe compiles slowly. */
const seedsOnWgpu = Math.ceil(seeds / 5);
const first = Number(process.env["WEFT_FIRST_SEED"] ?? 1);
const all: readonly DType[] = ["f32", "f16", "bf16", "e4m3", "e5m2", "i64", "i32", "u32", "i8", "u8", "bool"];

async function agree(
  run: KernelRun,
  seed: number,
  other: () => Promise<readonly Uint8Array[]> | readonly Uint8Array[],
): Promise<void> {
  let found: unknown;
  try {
    found = comparable(run.kernel, await other());
  } catch (error) {
    throw new Error(`seed ${seed}: ${String(error)}\n${printKernel(run.kernel)}`);
  }
  expect(found, `seed ${seed}\n${printKernel(run.kernel)}`).toEqual(
    comparable(run.kernel, runInterpreted(run)),
  );
}

describe("random kernels", () => {
  test("print and parse to the same text", () => {
    for (let seed = first; seed < first + seeds; seed += 1) {
      const text = printKernel(randomKernel(seed, { threads: [1, 8], dtypes: all }).kernel);
      expect(printKernel(parseKernel(text))).toBe(text);
    }
  });

  test("keep their value when legalized", async () => {
    for (let seed = first; seed < first + seeds; seed += 1) {
      const serial = randomKernel(seed, { threads: [1], dtypes: all });
      await agree(serial, seed, () => runLegalized(serial, jsCaps));
      const run = randomKernel(seed, { threads: [1, 4, 32, 64], dtypes: all });
      await agree(run, seed, () => runLegalized(run, wgslCaps));
      await agree(run, seed, () => runLegalized(run, wgslF16Caps));
    }
  });

  test("compute the same as JavaScript", async () => {
    for (let seed = first; seed < first + seeds; seed += 1) {
      const run = randomKernel(seed, { threads: [1], dtypes: all });
      await agree(run, seed, () => runJs(run));
    }
  });

  describe("as WGSL", () => {
    let dawn: Gpu;
    let wgpu: Gpu;
    beforeAll(async () => {
      [dawn, wgpu] = await Promise.all([openDawn(), openWgpu()]);
    });
    afterAll(() => {
      dawn.close();
      wgpu.close();
    });

    test("compute the same on Dawn", async () => {
      for (let seed = first; seed < first + seeds; seed += 1) {
        const run = randomKernel(seed, { threads: [1, 4, 32, 64], dtypes: all });
        await agree(run, seed, () => runWgsl(run, wgslCaps, dawn));
      }
    });

    test("compute the same on wgpu, with and without f16", async () => {
      for (let seed = first; seed < first + seedsOnWgpu; seed += 1) {
        const run = randomKernel(seed, { threads: [1, 4, 32, 64], dtypes: all });
        await agree(run, seed, () => runWgsl(run, wgslCaps, wgpu));
        if (wgpu.features.includes("shader-f16"))
          await agree(run, seed, () => runWgsl(run, wgslF16Caps, wgpu));
      }
    });
  });
}, 300_000);
