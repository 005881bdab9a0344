/** std.attention against plain loops in f64: every mask and every change of the scores, with and without a cache. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compiled } from "../lower/compiled.ts";
import { expectClose, run } from "../lower/oracle.ts";
import { noise, of, rotated, row, rmsnorm, seeded, softmax, sum, table, type Table } from "../lower/plain.ts";

const library = (name: string): string =>
  readFileSync(join(import.meta.dirname, "../../stdlib/attention", `${name}.dsl`), "utf8");

const numbersOf = (given: { readonly [name: string]: Table }): Record<string, readonly number[]> =>
  Object.fromEntries(Object.entries(given).map(([name, { values }]) => [name, values]));

/** Scores of one head to its weights, the sink's part taken off, and their logsumexp. */
function weights(
  score: readonly number[],
  keep: readonly boolean[],
  sink = -Infinity,
): { readonly p: readonly number[]; readonly lse: number } {
  const kept = score.filter((_, t) => keep[t]);
  const z = kept.reduce((all, s) => all + Math.exp(s), 0);
  const p = score.map((s, t) => (keep[t] ? Math.exp(s) / (z + Math.exp(sink)) : 0));
  return { p, lse: Math.log(z) };
}

const head = "dim B, S, T, Hkv, G, D, Dv\n";
const tensors = "q: f32[B, S, Hkv, G, D], k: f32[B, T, Hkv, D], v: f32[B, T, Hkv, Dv]";
const places = "pos_q: i32[B, S], pos_k: i32[B, T]";
const result = "(o: f32[B, S, Hkv, G, Dv], lse: f32[B, S, Hkv, G])";
const imports = `import std.attention.heads { attend, scores, softcap, alibi, weigh, weigh_sinks, lse }
import std.mask { causal, sliding, document }
`;

interface Variant {
  readonly params: string;
  readonly keep: string;
  readonly score: string;
  readonly weigh: string;
  readonly sees: (given: Given, b: number, s: number, t: number) => boolean;
  readonly scored: (given: Given, x: number, b: number, s: number, t: number, head: number) => number;
  readonly sunk: boolean;
}
type Given = { readonly [name: string]: Table };

const at = (given: Given, name: string, ...index: readonly number[]): number =>
  given[name]?.at(...index) ?? Number.NaN;
const isCausal = (given: Given, b: number, s: number, t: number): boolean =>
  at(given, "pos_k", b, t) <= at(given, "pos_q", b, s);

const plain: Variant = {
  params: places,
  keep: "causal(pos_q, pos_k)",
  score: "scores(q, k, rsqrt(D))",
  weigh: "weigh(x, keep, v)",
  sees: isCausal,
  scored: (_, x) => x,
  sunk: false,
};

const variants: Readonly<Record<string, Variant>> = {
  "causal mask": plain,
  "sliding window": {
    ...plain,
    keep: "sliding(pos_q, pos_k, 3)",
    sees: (given, b, s, t) =>
      isCausal(given, b, s, t) && at(given, "pos_q", b, s) - at(given, "pos_k", b, t) < 3,
  },
  documents: {
    ...plain,
    params: `${places}, doc_q: i32[B, S], doc_k: i32[B, T]`,
    keep: "causal(pos_q, pos_k) and document(doc_q, doc_k)",
    sees: (given, b, s, t) =>
      isCausal(given, b, s, t) && at(given, "doc_q", b, s) === at(given, "doc_k", b, t),
  },
  "arbitrary mask": {
    ...plain,
    params: "given: bool[B, S, T]",
    keep: "given",
    sees: (given, b, s, t) => at(given, "given", b, s, t) !== 0,
  },
  "soft cap": {
    ...plain,
    score: "softcap(scores(q, k, rsqrt(D)), 1.5)",
    scored: (_, x) => 1.5 * Math.tanh(x / 1.5),
  },
  ALiBi: {
    ...plain,
    params: `${places}, slope: f32[Hkv, G]`,
    score: "alibi(scores(q, k, rsqrt(D)), slope, pos_q, pos_k)",
    scored: (given, x, b, s, t, h) =>
      x - (given["slope"]?.values[h] ?? 0) * Math.abs(at(given, "pos_q", b, s) - at(given, "pos_k", b, t)),
  },
  sinks: {
    ...plain,
    params: `${places}, sink: f32[Hkv, G]`,
    weigh: "weigh_sinks(x, keep, v, sink)",
    sunk: true,
  },
};

/** MHA, MQA, GQA; odd sizes; several queries at the end of many keys, as in decode. */
const shapes = [
  { B: 2, S: 5, T: 5, Hkv: 3, G: 1, D: 7, Dv: 3 },
  { B: 1, S: 1, T: 9, Hkv: 1, G: 5, D: 4, Dv: 6 },
  { B: 3, S: 4, T: 11, Hkv: 2, G: 3, D: 3, Dv: 5 },
];

describe("std.attention.heads", () => {
  for (const [name, variant] of Object.entries(variants))
    for (const size of shapes)
      it(`${name}, Hkv=${size.Hkv} G=${size.G} S=${size.S} T=${size.T}`, () => {
        const { B, S, T, Hkv, G, D, Dv } = size;
        seeded(T);
        const given: Given = {
          q: noise("f32", [B, S, Hkv, G, D], 2),
          k: noise("f32", [B, T, Hkv, D], 2),
          v: noise("f32", [B, T, Hkv, Dv]),
          // The first query of the first sequence comes before every key, and sees none.
          pos_q: table([B, S], (b, s) => (b === 0 && s === 0 ? -1 : T - S + s)),
          pos_k: table([B, T], (_, t) => t),
          doc_q: table([B, S], (b, s) => Math.floor((T - S + s + b) / 4)),
          doc_k: table([B, T], (b, t) => Math.floor((t + b) / 4)),
          given: table([B, S, T], (b, s, t) =>
            b === 0 && s === 0 ? 0 : Number((b + 2 * s + 3 * t) % 4 !== 0),
          ),
          slope: table([Hkv, G], (h, g) => 2 ** -(h + g + 1)),
          sink: noise("f32", [Hkv, G], 3),
        };
        const text = `${imports}${head}fn f(${tensors}, ${variant.params}) -> ${result} {
          let keep = ${variant.keep}
          let x = ${variant.score}
          (o: ${variant.weigh}, lse: lse(x, keep))
        }`;
        const made = compiled(text, "f", size);
        const got = run(made, numbersOf(given));
        const of = (b: number, s: number, h: number, g: number): ReturnType<typeof weights> => {
          const keep = Array.from({ length: T }, (_, t) => variant.sees(given, b, s, t));
          const score = Array.from({ length: T }, (_, t) => {
            const dot = sum(D, (d) => at(given, "q", b, s, h, g, d) * at(given, "k", b, t, h, d));
            return variant.scored(given, dot / Math.sqrt(D), b, s, t, h * G + g);
          });
          return weights(score, keep, variant.sunk ? at(given, "sink", h, g) : undefined);
        };
        const o = table([B, S, Hkv, G, Dv], (b, s, h, g, d) => {
          const { p } = of(b, s, h, g);
          return sum(T, (t) => (p[t] ?? 0) * at(given, "v", b, t, h, d));
        });
        expectClose(got["o"], o.values, 2 ** -20, 1e-6);
        expectClose(
          got["lse"],
          table([B, S, Hkv, G], (...i) => of(i[0] ?? 0, i[1] ?? 0, i[2] ?? 0, i[3] ?? 0).lse).values,
          2 ** -20,
          1e-6,
        );
        expect(got["lse"]?.[0]).toBe(-Infinity);
        expect(got["o"]?.slice(0, Dv)).toEqual(new Array<number>(Dv).fill(0));
      });
});

// ---------------------------------------------------------------- layers with a cache

/** Roundings to bf16 on the longest way through a layer, each of half a unit of 2^-8, at the size of the result. */
const layerRoundings = 10;

function expectNear(actual: readonly number[] | undefined, expected: readonly number[]): void {
  const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  expectClose(actual, expected, 0, layerRoundings * 2 ** -9 * largest);
}

/** Sequences of these lengths are fed in these chunks; one has nothing until late, one ends early. */
const chunks = [
  [3, 0, 5],
  [4, 0, 0],
  [1, 4, 0],
  [1, 1, 0],
  [2, 1, 0],
];
const B = chunks[0]?.length ?? 0;
const lengths = Array.from({ length: B }, (_, b) =>
  chunks.reduce((all, counts) => all + (counts[b] ?? 0), 0),
);
const longest = Math.max(...lengths);

/** Feeds the chunks through `step`, and gives the rows that count: [b][position]. */
function fed(
  text: string,
  entry: string,
  dims: Readonly<Record<string, number>>,
  given: Given,
  x: Table,
  pagesOf: readonly string[],
): number[][][] {
  const [P, slots, pages] = [4, Math.ceil(longest / 4), 3 * Math.ceil(longest / 4) + 2];
  const out: number[][][] = lengths.map(() => []);
  const done = lengths.map(() => 0);
  const order = Array.from({ length: B * slots }, (_, i) => (i * 5 + 3) % pages);
  expect(new Set(order).size).toBe(order.length);
  let state: Record<string, readonly number[]> = {};
  for (const counts of chunks) {
    const S = Math.max(...counts);
    const sizes = { ...dims, B, S, T: longest, P, kv_pages: pages, kv_slots: slots };
    const made = compiled(text, entry, sizes, new Map([["W", "f32"]]));
    if (Object.keys(state).length === 0)
      for (const { name, types } of made.graph.inputs)
        if (pagesOf.includes(name)) {
          const count = (types[0]?.shape ?? []).reduce((n, d) => n * (d.kind === "const" ? d.value : 1), 1);
          state[name] = new Array<number>(count).fill(Number.NaN);
        }
    const token = (b: number, s: number): number =>
      (done[b] ?? 0) + s < (lengths[b] ?? 0) ? (done[b] ?? 0) + s : 0;
    const got = run(made, {
      ...numbersOf(given),
      window: [4],
      x: table([B, S, x.shape[2] ?? 0], (b, s, m) => x.at(b, token(b, s), m)).values,
      pos: table([B, S], (b, s) => (s < (counts[b] ?? 0) ? (done[b] ?? 0) + s : -1)).values,
      count: counts,
      "kv.table": order,
      "kv.length": [...done],
      ...state,
    });
    state = Object.fromEntries(pagesOf.map((name) => [name, got[name] ?? []]));
    counts.forEach((n, b) => {
      for (let s = 0; s < n; s++)
        out[b]?.push(row(of([B, S, x.shape[2] ?? 0], [...(got["out"] ?? [])]), b, s));
      done[b] = (done[b] ?? 0) + n;
    });
    expect(got["kv.length"]).toEqual(done);
  }
  return out;
}

const times = (w: Table, x: readonly number[]): number[] =>
  Array.from({ length: w.shape[0] ?? 0 }, (_, o) => sum(x.length, (i) => w.at(o, i) * (x[i] ?? 0)));
const part = (x: readonly number[], from: number, count: number): number[] => x.slice(from, from + count);

const mla = { Dm: 20, H: 3, Dn: 6, Dr: 4, Dv: 5, Cq: 7, Ck: 9 };

function mlaWeights(): Given {
  seeded(11);
  const { Dm, H, Dn, Dr, Dv, Cq, Ck } = mla;
  return {
    w_dq: noise("bf16", [Cq, Dm], 0.4),
    g_q: noise("f32", [Cq]),
    w_uq: noise("bf16", [H * (Dn + Dr), Cq], 0.8),
    w_q: noise("bf16", [H * (Dn + Dr), Dm], 0.4),
    "latent.w_dkv": noise("bf16", [Ck + Dr, Dm], 0.4),
    "latent.g_kv": noise("f32", [Ck]),
    "latent.w_ukv": noise("bf16", [H * (Dn + Dv), Ck], 0.8),
    "latent.w_o": noise("bf16", [Dm, H * Dv], 0.5),
    "latent.freq": table([Dr / 2], (i) => 0.3 ** i),
    "latent.stretch": of([], [1.5]),
  };
}

/** One sequence, every token a query that sees the keys up to itself. */
function mlaLayer(given: Given, x: readonly number[][], direct: boolean): number[][] {
  const { H, Dn, Dr, Dv, Ck } = mla;
  const w = (name: string): Table => given[name] ?? of([0], []);
  const freq = (i: number): number => at(given, "latent.freq", i);
  const keys = x.map((token, t) => {
    const z = times(w("latent.w_dkv"), token);
    const c = rmsnorm(part(z, 0, Ck), w("latent.g_kv").values);
    return { kv: times(w("latent.w_ukv"), c), r: rotated(part(z, Ck, Dr), t, freq) };
  });
  return x.map((token, s) => {
    const q = direct
      ? times(w("w_q"), token)
      : times(w("w_uq"), rmsnorm(times(w("w_dq"), token), w("g_q").values));
    const heads = Array.from({ length: H }, (_, h) => {
      const n = part(q, h * (Dn + Dr), Dn);
      const r = rotated(part(q, h * (Dn + Dr) + Dn, Dr), s, freq);
      const seen = keys.slice(0, s + 1);
      const score = seen.map(({ kv, r: own }) => {
        const dot =
          sum(Dn, (i) => (n[i] ?? 0) * (kv[h * (Dn + Dv) + i] ?? 0)) +
          sum(Dr, (i) => (r[i] ?? 0) * (own[i] ?? 0));
        return (1.5 * dot) / Math.sqrt(Dn + Dr);
      });
      const p = softmax(
        score,
        score.map(() => true),
      );
      return Array.from({ length: Dv }, (_, d) =>
        sum(p.length, (t) => (p[t] ?? 0) * (seen[t]?.kv[h * (Dn + Dv) + Dn + d] ?? 0)),
      );
    });
    return times(w("latent.w_o"), heads.flat());
  });
}

describe("std.attention.mla", () => {
  const given = mlaWeights();
  const x = noise("bf16", [B, longest, mla.Dm]);
  const tokens = (b: number): number[][] => Array.from({ length: lengths[b] ?? 0 }, (_, t) => row(x, b, t));

  it.each([
    ["Mla", false],
    ["MlaDirect", true],
  ])("%s.forward is the layer as published", (module, direct) => {
    const S = 7;
    const made = compiled(library("mla"), `${module}.forward`, { ...mla, B: 1, S }, new Map([["W", "f32"]]));
    const own = Array.from({ length: S }, (_, t) => row(x, 0, t));
    const got = run(made, {
      ...numbersOf(given),
      x: own.flat(),
      pos: own.map((_, t) => t),
      keep: table([S, S], (s, t) => Number(t <= s)).values,
    });
    expectNear(got["out"], mlaLayer(given, own, direct).flat());
  });

  it.each([
    ["Mla", "step", false, ["kv.pages"]],
    ["MlaDirect", "step", true, ["kv.pages"]],
  ] as const)("%s.%s in chunks of any length continues ragged sequences", (module, entry, direct, pages) => {
    const got = fed(library("mla"), `${module}.${entry}`, mla, given, x, pages);
    lengths.forEach((_, b) => expectNear(got[b]?.flat(), mlaLayer(given, tokens(b), direct).flat()));
  });

  it("with a latent of 8 bits it is as near as 8 bits allow", () => {
    const got = fed(library("mla"), "Mla.step8", mla, given, x, [
      "kv.pages0",
      "kv.pages0.scale",
      "kv.pages1",
    ]);
    lengths.forEach((_, b) => {
      const expected = mlaLayer(given, tokens(b), false).flat();
      const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      // A number of the latent is off by up to 2^-4 of itself: in the scores, and in the values.
      expectClose(got[b]?.flat(), expected, 0, (2 * 2 ** -4 + layerRoundings * 2 ** -9) * largest);
    });
  });

  it("few queries take the absorbed form, and many expanded keys", () => {
    const forms = (S: number): boolean => {
      const made = compiled(
        library("mla"),
        "attended",
        { B: 1, S, T: 64, H: 4, Dn: 8, Dr: 4, Dv: 8, Ck: 16 },
        new Map([["W", "bf16"]]),
      );
      // Keys of each head are [B, T, H, Dn] where they are made.
      const shapes = new Set<string>();
      const seen = new Set<unknown>();
      const visit = (node: (typeof made.graph.results)[number]["value"]["node"]): void => {
        if (seen.has(node)) return;
        seen.add(node);
        for (const { shape } of node.types)
          shapes.add(shape.map((d) => (d.kind === "const" ? d.value : "?")).join());
        for (const input of node.inputs) visit(input.node);
      };
      for (const { value } of made.graph.results) visit(value.node);
      return shapes.has("1,64,4,8");
    };
    expect([1, 4, 256].map(forms)).toEqual([false, false, true]);
  });
});

describe("std.attention.gqa", () => {
  it.each([
    ["MHA", 3, 1],
    ["MQA", 1, 4],
    ["GQA", 2, 2],
  ])("%s: a step in chunks, of a sliding window, is the layer in one piece", (_, Hkv, G) => {
    seeded(7 + G);
    const [Dm, D, Dv] = [12, 6, 5];
    const given: Given = {
      w_q: noise("bf16", [Hkv * G * D, Dm], 0.6),
      w_k: noise("bf16", [Hkv * D, Dm], 0.6),
      w_v: noise("bf16", [Hkv * Dv, Dm], 0.6),
      w_o: noise("bf16", [Dm, Hkv * G * Dv], 0.5),
      freq: table([D / 2], (i) => 0.4 ** i),
    };
    const w = (name: string): Table => given[name] ?? of([0], []);
    const x = noise("bf16", [B, longest, Dm]);
    const freq = (i: number): number => at(given, "freq", i);
    const layer = (all: readonly number[][], window: number): number[][] =>
      all.map((token, s) => {
        const q = times(w("w_q"), token);
        const o = Array.from({ length: Hkv * G }, (_, a) => {
          const h = Math.floor(a / G);
          const own = rotated(part(q, a * D, D), s, freq);
          const first = Math.max(0, s - window + 1);
          const seen = all.slice(first, s + 1);
          const score = seen.map((other, t) => {
            const k = rotated(part(times(w("w_k"), other), h * D, D), first + t, freq);
            return sum(D, (d) => (own[d] ?? 0) * (k[d] ?? 0)) / Math.sqrt(D);
          });
          const p = softmax(
            score,
            score.map(() => true),
          );
          const v = seen.map((other) => part(times(w("w_v"), other), h * Dv, Dv));
          return Array.from({ length: Dv }, (_, d) => sum(p.length, (t) => (p[t] ?? 0) * (v[t]?.[d] ?? 0)));
        });
        return times(w("w_o"), o.flat());
      });
    const sizes = { Dm, Hkv, G, D, Dv };
    const got = fed(library("gqa"), "Gqa.step", sizes, given, x, ["kv.pages"]);
    lengths.forEach((n, b) =>
      expectNear(
        got[b]?.flat(),
        layer(
          Array.from({ length: n }, (_, t) => row(x, b, t)),
          4,
        ).flat(),
      ),
    );
    const S = 6;
    const made = compiled(library("gqa"), "Gqa.forward", { ...sizes, B: 1, S }, new Map([["W", "f32"]]));
    const own = Array.from({ length: S }, (_, t) => row(x, 0, t));
    const whole = run(made, {
      ...numbersOf(given),
      x: own.flat(),
      pos: own.map((_, t) => t),
      keep: table([S, S], (s, t) => Number(t <= s)).values,
    });
    expectNear(whole["out"], layer(own, S).flat());
  });
});
