/** Every function of std.nn, std.rope and std.mask against plain loops in f64. */
import { describe, expect, it } from "vitest";
import { expectClose, run, type Types } from "../lower/oracle.ts";
import {
  bf16,
  noise,
  of,
  rmsnorm,
  rotated,
  row,
  seeded,
  softmax,
  sum,
  table,
  type Table,
} from "../lower/plain.ts";
import { compiled } from "../lower/compiled.ts";

/** One rounding of the result may fall to the other side. */
const ulp = { bf16: 2 ** -7, f32: 2 ** -22 };

function close(dtype: "bf16" | "f32", actual: readonly number[] | undefined, expected: Table): void {
  const values = dtype === "bf16" ? expected.values.map(bf16) : expected.values;
  expectClose(actual, values, ulp[dtype], dtype === "f32" ? 1e-6 : 0);
}

const shapes = [
  [1, 1],
  [1, 5],
  [3, 1],
  [3, 4],
  [2, 7],
] as const;

function each(
  name: string,
  text: string,
  entry: string,
  check: (
    dtype: "bf16" | "f32",
    N: number,
    D: number,
    run: (inputs: Record<string, Table>) => readonly number[] | undefined,
  ) => void,
  even = false,
): void {
  for (const dtype of ["bf16", "f32"] as const) {
    for (const [N, half] of shapes) {
      const D = even ? 2 * half : half;
      it(`${name} of ${dtype}[${N}, ${D}]`, () => {
        seeded(N * 100 + D);
        const types: Types = new Map([["A", dtype]]);
        check(dtype, N, D, (inputs) => {
          const numbers = Object.fromEntries(
            Object.entries(inputs).map(([key, value]) => [key, value.values]),
          );
          return run(compiled(text, entry, { N, D }, types), numbers)["out"];
        });
      });
    }
  }
}

const head = "dim N, D\n";

describe("std.nn", () => {
  each(
    "softmax",
    `import std.nn { softmax }\n${head}fn f<A: float>(x: A[N, D]) -> A[N, D] { softmax[D](x) }`,
    "f",
    (dtype, N, D, go) => {
      const x = noise(dtype, [N, D], 4);
      const rows = table([N], () => 0).values.map((_, n) =>
        softmax(
          row(x, n),
          row(x, n).map(() => true),
        ),
      );
      close(dtype, go({ x }), of([N, D], rows.flat()));
    },
  );

  each(
    "masked softmax",
    `import std.nn { softmax }\n${head}fn f<A: float>(x: A[N, D], keep: bool[N, D]) -> A[N, D] { softmax[D](x where keep) }`,
    "f",
    (dtype, N, D, go) => {
      const x = noise(dtype, [N, D], 4);
      const keep = table([N, D], (n, d) => (n === N - 1 ? 0 : Number((n + d) % 3 !== 1)));
      const rows = Array.from({ length: N }, (_, n) => softmax(row(x, n), row(keep, n).map(Boolean)));
      close(dtype, go({ x, keep }), of([N, D], rows.flat()));
    },
  );

  each(
    "rmsnorm",
    `import std.nn { rmsnorm }\n${head}fn f<A: float>(x: A[N, D], g: f32[D]) -> A[N, D] { rmsnorm(x, g) }`,
    "f",
    (dtype, N, D, go) => {
      const [x, g] = [noise(dtype, [N, D]), noise("f32", [D])];
      close(
        dtype,
        go({ x, g }),
        of([N, D], Array.from({ length: N }, (_, n) => rmsnorm(row(x, n), g.values)).flat()),
      );
    },
  );

  each(
    "layernorm",
    `import std.nn { layernorm }\n${head}fn f<A: float>(x: A[N, D], g: f32[D], b: f32[D]) -> A[N, D] { layernorm(x, g, b) }`,
    "f",
    (dtype, N, D, go) => {
      const [x, g, b] = [noise(dtype, [N, D]), noise("f32", [D]), noise("f32", [D])];
      const out = table([N, D], (n, d) => {
        const mean = sum(D, (i) => x.at(n, i)) / D;
        const variance = sum(D, (i) => (x.at(n, i) - mean) ** 2) / D;
        return ((x.at(n, d) - mean) / Math.sqrt(variance + 1e-5)) * g.at(d) + b.at(d);
      });
      close(dtype, go({ x, g, b }), out);
    },
  );

  const gelu = (x: number): number => 0.5 * x * (1 + errorFunction(x / Math.SQRT2));
  const silu = (x: number): number => x / (1 + Math.exp(-x));
  each(
    "silu",
    `import std.nn { silu }\n${head}fn f<A: float>(x: A[N, D]) -> A[N, D] { silu(x) }`,
    "f",
    (dtype, N, D, go) => {
      const x = noise(dtype, [N, D], 6);
      close(dtype, go({ x }), of([N, D], x.values.map(silu)));
    },
  );
  each(
    "gelu",
    `import std.nn { gelu }\n${head}fn f<A: float>(x: A[N, D]) -> A[N, D] { gelu(x) }`,
    "f",
    (dtype, N, D, go) => {
      const x = noise(dtype, [N, D], 4);
      close(dtype, go({ x }), of([N, D], x.values.map(gelu)));
    },
  );
  each(
    "swiglu",
    `import std.nn { swiglu }\n${head}fn f<A: float>(g: A[N, D], u: A[N, D]) -> A[N, D] { swiglu(g, u) }`,
    "f",
    (dtype, N, D, go) => {
      const [g, u] = [noise(dtype, [N, D], 4), noise(dtype, [N, D], 4)];
      close(
        dtype,
        go({ g, u }),
        of(
          [N, D],
          g.values.map((v, i) => silu(v) * (u.values[i] ?? 0)),
        ),
      );
    },
  );

  for (const dtype of ["bf16", "f32"] as const) {
    for (const [N, D] of shapes) {
      it(`cross_entropy of ${dtype}[${N}, ${D}]`, () => {
        seeded(N * 10 + D);
        const text = `import std.nn { cross_entropy }\n${head}fn f<A: float>(x: A[N, D], target: i32[N]) -> f32[N] { cross_entropy[D](x, target) }`;
        const x = noise(dtype, [N, D], 8);
        const target = table([N], (n) => (n === 1 ? -1 : (n * 2) % D));
        const got = run(compiled(text, "f", { N, D }, new Map([["A", dtype]])), {
          x: x.values,
          target: target.values,
        })["out"];
        const want = table([N], (n) =>
          target.at(n) < 0 ? 0 : Math.log(sum(D, (d) => Math.exp(x.at(n, d)))) - x.at(n, target.at(n)),
        );
        close("f32", got, want);
      });
    }
  }
});

describe("std.rope", () => {
  each(
    "rope",
    `import std.rope { rope }\n${head}fn f<A: float>(x: A[N, D], pos: i32[N]) -> A[N, D] { rope(x, pos) }`,
    "f",
    (dtype, N, D, go) => {
      const [x, pos] = [noise(dtype, [N, D]), table([N], (n) => n * 17)];
      const rows = Array.from({ length: N }, (_, n) =>
        rotated(row(x, n), pos.at(n), (i) => 10000 ** ((-2 * i) / D)),
      );
      close(dtype, go({ x, pos }), of([N, D], rows.flat()));
    },
    true,
  );

  it("turns every head of a position alike, though positions lack the heads", () => {
    const text = `import std.rope { rope }\ndim B, S, H, D\nfn f(x: f32[B, S, H, D], pos: i32[B, S]) -> f32[B, S, H, D] where D % 2 == 0 { rope(x, pos, 100.0) }`;
    const [B, S, H, D] = [2, 3, 2, 4];
    const [x, pos] = [noise("f32", [B, S, H, D]), table([B, S], (b, s) => b * 5 + s)];
    const got = run(compiled(text, "f", { B, S, H, D }), { x: x.values, pos: pos.values })["out"];
    const want = table(
      [B, S, H, D],
      (b, s, h, d) => rotated(row(x, b, s, h), pos.at(b, s), (i) => 100 ** ((-2 * i) / D))[d] ?? 0,
    );
    close("f32", got, want);
  });

  for (const D of [2, 8, 64]) {
    it(`yarn of width ${D} mixes the frequencies as the model does`, () => {
      const text = `import std.rope { yarn }\ndim N, D\nfn f(x: f32[N, D], pos: i32[N]) -> f32[N, D] where D % 2 == 0 { yarn(x, pos) }`;
      const N = 3;
      const [x, pos] = [noise("f32", [N, D]), table([N], (n) => n * 11 + 1)];
      const pair = (turns: number): number =>
        (D * Math.log(4096 / (turns * 2 * Math.PI))) / (2 * Math.log(10000));
      const low = Math.max(Math.floor(pair(32)), 0);
      const high = Math.min(Math.ceil(pair(1)), D - 1);
      const freq = (i: number): number => {
        const f = 10000 ** ((-2 * i) / D);
        const smooth = 1 - Math.min(Math.max((i - low) / Math.max(high - low, 0.001), 0), 1);
        return (f / 40) * (1 - smooth) + f * smooth;
      };
      const got = run(compiled(text, "f", { N, D }), { x: x.values, pos: pos.values })["out"];
      close(
        "f32",
        got,
        of([N, D], Array.from({ length: N }, (_, n) => rotated(row(x, n), pos.at(n), freq)).flat()),
      );
    });
  }

  it("mscale is 1 where nothing is stretched", () => {
    const text = `import std.rope { mscale }\ndim N\nfn f(x: f32[N], a: f32, c: f32) -> f32[N] { for n: x[n] * mscale(a, c) }`;
    const go = (a: number, c: number): readonly number[] | undefined =>
      run(compiled(text, "f", { N: 1 }), { x: [1], a: [a], c: [c] })["out"];
    expectClose(go(40, 1), [0.1 * Math.log(40) + 1], 1e-6);
    expectClose(go(40, 0.707), [0.1 * 0.707 * Math.log(40) + 1], 1e-6);
    expect(go(1, 1)).toEqual([1]);
    expect(go(0.5, 1)).toEqual([1]);
  });
});

describe("std.mask", () => {
  const [B, S, T] = [2, 3, 4];
  const posQ = table([B, S], (b, s) => b + s);
  const posK = table([B, T], (b, t) => b * 2 + t);
  const bits = (
    name: string,
    more: string,
    inputs: Record<string, readonly number[]>,
  ): readonly number[] | undefined => {
    const text = `import std.mask { ${name} }\ndim B, S, T\nfn f(q: i32[B, S], k: i32[B, T]${more}) -> bool[B, S, T] { ${name}(q, k${more === "" ? "" : ", window"}) }`;
    return run(compiled(text, "f", { B, S, T }), { q: posQ.values, k: posK.values, ...inputs })["out"];
  };
  it("causal keeps keys at or before the query", () => {
    expect(bits("causal", "", {})).toEqual(
      table([B, S, T], (b, s, t) => Number(posK.at(b, t) <= posQ.at(b, s))).values,
    );
  });
  it("sliding keeps the last window of them", () => {
    const want = table([B, S, T], (b, s, t) =>
      Number(posK.at(b, t) <= posQ.at(b, s) && posQ.at(b, s) - posK.at(b, t) < 2),
    );
    expect(bits("sliding", ", window: i32", { window: [2] })).toEqual(want.values);
  });
  it("document keeps keys of one document", () => {
    expect(bits("document", "", {})).toEqual(
      table([B, S, T], (b, s, t) => Number(posK.at(b, t) === posQ.at(b, s))).values,
    );
  });
  it("zeroed gives 0 where masked, and rounds nothing", () => {
    const text = `import std.mask { zeroed }\ndim S, T\nfn f(x: f32[S, T]) -> f32[S] {
      let a = for s, t: (x[s, t] / 3.0) where t <= s
      let b = zeroed[T](a)
      for s: prod[t](1.0 + b[s, t]) + 100.0 * min[t](b[s, t])
    }`;
    const x = table([S, T], (s, t) => 1 + s + t);
    const want = Array.from({ length: S }, (_, s) => {
      const kept = Array.from({ length: s + 1 }, (__, t) => 1 + x.at(s, t) / 3);
      return kept.reduce((product, value) => product * value, 1);
    });
    expectClose(run(compiled(text, "f", { S, T }), { x: x.values })["out"], want, 1e-6);
  });
});

/** erf by its series where it converges fast and by its continued fraction beyond: to 1e-14. */
function errorFunction(x: number): number {
  const a = Math.abs(x);
  if (a < 3) {
    let [term, total] = [a, a];
    for (let n = 1; n < 200; n++) {
      term *= (-a * a) / n;
      total += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * total) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}
