import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/seed.ts"],
    // Simulated GPUs are slow, and two cores may be shared: a test is hung after this long, not before.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Dawn can end a process when it dies; the others go on.
    pool: "forks",
    maxWorkers: 2,
  },
});
