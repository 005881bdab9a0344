/** `Paged` by itself: appends with counts, reads past the end, masks, several caches and several appends. */
import { describe, expect, it } from "vitest";
import { run, type Types } from "./oracle.ts";
import { noise, of, seeded, table } from "./plain.ts";
import { compiled } from "./compiled.ts";

describe("std.cache", () => {
  const text = `import std.cache { Paged }
    dim B, S, T, C
    fn f(x: f32[B, S, C], count: i32[B], pos: i32[B, S], mut kv: Paged<f32, 4>[B, T, C]) -> (rows: f32[B, T, C], seen: bool[B, S, T]) {
      kv.append(x, count)
      (rows: kv.read(), seen: kv.visible(pos))
    }`;

  it("appends as many rows as each sequence has, over page borders", () => {
    seeded(2);
    const [B, S, T, C, pages, slots, P] = [3, 3, 9, 2, 8, 3, 4];
    const kv = noise("f32", [pages, P, C]);
    const pageOf = of([B, slots], [5, 2, 7, 0, 1, 6, 3, 4, 4]);
    const length = [3, 0, 6];
    const count = [3, 0, 2];
    const x = noise("f32", [B, S, C]);
    const pos = table([B, S], (b, s) => (length[b] ?? 0) + s);
    const made = compiled(text, "f", { B, S, T, C, kv_pages: pages, kv_slots: slots });
    const got = run(made, {
      x: x.values,
      count,
      pos: pos.values,
      "kv.pages": kv.values,
      "kv.table": pageOf.values,
      "kv.length": length,
    });
    const after = length.map((l, b) => l + (count[b] ?? 0));
    expect(got["kv.length"]).toEqual(after);
    const stored = [...kv.values];
    for (let b = 0; b < B; b++) {
      for (let s = 0; s < (count[b] ?? 0); s++) {
        const at = (length[b] ?? 0) + s;
        for (let c = 0; c < C; c++)
          stored[(pageOf.at(b, Math.floor(at / P)) * P + (at % P)) * C + c] = x.at(b, s, c);
      }
    }
    expect(got["kv.pages"]).toEqual(stored);
    const now = of([pages, P, C], stored);
    expect(got["rows"]).toEqual(
      table([B, T, C], (b, t, c) =>
        t < (after[b] ?? 0) ? now.at(pageOf.at(b, Math.floor(t / P)), t % P, c) : 0,
      ).values,
    );
    expect(got["seen"]).toEqual(
      table([B, S, T], (b, s, t) => Number(t < (after[b] ?? 0) && t <= pos.at(b, s))).values,
    );
  });

  it("checks that the table has room for the longest sequence", () => {
    const { graph } = compiled(text, "f", { B: 1, S: 1, C: 1 });
    expect(graph.checks.map((c) => c.relation)).toEqual(["<="]);
    expect(graph.dims).toEqual(["kv_pages", "kv_slots", "T"]);
  });

  it("a second append sees the first", () => {
    const twice = `import std.cache { Paged }
      dim B, S, T, C
      fn f(x: f32[B, S, C], mut kv: Paged<f32, 2>[B, T, C]) -> (before: f32[B, T, C], after: f32[B, T, C]) {
        let a = kv.read()
        kv.append(x)
        kv.append(x)
        (before: a, after: kv.read())
      }`;
    const got = run(compiled(twice, "f", { B: 1, S: 1, T: 3, C: 1, kv_pages: 2, kv_slots: 2 }), {
      x: [7],
      "kv.pages": [1, 0, 0, 0],
      "kv.table": [1, 0],
      "kv.length": [0],
    });
    expect(got["before"]).toEqual([0, 0, 0]);
    expect(got["after"]).toEqual([7, 7, 0]);
    expect(got["kv.length"]).toEqual([2]);
    expect(got["kv.pages"]).toEqual([1, 0, 7, 7]);
  });

  it("a module's states are named by their paths", () => {
    const held = `import std.cache { Paged }
      dim B, S, T, C
      module Attn { state kv: Paged<bf16, 2>[B, T, C]; fn put(x: bf16[B, S, C]) -> bf16[B, T, C] { kv.append(x); kv.read() } }
      module Two { param a: Attn; param b: Attn; fn forward(x: bf16[B, S, C]) -> bf16[B, T, C] { let p = a.put(x); let q = b.put(p[T as S]); q } }`;
    const types: Types = new Map();
    const made = compiled(held, "Two.forward", { B: 1, S: 2, T: 2, C: 1 }, types);
    expect(made.graph.inputs.map((i) => i.name)).toEqual([
      "x",
      "a.kv.pages",
      "a.kv.table",
      "a.kv.length",
      "b.kv.pages",
      "b.kv.table",
      "b.kv.length",
    ]);
    expect(made.graph.updates.map((u) => u.input.name)).toEqual([
      "a.kv.pages",
      "a.kv.length",
      "b.kv.pages",
      "b.kv.length",
    ]);
  });
});
