import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runPasses } from "../../compiler/passes/pass.ts";
import { simplify } from "../../compiler/passes/simplify.ts";
import { simplifyRules, type RuleContext } from "../../compiler/passes/simplify-rules.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import type { Graph, Ref, Scalar } from "../../compiler/tensor/ir.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { reachable } from "../../compiler/tensor/scalars.ts";
import { symbol } from "../../compiler/types/dim.ts";
import { noFacts } from "../../compiler/types/prover.ts";
import { numbers, tensor } from "../tensor/tensors.ts";
import { Random, randomGraph } from "./random-graph.ts";

function simplified(text: string): string {
  const arena = new Arena();
  return print(arena, runPasses([simplify], parse(arena, text), { arena }));
}

/** The body of a loop over b in B and s in S, reading x[B * S] and y[B, S]. */
function body(value: string, dtype: string = "f32"): string {
  const head = `graph f\ndims B, S\n%x = input argument "x": f32[B * S]\n%y = input argument "y": bf16[B, S]\n`;
  const text = simplified(
    `${head}%z = loop b in B, s in S {\n  yield ${dtype}[b, s]: ${value}\n}\nresult "z" = %z\n`,
  );
  return /yield [a-z0-9]+\[b, s\]: (.*)\n/.exec(text)?.[1] ?? text;
}

describe("simplify", () => {
  it.each([
    ["floordiv(add(mul(b, dim(S)), s), dim(S))", "i32", "b"],
    ["mod(add(mul(b, dim(S)), s), dim(S))", "i32", "s"],
    ["floordiv(s, dim(S))", "i32", "0"],
    ["mod(add(s, 1), dim(S))", "i32", "mod(add(s, 1), dim(S))"],
    ["add(mul(floordiv(s, 4), 4), mod(s, 4))", "i32", "s"],
    ["floordiv(floordiv(s, 4), 8)", "i32", "floordiv(s, 32)"],
    ["lt(s, dim(S))", "bool", "true"],
    ["ge(b, dim(B))", "bool", "false"],
    ["le(s, b)", "bool", "le(s, b)"],
    ["%x[add(mul(b, dim(S)), s)] else 0.0", "f32", "%x[add(mul(b, dim(S)), s)]"],
    ["%y[b, sub(s, 1)] else 0.0", "f32", "%y[b, add(s, -1)] else 0.0"],
    ["bf16(%y[b, s])", "f32", "%y[b, s]"],
    ["f32(bf16(%y[b, s]))", "f32", "%y[b, s]"],
    ["f32(%x[s])", "f32", "f32(%x[s])"],
    ["mul(%x[s], rsqrt(4.0))", "f32", "mul(%x[s], 0.5)"],
    ["add(%x[s], 0.0)", "f32", "add(%x[s], 0.0)"],
    ["div(%x[s], 8.0)", "f32", "mul(%x[s], 0.125)"],
    ["div(%x[s], 3.0)", "f32", "div(%x[s], 3.0)"],
  ])("%s", (before, dtype, after) => {
    expect([after, after.replace("add(s, -1)", "sub(s, 1)")]).toContain(body(before, dtype));
  });

  it("reads through a reshape and back, and drops the views", () => {
    const text = simplified(`graph f
dims B, S
%x = input argument "x": bf16[B, S, 64]
%flat = loop n in B * S, d in 64 {
  yield bf16[n, d]: %x[floordiv(n, dim(S)), mod(n, dim(S)), d]
}
%y = loop b in B, s in S, d in 64 {
  yield bf16[d, b, s]: exp(%flat[add(mul(b, dim(S)), s), d])
}
result "y" = %y
`);
    expect(text).toBe(`graph f
dims B, S
%x = input argument "x": bf16[B, S, 64]
%y = loop b in B, s in S, d in 64 {
  yield bf16[d, b, s]: exp(%x[b, s, d])
}
result "y" = %y
`);
  });

  it("keeps the bounds of a read that it moves through a plain view, and no others", () => {
    const text = (view: string): string => `graph f
dims B
%x = input argument "x": f32[B, 4]
%t = loop i in 4, b in B {
  yield f32[i, b]: ${view}
}
%y = loop i in 4, b in B {
  yield f32[i, b]: %t[i, sub(b, 1)] else 0.0
}
result "y" = %y
`;
    expect(simplified(text("%x[b, i]"))).toContain("%x[sub(b, 1), i] else 0.0");
    expect(simplified(text("%x[0, i]"))).toContain("%t[i, sub(b, 1)] else 0.0");
  });

  it("returns the same graph when there is nothing to do, and after its own work", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const { arena, graph } = randomGraph(seed, "whole", 10);
      const once = simplify.run(graph, { arena });
      expect(simplify.run(once, { arena }) === once, print(arena, once)).toBe(true);
    }
  });

  it("keeps every value exactly, on random graphs", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 3, max: 14 }), (seed, steps) => {
        const { arena, graph, inputs, dims } = randomGraph(seed, "whole", steps);
        const before = interpret(arena, graph, inputs, dims).results;
        const after = interpret(arena, runPasses([simplify], graph, { arena }), inputs, dims).results;
        for (const [name, value] of before)
          expect(numbers(after.get(name)), print(arena, graph)).toEqual(numbers(value));
      }),
      { numRuns: 150 },
    );
  });
});

// ---------------------------------------------------------------- the rules on special values

const special = [0, -0, 1, -1, 0.5, 3, -2.25, Infinity, -Infinity, Number.NaN, 1e-40, 3e38];

function randomScalar(a: Arena, r: Random, leaves: readonly Scalar[], depth: number): Scalar {
  const sub = (): Scalar => randomScalar(a, r, leaves, depth - 1);
  if (depth === 0 || r.below(6) === 0)
    return r.below(3) === 0 ? a.f32(r.pick([0, -0, 1, 2, -4, 0.5, Infinity, Number.NaN])) : r.pick(leaves);
  switch (r.below(10)) {
    case 0:
    case 1:
      return a.apply("neg", sub());
    case 2:
      return a.apply("abs", sub());
    case 3: {
      const x = sub();
      return a.apply(r.pick(["max", "min"]), x, r.below(2) === 0 ? x : sub());
    }
    case 4:
      return a.round(r.pick(["f32", "bf16", "e4m3", "f16"]), sub());
    case 5: {
      const c = a.apply(r.pick(["lt", "ge", "eq"]), r.pick(leaves), r.pick(leaves));
      const [x, y] = [sub(), r.below(2) === 0 ? a.apply("select", c, sub(), sub()) : sub()];
      return r.below(2) === 0 ? a.apply("select", a.apply("not", c), y, x) : a.apply("select", c, x, y);
    }
    case 6: {
      const c = a.apply("lt", r.pick(leaves), r.pick(leaves));
      const flag = r.pick([
        a.apply("not", a.apply("not", c)),
        a.apply("select", c, a.bool(true), a.bool(false)),
        a.apply("select", c, a.bool(false), a.bool(true)),
      ]);
      return a.apply("select", flag, sub(), sub());
    }
    default:
      return a.apply(r.pick(["add", "sub", "mul", "div"]), sub(), sub());
  }
}

describe("rules of simplify", () => {
  const arena = new Arena();
  const count = special.length;
  const inputs: Ref[] = [];
  const extent = symbol("N");
  const [x, y] = ["x", "y"].map((name) =>
    arena.ref(arena.input(name, "argument", arena.type("f32", [extent]))),
  );
  if (x === undefined || y === undefined) throw new Error("two inputs");
  const leaves = [arena.read(inputs, x, [arena.axis(0)]), arena.read(inputs, y, [arena.axis(1)])];
  const data = new Map([
    ["x", tensor("f32", [count], special)],
    ["y", tensor("f32", [count], special)],
  ]);

  function graphOf(value: Scalar): Graph {
    const axes = [
      { name: "i", extent },
      { name: "j", extent },
    ];
    const node = arena.loop({ axes, inputs, results: [{ value, dtype: "f32", axes: [0, 1] }] });
    const nodes = [x, y].flatMap((ref) => (ref?.node.kind === "input" ? [ref.node] : []));
    return {
      name: "f",
      inputs: nodes,
      results: [{ name: "z", value: arena.ref(node) }],
      updates: [],
      dims: ["N"],
      checks: [],
    };
  }

  it("keep every value, NaN, infinities and zeros of both signs included, and each of them is tried", () => {
    const fired = new Set<string>();
    const cx: RuleContext = {
      arena,
      axes: [
        { name: "i", extent },
        { name: "j", extent },
      ],
      facts: noFacts,
      dtypeOf: () => "f32",
      shapeOf: () => [extent],
    };
    for (let seed = 1; seed <= 1500; seed++) {
      const value = randomScalar(arena, new Random(seed * 7919), leaves, 4);
      for (const s of reachable([value])) {
        for (const rule of simplifyRules) {
          const root = s.kind === "apply" ? s.fn : s.kind;
          if (rule.roots.includes(root) && rule.rewrite(cx, s) !== undefined) fired.add(rule.name);
        }
      }
      const graph = graphOf(value);
      const dims = new Map([["N", count]]);
      const before = numbers(interpret(arena, graph, data, dims).results.get("z"));
      const after = numbers(interpret(arena, simplify.run(graph, { arena }), data, dims).results.get("z"));
      // toEqual tells -0 from 0, as `Object.is` does.
      expect(after, print(arena, graph)).toEqual(before);
    }
    const onFloats = simplifyRules.filter(
      (rule) =>
        !/indices|q|\bx \/ [ad]|cast/.test(rule.name) && !rule.name.endsWith("of constants -> constant"),
    );
    expect(onFloats.map((rule) => rule.name).filter((name) => !fired.has(name))).toEqual([]);
  });
});
