/** What lowering refuses, by code; and what it leaves to be checked at launch. */
import { describe, expect, it } from "vitest";
import { createReport, type Diagnostic } from "../../compiler/diagnostics/diagnostic.ts";
import { lowerFunction } from "../../compiler/lower/lower.ts";
import { forms } from "../../compiler/passes/forms.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import type { Graph } from "../../compiler/tensor/ir.ts";
import type { Types } from "./oracle.ts";
import { entryOf, programOf } from "./compiled.ts";

function attempt(
  text: string,
  entry: string,
  dims: Record<string, number> = {},
  dtypes: Types = new Map(),
): { readonly graph: Graph | undefined; readonly diagnostics: readonly Diagnostic[] } {
  const program = programOf(text);
  const report = createReport();
  const options = {
    dims: new Map(Object.entries(dims)),
    dtypes,
    arena: new Arena(),
    report,
    forms,
    locate: () => "test.dsl:1:1",
  };
  const graph = lowerFunction(program, entryOf(program, entry), options);
  return { graph, diagnostics: report.diagnostics };
}

function codes(
  text: string,
  entry: string,
  dims: Record<string, number> = {},
  dtypes: Types = new Map(),
): readonly string[] {
  const { graph, diagnostics } = attempt(text, entry, dims, dtypes);
  expect(graph).toBeUndefined();
  return diagnostics.map((d) => d.code);
}

describe("an entry is refused", () => {
  it("whose dtype parameter nobody gave, or gave wrongly", () => {
    const text = "dim N\nfn f<A: float>(x: A[N]) -> A[N] { for n: x[n] * 2.0 }";
    expect(codes(text, "f")).toEqual(["WF2702"]);
    expect(codes(text, "f", {}, new Map([["A", "i32"]]))).toEqual(["WF2703"]);
    expect(
      codes(text, "f", {}, new Map([["A", { dtype: "e4m3", scale: { block: [128], format: "f32" } }]])),
    ).toEqual(["WF2703"]);
  });

  it("with leading axes that nothing says", () => {
    const text = "fn f(x: f32[..., D]) -> f32[..., D] { for ..., d: x[..., d] }\ndim D";
    expect(codes(text, "f")).toEqual(["WF2704"]);
  });

  it("with ragged rows that have block scales", () => {
    const text =
      "dim E, D, R[E]\nfn f(x: e4m3[E, R[E], D] @ (1, 32)) -> f32[E, D] { for e, d: sum[t](x[e, t, d]) }";
    expect(codes(text, "f")).toEqual(["WF2705"]);
  });

  it("with sizes that contradict its claims", () => {
    const text = "dim N, E where E % 8 == 0\nfn f(x: f32[E]) -> f32[E] { x }";
    expect(codes(text, "f", { E: 12 })).toEqual(["WF2701"]);
    expect(attempt(text, "f", { E: 16 }).graph?.checks).toEqual([]);
    expect(attempt(text, "f").graph?.checks.map((c) => c.relation)).toEqual(["=="]);
  });

  it("whose sizes overflow", () => {
    const text = "dim A, B\nfn f(x: f32[A]) -> f32[A] { for a: sum[i in A * B](x[a] * f32(i)) }";
    expect(codes(text, "f", { A: 2 ** 40, B: 2 ** 40 })).toEqual(["WF2709"]);
  });

  it("whose derivation the algebra does not allow", () => {
    const text = `dim N, L
      fn f(q: f32[N], c: f32[L], w: f32[N, L]) -> f32[L] { let k = for n: exp(sum[l](c[l] * w[n, l])); for l: sum[n](q[n] * k[n]) * c[l] }
      derive g from f by reassociate { w into q }`;
    expect(codes(text, "g")).toEqual(["WF3701"]);
  });
});

describe("what stays to be checked at launch", () => {
  it("says its place and what was claimed", () => {
    const text = "dim S, T\nfn f(x: f32[S], y: f32[T]) -> f32[T] { x[S as T] + y }";
    const { graph } = attempt(text, "f");
    expect(graph?.dims).toEqual(["S", "T"]);
    expect(graph?.checks).toHaveLength(1);
    expect(graph?.checks[0]?.message.startsWith("test.dsl:1:1: ")).toBe(true);
    expect(codes(text, "f", { S: 2, T: 3 })).toEqual(["WF2701"]);
  });

  it("refuses a loop of more axes than passes take", () => {
    const over = (n: number): string => {
      const list = (name: string): string => Array.from({ length: n }, (_, i) => `${name}${i}`).join(", ");
      return `fn f(x: f32[${list("D")}]) -> f32[${list("D")}] { for ${list("a")}: x[${list("a")}] * 2.0 }`;
    };
    expect(attempt(over(24), "f").diagnostics).toEqual([]);
    expect(codes(over(25), "f")).toEqual(["WF2711"]);
  });

  it("does not warn where numerics give the factors' types", () => {
    const plain = attempt(
      "dim N, D\nfn f(x: f32[N, D], w: f32[D]) -> f32[N] { for n: sum[d](x[n, d] * w[d]) }\nnumerics f { contract: bf16 }",
      "f",
    );
    expect(plain.diagnostics).toEqual([]);
  });
});
