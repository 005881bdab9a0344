/** `weft explain FILE:FN`: each pair of neighbours, with the reason and the bytes, in the words of the program. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";

const program = `import std.nn { softmax }

dim N, S, T, D, F, V

fn attend(q: bf16[S, D], k: bf16[T, D], v: bf16[T, D]) -> f32[S, T] {
  let score = for s, t: sum[d](q[s, d] * k[t, d])
  softmax[T](score)
}

fn gated(x: bf16[N, D], up: bf16[F, D], gate: bf16[F, D]) -> bf16[N, F] {
  let g = for n, f: sum[d](x[n, d] * gate[f, d])
  let u = for n, f: sum[d](x[n, d] * up[f, d])
  for n, f: bf16(g[n, f] * sigmoid(g[n, f]) * u[n, f])
}

fn centred(x: f32[N, V]) -> f32[N, V] {
  let m = for n: mean[v](x[n, v])
  for n, v: exp(x[n, v] - m[n])
}

fn total(x: f32[N, V]) -> f32[N] {
  for n: sum[v](x[n, v])
}
`;

/** A softmax of one's own, beside a score of the row: what is masked stays masked, or is 0. */
const masked = (weights: string): string => `import std.mask { zeroed }
dim S, T, D
fn attend(q: bf16[S, D], k: bf16[T, D], v: bf16[T, D], sink: f32[S]) -> bf16[S, D] {
  let score = for s, t: (sum[d](q[s, d] * k[t, d])) where t <= s
  let m = for s: max(max[t](score[s, t]), sink[s])
  let e = for s, t: exp(score[s, t] - m[s])
  let z = for s: sum[t](e[s, t]) + exp(sink[s] - m[s])
  let w = for s, t: e[s, t] / z[s]
  let p = ${weights}
  for s, d: sum[t](p[s, t] * v[t, d])
}
`;

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-explain-"));
  await writeFile(join(cwd, "p.dsl"), program);
  await writeFile(join(cwd, "masked.dsl"), masked("w"));
  await writeFile(join(cwd, "zeroed.dsl"), masked("zeroed[T](w)"));
});
afterAll(() => rm(cwd, { recursive: true }));

async function explain(...args: readonly string[]): Promise<string> {
  const [out, note]: [string[], string[]] = [[], []];
  const streams = {
    out: { write: (text: string) => out.push(text) },
    err: { write: (text: string) => note.push(text) },
  };
  const api = (): Promise<ReturnType<typeof compilerApi>> => Promise.resolve(compilerApi());
  const code = await runCli(["explain", ...args], terminalOf(streams, {}, cwd), api, "0.0.0");
  expect([code, note.join("")]).toEqual([0, ""]);
  return out.join("");
}

describe("weft explain", () => {
  test("rows that follow a contraction are one loop, apart from it; sizes are open", async () => {
    expect(await explain("p.dsl:attend", "--dims", "D=64")).toMatchInlineSnapshot(`
      "p.dsl:attend: 6 loops as written, 2 loops as compiled
      bytes moved: 38 MB as written, 12.8 MB as compiled
        from                                                to                                                  saves
        score                           p.dsl:6:25          m                               stdlib/nn.dsl:7:20  (4 * S * T B)        apart: a contraction keeps a loop of its own
        score                           p.dsl:6:25          e                               stdlib/nn.dsl:8:11  (4 * S * T B)        apart: a contraction keeps a loop of its own
        m                               stdlib/nn.dsl:7:20  e                               stdlib/nn.dsl:8:11  8 * S + 4 * S * T B  fused: one loop over the rows
        e                               stdlib/nn.dsl:8:11  z                               stdlib/nn.dsl:9:20  8 * S * T B          fused: one loop over the rows
        e                               stdlib/nn.dsl:8:11  for ..., x: e[..., x] / z[...]  stdlib/nn.dsl:10:3  4 * S * T B          fused: one loop over the rows
        z                               stdlib/nn.dsl:9:20  for ..., x: e[..., x] / z[...]  stdlib/nn.dsl:10:3  8 * S B              fused: one loop over the rows
        for ..., x: e[..., x] / z[...]  stdlib/nn.dsl:10:3  out                             p.dsl:5:4           8 * S * T B          fused: one loop over the rows
      In parentheses: what one loop would save.
      A size that is not given counts as 1024; --dims gives it.
      "
    `);
  });

  test("a sum that leaves masked products out, and what makes it a product of matrices", async () => {
    const reasons = async (file: string): Promise<readonly string[]> =>
      (await explain(`${file}:attend`, "--dims", "D=64")).match(/apart: .*/g) ?? [];
    const leavesOut = (reason: string): boolean => reason.includes("leaves masked products out");
    expect((await reasons("masked.dsl")).filter(leavesOut)).toHaveLength(2);
    expect((await reasons("zeroed.dsl")).filter(leavesOut)).toHaveLength(0);
  });

  test("two contractions that read one tensor, with what follows; sizes are given", async () => {
    expect(await explain("p.dsl:gated", "--dims", "N=4096,D=2048,F=8192")).toMatchInlineSnapshot(`
      "p.dsl:gated: 3 loops as written, 1 loop as compiled
      bytes moved: 705 MB as written, 151 MB as compiled
        from               to                                             saves
        g     p.dsl:11:21  for n, f: bf16(g[n, f] * sigmo..  p.dsl:13:3   268 MB   fused: done where the result is made
        u     p.dsl:12:21  for n, f: bf16(g[n, f] * sigmo..  p.dsl:13:3   268 MB   fused: done where the result is made
        g     p.dsl:11:21  u                                 p.dsl:12:21  16.8 MB  fused: one loop reads for both
      "
    `);
  });

  test("few long rows stay apart, with the numbers", async () => {
    expect(await explain("p.dsl:centred", "--dims", "N=2,V=100000")).toMatchInlineSnapshot(`
      "p.dsl:centred: 3 loops as written, 3 loops as compiled
      bytes moved: 2.4 MB as written, 2.4 MB as compiled
        from               to                                          saves
        mean  p.dsl:17:18  m                              p.dsl:17:11  16 B    fused: done where the result is made
        m     p.dsl:17:11  for n, v: exp(x[n, v] - m[n])  p.dsl:18:3   (16 B)  apart: 2 rows of 100000 are too few for a block each, 32 are enough
      m is split in parts: 2 kernels
      In parentheses: what one loop would save.
      "
    `);
  });

  test("a reduction over few results is split", async () => {
    expect(await explain("p.dsl:total", "--dims", "N=1,V=16777216")).toMatchInlineSnapshot(`
      "p.dsl:total: 2 loops as written, 2 loops as compiled
      bytes moved: 67.1 MB as written, 67.1 MB as compiled
        from               to                                  saves
        sum   p.dsl:22:10  for n: sum[v](x[n, v])  p.dsl:22:3  8 B    fused: done where the result is made
      for n: sum[v](x[n, v]) is split in parts: 2 kernels
      "
    `);
  });

  test("as JSON: codes with numbers, places, and bytes as sizes of the plan", async () => {
    const found: unknown = JSON.parse(await explain("p.dsl:centred", "--dims", "N=2,V=100000", "--json"));
    expect(found).toMatchObject({
      program: "p.dsl:centred",
      before: { loops: 3 },
      pairs: [
        {
          from: { name: "mean", at: "p.dsl:17:18" },
          to: { name: "m", at: "p.dsl:17:11" },
          outcome: "epilogue",
          bytes: "16",
        },
        {
          from: { name: "m" },
          to: { name: "for n, v: exp(x[n, v] - m[n])", at: "p.dsl:18:3" },
          outcome: "apart",
          reason: { kind: "few-rows", rows: 2, least: 32, length: 100000, longest: 8192 },
          bytes: "16",
        },
      ],
      siblings: [],
      split: [{ name: "m", kernels: 2 }],
    });
    const open: unknown = JSON.parse(await explain("p.dsl:attend", "--json"));
    expect(open).toMatchObject({
      pairs: [
        { outcome: "apart", reason: { kind: "contraction" }, bytes: "4 * S * T" },
        {},
        {},
        {},
        {},
        {},
        {},
      ],
    });
  });
});
