import { expect, test } from "vitest";
import { loadJs } from "../../kernel/execute.ts";
import { contractionKernel } from "./contraction.ts";

test("a contraction in JavaScript reaches half a GFLOP/s", async () => {
  const [rows, columns, inner] = [128, 128, 256];
  const { run } = await loadJs(contractionKernel(rows, columns, inner));
  const a = Float32Array.from({ length: rows * inner }, (_, k) => (k % 17) - 8);
  const w = Float32Array.from({ length: inner * columns }, (_, k) => (k % 13) - 6);
  const y = new Float32Array(rows * columns);
  let best = Infinity;
  for (let round = 0; round < 30; round += 1) {
    const start = performance.now();
    run([a, w, y], [], columns / 4, rows / 4, 1);
    best = Math.min(best, performance.now() - start);
  }
  const wanted = Array.from(
    { length: inner },
    (_, k) => (a[5 * inner + k] ?? 0) * (w[k * columns + 7] ?? 0),
  ).reduce((sum, x) => sum + x, 0);
  expect(y[5 * columns + 7]).toBe(wanted);
  expect((2e-6 * rows * columns * inner) / best).toBeGreaterThan(0.5);
});
