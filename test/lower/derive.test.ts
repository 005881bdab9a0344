/** `derive` in programs: a low-rank layer both ways round, the form that is taken by its cost, and what is refused. */
import { describe, expect, it } from "vitest";
import { createReport } from "../../compiler/diagnostics/diagnostic.ts";
import { lowerFunction } from "../../compiler/lower/lower.ts";
import type { DerivedCall } from "../../compiler/lower/frame.ts";
import { forms } from "../../compiler/passes/forms.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { printDim } from "../../compiler/types/dim-text.ts";
import { evaluateInFields, type FieldTensor } from "../passes/field.ts";
import { compiled, entryOf, programOf } from "./compiled.ts";
import { expectClose, random, run } from "./oracle.ts";
import { noise, seeded, sum, table } from "./plain.ts";

const layer = `dim N, D, F, R
fn through(x: f32[N, D], a: f32[R, D], b: f32[F, R]) -> f32[N, F] {
  let h = for n, r: sum[d](x[n, d] * a[r, d])
  for n, f: sum[r](h[n, r] * b[f, r])
}
fn merged(x: f32[N, D], a: f32[R, D], b: f32[F, R]) -> f32[N, F] {
  let w = for f, d: sum[r](a[r, d] * b[f, r])
  for n, f: sum[d](x[n, d] * w[f, d])
}
derive through_merged from through by reassociate { a into b }
derive merged_through from merged by reassociate { a into x }
derive cheap_through from through by cheaper { a into b }
derive cheap_merged from merged by cheaper { a into x }`;

/** Shapes of what is made on the way to the result. */
function between(entry: string, dims: Readonly<Record<string, number>>): readonly string[] {
  const { graph } = compiled(layer, entry, dims);
  const nodes = topological(graph).filter(({ kind }) => kind !== "input");
  const made = nodes.flatMap(({ types }) => types.map(({ shape }) => shape.map(printDim).join("x")));
  const result = graph.results.map(({ value }) =>
    value.node.types[value.output]?.shape.map(printDim).join("x"),
  );
  return [...new Set(made)].filter((shape) => !result.includes(shape));
}

describe("a low-rank layer", () => {
  const dims = { N: 5, D: 7, F: 6, R: 3 };

  it.each(["through", "merged", "through_merged", "merged_through", "cheap_through", "cheap_merged"])(
    "%s is x A B",
    (entry) => {
      seeded(3);
      const [x, a, b] = [noise("f32", [5, 7]), noise("f32", [3, 7]), noise("f32", [6, 3])];
      const expected = table([5, 6], (n, f) =>
        sum(3, (r) => sum(7, (d) => x.at(n, d) * a.at(r, d)) * b.at(f, r)),
      );
      const got = run(compiled(layer, entry, dims), { x: x.values, a: a.values, b: b.values });
      expectClose(got["out"], expected.values, 2 ** -20, 1e-6);
    },
  );

  it("goes through the low rank, or through the merged weight", () => {
    expect(between("through", dims)).toEqual(["5x3"]);
    expect(between("through_merged", dims)).toEqual(["6x7"]);
    expect(between("merged", dims)).toEqual(["6x7"]);
    expect(between("merged_through", dims)).toEqual(["5x3"]);
  });

  it("takes what is cheaper: 2 N R (D + F) or 2 D F (N + R)", () => {
    // Rows N, rank R: 2 * 5 * 3 * 13 = 390 against 2 * 42 * 8 = 672.
    for (const entry of ["cheap_through", "cheap_merged"]) {
      expect(between(entry, dims)).toEqual(["5x3"]);
      // 2 * 50 * 30 * 13 = 39000 against 2 * 42 * 80 = 6720.
      expect(between(entry, { N: 50, D: 7, F: 6, R: 30 })).toEqual(["6x7"]);
    }
  });

  it("tells what both forms cost, as functions of the sizes that are open", () => {
    const program = programOf(layer);
    const derived: DerivedCall[] = [];
    const options = { dtypes: new Map(), arena: new Arena(), report: createReport(), forms, derived };
    lowerFunction(program, entryOf(program, "cheap_through"), { ...options, dims: new Map([["R", 8]]) });
    const text = derived.map(({ name, from, taken, cost }) => ({
      name,
      from,
      taken,
      costs: [cost.from, cost.derived].map(({ flops, bytes }) => [printDim(flops), printDim(bytes)]),
    }));
    expect(text).toEqual([
      {
        name: "cheap_through",
        from: "through",
        taken: "from",
        costs: [
          ["16 * N * D + 16 * N * F", "4 * N * D + 32 * D + 64 * N + 32 * F + 4 * N * F"],
          ["16 * F * D + 2 * N * F * D", "32 * D + 32 * F + 8 * F * D + 4 * N * D + 4 * N * F"],
        ],
      },
    ]);
  });
});

describe("both forms are equal by algebra", () => {
  // In finite fields nothing is rounded: sums that are equal as algebra have equal elements, and others nearly never.
  const attention = `import std.nn { softmax }
dim S, T, D, L
fn attend(q: f32[S, D], c: f32[T, L], e: f32[T, L], w: f32[D, L], u: f32[D, L]) -> f32[S, D] {
  let k = for t, d: sum[l](c[t, l] * w[d, l])
  let v = for t, d: sum[l](e[t, l] * u[d, l])
  let score = for s, t: sum[d](q[s, d] * k[t, d])
  let p = softmax[T](score)
  for s, d: sum[t](p[s, t] * v[t, d])
}
derive absorbed from attend by reassociate { w into q, u after p }`;

  it.each([
    [layer, "through", "through_merged", { N: 5, D: 7, F: 6, R: 3 }],
    [layer, "merged", "merged_through", { N: 5, D: 7, F: 6, R: 3 }],
    [attention, "attend", "absorbed", { S: 3, T: 5, D: 4, L: 2 }],
  ])("of %#: %s", (text, from, derived, dims) => {
    const results = [from, derived].map((entry) => {
      const { graph } = compiled(text, entry, dims);
      const next = random(17);
      const inputs = graph.inputs.map((input): [string, FieldTensor] => {
        const shape = (input.types[0]?.shape ?? []).map((d) => (d.kind === "const" ? d.value : 0));
        const count = shape.reduce((a, b) => a * b, 1);
        // What makes scores are exponents, whose exponentials are values.
        const kind = text === attention && ["q", "c", "w"].includes(input.name) ? "exponent" : "value";
        return [
          input.name,
          { kind, shape, elements: Array.from({ length: count }, () => Math.floor((next() + 1) * 4e5)) },
        ];
      });
      return evaluateInFields(graph, new Map(inputs)).get("out");
    });
    expect(results[0]?.length).toBeGreaterThan(0);
    expect(results[1]).toEqual(results[0]);
  });
});

describe("what is no reassociation is refused", () => {
  const refused = (body: string, step: string): readonly string[] => {
    const program = programOf(`dim N, D, F, R
fn f(x: f32[N, D], a: f32[R, D], b: f32[F, R]) -> f32[N, F] {
${body}
}
derive g from f by cheaper { ${step} }`);
    const report = createReport();
    const options = { dims: new Map(), dtypes: new Map(), arena: new Arena(), report, forms };
    lowerFunction(program, entryOf(program, "g"), options);
    return report.diagnostics.map(({ code, message }) => `${code} ${message}`);
  };
  const last = "  for n, f: sum[r](h[n, r] * b[f, r])";

  it.each([
    [
      "a bend between the products",
      `  let h = for n, r: tanh(sum[d](x[n, d] * a[r, d]))\n${last}`,
      "a into b",
    ],
    ["a sum beside the product", `  let h = for n, r: sum[d](x[n, d] * a[r, d]) + 1.0\n${last}`, "a into b"],
    ["a maximum", `  let h = for n, r: max[d](x[n, d] * a[r, d])\n${last}`, "a into b"],
    [
      "a quotient",
      `  let h = for n, r: sum[d](x[n, d] * a[r, d])\n  for n, f: sum[r](h[n, r] / b[f, r])`,
      "a into b",
    ],
    ["nothing to move into", `  let h = for n, r: sum[d](x[n, d] * a[r, d])\n${last}`, "b into a"],
  ])("%s", (_, body, step) => {
    expect(refused(body, step)).toEqual([expect.stringMatching(/^WF3701 /)]);
  });
});
