/**
 * Every program on every device that runs here, each element within the reference's bound: with all sizes open until
 * the run, and with all of them known. Sizes and dtypes take turns, so that devices that are slow see each of them
 * somewhere, and a case may name the targets that it is quick enough for; `export.mjs` runs all of all.
 */
import { afterAll, describe, expect, test } from "vitest";
import { openDevice, type Device } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { openDawn, openWgpu } from "../targets/wgsl/gpu.ts";
import { driver, problemsOf, text } from "./driver.ts";
import { deviceOf } from "./gpu-device.ts";

interface Runs {
  readonly name: string;
  readonly target: string;
  readonly open: () => Promise<Device>;
  /** Runs of a case with open sizes, and with known ones. */
  readonly most: readonly [number, number];
  /** Types that it is there for; all of them where left out. */
  readonly only?: string;
}

const devices: readonly Runs[] = [
  { name: "js", target: "js", open: () => openDevice("js"), most: [4, 1] },
  { name: "the PTX simulator, sm_90a", target: "ptx:sm_90a", open: () => openSimulator(), most: [1, 1] },
  { name: "the PTX simulator, sm_80", target: "ptx:sm_80", open: () => openSimulator(), most: [1, 0] },
  { name: "Dawn", target: "wgsl", open: async () => deviceOf(await openDawn()), most: [1, 0] },
  {
    name: "wgpu with shader-f16",
    target: "wgsl:f16",
    open: async () => deviceOf(await openWgpu()),
    most: [1, 0],
    only: "f16",
  },
];

/** `count` of the list, not the same ones for each `turn`. */
function some<T>(list: readonly T[], count: number, turn: number): readonly T[] {
  if (count >= list.length) return list;
  return Array.from(
    { length: count },
    (_, k) => list[(turn * 3 + k * Math.ceil(list.length / count) + 1) % list.length],
  ).filter((item) => item !== undefined);
}

for (const [k, { name, target, open, most, only }] of devices.entries()) {
  const [unknown, known] = most;
  const device = await open().catch((error: unknown) => String(error).split("\n")[0] ?? "");
  describe.skipIf(typeof device === "string")(
    typeof device === "string" ? `${name} (skipped: ${device})` : name,
    () => {
      if (typeof device === "string") return;
      afterAll(() => device.close());
      for (const [n, one] of driver.cases.entries()) {
        if (one.on !== undefined && !one.on.includes(target)) continue;
        const wanted = one.types.filter((types) => only === undefined || Object.values(types).includes(only));
        const types = name === "js" ? wanted : some(wanted, 1, n + k);
        for (const each of types) {
          test(`${one.name} ${text(each)}`, async () => {
            const problems = [
              ...(await problemsOf(one, each, device, target, some(one.sizes, unknown, n + k), false)),
              ...(await problemsOf(one, each, device, target, some(one.sizes, known, n + k + 1), true)),
            ];
            expect(problems).toEqual([]);
          });
        }
      }
    },
  );
}
