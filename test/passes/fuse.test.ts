import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fuse, fuseDefaults, type FusionDecision } from "../../compiler/passes/fuse.ts";
import { runPasses } from "../../compiler/passes/pass.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { numbers } from "../tensor/tensors.ts";
import { randomGraph } from "./random-graph.ts";

function fused(text: string): string {
  const arena = new Arena();
  return print(arena, runPasses([fuse()], parse(arena, text), { arena }));
}

function loops(text: string): number {
  return text.split("\n").filter((line) => line.includes("= loop")).length;
}

describe("fuse", () => {
  it("makes one loop of softmax", () => {
    const text = fused(`graph softmax
dims B
%a = input argument "a": bf16[B, 512]
%m = loop b in B over t in 512 {
  r = max f32: %a[b, t]
  yield f32[b]: r
}
%e = loop b in B, t in 512 {
  yield f32[b, t]: exp(sub(%a[b, t], %m[b]))
}
%z = loop b in B over t in 512 {
  r = sum f32: %e[b, t]
  yield f32[b]: r
}
%y = loop b in B, t in 512 {
  yield bf16[b, t]: div(%e[b, t], %z[b])
}
result "out" = %y
`);
    expect(text).toBe(`graph softmax
dims B
%a = input argument "a": bf16[B, 512]
%y = loop b in B over t in 512 {
  let t0 = %a[b, t]
  r = max f32: t0
  let t1 = exp(sub(t0, r))
  r_2 = sum f32: t1
  yield bf16[b, t]: div(t1, r_2)
}
result "out" = %y
`);
  });

  it("makes one loop of a residual sum and the rmsnorm of it, which both leave", () => {
    const text = fused(
      `graph block
dims B
%x = input argument "x": bf16[B, 512]
%a = input argument "a": bf16[B, 512]
%g = input param "g": f32[512]
%h = loop b in B, d in 512 {
  yield bf16[b, d]: add(%x[b, d], %a[b, d])
}
%s = loop i in B over j in 512 {
  r = sum f32: mul(%h[i, j], %h[i, j])
  yield f32[i]: r
}
%r = loop b in B {
  yield f32[b]: rsqrt(add(div(%s[b], 512.0), 1e-6))
}
%y = loop d in 512, b in B {
  yield bf16[b, d]: mul(mul(%h[b, d], %r[b]), %g[d])
}
result "h" = %h
result "y" = %y
`.replace("yield bf16[b, d]: mul(mul", "yield bf16[d, b]: mul(mul"),
    );
    expect(text).toBe(`graph block
dims B
%x = input argument "x": bf16[B, 512]
%a = input argument "a": bf16[B, 512]
%g = input param "g": f32[512]
%h = loop i in B over j in 512 {
  let t0 = add(%x[i, j], %a[i, j])
  let t1 = bf16(t0)
  r = sum f32: mul(t1, t1)
  yield bf16[i, j]: t0
  yield bf16[j, i]: mul(mul(t1, rsqrt(add(div(r, 512.0), 1e-6))), %g[j])
}
result "h" = %h
result "y" = %h.1
`);
  });

  const swiglu = `graph swiglu
dims N
%x = input argument "x": bf16[N, 256]
%u = input param "u": bf16[1024, 256]
%w = input param "w": bf16[1024, 256]
%up = loop n in N, f in 1024 over d in 256 {
  r = sum f32: mul(%x[n, d], %u[f, d])
  yield f32[n, f]: r
}
%gate = loop n in N, f in 1024 over d in 256 {
  r = sum f32: mul(%x[n, d], %w[f, d])
  yield f32[n, f]: r
}
%h = loop n in N, f in 1024 {
  yield bf16[n, f]: mul(silu(%gate[n, f]), %up[n, f])
}
result "h" = %h
`;
  it("joins contractions that share an operand, with their epilogue", () => {
    expect(loops(fused(swiglu))).toBe(1);
  });

  it("keeps a contraction apart from the rows that follow it, and gives the reason", () => {
    const arena = new Arena();
    const graph = parse(
      arena,
      `graph f
%q = input argument "q": bf16[64, 128]
%k = input argument "k": bf16[512, 128]
%s = loop s in 64, t in 512 over d in 128 {
  r = sum f32: mul(%q[s, d], %k[t, d])
  yield f32[s, t]: r
}
%m = loop s in 64 over t in 512 {
  r = max f32: %s[s, t]
  yield f32[s]: r
}
%y = loop s in 64, t in 512 {
  yield bf16[s, t]: exp(sub(%s[s, t], %m[s]))
}
result "y" = %y
`,
    );
    const decisions: FusionDecision[] = [];
    const after = runPasses([fuse(fuseDefaults, decisions)], graph, { arena });
    expect(loops(print(arena, after))).toBe(2);
    expect(decisions.map(({ outcome }) => outcome)).toContain("row");
    expect(decisions.at(-1)?.outcome).toEqual({ kind: "contraction" });
  });

  it("does not make one block of a reduction of everything", () => {
    const text = `graph f
%x = input argument "x": f32[1000000]
%z = loop over i in 1000000 {
  r = sum f32: %x[i]
  yield f32[]: r
}
%y = loop i in 1000000 {
  yield f32[i]: div(%x[i], %z[])
}
result "y" = %y
`;
    expect(loops(fused(text))).toBe(2);
  });

  it("does not join what something between needs whole", () => {
    const text = `graph f
%x = input argument "x": f32[64, 8]
%y = loop i in 64, j in 8 {
  yield f32[i, j]: exp(%x[i, j])
}
%s = sort %y axis 1
%z = loop i in 64, j in 8 {
  yield f32[i, j]: add(%y[i, j], %s[i, j])
}
result "z" = %z
`;
    expect(fused(text)).toBe(text.replace("result", "result"));
  });

  it("keeps every value exactly, on random graphs of whole numbers", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 3, max: 14 }), (seed, steps) => {
        const { arena, graph, inputs, dims } = randomGraph(seed, "whole", steps);
        const before = interpret(arena, graph, inputs, dims).results;
        const after = interpret(arena, runPasses([fuse()], graph, { arena }), inputs, dims).results;
        for (const [name, value] of before) {
          if (JSON.stringify(numbers(value)) !== JSON.stringify(numbers(after.get(name)))) {
            throw new Error(
              `${name} changed\n${print(arena, graph)}\n${print(arena, fuse().run(graph, { arena }))}`,
            );
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it("finds nothing more to do in nearly all graphs that it has fused", () => {
    let more = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const { arena, graph } = randomGraph(seed, "whole", 10);
      const once = fuse().run(graph, { arena });
      const count = topological(once).length;
      if (topological(fuse().run(once, { arena })).length < count) more += 1;
    }
    expect(more).toBeLessThanOrEqual(5);
  });
});
