import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Arena } from "../../compiler/tensor/arena.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { violations } from "../../runtime/reference/index.ts";
import { randomGraph, Random } from "../passes/random-graph.ts";
import { runInF32, type Order } from "./f32-target.ts";
import { numbers, tensor } from "./tensors.ts";

const withErrors = { bounds: "clamp", errors: true } as const;

function bound(
  text: string,
  inputs: Record<string, StoredTensor>,
): { readonly y: readonly number[]; readonly bound: readonly number[]; readonly f32: readonly number[] } {
  const arena = new Arena();
  const graph = parse(arena, text);
  const given = new Map(Object.entries(inputs));
  const { results, bounds } = interpret(arena, graph, given, new Map(), withErrors);
  const simple = [...text.matchAll(/= (topk|sort|scan)/g)].length === 0;
  return {
    y: numbers(results.get("y")),
    bound: [...(bounds.get("y") ?? [])],
    f32: simple ? (runInF32(arena, graph, given, new Map(), "forward").get("y") ?? []) : [],
  };
}

function pointwise(value: string, xs: readonly number[], dtype: string = "f32"): ReturnType<typeof bound> {
  const n = xs.length;
  return bound(
    `graph f\n%x = input argument "x": f32[${n}]\n%y = loop i in ${n} {\n  yield ${dtype}[i]: ${value}\n}\nresult "y" = %y\n`,
    { x: tensor("f32", [n], xs) },
  );
}

describe("the bound on a target's error", () => {
  it("holds for f32 arithmetic in any order, on random graphs", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 2, max: 10 }),
        fc.constantFrom<Order>("forward", "backward", "pairs"),
        (seed, steps, order) => {
          const { arena, graph, inputs, dims } = randomGraph(seed, "smooth", steps);
          const { results, bounds } = interpret(arena, graph, inputs, dims, withErrors);
          const actual = runInF32(arena, graph, inputs, dims, order);
          for (const [name, value] of results) {
            const count = violations(actual.get(name) ?? [], numbers(value), bounds.get(name) ?? []);
            expect(count, `${name} of\n${print(arena, graph)}`).toBe(0);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("is no wider than a few hundred times the error of a dot product, and than its own formula", () => {
    const n = 4096;
    const random = new Random(7);
    const xs = Array.from({ length: n }, () => Math.fround(random.below(2000) / 1000 - 1));
    const text = `graph f\n%x = input argument "x": f32[${n}]\n%y = loop over i in ${n} {\n  r = sum f32: mul(%x[i], %x[i])\n  yield f32[]: r\n}\nresult "y" = %y\n`;
    const { y, bound: bounds, f32 } = bound(text, { x: tensor("f32", [n], xs) });
    const [value = 0, limit = 0, actual = 0] = [y[0], bounds[0], f32[0]];
    expect(Math.abs(actual - value)).toBeLessThanOrEqual(limit);
    expect(limit / value).toBeLessThan(n * 2 ** -22);
  });

  it("is zero where f32 is exact", () => {
    expect(pointwise("add(mul(%x[i], 3.0), 1.0)", [1, 2, -4]).bound).toEqual([0, 0, 0]);
    expect(pointwise("bf16(mul(%x[i], 1.1))", [1, 2, 3], "bf16").bound).toEqual([0, 0, 0]);
    expect(pointwise("max(%x[i], 0.0)", [1, -2, Number.NaN]).bound).toEqual([0, 0, 0]);
    expect(pointwise("sub(%x[i], -inf)", [1, Infinity, -Infinity]).bound).toEqual([0, 0, 0]);
    expect(pointwise("div(1.0, %x[i])", [0, -0]).bound).toEqual([0, 0]);
  });

  it("is a step of the format where a value may round either way", () => {
    // 1.00390625 is the tie between 1 and 1.0078125; the product is within a rounding of it.
    const { bound: bounds } = pointwise("bf16(mul(%x[i], 1.003906))", [1.0000002384185791], "bf16");
    expect(bounds).toEqual([2 ** -7]);
  });

  it("lets an uncertain comparison choose either side, and no other", () => {
    const { bound: bounds } = pointwise("select(lt(mul(%x[i], 0.1), 0.3), 5.0, 7.0)", [3, 2]);
    expect(bounds).toEqual([2, 0]);
  });

  it("promises nothing outside a domain or beyond f32", () => {
    expect(pointwise("rsqrt(sub(mul(%x[i], 0.1), mul(%x[i], 0.1)))", [3]).bound).toEqual([Infinity]);
    expect(pointwise("mul(%x[i], 1e38)", [3.5]).bound).toEqual([Infinity]);
    expect(pointwise("div(1.0, sub(mul(%x[i], 0.1), 0.3))", [3]).bound).toEqual([Infinity]);
  });

  it("knows what topk cannot decide", () => {
    const text = (scale: string): string => `graph f
%x = input argument "x": f32[3]
%s = loop i in 3 {
  yield f32[i]: mul(%x[i], ${scale})
}
%t = topk %s axis 0 k 1;
result "y" = %t.1
`;
    const close = tensor("f32", [3], [1, 5, 5.0000005]);
    expect(bound(text("0.1"), { x: close }).bound).toEqual([1]);
    expect(bound(text("1.0"), { x: close }).bound).toEqual([0]);
    expect(bound(text("0.1"), { x: tensor("f32", [3], [1, 5, 6]) }).bound).toEqual([0]);
  });

  it("is wide enough for a read at an uncertain index", () => {
    const text = `graph f
%x = input argument "x": f32[1]
%t = input argument "t": f32[4]
%y = loop i in 1 {
  yield f32[i]: %t[i32(mul(%x[i], 0.1))] clamp
}
result "y" = %y
`;
    const table = tensor("f32", [4], [1, 10, 100, 1000]);
    // 20 * 0.1 is 2 or just below it.
    expect(bound(text, { x: tensor("f32", [1], [20]), t: table }).bound[0]).toBeGreaterThanOrEqual(90);
    expect(bound(text, { x: tensor("f32", [1], [25]), t: table }).bound).toEqual([0]);
  });
});
