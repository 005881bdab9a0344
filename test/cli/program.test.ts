/** The command line on the real compiler: one program, checked, built and run. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { runCli } from "../../compiler/cli/cli.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";
import { readArtifact } from "../../runtime/index.ts";
import type { Ran } from "./session.ts";

const program = `/// Rows that add up to one.
import std.nn { softmax }

dim B, X

fn weigh<A: float>(a: A[B, X], g: f32[X]) -> A[B, X] {
  let p = softmax[X](a)
  for b, x: p[b, x] * g[x]
}
`;

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-program-"));
  const { writeFile } = await import("node:fs/promises");
  await writeFile(join(cwd, "weigh.dsl"), program);
  await writeFile(join(cwd, "wrong.dsl"), program.replace("g[x]\n", "h[x]\n").replace("p[b, x]", "p[b]"));
});
afterAll(() => rm(cwd, { recursive: true }));

async function weft(...args: readonly string[]): Promise<Ran> {
  const [out, note]: [string[], string[]] = [[], []];
  const streams = {
    out: { write: (text: string) => out.push(text) },
    err: { write: (text: string) => note.push(text) },
  };
  const code = await runCli(
    args,
    terminalOf(streams, {}, cwd),
    () => Promise.resolve(compilerApi()),
    "0.0.0",
  );
  return { code, out: out.join(""), note: note.join("") };
}

describe("one program", () => {
  test("checks; two mistakes are two diagnostics with places, as text and as JSON", async () => {
    expect(await weft("check", "weigh.dsl")).toEqual({ code: 0, out: "", note: "" });
    const { code, note } = await weft("check", "wrong.dsl");
    expect(code).toBe(1);
    expect(note).toContain("wrong.dsl:8:");
    expect(note).toContain("^");
    const json = await weft("check", "wrong.dsl", "--format", "json");
    const found: unknown = JSON.parse(json.out);
    expect(found).toMatchObject([
      { severity: "error", file: "wrong.dsl", range: { start: { line: 8 } } },
      { severity: "error" },
    ]);
    expect(JSON.parse((await weft("check", "wrong.dsl", "--format", "sarif")).out)).toMatchObject({
      version: "2.1.0",
    });
  });

  for (const device of ["js", "webgpu"]) {
    for (const sizes of ["B=3,X=17,A=f32", "B=1,X=1,A=bf16", "B=5,X=300,A=f16"]) {
      test(`runs on ${device} within the reference's bounds: ${sizes}`, async () => {
        const args = [
          "--dims",
          sizes,
          "--random",
          "3",
          "--device",
          device,
          "--compare",
          "reference",
          "--json",
        ];
        const { code, out, note } = await weft("run", "weigh.dsl:weigh", ...args);
        expect([note, code]).toEqual(["", 0]);
        expect(JSON.parse(out).comparison).toMatchObject([{ name: "out", violations: 0, special: 0 }]);
      });
    }
  }

  test("dims that a file fixes need not be given, and stay dynamic in the plan", async () => {
    const first = [
      "--dims",
      "B=3,X=9,A=f32",
      "--random",
      "5",
      "--device",
      "reference",
      "--output",
      "y.safetensors",
    ];
    expect((await weft("run", "weigh.dsl:weigh", ...first)).code).toBe(0);
    const { openSafetensorsFile, writeSafetensorsFile, fromNumbers } = await import("../../runtime/index.ts");
    const file = await openSafetensorsFile(join(cwd, "y.safetensors"));
    const a = await file.read("out");
    await file.close();
    const g = fromNumbers("f32", [9], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await writeSafetensorsFile(
      join(cwd, "x.safetensors"),
      new Map([
        ["a", a],
        ["g", g],
      ]),
    );
    const rest = [
      "--input",
      "x.safetensors",
      "--dims",
      "A=f32",
      "--device",
      "js",
      "--compare",
      "reference",
      "--json",
    ];
    const { code, out, note } = await weft("run", "weigh.dsl:weigh", ...rest);
    expect([note, code]).toEqual(["", 0]);
    expect(JSON.parse(out).dims).toEqual({ B: 3, X: 9 });
  });

  test("builds for every target into a folder that reads back with its hashes", async () => {
    for (const target of ["ptx", "ptx:sm_80", "cuda", "wgsl", "js"]) {
      const folder = join(cwd, target.replace(":", "_"));
      const { code, note } = await weft(
        "build",
        "weigh.dsl:weigh",
        "--dims",
        "A=f16",
        "--target",
        target,
        "-o",
        folder,
      );
      expect([note, code], target).toEqual(["", 0]);
      const { plan, files } = await readArtifact(folder);
      expect(plan.target).toBe(target === "ptx" || target === "cuda" ? `${target}:sm_90a` : target);
      expect(plan.dims.dynamic).toEqual(["B", "X"]);
      expect(plan.inputs.map(({ name }) => name)).toEqual(["a", "g"]);
      expect(files.size).toBeGreaterThan(0);
      const again = join(cwd, "again");
      await weft("build", "weigh.dsl:weigh", "--dims", "A=f16", "--target", target, "-o", again);
      expect(await readFile(join(again, "plan.json"), "utf8")).toBe(
        await readFile(join(folder, "plan.json"), "utf8"),
      );
    }
  });

  test("a size or a dtype that the program has not is a slip, never ignored", async () => {
    for (const [name, value] of [
      ["Q", "3"],
      ["W", "bf16"],
    ]) {
      const { code, note } = await weft(
        "build",
        "weigh.dsl",
        "--target",
        "js",
        "--dims",
        `A=f32,${name}=${value}`,
      );
      expect([code, note]).toEqual([
        2,
        `weft: --dims ${name}: weigh.dsl has no size and no dtype of that name; it has A, B, X\n`,
      ]);
    }
  });

  test("an output that cannot be written is named as it was given", async () => {
    const sizes = ["--dims", "A=f32,B=1,X=2", "--random", "1", "--device", "js"];
    const run = await weft("run", "weigh.dsl", ...sizes, "--output", "none/y.safetensors");
    expect([run.code, run.note]).toEqual([
      1,
      `weft: ${join(cwd, "none/y.safetensors")} cannot be written: ENOENT: no such file or directory\n`,
    ]);
    const build = await weft("build", "weigh.dsl", "--target", "js", "--dims", "A=f32", "-o", "weigh.dsl/x");
    expect([build.code, build.note]).toEqual([
      1,
      `weft: ${join(cwd, "weigh.dsl/x")} cannot be written: ENOTDIR: not a directory\n`,
    ]);
  });

  test("inspect names the passes; explain has a page for every code that it lists", async () => {
    const { code, out } = await weft("inspect", "weigh.dsl:weigh", "--dims", "A=f32", "--target", "js");
    expect(code).toBe(0);
    for (const pass of out.trim().split("\n")) {
      const { out: text } = await weft(
        "inspect",
        "weigh.dsl:weigh",
        "--dims",
        "A=f32",
        "--target",
        "js",
        "--after",
        pass,
      );
      expect(text.length, pass).toBeGreaterThan(20);
    }
    const codes: readonly { code: string }[] = JSON.parse((await weft("explain", "--json")).out);
    expect(codes.length).toBeGreaterThan(20);
    for (const row of codes) expect((await weft("explain", row.code)).out).toContain(row.code);
  });
});
