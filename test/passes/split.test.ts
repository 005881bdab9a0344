import { describe, expect, it } from "vitest";
import { runPasses } from "../../compiler/passes/pass.ts";
import { split } from "../../compiler/passes/split.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { numbers, tensor } from "../tensor/tensors.ts";

/** So slow that every byte counts. */
const slow = { units: 128, bandwidth: 1e3, maxThreads: 4 };

const columns = `graph columns
%x = input argument "x": f32[96, 6]
%y = loop n in 6 over k in 96 {
  sum = sum f32: mul(%x[k, n], 0.5)
  top = max f32: %x[k, n]
  yield f32[n]: add(sum, top)
}
result "out" = %y
`;

const product = `graph product
%x = input argument "x": f32[2, 1024]
%w = input argument "w": f32[3, 1024]
%y = loop m in 2, n in 3 over k in 1024 {
  sum = sum f32: mul(%x[m, k], %w[n, k])
  yield bf16[m, n]: bf16(sum)
}
result "out" = %y
`;

/** The logarithm of a sum of exponentials, a mean weighted by another sum, and what is furthest above a maximum's half. */
const linked = `graph linked
%x = input argument "x": f32[3, 512]
%y = loop n in 3 over v in 512 {
  let t0 = %x[n, v]
  top = max f32: t0
  let t1 = select(eq(abs(top), inf), 0.0, top)
  sum = sum f32: exp(sub(t0, t1))
  weighted = sum f32: mul(t0, div(exp(sub(t0, t1)), add(1.0, abs(t1))))
  above = max f32: add(t0, mul(0.5, top))
  yield f32[n]: add(add(log(sum), t1), add(div(weighted, sum), above))
}
result "out" = %y
`;

const unlinked = linked.replace("exp(sub(t0, t1))", "tanh(sub(t0, t1))");

const whole = `graph whole
%x = input argument "x": f32[64, 5]
%y = loop over a in 64, b in 5 {
  largest = max f32: %x[a, b]
  yield f32[]: largest
}
result "out" = %y
`;

/** Quarters, whose sums are exact in any order. */
function quarters(shape: readonly number[], seed: number): ReturnType<typeof tensor> {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    "f32",
    shape,
    Array.from({ length: size }, (_, i) => (((i + seed) * 7919) % 64) / 4 - 8),
  );
}

describe("split", () => {
  it.each([
    ["columns, two carriers", columns, { x: quarters([96, 6], 1) }],
    ["a product", product, { x: quarters([2, 1024], 2), w: quarters([3, 1024], 3) }],
    ["two axes to nothing", whole, { x: quarters([64, 5], 4) }],
  ])("leaves the meaning of %s as it was", (_, text, given) => {
    const arena = new Arena();
    const graph = parse(arena, text);
    const after = runPasses([split(slow)], graph, { arena });
    expect(print(arena, after)).toContain("over part in");
    const inputs = new Map(Object.entries(given));
    const [before, now] = [graph, after].map((g) =>
      numbers(interpret(arena, g, inputs, new Map()).results.get("out")),
    );
    expect(now).toEqual(before);
    expect(runPasses([split(slow)], after, { arena })).toBe(after);
  });

  it("rescales reductions that use others, and rows of nothing but -inf stay what they were", () => {
    const arena = new Arena();
    const graph = parse(arena, linked);
    const after = runPasses([split(slow)], graph, { arena });
    expect(print(arena, after)).toContain("over part in");
    const values = Array.from({ length: 3 * 512 }, (_, i) => ((i * 7919) % 1000) / 20 - 25);
    values.fill(-Infinity, 512, 1024);
    values.fill(-Infinity, 1100, 1400);
    const inputs = new Map([["x", tensor("f32", [3, 512], values)]]);
    const [before, now] = [graph, after].map((g) =>
      numbers(interpret(arena, g, inputs, new Map()).results.get("out")),
    );
    before?.forEach((value, i) => {
      if (Number.isFinite(value)) expect(now?.[i]).toBeCloseTo(value, 3);
      else expect(now?.[i]).toBe(value);
    });
  });

  it("keeps reductions that cannot be rescaled", () => {
    const arena = new Arena();
    const graph = parse(arena, unlinked);
    expect(runPasses([split(slow)], graph, { arena })).toBe(graph);
  });

  it("keeps what has work for all, what is quick, and what one device does alone", () => {
    for (const device of [
      { units: 1, bandwidth: 1e3, maxThreads: 1 },
      { units: 128, bandwidth: 1e12, maxThreads: 1024 },
    ]) {
      const arena = new Arena();
      const graph = parse(arena, columns);
      expect(runPasses([split(device)], graph, { arena })).toBe(graph);
    }
    const arena = new Arena();
    const many = parse(arena, columns.replaceAll("n in 6", "n in 60000").replace("96, 6", "96, 60000"));
    expect(runPasses([split(slow)], many, { arena })).toBe(many);
  });
});
