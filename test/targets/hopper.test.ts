/** Tensor maps, roles, group barriers and warpgroup products, from the kernel IR to text that tools and a device take. */
import { describe, expect, test } from "vitest";
import { KernelBuilder } from "../../compiler/kernel/builder.ts";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import { buildPlan, printPlan } from "../../compiler/plan/build-plan.ts";
import { cuda } from "../../compiler/targets/cuda/index.ts";
import { js } from "../../compiler/targets/js/index.ts";
import { ptx } from "../../compiler/targets/ptx/index.ts";
import { wgsl } from "../../compiler/targets/wgsl/index.ts";
import { constant, one, symbol } from "../../compiler/types/dim.ts";
import type { HostTensor } from "../../runtime/index.ts";
import { fromNumbers, parsePlan, toNumbers } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { hopperProduct, type ProductShape } from "./hopper-product.ts";
import { assemble, compileCuda, hasNvcc, hasPtxas, needing } from "./ptx/tools.ts";

const caps = ptx.caps("sm_90a");

const small: ProductShape = { warpgroups: 1, columns: 64, slots: 2, pending: 0 };
const shapes: readonly ProductShape[] = [
  small,
  { warpgroups: 1, columns: 24, slots: 3, pending: 1 },
  { warpgroups: 2, columns: 128, slots: 4, pending: 1, registers: { copy: 40, multiply: 232 } },
  { warpgroups: 2, columns: 192, slots: 2, pending: 1, registers: { copy: 24, multiply: 240 } },
];

function nameOf({ warpgroups, columns, slots, pending }: ProductShape): string {
  return `${64 * warpgroups} x ${columns}, ${slots} slots, ${pending} pending`;
}

function ptxOf(kernel: Kernel): ReturnType<typeof ptx.emit> {
  return ptx.emit(ptx.legalize(kernel, caps), caps);
}

const clean = { complaints: [], spilling: [], entries: 1 };

describe("ptxas assembles without a warning (none of C75xx: serialized products), a spill or local memory", () => {
  for (const shape of shapes) {
    test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, nameOf(shape)), () => {
      expect(assemble(ptxOf(hopperProduct(shape)).text, "sm_90a")).toEqual(clean);
    });
  }
});

describe("nvcc compiles without a warning, a spill or local memory", () => {
  for (const shape of shapes) {
    test.skipIf(!hasNvcc)(needing("nvcc", hasNvcc, nameOf(shape)), () => {
      const own = cuda.caps("sm_90a");
      const { text } = cuda.emit(cuda.legalize(hopperProduct(shape), own), own);
      expect(compileCuda(text, "sm_90a")).toEqual(clean);
    });
  }
});

/** Small integers in no order, so that sums are exact in f32. */
function integers(count: number, salt: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => ((i * 7 + salt * 13 + ((i * i) >> 3)) % 9) - 4);
}

function planOf(kernel: Kernel): ReturnType<typeof buildPlan> {
  const [m, n, k] = [symbol("m"), symbol("n"), symbol("k")];
  const value = (id: number, dtype: "bf16" | "f32", shape: readonly (typeof m)[]) =>
    ({ id, dtype, shape, inPlaceOf: undefined }) as const;
  return buildPlan({
    compiler: "weft test",
    program: "hopper.dsl:product",
    target: "ptx:sm_90a",
    extension: ".ptx",
    bound: new Map(),
    dynamic: ["m", "n", "k"],
    checks: [],
    values: [value(0, "bf16", [m, k]), value(1, "bf16", [n, k]), value(2, "f32", [m, n])],
    inputs: [
      { name: "a", axes: ["m", "k"], role: "argument", value: 0 },
      { name: "b", axes: ["n", "k"], role: "argument", value: 1 },
    ],
    outputs: [{ name: "out", axes: ["m", "n"], role: "result", value: 2 }],
    preparation: [],
    launches: [
      {
        kernel,
        emitted: ptxOf(kernel),
        values: [0, 1, 2],
        bytes: constant(0),
        flops: constant(0),
        roofline: { bandwidth: 1, flops: 1 },
      },
    ],
  });
}

interface Sizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

async function simulate(shape: ProductShape, { m, n, k }: Sizes, seeds: number): Promise<void> {
  const { plan, files } = planOf(hopperProduct(shape));
  const device = await openSimulator({ seeds });
  const loaded = await device.load({ plan: parsePlan(printPlan(plan)), files });
  const [a, b] = [integers(m * k, 1), integers(n * k, 2)];
  const inputs = new Map([
    ["a", fromNumbers("bf16", [m, k], a)],
    ["b", fromNumbers("bf16", [n, k], b)],
  ]);
  const { outputs } = await loaded.run(inputs, { keep: false, time: false });
  const expected = Array.from({ length: m * n }, (_, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    return Array.from({ length: k }, (__, i) => (a[row * k + i] ?? NaN) * (b[column * k + i] ?? NaN)).reduce(
      (sum, product) => sum + product,
      0,
    );
  });
  expect(Array.from(toNumbers(outputs.get("out") as HostTensor))).toEqual(expected);
  await device.close();
}

describe("the simulator finds nothing, and the product is right", () => {
  test("under several schedules", () => simulate(small, { m: 64, n: 64, k: 320 }, 6));
  test("with edges on every side", () => simulate(small, { m: 70, n: 84, k: 72 }, 1));
  test("products that go on while the next slot is waited for", () =>
    simulate({ warpgroups: 1, columns: 24, slots: 3, pending: 1 }, { m: 64, n: 24, k: 448 }, 4));
  test("two warpgroups, and registers that change hands", () => {
    const shape: ProductShape = { ...small, warpgroups: 2, registers: { copy: 40, multiply: 232 } };
    return simulate(shape, { m: 128, n: 64, k: 192 }, 2);
  });
});

test("a slot that is released before its products are waited for is found", async () => {
  const { plan, files } = planOf(hopperProduct(small));
  const early = new Map(
    [...files].map(([name, text]) => [name, text.replace("wgmma.wait_group.sync.aligned 0;", "")]),
  );
  const device = await openSimulator({ seeds: 4 });
  const loaded = await device.load({ plan, files: early });
  const inputs = new Map([
    ["a", fromNumbers("bf16", [64, 320], integers(64 * 320, 1))],
    ["b", fromNumbers("bf16", [64, 320], integers(64 * 320, 2))],
  ]);
  await expect(loaded.run(inputs, { keep: false, time: false })).rejects.toThrow("refill-before-release");
});

test("maps are parameters after the sizes, and dynamic memory is aligned for the swizzle", () => {
  const { text } = ptxOf(hopperProduct(small));
  expect(text).toContain(".extern .shared .align 1024 .b8 shared_memory[];");
  expect(text).toContain(
    ".param .s32 k,  // k\n    .param .align 64 .b8 a_map[128],  // bf16[m, k] of a in boxes of 64 x 64, swizzled by 128 bytes\n",
  );
  expect(text).toContain("[%a_map, {%at, %row}], [%full_at1];");
  const own = cuda.caps("sm_90a");
  const source = cuda.emit(cuda.legalize(hopperProduct(small), own), own).text;
  expect(source).toContain(
    "const __grid_constant__ tensor_map a_map,  // bf16[m, k] of a in boxes of 64 x 64",
  );
  expect(source).toContain("struct alignas(64) tensor_map { char bytes[128]; };");
});

test("accumulators stay in their registers: a product is not copied before it is stored", () => {
  const { text } = ptxOf(hopperProduct(small));
  expect(text).not.toMatch(/mov\.f32|mov\.b32 %sum/);
  expect(text).toMatch(/st\.shared\.v2\.f32 \[%c_tile_at\], \{%sum, %sum1\};/);
});

test("descriptors a constant apart are one and a sum", () => {
  const b = new KernelBuilder(128);
  const tile = b.shared({ name: "tile", dtype: "bf16", length: 8192, align: 1024 });
  const out = b.buffer({ name: "out", dtype: "i64", length: constant(8), access: "write", align: 16 });
  const layout = { leading: 16, stride: 1024, swizzle: 128 } as const;
  const at = b.mul(b.block(0), b.i32(1024), "at");
  // 20 elements are 40 bytes, no multiple of 16: another base.
  for (const [i, offset] of [0, 64, 20].entries())
    b.store(out, b.i32(i), [b.descriptor(tile, b.add(at, b.i32(offset)), layout)]);
  b.store(out, b.i32(3), [b.descriptor(tile, b.i32(64), layout)]);
  b.store(out, b.i32(4), [b.descriptor(tile, b.i32(64), { leading: 128, stride: 256, swizzle: 32 })]);
  const kernel = b.finish({ name: "describe", grid: [one, one, one], summary: "descriptors", files: [] });
  const { text } = ptxOf(kernel);
  expect(text.match(/bfe\.u32/g)).toHaveLength(4);
  expect(text).toMatch(/add\.s64 %\w+, %\w+, 8;/);
  expect(text).toContain("0x40000040}");
  expect(text).toContain("0xc0000010}");
});

test("a target without them refuses", () => {
  const roles = new KernelBuilder(256);
  const body = (): void => roles.barrier({ threads: 128, first: 1 });
  roles.roles([
    { name: "one", threads: 128, body },
    { name: "other", threads: 128, body: () => undefined },
  ]);
  const head = { name: "parts", grid: [one, one, one], summary: "parts", files: [] } as const;
  expect(() => wgsl.emit(roles.finish(head), wgsl.caps(wgsl.variants[0] ?? ""))).toThrow(
    "parts: this target has no roles",
  );
  const tile = new KernelBuilder(1);
  const shared = tile.shared({ name: "tile", dtype: "f32", length: 64, align: 1024 });
  tile.descriptor(shared, tile.i32(0), { leading: 16, stride: 1024, swizzle: 128 });
  expect(() => js.emit(tile.finish(head), js.caps(js.variants[0] ?? ""))).toThrow(
    "parts: this target has no descriptor",
  );
});
