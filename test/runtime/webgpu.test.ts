import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Device } from "../../runtime/index.ts";
import { openDevice } from "../../runtime/index.ts";
import { deviceTests, rowsOf } from "./device-tests.ts";
import { scalePlan, wgslTexts } from "./scale-plan.ts";

const plain = { keep: false, time: false };

// There is always an adapter where these tests run: SwiftShader where there is no GPU.
deviceTests("webgpu", wgslTexts);

describe("webgpu", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice("webgpu");
  });
  afterAll(() => device.close());

  test("says which adapter it is", () => {
    expect(device.description).toMatch(/^\S.*, through Dawn$/);
  });

  test("a kernel that does not compile is named with its source line, in the device's words", async () => {
    const broken = { ...wgslTexts, affine: wgslTexts.affine.replace("source[i] * 3.0", "nowhere[i] * 3.0") };
    await expect(device.load(scalePlan(broken))).rejects.toThrow(
      "kernel affine (scale.dsl:7:3), affine.wgsl:8: unresolved value 'nowhere'",
    );
  });

  test("a kernel whose bindings are not the plan's is refused by the device", async () => {
    const broken = {
      ...wgslTexts,
      double: wgslTexts.double.replace("var<storage, read> source", "var<storage, read_write> source"),
    };
    await expect(device.load(scalePlan(broken))).rejects.toThrow(
      "kernel double (scale.dsl:7:3), double.wgsl: ",
    );
  });

  test("a plan for another target, a missing file, a feature that is not there, a grid too large", async () => {
    await expect(device.load(scalePlan({ ...wgslTexts, target: "js" }))).rejects.toThrow(
      "scale.dsl:scale is compiled for js, and the device webgpu takes wgsl",
    );
    await expect(device.load({ ...scalePlan(wgslTexts), files: new Map() })).rejects.toThrow(
      "affine.wgsl, kernel affine, is missing",
    );
    const odd = scalePlan(wgslTexts, (plan) => ({
      ...plan,
      kernels: plan.kernels.map((kernel) => ({
        ...kernel,
        features: ["core-features-and-limits-of-tomorrow"],
      })),
    }));
    await expect(device.load(odd)).rejects.toThrow(
      "needs the WebGPU feature core-features-and-limits-of-tomorrow",
    );
    const huge = scalePlan(wgslTexts, (plan) => ({
      ...plan,
      launches: plan.launches.map((launch) => ({ ...launch, grid: ["1000000 * N", "1", "1"] as const })),
    }));
    const loaded = await device.load(huge);
    await expect(loaded.run(rowsOf(2), plain)).rejects.toThrow("launching the plan: ");
  });
});
