/** One construct of the language at a time, from text to the oracle, against plain loops. */
import { describe, expect, it } from "vitest";
import { expectClose, nearest, run, type Types } from "./oracle.ts";
import { bf16, noise, of, row, seeded, softmax, sum, table } from "./plain.ts";
import { compiled } from "./compiled.ts";

type Inputs = Record<string, readonly number[]>;

function go(
  text: string,
  dims: Record<string, number>,
  inputs: Inputs,
  types?: Types,
  entry = "f",
  align?: number,
): Record<string, readonly number[]> {
  return run(compiled(text, entry, dims, types, align), inputs);
}

describe("reads", () => {
  it("transpose, diagonal and broadcast", () => {
    const x = table([3, 3], (i, j) => i * 10 + j);
    const y = table([3], (i) => i);
    const text = `dim N, M
      fn f(x: f32[N, M], y: f32[M]) -> (t: f32[M, N], b: f32[N, M]) { (t: for m, n: x[n, m], b: x + y) }
      fn g(x: f32[N, N]) -> f32[N] { for n: x[n, n] }`;
    const got = go(text, { N: 3, M: 3 }, { x: x.values, y: y.values });
    expect(got["t"]).toEqual(table([3, 3], (m, n) => x.at(n, m)).values);
    expect(got["b"]).toEqual(table([3, 3], (n, m) => x.at(n, m) + y.at(m)).values);
    expect(go(text, { N: 3 }, { x: x.values }, undefined, "g")["out"]).toEqual([0, 11, 22]);
  });

  it("a read outside gives what it says", () => {
    const text =
      "dim B, S\nfn f(x: f32[B, S]) -> f32[B, S] { for b, s in S: (x[b, s - 2] else -1.0) + (x[b, s + 1] else 0.5) }";
    for (const S of [1, 2, 5]) {
      const x = noise("f32", [2, S]);
      const get = (b: number, s: number, other: number): number => (s >= 0 && s < S ? x.at(b, s) : other);
      expectClose(
        go(text, { B: 2, S }, { x: x.values })["out"],
        table([2, S], (b, s) => get(b, s - 2, -1) + get(b, s + 1, 0.5)).values,
        2 ** -23,
      );
    }
  });

  it("a read outside a part of a split never reaches the other part", () => {
    const text = `dim N, A, B
      fn f(x: f32[N, A + B]) -> (l: f32[N, A], r: f32[N, B]) {
        let (a, b) = split[A | B](x)
        (l: for n, i in A: a[n, i + 1] else -7.0, r: for n, i in B: b[n, i - 1] else -8.0)
      }`;
    const [N, A, B] = [2, 3, 2];
    const x = table([N, A + B], (n, i) => n * 100 + i);
    const got = go(text, { N, A, B }, { x: x.values });
    expect(got["l"]).toEqual(table([N, A], (n, i) => (i + 1 < A ? x.at(n, i + 1) : -7)).values);
    expect(got["r"]).toEqual(table([N, B], (n, i) => (i > 0 ? x.at(n, A + i - 1) : -8)).values);
  });

  it("gathers rows by data, i64 too, and refuses an index outside in bounds mode only", () => {
    for (const dtype of ["i32", "i64"]) {
      const text = `dim V, D, N\nfn f(t: bf16[V, D], ids: ${dtype}[N]) -> bf16[N, D] { for n, d: t[ids[n], d] }`;
      const t = noise("bf16", [5, 3]);
      const made = compiled(text, "f", { V: 5, D: 3, N: 4 });
      const ids = [4, 0, 2, 2];
      expect(run(made, { t: t.values, ids })["out"]).toEqual(
        table([4, 3], (n, d) => t.at(ids[n] ?? 0, d)).values,
      );
      expect(() => run(made, { t: t.values, ids: [5, 0, 0, 0] })).toThrow(/outside|index/);
      const clamped = run(made, { t: t.values, ids: [9, -3, 1, 1] }, {}, { bounds: "clamp", errors: false })[
        "out"
      ];
      expect(clamped).toEqual(table([4, 3], (n, d) => t.at([4, 0, 1, 1][n] ?? 0, d)).values);
    }
  });

  it("a gather through a view stays inside the view", () => {
    const text = `dim N, A, B, K
      fn f(x: f32[N, A + B], at: i32[K]) -> f32[N, K] { let (a, b) = split[A | B](x); for n, k: b[n, at[k]] + 0.0 * a[n, 0] }`;
    const x = table([2, 5], (n, i) => n * 10 + i);
    const made = compiled(text, "f", { N: 2, A: 3, B: 2, K: 3 });
    const got = run(made, { x: x.values, at: [1, 0, 7] }, {}, { bounds: "clamp", errors: false })["out"];
    expect(got).toEqual(table([2, 3], (n, k) => x.at(n, 3 + ([1, 0, 1][k] ?? 0))).values);
  });
});

describe("views", () => {
  it("splits and merges axes by exact products, there and back", () => {
    const text = `dim B, H, D
      fn f(x: f32[B, H * D]) -> (a: f32[B, H, D], b: f32[H, B, D], c: f32[B * H, D], d: f32[B, H, D]) {
        let y = x as [B, H, D]
        (a: y, b: for h, b, d: y[b, h, d], c: y as [B * H, D], d: (y as [B * H, D]) as [B, H, D])
      }`;
    for (const [B, H, D] of [
      [1, 1, 1],
      [2, 3, 4],
      [3, 1, 2],
    ] as const) {
      const x = table([B, H * D], (b, i) => b * 100 + i);
      const got = go(text, { B, H, D }, { x: x.values });
      expect(got["a"]).toEqual(x.values);
      expect(got["b"]).toEqual(table([H, B, D], (h, b, d) => x.at(b, h * D + d)).values);
      expect(got["c"]).toEqual(x.values);
      expect(got["d"]).toEqual(x.values);
    }
  });

  it("splits an axis by a quotient and reads it back", () => {
    const text = `dim N, E where E % G == 0
      dim G
      fn f(x: f32[N, E]) -> f32[N, G] { let y = x as [N, G, E / G]; for n, g: max[j](y[n, g, j]) }`;
    const x = noise("f32", [2, 6]);
    expect(go(text, { N: 2, E: 6, G: 3 }, { x: x.values })["out"]).toEqual(
      table([2, 3], (n, g) => Math.max(x.at(n, 2 * g), x.at(n, 2 * g + 1))).values,
    );
    expect(() => go(text, { N: 2, E: 6, G: 4 }, { x: x.values })).toThrow();
  });

  it("joins what split cut, and joins in another order", () => {
    const text = `dim N, A, B, C
      fn f(x: f32[N, A + B + C]) -> (same: f32[N, A + B + C], other: f32[N, C + A]) {
        let (a, b, c) = split[A | B | C](x)
        (same: join[A + B + C](a, b, c), other: join[C + A](c, a))
      }`;
    const [N, A, B, C] = [2, 1, 3, 2];
    const x = table([N, A + B + C], (n, i) => n * 10 + i);
    const got = go(text, { N, A, B, C }, { x: x.values });
    expect(got["same"]).toEqual(x.values);
    expect(got["other"]).toEqual(
      table([N, C + A], (n, i) => (i < C ? x.at(n, A + B + i) : x.at(n, i - C))).values,
    );
  });

  it("renames an axis and keeps both apart", () => {
    const text =
      "dim S, T\nfn f(x: f32[S]) -> f32[S, S] { let y = x[S as T]; let z = for s, t: x[s] - y[t]; z[T as S] }";
    const x = noise("f32", [3]);
    const made = compiled(
      "dim S, T\nfn f(x: f32[S]) -> f32[S] { let y = x[S as T]; for s: sum[t](x[s] * y[t]) }",
      "f",
      { S: 3 },
    );
    expectClose(
      run(made, { x: x.values })["out"],
      table([3], (s) => sum(3, (t) => x.at(s) * x.at(t))).values,
      2 ** -22,
    );
    expect(text).toContain("as T");
  });
});

describe("reductions", () => {
  const x = table(
    [3, 4],
    (n, d) =>
      [
        [1, 5, 5, -2],
        [-1, -1, -3, -1],
        [0, 0, 0, 0],
      ][n]?.[d] ?? 0,
  );
  const keep = table([3, 4], (n, d) => Number(n < 2 && d !== 1));
  const all = (op: string, type: string): string => `dim N, D
    fn f(x: f32[N, D], keep: bool[N, D]) -> (plain: ${type}[N], masked: ${type}[N]) {
      let m = x where keep
      (plain: for n: ${op}[d](x[n, d]), masked: for n: ${op}[d](m[n, d]))
    }`;
  const cases: readonly (readonly [string, string, (xs: number[]) => number])[] = [
    ["sum", "f32", (xs) => xs.reduce((a, b) => a + b, 0)],
    ["prod", "f32", (xs) => xs.reduce((a, b) => a * b, 1)],
    ["max", "f32", (xs) => Math.max(...xs)],
    ["min", "f32", (xs) => Math.min(...xs)],
    ["mean", "f32", (xs) => xs.reduce((a, b) => a + b, 0) / xs.length],
    ["logsumexp", "f32", (xs) => Math.log(xs.reduce((a, b) => a + Math.exp(b), 0))],
  ];
  for (const [op, type, f] of cases) {
    it(`${op}, also over kept elements and over none`, () => {
      const got = go(all(op, type), { N: 3, D: 4 }, { x: x.values, keep: keep.values });
      expectClose(
        got["plain"],
        [0, 1, 2].map((n) => f(row(x, n))),
        2 ** -22,
      );
      expectClose(
        got["masked"],
        [0, 1, 2].map((n) => f(row(x, n).filter((_, d) => keep.at(n, d) === 1))),
        2 ** -22,
      );
    });
  }

  it("argmax is the lowest index of the largest, among the kept ones", () => {
    const got = go(all("argmax", "i32"), { N: 3, D: 4 }, { x: x.values, keep: keep.values });
    expect(got["plain"]).toEqual([1, 0, 0]);
    expect(got["masked"]).toEqual([2, 0, 0]);
  });

  it("logsumexp of infinities", () => {
    const text = "dim N, D\nfn f(x: f32[N, D]) -> f32[N] { for n: logsumexp[d](x[n, d]) }";
    const [inf, nan] = [Infinity, Number.NaN];
    const got = go(text, { N: 5, D: 2 }, { x: [-inf, -inf, inf, 1, -inf, 2, 1000, 1000, nan, -inf] })["out"];
    expectClose(got, [-inf, inf, 2, 1000 + Math.log(2), nan], 2 ** -22);
  });

  it("any, all and integer sums", () => {
    const text = `dim N, D
      fn f(x: i32[N, D]) -> (some: bool[N], every: bool[N], total: i32[N], top: i32[N]) {
        (some: for n: any[d](x[n, d] > 1), every: for n: all[d](x[n, d] > 1), total: for n: sum[d](x[n, d]), top: for n: max[d](x[n, d]))
      }`;
    const got = go(text, { N: 3, D: 2 }, { x: [1, 2, 2, 3, -5, -4] });
    expect(got["some"]).toEqual([1, 1, 0]);
    expect(got["every"]).toEqual([0, 1, 0]);
    expect(got["total"]).toEqual([3, 5, -9]);
    expect(got["top"]).toEqual([2, 3, -4]);
  });

  it("a reduction inside a reduction becomes a loop of its own", () => {
    const text =
      "dim N, D, E\nfn f(x: f32[N, D], y: f32[D, E]) -> f32[N] { for n: max[d](x[n, d] * sum[e](y[d, e])) }";
    const [a, b] = [noise("f32", [2, 3]), noise("f32", [3, 4])];
    const want = table([2], (n) => Math.max(...[0, 1, 2].map((d) => a.at(n, d) * sum(4, (e) => b.at(d, e)))));
    expectClose(go(text, { N: 2, D: 3, E: 4 }, { x: a.values, y: b.values })["out"], want.values, 2 ** -22);
  });

  it("a tensor-valued body is built with the axes outside", () => {
    const text =
      "import std.nn { softmax }\ndim N, D, E\nfn f(x: f32[N, D], w: f32[E]) -> f32[E, N, D] { for e: softmax[D](for n, d: x[n, d] * w[e]) }";
    const [N, D, E] = [2, 3, 2];
    const [a, w] = [noise("f32", [N, D]), noise("f32", [E])];
    const want = table(
      [E, N, D],
      (e, n, d) => Math.exp(a.at(n, d) * w.at(e)) / sum(D, (i) => Math.exp(a.at(n, i) * w.at(e))),
    );
    expectClose(go(text, { N, D, E }, { x: a.values, w: w.values })["out"], want.values, 2 ** -20);
  });
});

describe("rounding", () => {
  it("happens where a type is written, once", () => {
    const text = `dim N
      fn f(x: f32[N]) -> (a: f32[N], b: f32[N]) {
        let y: bf16[N] = for n: x[n] * 3.0
        let z = for n: x[n] * 3.0
        (a: for n: y[n] + 0.0, b: for n: z[n] + 0.0)
      }`;
    const x = noise("f32", [16]);
    const got = go(text, { N: 16 }, { x: x.values });
    expect(got["a"]).toEqual(x.values.map((v) => bf16(v * 3)));
    expectClose(
      got["b"],
      x.values.map((v) => v * 3),
      2 ** -23,
    );
  });

  const contraction = (more: string): string => `dim N, D, E
    fn f(x: f32[N, D], w: bf16[E, D]) -> f32[N, E] {
      let y = for n, d: x[n, d] * 3.0
      for n, e: sum[d](0.25 * y[n, d] * w[e, d])
    }${more}`;
  it("a contraction rounds the factor that no type was written for, not its scale", () => {
    seeded(3);
    const [x, w] = [noise("f32", [3, 5]), noise("bf16", [2, 5])];
    const inputs = { x: x.values, w: w.values };
    const dims = { N: 3, D: 5, E: 2 };
    const want = table([3, 2], (n, e) => sum(5, (d) => 0.25 * bf16(x.at(n, d) * 3) * w.at(e, d)));
    expectClose(go(contraction(""), dims, inputs)["out"], want.values, 2 ** -22);
    const exact = table([3, 2], (n, e) => sum(5, (d) => 0.25 * x.at(n, d) * 3 * w.at(e, d)));
    expectClose(
      go(contraction("\nnumerics f { contract: f32, f32 }"), dims, inputs)["out"],
      exact.values,
      2 ** -22,
    );
  });

  it("numerics name the types that the left and the right factor round to, whatever was written", () => {
    seeded(3);
    const [x, w] = [noise("f32", [3, 5]), noise("f32", [2, 5])];
    const inputs = { x: x.values, w: w.values };
    const text = contraction("\nnumerics f { contract: bf16, f32 }").replace("w: bf16", "w: f32");
    const want = table([3, 2], (n, e) => sum(5, (d) => 0.25 * bf16(x.at(n, d) * 3) * w.at(e, d)));
    expectClose(go(text, { N: 3, D: 5, E: 2 }, inputs)["out"], want.values, 2 ** -22);
    const swapped = text.replace("bf16, f32", "f32, bf16");
    const other = table([3, 2], (n, e) => sum(5, (d) => 0.25 * x.at(n, d) * 3 * bf16(w.at(e, d))));
    expectClose(go(swapped, { N: 3, D: 5, E: 2 }, inputs)["out"], other.values, 2 ** -22);
  });

  it("numerics round factors to tf32, which is what they are read as and not what they are stored as", () => {
    seeded(3);
    const [x, w] = [noise("f32", [3, 5]), noise("f32", [2, 5])];
    const text = contraction("\nnumerics f { contract: tf32 }").replace("w: bf16", "w: f32");
    const tf32 = (value: number): number => {
      const step = 2 ** (Math.floor(Math.log2(Math.abs(value))) - 10);
      return Math.round(value / step) * step;
    };
    const want = table([3, 2], (n, e) => sum(5, (d) => 0.25 * tf32(x.at(n, d) * 3) * tf32(w.at(e, d))));
    const got = go(text, { N: 3, D: 5, E: 2 }, { x: x.values, w: w.values })["out"];
    expectClose(got, want.values, 2 ** -22);
    const exact = table([3, 2], (n, e) => sum(5, (d) => 0.25 * x.at(n, d) * 3 * w.at(e, d)));
    expect(exact.values.some((value, k) => Math.abs(value - (got?.[k] ?? 0)) > 2 ** -16)).toBe(true);
  });

  it("written factors are taken as they are, and what varies alone is no contraction", () => {
    seeded(4);
    const text = `dim N, D
      fn f(x: f32[N, D], w: bf16[D], g: bf16[N]) -> (a: f32[N], b: f32[N]) {
        let y = for n, d: x[n, d] * 3.0
        (a: for n: sum[d](x[n, d] * w[d]), b: for n: sum[d](y[n, d] * g[n]))
      }`;
    const [x, w, g] = [noise("f32", [3, 5]), noise("bf16", [5]), noise("bf16", [3])];
    const got = go(text, { N: 3, D: 5 }, { x: x.values, w: w.values, g: g.values });
    expectClose(got["a"], table([3], (n) => sum(5, (d) => x.at(n, d) * w.at(d))).values, 2 ** -22);
    expectClose(got["b"], table([3], (n) => sum(5, (d) => x.at(n, d) * 3 * g.at(n))).values, 2 ** -22);
  });
});

describe("structured operations", () => {
  it("topk gives values, indices and which were chosen; masked elements come last", () => {
    const text = `dim N, D
      fn f(x: f32[N, D], keep: bool[N, D]) -> (v: f32[N, 2], i: i32[N, 2], m: bool[N, D], w: f32[N, 2], j: i32[N, 2]) {
        let a = topk[D, 2](x)
        let b = topk[D, 2](x where keep)
        (v: a.values, i: a.index, m: a.mask, w: b.values, j: b.index)
      }`;
    const got = go(text, { N: 2, D: 3 }, { x: [1, 3, 3, -1, -2, -3], keep: [1, 0, 1, 0, 0, 1] });
    expect(got["v"]).toEqual([3, 3, -1, -2]);
    expect(got["i"]).toEqual([1, 2, 0, 1]);
    expect(got["m"]).toEqual([0, 1, 1, 1, 1, 0]);
    expect(got["j"]).toEqual([2, 0, 2, 0]);
    expect(got["w"]).toEqual([3, 1, -3, 0]);
  });

  it("cumsum and sort, masked and along an axis that is not the last", () => {
    const text = `dim N, D
      fn f(x: f32[N, D], keep: bool[N, D]) -> (c: f32[N, D], s: f32[N, D], mc: f32[N, D], ms: f32[N, D]) {
        (c: cumsum[N](x), s: sort[D](x), mc: cumsum[D](x where keep), ms: sort[D](x where keep))
      }`;
    const got = go(text, { N: 2, D: 3 }, { x: [3, 1, 2, -1, 5, 4], keep: [1, 0, 1, 1, 1, 0] });
    expect(got["c"]).toEqual([3, 1, 2, 2, 6, 6]);
    expect(got["s"]).toEqual([1, 2, 3, -1, 4, 5]);
    expect(got["mc"]).toEqual([3, 0, 5, -1, 4, 0]);
    expect(got["ms"]).toEqual([2, 3, 0, -1, 5, 0]);
  });

  it("scatter_add sums the rows of each target", () => {
    const text = "dim N, E, D\nfn f(x: f32[N, D], to: i32[N]) -> f32[E, D] { scatter_add[E](to, x) }";
    const x = table([4, 2], (n, d) => n * 10 + d);
    const to = [2, 0, 2, -1];
    const want = table([3, 2], (e, d) => sum(4, (n) => (to[n] === e ? x.at(n, d) : 0)));
    expect(go(text, { N: 4, E: 3, D: 2 }, { x: x.values, to })["out"]).toEqual(want.values);
  });

  it("quantize and dequantize, with f32 scales and with powers of two", () => {
    for (const format of ["", " ue8m0"]) {
      const text = `dim N, D
        fn f(x: f32[N, D]) -> (q: e4m3[N, D] @ (2, 4)${format}, y: f32[N, D]) {
          let q = quantize<e4m3 @ (2, 4)${format}>(x)
          (q: q, y: dequantize(q))
        }`;
      seeded(8);
      const [N, D] = [3, 6];
      const x = noise("f32", [N, D], 5);
      const zeroed = of(
        [N, D],
        x.values.map((v, i) => (i >= 2 * D ? 0 : v)),
      );
      const scale = table([2, 2], (i, j) => {
        let largest = 1e-4;
        for (let n = 2 * i; n < Math.min(N, 2 * i + 2); n++)
          for (let d = 4 * j; d < Math.min(D, 4 * j + 4); d++)
            largest = Math.max(largest, Math.abs(zeroed.at(n, d)));
        const s = nearest("f32", largest / 448);
        return format === "" ? s : 2 ** Math.ceil(Math.log2(s));
      });
      const at = (n: number, d: number): number => scale.at(Math.floor(n / 2), Math.floor(d / 4));
      const codes = table([N, D], (n, d) => nearest("e4m3", zeroed.at(n, d) * nearest("f32", 1 / at(n, d))));
      const got = go(text, { N, D }, { x: zeroed.values });
      expect(got["q"]).toEqual(codes.values);
      expect(got["q.scale"]).toEqual(scale.values);
      expectClose(got["y"], table([N, D], (n, d) => codes.at(n, d) * at(n, d)).values, 2 ** -22);
    }
  });

  it("a block-scaled weight keeps its scales through 'as' and through a generic module", () => {
    const text = `dim O, H, D
      module Linear<W: weight> {
        param w: W[O, H * D]
        fn forward(x: bf16[H, D]) -> f32[O] { let v = w as [O, H, D]; for o: sum[h, d](x[h, d] * v[o, h, d]) }
      }`;
    const [O, H, D] = [3, 2, 3];
    const [x, w, s] = [noise("bf16", [H, D]), noise("e4m3", [O, H * D], 100), noise("f32", [2, 2])];
    const types: Types = new Map([["W", { dtype: "e4m3", scale: { block: [2, 4], format: "f32" } }]]);
    const want = table([O], (o) =>
      sum(H * D, (i) => x.values[i]! * w.at(o, i) * s.at(Math.floor(o / 2), Math.floor(i / 4))),
    );
    expectClose(
      go(text, { O, H, D }, { x: x.values, w: w.values, "w.scale": s.values }, types, "Linear.forward")[
        "out"
      ],
      want.values,
      2 ** -20,
    );
  });
});

describe("modules and calls", () => {
  it("a held module's parameter is read as a field of it", () => {
    const text = `dim N
      module Part { param g: f32[N] }
      module Whole { param part: Part; fn forward(x: f32[N]) -> f32[N] { for n: x[n] * part.g[n] } }`;
    const got = go(text, { N: 3 }, { x: [1, 2, 3], "part.g": [4, 5, 6] }, undefined, "Whole.forward");
    expect(got["out"]).toEqual([4, 10, 18]);
  });

  it("a held module's parameters are named by their path, with its own sizes", () => {
    const text = `dim N, D, F
      module Part { param w: f32[F, D]; fn run(x: f32[N, D]) -> f32[N, F] { for n, f: sum[d](x[n, d] * w[f, d]) } }
      module Whole { param up: Part; param down: Part; fn forward(x: f32[N, D]) -> f32[N, F] { up.run(x) + down.run(x) } }`;
    const [x, a, b] = [noise("f32", [2, 3]), noise("f32", [4, 3]), noise("f32", [4, 3])];
    const got = go(
      text,
      { N: 2, D: 3, F: 4 },
      { x: x.values, "up.w": a.values, "down.w": b.values },
      undefined,
      "Whole.forward",
    )["out"];
    expectClose(
      got,
      table([2, 4], (n, f) => sum(3, (d) => x.at(n, d) * (a.at(f, d) + b.at(f, d)))).values,
      2 ** -20,
    );
  });

  it("a callee's sizes, types and leading axes are the call's", () => {
    const text = `dim N, M, D
      fn scaled<A: float>(x: A[..., D], g: A[D]) -> A[..., D] { for ..., d: x[..., d] * g[d] }
      fn f(x: bf16[N, M], y: bf16[M, N], g: bf16[M], h: bf16[N]) -> (a: bf16[N, M], b: bf16[M, N]) { (a: scaled(x, g), b: scaled(y, h)) }`;
    const [x, y, g, h] = [
      noise("bf16", [2, 3]),
      noise("bf16", [3, 2]),
      noise("bf16", [3]),
      noise("bf16", [2]),
    ];
    const got = go(text, { N: 2, M: 3 }, { x: x.values, y: y.values, g: g.values, h: h.values });
    expect(got["a"]).toEqual(table([2, 3], (n, m) => bf16(x.at(n, m) * g.at(m))).values);
    expect(got["b"]).toEqual(table([3, 2], (m, n) => bf16(y.at(m, n) * h.at(n))).values);
  });

  it("routed rows pass through functions of their own", () => {
    const text = `dim N, D, F, E, K, R[E]
      fn expert(rows: f32[E, R[E], D], w: f32[E, F, D]) -> f32[E, R[E], F] { for e, t, f: sum[d](rows[e, t, d] * w[e, f, d]) }
      fn f(x: f32[N, D], index: i32[N, K], w: f32[E, F, D], g: f32[N, K]) -> f32[N, F] {
        let (rows, plan) = dispatch[E](x, index)
        combine(expert(rows, w), plan, g)
      }`;
    const [N, D, F, E, K] = [4, 3, 2, 3, 2];
    const [x, w, g] = [noise("f32", [N, D]), noise("f32", [E, F, D]), noise("f32", [N, K])];
    const index = of([N, K], [0, 2, 2, 2, -1, 0, -1, -1]);
    const got = go(
      text,
      { N, D, F, E, K },
      { x: x.values, index: index.values, w: w.values, g: g.values },
      undefined,
      "f",
      2,
    )["out"];
    const want = table([N, F], (n, f) =>
      sum(K, (k) =>
        index.at(n, k) < 0 ? 0 : g.at(n, k) * sum(D, (d) => x.at(n, d) * w.at(index.at(n, k), f, d)),
      ),
    );
    expectClose(got, want.values, 2 ** -20, 2 ** -22);
  });

  it("scalars come as parameters, constants from the file", () => {
    const text = `dim N
      dim Half = 2
      const third = 1.0 / 3.0
      fn f(x: f32[N], a: f32, w: i32) -> (y: f32[N], z: i32[N], c: f32) { (y: for n: a * x[n] * third / Half, z: for n in N: n * w + N, c: a * 2.0) }`;
    const got = go(text, { N: 3 }, { x: [1, 2, 3], a: [6], w: [5] });
    expectClose(got["y"], [1, 2, 3], 2 ** -22);
    expect(got["z"]).toEqual([3, 8, 13]);
    expect(got["c"]).toEqual([12]);
  });
});

describe("two sizes of a function that are one of its caller's", () => {
  it("stay two axes of the function", () => {
    const text = `import std.nn { softmax }
      dim N, S, T, D
      fn weights(q: f32[S, D], k: f32[T, D], keep: bool[S, T]) -> (p: f32[S, T], back: f32[T, S]) {
        let x = for s, t: sum[d](q[s, d] * k[t, d])
        let p = softmax[T](x where keep)
        (p: p, back: for t, s: p[s, t])
      }
      fn f(x: f32[N, D], y: f32[N, D], keep: bool[N, N]) -> (p: f32[N, N], back: f32[N, N]) { weights(x, y, keep) }`;
    seeded(9);
    const [N, D] = [4, 3];
    const [x, y] = [noise("f32", [N, D]), noise("f32", [N, D])];
    const keep = table([N, N], (s, t) => Number(t <= s));
    const got = run(compiled(text, "f", { N, D }), { x: x.values, y: y.values, keep: keep.values });
    const p = table([N, N], (s, t) => {
      const score = Array.from({ length: N }, (_, u) => sum(D, (d) => x.at(s, d) * y.at(u, d)));
      return (
        softmax(
          score,
          score.map((_, u) => u <= s),
        )[t] ?? 0
      );
    });
    expectClose(got["p"], p.values, 2 ** -20, 1e-6);
    expectClose(got["back"], table([N, N], (t, s) => p.at(s, t)).values, 2 ** -20, 1e-6);
  });
});
