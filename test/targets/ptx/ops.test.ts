import { describe, expect, test } from "vitest";
import { ptx } from "../../../compiler/targets/ptx/index.ts";
import { dtypes } from "../../../compiler/types/dtype.ts";
import { evaluate } from "../../../compiler/types/dim.ts";
import { elementText, encodeScalars } from "./encode.ts";
import { memoryCases } from "./memory-kernels.ts";
import { opCases, type OpCase } from "./op-kernels.ts";
import { simulate } from "./simulated.ts";
import { warpCases } from "./warp-kernels.ts";

for (const variant of ptx.variants) {
  const caps = ptx.caps(variant);
  describe(`${caps.target} computes what the kernel IR says, bit for bit`, () => {
    for (const one of [...opCases(caps), ...memoryCases(), ...warpCases(caps.instructions)])
      test(one.kernel.name, () => expect(wrong(one, variant)).toEqual([]));
  });
}

/** `label[i]: got, expected` of results that differ. */
function wrong(one: OpCase, variant: string): readonly string[] {
  const inputs = one.inputs.map(({ dtype, values }) => encodeScalars(dtype, values));
  const outputs = one.outputs.map(({ dtype, values }) => values.length * dtypes[dtype].bytes);
  const { buffers, findings } = simulate(one.kernel, ptx.caps(variant), {
    buffers: [...inputs, ...outputs],
    sizes: [],
    grid: one.kernel.grid.map((dim) => evaluate(dim, new Map())),
  });
  const differences = [...findings];
  for (const [k, { label, dtype, values }] of one.outputs.entries()) {
    const bytes = buffers[one.inputs.length + k] ?? new Uint8Array();
    for (const [i, value] of values.entries()) {
      if (value === undefined) continue;
      const got = elementText(dtype, bytes, i);
      const expected = elementText(dtype, encodeScalars(dtype, [value]), 0);
      if (got !== expected)
        differences.push(
          `${label}(${one.inputs.map((input) => String(input.values[i])).join(", ")}): ${got}, expected ${expected}`,
        );
    }
  }
  return differences.slice(0, 20);
}
