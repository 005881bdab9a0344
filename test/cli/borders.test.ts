/** What crosses the border of a function that is compiled by itself: leading axes that `...` stands for. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";
import { fromNumbers, openSafetensorsFile, toNumbers, writeSafetensorsFile } from "../../runtime/index.ts";
import type { Ran } from "./session.ts";

const packed = `fn centred<A: float>(x: A[..., D], g: f32[D]) -> (y: A[..., D], m: f32[...]) {
  let m = for ...: mean[d](x[..., d])
  (y: for ..., d: (x[..., d] - m[...]) * g[d], m: m)
}
`;

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-borders-"));
  await writeFile(join(cwd, "packed.dsl"), packed);
  await writeFile(join(cwd, "plain.dsl"), "fn f(x: f32[N]) -> f32[N] { x }\n");
});
afterAll(() => rm(cwd, { recursive: true }));

async function weft(...args: readonly string[]): Promise<Ran> {
  const [out, note]: [string[], string[]] = [[], []];
  const streams = {
    out: { write: (text: string) => out.push(text) },
    err: { write: (text: string) => note.push(text) },
  };
  const terminal = terminalOf(streams, {}, cwd);
  const code = await runCli(args, terminal, () => Promise.resolve(compilerApi()), "0.0.0");
  return { code, out: out.join(""), note: note.join("") };
}

async function results(file: string): Promise<Readonly<Record<string, readonly (number | bigint)[]>>> {
  const opened = await openSafetensorsFile(join(cwd, file));
  const found: Record<string, readonly (number | bigint)[]> = {};
  for (const name of opened.tensors.keys()) found[name] = [...toNumbers(await opened.read(name))];
  await opened.close();
  return found;
}

describe("leading axes", () => {
  test.each(["...=2x3", "...=BxS,B=2,S=3", "...=3x3", "...=7", "...="])(
    "run as --dims %s says, on every device alike",
    async (text) => {
      for (const device of ["js", "simulate", "webgpu"]) {
        const dims = `${text},D=33,A=f32`;
        const args = [
          "--dims",
          dims,
          "--random",
          "1",
          "--device",
          device,
          "--compare",
          "reference",
          "--json",
        ];
        const { code, out, note } = await weft("run", "packed.dsl:centred", ...args);
        expect([note, code]).toEqual(["", 0]);
        expect(JSON.parse(out).comparison).toMatchObject([{ violations: 0 }, { violations: 0 }]);
      }
    },
    60_000,
  );

  test("are what an input file has there", async () => {
    const x = [1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31];
    const inputs = { x: fromNumbers("f32", [2, 1, 2, 3], x), g: fromNumbers("f32", [3], [1, 10, 100]) };
    await writeSafetensorsFile(join(cwd, "in.safetensors"), new Map(Object.entries(inputs)));
    const files = ["--input", "in.safetensors", "--output", "out.safetensors"];
    const run = ["run", "packed.dsl:centred", "--dims", "A=f32", "--device", "js", ...files];
    expect(await weft(...run)).toMatchObject({ code: 0, note: "" });
    const { y, m } = await results("out.safetensors");
    const means = [0, 1, 2, 3].map((row) => x.slice(3 * row, 3 * row + 3).reduce((a, b) => a + b, 0) / 3);
    means.forEach((mean, row) => expect(m?.[row]).toBeCloseTo(mean, 5));
    x.forEach((value, k) => {
      const wanted = (value - (means[Math.floor(k / 3)] ?? 0)) * 10 ** (k % 3);
      expect(y?.[k]).toBeCloseTo(wanted, 3);
    });
  });

  test("that are names stay open in the plan, under these names", async () => {
    const dims = ["--dims", "...=BxS", "--dims", "D=8,A=bf16"];
    expect(await weft("build", "packed.dsl", "--target", "js", ...dims, "-o", "p")).toMatchObject({
      code: 0,
    });
    const plan: unknown = JSON.parse(await readFile(join(cwd, "p", "plan.json"), "utf8"));
    expect(plan).toMatchObject({
      dims: { dynamic: ["B", "S"] },
      inputs: [{ name: "x", shape: ["B", "S", "8"], axes: ["B", "S", "D"] }, { name: "g" }],
      outputs: [{ axes: ["B", "S", "D"] }, { axes: ["B", "S"] }],
    });
  });

  test("that nothing says, or says wrongly, are refused", async () => {
    const run = (dims: string, file = "packed.dsl"): Promise<Ran> =>
      weft("run", file, "--dims", dims, "--random", "1", "--device", "js");
    const open = await run("A=f32,D=4");
    expect(open.code).toBe(1);
    expect(open.note).toContain("error[WF2704]");
    expect(open.note).toContain("--dims ...=4x128");
    expect((await run("...=DxB,A=f32")).note).toContain("'D' is the name of another axis");
    expect((await run("...=BxB,A=f32")).note).toContain("'B' is the name of another axis");
    for (const dims of ["...=4xs", "...=4,...=5", "...=0"]) expect((await run(dims)).code).toBe(2);
    expect(await run("...=4,N=3", "plain.dsl")).toMatchObject({
      code: 2,
      note: "weft: --dims ...: no function of plain.dsl takes any leading axes\n",
    });
  });
});
