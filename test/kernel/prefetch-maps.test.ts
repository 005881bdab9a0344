/** Maps are asked for by the thread that sets the barriers up, before it does. */
import { expect, test } from "vitest";
import { KernelBuilder } from "../../compiler/kernel/builder.ts";
import type { Op } from "../../compiler/kernel/ir.ts";
import { prefetchMaps } from "../../compiler/kernel/passes/prefetch-maps.ts";
import { constant, one } from "../../compiler/types/dim.ts";

const names = (ops: readonly Op[]): readonly string[] =>
  ops.map((op) => (op.kind === "instruction" ? op.name : op.kind));

function kernelWith(maps: number): ReturnType<KernelBuilder["finish"]> {
  const b = new KernelBuilder(128);
  const x = b.buffer({ name: "x", dtype: "bf16", length: constant(4096), access: "read", align: 128 });
  for (let k = 0; k < maps; k += 1)
    b.map({
      name: `map_${k}`,
      buffer: x,
      dims: [constant(64), constant(64)],
      box: [8 << k, 64],
      swizzle: 128,
    });
  const barriers = b.shared({ name: "barriers", dtype: "i64", length: 2 });
  b.if(b.binary("eq", b.thread(), b.i32(0)), () => {
    b.instruction("mbarrier.init", [], [{ buffer: barriers, index: b.i32(0) }, b.i32(1)]);
  });
  b.barrier();
  return b.finish({ name: "copied", grid: [one, one, one], summary: "", files: [] });
}

test("each map once", () => {
  const set = prefetchMaps(kernelWith(2)).body.find((op) => op.kind === "if");
  expect(set?.kind === "if" ? names(set.then).filter((name) => name !== "const") : []).toEqual([
    "tensormap.prefetch",
    "tensormap.prefetch",
    "mbarrier.init",
  ]);
});

test("nothing without maps", () => {
  const kernel = kernelWith(0);
  expect(prefetchMaps(kernel)).toBe(kernel);
});
