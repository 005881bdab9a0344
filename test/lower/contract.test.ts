/** The contract's programs, end to end to the oracle, against the same arithmetic in plain loops. */
import { describe, expect, it } from "vitest";
import { expectClose, nearest, run, type Types } from "./oracle.ts";
import { bf16, noise, of, rmsnorm, rotated, row, seeded, softmax, sum, table, type Table } from "./plain.ts";
import { compiled, contract } from "./compiled.ts";

/** One rounding of the result may fall to the other side of a tie. */
const ulp = 2 ** -7;

const values = (tables: Record<string, Table>): Record<string, readonly number[]> =>
  Object.fromEntries(Object.entries(tables).map(([k, v]) => [k, v.values]));

describe("attention.dsl", () => {
  const variants = [
    ["MHA", { B: 2, S: 3, T: 5, Hkv: 2, G: 1, D: 4, Dv: 3 }],
    ["MQA", { B: 1, S: 4, T: 4, Hkv: 1, G: 3, D: 2, Dv: 2 }],
    ["GQA", { B: 2, S: 2, T: 7, Hkv: 2, G: 2, D: 3, Dv: 5 }],
    ["of size one", { B: 1, S: 1, T: 1, Hkv: 1, G: 1, D: 1, Dv: 1 }],
  ] as const;
  for (const [name, dims] of variants) {
    for (const dtype of ["bf16", "f32"] as const) {
      it(`${name} in ${dtype}, one row fully masked`, () => {
        const { B, S, T, Hkv, G, D, Dv } = dims;
        seeded(S * 10 + T);
        const q = noise(dtype, [B, S, Hkv, G, D]);
        const [k, v] = [noise(dtype, [B, T, Hkv, D]), noise(dtype, [B, T, Hkv, Dv])];
        const keep = table([B, S, T], (b, s, t) =>
          B + S > 2 && b === 0 && s === 1 ? 0 : Number((b + s * 2 + t) % 3 !== 0 || t === 0),
        );
        const made = compiled(contract("attention"), "attend", dims, new Map([["A", dtype]]));
        const narrow = (x: number): number => (dtype === "bf16" ? bf16(x) : x);
        const want = table([B, S, Hkv, G, Dv], (b, s, h, g, e) => {
          const scores = Array.from(
            { length: T },
            (_, t) => sum(D, (d) => q.at(b, s, h, g, d) * k.at(b, t, h, d)) / Math.sqrt(D),
          );
          const p = softmax(scores, row(keep, b, s).map(Boolean)).map(narrow);
          return narrow(sum(T, (t) => (p[t] ?? 0) * v.at(b, t, h, e)));
        });
        expectClose(
          run(made, values({ q, k, v, keep }))["out"],
          want.values,
          dtype === "bf16" ? ulp : 2 ** -20,
          dtype === "bf16" ? 0 : 2 ** -22,
        );
      });
    }
  }

  it("has the same values with every size left symbolic", () => {
    const dims = { B: 1, S: 2, T: 3, Hkv: 1, G: 2, D: 4, Dv: 2 };
    const inputs = values({
      q: noise("bf16", [1, 2, 1, 2, 4]),
      k: noise("bf16", [1, 3, 1, 4]),
      v: noise("bf16", [1, 3, 1, 2]),
      keep: table([1, 2, 3], () => 1),
    });
    const types: Types = new Map([["A", "bf16"]]);
    const bound = run(compiled(contract("attention"), "attend", dims, types), inputs)["out"];
    const open = compiled(contract("attention"), "attend", {}, types);
    expect(open.graph.dims).toEqual(["B", "S", "Hkv", "G", "D", "T", "Dv"]);
    expect(run(open, inputs, dims)["out"]).toEqual(bound);
  });

  it("causal compares positions", () => {
    const [posQ, posK] = [table([2, 3], (b, s) => b + s), table([2, 4], (b, t) => t * 2 - b)];
    const got = run(compiled(contract("attention"), "causal", { B: 2, S: 3, T: 4 }), {
      pos_q: posQ.values,
      pos_k: posK.values,
    })["out"];
    expect(got).toEqual(table([2, 3, 4], (b, s, t) => Number(posK.at(b, t) <= posQ.at(b, s))).values);
  });
});

describe("fp8_linear.dsl", () => {
  for (const [N, I, O] of [
    [1, 1, 1],
    [3, 130, 5],
    [2, 256, 129],
  ] as const) {
    it(`linear_fp8 of [${N}, ${I}] by [${O}, ${I}], short blocks included`, () => {
      seeded(I);
      const x = noise("bf16", [N, I], 3);
      const [rows, columns] = [Math.ceil(O / 128), Math.ceil(I / 128)];
      const [w, scale] = [noise("e4m3", [O, I], 300), noise("f32", [rows, columns], 0.01)];
      const scales = table([N, columns], (n, j) => {
        const largest = Math.max(
          ...Array.from({ length: Math.min(128, I - j * 128) }, (_, i) => Math.abs(x.at(n, j * 128 + i))),
        );
        return nearest("f32", Math.max(largest, 1e-4) / 448);
      });
      const code = (n: number, i: number): number =>
        nearest("e4m3", x.at(n, i) / scales.at(n, Math.floor(i / 128)));
      const want = table([N, O], (n, o) =>
        bf16(
          sum(
            I,
            (i) =>
              code(n, i) *
              scales.at(n, Math.floor(i / 128)) *
              w.at(o, i) *
              scale.at(Math.floor(o / 128), Math.floor(i / 128)),
          ),
        ),
      );
      const got = run(compiled(contract("fp8_linear"), "linear_fp8", { N, I, O }), {
        x: x.values,
        w: w.values,
        "w.scale": scale.values,
      })["out"];
      expectClose(got, want.values, ulp);
    });
  }

  it("linear_bf16 is the plain product", () => {
    const [N, I, O] = [3, 7, 2];
    const [x, w] = [noise("bf16", [N, I]), noise("bf16", [O, I])];
    const want = table([N, O], (n, o) => bf16(sum(I, (i) => x.at(n, i) * w.at(o, i))));
    expectClose(
      run(compiled(contract("fp8_linear"), "linear_bf16", { N, I, O }), { x: x.values, w: w.values })["out"],
      want.values,
      ulp,
    );
  });
});

describe("moe.dsl", () => {
  const cases = [
    { N: 1, Dm: 2, F: 1, E: 4, G: 2, Kg: 1, K: 1 },
    { N: 5, Dm: 6, F: 3, E: 6, G: 3, Kg: 2, K: 2 },
    { N: 9, Dm: 4, F: 5, E: 12, G: 3, Kg: 1, K: 3 },
  ];
  for (const dims of cases) {
    const { N, Dm, F, E, G, Kg, K } = dims;
    const name = Object.entries(dims)
      .map(([k, v]) => `${k}=${v}`)
      .join(" ");
    const setup = (): Record<string, Table> => {
      seeded(N + E);
      return {
        x: noise("bf16", [N, Dm]),
        w_gate: noise("f32", [E, Dm]),
        bias: noise("f32", [E]),
        w_up: noise("bf16", [E, F, Dm]),
        w_gate_proj: noise("bf16", [E, F, Dm]),
        w_down: noise("bf16", [E, Dm, F]),
      };
    };
    const routing = ({ x, w_gate, bias }: Record<string, Table>): { index: Table; weight: Table } => {
      const index: number[] = [];
      const weight: number[] = [];
      for (let n = 0; n < N; n++) {
        const s = Array.from(
          { length: E },
          (_, e) => 1 / (1 + Math.exp(-sum(Dm, (d) => (x?.at(n, d) ?? 0) * (w_gate?.at(e, d) ?? 0)))),
        );
        const biased = s.map((v, e) => v + (bias?.at(e) ?? 0));
        const per = E / G;
        const group = Array.from({ length: G }, (_, g) =>
          biased
            .slice(g * per, (g + 1) * per)
            .sort((a, b) => b - a)
            .slice(0, 2)
            .reduce((a, b) => a + b, 0),
        );
        const kept = largest(group, Kg);
        const chosen = largest(
          biased.map((v, e) => (kept.includes(Math.floor(e / per)) ? v : -Infinity)),
          K,
        );
        const total = chosen.reduce((a, e) => a + (s[e] ?? 0), 0);
        index.push(...chosen);
        weight.push(...chosen.map((e) => (2.5 * (s[e] ?? 0)) / total));
      }
      return { index: of([N, K], index), weight: of([N, K], weight) };
    };
    it(`routes: ${name}`, () => {
      const inputs = setup();
      const want = routing(inputs);
      const got = run(compiled(contract("moe"), "Moe.route", dims, new Map([["W", "bf16"]])), values(inputs));
      expect(got["index"]).toEqual(want.index.values);
      expectClose(got["weight"], want.weight.values, 2 ** -20);
    });
    it(`sends rows through their experts and back: ${name}`, () => {
      const inputs = setup();
      const { index, weight } = routing(inputs);
      const { x, w_up, w_gate_proj, w_down } = inputs;
      if (x === undefined || w_up === undefined || w_gate_proj === undefined || w_down === undefined)
        throw new Error("inputs");
      const want = table([N, Dm], (n, d) =>
        bf16(
          sum(K, (k) => {
            const e = index.at(n, k);
            const h = Array.from({ length: F }, (_, f) => {
              const gate = sum(Dm, (c) => x.at(n, c) * w_gate_proj.at(e, f, c));
              return bf16((gate / (1 + Math.exp(-gate))) * sum(Dm, (c) => x.at(n, c) * w_up.at(e, f, c)));
            });
            return weight.at(n, k) * bf16(sum(F, (f) => (h[f] ?? 0) * w_down.at(e, d, f)));
          }),
        ),
      );
      const got = run(
        compiled(contract("moe"), "Moe.forward", dims, new Map([["W", "bf16"]])),
        values(inputs),
      );
      expectClose(got["out"], want.values, ulp);
    });
  }
});

/** Indices of the k largest, lowest index first among equals. */
function largest(xs: readonly number[], k: number): number[] {
  return xs
    .map((x, i) => [x, i] as const)
    .sort((a, b) => b[0] - a[0] || a[1] - b[1])
    .slice(0, k)
    .map(([, i]) => i);
}

describe("mla.dsl", () => {
  const base = { B: 2, Dm: 6, H: 2, Dn: 4, Dr: 2, Dv: 3, Cq: 5, Ck: 4 };
  const types: Types = new Map([["W", "bf16"]]);

  interface Weights {
    readonly w_dq: Table;
    readonly g_q: Table;
    readonly w_uq: Table;
    readonly w_dkv: Table;
    readonly g_kv: Table;
    readonly w_uk: Table;
    readonly w_uv: Table;
    readonly w_o: Table;
  }
  const weights = ({ Dm, H, Dn, Dr, Dv, Cq, Ck }: typeof base): Weights => ({
    w_dq: noise("bf16", [Cq, Dm]),
    g_q: noise("f32", [Cq]),
    w_uq: noise("bf16", [H, Dn + Dr, Cq]),
    w_dkv: noise("bf16", [Ck + Dr, Dm]),
    g_kv: noise("f32", [Ck]),
    w_uk: noise("bf16", [H, Dn, Ck]),
    w_uv: noise("bf16", [H, Dv, Ck]),
    w_o: noise("bf16", [Dm, H, Dv]),
  });

  const turned = (x: number[], pos: number, D: number): number[] =>
    rotated(x, pos, (i) => 10000 ** ((-2 * i) / D));

  /** Cache row of one token: the normed latent, then the turned key. */
  function latent(w: Weights, x: number[], pos: number, { Ck, Dr }: typeof base): number[] {
    const z = Array.from({ length: Ck + Dr }, (_, o) => sum(x.length, (m) => (x[m] ?? 0) * w.w_dkv.at(o, m)));
    return [...rmsnorm(z.slice(0, Ck), w.g_kv.values), ...turned(z.slice(Ck), pos, Dr)].map(bf16);
  }

  function query(w: Weights, x: number[], pos: number, { H, Dn, Dr, Cq }: typeof base): number[][] {
    const z = rmsnorm(
      Array.from({ length: Cq }, (_, o) => sum(x.length, (m) => (x[m] ?? 0) * w.w_dq.at(o, m))),
      w.g_q.values,
    ).map(bf16);
    return Array.from({ length: H }, (_, h) => {
      const q = Array.from({ length: Dn + Dr }, (_, o) => sum(Cq, (l) => (z[l] ?? 0) * w.w_uq.at(h, o, l)));
      return [...q.slice(0, Dn), ...turned(q.slice(Dn), pos, Dr)].map(bf16);
    });
  }

  /** Heads of one query over cache rows, with keys and values made from the latents. */
  function expanded(
    w: Weights,
    q: number[][],
    cache: number[][],
    keep: boolean[],
    { Dn, Dr, Dv, Ck }: typeof base,
  ): number[][] {
    return q.map((qh, h) => {
      const keys = cache.map((c) =>
        Array.from({ length: Dn }, (_, n) => bf16(sum(Ck, (l) => (c[l] ?? 0) * w.w_uk.at(h, n, l)))),
      );
      const vals = cache.map((c) =>
        Array.from({ length: Dv }, (_, d) => bf16(sum(Ck, (l) => (c[l] ?? 0) * w.w_uv.at(h, d, l)))),
      );
      const scores = cache.map(
        (c, t) =>
          (sum(Dn, (n) => (qh[n] ?? 0) * (keys[t]?.[n] ?? 0)) +
            sum(Dr, (e) => (qh[Dn + e] ?? 0) * (c[Ck + e] ?? 0))) /
          Math.sqrt(Dn + Dr),
      );
      const p = softmax(scores, keep).map(bf16);
      return Array.from({ length: Dv }, (_, d) =>
        bf16(sum(cache.length, (t) => (p[t] ?? 0) * (vals[t]?.[d] ?? 0))),
      );
    });
  }

  /** The same in the absorbed form: the query meets the latents themselves. */
  function absorbed(
    w: Weights,
    q: number[][],
    cache: number[][],
    keep: boolean[],
    { Dn, Dr, Dv, Ck }: typeof base,
  ): number[][] {
    return q.map((qh, h) => {
      const ql = Array.from({ length: Ck }, (_, l) =>
        bf16(sum(Dn, (n) => (qh[n] ?? 0) * w.w_uk.at(h, n, l))),
      );
      const scores = cache.map(
        (c) =>
          (sum(Ck, (l) => (ql[l] ?? 0) * (c[l] ?? 0)) +
            sum(Dr, (e) => (qh[Dn + e] ?? 0) * (c[Ck + e] ?? 0))) /
          Math.sqrt(Dn + Dr),
      );
      const p = softmax(scores, keep).map(bf16);
      const u = Array.from({ length: Ck }, (_, l) =>
        bf16(sum(cache.length, (t) => (p[t] ?? 0) * (cache[t]?.[l] ?? 0))),
      );
      return Array.from({ length: Dv }, (_, d) => bf16(sum(Ck, (l) => (u[l] ?? 0) * w.w_uv.at(h, d, l))));
    });
  }

  function projected(w: Weights, o: number[][], { Dm, H, Dv }: typeof base): number[] {
    return Array.from({ length: Dm }, (_, m) =>
      bf16(sum(H, (h) => sum(Dv, (d) => (o[h]?.[d] ?? 0) * w.w_o.at(m, h, d)))),
    );
  }

  type Heads = typeof expanded;
  function forward(w: Weights, x: Table, pos: Table, S: number, heads: Heads): Table {
    const cache = Array.from({ length: base.B }, (_, b) =>
      Array.from({ length: S }, (_, s) => latent(w, row(x, b, s), pos.at(b, s), base)),
    );
    const rows = Array.from({ length: base.B }, (_, b) =>
      Array.from({ length: S }, (_, s) => {
        const keep = Array.from({ length: S }, (_, t) => pos.at(b, t) <= pos.at(b, s));
        return projected(
          w,
          heads(w, query(w, row(x, b, s), pos.at(b, s), base), cache[b] ?? [], keep, base),
          base,
        );
      }),
    );
    return of([base.B, S, base.Dm], rows.flat(2));
  }

  it("latent and query give their parts", () => {
    seeded(5);
    const S = 3;
    const [w, x, pos] = [
      weights(base),
      noise("bf16", [base.B, S, base.Dm]),
      table([base.B, S], (b, s) => s + 3 * b),
    ];
    const inputs = values({ ...w, x, pos });
    const cache = compiled(contract("mla"), "Mla.latent", { ...base, S }, types);
    const got = run(cache, inputs);
    const rows = table(
      [base.B, S, base.Ck + base.Dr],
      (b, s, o) => latent(w, row(x, b, s), pos.at(b, s), base)[o] ?? 0,
    );
    expectClose(got["c"], table([base.B, S, base.Ck], (b, s, l) => rows.at(b, s, l)).values, ulp);
    expectClose(got["r"], table([base.B, S, base.Dr], (b, s, e) => rows.at(b, s, base.Ck + e)).values, ulp);
    const q = run(compiled(contract("mla"), "Mla.query", { ...base, S }, types), inputs);
    const want = table(
      [base.B, S, base.H, base.Dn + base.Dr],
      (b, s, h, o) => query(w, row(x, b, s), pos.at(b, s), base)[h]?.[o] ?? 0,
    );
    expectClose(q["n"], table([base.B, S, base.H, base.Dn], (b, s, h, n) => want.at(b, s, h, n)).values, ulp);
    expectClose(
      q["r"],
      table([base.B, S, base.H, base.Dr], (b, s, h, e) => want.at(b, s, h, base.Dn + e)).values,
      ulp,
    );
  });

  for (const S of [1, 4]) {
    it(`forward of ${S} tokens expands the keys`, () => {
      seeded(S);
      const [w, x, pos] = [
        weights(base),
        noise("bf16", [base.B, S, base.Dm]),
        table([base.B, S], (_, s) => s),
      ];
      const got = run(
        compiled(contract("mla"), "Mla.forward", { ...base, S }, types),
        values({ ...w, x, pos }),
      );
      expectClose(got["out"], forward(w, x, pos, S, expanded).values, ulp);
    });
  }

  it("decode appends to the pages and reads them, token by token, and agrees with forward up to rounding", () => {
    seeded(9);
    const [S, pages, slots, P] = [70, 6, 2, 64];
    const C = base.Ck + base.Dr;
    const [w, x, pos] = [weights(base), noise("bf16", [base.B, S, base.Dm]), table([base.B, S], (_, s) => s)];
    // The pages of the two sequences are mixed up, and those that nobody owns hold numbers too.
    let kv = noise("bf16", [pages, P, C], 50);
    let length = table([base.B], () => 0);
    const tableOf = of([base.B, slots], [4, 1, 0, 3]);
    const out: number[][] = [];
    const steps = [1, 62, 1, 1, 5];
    let done = 0;
    for (const step of steps) {
      const made = compiled(
        contract("mla"),
        "Mla.decode",
        { ...base, S: step, T: done + step, kv_pages: pages, kv_slots: slots },
        types,
      );
      const part = table([base.B, step, base.Dm], (b, s, m) => x.at(b, done + s, m));
      const at = table([base.B, step], (b, s) => pos.at(b, done + s));
      const got = run(made, {
        ...values({ ...w, x: part, pos: at }),
        "kv.pages": kv.values,
        "kv.table": tableOf.values,
        "kv.length": length.values,
      });
      kv = of(kv.shape, [...(got["kv.pages"] ?? [])]);
      length = of(length.shape, [...(got["kv.length"] ?? [])]);
      done += step;
      const result = of([base.B, step, base.Dm], [...(got["out"] ?? [])]);
      for (let s = 0; s < step; s++)
        out.push(Array.from({ length: base.B }, (_, b) => row(result, b, s)).flat());
    }
    expect(done).toBe(S);
    expect(length.values).toEqual([S, S]);
    const want = forward(w, x, pos, S, absorbed);
    const got = table([base.B, S, base.Dm], (b, s, m) => out[s]?.[b * base.Dm + m] ?? Number.NaN);
    expectClose(got.values, want.values, ulp, 0);
    const wide = forward(w, x, pos, S, expanded);
    const norm = (xs: readonly number[]): number => Math.sqrt(xs.reduce((a, b) => a + b * b, 0));
    // Keys and values are rounded in one form and the absorbed query in the other: a few bf16 roundings apart.
    expect(norm(got.values.map((v, i) => v - (wide.values[i] ?? 0))) / norm(wide.values)).toBeLessThan(
      4 * 2 ** -8,
    );
  });

  it("attend and attend_absorbed are the same function, rounding apart", () => {
    seeded(21);
    const dims = { ...base, S: 3, T: 5 };
    const { B, H, Dn, Dr, Ck, S, T } = dims;
    const w = weights(base);
    const inputs = values({
      ...w,
      qn: noise("bf16", [B, S, H, Dn]),
      qr: noise("bf16", [B, S, H, Dr]),
      c: noise("bf16", [B, T, Ck]),
      r: noise("bf16", [B, T, Dr]),
      keep: table([B, S, T], (b, s, t) => Number((b + s + t) % 4 !== 0)),
    });
    const plain = run(compiled(contract("mla"), "Mla.attend", dims, types), inputs)["out"] ?? [];
    const other = run(compiled(contract("mla"), "Mla.attend_absorbed", dims, types), inputs)["out"] ?? [];
    const scale = Math.max(...plain.map(Math.abs));
    expectClose(other, plain, 0, 8 * 2 ** -8 * scale);
    expect(other).not.toEqual(plain);
  });

  it("attend_absorbed takes block-scaled weights apart into codes and scales", () => {
    seeded(33);
    const dims = { ...base, S: 2, T: 3 };
    const { B, H, Dn, Dr, Dv, Ck, S, T } = dims;
    const scaled: Types = new Map([["W", { dtype: "e4m3", scale: { block: [2, 4], format: "f32" } }]]);
    const w = { w_uk: noise("e4m3", [H, Dn, Ck], 100), w_uv: noise("e4m3", [H, Dv, Ck], 100) };
    const scales = {
      "w_uk.scale": noise("f32", [H, Dn / 2, 1], 0.02),
      "w_uv.scale": noise("f32", [H, 2, 1], 0.02),
    };
    const inputs = values({
      ...w,
      ...scales,
      qn: noise("bf16", [B, S, H, Dn]),
      qr: noise("bf16", [B, S, H, Dr]),
      c: noise("bf16", [B, T, Ck]),
      r: noise("bf16", [B, T, Dr]),
      keep: table([B, S, T], (b, s, t) => Number((b + s + t) % 4 !== 0)),
    });
    const plain = run(compiled(contract("mla"), "Mla.attend", dims, scaled), inputs)["out"] ?? [];
    const other = run(compiled(contract("mla"), "Mla.attend_absorbed", dims, scaled), inputs)["out"] ?? [];
    expectClose(other, plain, 0, 8 * 2 ** -8 * Math.max(...plain.map(Math.abs)));
  });
});
