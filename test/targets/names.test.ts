/** Names of any kind in the source become legal and distinct names in the text, and the text means the same. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KernelBuilder } from "../../compiler/kernel/builder.ts";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import { jsReserved } from "../../compiler/targets/js/keywords.ts";
import { wgslCaps } from "../../compiler/targets/wgsl/caps.ts";
import { wgslReserved } from "../../compiler/targets/wgsl/keywords.ts";
import { constant } from "../../compiler/types/dim.ts";
import { runInterpreted, runJs, runWgsl } from "../kernel/execute.ts";
import { openDawn, openWgpu, type Gpu } from "./wgsl/gpu.ts";

let gpus: readonly Gpu[] = [];
beforeAll(async () => {
  gpus = await Promise.all([openDawn(), openWgpu()]);
});
afterAll(() => gpus.forEach((gpu) => gpu.close()));

const hostile = [
  ...jsReserved,
  ...wgslReserved,
  "x",
  "x1",
  "x_1",
  "_",
  "__",
  "",
  "1",
  "1x",
  "thread",
  "block",
  "sizes",
  "Sizes",
  "block_x",
  "buffers",
  "größe",
  "变量",
  "a b",
  "a\nb",
  'a"b',
  "*/",
  "//",
  "\u0000",
  "a\u0085b",
  "a\u2028b",
  "a\\",
  "infinity",
  "infinity_bits",
  "to_i32",
  "floatBits",
  "vec4f",
  "gl_Position",
  "main",
  "e".repeat(300),
];
const name = fc.oneof(fc.constantFrom(...hostile), fc.string(), fc.string({ unit: "binary" }));

function kernelOf(names: readonly string[]): Kernel {
  const at = (k: number): string => names[k % names.length] ?? "";
  const b = new KernelBuilder(1);
  const x = b.buffer({ name: at(0), dtype: "f32", length: constant(4), access: "read", align: 16 });
  const y = b.buffer({ name: at(1), dtype: "f32", length: constant(4), access: "write", align: 16 });
  const s = b.shared({ name: at(2), dtype: "f32", length: 4 });
  const n = b.size(at(3), { kind: "symbol", name: "N" });
  b.comment(at(4));
  const sum = b.var(b.f32(Infinity), at(5));
  b.for(b.i32(0), n, 1, at(6), (i) => {
    const loaded = b.load(x, i, { hint: at(7) });
    b.store(s, i, [b.mul(loaded, b.f32(2), at(8))]);
    const both = b.binary(
      "min",
      b.add(b.load(s, i, { hint: at(9) }), b.convert(b.convert(loaded, "i32"), "f32"), at(10)),
      b.get(sum, at(11)),
      at(12),
    );
    b.set(sum, both);
    b.store(y, i, [both]);
  });
  return b.finish({
    name: at(13),
    grid: [constant(1), constant(1), constant(1)],
    summary: at(14),
    files: [],
  });
}

test("names of any kind", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(name, { minLength: 1, maxLength: 15 }), async (names) => {
      const run = {
        kernel: kernelOf(names),
        buffers: [new Uint8Array(Float32Array.from([4, 3, 2, 5]).buffer), new Uint8Array(16)],
        sizes: [4],
        grid: [1, 1, 1] as const,
      };
      const wanted = runInterpreted(run)[1];
      expect((await runJs(run))[1]).toEqual(wanted);
      for (const gpu of gpus) expect((await runWgsl(run, wgslCaps, gpu))[1]).toEqual(wanted);
    }),
    { numRuns: 150 },
  );
}, 120_000);
