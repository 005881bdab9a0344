/** Contractions, and those that stream into others, use block tiles: global loads are far fewer than multiply-adds. Counted in the kernels' text as it runs. */
import { describe, expect, test } from "vitest";
import type { Artifact } from "../../compiler/index.ts";
import { openDevice } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import type { Report } from "../../runtime/simulate/index.ts";
import { compiled, expectWithin, inputsOf, programs, ranOn } from "../tile/cascade-programs.ts";
import { driver, type Case } from "./driver.ts";

const size = { N: 128, M: 128, K: 64 };
const products = size.N * size.M * size.K;

function caseOf(entry: string): Case {
  const found = driver.cases.find((one) => one.name === entry);
  if (found === undefined) throw new Error(`no case ${entry}`);
  return found;
}

/** Bytes that the kernels read from global memory, in elements. */
async function simulated(entry: string, dtype: string, target: string): Promise<number> {
  const reports: Report[] = [];
  const device = await openSimulator({ onLaunch: (_, report) => reports.push(report) });
  const one = caseOf(entry);
  const compiled = driver.compileCase(one, { A: dtype }, target, size);
  const plan = await device.load(compiled.artifact);
  await plan.run(driver.inputsOf(one, compiled, size), { keep: false, time: false });
  const bytes = reports.reduce((sum, { counts }) => sum + (counts.bytes["global read"] ?? 0), 0);
  await device.close();
  return bytes / (dtype === "f32" ? 4 : 2);
}

describe("global loads for each multiply-add", () => {
  for (const target of ["ptx:sm_90a", "ptx:sm_80"]) {
    for (const dtype of ["f32", "bf16", "f16"]) {
      for (const entry of ["multiplied", "multiplied_plain"]) {
        test(`${target} ${entry} ${dtype}: one in 16 at most`, async () => {
          const loads = await simulated(entry, dtype, target);
          expect(loads).toBeGreaterThanOrEqual((size.N + size.M) * size.K);
          expect(loads).toBeLessThan(products / 16);
        });
      }
    }
  }

  const streamed = { B: 1, H: 1, S: 128, T: 96, D: 64, Dv: 64 };
  const own = streamed.S * streamed.D + streamed.T * (streamed.D + streamed.Dv);
  for (const dtype of ["f32", "bf16"]) {
    test(`ptx:sm_80 a product that streams into another, ${dtype}: one in 16 at most`, async () => {
      const made = compiled((programs["full"] ?? "").replaceAll("bf16", dtype), streamed, "ptx:sm_80");
      expect(made.artifact?.plan.launches).toHaveLength(1);
      const reports: Report[] = [];
      const device = await openSimulator({ onLaunch: (_, report) => reports.push(report) });
      const inputs = inputsOf(made);
      expectWithin(await ranOn(device, made, inputs), made, inputs);
      await device.close();
      const bytes = reports.reduce((sum, { counts }) => sum + (counts.bytes["global read"] ?? 0), 0);
      const loads = bytes / (dtype === "f32" ? 4 : 2);
      expect(loads).toBeGreaterThanOrEqual(own);
      expect(loads).toBeLessThan((streamed.S * streamed.T * (streamed.D + streamed.Dv)) / 16);
    });
  }

  test("js: one in 2 at most, counted by arrays that count their reads", async () => {
    const one = caseOf("multiplied");
    const compiled = driver.compileCase(one, { A: "f32" }, "js", size);
    const loads = countReads(compiled.artifact, [size.N * size.K, size.M * size.K, size.N * size.M]);
    expect(loads).toBeGreaterThanOrEqual((size.N + size.M) * size.K);
    expect(loads).toBeLessThanOrEqual(products / 2);
    await (await openDevice("js")).close();
  });
});

/** Runs the only kernel of a plan over arrays that count. */
function countReads(artifact: Artifact, lengths: readonly number[]): number {
  const [kernel] = artifact.plan.kernels;
  if (kernel === undefined || artifact.plan.launches.length !== 1) throw new Error("one kernel is expected");
  let reads = 0;
  const buffers = lengths.map(
    (length) =>
      new Proxy(new Float32Array(length), {
        get: (array, key) => {
          if (typeof key === "string" && /^[0-9]+$/.test(key)) reads += 1;
          return Reflect.get(array, key);
        },
        set: (array, key, value) => Reflect.set(array, key, value),
      }),
  );
  const body = (artifact.files.get(kernel.file) ?? "").replace(/^export function /m, "function ");
  const call: unknown = new Function(`${body}\nreturn ${kernel.entry};`)();
  if (typeof call !== "function") throw new Error("a function is expected");
  const [launch] = artifact.plan.launches;
  call(buffers, [], ...(launch?.grid.map(Number) ?? []));
  return reads;
}
