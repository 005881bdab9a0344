/** What is computed from parameters alone runs before the first run, and again when a parameter is another one. */
import { describe, expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import type { Artifact } from "../../compiler/plan/plan.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import {
  fromNumbers,
  openDevice,
  toNumbers,
  type DeviceTensor,
  type HostTensor,
} from "../../runtime/index.ts";
import { parsePlan } from "../../runtime/plan/parse-plan.ts";
import { printPlan } from "../../compiler/plan/build-plan.ts";
import { testHost } from "../check/host.ts";

const layer = `dim N, G, D, F
module Layer {
  param w: bf16[G, F, D]
  fn forward(x: bf16[N, D]) -> bf16[N, G, F] { for n, g, f: sum[d](x[n, d] * w[g, f, d]) }
}
numerics Layer { contract: e4m3 @ (1, 128), (128, 128); accumulate: f32 every 128 }`;

function compiled(text: string, entry: string, dims: Readonly<Record<string, number>>) {
  const made = compile({
    source: { file: "layer.dsl", text },
    host: testHost(),
    entry,
    target: "js",
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
  if (made.artifact === undefined || made.graph === undefined)
    throw new Error(made.diagnostics.map((d) => d.message).join());
  return { artifact: made.artifact, graph: made.graph };
}

const [G, D, F] = [2, 256, 32];
const values = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, k) => (((k + 1) * (seed * 2 + 7919)) % 251) / 64 - 2);
const rows = (count: number, seed: number): HostTensor =>
  fromNumbers("bf16", [count, D], values(count * D, seed));
const weight = (seed: number): HostTensor => fromNumbers("bf16", [G, F, D], values(G * F * D, seed));
type Given = HostTensor | DeviceTensor;
const given = (x: Given, w: Given): Map<string, Given> =>
  new Map([
    ["x", x],
    ["w", w],
  ]);
const plain = { keep: false, time: false };
const numbers = (tensor: unknown): number[] => Array.from(toNumbers(tensor as HostTensor));

/** Each element is as near to the interpreter's as its bound says. */
function expectReference(
  { arena, graph }: NonNullable<Compiled["graph"]>,
  inputs: ReadonlyMap<string, HostTensor>,
  dims: ReadonlyMap<string, number>,
  out: unknown,
): void {
  const { results, bounds } = interpret(arena, graph, inputs, dims, { bounds: "error", errors: true });
  const [goal, bound] = [numbers(results.get("out")), bounds.get("out") ?? []];
  const off = numbers(out).filter((value, k) => !(Math.abs(value - (goal[k] ?? NaN)) <= (bound[k] ?? 0)));
  expect(off).toEqual([]);
}

/** The artifact with kernels that count, under a name, how often those of the preparation are launched. */
function counting({ plan, files }: Artifact, name: string): Artifact {
  const own = new Set(plan.preparation.map(({ kernel }) => plan.kernels[kernel]?.file));
  const counted = [...files].map(([file, text]): [string, string] => [
    file,
    own.has(file)
      ? text.replace(/^(export function [^{]*\{)/m, `$1 globalThis.${name} = (globalThis.${name} ?? 0) + 1;`)
      : text,
  ]);
  return { plan, files: new Map(counted) };
}

describe("preparation", () => {
  const { artifact, graph } = compiled(layer, "Layer.forward", { N: 4, G, D, F });

  it("the weight's codes and scales are the plan's to prepare, and kept", () => {
    const { preparation, launches, kernels, buffers } = parsePlan(printPlan(artifact.plan));
    const names = (list: typeof launches): string[] =>
      list.map(({ kernel }) => kernels[kernel]?.name ?? "").sort();
    expect(names(preparation).every((name) => /w_(?:scale|code)/.test(name))).toBe(true);
    expect(names(launches).every((name) => !name.includes("w_"))).toBe(true);
    expect(buffers.filter(({ kind }) => kind === "prepared").map(({ bytes }) => bytes)).toEqual(
      expect.arrayContaining([String(G * F * D), String(4 * G * 2)]),
    );
    const weightId = artifact.plan.inputs.find(({ role }) => role === "param")?.buffer ?? -1;
    expect(launches.flatMap((launch) => launch.buffers)).not.toContain(weightId);
  });

  it("is made once for the same parameters, and results are the interpreter's", async () => {
    const device = await openDevice("js");
    const plan = await device.load(counting(artifact, "once"));
    const count = (): unknown => Reflect.get(globalThis, "once");
    const weights = [weight(1), weight(2)] as const;
    const placed = await Promise.all(weights.map((w) => device.upload(w)));
    const made = artifact.plan.preparation.length;
    const steps = [
      { weight: 0, prepared: 1 },
      { weight: 0, prepared: 1 },
      { weight: 1, prepared: 2 },
      { weight: 1, prepared: 2 },
      { weight: 0, prepared: 3 },
    ];
    for (const [k, { weight: at, prepared }] of steps.entries()) {
      const [x, w, host] = [rows(4, k), placed[at], weights[at]];
      if (w === undefined || host === undefined) throw new Error("two weights");
      const { outputs } = await plan.run(given(x, w), plain);
      const inputs = new Map([
        ["x", x],
        ["w", host],
      ]);
      expectReference(graph, inputs, new Map(), outputs.get("out"));
      expect(count()).toBe(prepared * made);
    }
    // Of a tensor on the host nobody knows whether it was written.
    for (const prepared of [4, 5]) {
      await plan.run(given(rows(4, 1), weights[0]), plain);
      expect(count()).toBe(prepared * made);
    }
    plan.free();
    await device.close();
  });

  it("sizes of a run do not make it anew; what a plan has written as its state does", async () => {
    const device = await openDevice("js");
    // Written out, since at open sizes it may not pay.
    const body = "let q = quantize<e4m3 @ (128, 128)>(w)\n for n, g, f: sum[d](x[n, d] * q[g, f, d])";
    const written = layer.replace(/\{ for n[^}]*\}/, `{ ${body} }`).replace(/numerics.*/, "");
    const open = compiled(written, "Layer.forward", { G, D, F });
    const plan = await device.load(counting(open.artifact, "kept"));
    const count = (): unknown => Reflect.get(globalThis, "kept");
    const made = open.artifact.plan.preparation.length;
    expect(made).toBeGreaterThan(0);
    const pages = await device.upload(weight(1));
    for (const N of [1, 5, 3]) {
      await plan.run(given(rows(N, 1), pages), plain);
      expect(count()).toBe(made);
    }
    const text = `import std.cache { Paged }
      dim T, D
      fn append(x: bf16[1, 1, D], mut kv: Paged<bf16, 32>[1, T, D]) -> bf16[1, T, D] {
        kv.append(x)
        kv.read()
      }`;
    const cache = compiled(text, "append", { T: 2, D, kv_pages: G, kv_slots: 1 });
    const writer = await device.load(cache.artifact);
    const state = new Map<string, HostTensor | DeviceTensor>([
      ["x", fromNumbers("bf16", [1, 1, D], values(D, 5))],
      ["kv.pages", pages],
      ["kv.table", fromNumbers("i32", [1, 1], [1])],
      ["kv.length", fromNumbers("i32", [1], [3])],
    ]);
    await writer.run(state, plain);
    const changed = await pages.read();
    expect(numbers(changed).slice((F + 3) * D, (F + 4) * D)).toEqual(values(D, 5));
    const x = rows(4, 2);
    const { outputs } = await plan.run(given(x, pages), plain);
    expect(count()).toBe(2 * made);
    const inputs = new Map([
      ["x", x],
      ["w", changed],
    ]);
    expectReference(open.graph, inputs, new Map([["N", 4]]), outputs.get("out"));
    await device.close();
  });

  it("what is a result alone is computed in each run", () => {
    const text = `dim F, D
      module Wide {
        param w: bf16[F, D]
        fn forward() -> (wide: f32[F, D], rows: f32[F]) { (wide: for f, d: 2.0 * w[f, d], rows: for f: sum[d](w[f, d])) }
      }`;
    const { plan } = compiled(text, "Wide.forward", { D, F }).artifact;
    expect(plan.preparation).toEqual([]);
    expect(plan.buffers.map(({ kind }) => kind)).not.toContain("prepared");
  });
});
