/** Arrays of vectors: which arrays become one, and that a real device reads and writes them alike. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KernelBuilder } from "../../../compiler/kernel/builder.ts";
import type { Kernel } from "../../../compiler/kernel/ir.ts";
import { wgslCaps } from "../../../compiler/targets/wgsl/caps.ts";
import { emitWgsl } from "../../../compiler/targets/wgsl/emit.ts";
import { wgsl } from "../../../compiler/targets/wgsl/index.ts";
import { constant, symbol } from "../../../compiler/types/dim.ts";
import type { Dim } from "../../../compiler/types/dim.ts";
import { interpretKernel } from "../../../compiler/kernel/interpret.ts";
import { openDawn, type Gpu } from "./gpu.ts";

const caps = { ...wgslCaps, vectorBytes: 16 };
const threads = 8;

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openDawn();
});
afterAll(() => gpu.close());

/** Each thread moves four elements of a row of 32 through shared memory in panels, reversed; the last ones are 9. */
function moved(length: Dim, single: "none" | "a single element", dtype: "f32" | "f16"): Kernel {
  const b = new KernelBuilder(threads);
  const x = b.buffer({ name: "x", dtype, length, access: "read", align: 16 });
  const y = b.buffer({ name: "y", dtype, length: constant(32), access: "write", align: 16 });
  const tile = b.shared({ name: "tile", dtype, length: 40, panel: 8 });
  const at = b.mul(b.thread(), b.i32(4));
  const guard = b.lt(b.thread(), b.i32(7));
  const nine = dtype === "f32" ? b.f32(9) : b.constant("f16", 0x4880);
  const loaded = b.loadWide(x, at, { count: 4, guard, otherwise: nine });
  b.store(tile, at, loaded);
  b.barrier();
  const from = b.sub(b.i32(28), at);
  b.store(y, at, b.loadWide(tile, from, { count: 4 }).toReversed());
  if (single === "a single element")
    b.store(y, b.i32(0), [b.load(x, b.i32(3))], b.binary("eq", b.thread(), b.i32(0)));
  return b.finish({
    name: "moved",
    grid: [constant(1), constant(1), constant(1)],
    summary: "A row, reversed.",
    files: [],
  });
}

function lanesOf(kernel: Kernel): Readonly<Record<string, number | undefined>> {
  return Object.fromEntries(kernel.buffers.map(({ name, lanes }) => [name, lanes]));
}

describe("arrays", () => {
  test("are of vectors where every access takes whole ones", () => {
    expect(lanesOf(wgsl.legalize(moved(constant(32), "none", "f32"), caps))).toEqual({ x: 4, y: 4, tile: 4 });
    // Two f16 are a word.
    expect(lanesOf(wgsl.legalize(moved(constant(32), "none", "f16"), caps))).toEqual({ x: 2, y: 2, tile: 2 });
  });

  test("stay as they are where one element is taken, or the length is not known or no multiple", () => {
    const single = lanesOf(wgsl.legalize(moved(constant(32), "a single element", "f32"), caps));
    expect(single).toEqual({ x: undefined, y: undefined, tile: 4 });
    expect(lanesOf(wgsl.legalize(moved(symbol("N"), "none", "f32"), caps))["x"]).toBeUndefined();
    expect(lanesOf(wgsl.legalize(moved(constant(33), "none", "f32"), caps))["x"]).toBeUndefined();
    expect(lanesOf(wgsl.legalize(moved(constant(32), "none", "f32"), wgslCaps))["x"]).toBeUndefined();
  });
});

test.each(["f32", "f16"] as const)("of %s are moved alike by the interpreter and a device", async (dtype) => {
  const kernel = wgsl.legalize(moved(constant(32), "none", dtype), caps);
  const elements = Array.from({ length: 32 }, (_, k) => k);
  const bytes =
    dtype === "f32"
      ? new Uint8Array(Float32Array.from(elements).buffer)
      : new Uint8Array(Uint16Array.from(elements).buffer);
  const buffers = [bytes, new Uint8Array(bytes.length)];
  const { text, entry } = emitWgsl(kernel);
  const ran = await gpu.run({
    text,
    entry,
    access: ["read", "storage"],
    run: { buffers, sizes: [], grid: [1, 1, 1] },
  });
  const own = buffers.map((buffer) => buffer.slice());
  interpretKernel(kernel, { buffers: own, sizes: [], grid: [1, 1, 1], subgroup: 1 });
  expect(ran[1]).toEqual(own[1]);
  const nine = dtype === "f32" ? 9 : 0x4880;
  const found = [
    ...(dtype === "f32"
      ? new Float32Array(own[1]?.buffer ?? new ArrayBuffer(0))
      : new Uint16Array(own[1]?.buffer ?? new ArrayBuffer(0))),
  ];
  expect(found).toEqual(elements.map((k) => (k < 4 ? nine : 31 - k)));
});
