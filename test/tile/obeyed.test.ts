/** `schedule` blocks: each choice that is printed can be put into the source and gives the same kernel, and what does not fit is refused with the arithmetic. */
import { describe, expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { openSource } from "../../compiler/cli/source-host.ts";

const linear = `dim N, D, F
fn linear(x: bf16[N, D], w: bf16[F, D]) -> bf16[N, F] { for n, f: sum[d](x[n, d] * w[f, d]) }
`;
const norm = `import std.nn { rmsnorm }
dim N, D
fn norm(x: bf16[N, D], g: f32[D]) -> bf16[N, D] { rmsnorm(x, g) }
`;
const quantised = `import std.nn { rmsnorm }
dim N, D
fn quantised(x: bf16[N, D], g: f32[D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(rmsnorm(x, g)) }
`;
const rounded = `dim N, D, F
fn rounded(x: f32[N, D], w: f32[F, D]) -> f32[N, F] { for n, f: sum[d](x[n, d] * w[f, d]) }
numerics rounded { contract: tf32 }
`;
const two = `dim N, D, F
fn two(x: f32[N, D], w: f32[F, D], v: f32[N, F]) -> (y: f32[N, F], z: f32[D, F]) {
  let h = for n, f: sum[d](x[n, d] * w[f, d])
  (y: for n, f: h[n, f] * v[n, f], z: for d, f: sum[n](x[n, d] * v[n, f]))
}
`;

const streamed = `import std.nn { softmax }
dim S, T, D, V
fn mixed(q: f16[S, D], k: f16[T, D], v: f16[T, V]) -> f16[S, V] {
  let p = softmax[T](for s, t: sum[d](q[s, d] * k[t, d]) where t <= s)
  for s, e: sum[t](p[s, t] * v[t, e])
}
`;

const { host } = openSource("README.md", process.cwd());

function run(text: string, target: string, dims: Record<string, number>, pick?: number): Compiled {
  return compile({
    source: { file: "test.dsl", text },
    host,
    entry: undefined,
    target,
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
    ...(pick === undefined ? {} : { pick: () => pick }),
  });
}

function messages({ diagnostics }: Compiled): readonly string[] {
  return diagnostics.map(
    ({ code, message, help }) => `${code}: ${message}${help === undefined ? "" : ` (${help})`}`,
  );
}

const matrix = { N: 512, D: 256, F: 1024 };
const programs: readonly (readonly [string, string, Record<string, number>])[] = [
  ["a product", linear, matrix],
  ["a product of sizes that are not known", linear, {}],
  ["a product of factors that are rounded to tf32", rounded, matrix],
  ["a row", norm, { N: 64, D: 7168 }],
  ["a row that is quantised", quantised, { N: 64, D: 7168 }],
  ["a short row", norm, { N: 64, D: 96 }],
  ["products that stream into others", streamed, { S: 256, T: 256, D: 64, V: 64 }],
  ["two kernels", two, { N: 96, D: 64, F: 80 }],
];

describe.each(["ptx:sm_90a", "ptx:sm_80", "wgsl", "js"])("%s", (target) => {
  it.each(programs)("%s: what is printed gives the same kernel", (_, text, dims) => {
    const plain = run(text, target, dims);
    expect(messages(plain)).toEqual([]);
    const counts = plain.schedules.map(({ choices }) => choices().length);
    for (const pick of new Set([0, 1, 7, Math.max(...counts) - 1])) {
      if (pick >= Math.min(...counts)) continue;
      const picked = run(text, target, dims, pick);
      const kept = run(`${text}${picked.schedules.map(({ block }) => block).join("\n")}\n`, target, dims);
      expect(messages(kept)).toEqual([]);
      expect(kept.schedules.map(({ block }) => block)).toEqual(picked.schedules.map(({ block }) => block));
      const texts = (one: Compiled): unknown => [...(one.artifact?.files ?? [])];
      expect(texts(kept)).toEqual(texts(picked));
    }
  });
});

it.each(["ptx:sm_80", "ptx:sm_90a"])("%s multiplies what is rounded to tf32 on the matrix unit", (target) => {
  const [kernel] = run(rounded, target, matrix).artifact?.files.values() ?? [];
  expect(kernel).toMatch(/mma\.sync\.aligned\.m16n8k8\.row\.col\.f32\.tf32\.tf32\.f32/);
});

const sm90 = (clauses: string): readonly string[] =>
  messages(run(`${linear}schedule linear on sm_90a { ${clauses} }\n`, "ptx:sm_90a", matrix));

describe("what is asked", () => {
  it.each([
    ["tile N 64, F 128", "tile N 64, F 128, D 64; stages 8; roles copy 1, math 1; persistent"],
    ["roles copy 1, math 3", "math 3"],
    ["stages 3", "stages 3"],
    ["tile N 64, F 64; threads 64", "threads 64"],
    ["roles math 1 over N", "math 1"],
  ])("%s", (clauses, kept) => {
    const compiled = run(`${linear}schedule linear on sm_90a { ${clauses} }\n`, "ptx:sm_90a", matrix);
    expect(messages(compiled)).toEqual([]);
    expect(compiled.schedules[0]?.block).toContain(kept);
  });

  it("splits a sum, or does not", () => {
    const long = { N: 128, D: 16384, F: 64 };
    const kernels = (clause: string): number | undefined =>
      run(`${linear}schedule linear on ptx { ${clause} }`, "ptx", long).artifact?.plan.launches.length;
    expect([kernels("split D 4"), kernels("split D 1")]).toEqual([2, 1]);
    const kept = run(`${linear}schedule linear on ptx { split D 4 }`, "ptx", long);
    expect(kept.trace.find(({ pass }) => pass === "schedule")?.text()).toContain("split D 4");
  });

  it("holds for its target alone", () => {
    const text = `${linear}schedule linear on wgsl { tile N 3 }\n`;
    expect(messages(run(text, "ptx:sm_90a", matrix))).toEqual([]);
    expect(messages(run(text, "wgsl", matrix))[0]).toMatch(/^WF4701/);
  });

  it("closer blocks hold rather than wider ones", () => {
    const text = `${two}schedule two on ptx { threads 64 }\nschedule two.two_2 on sm_90a { threads 32 }\n`;
    const compiled = run(text, "ptx:sm_90a", { N: 96, D: 64, F: 80 });
    expect(messages(compiled)).toEqual([]);
    const { schedules } = compiled;
    expect(schedules.map(({ block }) => /threads \d+/.exec(block)?.[0])).toContain("threads 32");
  });
});

describe("what is refused, with the arithmetic", () => {
  it.each([
    ["tile N 256, F 256", "WF4701", "1 x 256 x 256 sums"],
    ["tile N 128, F 256; stages 9", "WF4701", "232448"],
    ["tile N 128, F 200", "WF4701", "200 columns are not a multiple of 64"],
    ["tile N 64; roles copy 1, math 2", "WF4701", "64 rows are not 2 times a multiple of 64"],
    ["cluster 64", "WF4701", "64"],
    ["roles math 2 over F", "WF4701", "warpgroups share N here"],
    ["split D 5", "WF4701", "256 = D is not a multiple of 5 parts"],
    ["tile (N F) 64, D 3", "WF4701", "elements"],
    ["tile (N D) 64", "WF4702", "no kernel of 'linear' has tiles along (N D)"],
    ["stages 2; stages 3", "WF4003", "again"],
    ["tile N 0", "WF4003", "a size from 1"],
    ["roles copy 1, math 0", "WF4003", "somebody has to compute"],
    ["threads", "WF4003", "takes a number"],
  ])("%s", (clauses, code, why) => {
    const [first = "", ...others] = sm90(clauses);
    expect(first).toContain(code);
    expect(first).toContain(why);
    expect(others).toEqual([]);
  });

  it("tells the nearest that fits, which then fits", () => {
    const [message = ""] = sm90("tile N 256, F 256");
    const nearest = /the nearest that fits: (.*)\)$/.exec(message)?.[1] ?? "";
    expect(nearest).not.toBe("");
    expect(sm90(nearest)).toEqual([]);
  });

  it("a kernel that is not there, and two blocks for one", () => {
    const twice = "schedule linear on ptx { stages 2 }\nschedule linear on ptx { stages 3 }\n";
    expect(messages(run(`${linear}schedule linear.score on ptx { stages 2 }`, "ptx", matrix))[0]).toContain(
      "no kernel 'score'",
    );
    expect(messages(run(`${linear}${twice}`, "ptx", matrix))[0]).toMatch(/^WF4703/);
  });
});
