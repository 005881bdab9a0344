/** Quantisation by blocks: one kernel that reads each tensor once, with what makes the values, and what it means. */
import { describe, expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { encode } from "../../compiler/tensor/number-formats.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import { toNumbers } from "../../runtime/tensor/values.ts";
import { violations } from "../../runtime/reference/index.ts";
import { testHost } from "../check/host.ts";
import { Random } from "./random-graph.ts";

const text = `
import std.nn { rmsnorm, swiglu }
dim N, D, V, M

fn alone(x: bf16[N, D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(x) }
fn powers(x: bf16[N, D]) -> e4m3[N, D] @ (1, 128) ue8m0 { quantize<e4m3 @ (1, 128) ue8m0>(x) }
fn weights(x: bf16[N, D]) -> e4m3[N, D] @ (128, 128) { quantize<e4m3 @ (128, 128)>(x) }
fn tall(x: bf16[N, D]) -> e4m3[N, D] @ (128, 1) { quantize<e4m3 @ (128, 1)>(x) }
fn gated(x: bf16[N, D], y: bf16[N, D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(swiglu(x, y)) }
fn gathered(x: bf16[V, D], at: i32[N]) -> e4m3[N, D] @ (1, 128) {
  let rows = for n, d: x[at[n], d]
  quantize<e4m3 @ (1, 128)>(rows)
}
fn normed(x: bf16[N, D], g: f32[D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(rmsnorm(x, g)) }
fn kept(x: bf16[N, D], h: bf16[N, D], g: f32[D]) -> (s: bf16[N, D], y: bf16[N, D], q: e4m3[N, D] @ (1, 128)) {
  let s: bf16[N, D] = x + h
  let y = rmsnorm(s, g)
  (s: s, y: y, q: quantize<e4m3 @ (1, 128)>(y))
}
fn product(x: bf16[N, D], g: f32[D], w: e4m3[M, D] @ (128, 128)) -> bf16[N, M] {
  let q = quantize<e4m3 @ (1, 128)>(rmsnorm(x, g))
  for n, m: sum[d](q[n, d] * w[m, d])
}
`;

function compiled(entry: string, sizes: Readonly<Record<string, number>>, target = "ptx"): Compiled {
  return compile({
    source: { file: "blocks.dsl", text },
    host: testHost(),
    entry,
    target,
    dims: new Map(Object.entries(sizes)),
    dtypes: new Map(),
    explain: true,
  });
}

const [N, D, V, M] = [4096, 7168, 8192, 2048];
const [wide, codes, scales] = [N * D * 2, N * D, N * (D / 128) * 4];

/** Each tensor once: what is read, and what is written. */
const programs: Readonly<Record<string, { readonly kernels: number; readonly bytes: number }>> = {
  alone: { kernels: 1, bytes: wide + codes + scales },
  powers: { kernels: 1, bytes: wide + codes + scales },
  weights: { kernels: 1, bytes: wide + codes + scales / 128 },
  tall: { kernels: 1, bytes: wide + codes + (N / 128) * D * 4 },
  gated: { kernels: 1, bytes: 2 * wide + codes + scales },
  gathered: { kernels: 1, bytes: wide + N * 4 + codes + scales },
  normed: { kernels: 1, bytes: wide + D * 4 + codes + scales },
  kept: { kernels: 1, bytes: 4 * wide + D * 4 + codes + scales },
  product: {
    kernels: 2,
    bytes: wide + D * 4 + 2 * (codes + scales) + M * D + (M / 128) * (D / 128) * 4 + N * M * 2,
  },
};

/** Whole blocks, a short last one, and less than one. */
const small = [
  { N: 3, D: 576, V: 5, M: 4 },
  { N: 130, D: 128, V: 9, M: 3 },
  { N: 2, D: 72, V: 4, M: 1 },
];

describe("blocks", () => {
  for (const [entry, { kernels, bytes }] of Object.entries(programs)) {
    it(`${entry}: ${kernels} ${kernels === 1 ? "kernel" : "kernels"} that read and write no more than they must`, () => {
      const { fusion, diagnostics } = compiled(entry, { N, D, V, M });
      expect(diagnostics).toEqual([]);
      expect(fusion?.after.kernels).toBe(kernels);
      expect(fusion && evaluate(fusion.after.bytes, new Map())).toBe(bytes);
    });

    it(`${entry} means what it did`, () => {
      for (const sizes of small)
        for (const target of ["ptx", "js"]) expect(distance(compiled(entry, sizes, target))).toEqual([]);
    });
  }

  it("one kernel where sizes are open too", () => {
    const { artifact } = compiled("alone", {});
    expect(artifact?.plan.launches.length).toBe(1);
  });

  it("results over blocks are read back as they are printed", () => {
    const { graph, fused } = compiled("normed", { N: 3, D: 576 });
    if (graph === undefined || fused === undefined) throw new Error("it compiles");
    const printed = print(graph.arena, fused);
    expect(printed).toContain("in 576)]");
    const arena = new Arena();
    expect(print(arena, parse(arena, printed))).toBe(printed);
  });
});

/** Results of the compiled graph that are farther from the lowered one than a correct target may be. */
function distance({ graph, fused, diagnostics }: Compiled): readonly string[] {
  if (graph === undefined || fused === undefined) throw new Error(diagnostics.map((d) => d.message).join());
  const random = new Random(7);
  const inputs = new Map(
    graph.graph.inputs.map(({ name, types: [type] }) => {
      const shape = (type?.shape ?? []).map((dim) => evaluate(dim, new Map()));
      const dtype = type?.dtype ?? "f32";
      const next = (): number =>
        dtypes[dtype].kind === "float" ? random.below(512) / 128 - 2 : random.below(4);
      const count = shape.reduce((a, b) => a * b, 1);
      return [name, { dtype, shape, bytes: encode(dtype, Float64Array.from({ length: count }, next)) }];
    }),
  );
  const before = interpret(graph.arena, graph.graph, inputs, new Map(), { bounds: "clamp", errors: true });
  const after = interpret(graph.arena, fused, inputs, new Map());
  return [...before.results].flatMap(([name, value]) => {
    const found = after.results.get(name);
    const [want, got] = [toNumbers(value), found === undefined ? [] : toNumbers(found)];
    const many = violations(got, want, before.bounds.get(name) ?? []);
    return many === 0 ? [] : [`${name}: ${many} of ${want.length}`];
  });
}
