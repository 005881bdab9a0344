import { describe, expect, test } from "vitest";
import { emitCudaModule } from "../../../compiler/targets/cuda/emit.ts";
import { cuda } from "../../../compiler/targets/cuda/index.ts";
import { memoryCases } from "../ptx/memory-kernels.ts";
import { opCases } from "../ptx/op-kernels.ts";
import { compileCuda, hasNvcc, needing } from "../ptx/tools.ts";
import { warpCases } from "../ptx/warp-kernels.ts";

describe("nvcc compiles every kernel without a warning, a spill or local memory", () => {
  for (const architecture of ["sm_80", "sm_90a"] as const) {
    test.skipIf(!hasNvcc)(needing("nvcc", hasNvcc, architecture), { timeout: 120_000 }, () => {
      const caps = cuda.caps(architecture);
      const kernels = [...opCases(caps), ...memoryCases(), ...warpCases(caps.instructions)].map(
        ({ kernel }) => kernel,
      );
      expect(compileCuda(emitCudaModule(kernels), architecture)).toEqual({
        complaints: [],
        spilling: [],
        entries: kernels.length,
      });
    });
  }
});
