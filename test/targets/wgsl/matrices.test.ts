/** Kernels with a subgroup's matrices, as Dawn reads them. No device here runs them: its null device checks them. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compile } from "../../../compiler/index.ts";
import { emitWgsl } from "../../../compiler/targets/wgsl/emit.ts";
import { wgslMatrixCaps } from "../../../compiler/targets/wgsl/caps.ts";
import { wgsl } from "../../../compiler/targets/wgsl/index.ts";
import { parseKernel } from "../../../compiler/kernel/parse.ts";
import { compiled, programs } from "../../tile/cascade-programs.ts";
import { openNullDawn, type Gpu } from "./gpu.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openNullDawn();
});
afterAll(() => gpu.close());

const source = `dim M, N, K
fn rows(x: f16[M, K], w: f16[N, K]) -> f16[M, N] { for m, n: sum[k](x[m, k] * w[n, k]) }
fn columns(x: f16[M, K], w: f16[K, N], b: f32[N]) -> f32[M, N] { for m, n: max(sum[k](x[m, k] * w[k, n]) + b[n], 0.0) }
`;

function emitted(entry: string, dims: Readonly<Record<string, number>>): string {
  const { artifact } = compile({
    source: { file: "product.dsl", text: source },
    host: { read: () => undefined },
    entry,
    target: "wgsl:matrices",
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
  if (artifact === undefined) throw new Error("the product does not compile");
  const [kernel] = artifact.plan.kernels;
  expect(kernel?.features).toContain("chromium-experimental-subgroup-matrix");
  return artifact.files.get(`${entry}.wgsl`) ?? "";
}

test.each([
  ["rows", { M: 64, N: 64, K: 64 }],
  ["rows", { M: 24, N: 72, K: 40 }],
  ["columns", { M: 40, N: 64, K: 34 }],
  ["columns", { N: 64, K: 64 }],
] as const)("%s of %o", async (entry, dims) => {
  const text = emitted(entry, dims);
  const sizes = "M" in dims ? [] : (["uniform"] as const);
  const inputs = entry === "rows" ? (["read", "read"] as const) : (["read", "read", "read"] as const);
  await gpu.run({ text, entry, access: [...inputs, "storage", ...sizes] });
});

test.each(["causal", "heads that share keys"])("products that stream into others: %s", async (name) => {
  // The null device has the workgroup memory of every device, and subgroups of up to 128.
  const small = "schedule f on wgsl { tile T 16; threads 128 }";
  const text = `${(programs[name] ?? "").replaceAll("bf16", "f16")}\n${small}\n`;
  const dims = { B: 1, H: 2, G: 2, S: 128, T: 384, D: 16, Dv: 16 };
  const { artifact } = compiled(text, dims, "wgsl:matrices");
  if (artifact === undefined) throw new Error("the products do not compile");
  const own = artifact.plan.kernels.filter(({ features }) =>
    features.includes("chromium-experimental-subgroup-matrix"),
  );
  expect(own).toHaveLength(1);
  for (const { entry, file, buffers, sizes } of own) {
    const access = buffers.map((buffer) => (buffer.access === "read" ? "read" : "storage"));
    await gpu.run({
      text: artifact.files.get(file) ?? "",
      entry,
      access: sizes.length === 0 ? access : [...access, "uniform"],
    });
  }
});

test("the pinned kernel", async () => {
  const path = new URL("../../kernel/cases/multiplies-f16-matrices-by-subgroups.case", import.meta.url);
  const kernel = wgsl.legalize(
    parseKernel(readFileSync(path, "utf8").split("; ---- emit ")[0] ?? ""),
    wgslMatrixCaps,
  );
  const { text, entry } = emitWgsl(kernel);
  await gpu.run({ text, entry, access: ["read", "read", "storage"] });
});

test("the device refuses what is wrong", async () => {
  const text = emitted("rows", { M: 64, N: 64, K: 64 }).replace("col_major", "row_minor");
  await expect(gpu.run({ text, entry: "rows", access: ["read", "read", "storage"] })).rejects.toThrow(
    "row_minor",
  );
});
