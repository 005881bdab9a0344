import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take minutes: whoever comes to one last would run it alone. */
const longest = ["device/runs", "device/tools", "tile/kernels", "device/random-sizes", "simulate/emitted"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files);
    const place = ({ moduleId }: TestSpecification): number => {
      const found = longest.findIndex((name) => moduleId.endsWith(`test/${name}.test.ts`));
      return found < 0 ? longest.length : found;
    };
    return others.toSorted((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/seed.ts"],
    sequence: { sequencer: LongestFirst },
    // Simulated GPUs are slow, and two cores may be shared: a test is hung after this long, not before.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Dawn can end a process when it dies; the others go on.
    pool: "forks",
    maxWorkers: 2,
  },
});
