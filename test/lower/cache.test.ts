/**
 * Paged caches as servers use them: rows in several parts, some scaled by blocks; ragged lengths and requests of
 * length zero; pages in any order; NaN in every slot that no row has; table entries that name no page.
 */
import { describe, expect, it } from "vitest";
import { InterpretError } from "../../compiler/tensor/interpret.ts";
import { nearest, run } from "./oracle.ts";
import { noise, of, seeded, table, type Table } from "./plain.ts";
import { checked, compiled } from "./compiled.ts";

const [B, S, T, C, D, P, block, pages, slots] = [4, 2, 11, 6, 2, 4, 4, 12, 3] as const;
const length = [5, 0, 0, 9];
const count = [2, 0, 1, 2];
const after = length.map((l, b) => l + (count[b] ?? 0));
/** What a table has where a sequence has no page. */
const unused = 2147480000;
const order = [
  [7, 2, unused],
  [unused, unused, unused],
  [11, unused, unused],
  [0, 5, 3],
];
const pageOf = of([B, slots], order.flat());

/** Pages of NaN but where a sequence has a row. */
function filled(width: number, value: (b: number, t: number, c: number) => number): number[] {
  const all = new Array<number>(pages * P * width).fill(Number.NaN);
  length.forEach((rows, b) => {
    for (let t = 0; t < rows; t++)
      for (let c = 0; c < width; c++)
        all[(pageOf.at(b, Math.floor(t / P)) * P + (t % P)) * width + c] = value(b, t, c);
  });
  return all;
}

function at(values: readonly number[] | undefined, width: number, b: number, t: number, c: number): number {
  return values?.[(pageOf.at(b, Math.floor(t / P)) * P + (t % P)) * width + c] ?? Number.NaN;
}

const mixed = `import std.cache { Paged }
dim B, S, T, C, D
fn f(x: f32[B, S, C], r: f32[B, S, D], count: i32[B], pos: i32[B, S], mut kv: Paged<e4m3 @ (4), bf16, 4>[B, T, C, D])
  -> (c: f32[B, T, C], r: bf16[B, T, D], seen: bool[B, S, T]) {
  kv.append(x, r, count)
  let (c, r) = kv.read()
  (c: dequantize(c), r: r, seen: kv.visible(pos))
}`;

const made = compiled(mixed, "f", { B, S, T, C, D, kv_pages: pages, kv_slots: slots });

function inputs(): { readonly [name: string]: Table } {
  seeded(5);
  const codes = noise("e4m3", [B, T, C], 100);
  const scales = noise("f32", [B, T, 2]);
  const rope = noise("bf16", [B, T, D]);
  return {
    x: noise("f32", [B, S, C], 3),
    r: noise("f32", [B, S, D]),
    count: of([B], count),
    pos: table([B, S], (b, s) => (s < (count[b] ?? 0) ? (length[b] ?? 0) + s : -1)),
    "kv.pages0": of(
      [pages, P, C],
      filled(C, (b, t, c) => codes.at(b, t, c)),
    ),
    "kv.pages0.scale": of(
      [pages, P, 2],
      filled(2, (b, t, k) => scales.at(b, t, k)),
    ),
    "kv.pages1": of(
      [pages, P, D],
      filled(D, (b, t, d) => rope.at(b, t, d)),
    ),
    "kv.table": pageOf,
    "kv.length": of([B], length),
  };
}

const numbersOf = (given: { readonly [name: string]: Table }): Record<string, readonly number[]> =>
  Object.fromEntries(Object.entries(given).map(([name, { values }]) => [name, values]));

describe("a cache whose rows have parts", () => {
  const given = inputs();
  const got = run(made, numbersOf(given));

  it("has pages for each part, and for its scales", () => {
    expect(made.graph.inputs.map(({ name }) => name)).toEqual([
      "x",
      "r",
      "count",
      "pos",
      "kv.pages0",
      "kv.pages0.scale",
      "kv.pages1",
      "kv.table",
      "kv.length",
    ]);
    expect(got["kv.length"]).toEqual(after);
  });

  it("scales each block of a row by itself as it is appended", () => {
    const [x, r] = [given["x"], given["r"]];
    for (let b = 0; b < B; b++) {
      for (let s = 0; s < (count[b] ?? 0); s++) {
        const t = (length[b] ?? 0) + s;
        for (let c = 0; c < C; c++) {
          const first = Math.floor(c / block) * block;
          const own = Array.from({ length: Math.min(block, C - first) }, (_, i) =>
            Math.abs(x?.at(b, s, first + i) ?? 0),
          );
          const scale = nearest("f32", Math.max(...own, 1e-4) / 448);
          expect(at(got["kv.pages0.scale"], 2, b, t, Math.floor(c / block))).toBe(scale);
          expect(at(got["kv.pages0"], C, b, t, c)).toBe(nearest("e4m3", (x?.at(b, s, c) ?? 0) / scale));
        }
        for (let d = 0; d < D; d++)
          expect(at(got["kv.pages1"], D, b, t, d)).toBe(nearest("bf16", r?.at(b, s, d) ?? 0));
      }
    }
  });

  it("reads rows by the table, 0 past a sequence's end, and never a slot that no row has", () => {
    const rows = table([B, T, C], (b, t, c) =>
      t < (after[b] ?? 0)
        ? nearest(
            "f32",
            at(got["kv.pages0"], C, b, t, c) * at(got["kv.pages0.scale"], 2, b, t, Math.floor(c / block)),
          )
        : 0,
    );
    expect(got["c"]).toEqual(rows.values);
    const rope = table([B, T, D], (b, t, d) => (t < (after[b] ?? 0) ? at(got["kv.pages1"], D, b, t, d) : 0));
    expect(got["r"]).toEqual(rope.values);
  });

  it("writes nothing but the appended rows", () => {
    const appended = new Set(
      count.flatMap((n, b) =>
        Array.from({ length: n }, (_, s) => {
          const t = (length[b] ?? 0) + s;
          return pageOf.at(b, Math.floor(t / P)) * P + (t % P);
        }),
      ),
    );
    for (const [name, width] of [
      ["kv.pages0", C],
      ["kv.pages0.scale", 2],
      ["kv.pages1", D],
    ] as const)
      got[name]?.forEach((value, i) => {
        if (!appended.has(Math.floor(i / width))) expect(value).toEqual(given[name]?.values[i]);
      });
  });

  it("shows a query the rows up to its own, and none to one that is none", () => {
    const pos = given["pos"];
    expect(got["seen"]).toEqual(
      table([B, S, T], (b, s, t) => Number(t < (after[b] ?? 0) && t <= (pos?.at(b, s) ?? 0))).values,
    );
  });
});

describe("table entries that name no page", () => {
  const corrupt = (b: number, slot: number, page: number): Record<string, readonly number[]> => {
    const numbers = numbersOf(inputs());
    const entries = [...pageOf.values];
    entries[b * slots + slot] = page;
    return { ...numbers, "kv.table": entries };
  };

  it.each([
    ["read", 0, 0, pages],
    ["read", 3, 1, -1],
    ["appended to", 0, 1, unused],
    ["appended to", 2, 0, -7],
  ] as const)("where rows are %s: bounds mode stops with the index", (_, b, slot, page) => {
    expect(() => run(made, corrupt(b, slot, page))).toThrow(InterpretError);
    expect(() => run(made, corrupt(b, slot, page))).toThrow(`${page} is outside axis 1`);
  });

  it.each([
    [0, 0, pages],
    [0, 1, unused],
    [2, 0, -7],
  ])("without bounds mode nothing outside is read or written: sequence %d", (b, slot, page) => {
    const numbers = corrupt(b, slot, page);
    const plain = run(made, numbers, {}, { bounds: "clamp", errors: false });
    expect(plain["kv.pages0"]?.length).toBe(numbers["kv.pages0"]?.length);
  });
});

describe("what a cache may be", () => {
  const messages = (type: string): readonly string[] =>
    checked(
      `import std.cache { Paged }\ndim B, T, C, D\nfn f<W: weight>(w: W[C], kv: ${type}) -> W[C] { w }`,
    ).diagnostics.map(({ code }) => code);

  it.each([
    ["Paged<e4m3 @ (2, 4), 4>[B, T, C]", "WF2036"],
    ["Paged<bf16, bf16, 4>[B, T, C]", "WF2011"],
    ["Paged<bf16, 4>[B, T, C, D]", "WF2011"],
    ["Paged<W, 4>[B, T, C]", "WF2011"],
    ["Paged<4, 4>[B, T, C]", "WF2011"],
  ])("%s is refused", (type, code) => {
    expect(messages(type)).toEqual([code]);
  });
});
