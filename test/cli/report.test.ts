/** `weft report kv`: the published caches, the formulas they come from, and a picture. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";

const root = resolve(import.meta.dirname, "../..");
const source = `import std.cache { Paged }
dim B, T, N, C, D
module One<A: float> {
  state kv: Paged<A, 16>[B, T, 2 * N * D]
  fn read() -> A[B, T, 2 * N * D] { kv.read() }
}
module Two {
  param first: One<bf16>
  param second: One<f32>
  state own: Paged<e4m3 @ (128), bf16, 64>[B, T, C, D]
  fn read() -> bf16[B, T, D] { let (c, r) = own.read(); r }
}
module None { param w: f32[N]; fn twice() -> f32[N] { for n: 2 * w[n] } }
`;

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-report-"));
  await writeFile(join(cwd, "caches.dsl"), source);
});
afterAll(() => rm(cwd, { recursive: true }));

async function weft(
  folder: string,
  ...args: readonly string[]
): Promise<{ code: number; out: string; note: string }> {
  const [out, note]: [string[], string[]] = [[], []];
  const stream = (into: string[]): { isTTY: boolean; write(text: string): void } => ({
    isTTY: false,
    write: (text) => void into.push(text),
  });
  const terminal = terminalOf({ out: stream(out), err: stream(note) }, {}, folder);
  const code = await runCli(
    ["report", "kv", ...args],
    terminal,
    () => Promise.resolve(compilerApi()),
    "9.9.9",
  );
  return { code, out: out.join(""), note: note.join("") };
}

describe("weft report kv", () => {
  test("published configurations give the published bytes, and 93.3% less at 6 bits", async () => {
    const svg = join(cwd, "kv.svg");
    const files = ["examples/caches/layers.dsl", "--configs", "examples/caches/published.txt"];
    const { code, out } = await weft(root, ...files, "-o", svg);
    expect(code).toBe(0);
    const row = (name: string): string => out.split("\n").find((line) => line.trim().startsWith(name)) ?? "";
    for (const [name, bytes] of [
      ["DeepSeek 67B", "389,120"],
      ["DeepSeek-V2, 6 bits", "25,920 .*93.3% less"],
      ["DeepSeek-V2 ", "69,120 .*82.2% less"],
      ["DeepSeek-V3 ", "70,272"],
      ["DeepSeek-V3, 8 bits", "40,016"],
      ["Qwen2.5 72B", "327,680"],
      ["Llama 3.1 405B", "516,096"],
      ["V3 with MQA", "31,232"],
      ["V3 with MHA", "3,997,696"],
    ] as const)
      expect(row(name)).toMatch(new RegExp(` ${bytes}`));
    const picture = await readFile(svg, "utf8");
    expect(picture).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" [^]*<\/svg>\n$/);
    expect([...picture.matchAll(/class="bar\d"/g)].length).toBe(10);
  });

  test("every state counts, a held module's too, in the holder's names", async () => {
    const { code, out } = await weft(
      cwd,
      "caches.dsl",
      "--json",
      "--config",
      "a: Two, N=2, D=8, C=130, layers=3",
    );
    expect(code).toBe(0);
    const report = JSON.parse(out) as {
      formulas: { module: string; bytes: string; states: { path: string; bytes: string }[] }[];
      configurations: { bytes: number; numbers: number }[];
    };
    expect(report.formulas.map(({ module }) => module)).toEqual(["One", "Two"]);
    expect(report.formulas[0]?.bytes).toBe("2 * A_bytes * N * D");
    expect(report.formulas[1]?.states.map(({ path, bytes }) => [path, bytes])).toEqual([
      ["own", "C + 4 * ceildiv(C, 128) + 2 * D"],
      ["first.kv", "4 * N * D"],
      ["second.kv", "8 * N * D"],
    ]);
    expect(report.configurations[0]).toMatchObject({
      bytes: 3 * (130 + 4 * 2 + 16 + 4 * 16 + 8 * 16),
      numbers: 3 * (130 + 8 + 2 * 2 * 16),
    });
  });

  test.each([
    ["a: Three, N=2", /has no module Three with a cache; it has One, Two/],
    ["a: None, N=2", /has no module None with a cache/],
    ["a: One, N=2, A=bf16", /no size is given for D/],
    ["One, N=2", /a configuration is NAME: MODULE/],
    ["a: One, N=2, layers=0", /layers is a whole number from 1/],
  ])("%s is refused", async (config, message) => {
    const { code, note } = await weft(cwd, "caches.dsl", "--config", config);
    expect(code).toBe(2);
    expect(note).toMatch(message);
  });
});
