import { describe, expect, test } from "vitest";
import { emitPtxModule } from "../../../compiler/targets/ptx/emit.ts";
import { ptx } from "../../../compiler/targets/ptx/index.ts";
import { memoryCases } from "./memory-kernels.ts";
import { opCases } from "./op-kernels.ts";
import { assemble, hasPtxas, needing } from "./tools.ts";
import { warpCases } from "./warp-kernels.ts";

describe("ptxas assembles every kernel without a warning, a spill or local memory", () => {
  for (const variant of ptx.variants) {
    test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, variant), { timeout: 60_000 }, () => {
      const caps = ptx.caps(variant);
      const kernels = [...opCases(caps), ...memoryCases(), ...warpCases(caps.instructions)].map(
        ({ kernel }) => kernel,
      );
      expect(assemble(emitPtxModule(kernels, caps), variant)).toEqual({
        complaints: [],
        spilling: [],
        entries: kernels.length,
      });
    });
  }
});
