/**
 * The CUDA device against a driver written in C for these tests (`fake-cuda.c`): signatures, parameters, graph
 * replay, errors. A C compiler is needed; where there is none the tests say so and fail.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import koffi from "koffi";
import { afterAll, describe, expect, test } from "vitest";
import type { Artifact } from "../../compiler/plan/plan.ts";
import type { DeviceTensor, HostTensor } from "../../runtime/index.ts";
import { fromNumbers, openDevice, toNumbers } from "../../runtime/index.ts";
import { deviceTests, rowsOf } from "./device-tests.ts";
import type { KernelTexts } from "./scale-plan.ts";
import { scalePlan } from "./scale-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-cuda-"));
const library = join(folder, "libcuda.so");
execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, resolve(import.meta.dirname, "fake-cuda.c")]);
process.env["WEFT_CUDA_PATH"] = library;
const count = koffi.load(library).func("int fakeCount(int)");
afterAll(() => {
  delete process.env["WEFT_CUDA_PATH"];
  rmSync(folder, { recursive: true });
});

const texts: KernelTexts = {
  target: "ptx:sm_90a",
  extension: ".ptx",
  affine: ".visible .entry affine(.param .u64 x, .param .u64 y, .param .u32 n)\n",
  double: ".visible .entry double(.param .u64 x, .param .u64 y, .param .u32 n)\n",
};

deviceTests("cuda", texts);

/** The plan's first launch with a kernel that has two maps instead, which the fake driver does not run. */
function mappedPlan(extents: readonly string[]): Artifact {
  const f32 = "f32" as const;
  const box = [8, 4, 1].slice(0, extents.length);
  return scalePlan(
    {
      ...texts,
      affine:
        ".visible .entry boxes(.param .u64 x, .param .u64 y, .param .u32 n, .param .align 64 .b8 a[128], .param .align 64 .b8 b[128])\n",
    },
    (plan) => ({
      ...plan,
      launches: plan.launches.map((launch, k) =>
        k === 0 ? { ...launch, maps: [extents, ["4 * N"]] } : launch,
      ),
      kernels: plan.kernels.map((kernel, k) =>
        k > 0
          ? kernel
          : {
              ...kernel,
              name: "boxes",
              entry: "boxes",
              maps: [
                { name: "tiles", buffer: 0, dtype: f32, box, swizzle: 64 },
                { name: "rows", buffer: 1, dtype: f32, box: [16], swizzle: 0 },
              ],
            },
      ),
    }),
  );
}

interface LoggedMap {
  readonly type: number;
  readonly rank: number;
  readonly swizzle: number;
  readonly address: bigint;
  readonly dims: readonly bigint[];
  readonly strides: readonly bigint[];
  readonly box: readonly number[];
}

/** A line of the fake driver's log: 8-byte parameters as pointers, those of 128 bytes as maps in its own layout. */
function launchOfLog(line: string): {
  readonly name: string;
  readonly pointers: readonly bigint[];
  readonly maps: readonly LoggedMap[];
} {
  const { name, parameters }: { readonly name: string; readonly parameters: readonly string[] } =
    JSON.parse(line);
  const views = parameters.map((hex) => new DataView(Uint8Array.from(Buffer.from(hex, "hex")).buffer));
  const map = (view: DataView): LoggedMap => {
    const rank = view.getUint8(1);
    const list = <T>(count: number, read: (k: number) => T): readonly T[] =>
      Array.from({ length: count }, (_, k) => read(k));
    return {
      type: view.getUint8(0),
      rank,
      swizzle: view.getUint8(2),
      address: view.getBigUint64(8, true),
      dims: list(rank, (k) => view.getBigUint64(16 + 8 * k, true)),
      strides: list(rank - 1, (k) => view.getBigUint64(56 + 8 * k, true)),
      box: list(rank, (k) => view.getUint32(88 + 4 * k, true)),
    };
  };
  return {
    name,
    pointers: views.filter((view) => view.byteLength === 8).map((view) => view.getBigUint64(0, true)),
    maps: views.filter((view) => view.byteLength === 128).map(map),
  };
}

describe("cuda", () => {
  const plain = { keep: false, time: false };

  test("says what it is and which targets it takes", async () => {
    const device = await openDevice("cuda");
    expect(device.description).toMatch(/^Fake GPU, (driver|CUDA) \d+\.\d+/);
    expect(device.targets).toEqual(["ptx:sm_90a", "ptx:sm_80"]);
    await device.close();
  });

  test("a second run on the same sizes allocates nothing and is one graph", async () => {
    const device = await openDevice("cuda");
    const plan = await device.load(scalePlan(texts));
    const first = await plan.run(rowsOf(40), plain);
    const [allocations, graphs, launches] = [count(0), count(1), count(2)];
    const second = await plan.run(rowsOf(40), plain);
    const third = await plan.run(rowsOf(40), plain);
    expect([count(0), count(1), count(2)]).toEqual([allocations, graphs + 2, launches]);
    for (const { outputs } of [second, third]) expect(outputs).toEqual(first.outputs);
    await plan.run(rowsOf(42), plain);
    expect([count(1), count(2)]).toEqual([graphs + 2, launches + 2]);
    const { timings } = await plan.run(rowsOf(42), { keep: false, time: true });
    expect(timings).toEqual([
      { kernel: "affine", seconds: 0.00025 },
      { kernel: "double", seconds: 0.00025 },
    ]);
    await device.close();
  });

  test("a measured plan is a graph of all sets, flushed where it is to be cold", async () => {
    const device = await openDevice("cuda");
    expect(device.cacheBytes).toBe(2 ** 20);
    const plan = await device.load(scalePlan(texts));
    const x = await device.upload(rowsOf(4).get("x") as HostTensor);
    const sets = [new Map([["x", x]]), rowsOf(4), rowsOf(4)];
    const [graphs, live] = [count(1), count(3)];
    const { runs } = await plan.measure(sets, { samples: 3, sampleSeconds: 0.001, flushBytes: 0 });
    // The fake's events are 0.25 ms apart: four passes make a sample, and each is a third of that a set.
    for (const seconds of runs) expect(seconds).toBeCloseTo(0.00025 / 4 / 3, 9);
    // Of all launches and of each of the two: a pass to size the sample by, and its lead, then 3 x (4 and a lead).
    expect(count(1)).toBe(graphs + 3 * (2 + 3 * 5));
    expect(count(3)).toBe(live);
    const flushes = count(4);
    const cold = await plan.measure(sets, { samples: 3, sampleSeconds: 1, flushBytes: 2 ** 21 });
    expect(cold.runs).toEqual([0.00025, 0.00025, 0.00025]);
    expect(count(4)).toBe(flushes + 3 * 4);
    await device.close();
  });

  test("states are put back before each run that is measured", async () => {
    const device = await openDevice("cuda");
    const plan = await device.load(
      scalePlan(texts, (plan_) => ({
        ...plan_,
        inputs: plan_.inputs.map((input) => ({ ...input, role: "state" as const })),
        outputs: plan_.outputs.map((output) => ({ ...output, role: "state" as const, buffer: 0 })),
        buffers: plan_.buffers.filter(({ id }) => id !== 1).map((buffer, id) => ({ ...buffer, id })),
        launches: plan_.launches.map((launch) => ({
          ...launch,
          buffers: launch.buffers.map((id) => (id === 2 ? 1 : 0)),
        })),
      })),
    );
    const [graphs, options] = [count(1), { samples: 3, sampleSeconds: 1, flushBytes: 0 }];
    const { runs } = await plan.measure([rowsOf(4), rowsOf(4)], options);
    expect(runs).toEqual([0.00025, 0.00025, 0.00025]);
    expect(count(1)).toBe(graphs + 3 * 4);
    const onDevice = new Map([["x", await device.upload(rowsOf(4).get("x") as HostTensor)]]);
    await expect(plan.measure([onDevice], options)).rejects.toThrow(
      "the state 'x' is to be timed from a tensor on the host",
    );
    await device.close();
  });

  test("inputs that take turns have a graph each, and the contents of the run", async () => {
    const device = await openDevice("cuda");
    const plan = await device.load(scalePlan(texts));
    const made = (first: number): Promise<DeviceTensor> =>
      device.upload(fromNumbers("f32", [2, 4], [first, 0, 0, 0, 0, 0, 0, 0]));
    const tensors = await Promise.all([1, 2, 3].map(made));
    const firsts = async (): Promise<readonly number[]> => {
      const found: number[] = [];
      for (const x of tensors) {
        const { outputs } = await plan.run(new Map([["x", x]]), plain);
        found.push(toNumbers(outputs.get("out") as HostTensor)[0] ?? NaN);
      }
      return found;
    };
    const [graphs, launches] = [count(1), count(2)];
    expect(await firsts()).toEqual([8, 14, 20]);
    expect([count(1), count(2)]).toEqual([graphs, launches + 6]);
    expect(await firsts()).toEqual([8, 14, 20]);
    expect(await firsts()).toEqual([8, 14, 20]);
    expect([count(1), count(2)]).toEqual([graphs + 6, launches + 6]);
    // The middle one is replaced: new memory or the old, the run reads what lies there now.
    tensors[1]?.free();
    tensors[1] = await made(5);
    expect(await firsts()).toEqual([8, 32, 20]);
    plan.free();
    expect(count(3)).toBe(0);
    await device.close();
  });

  test("the graphs that are kept are bounded", async () => {
    const device = await openDevice("cuda");
    const plan = await device.load(scalePlan(texts));
    for (let rows = 2; rows < 202; rows += 2) {
      await plan.run(rowsOf(rows), plain);
      const { outputs } = await plan.run(rowsOf(rows), plain);
      expect(toNumbers(outputs.get("out") as HostTensor)[0]).toBe(-46);
    }
    expect(count(3)).toBe(64);
    await device.close();
    expect(count(3)).toBe(0);
  });

  test("tensors on the device are used where they lie", async () => {
    const device = await openDevice("cuda");
    const plan = await device.load(scalePlan(texts));
    const x = await device.upload(rowsOf(40).get("x") as HostTensor);
    const inputs = new Map([["x", x]]);
    const results = [];
    for (let k = 0; k < 4; k += 1) {
      const { outputs } = await plan.run(inputs, { keep: true, time: false });
      const out = outputs.get("out");
      if (out === undefined || !("device" in out)) throw new Error("the result was not kept");
      results.push(Array.from(toNumbers(await out.read())));
      out.free();
    }
    expect(results[0]?.slice(0, 3)).toEqual([-46, -40, -34]);
    for (const result of results) expect(result).toEqual(results[0]);
    await device.close();
  });

  test("the driver's own words, with the kernel and its source line", async () => {
    const device = await openDevice("cuda");
    await expect(device.load(scalePlan({ ...texts, affine: "broken" }))).rejects.toThrow(
      "kernel affine (scale.dsl:7:3), affine.ptx:3: CUDA_ERROR_INVALID_PTX: a PTX JIT compilation failed\n" +
        "ptxas application ptx input, line 3; error   : Unknown symbol 'broken'",
    );
    await expect(device.load(scalePlan({ ...texts, affine: "no entry" }))).rejects.toThrow(
      "cuModuleGetFunction affine: CUDA_ERROR_NOT_FOUND: named symbol not found",
    );
    const greedy = scalePlan(texts, (plan) => ({
      ...plan,
      kernels: plan.kernels.map((kernel) => ({
        ...kernel,
        sharedBytes: 300_000,
        dynamicSharedBytes: 300_000,
      })),
    }));
    await expect(device.load(greedy)).rejects.toThrow(
      "300000 bytes of shared memory: CUDA_ERROR_INVALID_VALUE: invalid argument",
    );
    const huge = scalePlan(texts, (plan) => ({
      ...plan,
      launches: plan.launches.map((launch) => ({ ...launch, grid: ["1000000 * N", "1", "1"] as const })),
    }));
    const loaded = await device.load(huge);
    await expect(loaded.run(rowsOf(4), plain)).rejects.toThrow(
      "kernel affine (scale.dsl:7:3), affine.ptx: cuLaunchKernel, grid 4000000 x 1 x 1, 64 threads, 0 dynamic shared bytes: CUDA_ERROR_INVALID_VALUE",
    );
    await device.close();
  });

  test("tensor maps are encoded from the buffer and the run's extents, and handed over by value", async () => {
    const log = join(folder, "maps.log");
    process.env["FAKE_CUDA_LOG"] = log;
    const device = await openDevice("cuda");
    const plan = await device.load(mappedPlan(["N", "4"]));
    for (const rows of [40, 40, 40, 42]) await plan.run(rowsOf(rows), plain);
    delete process.env["FAKE_CUDA_LOG"];
    const runs = readFileSync(log, "utf8").trim().split("\n").map(launchOfLog);
    expect(runs.map(({ name }) => name)).toEqual(Array.from({ length: 4 }, () => ["boxes", "double"]).flat());
    for (const [k, { pointers, maps }] of runs.filter(({ name }) => name === "boxes").entries()) {
      const rows = k === 3 ? 42n : 40n;
      // The driver counts dims from the fastest; FLOAT32 is 7, the swizzle of 64 bytes 2.
      expect(maps).toEqual([
        { type: 7, rank: 2, swizzle: 2, address: pointers[0], dims: [4n, rows], strides: [16n], box: [4, 8] },
        { type: 7, rank: 1, swizzle: 0, address: pointers[1], dims: [4n * rows], strides: [], box: [16] },
      ]);
    }
    await device.close();
  });

  test("what may begin early is launched so, behind another launch of the plan", async () => {
    const log = join(folder, "early.log");
    process.env["FAKE_CUDA_LOG"] = log;
    const device = await openDevice("cuda");
    const early = scalePlan(texts, (plan) => ({
      ...plan,
      launches: plan.launches.map((launch) => ({ ...launch, early: true as const })),
    }));
    const plan = await device.load(early);
    // Launch by launch, then as a graph.
    for (const rows of [40, 40, 42]) {
      const { outputs } = await plan.run(rowsOf(rows), plain);
      expect(outputs.get("out")).toMatchObject({ shape: [rows, 4] });
    }
    delete process.env["FAKE_CUDA_LOG"];
    const launches = readFileSync(log, "utf8").trim().split("\n");
    expect(launches.map((line) => /"dependent":(\d)/.exec(line)?.[1])).toEqual([
      "0",
      "1",
      "0",
      "1",
      "0",
      "1",
    ]);
    expect(
      launches.every((line) => line.includes('"block":[64,1,1]') && line.includes(',1,1],"block"')),
    ).toBe(true);
    await device.close();
  });

  test("a map that the driver refuses: its words, the kernel, and what is wrong", async () => {
    const device = await openDevice("cuda");
    const odd = await device.load(mappedPlan(["N", "2", "2"]));
    await expect(odd.run(rowsOf(40), plain)).rejects.toThrow(
      "kernel boxes (scale.dsl:7:3), affine.ptx: cuTensorMapEncodeTiled, tiles: f32[40, 2, 2] in boxes of 8 x 4 x 1, swizzle 64: " +
        "CUDA_ERROR_INVALID_VALUE: invalid argument; the stride of dim 2 is 8 bytes, and a multiple of 16 below 2^40 is needed; " +
        "a row of its box has 4 bytes, no multiple of 16",
    );
    const long = await device.load(mappedPlan(["N", "8"]));
    await expect(long.run(rowsOf(40), plain)).rejects.toThrow(
      "the map tiles: f32[40, 8] in boxes of 8 x 4, swizzle 64 has 1280 bytes, and its buffer 640",
    );
    await device.close();
  });

  test("a library by a relative path is refused", async () => {
    process.env["WEFT_CUDA_PATH"] = "libcuda.so";
    await expect(openDevice("cuda")).rejects.toThrow("WEFT_CUDA_PATH must be an absolute path");
    process.env["WEFT_CUDA_PATH"] = library;
  });
});
