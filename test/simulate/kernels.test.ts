/** The hand-written kernels: right, and without findings, under many schedules; and valid to ptxas. */
import { describe, expect, test } from "vitest";
import { renderFinding } from "../../runtime/simulate/index.ts";
import { assemble, runSample, type Sample } from "./harness.ts";
import { hasPtxas, needing } from "../targets/ptx/tools.ts";
import { allKernels } from "./kernels.mjs";

const samples = allKernels() as Sample[];

describe.each(samples.map((sample) => [sample.name, sample] as const))("%s", (_, sample) => {
  test("is right and clean under 12 seeds", () => {
    for (let seed = 0; seed < 12; seed++) {
      const { report, outputs } = runSample(sample, { seed });
      expect(report.findings.map(renderFinding)).toEqual([]);
      sample.check(outputs);
    }
  });

  test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, "is valid PTX"), () => {
    expect(assemble(sample.ptx)).toBe(undefined);
  });
});
