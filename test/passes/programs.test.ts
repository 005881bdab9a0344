/** What is fused of programs that no pass was written for: kernels, and bytes that they move, on one H200. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import { encode } from "../../compiler/tensor/number-formats.ts";
import { toNumbers } from "../../runtime/tensor/values.ts";
import { violations } from "../../runtime/reference/index.ts";
import { testHost } from "../check/host.ts";
import { Random } from "./random-graph.ts";

const text = readFileSync(new URL("programs.dsl", import.meta.url), "utf8");

function compiled(entry: string, sizes: Readonly<Record<string, number>>): Compiled {
  return compile({
    source: { file: "programs.dsl", text },
    host: testHost(),
    entry,
    target: "ptx",
    dims: new Map(Object.entries(sizes)),
    dtypes: new Map(),
    explain: true,
  });
}

const [N, D, F, V] = [4096, 2048, 8192, 4096];
const matrix = N * D * 2 + F * D * 2 + N * F * 2;

interface Fused {
  readonly kernels: number;
  /** Read and written. */
  readonly bytes: number;
}

const programs: Readonly<Record<string, Fused>> = {
  variance: { kernels: 1, bytes: N * V * 4 + N * 4 },
  weighted_mean: { kernels: 1, bytes: N * V * 4 + N * 4 },
  two_softmaxes: { kernels: 1, bytes: 2 * N * V * 2 + N * 4 },
  // The logits once; the right class's logit is a gather of one element a row, beside.
  loss: { kernels: 1, bytes: N * V * 2 + N * (4 + 4) },
  total: { kernels: 1, bytes: N * V * 2 + N * 4 },
  gated: { kernels: 1, bytes: matrix + F * D * 2 },
  added: { kernels: 1, bytes: matrix + F * 4 + N * F * 2 },
  // Apart: see the test below.
  normed: { kernels: 2, bytes: matrix + 2 * N * D * 2 + D * 4 },
  // The logits once; where the largest are they are read again.
  likely: { kernels: 1, bytes: N * V * 4 + N * 2 * (4 + 4) },
};

describe("programs that no pass was written for", () => {
  for (const [entry, { kernels, bytes }] of Object.entries(programs)) {
    it(`${entry}: ${kernels} ${kernels === 1 ? "kernel" : "kernels"}`, () => {
      const { fusion, diagnostics } = compiled(entry, { N, D, F, V });
      expect(diagnostics).toEqual([]);
      expect(fusion?.after.kernels).toBe(kernels);
      expect(fusion && evaluate(fusion.after.bytes, new Map())).toBe(bytes);
    });

    it(`${entry} means what it did`, () => {
      const { graph, fused } = compiled(entry, { N: 3, D: 8, F: 6, V: 40 });
      if (graph === undefined || fused === undefined) throw new Error("it compiles");
      const random = new Random(7);
      const inputs = new Map(
        graph.graph.inputs.map(({ name, types: [type] }) => {
          const shape = (type?.shape ?? []).map((dim) => evaluate(dim, new Map()));
          const dtype = type?.dtype ?? "f32";
          const next = (): number =>
            dtypes[dtype].kind === "float" ? random.below(512) / 256 - 1 : random.below(40);
          const count = shape.reduce((a, b) => a * b, 1);
          return [name, { dtype, shape, bytes: encode(dtype, Float64Array.from({ length: count }, next)) }];
        }),
      );
      const before = interpret(graph.arena, graph.graph, inputs, new Map(), {
        bounds: "clamp",
        errors: true,
      });
      const after = interpret(graph.arena, fused, inputs, new Map());
      for (const [name, value] of before.results) {
        const now = after.results.get(name);
        if (now === undefined) throw new Error(name);
        expect(violations(toNumbers(now), toNumbers(value), before.bounds.get(name) ?? []), name).toBe(0);
      }
    });
  }

  it("a norm is apart from the product that reads it, and the reason is given", () => {
    const apart = compiled("normed", { N, D, F, V }).fusion?.pairs.filter(
      ({ outcome }) => outcome === "apart",
    );
    expect(apart?.map(({ maker, reason }) => [maker.name, reason?.kind])).toEqual([["h", "costly-again"]]);
  });

  it("two products that end in one value are one kernel, however little of their factors they share", () => {
    expect(compiled("gated", { N: 256, D, F, V }).fusion?.after.kernels).toBe(1);
  });

  it("long rows of logits are cut in parts, read once, and put together", () => {
    const { fusion } = compiled("loss", { N, D, F, V: 129280 });
    expect(fusion?.after.kernels).toBe(2);
    const bytes = fusion === undefined ? 0 : evaluate(fusion.after.bytes, new Map());
    expect(bytes / (N * 129280 * 2)).toBeLessThan(1.01);
  });
});
