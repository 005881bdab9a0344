/**
 * Every program at sizes drawn at random, one among them: on the JavaScript device and, some of the programs in each
 * run, on the PTX simulator and on Dawn, each element within the reference's bound. Sizes are open until the run or
 * known when the program is compiled, as drawn. A failure prints the seed, with the smallest sizes that fail;
 * `WEFT_SEED` repeats the run.
 */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { render, type Compiled } from "../../compiler/index.ts";
import { openDevice, type Device } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { openDawn } from "../targets/wgsl/gpu.ts";
import { driver, type Case, type Sizes } from "./driver.ts";
import { deviceOf } from "./gpu-device.ts";

const seed = Number(process.env["WEFT_SEED"] ?? Date.now() % 2 ** 31);

interface Runs {
  readonly targets: readonly string[];
  readonly open: () => Promise<Device>;
  readonly draws: number;
  /** The product of a program's sizes, at most: what is computed at each point of all axes takes this many steps. */
  readonly volume: number;
  /** Each program has its turn once in so many runs. */
  readonly every: number;
  /** Programs of more dims have more kernels than the device has time for: SwiftShader compiles each for seconds. */
  readonly dims?: number;
}

const devices: Readonly<Record<string, Runs>> = {
  js: { targets: ["js"], open: () => openDevice("js"), draws: 2, volume: 6000, every: 1 },
  simulator: {
    targets: ["ptx:sm_90a", "ptx:sm_80"],
    open: () => openSimulator(),
    draws: 1,
    volume: 300,
    every: 3,
  },
  Dawn: {
    targets: ["wgsl"],
    open: async () => deviceOf(await openDawn()),
    draws: 1,
    volume: 600,
    every: 16,
    dims: 8,
  },
};

/**
 * One case of each program: those that `cases` keeps apart by what they bind at compile time differ in sizes alone.
 * What is for some targets only, since it is slow, has the sizes that it has.
 */
const programs = [
  ...new Map(
    driver.cases.filter(({ on }) => on === undefined).map((one) => [`${one.file}:${one.entry}`, one]),
  ).values(),
];

const size = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(1, 2, 3) },
  { weight: 2, arbitrary: fc.nat(15).map((k) => 2 * k + 1) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 40 }) },
  { weight: 2, arbitrary: fc.constantFrom(16, 31, 32, 33, 63, 64, 65, 127, 128, 129) },
  { weight: 1, arbitrary: fc.integer({ min: 65, max: 400 }) },
);

/** Sizes for all dims of a program; the dims drawn first may be large, the others share what is left. */
function sizesOf(one: Case, volume: number): fc.Arbitrary<Sizes> {
  const dims = Object.keys({ ...one.bound, ...one.sizes[0] });
  const all = { minLength: dims.length, maxLength: dims.length };
  return fc.tuple(fc.shuffledSubarray(dims, all), fc.array(size, all)).map(([names, drawn]) => {
    // A program of many dims has many kernels.
    let left = Math.ceil(volume / Math.max(1, dims.length - 4));
    const own: Record<string, number> = {};
    for (const [k, name] of names.entries()) {
      const value = Math.min(drawn[k] ?? 1, Math.max(1, left));
      own[name] = value;
      left = Math.floor(left / value);
    }
    return { ...own, ...one.fit(own) };
  });
}

const share = { elements: 0, unbounded: 0 };

for (const [name, { targets, open, draws, volume, every, dims = Infinity }] of Object.entries(devices)) {
  const device = await open().catch((error: unknown) => String(error).split("\n")[0] ?? "");
  const missing = typeof device === "string" ? `, skipped: ${device}` : "";
  describe.skipIf(typeof device === "string")(`${name}, WEFT_SEED=${seed}${missing}`, () => {
    if (typeof device === "string") return;
    afterAll(() => device.close());
    for (const [n, one] of programs.entries()) {
      if ((n + seed) % every !== 0 || Object.keys({ ...one.bound, ...one.sizes[0] }).length > dims) continue;
      test(`${one.file}:${one.entry}`, async () => {
        const draw = fc.record({
          sizes: sizesOf(one, volume),
          types: fc.constantFrom(...one.types),
          known: fc.boolean(),
          target: fc.constantFrom(...targets),
        });
        const property = fc.asyncProperty(draw, async ({ sizes, types, known, target }) => {
          const bound = Object.fromEntries(Object.keys(one.bound).map((dim) => [dim, sizes[dim] ?? 1]));
          // How much may be unpromised depends on the sizes; over all programs it is little, see below.
          const own = { ...one, bound, unpromised: 1 };
          const program = driver.attempt(own, types, undefined, sizes);
          fc.pre(admitted(program));
          const inputs = driver.inputsOf(own, program, sizes);
          const expected = driver.referenceOf(program, inputs, sizes);
          const { artifact } = driver.compileCase(own, types, target, known ? sizes : {});
          const loaded = await device.load(artifact);
          const run = await driver.compareRun(own, artifact.plan, loaded, inputs, expected);
          loaded.free();
          share.elements += run.elements;
          share.unbounded += run.unbounded;
          expect(run.problems).toEqual([]);
        });
        await fc.assert(property, {
          seed: seed + n,
          numRuns: draws,
          maxSkipsPerRun: 5000,
          interruptAfterTimeLimit: 60_000,
        });
      });
    }
  });
}

test("the reference promises something about nearly all elements", () => {
  expect(share.elements).toBeGreaterThan(0);
  expect(share.unbounded / share.elements).toBeLessThan(0.05);
});

/** Whether a program's own conditions allow its sizes; any other refusal is not expected. */
function admitted({ diagnostics, sources }: Compiled): boolean {
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const others = errors.filter(({ code }) => code !== "WF2701");
  if (others.length > 0) throw new Error(render(others, { colour: false, sources }));
  return errors.length === 0;
}
