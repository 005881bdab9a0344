/**
 * What the cost model chooses where rows do not lie for wide accesses, held to what was measured on an H200: other
 * choices took two to four times as long (docs/benchmarks.md, "Products of odd sizes").
 */
import { expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";

const text = `
dim M, N, K
fn rows(x: bf16[M, K], w: bf16[N, K]) -> bf16[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
fn columns(x: bf16[M, K], w: bf16[K, N]) -> bf16[M, N] { for m, n: sum[k](x[m, k] * w[k, n]) }
`;

/** The first kernel's schedule block. */
function blockOf(entry: string, M: number, N: number, K: number): string {
  const compiled: Compiled = compile({
    source: { file: "odd.dsl", text },
    host: { read: () => undefined },
    entry,
    target: "ptx:sm_90a",
    dims: new Map(Object.entries({ M, N, K })),
    dtypes: new Map(),
  });
  return compiled.schedules[0]?.block ?? "";
}

const threadsOf = (block: string): number => Number(/threads (\d+)/.exec(block)?.[1]);

it("blocks of a few warps read rows element by element, so that many take turns", () => {
  expect(threadsOf(blockOf("rows", 1, 7167, 7167))).toBeLessThanOrEqual(256);
});

it("many threads go down columns whose end is no whole tile's", () => {
  expect(threadsOf(blockOf("columns", 1, 4104, 4104))).toBeGreaterThanOrEqual(512);
});

it.each([
  ["rows", 1000, 7167, 7167],
  ["columns", 1000, 7167, 4104],
])("%s of %i x %i x %i: not 128 sums a thread beside loads and stores one by one", (entry, M, N, K) => {
  const block = blockOf(entry, M, N, K);
  expect(block).toMatch(/tile M \d+, N \d+/);
  expect(block).not.toMatch(/tile M 128, N 256|tile M 256, N 128/);
});

it.each(["rows", "columns"])("tiles of 17 odd %s are shared by blocks", (entry) => {
  expect(blockOf(entry, 17, 7167, 7167)).toContain("shared 1");
});
