/** Exploration of schedules: what plain order hides, how short the schedule that shows it is, and that it plays back. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  explore,
  formatSchedule,
  loadModule,
  parseSchedule,
  renderReproducer,
  type SimulateOptions,
} from "../../runtime/simulate/index.ts";
import { kernel, run, runSample, type Sample } from "./harness.ts";
import { bulkRing } from "./kernels.mjs";

const input = new Uint32Array(64);

// The value decides: warp 1 goes wrong only where it runs before warp 0's store has been seen.
const dependsOnOrder = kernel(
  `setp.ne.u32 p0, warp, 0;
  @p0 bra READER;
  st.relaxed.gpu.global.u32 [in], 1;
  bra DONE;
  READER:
  ld.relaxed.gpu.global.u32 r0, [in];
  setp.ne.u32 p1, r0, 0;
  @p1 bra DONE;
  trap;
  DONE:`,
);
const trial = (options: SimulateOptions) =>
  run(dependsOnOrder, input, 16, { block: [64, 1, 1] }, options).report;

test("plain order hides it, some seed shows it, and few choices are enough", () => {
  expect(trial({ seed: 0 }).findings).toEqual([]);
  const { reproducers } = explore(trial, { seeds: 32 });
  expect(reproducers.map((r) => r.finding.code)).toEqual(["trap"]);
  const [{ finding, seed, schedule }] = reproducers as [(typeof reproducers)[0]];
  expect(schedule.length).toBeGreaterThan(0);
  expect(schedule.length).toBeLessThanOrEqual(2);
  const again = trial({ seed, schedule });
  expect(again.findings.map((f) => [f.code, f.at.ptxLine])).toEqual([[finding.code, finding.at.ptxLine]]);
  expect(parseSchedule(formatSchedule(schedule))).toEqual(schedule);
  expect(renderReproducer(reproducers[0]!)).toContain(`shortest schedule: ${formatSchedule(schedule)}`);
});

test("a seed gives the same run each time, and seeds differ", () => {
  const ring = bulkRing() as Sample;
  const module = loadModule(ring.ptx);
  const schedules = [1, 2, 3, 4].map((seed) => runSample(ring, { seed }, ring.ptx, module).report.schedule);
  expect(schedules).toEqual(
    [1, 2, 3, 4].map((seed) => runSample(ring, { seed }, ring.ptx, module).report.schedule),
  );
  expect(new Set(schedules.map(formatSchedule)).size).toBe(4);
});

test("a finding of plain order needs no schedule", () => {
  const racy = kernel("st.global.u32 [out], warp;");
  const { reproducers } = explore((options) => run(racy, input, 16, { block: [64, 1, 1] }, options).report, {
    seeds: 4,
  });
  expect(reproducers.map((r) => [r.finding.code, r.schedule])).toContainEqual(["race", []]);
});

// Runs plans on the simulator, so it knows what a plan is; the simulator does not know it.
const adapter = "plan-device.ts";

test("the simulator imports nothing of Node, of the compiler, or of a package", () => {
  const folder = new URL("../../runtime/simulate/", import.meta.url);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".ts") && name !== adapter,
  );
  expect(files.length).toBeGreaterThan(40);
  for (const name of files) {
    const text = readFileSync(new URL(name, folder), "utf8");
    const imports = [...text.matchAll(/from "([^"]+)"/g)].map((match) => match[1]!);
    // Relative, and never above runtime/simulate.
    const depth = name.split("/").length - 1;
    for (const path of imports)
      expect([
        name,
        path.startsWith("./") || (path.startsWith("../") && depth > 0 && !path.startsWith("../../")),
      ]).toEqual([name, true]);
  }
});
