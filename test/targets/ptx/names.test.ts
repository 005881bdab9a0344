import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelBuilder } from "../../../compiler/kernel/builder.ts";
import type { Kernel } from "../../../compiler/kernel/ir.ts";
import { emitCuda, emitCudaModule } from "../../../compiler/targets/cuda/emit.ts";
import { cuda } from "../../../compiler/targets/cuda/index.ts";
import { emitPtx, emitPtxModule } from "../../../compiler/targets/ptx/emit.ts";
import { ptx } from "../../../compiler/targets/ptx/index.ts";
import { constant, symbol } from "../../../compiler/types/dim.ts";
import { simulate } from "./simulated.ts";
import { assemble, compileCuda, hasNvcc, hasPtxas, needing } from "./tools.ts";

const hostile = [
  "",
  "_",
  "__",
  "$",
  "%",
  "%tid",
  "tid",
  "ntid",
  "laneid",
  "clock",
  "envreg0",
  "1x",
  "x y",
  "x.y",
  "é",
  "数",
  "\u0000",
  "\n",
  "a\nret;",
  '"',
  "\\",
  "*/",
  "//",
  "/*",
  "#include",
  "ld",
  "st",
  "add",
  "mul",
  "bra",
  "ret",
  "reg",
  "shared",
  "global",
  "entry",
  "version",
  "f32",
  "b32",
  "pred",
  "shared_memory",
  "int",
  "float",
  "for",
  "class",
  "asm",
  "main",
  "NULL",
  "linux",
  "printf",
  "memcpy",
  "exp",
  "sqrt",
  "y0",
  "j1",
  "fmaf",
  "min",
  "threadIdx",
  "blockIdx",
  "bf16",
  "f16",
  "u8",
  "float_to_bf16",
  "mma_m16n8k16_bf16",
  "__syncthreads",
  "INFINITY",
  "t",
  "t1",
  "x",
  "x1",
  "x_1",
  "x_ptr",
  "x_at",
  "constant",
  "a".repeat(5000),
];

const name = fc.oneof(fc.constantFrom(...hostile), fc.string({ unit: "grapheme", maxLength: 12 }));

/** y = (x[i] + 1) + n by way of shared memory, a loop, a branch and a bf16, all of them named by `names`. */
function named(names: readonly string[]): Kernel {
  const pick = (i: number): string => names[i % names.length] ?? "";
  const b = new KernelBuilder(32);
  const n = symbol("n");
  const x = b.buffer({ name: pick(0), dtype: "bf16", length: constant(32), access: "read", align: 16 });
  const y = b.buffer({ name: pick(1), dtype: "f32", length: constant(32), access: "write", align: 16 });
  const tile = b.shared({ name: pick(2), dtype: "f32", length: 32 });
  b.comment(pick(3));
  b.line(0, 1, 1);
  const value = b.convert(b.load(x, b.thread(), { hint: pick(4) }), "f32", undefined, pick(5));
  b.store(tile, b.thread(), [b.add(value, b.f32(1), pick(6))]);
  b.barrier();
  const sum = b.var(b.load(tile, b.thread(), { hint: pick(7) }), pick(8));
  b.for(b.i32(0), b.size(pick(9), n), 1, pick(10), (i) => {
    b.if(
      b.lt(i, b.i32(1000), pick(11)),
      () => b.set(sum, b.add(b.get(sum), b.f32(1), pick(12))),
      () => b.set(sum, b.f32(0)),
    );
  });
  b.store(y, b.thread(), [b.get(sum)]);
  return b.finish({
    name: pick(13),
    grid: [constant(1), constant(1), constant(1)],
    summary: pick(14),
    files: [pick(15)],
  });
}

const arrangements = fc.array(name, { minLength: 1, maxLength: 16 });

describe("hostile names", { timeout: 120_000 }, () => {
  const caps = ptx.caps("sm_90a");

  test("change nothing that a kernel computes", () => {
    const x = new Uint8Array(new Uint16Array(32).fill(0x4000).buffer);
    fc.assert(
      fc.property(arrangements, (names) => {
        const { buffers, findings } = simulate(named(names), caps, {
          buffers: [x, 128],
          sizes: [3],
          grid: [1, 1, 1],
        });
        expect(findings).toEqual([]);
        expect([...new Float32Array((buffers[1] ?? new Uint8Array()).slice().buffer)]).toEqual(
          Array<number>(32).fill(6),
        );
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  /** Each hostile string in every place at once, and random mixtures. */
  const kernels = [
    ...hostile.map((one) => named([one])),
    ...fc.sample(arrangements, { numRuns: 40, seed: 11 }).map(named),
  ];
  const numbered = kernels.map((kernel, i): Kernel => ({
    ...kernel,
    name: `${kernel.name.slice(0, 20)}_${i}`,
  }));

  test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, "assemble"), () => {
    expect(assemble(emitPtxModule(numbered, caps), "sm_90a")).toEqual({
      complaints: [],
      spilling: [],
      entries: kernels.length,
    });
  });

  test.skipIf(!hasNvcc)(needing("nvcc", hasNvcc, "compile as CUDA C++"), () => {
    const legal = numbered.map((kernel) => cuda.legalize(kernel, cuda.caps("sm_90a")));
    expect(compileCuda(emitCudaModule(legal), "sm_90a")).toEqual({
      complaints: [],
      spilling: [],
      entries: kernels.length,
    });
  });

  // As entries the names stand alone, where a library's own may already be declared.
  test.skipIf(!hasNvcc)(needing("nvcc", hasNvcc, "are legal names of entries"), () => {
    const entries = new Map(
      hostile.map((one) => [
        emitCuda(named(["x", "y", "tile", "", "", "", "", "", "", "n", "", "", "", one])).entry,
        one,
      ]),
    );
    const bodies = [...entries.keys()].map((entry) => `extern "C" __global__ void ${entry}() {}`);
    expect(compileCuda(`${bodies.join("\n")}\n`, "sm_90a").complaints).toEqual([]);
    for (const one of hostile) expect(emitPtx(named([one]), caps).entry).toMatch(/^[A-Za-z][A-Za-z0-9_]*$/);
  });
});
