import { describe, expect, test } from "vitest";
import { printKernel } from "../../../compiler/kernel/print.ts";
import type { Kernel } from "../../../compiler/kernel/ir.ts";
import { emitCudaModule } from "../../../compiler/targets/cuda/emit.ts";
import { cuda } from "../../../compiler/targets/cuda/index.ts";
import { emitPtxModule } from "../../../compiler/targets/ptx/emit.ts";
import { ptx } from "../../../compiler/targets/ptx/index.ts";
import type { Caps } from "../../../compiler/types/caps.ts";
import type { DType } from "../../../compiler/types/dtype.ts";
import { comparable, runInterpreted } from "../../kernel/execute.ts";
import { randomKernel, type RandomKernel } from "../../kernel/random-kernel.ts";
import { simulate } from "./simulated.ts";
import { assemble, compileCuda, hasNvcc, hasPtxas, needing, unused } from "./tools.ts";

const seeds = Number(process.env["WEFT_SEEDS"] ?? 60);
const first = Number(process.env["WEFT_FIRST_SEED"] ?? 1);
const dtypes: readonly DType[] = [
  "f32",
  "f16",
  "bf16",
  "e4m3",
  "e5m2",
  "i64",
  "i32",
  "u32",
  "i8",
  "u8",
  "bool",
];

function draw(seed: number): RandomKernel {
  return randomKernel(seed, { threads: [1, 32, 64], dtypes });
}

function renamed(kernel: Kernel, seed: number): Kernel {
  return { ...kernel, name: `random_${seed}` };
}

function drawLegal(caps: Caps, legalize: (kernel: Kernel, caps: Caps) => Kernel): readonly Kernel[] {
  return Array.from({ length: seeds }, (_, i) => renamed(legalize(draw(first + i).kernel, caps), first + i));
}

describe("random kernels", { timeout: 300_000 }, () => {
  for (const variant of ptx.variants) {
    const caps = ptx.caps(variant);
    test(`compute on ${caps.target}, simulated, what the interpreter computes`, () => {
      for (let seed = first; seed < first + seeds; seed += 1) {
        const run = draw(seed);
        const legal = ptx.legalize(run.kernel, caps);
        const { buffers, findings } = simulate(legal, caps, run);
        const about = `seed ${seed}\n${printKernel(run.kernel)}`;
        expect(findings, about).toEqual([]);
        expect(comparable(run.kernel, buffers), about).toEqual(comparable(run.kernel, runInterpreted(run)));
      }
    });

    test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, `assemble for ${variant}`), () => {
      const kernels = drawLegal(caps, ptx.legalize);
      expect(assemble(emitPtxModule(kernels, caps), variant)).toEqual({
        complaints: [],
        spilling: [],
        entries: seeds,
      });
    });

    test.skipIf(!hasNvcc)(needing("nvcc", hasNvcc, `compile as CUDA C++ for ${variant}`), () => {
      const kernels = drawLegal(cuda.caps(variant), cuda.legalize);
      expect(compileCuda(emitCudaModule(kernels), variant, unused)).toEqual({
        complaints: [],
        spilling: [],
        entries: seeds,
      });
    });
  }
});
