import { expect, test } from "vitest";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import type { LaunchRequest, PlanRequest, PlanValue } from "../../compiler/plan/build-plan.ts";
import { buildPlan, printPlan } from "../../compiler/plan/build-plan.ts";
import { sha256 } from "../../compiler/plan/sha256.ts";
import { ceildiv, constant, mul, one, symbol } from "../../compiler/types/dim.ts";
import { fromNumbers, openDevice, parsePlan, toNumbers } from "../../runtime/index.ts";
import type { HostTensor } from "../../runtime/index.ts";

const N = symbol("N");
const length = mul(N, constant(4));
const roofline = { bandwidth: 1e9, flops: 1e9 };

function kernelOf(name: string): Kernel {
  const buffer = (id: number, access: "read" | "write"): Kernel["buffers"][number] => ({
    id,
    name: access === "read" ? "source" : "goal",
    space: "global",
    dtype: "f32",
    length,
    access,
    align: 16,
  });
  return {
    name,
    buffers: [buffer(0, "read"), buffer(1, "write")],
    sizes: [{ name: "count", dim: length }],
    maps: [],
    grid: [ceildiv(length, constant(64)), one, one],
    threads: 1,
    body: [],
    summary: name,
    files: [],
  };
}

function launchOf(name: string, factor: number, values: readonly number[]): LaunchRequest {
  const text = `export function ${name}(buffers, sizes) {
  const [source, goal] = buffers;
  for (let i = 0; i < sizes[0]; i++) goal[i] = source[i] * ${factor};
}
`;
  const emitted = { text, entry: name, lines: [{ line: 3, source: "f.dsl:1:1" }], features: [] };
  return { kernel: kernelOf(name), emitted, values, bytes: mul(constant(32), N), flops: length, roofline };
}

const value = (id: number, inPlaceOf?: number): PlanValue => ({
  id,
  dtype: "f32",
  shape: [N, constant(4)],
  inPlaceOf,
});

const request: PlanRequest = {
  compiler: "weft test",
  program: "f.dsl:f",
  target: "js",
  extension: ".js",
  bound: new Map([["D", 4]]),
  dynamic: ["N"],
  checks: [{ left: N, relation: "<=", right: constant(100), message: "f.dsl:1:1: N <= 100" }],
  values: [value(10), value(11), value(12), value(13), value(14)],
  inputs: [{ name: "x", axes: ["N", "D"], role: "argument", value: 10 }],
  outputs: [{ name: "out", axes: ["N", "D"], role: "result", value: 14 }],
  preparation: [],
  launches: [
    launchOf("twice", 2, [10, 11]),
    launchOf("twice", 2, [11, 12]),
    launchOf("Twice", 3, [12, 13]),
    launchOf("twice", 2, [13, 14]),
  ],
};

test("a plan runs, shares kernels by text and temporaries by life, and is the same each time", async () => {
  const artifact = buildPlan(request);
  const { plan, files } = artifact;
  expect([...files.keys()]).toEqual(["twice.js", "Twice_2.js"]);
  expect(plan.launches.map((launch) => launch.kernel)).toEqual([0, 0, 1, 0]);
  expect(plan.kernels[0]?.sha256).toBe(sha256(files.get("twice.js") ?? ""));
  expect(plan.buffers.map(({ kind, offset }) => [kind, offset])).toEqual([
    ["input", undefined],
    ["output", undefined],
    ["temporary", "0"],
    ["temporary", "256 * ceildiv(N, 16)"],
    ["temporary", "0"],
  ]);
  expect(plan.temporaryBytes).toBe("512 * ceildiv(N, 16)");
  expect(plan.inputs[0]).toEqual({
    name: "x",
    dtype: "f32",
    shape: ["N", "4"],
    axes: ["N", "D"],
    role: "argument",
    buffer: 0,
  });
  expect(printPlan(buildPlan(request).plan)).toBe(printPlan(plan));

  const device = await openDevice("js");
  const loaded = await device.load({ plan: parsePlan(printPlan(plan)), files });
  const x = fromNumbers(
    "f32",
    [3, 4],
    Array.from({ length: 12 }, (_, i) => i),
  );
  const { outputs } = await loaded.run(new Map([["x", x]]), { keep: false, time: false });
  expect(Array.from(toNumbers(outputs.get("out") as HostTensor))).toEqual(
    Array.from({ length: 12 }, (_, i) => i * 24),
  );
  const long = fromNumbers("f32", [101, 4], new Float64Array(404));
  await expect(loaded.run(new Map([["x", long]]), { keep: false, time: false })).rejects.toThrow(
    "N <= 100 (N is 101, 100 is 100)",
  );
});

test("a state updated in place lies in its input's buffer", () => {
  const { plan } = buildPlan({
    ...request,
    values: [value(10), value(11, 10), value(12)],
    inputs: [{ name: "kv.pages", axes: ["N", "D"], role: "state", value: 10 }],
    outputs: [
      { name: "out", axes: ["N", "D"], role: "result", value: 12 },
      { name: "kv.pages", axes: ["N", "D"], role: "state", value: 11 },
    ],
    launches: [launchOf("twice", 2, [10, 11]), launchOf("twice", 2, [11, 12])],
  });
  expect(plan.buffers.map(({ kind }) => kind)).toEqual(["state", "output"]);
  expect(plan.outputs.map(({ buffer }) => buffer)).toEqual([1, 0]);
  expect(plan.launches.map(({ buffers }) => buffers)).toEqual([
    [0, 0],
    [0, 1],
  ]);
});

/** A launch whose kernel moves boxes of its first buffer; `columns` of them, though no text says so. */
function launchWithMap(columns: number): LaunchRequest {
  const launch = launchOf("boxes", 1, [10, 11]);
  const { kernel } = launch;
  const [buffer] = kernel.buffers;
  if (buffer === undefined) throw new Error("the kernel has no buffer");
  const map = {
    id: 0,
    name: "tiles",
    buffer,
    dims: [N, constant(4)],
    box: [8, columns],
    swizzle: 64,
  } as const;
  return { ...launch, kernel: { ...kernel, maps: [map] } };
}

test("maps: what they view by the kernel's buffers, extents by the launch", () => {
  const { plan } = buildPlan({
    ...request,
    outputs: [{ name: "out", axes: ["N", "D"], role: "result", value: 11 }],
    launches: [launchWithMap(4), launchWithMap(8)],
  });
  expect(plan.launches.map(({ kernel, maps }) => [kernel, maps])).toEqual([
    [0, [["N", "4"]]],
    [1, [["N", "4"]]],
  ]);
  expect(plan.kernels.map(({ file, maps }) => [file, maps])).toEqual([
    ["boxes.js", [{ name: "tiles", buffer: 0, dtype: "f32", box: [8, 4], swizzle: 64 }]],
    ["boxes.js", [{ name: "tiles", buffer: 0, dtype: "f32", box: [8, 8], swizzle: 64 }]],
  ]);
  const text = printPlan(plan);
  expect(parsePlan(text)).toEqual(JSON.parse(text));
  const damage = (edit: (copy: ReturnType<typeof JSON.parse>) => void): string => {
    const copy = JSON.parse(text);
    edit(copy);
    return JSON.stringify(copy);
  };
  const rows: readonly (readonly [string, string])[] = [
    [damage((copy) => delete copy.kernels[0].maps), "kernels[0].maps is missing, and a list"],
    [damage((copy) => delete copy.launches[0].maps), "launches[0].maps is missing, and a list"],
    [damage((copy) => (copy.launches[1].maps = [])), "launches[1].maps is [], and 1 maps"],
    [damage((copy) => copy.launches[0].maps[0].pop()), 'launches[0].maps[0] is ["N"], and 2 sizes'],
    [
      damage((copy) => (copy.kernels[0].maps[0].buffer = 2)),
      "kernels[0].maps[0].buffer is 2, and an id below 2",
    ],
    [
      damage((copy) => (copy.kernels[0].maps[0].dtype = "bf16")),
      'maps[0].dtype is "bf16", and its buffer\'s f32',
    ],
    [damage((copy) => (copy.kernels[0].maps[0].box = [])), "maps[0].box is [], and 1 to 5 extents"],
    [
      damage((copy) => (copy.kernels[0].maps[0].box[1] = 257)),
      "maps[0].box[1] is 257, and an integer from 1 to 256",
    ],
    [
      damage((copy) => (copy.kernels[0].maps[0].swizzle = 16)),
      "maps[0].swizzle is 16, and 0 or 32 or 64 or 128",
    ],
  ];
  for (const [damaged, message] of rows) expect(() => parsePlan(damaged), message).toThrow(message);
});

test("what is wrong with a plan from outside is named with its place", () => {
  const good = JSON.parse(printPlan(buildPlan(request).plan));
  const damage = (edit: (plan: typeof good) => void): string => {
    const copy = structuredClone(good);
    edit(copy);
    return JSON.stringify(copy);
  };
  const rows: readonly (readonly [string, string])[] = [
    ["{", "plan.json is not JSON"],
    ["[]", "the whole is [], and an object is expected"],
    ['{"schema":1}', "has the schema 1, and this runtime reads 4"],
    ['{"__proto__":{"schema":4}}', "has the schema undefined"],
    [damage((plan) => delete plan.kernels), "kernels is missing, and a list is expected"],
    [
      damage((plan) => (plan.kernels[0].file = "../escape.js")),
      'kernels[0].file is "../escape.js", and a file name',
    ],
    [damage((plan) => (plan.kernels[0].entry = "f(); process")), "kernels[0].entry"],
    [
      damage((plan) => (plan.kernels[0].threads = 1e9)),
      "kernels[0].threads is 1000000000, and an integer from 1 to 1024",
    ],
    [damage((plan) => (plan.inputs[0].dtype = "f64")), 'inputs[0].dtype is "f64", and f32 or f16'],
    [damage((plan) => (plan.inputs[0].shape[0] = "N /")), 'inputs[0].shape[0] is "N /", and a size'],
    [damage((plan) => (plan.launches[3].kernel = 7)), "launches[3].kernel is 7, and an id below 2"],
    [damage((plan) => (plan.launches[3].buffers[1] = 9)), "launches[3].buffers[1] is 9, and an id below 5"],
    [damage((plan) => plan.launches[0].buffers.pop()), "launches[0].buffers is [0], and 2 buffers"],
    [damage((plan) => (plan.launches[0].sizes = [])), "launches[0].sizes is [], and 1 sizes"],
    [damage((plan) => (plan.outputs[0].buffer = 2)), "outputs[0].buffer is 2, and no temporary"],
    [damage((plan) => (plan.buffers[1].id = 0)), "buffers[1].id is 0, and 1 is expected"],
    [damage((plan) => delete plan.buffers[2].offset), "buffers[2].offset is missing, and a size"],
    [damage((plan) => (plan.dims.bound.D = -1)), "dims.bound.D is -1"],
  ];
  for (const [text, message] of rows) expect(() => parsePlan(text), message).toThrow(message);
});
