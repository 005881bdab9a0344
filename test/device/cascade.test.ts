/**
 * Products that stream through reductions into products, on every device that runs here and has no copy engine: small
 * and odd sizes, each element within the reference's bound. They share the programs out.
 */
import { afterAll, describe, expect, test } from "vitest";
import { openDevice, type Device } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { openDawn, openWgpu } from "../targets/wgsl/gpu.ts";
import { compiled, expectWithin, inputsOf, programs, ranOn } from "../tile/cascade-programs.ts";
import { deviceOf } from "./gpu-device.ts";

const sizes = { B: 1, H: 1, G: 3, S: 21, T: 39, D: 20, Dv: 12 };
const grouped = "heads that share keys";

const devices: readonly (readonly [string, string, readonly string[], () => Promise<Device>])[] = [
  [
    "the PTX simulator, sm_80",
    "ptx:sm_80",
    ["a mask by what stands at rows and columns", grouped, "with logsumexp"],
    () => openSimulator({ seeds: 2 }),
  ],
  [
    "Dawn",
    "wgsl",
    ["window", "with the logarithm of the weights' sum"],
    async () => deviceOf(await openDawn()),
  ],
  ["wgpu", "wgsl:f16", ["a mask that is given", grouped], async () => deviceOf(await openWgpu())],
  ["js", "js", ["causal", grouped, "relative to the least"], () => openDevice("js")],
];

for (const [name, target, own, open] of devices) {
  const device = await open().catch((error: unknown) => String(error).split("\n")[0] ?? "");
  describe.skipIf(typeof device === "string")(
    typeof device === "string" ? `${name} (skipped: ${device})` : name,
    () => {
      if (typeof device === "string") return;
      afterAll(() => device.close());
      test.each(own)("%s", async (program) => {
        const made = compiled(programs[program] ?? "", sizes, target);
        if (target !== "js") expect(made.artifact?.plan.launches).toHaveLength(1);
        const inputs = inputsOf(made);
        expectWithin(await ranOn(device, made, inputs), made, inputs);
      });
    },
  );
}
