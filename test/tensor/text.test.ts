import { describe, expect, it } from "vitest";
import { Arena } from "../../compiler/tensor/arena.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { verify } from "../../compiler/tensor/verify.ts";

const rmsnorm = `graph rmsnorm
dims B, D
check B <= 2 * D: "B is \\"small\\""
%x = input argument "x": bf16[B, D]
%block_g = input param "block.g": f32[D]
%y = loop b in B over d in D {
  let t0 = %x[b, d]
  r = sum f32: mul(t0, t0)
  yield bf16[b, d]: mul(mul(t0, rsqrt(add(div(r, f32(dim(D))), 1e-6))), %block_g[d])
}
result "y" = %y
`;

const structured = `graph route
dims N
check floordiv(N, 4) != 3: "odd"
%s = input argument "s": f32[N, 8]
%keep = input argument "keep": bool[N, 8]
%kv_pages = input state "kv.pages": i64[4]
%3 = topk %s axis 1 k 2 keep %keep;
%4 = dispatch %3.1 experts 8 align 16
%5 = scan %s axis 0
%6 = sort %5 axis 1
%7 = scatter %kv_pages n in N {
  target [%4.3[n] clamp]
  let t0 = add(n, -1)
  value: %kv_pages[t0] else -3l
  keep: and(lt(t0, 2), not(eq(u32(n), 7u)))
}
result "plan" = %4
result "top" = %3.2
result "sorted" = %6
update "kv.pages" = %7
`;

const ordered = `graph rows
%x = input argument "x": f32[4, 8]
%next = input argument "next": i32[4]
%z = loop n in 4 over d in 8 {
  z = sum f32: %x[n, d]
  order n: %next[n]
  yield f32[n]: z
}
result "z" = %z
`;

describe("the text of a graph", () => {
  it.each([
    ["rmsnorm", rmsnorm],
    ["structured nodes", structured],
    ["an order", ordered],
  ])("reads back to itself: %s", (_, text) => {
    const arena = new Arena();
    const graph = parse(arena, text);
    expect(verify(graph)).toEqual([]);
    expect(print(arena, graph)).toBe(text);
    expect(print(arena, parse(arena, text))).toBe(text);
    const again = parse(arena, print(arena, graph));
    expect(again.results.map((r) => r.value)).toEqual(graph.results.map((r) => r.value));
    expect(again.results.every((r, i) => r.value === graph.results[i]?.value)).toBe(true);
  });

  it("prints and reads a body 20,000 deep", () => {
    const arena = new Arena();
    const x = arena.ref(arena.input("x", "argument", arena.type("f32", [])));
    const inputs = [x];
    let value = arena.read(inputs, x, []) as ReturnType<Arena["apply"]>;
    for (let i = 0; i < 20_000; i++) value = arena.apply("add", value, arena.f32(i));
    const node = arena.loop({ axes: [], results: [{ value, dtype: "f32", axes: [] }], inputs });
    const input = x.node;
    if (input.kind !== "input") throw new Error("an input");
    const graph = arena.graph({
      name: "deep",
      inputs: [input],
      results: [{ name: "y", value: arena.ref(node) }],
      updates: [],
      dims: [],
      checks: [],
    });
    expect(parse(arena, print(arena, graph)).results[0]?.value).toBe(graph.results[0]?.value);
  });

  it("says where text is wrong", () => {
    const arena = new Arena();
    expect(() => parse(arena, 'graph f\n%x = input argument "x": f33[2]')).toThrow(
      "2:26: expected a dtype, found 'f33'",
    );
    expect(() => parse(arena, 'graph f\nresult "y" = %y')).toThrow("2:16: there is no node %y above");
  });
});

describe("verify", () => {
  const bad: readonly (readonly [string, string, string])[] = [
    [
      "a result along a reduced axis",
      "%y = loop b in 2 over d in 3 {\n r = sum f32: %x[b, d]\n yield f32[b]: %x[b, d]\n}",
      "result 0 varies along a reduced axis",
    ],
    [
      "half of the reduced axes",
      "%y = loop over b in 2, d in 3 {\n r = sum f32: %x[b, d]\n yield f32[d]: r\n}",
      "result 0 has not the first axes of 'over'",
    ],
    [
      "a missing axis",
      "%y = loop b in 2, d in 3 {\n yield f32[b]: %x[b, d]\n}",
      "result 0 lacks an axis of the loop",
    ],
    [
      "an axis that a carrier varies along",
      "%y = loop b in 2 over d in 3 {\n r = sum f32: %x[b, d]\n yield f32[]: r\n}",
      "result 0 lacks an axis of the loop",
    ],
    [
      "a wrong monoid type",
      "%y = loop b in 2 over d in 3 {\n r = any f32: %x[b, d]\n yield f32[b]: r\n}",
      "'any' of f32",
    ],
    [
      "a bool stored as f32",
      "%y = loop b in 2, d in 3 {\n yield f32[b, d]: lt(%x[b, d], 1.0)\n}",
      "result 0 stores bool as f32",
    ],
    [
      "an order by another axis",
      "%y = loop b in 2, d in 3 {\n order b: d\n yield f32[b, d]: %x[b, d]\n}",
      "an order that varies along another axis",
    ],
    [
      "an order by floats",
      "%y = loop b in 2, d in 3 {\n order b: f32(b)\n yield f32[b, d]: %x[b, d]\n}",
      "places of f32",
    ],
    ["an axis out of rank", "%y = sort %x axis 2", "there is no axis 2"],
  ];
  it.each(bad)("finds %s", (_, text, message) => {
    const graph = parse(
      new Arena(),
      `graph f\n%x = input argument "x": f32[2, 3]\n${text}\nresult "y" = %y\n`,
    );
    expect(verify(graph).map((v) => v.message)).toEqual([message]);
  });

  it("finds a carrier that uses a later one, a missing input and a size from nowhere", () => {
    const arena = new Arena();
    const graph = parse(
      arena,
      'graph f\ndims N\n%x = input argument "x": f32[N]\n%y = loop over d in N {\n r = sum f32: %x[d]\n yield f32[]: r\n}\nresult "y" = %y\n',
    );
    const node = graph.results[0]?.value.node;
    if (node?.kind !== "loop") throw new Error("a loop");
    const later = arena.loop({
      ...node,
      carriers: [{ name: "r", monoid: "sum", lift: arena.carrier(0, "f32") }, ...node.carriers],
    });
    expect(
      verify({ ...graph, results: [{ name: "y", value: arena.ref(later) }] }).map((v) => v.message),
    ).toEqual(["carrier 0 uses carrier 0"]);
    expect(verify({ ...graph, inputs: [], dims: [] }).map((v) => v.message)).toEqual([
      "input 'x' is not among the graph's inputs",
      "size N is not among the graph's dims",
    ]);
  });
});
