/** Masked softmax and attention from typed trees built by hand. */
import { describe, expect, it } from "vitest";
import type { Variable } from "../../compiler/check/typed.ts";
import { symbol } from "../../compiler/types/dim.ts";
import { print } from "../../compiler/tensor/print.ts";
import { expectClose, halfUlp, lowered, numbers, random, run, stored } from "./oracle.ts";
import * as t from "./typed-tree.ts";

function softmax() {
  const a: Variable = t.param("a", t.tensor("A", [t.pack, "X"]));
  const [dots, x] = [t.variable("...", t.pack), t.variable("x", "X")];
  const m = t.bind("m", t.over([dots], t.reduce("max", [x], t.read(t.local(a), ["...", x]))));
  const e = t.bind(
    "e",
    t.over(
      [dots, x],
      t.apply("exp", t.apply("sub", t.read(t.local(a), ["...", x]), t.read(t.local(m.variable), ["..."]))),
    ),
  );
  const z = t.bind("z", t.over([dots], t.reduce("sum", [x], t.read(t.local(e.variable), ["...", x]))));
  const out = t.over(
    [dots, x],
    t.apply("div", t.read(t.local(e.variable), ["...", x]), t.read(t.local(z.variable), ["..."])),
  );
  const result = t.cast(out, t.tensor("A", [t.pack, "X"]));
  return t.fn("softmax", [t.param("a", a.type)], [m.statement, e.statement, z.statement], result, {
    typeParams: [{ name: "A", bound: "float" }],
    dims: ["X"],
  });
}

function attend() {
  const [q, k, v] = [
    t.param("q", t.tensor("A", ["S", "D"])),
    t.param("k", t.tensor("A", ["T", "D"])),
    t.param("v", t.tensor("A", ["T", "E"])),
  ];
  const keep = t.param("keep", t.tensor("bool", ["S", "T"]));
  const [s, u, d, e] = [
    t.variable("s", "S"),
    t.variable("t", "T"),
    t.variable("d", "D"),
    t.variable("e", "E"),
  ];
  const root = t.apply("rsqrt", { kind: "dim", dim: symbol("D"), type: t.tensor("f32"), place: t.place });
  const dot = t.reduce("sum", [d], t.apply("mul", t.read(t.local(q), [s, d]), t.read(t.local(k), [u, d])));
  const score = t.bind("score", t.over([s, u], t.apply("mul", root, dot)));
  const bindings = {
    dims: new Map([["X", symbol("T")]]),
    dtypes: new Map([["A", { kind: "dtype", dtype: "f32" } as const]]),
    unwritten: new Set(["A"]),
    pack: [t.axis("S")],
  };
  const p = t.bind(
    "p",
    t.call(
      softmax(),
      [t.where(t.local(score.variable), t.local(keep))],
      bindings,
      t.tensor("f32", ["S", "T"], { written: false }),
    ),
  );
  const out = t.over(
    [s, e],
    t.reduce("sum", [u], t.apply("mul", t.read(t.local(p.variable), [s, u]), t.read(t.local(v), [u, e]))),
  );
  return t.fn(
    "attend",
    [q, k, v, keep],
    [score.statement, p.statement],
    t.cast(out, t.tensor("A", ["S", "E"])),
    { typeParams: [{ name: "A", bound: "float" }] },
  );
}

function expected(
  S: number,
  T: number,
  D: number,
  E: number,
  q: number[],
  k: number[],
  v: number[],
  keep: number[],
): number[] {
  const out: number[] = [];
  for (let s = 0; s < S; s++) {
    const score = Array.from({ length: T }, (_, u) => {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += (q[s * D + d] ?? 0) * (k[u * D + d] ?? 0);
      return keep[s * T + u] ? sum / Math.sqrt(D) : -Infinity;
    });
    const max = Math.max(...score);
    const e = score.map((x) => (x === -Infinity ? 0 : Math.exp(x - max)));
    const z = e.reduce((a, b) => a + b, 0);
    const p = stored(
      "bf16",
      e.map((x) => (z === 0 ? 0 : x / z)),
    );
    for (let c = 0; c < E; c++) {
      let sum = 0;
      for (let u = 0; u < T; u++) sum += (p[u] ?? 0) * (v[u * E + c] ?? 0);
      out.push(sum);
    }
  }
  return stored("bf16", out);
}

describe("attention from a typed tree", () => {
  for (const [S, T, D, E] of [
    [1, 1, 1, 1],
    [3, 5, 4, 2],
    [2, 7, 3, 5],
  ] as const) {
    it(`is right for S=${S}, T=${T}, D=${D}, E=${E}, a fully masked row included`, () => {
      const next = random(S * 100 + T);
      const [q, k, v] = [
        stored("bf16", numbers(S * D, next)),
        stored("bf16", numbers(T * D, next)),
        stored("bf16", numbers(T * E, next)),
      ];
      const keep = Array.from({ length: S * T }, (_, i) => (i < T && S > 1 ? 0 : next() > -0.4 ? 1 : 0));
      const made = lowered(t.program(attend()), attend(), { S, T, D, E }, new Map([["A", "bf16"]]));
      const { out } = run(made, { q, k, v, keep });
      expectClose(out, expected(S, T, D, E, q, k, v, keep), 2 * halfUlp.bf16);
    });
  }

  it("is the same with sizes left symbolic", () => {
    const made = lowered(t.program(attend()), attend(), { D: 4 }, new Map([["A", "bf16"]]));
    expect(made.graph.dims).toEqual(["S", "T", "E"]);
    const next = random(7);
    const [S, T, D, E] = [2, 3, 4, 2];
    const [q, k, v] = [
      stored("bf16", numbers(S * D, next)),
      stored("bf16", numbers(T * D, next)),
      stored("bf16", numbers(T * E, next)),
    ];
    const keep = [1, 0, 1, 1, 1, 0];
    expectClose(
      run(made, { q, k, v, keep }, { S, T, E })["out"],
      expected(S, T, D, E, q, k, v, keep),
      2 * halfUlp.bf16,
    );
  });

  it("makes one loop for each reduction and each let", () => {
    const made = lowered(t.program(attend()), attend(), { S: 3, T: 5, D: 4, E: 2 }, new Map([["A", "bf16"]]));
    expect(print(made.arena, made.graph)).toMatchInlineSnapshot(`
      "graph attend
      %q = input argument "q": bf16[3, 4]
      %k = input argument "k": bf16[5, 4]
      %v = input argument "v": bf16[5, 2]
      %keep = input argument "keep": bool[3, 5]
      %sum = loop s in 3, t in 5 over d in 4 {
        sum = sum f32: mul(%q[s, d], %k[t, d])
        yield f32[s, t]: sum
      }
      %score = loop s in 3, t in 5 {
        yield f32[s, t]: mul(rsqrt(4.0), %sum[s, t])
      }
      %m = loop s in 3 over x in 5 {
        max = max f32: select(%keep[s, x], %score[s, x], -inf)
        yield f32[s]: max
      }
      %e = loop s in 3, x in 5 {
        yield f32[s, x]: exp(sub(%score[s, x], %m[s]))
      }
      %z = loop s in 3 over x in 5 {
        sum = sum f32: select(%keep[s, x], %e[s, x], 0.0)
        yield f32[s]: sum
      }
      %p = loop s in 3, x in 5 {
        yield f32[s, x]: select(%keep[s, x], div(%e[s, x], %z[s]), 0.0)
      }
      %sum_2 = loop s in 3, e in 2 over t in 5 {
        sum = sum f32: mul(scaled_bf16(%p[s, t]), %v[t, e])
        yield f32[s, e]: sum
      }
      %11 = loop s in 3, e in 2 {
        yield bf16[s, e]: bf16(%sum_2[s, e])
      }
      result "out" = %11
      "
    `);
  });
});
