/** What holds on every device, tried with the plan written by hand. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Device, DeviceName, DeviceTensor, HostTensor } from "../../runtime/index.ts";
import { DeviceError, fromNumbers, openDevice, toNumbers } from "../../runtime/index.ts";
import type { KernelTexts } from "./scale-plan.ts";
import { preparing, scalePlan } from "./scale-plan.ts";

const plain = { keep: false, time: false };
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => (i % 17) - 8);
const expected = (rows: number): number[] => numbers(4 * rows).map((x) => (x * 3 + 1) * 2);
const host = (tensor: unknown): number[] => Array.from(toNumbers(tensor as HostTensor));

/** The plan's input. */
export function rowsOf(rows: number): Map<string, HostTensor> {
  return new Map([["x", fromNumbers("f32", [rows, 4], numbers(4 * rows))]]);
}

export function deviceTests(name: DeviceName, texts: KernelTexts): void {
  describe(`${name}: what every device does`, () => {
    let device: Device;
    beforeAll(async () => {
      device = await openDevice(name);
    });
    afterAll(() => device.close());

    test("two launches over a temporary, at several sizes, one after the other and at once", async () => {
      const plan = await device.load(scalePlan(texts));
      for (const rows of [2, 34, 2, 1000]) {
        const { outputs, timings } = await plan.run(rowsOf(rows), plain);
        expect(host(outputs.get("out"))).toEqual(expected(rows));
        expect(timings).toEqual([]);
      }
      const results = await Promise.all([4, 6, 4].map((rows) => plan.run(rowsOf(rows), plain)));
      expect(results.map(({ outputs }) => host(outputs.get("out")))).toEqual([4, 6, 4].map(expected));
      plan.free();
      await expect(plan.run(rowsOf(2), plain)).rejects.toThrow("the plan has been freed");
    });

    test("an empty tensor launches nothing", async () => {
      const plan = await device.load(scalePlan(texts));
      const { outputs } = await plan.run(rowsOf(0), plain);
      expect(outputs.get("out")).toMatchObject({ dtype: "f32", shape: [0, 4] });
    });

    test("results kept on the device go into the next run, and outlive the plan's own memory", async () => {
      const plan = await device.load(scalePlan(texts));
      const x = await device.upload(rowsOf(4).get("x") as HostTensor);
      const first = await plan.run(new Map([["x", x]]), { keep: true, time: false });
      const kept = first.outputs.get("out");
      if (kept === undefined || !("device" in kept)) throw new Error("the result was not kept");
      const second = await plan.run(new Map([["x", kept]]), plain);
      expect(host(second.outputs.get("out"))).toEqual(expected(4).map((value) => (value * 3 + 1) * 2));
      expect(host(await kept.read())).toEqual(expected(4));
      kept.free();
      await expect(kept.read()).rejects.toThrow("has been freed");
      expect(host(await x.read())).toEqual(numbers(16));
    });

    test("a plan is measured over sets of inputs, as a whole and by launch", async () => {
      const plan = await device.load(scalePlan(texts));
      const sets = [rowsOf(4), rowsOf(4), rowsOf(4)];
      const options = { samples: 5, sampleSeconds: 0, flushBytes: 0 };
      const { runs, launches, clock } = await plan.measure(sets, options);
      expect(runs).toHaveLength(5);
      expect(launches.map(({ kernel, seconds }) => [kernel, seconds.length])).toEqual([
        [0, 5],
        [1, 5],
      ]);
      for (const seconds of [...runs, ...launches.flatMap((launch) => launch.seconds)]) {
        expect(seconds).toBeGreaterThanOrEqual(0);
        expect(seconds).toBeLessThan(10);
      }
      expect(clock).toBe(name === "cuda" ? "device" : "host");
      expect((await plan.measure([rowsOf(0)], options)).launches).toEqual([]);
      const { outputs } = await plan.run(rowsOf(4), plain);
      expect(host(outputs.get("out"))).toEqual(expected(4));
      if (device.cacheBytes === undefined)
        await expect(plan.measure(sets, { ...options, flushBytes: 4096 })).rejects.toThrow(
          "the size of its cache",
        );
      plan.free();
    });

    test("what is made of parameters is made once, for each of them, and of no use to another", async () => {
      const plan = await device.load(scalePlan(texts, preparing));
      const tensors = [4, 6].map((rows) => rowsOf(rows).get("x") as HostTensor);
      const placed = await Promise.all(tensors.map((tensor) => device.upload(tensor)));
      for (const at of [0, 0, 1, 0]) {
        const inputs = new Map([["x", placed[at] as DeviceTensor]]);
        const { outputs, timings } = await plan.run(inputs, { keep: false, time: true });
        expect(timings.map(({ kernel }) => kernel)).toEqual(["double"]);
        expect(host(outputs.get("out"))).toEqual(expected(at === 0 ? 4 : 6));
      }
      const options = { samples: 2, sampleSeconds: 0, flushBytes: 0 };
      const { launches } = await plan.measure(
        [rowsOf(4), new Map([["x", placed[0] as DeviceTensor]])],
        options,
      );
      expect(launches.map(({ kernel }) => kernel)).toEqual([1]);
      const { outputs } = await plan.run(rowsOf(6), plain);
      expect(host(outputs.get("out"))).toEqual(expected(6));
      plan.free();
      for (const tensor of placed) tensor.free();
    });

    test("each launch is timed", async () => {
      const plan = await device.load(scalePlan(texts));
      const { timings } = await plan.run(rowsOf(1000), { keep: false, time: true });
      expect(timings.map((timing) => timing.kernel)).toEqual(["affine", "double"]);
      for (const { seconds } of timings) expect(seconds).toBeGreaterThanOrEqual(0);
    });

    test("a tensor of bytes whose length is no multiple of four comes back whole", async () => {
      const tensor = await device.upload(fromNumbers("u8", [7], [1, 2, 3, 4, 5, 6, 7]));
      expect(host(await tensor.read())).toEqual([1, 2, 3, 4, 5, 6, 7]);
    });

    const refused: readonly (readonly [string, Map<string, HostTensor>, string])[] = [
      ["missing", new Map(), "input 'x' is missing: f32[N, 4]"],
      ["unknown", new Map([...rowsOf(2), ["z", fromNumbers("f32", [], [1])]]), "has no input 'z'; it has x"],
      [
        "of another dtype",
        new Map([["x", fromNumbers("f16", [2, 4], numbers(8))]]),
        "is f16[2, 4], and f32[N, 4]",
      ],
      ["of another rank", new Map([["x", fromNumbers("f32", [8], numbers(8))]]), "is f32[8], and f32[N, 4]"],
      [
        "misshapen",
        new Map([["x", fromNumbers("f32", [2, 5], numbers(10))]]),
        "axis 2 has 5 elements, and 4 are expected",
      ],
      ["odd", rowsOf(3), "scale.dsl:1:5: N % 2 == 0 does not hold (mod(N, 2) is 1, 0 is 0)"],
    ];
    for (const [what, tensors, message] of refused) {
      test(`an input that is ${what} is refused, and the plan still runs`, async () => {
        const plan = await device.load(scalePlan(texts));
        const failure = await plan.run(tensors, plain).catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(DeviceError);
        expect(String(failure)).toContain(message);
        const { outputs } = await plan.run(rowsOf(2), plain);
        expect(host(outputs.get("out"))).toEqual(expected(2));
      });
    }
  });
}
