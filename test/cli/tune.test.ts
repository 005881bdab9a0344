/** `weft tune`: on the device that is always here, with a cache that survives what may befall it. */
import { mkdtemp, readdir, rm, writeFile, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";
import { cacheFolder, measurementKey, readTimes, writeTimes } from "../../compiler/cli/tune-cache.ts";
import { jsTexts, scalePlan } from "../runtime/scale-plan.ts";

const source = `dim N, D, F
fn linear(x: f32[N, D], w: f32[F, D]) -> f32[N, F] { for n, f: sum[d](x[n, d] * w[f, d]) }
`;

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-tune-"));
  await writeFile(join(cwd, "linear.dsl"), source);
});
afterAll(() => rm(cwd, { recursive: true }));

async function weft(...args: readonly string[]): Promise<{ code: number; out: string; note: string }> {
  const [out, note]: [string[], string[]] = [[], []];
  const stream = (into: string[]): { isTTY: boolean; write(text: string): void } => ({
    isTTY: true,
    write: (text) => void into.push(text),
  });
  const terminal = terminalOf({ out: stream(out), err: stream(note) }, {}, cwd);
  const code = await runCli(args, terminal, () => Promise.resolve(compilerApi()), "9.9.9");
  return { code, out: out.join(""), note: note.join("") };
}

const tune = (...more: readonly string[]): ReturnType<typeof weft> =>
  weft(
    "tune",
    "linear.dsl:linear",
    "--dims",
    "N=8,D=16,F=8",
    "--device",
    "js",
    "--cache",
    "cache",
    "--choices",
    "4",
    "--samples",
    "1",
    ...more,
  );

describe("weft tune", () => {
  test("prints a block that the source may hold, shows its progress, and writes what it is told to", async () => {
    const { code, out, note } = await tune("-o", "best.txt");
    expect(code).toBe(0);
    expect(out).toMatch(/^\/\/ .* on JavaScript.*\nschedule linear on js \{ tile .*; threads 1 \}\n$/);
    expect(await readFile(join(cwd, "best.txt"), "utf8")).toBe(out);
    expect(note).toMatch(/\[#+\.+\] \d of \d+ choices/);
    await writeFile(join(cwd, "kept.dsl"), source + out);
    const kept = await weft(
      "build",
      "kept.dsl:linear",
      "--dims",
      "N=8,D=16,F=8",
      "--target",
      "js",
      "--schedules",
    );
    expect(kept.out).toContain(out.split("\n")[1]);
  });

  test("takes from the cache what it has measured, and measures again where a file is no measurement", async () => {
    const first = await tune("--json");
    const second = await tune("--json");
    expect(second.out).toBe(first.out);
    const files = await readdir(join(cwd, "cache"));
    await Promise.all(files.map((file) => writeFile(join(cwd, "cache", file), '{"launches": [{"kernel": 0')));
    const third = await tune("--json");
    expect(third.code).toBe(0);
    expect(await readdir(join(cwd, "cache"))).toEqual(files);
  });

  test("refuses numbers that are none", async () => {
    for (const bad of [
      ["--choices", "0"],
      ["--seconds", "x"],
      ["--samples", "1.5"],
    ])
      expect((await tune(...bad)).code).toBe(2);
    const missing = await weft("tune", "linear.dsl:linear", "--device", "js", "--cache", "cache");
    expect([missing.code, missing.note]).toEqual([1, expect.stringContaining("no size is given for")]);
  });
});

describe("the cache", () => {
  const artifact = scalePlan(jsTexts);

  test("has a name for each kernel's text, device and way", () => {
    const other = scalePlan({ ...jsTexts, double: `${jsTexts.double} ` });
    const keys = [
      measurementKey(artifact, "a", "warm"),
      measurementKey(artifact, "b", "warm"),
      measurementKey(artifact, "a", "cold"),
      measurementKey(other, "a", "warm"),
    ];
    expect(new Set(keys).size).toBe(4);
    expect(measurementKey(artifact, "a", "warm")).toBe(keys[0]);
  });

  test("many writers at once leave one whole file, and nothing beside it", async () => {
    const folder = join(cwd, "shared", "deep");
    const writes = Array.from({ length: 50 }, (_, k) =>
      writeTimes(folder, "key", [{ kernel: 0, seconds: 1 + k }]),
    );
    const reads = Array.from({ length: 50 }, () => readTimes(folder, "key"));
    for (const times of await Promise.all(reads)) expect([undefined, 1]).toContain(times?.length);
    await Promise.all(writes);
    expect(await readdir(folder)).toEqual(["key.json"]);
    expect((await readTimes(folder, "key"))?.[0]?.kernel).toBe(0);
  });

  test("lies where it is told to", () => {
    expect(cacheFolder("here", "/p", { WEFT_CACHE: "/w" })).toBe("/p/here");
    expect(cacheFolder(undefined, "/p", { WEFT_CACHE: "/w", XDG_CACHE_HOME: "/x" })).toBe("/w");
    expect(cacheFolder(undefined, "/p", { XDG_CACHE_HOME: "/x" })).toBe("/x/weft/tune");
    expect(cacheFolder(undefined, "/p", {})).toMatch(/\.cache\/weft\/tune$/);
  });
});
