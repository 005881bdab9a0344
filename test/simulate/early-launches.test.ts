/**
 * Plans whose kernels may begin before the one ahead has ended: the same results under any order of their warps, and
 * without the wait a race.
 */
import { describe, expect, test } from "vitest";
import { openSource } from "../../compiler/cli/source-host.ts";
import { compile } from "../../compiler/compile.ts";
import type { Artifact } from "../../compiler/plan/plan.ts";
import { sha256 } from "../../compiler/plan/sha256.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { randomTensor } from "../../runtime/index.ts";

const { host } = openSource("README.md", process.cwd());
const wait = "griddepcontrol.wait;";

const chain = `dim N, D
fn chain(x: f32[N, D], w: f32[D]) -> f32[D] {
  let m = for d: max[n](x[n, d])
  let r = for n: sum[d](exp(x[n, d] - m[d]))
  for d: w[d] * sum[n](exp(x[n, d] - m[d]) / r[n])
}
`;
const product = `import std.nn { softmax }
dim M, N, K
fn product(x: bf16[M, K], w: bf16[N, K], v: bf16[N, K]) -> bf16[M, N] {
  let h = for m, n: bf16(sum[k](x[m, k] * w[n, k]))
  for m, n: sum[j in N](h[m, j] * bf16(sum[k](v[j, k] * v[n, k])))
}
`;

function compiled(text: string, dims: Record<string, number>, target = "ptx:sm_90a"): Artifact {
  const { artifact, diagnostics } = compile({
    source: { file: "early.dsl", text },
    host,
    entry: undefined,
    target,
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
  if (artifact === undefined) throw new Error(JSON.stringify(diagnostics));
  return artifact;
}

async function run(artifact: Artifact, together: boolean): Promise<readonly Uint8Array[]> {
  const device = await openSimulator({ apart: !together, seeds: together ? 6 : 1 });
  const plan = await device.load(artifact);
  const inputs = new Map(
    artifact.plan.inputs.map(({ name, dtype, shape }) => [
      name,
      randomTensor(dtype, shape.map(Number), { name, seed: 1, deviation: 1, low: 0, high: 2 }),
    ]),
  );
  const { outputs } = await plan.run(inputs, { keep: false, time: false });
  return [...outputs.values()].map((tensor) => ("bytes" in tensor ? tensor.bytes : new Uint8Array()));
}

describe.each<[string, string, Record<string, number>]>([
  ["reductions", chain, { N: 40, D: 33 }],
  ["products", product, { M: 64, N: 64, K: 128 }],
])("%s", (_, text, dims) => {
  const artifact = compiled(text, dims);

  test("each launch but the first may begin early, and waits", () => {
    expect(artifact.plan.launches.length).toBeGreaterThan(1);
    for (const [k, { early, kernel }] of artifact.plan.launches.entries()) {
      expect(early).toBe(k === 0 ? undefined : true);
      const file = artifact.files.get(artifact.plan.kernels[kernel]?.file ?? "") ?? "";
      expect(file.includes(wait)).toBe(k > 0);
      expect(file.includes("ld.global.nc")).toBe(k === 0 && file.includes("ld.global"));
    }
  });

  test("those after may begin once a block without roles has loaded", () => {
    for (const { kernel } of artifact.plan.launches.slice(0, -1)) {
      const file = artifact.files.get(artifact.plan.kernels[kernel]?.file ?? "") ?? "";
      const signal = file.indexOf("griddepcontrol.launch_dependents;");
      expect(signal === -1).toBe(file.includes("mbarrier"));
      if (signal !== -1) expect(file.slice(signal)).not.toMatch(/ld\.global/);
    }
  });

  test("together they give what they give one after another", async () => {
    expect(await run(artifact, true)).toEqual(await run(artifact, false));
  });

  test("without the wait there is a race", async () => {
    const files = new Map([...artifact.files].map(([name, file]) => [name, file.replaceAll(wait, "")]));
    const kernels = artifact.plan.kernels.map((kernel) => ({
      ...kernel,
      sha256: sha256(files.get(kernel.file) ?? ""),
    }));
    await expect(run({ plan: { ...artifact.plan, kernels }, files }, true)).rejects.toThrow(
      /race|read-before-arrival/,
    );
  });
});

test("sm_80 has no such launches", () => {
  const { plan } = compiled(chain, { N: 40, D: 33 }, "ptx:sm_80");
  expect(plan.launches.every(({ early }) => early === undefined)).toBe(true);
});
