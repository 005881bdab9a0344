/** Reassociation on graphs in text: the same values, up to rounding, from other sums. */
import { describe, expect, it } from "vitest";
import { reassociate } from "../../compiler/passes/derive.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import type { Graph, Node, Ref } from "../../compiler/tensor/ir.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { verify } from "../../compiler/tensor/verify.ts";
import { expectClose, numbers, random, run } from "./oracle.ts";

function read(text: string): { readonly arena: Arena; readonly graph: Graph } {
  const arena = new Arena();
  return { arena, graph: parse(arena, text) };
}

function named(arena: Arena, graph: Graph, name: string): Ref {
  for (const node of topological(graph)) {
    if (node.kind === "input" ? node.name === name : arena.hint(arena.ref(node)) === name)
      return arena.ref(node);
  }
  throw new Error(`no '${name}'`);
}

function rewritten(
  text: string,
  factor: string,
  where: "into" | "after",
  target: string,
  rounding: "exact" | "contraction" = "exact",
) {
  const { arena, graph } = read(text);
  const outside = new Set<Node>(graph.inputs);
  const roots = graph.results.map((r) => r.value);
  const done = reassociate(arena, roots, {
    factor: [named(arena, graph, factor)],
    where,
    target: [named(arena, graph, target)],
    outside,
    rounding,
  });
  if (done.kind === "refused") return { arena, graph, why: done.why, made: graph };
  const made = { ...graph, results: graph.results.map((r) => ({ ...r, value: done.find(r.value) })) };
  expect(verify(made)).toEqual([]);
  return { arena, graph, why: undefined, made };
}

const intoText = `graph into
%q = input argument "q": f32[3, 4]
%c = input argument "c": f32[5, 2]
%w = input param "w": f32[4, 2]
%k0 = loop t in 5, n in 4 over l in 2 {
  sum = sum f32: mul(%c[t, l], %w[n, l])
  yield f32[t, n]: sum
}
%k = loop t in 5, n in 4 {
  yield f32[t, n]: %k0[t, n]
}
%s = loop s in 3, t in 5 over n in 4 {
  sum = sum f32: mul(%q[s, n], %k[t, n])
  yield f32[s, t]: sum
}
result "out" = %s
`;

const afterText = `graph after
%p = input argument "p": f32[3, 5]
%keep = input argument "keep": bool[3, 5]
%c = input argument "c": f32[5, 2]
%w = input param "w": f32[4, 2]
%v = loop t in 5, d in 4 over l in 2 {
  sum = sum f32: mul(%c[t, l], %w[d, l])
  yield f32[t, d]: sum
}
%o = loop s in 3, d in 4 over t in 5 {
  sum = sum f32: select(%keep[s, t], mul(%p[s, t], %v[t, d]), 0.0)
  yield f32[s, d]: sum
}
result "out" = %o
`;

describe("reassociation", () => {
  const next = random(3);
  const inputs = {
    q: numbers(12, next),
    c: numbers(10, next),
    w: numbers(8, next),
    p: numbers(15, next),
    keep: numbers(15, next).map((x) => Number(x > 0)),
  };

  it("moves a weight into the factor beside it", () => {
    const { arena, graph, made } = rewritten(intoText, "w", "into", "q");
    expectClose(
      run({ arena, graph: made }, inputs)["out"],
      run({ arena, graph }, inputs)["out"] ?? [],
      1e-6,
      1e-6,
    );
    expect(print(arena, made)).toMatchInlineSnapshot(`
      "graph into
      %q = input argument "q": f32[3, 4]
      %c = input argument "c": f32[5, 2]
      %w = input param "w": f32[4, 2]
      %3 = loop s in 3, l in 2 over n in 4 {
        sum = sum f32: mul(%q[s, n], %w[n, l])
        yield f32[s, l]: sum
      }
      %s = loop s in 3, t in 5 over l in 2 {
        sum = sum f32: mul(%3[s, l], %c[t, l])
        yield f32[s, t]: sum
      }
      result "out" = %s
      "
    `);
  });

  it("moves a weight behind the sum, keep bits with the inner one", () => {
    const { arena, graph, made } = rewritten(afterText, "w", "after", "p");
    expectClose(
      run({ arena, graph: made }, inputs)["out"],
      run({ arena, graph }, inputs)["out"] ?? [],
      1e-6,
      1e-6,
    );
    expect(print(arena, made)).toMatchInlineSnapshot(`
      "graph after
      %p = input argument "p": f32[3, 5]
      %keep = input argument "keep": bool[3, 5]
      %c = input argument "c": f32[5, 2]
      %w = input param "w": f32[4, 2]
      %4 = loop s in 3, l in 2 over t in 5 {
        sum = sum f32: select(%keep[s, t], mul(%p[s, t], %c[t, l]), 0.0)
        yield f32[s, l]: sum
      }
      %o = loop s in 3, d in 4 over l in 2 {
        sum = sum f32: mul(%4[s, l], %w[d, l])
        yield f32[s, d]: sum
      }
      result "out" = %o
      "
    `);
  });

  it("rounds the inner sum as a contraction's factor", () => {
    const text = intoText.replace(/"c": f32/, '"c": bf16');
    const { arena, made } = rewritten(text, "w", "into", "q", "contraction");
    expect(print(arena, made)).toContain("bf16(%");
  });

  it("says why where the product is not one", () => {
    const { why } = rewritten(
      intoText.replace("yield f32[t, n]: %k0[t, n]", "yield f32[t, n]: exp(%k0[t, n])"),
      "w",
      "into",
      "q",
    );
    expect(why).toBe("between them stands more than sums of products");
  });

  it("says why where the factor is in no sum with the target", () => {
    const { why } = rewritten(afterText, "w", "after", "keep");
    expect(why).toBe("no sum multiplies the two");
  });

  it("says why where what is summed varies in the other factor too", () => {
    const text = intoText
      .replaceAll("%c[t, l]", "%c2[t, l, n]")
      .replace('%c = input argument "c": f32[5, 2]', '%c2 = input argument "c2": f32[5, 2, 4]');
    expect(rewritten(text, "w", "into", "q").why).toBe(
      "every axis that is summed varies in the rest of the product too",
    );
  });
});
