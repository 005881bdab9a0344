/** The language's rules, one by one: what is accepted, with the types that follow, and what is refused. */
import { describe, expect, test } from "vitest";
import { printType } from "../../compiler/check/axes.ts";
import type { TypedExpr, TypedFn } from "../../compiler/check/typed.ts";
import { check } from "./host.ts";

function fn(text: string, name = "f"): TypedFn {
  const { program, diagnostics } = check(text);
  expect(diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]);
  const found =
    program?.fns.find((each) => each.name === name) ??
    program?.modules.flatMap(({ fns }) => fns).find((each) => each.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

const codes = (text: string): readonly string[] => check(text).diagnostics.map(({ code }) => code);

/** Types of the body's `let`s by name, `~` for one that no type was written for, `?` for a masked one. */
function lets(text: string): Record<string, string> {
  const { body } = fn(text);
  if (body.kind !== "body") throw new Error("derived");
  return Object.fromEntries(
    body.statements.flatMap((s) => (s.kind === "let" ? s.variables.map((v) => [v.name, show(v.type)]) : [])),
  );
}

function show(type: TypedExpr["type"]): string {
  if (type.kind === "record")
    return `(${type.fields.map((field) => `${field.name}: ${show(field.type)}`).join(", ")})`;
  if (type.kind !== "tensor") return printType(type);
  return `${type.written ? "" : "~"}${type.masked ? "?" : ""}${printType(type)}`;
}

function result(text: string): TypedExpr {
  const { body } = fn(text);
  if (body.kind !== "body") throw new Error("derived");
  return body.result;
}

describe("types and rounding", () => {
  test("float arithmetic carries an f32 that no type was written for; reads keep their dtype", () => {
    expect(
      lets(`fn f(x: bf16[N], i: i32[N], k: bool[N]) -> bf16[N] {
        let a = for n: x[n]
        let b = for n: x[n] * 2
        let c: f16[N] = b
        let d = for n: i[n] + 1
        let e = for n: i[n] / 2 * x[n]
        let g = for n: x[n] < 0
        let h = bf16(b)
        let l = for n: i64(i[n]) + i[n]
        let o = -x
        let p = exp(i)
        x }`),
    ).toEqual({
      a: "bf16[N]",
      b: "~f32[N]",
      c: "f16[N]",
      d: "i32[N]",
      e: "~f32[N]",
      g: "bool[N]",
      h: "bf16[N]",
      l: "i64[N]",
      o: "~f32[N]",
      p: "~f32[N]",
    });
  });

  test("a typed let, a parameter, a result and a cast are cast nodes; a value of the type is not", () => {
    expect(result("fn f(x: f32[N]) -> f32[N] { x * 2 }").kind).toBe("cast");
    expect(result("fn f(x: f32[N]) -> bf16[N] { x }").kind).toBe("cast");
    expect(result("fn f(x: f32[N]) -> f32[N] { x }").kind).toBe("local");
    expect(result("fn g(x: bf16[N]) -> f32[N] { f32(x) }\nfn f(x: f32[N]) -> f32[N] { g(x) }")).toMatchObject(
      { kind: "call", args: [{ kind: "cast" }] },
    );
  });

  test("reductions", () => {
    expect(
      lets(`fn f(x: bf16[N, M], i: i32[N], k: bool[N]) -> f32 {
        let a = for n: sum[m](x[n, m])
        let b = max[n](i[n])
        let c = any[n](k[n])
        let d = mean[n](i[n])
        let e = for n: argmax[m](x[n, m])
        let g = sum[n, m](x[n, m])
        let h = sum[j in 4](x[0, 0] * j)
        let l = logsumexp[n](x[n, 0])
        0.0 }`),
    ).toEqual({ a: "~f32[N]", b: "i32", c: "bool", d: "~f32", e: "i32[N]", g: "~f32", h: "~f32", l: "~f32" });
    expect(codes("fn f(k: bool[N]) -> i32 { sum[n](k[n]) }")).toEqual(["WF2039"]);
    expect(codes("fn f(x: f32[N]) -> bool { any[n](x[n]) }")).toEqual(["WF2039"]);
  });

  test("dims are integers, and stay sizes where they cannot be negative", () => {
    expect(result("fn f(x: f32[D]) -> f32 where D % 2 == 0 { rsqrt(D) }")).toMatchObject({
      kind: "cast",
      value: { kind: "apply", fn: "rsqrt", args: [{ kind: "cast", value: { kind: "dim" } }] },
    });
    expect(result("fn f(x: f32[D]) -> i32 { D / 2 }")).toMatchObject({
      kind: "dim",
      dim: { kind: "floordiv" },
    });
    expect(result("fn f(x: f32[D]) -> i32 { D - 1 }").kind).toBe("dim");
    expect(result("fn f(x: f32[D]) -> i32 { D - 9 }").kind).toBe("apply");
    expect(result("fn f(x: i32) -> i32 { -x / 2 % 3 }")).toMatchObject({
      fn: "mod",
      args: [{ fn: "floordiv" }, {}],
    });
  });

  test("mixing conditions and numbers is refused, int and float are not", () => {
    expect(codes("fn f(x: f32, k: bool) -> f32 { x + k }")).toEqual(["WF2039"]);
    expect(codes("fn f(x: f32) -> i32 { x }")).toEqual(["WF2011"]);
    expect(codes("fn f(x: i64) -> i32 { x }")).toEqual(["WF2011"]);
    expect(codes("fn f(x: i32) -> f32 { x }")).toEqual([]);
    expect(codes("fn f(x: f32) -> f32 { x % 2.0 }")).toEqual(["WF2039"]);
    // What a mistake of syntax stands for has its type, and what is in it is checked once.
    expect(codes("fn f(x: f32) -> bool { 0.0 < x < 1.0 }")).toEqual(["WF1012"]);
    expect(codes("fn f(x: f32) -> bool { 0.0 < y < 1.0 }")).toEqual(["WF1012", "WF2001"]);
    expect(codes("fn f(x: f32, y: f32) -> bool { x < y and not (x == y) or true }")).toEqual([]);
    expect(codes("fn f() -> u8 { 256 }")).toEqual(["WF2011"]);
    expect(codes("fn f() -> bf16 { 0.1 }")).toEqual([]);
  });
});

describe("axes", () => {
  test("equal sizes with different names do not unify, a number and its name do", () => {
    expect(codes("dim A = 128, C = 128\nfn f(x: f32[A]) -> f32[C] { x }")).toEqual(["WF2012"]);
    expect(codes("dim A = 128\nfn f(x: f32[A]) -> f32[128] { x }")).toEqual([]);
    expect(codes("dim A = 128\nfn f(x: f32[A]) -> f32[64] { x }")).toEqual(["WF2012"]);
    expect(codes("dim H, Dh\ndim D = H * Dh\nfn f(x: f32[D]) -> f32[H * Dh] { x }")).toEqual([]);
    expect(codes("fn f(x: f32[S]) -> f32[T] where S == T { x }")).toEqual(["WF2012"]);
    expect(codes("fn f(x: f32[F + F]) -> f32[2 * F] { x }")).toEqual([]);
    expect(codes("fn f(x: f32[E]) -> f32[E / G * G] where E % G == 0 { x }")).toEqual([]);
  });

  test("a rename makes a new axis or checks an old one", () => {
    const made = fn(
      "dim S, T\nfn f(x: f32[S]) -> f32[S, S] {\n  let y = x[S as T]\n  let z = for s, t: x[s] * y[t]\n  z[T as S] }",
    );
    expect(made.freeDims).toEqual(["T"]);
    expect(made.checks).toEqual([]);
    const checked = fn("fn f(x: f32[S], y: f32[T]) -> f32[T] { x[S as T] + y }");
    expect(checked.checks).toMatchObject([{ relation: "==", message: "S == T" }]);
    expect(codes("fn f(x: f32[4]) -> f32[5] { x[4 as 5] }")).toEqual(["WF2020"]);
    expect(codes("fn f(x: f32[S]) -> f32[T] { x[U as T] }")).toEqual(["WF2002"]);
    expect(codes("dim U\nfn f(x: f32[S]) -> f32[T] { x[U as T] }")).toEqual(["WF2030"]);
  });

  test("whole tensors align by name, in the left one's order", () => {
    expect(
      lets(
        "fn f(x: f32[B, T], y: f32[T, H], z: f32[H, B]) -> f32 {\n  let a = x + y\n  let b = y * x\n  let c = x + y * z\n  let d = select(x < 0, y, 1)\n  0.0 }",
      ),
    ).toEqual({
      a: "~f32[B, T, H]",
      b: "~f32[T, H, B]",
      c: "~f32[B, T, H]",
      d: "~f32[B, T, H]",
    });
    expect(codes("fn f(x: f32[D, D]) -> f32[D, D] { x + x }")).toEqual(["WF2029"]);
  });

  test("reshapes split and merge by exact products", () => {
    expect(codes("fn f(x: f32[B, H * D]) -> f32[B, H, D] { x as [B, H, D] }")).toEqual([]);
    expect(codes("fn f(x: f32[B, S, H, D]) -> f32[B * S, H * D] { x as [B * S, H * D] }")).toEqual([]);
    expect(codes("fn f(x: f32[E, N]) -> f32[G, E / G, N] where E % G == 0 { x as [G, E / G, N] }")).toEqual(
      [],
    );
    expect(fn("fn f(x: f32[N, D]) -> f32[B, S, D] { x as [B, S, D] }").checks).toMatchObject([
      { message: "N == B * S" },
    ]);
    expect(codes("fn f(x: f32[H, D]) -> f32[D, H] { x as [D, H] }")).toEqual(["WF2017"]);
    expect(codes("fn f(x: f32[2 * N]) -> f32[N, 3] { x as [N, 3] }")).toEqual(["WF2017"]);
    expect(
      codes("fn f<A: float>(x: A[..., D]) -> A[..., D / 2, 2] where D % 2 == 0 { x as [..., D / 2, 2] }"),
    ).toEqual([]);
  });

  test("split and join keep the order of the parts", () => {
    expect(
      lets(
        "fn f(x: bf16[B, P + Q + R, D]) -> f32 {\n  let (a, b, c) = split[P | Q | R](x)\n  let y = join[R + P](c, a)\n  0.0 }",
      ),
    ).toEqual({
      a: "bf16[B, P, D]",
      b: "bf16[B, Q, D]",
      c: "bf16[B, R, D]",
      y: "bf16[B, R + P, D]",
    });
    expect(codes("fn f(x: f32[P + Q]) -> f32[P] {\n  let (a, b) = split[Q | P](x)\n  b }")).toEqual([
      "WF2030",
    ]);
    expect(codes("fn f(x: f32[P], y: f32[Q]) -> f32[Q + P] { join[P + Q](x, y) }")).toEqual(["WF2012"]);
    expect(codes("fn f(x: f32[B, P], y: f32[Q, B]) -> f32[B, P + Q] { join[P + Q](x, y) }")).toEqual([]);
  });

  test("an axis that stands twice is indexed, not named", () => {
    expect(codes("fn f(w: f32[D, D]) -> f32[D] { for d: sum[k](w[d, k]) }")).toEqual([]);
    expect(codes("fn f(w: f32[D, D]) -> f32[D, D] { topk[D, 1](w).values }")).toEqual(["WF2029"]);
  });
});

describe("indices", () => {
  test("a range is given, or the axis that the variable, alone, first indexes", () => {
    expect(
      lets(
        "fn f(x: f32[A, C], i: i32[C]) -> f32 {\n  let a = for c, b: x[b, c]\n  let d = for k in 3, b: x[b, 0] * k\n  0.0 }",
      ),
    ).toEqual({ a: "f32[C, A]", d: "~f32[3, A]" });
    expect(codes("fn f(x: f32[N]) -> f32 { sum[i](x[i + 1] else 0.0) }")).toEqual(["WF2014"]);
  });

  test("affine indices are proved, or say what is outside", () => {
    expect(codes("fn f(x: f32[N]) -> f32[N] { for n in N: x[N - 1 - n] }")).toEqual([]);
    expect(codes("fn f(x: f32[2 * N]) -> f32[N] { for n in N: x[2 * n + 1] }")).toEqual([]);
    expect(codes("fn f(x: f32[N]) -> f32[N] { for n in N: x[n + 1] }")).toEqual(["WF2015"]);
    expect(codes("fn f(x: f32[N], w: i32) -> f32[N] { for n in N: x[n - w] }")).toEqual(["WF2015"]);
    expect(codes("fn f(x: f32[N], w: i32) -> f32[N] { for n in N: x[n - w] else 0.0 }")).toEqual([]);
    expect(
      codes("fn f(x: f32[N]) -> f32[N] where N % 2 == 0 { for n in N: x[n / 2 * 2] + x[n % 2 + n / 2 * 2] }"),
    ).toEqual([]);
    expect(
      codes(
        "fn f(x: f32[N]) -> f32[N] { for n in N: x[min(n + 1, N - 1)] + x[max(n - 1, 0)] + x[clamp(n - 5, 0, N - 1)] }",
      ),
    ).toEqual([]);
    expect(codes("fn f(x: f32[N]) -> f32[N] {\n  let last = N - 1\n  for n in N: x[last - n] }")).toEqual([]);
    expect(codes("fn f(x: f32[N]) -> f32 { x[0] }")).toEqual([]);
    expect(codes("fn f(x: f32[N]) -> f32 { x[1] }")).toEqual(["WF2015"]);
    expect(codes("fn f(x: f32[N]) -> f32 { x[-1] }")).toEqual(["WF2015"]);
    expect(codes("fn f(x: f32[N]) -> f32[N - 1] where N >= 2 { for i in N - 1: x[i + 1] - x[i] }")).toEqual(
      [],
    );
  });

  test("a gather needs no proof", () => {
    expect(result("fn f(t: bf16[V, D], i: i32[N]) -> bf16[N, D] { for n, d: t[i[n], d] }")).toMatchObject({
      kind: "for",
      body: { kind: "read", gathers: true },
    });
    expect(codes("fn f(t: bf16[V, D], i: f32[N]) -> bf16[N, D] { for n, d: t[i[n], d] }")).toEqual([
      "WF2031",
    ]);
  });
});

describe("masks", () => {
  test("a mask propagates, and a written type or a reduction ends it", () => {
    expect(
      lets(`fn f(x: f32[B, T], k: bool[B, T]) -> f32 {
        let a = x where k
        let b = a * 2
        let c: f32[B, T] = b
        let d = for b1 in B: sum[t](a[b1, t])
        let e = for b1 in B, t: a[b1, t]
        let g = for b1 in B, t: x[b1, t] where k[b1, t]
        0.0 }`),
    ).toEqual({
      a: "?f32[B, T]",
      b: "~?f32[B, T]",
      c: "f32[B, T]",
      d: "~f32[B]",
      e: "?f32[B, T]",
      g: "?f32[B, T]",
    });
    expect(result("fn f(x: f32[N], k: bool[N]) -> f32[N] { x where k }").kind).toBe("cast");
    expect(codes("fn f(x: f32[N]) -> f32[N] { x where x }")).toEqual(["WF2011"]);
  });
});

describe("calls", () => {
  const lib = "import std.nn { softmax, rmsnorm }\n";

  test("a type parameter takes its argument's dtype, an unannotated f32 stays one", () => {
    expect(
      lets(
        `${lib}fn f(x: bf16[B, T]) -> f32 {\n  let a = softmax[T](x)\n  let b = softmax[T](x * 2)\n  let c = softmax[T]((x * 2) where x < 0)\n  0.0 }`,
      ),
    ).toEqual({ a: "bf16[B, T]", b: "~f32[B, T]", c: "~f32[B, T]" });
  });

  test("an axis that brackets name may stand anywhere and keeps its place", () => {
    expect(
      lets(
        `${lib}fn f(x: bf16[B, T, H]) -> f32 {\n  let a = softmax[T](x)\n  let b = topk[T, 4](x)\n  let c = cumsum[B](x)\n  0.0 }`,
      ),
    ).toEqual({
      a: "bf16[B, T, H]",
      b: "(values: bf16[B, 4, H], index: i32[B, 4, H], mask: bool[B, T, H])",
      c: "~f32[B, T, H]",
    });
  });

  test("packs align by name, and the result has all axes", () => {
    expect(
      lets(
        "import std.rope { rope }\nfn f(x: bf16[B, S, H, D], p: i32[B, S]) -> f32 where D % 2 == 0 {\n  let a = rope(x, p)\n  0.0 }",
      ),
    ).toEqual({ a: "bf16[B, S, H, D]" });
  });

  test("compound sizes unify, solved in order", () => {
    expect(
      lets(
        "fn g(x: f32[X + Y], y: f32[Y]) -> f32[X] { for i in X: y[0] }\nfn f(x: f32[P + Q], y: f32[Q]) -> f32 {\n  let a = g(x, y)\n  0.0 }",
      ),
    ).toEqual({ a: "f32[P]" });
    expect(
      lets(
        "fn g(x: f32[2 * X]) -> f32[X] { for i in X: x[2 * i] }\nfn f(x: f32[6 * P]) -> f32 {\n  let a = g(x)\n  0.0 }",
      ),
    ).toEqual({ a: "f32[3 * P]" });
    expect(
      codes(
        "fn g(x: f32[X + Y], y: f32[Y]) -> f32[X] { for i in X: y[0] }\nfn f(x: f32[P + Q], y: f32[P]) -> f32[P] { g(x, y) }",
      ),
    ).toEqual(["WF2012"]);
  });

  test("a size that no argument fixes is the caller's, or is given", () => {
    const g = "dim K\nfn g[X](x: f32[N]) -> f32[X] { for i in X: x[0] }\n";
    expect(lets(`${g}fn f(x: f32[M]) -> f32 {\n  let a = g[K](x)\n  let b = g[7](x)\n  0.0 }`)).toEqual({
      a: "f32[K]",
      b: "f32[7]",
    });
    expect(fn(`${g}fn f(x: f32[M]) -> f32[K] { g[K](x) }`).freeDims).toEqual([]);
    expect(codes(`${g}fn f(x: f32[M]) -> f32[M] { g(x) }`)).toEqual(["WF2019"]);
  });

  test("defaults are filled in, in the caller's sizes", () => {
    expect(
      result(
        "fn g(x: f32[N], k: i32 = N, s: f32 = 2) -> f32 { x[0] * k * s }\nfn f(x: f32[M]) -> f32 { g(x) }",
      ),
    ).toMatchObject({
      kind: "call",
      args: [{}, { kind: "dim", dim: { name: "M" } }, { kind: "literal", value: 2 }],
    });
  });

  test("a where clause is asked of the caller", () => {
    const g = "fn g(x: f32[N]) -> f32[N] where N % 4 == 0 { x }\n";
    expect(codes(`${g}fn f(x: f32[6]) -> f32[6] { g(x) }`)).toEqual(["WF2020"]);
    expect(codes(`${g}fn f(x: f32[8]) -> f32[8] { g(x) }`)).toEqual([]);
    expect(codes(`${g}fn f(x: f32[M]) -> f32[M] { g(x) }`)).toEqual([]);
  });

  test("a user's name hides a built-in", () => {
    expect(codes("fn topk(x: f32) -> f32 { x }\nfn f(x: f32) -> f32 { topk(x) }")).toEqual([]);
    expect(codes("fn f(x: f32[N]) -> f32 {\n  let sum = 1.0\n  sum[n](x[n]) }")).toEqual(["WF2028"]);
  });
});

describe("modules and state", () => {
  const held = `
module Inner<W: weight> {
  param w: W[D, D]
  fn forward(x: bf16[N, D]) -> bf16[N, D] { for n, o: sum[d](x[n, d] * w[o, d]) }
}
module Outer<W: weight> {
  param first: Inner<W>
  param second: Inner<bf16>
  fn f(x: bf16[N, D]) -> bf16[N, D] { second.forward(first.forward(x)) + first.w[0, 0] * x }
}`;
  test("a module holds others", () => {
    const f = fn(held);
    expect(f.module?.dims).toEqual(["D"]);
    expect(result(held)).toMatchObject({ kind: "cast", value: { kind: "for" } });
    expect(codes(held.replace("second.forward", "second.foward"))).toEqual(["WF2027"]);
    expect(codes(held.replace("Inner<bf16>", "Inner<i32>"))).toEqual(["WF2021"]);
  });

  test("state is appended to in order", () => {
    const step =
      "fn f(x: bf16[B, S, C], pos: i32[B, S], mut kv: Paged<bf16, 64>[B, T, C]) -> bool[B, S, T] {\n  kv.append(x)\n  kv.visible(pos) }";
    const { body } = fn(step);
    expect(body).toMatchObject({
      statements: [{ kind: "append" }],
      result: { kind: "builtin", builtin: { name: "paged-visible" } },
    });
    expect(codes(step.replace("append(x)", "append(pos)"))).toEqual(["WF2011"]);
    expect(
      codes(
        "module M {\n  state kv: Paged<bf16, 64>[B, T, C]\n  fn f(x: bf16[B, S, C]) -> bf16[B, T, C] {\n    kv.append(x)\n    kv.read() }\n}",
      ),
    ).toEqual([]);
  });

  test("a module's param of class weight takes a block-scaled type", () => {
    expect(
      codes(
        "fn g<W: weight>(x: bf16[N, I], w: W[O, I]) -> bf16[N, O] { for n, o: sum[i](x[n, i] * w[o, i]) }\nfn f(x: bf16[N, I], w: e4m3[O, I] @ (128, 128)) -> bf16[N, O] { g(x, w) }",
      ),
    ).toEqual([]);
  });
});

describe("routing", () => {
  const signature = "dim E, R[E]\nfn f(x: bf16[N, D], i: i32[N, K], w: f32[N, K]) -> f32[N, D] {\n";
  test("rows of one dispatch stay together, by the first value written with R", () => {
    expect(
      codes(
        `${signature}  let (rows, plan) = dispatch[E](x, i)\n  let y: bf16[E, R[E], D] = for e, t, d: rows[e, t, d] * 2\n  combine(y, plan, w) }`,
      ),
    ).toEqual([]);
    expect(codes(`${signature}  let r = dispatch[E](x, i)\n  combine(r.rows * 2, r.plan, w) }`)).toEqual([]);
    expect(
      codes(
        `${signature}  let (a, p) = dispatch[E](x, i)\n  let (b, q) = dispatch[E](x, i)\n  combine(b, p, w) + combine(a, q, w) }`,
      ),
    ).toEqual(["WF2037", "WF2037"]);
    expect(
      codes(
        `${signature}  let (a, p) = dispatch[E](x, i)\n  let y = for e, t, d in D: a[e, t, d] + a[0, t, d]\n  combine(y, p, w) }`,
      ),
    ).toEqual(["WF2037"]);
  });

  test("a function over experts' rows is called with a dispatch's", () => {
    const experts =
      "dim E, R[E]\nfn g(x: bf16[E, R[E], D]) -> bf16[E, R[E], D] { x * 2 }\nfn h(x: bf16[E, R[E], D], p: Plan[N, K, E], w: f32[N, K]) -> f32[N, D] { combine(x, p, w) }\n";
    expect(
      codes(
        `${experts}fn f(x: bf16[N, D], i: i32[N, K], w: f32[N, K]) -> f32[N, D] {\n  let (a, p) = dispatch[E](x, i)\n  h(g(a), p, w) }`,
      ),
    ).toEqual([]);
  });
});

describe("block scales", () => {
  test("quantize and dequantize", () => {
    expect(
      lets(
        "fn f(x: bf16[N, K]) -> f32 {\n  let q = quantize<e4m3 @ (1, 128)>(x)\n  let d = dequantize(q)\n  let s = for n, k: q[n, k]\n  let u = quantize<e4m3 @ (128, 128) ue8m0>(x)\n  0.0 }",
      ),
    ).toEqual({
      q: "e4m3[N, K] @ (1, 128)",
      d: "f32[N, K]",
      s: "~f32[N, K]",
      u: "e4m3[N, K] @ (128, 128) ue8m0",
    });
    expect(codes("fn f(x: bf16[N, K]) -> e4m3[N, K] @ (128, 128) { quantize<e4m3 @ (1, 128)>(x) }")).toEqual([
      "WF2011",
    ]);
  });
});

test("what a file says of sizes that only a body has is checked when they are known", () => {
  const text =
    "dim E where E % G == 0\ndim G\nfn f(x: f32[N, E]) -> f32[N, E] {\n  let y = x as [N, G, E / G]\n  y as [N, E] }";
  expect(fn(text)).toMatchObject({ freeDims: ["G"], requires: [], checks: [{ message: "E % G == 0" }] });
});
