/** `weft numerics`: the report as text, as JSON and as a picture. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";
import type { NumericsReport } from "../../compiler/numerics/index.ts";

const source = `dim N, D, F
fn linear(x: f32[N, D], w: f32[F, D]) -> f16[N, F] { for n, f: sum[d](x[n, d] * w[f, d]) }
fn short(x: f32[N, D]) -> f32[N] { for n: sum[d](x[n, d]) }
fn twice(x: i32[N]) -> i32[N] { for n: 2 * x[n] }
`;

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-numerics-"));
  await writeFile(join(cwd, "sums.dsl"), source);
});
afterAll(() => rm(cwd, { recursive: true }));

async function weft(...args: readonly string[]): Promise<{ code: number; out: string; note: string }> {
  const [out, note]: [string[], string[]] = [[], []];
  const stream = (into: string[]): { isTTY: boolean; write(text: string): void } => ({
    isTTY: false,
    write: (text) => void into.push(text),
  });
  const terminal = terminalOf({ out: stream(out), err: stream(note) }, {}, cwd);
  const code = await runCli(args, terminal, () => Promise.resolve(compilerApi()), "9.9.9");
  return { code, out: out.join(""), note: note.join("") };
}

const numerics = (entry: string, dims: string, ...more: readonly string[]): ReturnType<typeof weft> =>
  weft("numerics", `sums.dsl:${entry}`, "--dims", dims, "--random", "1", "--device", "js", ...more);

describe("weft numerics", () => {
  test("as JSON: bounds, headroom, sums and bits", async () => {
    const { code, out } = await numerics("linear", "N=8,D=64,F=8", "--json");
    expect(code).toBe(0);
    const report = JSON.parse(out) as NumericsReport;
    const [output] = report.outputs;
    expect(output).toMatchObject({ name: "out", dtype: "f16", elements: 64, unitRoundoff: 2 ** -11 });
    expect(output?.measured.beyondWorst).toBe(0);
    expect(output?.measured.absolute).toBeLessThanOrEqual(output?.probable.absolute ?? 0);
    expect(output?.probable.absolute).toBeLessThanOrEqual(output?.worst.absolute ?? 0);
    expect(output?.headroom).toBeCloseTo(65504 / (output?.magnitude ?? 0));
    expect(report.sums.map(({ kernel, unit, inOrder }) => [kernel, unit, inOrder])).toEqual([
      ["linear", undefined, true],
    ]);
    expect(report.reproducible.runs.bitwise).toBe(true);
    expect(report.reproducible.batches.map(({ dim }) => dim)).toEqual(["N", "F"]);
  });

  test("as text, and a picture that is well-formed", async () => {
    const { code, out } = await numerics("linear", "N=8,D=64,F=8", "-o", "errors.svg");
    expect(code).toBe(0);
    expect(out).toMatch(/^sums\.dsl:linear for js on JavaScript.* with N=8, D=64, F=8$/m);
    expect(out).toMatch(/^ {2}out +f16 /m);
    expect(out).toMatch(/^bits in another run: the same; /m);
    const svg = await readFile(join(cwd, "errors.svg"), "utf8");
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" [^]*<\/svg>\n$/);
    const open = [...svg.matchAll(/<(text|style|title)\b/g)].length;
    expect([...svg.matchAll(/<\/(text|style|title)>/g)].length).toBe(open);
  });

  test("integers are exact, and have no headroom to speak of", async () => {
    const { code, out } = await numerics("twice", "N=8");
    expect(code).toBe(0);
    expect(out).toMatch(/^ {2}out +i32 .* exact$/m);
  });

  test("rows that other sizes sum in another order are said to have other bits", async () => {
    const { out } = await numerics("short", "N=4,D=8");
    expect(out).toMatch(/^bits for other N: the same; sums have one order at N = 1, 4, 128, 1024, 8192$/m);
  });

  test("a confidence is between 0 and 1", async () => {
    const { code, note } = await numerics("short", "N=4,D=8", "--confidence", "1");
    expect(code).toBe(2);
    expect(note).toMatch(/--confidence takes a number between 0 and 1/);
  });
});
