/** Shuffles on a real device, whose subgroups may have another size than a schedule plans with. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { KernelBuilder } from "../../../compiler/kernel/builder.ts";
import { wgslSubgroupCaps } from "../../../compiler/targets/wgsl/caps.ts";
import { constant } from "../../../compiler/types/dim.ts";
import { runInterpreted, runWgsl } from "../../kernel/execute.ts";
import { openDawn, type Gpu } from "./gpu.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openDawn();
});
afterAll(() => gpu.close());

test("shuffles within four lanes", async () => {
  // Subgroups of every device have at least four lanes.
  const b = new KernelBuilder(4);
  const x = b.buffer({ name: "x", dtype: "f32", length: constant(8), access: "read", align: 16 });
  const sums = b.buffer({ name: "sums", dtype: "f32", length: constant(8), access: "write", align: 16 });
  const turned = b.buffer({ name: "turned", dtype: "i64", length: constant(8), access: "write", align: 16 });
  const at = b.add(b.mul(b.block(0), b.i32(4)), b.lane(), "at");
  const value = b.load(x, at);
  const pairs = b.add(value, b.shuffleXor(value, 1));
  b.store(sums, at, [b.add(pairs, b.shuffleXor(pairs, 2))]);
  const wide = b.mul(b.convert(at, "i64"), b.constant("i64", 10n ** 12n));
  b.store(turned, at, [b.shuffleIndex(wide, b.sub(b.i32(3), b.lane()))]);
  const kernel = b.finish({
    name: "lanes",
    grid: [constant(2), constant(1), constant(1)],
    summary: "Sums of four.",
    files: [],
  });
  const run = {
    kernel,
    buffers: [
      new Uint8Array(Float32Array.from([1, 2, 3, 4, 50, 60, 70, 80]).buffer),
      new Uint8Array(32),
      new Uint8Array(64),
    ],
    sizes: [],
    grid: [2, 1, 1] as const,
  };
  const wanted = runInterpreted(run, 4);
  expect([...new Float32Array(wanted[1]?.slice().buffer ?? new ArrayBuffer(0))]).toEqual([
    10, 10, 10, 10, 260, 260, 260, 260,
  ]);
  expect(gpu.features).toContain("subgroups");
  expect(await runWgsl(run, wgslSubgroupCaps, gpu)).toEqual(wanted);
});
