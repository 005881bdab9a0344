/**
 * Products that stream from paged caches: whole pages come by the copy engine, pages in any order, the last one as far
 * as its sequence reaches, and nothing of what stands in slots that no sequence has.
 */
import { describe, expect, it } from "vitest";
import type { Compiled } from "../../compiler/compile.ts";
import { encode } from "../../compiler/tensor/number-formats.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import * as t from "../../compiler/tile/build.ts";
import { interpretTiles } from "../../compiler/tile/interpret.ts";
import type { TileExpr, TileOp } from "../../compiler/tile/ir.ts";
import { parse } from "../../compiler/tile/parse.ts";
import { verify } from "../../compiler/tile/verify.ts";
import { bodiesOf, visitExpressions, withBodies } from "../../compiler/tile/walk.ts";
import { symbol } from "../../compiler/types/dim.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import {
  compiled,
  expectWithin,
  inputsOf,
  interpreted,
  numbersOf,
  ranOn,
  tilesOf,
} from "./cascade-programs.ts";

const head = `import std.nn { softmax }
import std.cache { Paged }
`;

/** Keys and values side by side in a row, heads of queries in groups; the logarithms of the weights' sums too. */
const grouped = `${head}dim B, S, T, G, R, D
fn f(q: bf16[B, S, G, R, D], pos: i32[B, S], mut kv: Paged<bf16, 64>[B, T, G * D + G * D])
  -> (out: bf16[B, S, G, R, D], lse: f32[B, S, G, R]) {
  let (k, v) = split[G * D | G * D](kv.read())
  let keys = k as [B, T, G, D]
  let values = v as [B, T, G, D]
  let keep = kv.visible(pos)
  let score = (for b, s, g, r, t: rsqrt(D) * sum[e](q[b, s, g, r, e] * keys[b, t, g, e])) where keep
  let p = softmax[T](score)
  let out = for b, s, g, r, e: sum[t](p[b, s, g, r, t] * values[b, t, g, e])
  (out: out, lse: for b, s, g, r: logsumexp[t](score[b, s, g, r, t]))
}`;

const inF16 = (text: string): string => text.replaceAll("bf16", "f16");

/** The first Ck columns of what the keys are are the values. */
const latent = `${head}dim B, S, T, H, Ck, Dr
fn f(q: bf16[B, S, H, Ck + Dr], pos: i32[B, S], mut kv: Paged<bf16, 64>[B, T, Ck + Dr])
  -> (out: bf16[B, S, H, Ck], lse: f32[B, S, H]) {
  let keys = kv.read()
  let (c, r) = split[Ck | Dr](keys)
  let keep = kv.visible(pos)
  let score = (for b, s, h, t: rsqrt(Ck + Dr) * sum[e](q[b, s, h, e] * keys[b, t, e])) where keep
  let p = softmax[T](score)
  let out = for b, s, h, l: sum[t](p[b, s, h, t] * c[b, t, l])
  (out: out, lse: for b, s, h: logsumexp[t](score[b, s, h, t]))
}`;

const twoParts = `${head}dim B, S, T, H, Ck, Dr
fn f(qc: bf16[B, S, H, Ck], qr: bf16[B, S, H, Dr], pos: i32[B, S], mut kv: Paged<bf16, 64>[B, T, Ck + Dr])
  -> bf16[B, S, H, Ck] {
  let (c, r) = split[Ck | Dr](kv.read())
  let score = for b, s, h, t:
    rsqrt(Ck + Dr) * (sum[l](qc[b, s, h, l] * c[b, t, l]) + sum[d](qr[b, s, h, d] * r[b, t, d]))
  let p = softmax[T](score where kv.visible(pos))
  for b, s, h, l: sum[t](p[b, s, h, t] * c[b, t, l])
}`;

/** The same with a latent of 8-bit floats: codes times scales are made where they are read. */
const narrow = `${head}dim B, S, T, H, Ck, Dr
fn f(qc: bf16[B, S, H, Ck], qr: bf16[B, S, H, Dr], pos: i32[B, S], mut kv: Paged<e4m3 @ (128), bf16, 64>[B, T, Ck, Dr])
  -> bf16[B, S, H, Ck] {
  let (codes, r) = kv.read()
  let c = bf16(dequantize(codes))
  let score = for b, s, h, t:
    rsqrt(Ck + Dr) * (sum[l](qc[b, s, h, l] * c[b, t, l]) + sum[d](qr[b, s, h, d] * r[b, t, d]))
  let p = softmax[T](score where kv.visible(pos))
  for b, s, h, l: sum[t](p[b, s, h, t] * c[b, t, l])
}`;

/** Keys and values are made of the cache by weights, or these applied before and after, whichever takes less work. */
const expanded = `import std.attention.mla { attended }
import std.cache { Paged }
dim B, S, T, H, Dn, Dr, Dv, Ck
fn f(
  qn: bf16[B, S, H, Dn], qr: bf16[B, S, H, Dr], w_ukv: bf16[H * (Dn + Dv), Ck], pos: i32[B, S],
  mut kv: Paged<bf16, 64>[B, T, Ck + Dr],
) -> bf16[B, S, H, Dv] {
  let (c, r) = split[Ck | Dr](kv.read())
  attended(qn, qr, c, r, w_ukv, kv.visible(pos))
}`;

/**
 * Sequences of these lengths, each with so many pages, their pages from the last to the first, with NaN wherever no
 * sequence is, and entries of the table that name no page where none is reached.
 */
function cached(
  made: Compiled,
  lengths: readonly number[],
  slots = 3,
): { inputs: Map<string, StoredTensor>; dims: Map<string, number> } {
  const dims = new Map([
    ["kv_pages", lengths.length * slots + 1],
    ["kv_slots", slots],
  ]);
  const inputs = inputsOf(made, dims);
  const i32 = (name: string, values: readonly number[]): void => {
    const old = inputs.get(name);
    if (old !== undefined) inputs.set(name, { ...old, bytes: encode("i32", Float64Array.from(values)) });
  };
  const table = Array.from({ length: lengths.length * slots }, (_, i) =>
    (i % slots) * 64 < (lengths[Math.floor(i / slots)] ?? 0) ? lengths.length * slots - i : 2147480000,
  );
  i32("kv.table", table);
  i32("kv.length", lengths);
  const queries = inputs.get("pos")?.shape[1] ?? 1;
  i32(
    "pos",
    lengths.flatMap((length) => Array.from({ length: queries }, (_, s) => length - queries + s)),
  );
  const has = (row: number): boolean => {
    const at = table.indexOf(Math.floor(row / 64));
    return at >= 0 && (at % slots) * 64 + (row % 64) < (lengths[Math.floor(at / slots)] ?? 0);
  };
  for (const [name, pages] of inputs) {
    if (!name.startsWith("kv.pages")) continue;
    const columns = pages.shape[2] ?? 0;
    const values = numbersOf(pages).map((value, i) => (has(Math.floor(i / columns)) ? value : NaN));
    inputs.set(name, { ...pages, bytes: encode(pages.dtype, Float64Array.from(values)) });
  }
  return { inputs, dims };
}

describe("one kernel, in the tile interpreter and in the simulator", () => {
  it.each<[string, string, Readonly<Record<string, number>>, readonly number[]]>([
    ["three heads of three, a sequence of nothing", grouped, { S: 1, G: 3, R: 3, D: 32, T: 80 }, [0, 77]],
    [
      "two pages at a time",
      `${grouped}\nschedule f on sm_90a { tile R 64, D 64, T 128 }`,
      { S: 1, G: 1, R: 1, D: 64, T: 190 },
      [190, 64],
    ],
    ["126 heads narrower than a panel", grouped, { S: 1, G: 2, R: 63, D: 24, T: 70 }, [67]],
    ["eight heads in f16", inF16(grouped), { S: 1, G: 8, R: 1, D: 16, T: 20 }, [20]],
    ["two positions, two heads", grouped, { S: 2, G: 2, R: 1, D: 64, T: 65 }, [65]],
    ["keys that are values too", latent, { S: 1, H: 63, Ck: 64, Dr: 64, T: 70 }, [66]],
    ["scores that are sums of two products", twoParts, { S: 1, H: 3, Ck: 64, Dr: 64, T: 140 }, [70]],
    ["scores of codes and their scales", narrow, { S: 1, H: 3, Ck: 128, Dr: 64, T: 140 }, [70, 0]],
    [
      "codes of more columns than a warpgroup holds",
      narrow,
      { S: 1, H: 2, Ck: 512, Dr: 64, T: 192 },
      [190, 66],
    ],
    ["more columns than a warpgroup holds", latent, { S: 1, H: 2, Ck: 384, Dr: 64, T: 192 }, [130]],
  ])("%s", async (_, text, dims, lengths) => {
    const made = compiled(text, { B: lengths.length, ...dims });
    const { inputs, dims: open } = cached(made, lengths);
    const device = await openSimulator({ seeds: 1 });
    // Tile programs have no dots in names.
    const renamed = new Map([...inputs].map(([name, tensor]) => [name.replaceAll(".", "_"), tensor]));
    const ways = [interpreted(made, renamed, open), await ranOn(device, made, inputs)];
    expectWithin(ways, made, inputs, open);
    await device.close();
  });
});

it.each([
  ["few queries: the cache itself streams", 1, [77, 0]],
  ["many queries: keys and values are made once", 66, [70]],
])("a library's latent attention, %s", async (_, queries, lengths) => {
  const sizes = { H: 2, Dn: 64, Dr: 64, Dv: 64, Ck: 64, T: 80 };
  const made = compiled(expanded, { B: lengths.length, S: queries, ...sizes });
  // One more before it and one after, or the keys' and the values'.
  expect(made.artifact?.plan.kernels).toHaveLength(3);
  const { inputs, dims } = cached(made, lengths);
  const device = await openSimulator({ seeds: 1 });
  expectWithin(await ranOn(device, made, inputs), made, inputs, dims);
  await device.close();
});

it("few rows of a long sequence are swept in parts, and those combined", async () => {
  const made = compiled(grouped, { B: 1, S: 1, G: 1, R: 2, D: 64, T: 2048 });
  expect(made.artifact?.plan.kernels.length).toBe(2);
  // The second part has one place of the sequence, the others none.
  const { inputs, dims } = cached(made, [257], 32);
  const device = await openSimulator({ seeds: 1 });
  expectWithin(await ranOn(device, made, inputs), made, inputs, dims);
  await device.close();
});

describe("what threads make of a cache of codes", () => {
  const codes = (Ck: number): Compiled => compiled(narrow, { B: 2, S: 1, H: 2, T: 192, Ck, Dr: 64 });

  it.each([
    ["", 256],
    ["schedule f on sm_90a { roles copy 1, math 2 }", 128],
  ])("is made by as many warpgroups as registers allow, or as are asked for: %s", (block, threads) => {
    const made = compiled(`${narrow}\n${block}\n`, { B: 2, S: 1, H: 2, T: 192, Ck: 512, Dr: 64 });
    expect(tilesOf(made)[0]).toContain(`role copy ${threads} all`);
  });

  it("is not made by more", () => {
    const text = `${narrow}\nschedule f on sm_90a { roles copy 3, math 2 }\n`;
    expect(() => compiled(text, { B: 2, S: 1, H: 2, T: 192, Ck: 512, Dr: 64 })).toThrow("WF4701");
  });

  it("is held as it is in memory, and asked for ahead", () => {
    const [text = ""] = tilesOf(codes(512));
    expect(text).toMatch(/var inner_tile\w*_held\w*: f32\[.*\] packed e4m3/);
    expect(text).toMatch(/prefetch where .*\n +@kv_pages0\[kv_pages, 64, 512\] at .* extent \[1, 64, 256\]/);
    expect(text).toMatch(/@kv_pages0_scale\[kv_pages, 64, 4\] at .* extent \[1, 64, 4\]/);
    // Four panels at a time, of which a thread has one line each; two neighbours of 64 have a scale.
    const held = new Set(text.match(/var inner_tile\w*_held\w*/g));
    expect(held.size).toBe(4 + 2);
  });

  it("is asked for in pages that the sequence has, and no others", () => {
    const made = codes(512);
    const { inputs, dims } = cached(made, [130, 64]);
    const renamed = new Map([...inputs].map(([name, tensor]) => [name.replaceAll(".", "_"), tensor]));
    let count = 0;
    // The page itself in place of the box, which is clamped to those that there are.
    const pageOf = ({ boxes, where }: TileOp<"prefetch">): TileOp[] =>
      boxes.flatMap(({ at }) => {
        const pages: TileExpr[] = [];
        visitExpressions(at.slice(0, 1), (expr) => {
          if (expr.kind === "read" && expr.buffer.name === "kv_table") pages.push(expr);
        });
        count += pages.length;
        const counter = { id: -1, name: "page", count: symbol("kv_pages") };
        return pages.map((expr): TileOp => ({
          kind: "if",
          condition: where ?? t.bool(true),
          then: [{ kind: "index", counter, expr }],
          otherwise: [],
        }));
      });
    const checked = (ops: readonly TileOp[]): TileOp[] =>
      ops.flatMap((op) =>
        op.kind === "prefetch" ? pageOf(op) : [withBodies(op, bodiesOf(op).map(checked))],
      );
    const numbers = interpreted(made, renamed, dims, (program) => ({
      ...program,
      body: checked(program.body),
    }));
    expect(count).toBeGreaterThan(0);
    expectWithin(numbers, made, inputs, dims);
  });
});

it("a prefetch reaches no further than its view", () => {
  const program = parse(`tiles f threads 128 ""
block worker in 1
global read x: bf16[4, 64]
prefetch where true {
  @x[4, 64] at [2, 0] extent [3, 64]
}
`);
  expect(verify(program)).toEqual([]);
  const memory = new Map(program.buffers.map((buffer) => [buffer, new Array<number>(256).fill(0)]));
  expect(() => interpretTiles(program, memory, new Map())).toThrow("from 2 to 5 is not within 4");
});

it("a latent cache streams once, and two roles share its columns", () => {
  const made = compiled(latent, { B: 1, S: 1, H: 128, Ck: 512, Dr: 64, T: 4096 });
  const [text = ""] = tilesOf(made);
  // What sums do not read, and each role's columns.
  const parts = [...text.matchAll(/shared inner_tile\w*: bf16\[(\d+), 64, 64\]/g)].map(
    ([, panels]) => panels,
  );
  expect(parts).toEqual(["1", "4", "2", "2"]);
  expect(text).not.toContain("outer_tile");
  expect(text).toContain("role columns_1 128 all");
  expect(made.artifact?.files.size).toBeGreaterThan(0);
});
