import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expand } from "../../compiler/passes/expand.ts";
import { fuse } from "../../compiler/passes/fuse.ts";
import { runPasses } from "../../compiler/passes/pass.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { numbers, tensor } from "../tensor/tensors.ts";

/** Interprets with the structured nodes, expanded, and expanded and fused; all three must agree. */
function agree(
  text: string,
  inputs: Record<string, StoredTensor>,
  dims: Record<string, number> = { N: 1 },
): Record<string, number[]> {
  const arena = new Arena();
  const graph = parse(arena, text);
  const run = (g: typeof graph): Record<string, number[]> => {
    const { results } = interpret(arena, g, new Map(Object.entries(inputs)), new Map(Object.entries(dims)));
    return Object.fromEntries([...results].map(([name, value]) => [name, numbers(value)]));
  };
  const direct = run(graph);
  const expanded = runPasses([expand], graph, { arena });
  const kinds = new Set(topological(expanded).map((node) => node.kind));
  expect([...kinds].filter((kind) => kind !== "input" && kind !== "loop" && kind !== "scatter")).toEqual([]);
  expect(run(expanded)).toEqual(direct);
  expect(run(runPasses([fuse()], expanded, { arena }))).toEqual(direct);
  return direct;
}

const edges = [0, -0, 1, 1, -1, 2.5, Infinity, -Infinity, Number.NaN, 1e-40, -3e38];
const anyFloat = fc.oneof(fc.constantFrom(...edges), fc.float({ noNaN: false }));

function topkText(shape: string, axis: number, k: string, type: string, masked: boolean): string {
  return `graph f
dims N
%x = input argument "x": ${type}[${shape}]
${masked ? `%keep = input argument "keep": bool[${shape}]` : ""}
%top = topk %x axis ${axis} k ${k}${masked ? " keep %keep" : ""};
result "values" = %top
result "index" = %top.1
result "mask" = %top.2
`;
}

describe("expand", () => {
  it.each([
    ["in rounds", 17, 2],
    ["counted", 6, 3],
    ["all", 4, 4],
    ["one", 9, 1],
  ])("keeps topk of floats: %s", (_, n, k) => {
    fc.assert(
      fc.property(
        fc.array(anyFloat, { minLength: 2 * n, maxLength: 2 * n }),
        fc.array(fc.boolean(), { minLength: 2 * n, maxLength: 2 * n }),
        (xs, kept) => {
          const keep = tensor("bool", [2, n], kept.map(Number));
          agree(topkText(`2, ${n}`, 1, String(k), "f32", true), { x: tensor("f32", [2, n], xs), keep });
          agree(topkText(`${n}, 2`, 0, String(k), "f32", false), { x: tensor("f32", [n, 2], xs) });
        },
      ),
      { numRuns: 40 },
    );
  });

  it("keeps topk of integers, of symbolic sizes and with masks", () => {
    const ints = fc.constantFrom(0, 1, -1, 2147483647, -2147483648, 5);
    fc.assert(
      fc.property(fc.array(ints, { minLength: 3, maxLength: 20 }), fc.integer(), (xs, seed) => {
        const n = xs.length;
        const keep = tensor(
          "bool",
          [n],
          xs.map((_, i) => (seed >> (i % 30)) & 1),
        );
        agree(topkText("N", 0, "3", "i32", true), { x: tensor("i32", [n], xs), keep }, { N: n });
        agree(topkText("N", 0, "3", "i32", false), { x: tensor("i32", [n], xs) }, { N: n });
        agree(
          topkText("N", 0, "3", "u32", false),
          {
            x: tensor(
              "u32",
              [n],
              xs.map((x) => x >>> 0),
            ),
          },
          { N: n },
        );
        agree(topkText("N", 0, "N", "i64", true), { x: tensor("i64", [n], xs), keep }, { N: n });
      }),
      { numRuns: 40 },
    );
  });

  it("keeps sort", () => {
    const text = `graph f\ndims N\n%x = input argument "x": f32[N, 2]\n%i = input argument "i": i32[N, 2]\n%a = sort %x axis 0\n%b = sort %i axis 1\nresult "a" = %a\nresult "b" = %b\n`;
    fc.assert(
      fc.property(fc.array(anyFloat, { minLength: 1, maxLength: 20 }), (half) => {
        const xs = [...half, ...half.map((x) => -x)];
        // Zeros of both signs are equal, and keep their places in the order of the sort, so they are not told apart.
        const plain = xs.map((x) => (x === 0 ? 0 : x));
        const n = half.length;
        agree(
          text,
          {
            x: tensor("f32", [n, 2], plain),
            i: tensor(
              "i32",
              [n, 2],
              plain.map((x) => (Number.isFinite(x) ? Math.trunc(x % 100) : 7)),
            ),
          },
          { N: n },
        );
      }),
      { numRuns: 60 },
    );
  });

  it.each([1, 2, 31, 32, 33, 100, 1025])("keeps scans of %i integers, constant or symbolic", (n) => {
    const xs = Array.from({ length: n * 2 }, (_, i) => ((i * 7919) % 23) - 11);
    const text = (extent: string): string =>
      `graph f\ndims N\n%x = input argument "x": f32[${extent}, 2]\n%i = input argument "i": i32[2, ${extent}]\n%a = scan %x axis 0\n%b = scan %i axis 1\nresult "a" = %a\nresult "b" = %b\n`;
    const inputs = { x: tensor("f32", [n, 2], xs), i: tensor("i32", [2, n], xs) };
    agree(text("N"), inputs, { N: n });
    agree(text(String(n)), inputs, { N: 1 });
  });

  it("scans 100,000 elements in well below a quadratic number of steps", () => {
    const n = 100_000;
    const text = `graph f\ndims N\n%i = input argument "i": i32[N]\n%a = scan %i axis 0\nresult "a" = %a\n`;
    const { a } = agree(
      text,
      {
        i: tensor(
          "i32",
          [n],
          Array.from({ length: n }, () => 1),
        ),
      },
      { N: n },
    );
    expect(a?.at(-1)).toBe(n);
  });

  const dispatch = (align: number): string => `graph f
dims N, K, E
%i = input argument "i": i32[N, K]
%plan = dispatch %i experts E align ${align}
${["position", "source", "expert", "start", "count"].map((name, i) => `result "${name}" = %plan${i === 0 ? "" : `.${i}`}`).join("\n")}
`;
  it("keeps dispatch", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -2, max: 9 }), { minLength: 1, maxLength: 150 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(1, 4, 16),
        (raw, k, e, align) => {
          const n = Math.ceil(raw.length / k);
          const index = Array.from({ length: n * k }, (_, i) => raw[i] ?? -1);
          agree(dispatch(align), { i: tensor("i32", [n, k], index) }, { N: n, K: k, E: e });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("dispatches to nobody, and everything to one", () => {
    const nobody = agree(
      dispatch(4),
      { i: tensor("i32", [3, 2], [-1, -1, 7, -1, -1, 9]) },
      { N: 3, K: 2, E: 2 },
    );
    expect(nobody["count"]).toEqual([0, 0]);
    expect(nobody["expert"]).toEqual([2, 2, 2]);
    const one = agree(dispatch(4), { i: tensor("i32", [3, 2], [1, 1, 1, 1, 1, 1]) }, { N: 3, K: 2, E: 2 });
    expect(one["position"]).toEqual([0, 1, 2, 3, 4, 5]);
  });
});
