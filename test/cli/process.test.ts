/** The built command as a process of its own: what `npm run build` makes must be there. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ran } from "./session.ts";

const main = resolve(import.meta.dirname, "../../dist/cli/weft.js");

let cwd: string;
beforeAll(async () => {
  if (!existsSync(main)) throw new Error(`${main} is not there: npm run build makes it`);
  cwd = await mkdtemp(join(tmpdir(), "weft-process-"));
  await writeFile(join(cwd, "double.dsl"), "fn double(x: f32[N]) -> f32[N] {\n  for n: 2.0 * x[n]\n}\n");
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

function weft(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [main, ...args],
      { cwd, env: { ...process.env, ...env } },
      (_error, out, note) => done({ code: child.exitCode ?? -1, out, note }),
    );
  });
}

test("help, version, a run, and each exit code", async () => {
  const help = await weft(["--help"]);
  expect([help.code, help.note]).toEqual([0, ""]);
  expect(help.out).toContain("weft build <program>");
  expect((await weft(["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  const run = await weft([
    "run",
    "double.dsl:double",
    "--dims",
    "N=5",
    "--random",
    "1",
    "--device",
    "js",
    "--compare",
    "reference",
  ]);
  expect([run.code, run.note]).toEqual([0, ""]);
  expect(run.out).toContain("within its bound");
  const missing = await weft(["check", "nowhere.dsl"]);
  expect([missing.code, missing.out, missing.note]).toEqual([
    1,
    "",
    "weft: nowhere.dsl: there is no such file\n",
  ]);
  expect((await weft(["frobnicate"])).code).toBe(2);
});

test("bytes that are no program end in a diagnostic, not in a stack", async () => {
  await writeFile(join(cwd, "deep.dsl"), `fn f(x: f32[N]) -> f32[N] { for n: ${"(".repeat(100_000)}x[n]`);
  await writeFile(join(cwd, "cut.dsl"), "fn double(x: f32[N");
  await writeFile(join(cwd, "rubbish.dsl"), "\u0001\u0002}{)(;;".repeat(1000));
  for (const file of ["deep.dsl", "cut.dsl", "rubbish.dsl"]) {
    const { code, note } = await weft(["build", file, "-o", "out"]);
    expect(code, file).toBe(1);
    expect(note, file).toMatch(/error\[WF\d{4}\]/);
    expect(note, file).not.toContain("    at ");
  }
  expect(existsSync(join(cwd, "out"))).toBe(false);
});

test("FORCE_COLOR colours what a pipe reads", async () => {
  await writeFile(join(cwd, "wrong.dsl"), "fn double(x: f32[N]) -> f32[N] {\n  for n: 2.0 * y[n]\n}\n");
  expect((await weft(["check", "wrong.dsl"])).note).not.toContain("\u001b[");
  expect((await weft(["check", "wrong.dsl"], { FORCE_COLOR: "1" })).note).toContain("\u001b[");
});
