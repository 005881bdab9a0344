/** `weft pipeline` as a user runs it. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-pipeline-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function weft(...args: string[]): Promise<{ code: number; out: string; note: string }> {
  const [out, note]: [string[], string[]] = [[], []];
  const streams = {
    out: { write: (text: string) => out.push(text) },
    err: { write: (text: string) => note.push(text) },
  };
  const code = await runCli(args, terminalOf(streams, {}, root), () => Promise.resolve(compilerApi()), "0");
  return { code, out: out.join(""), note: note.join("") };
}

const dualpipe = ["pipeline", "test/contract/dualpipe.dsl:DualPipe", "--ranks", "8", "--micro", "20"];

describe("a schedule that is right", () => {
  test("its JSON has every action, each W with what it resolves to", async () => {
    const { code, out } = await weft(...dualpipe, "--json");
    expect(code).toBe(0);
    const plain = JSON.parse(out);
    expect(Object.keys(plain)).toEqual(["name", "ranks", "proof", "bubble", "memory"]);
    expect(plain.ranks).toHaveLength(8);
    const [first] = plain.ranks;
    expect(first.rank).toBe(0);
    expect(first.actions[0]).toEqual({ kind: "F", direction: "down", stage: 0, micro: 0 });
    // Step 3 of rank 0 is I(up), W, F(up): the W is of the I before it.
    expect(first.actions.slice(8, 10)).toEqual([
      { kind: "I", direction: "up", stage: 7, micro: 0 },
      { kind: "W", direction: "up", stage: 7, micro: 0 },
    ]);
    const pair = first.actions.find(({ kind }: { kind: string }) => kind === "overlap");
    expect(pair.of.map(({ kind }: { kind: string }) => kind)).toEqual(["F", "B"]);
    expect(plain.bubble.formula).toBe("3(F&B + B - 3W)");
    expect(plain.memory.activations).toEqual([9, 9, 9, 9, 9, 9, 9, 9]);
  });

  test("its pictures: every action is drawn, the trace is JSON, the table has the library", async () => {
    const [svg, trace] = [join(folder, "d.svg"), join(folder, "d.json")];
    const { code, out } = await weft(
      ...dualpipe,
      "--svg",
      svg,
      "--trace",
      trace,
      "--cost",
      "F=1,B=2,W=1,FB=2.6",
    );
    expect(code).toBe(0);
    for (const name of ["GPipe", "OneFOneB", "ZB1P", "DualPipe", "DualPipeV"])
      expect(out).toContain(`  ${name} `);
    expect(out).toContain("longest idle 4.8 of 60.4");
    const text = await readFile(svg, "utf8");
    // 8 ranks with 20 forwards, 20 backwards or input gradients, and a W for each of the latter; and the legend.
    const drawn = [...text.matchAll(/class="a [FBIW][01]"/g)].length;
    const { ranks } = JSON.parse((await weft(...dualpipe, "--json")).out);
    const flat = ranks.flatMap(({ actions }: { actions: { of?: object[] }[] }) =>
      actions.flatMap((a) => a.of ?? [a]),
    );
    expect(drawn).toBe(flat.length + 8);
    const { traceEvents } = JSON.parse(await readFile(trace, "utf8"));
    expect(traceEvents.filter(({ ph }: { ph: string }) => ph === "X")).toHaveLength(
      ranks.flatMap(({ actions }: { actions: object[] }) => actions).length,
    );
  });

  test("where the usual formula does not hold, the difference is told", async () => {
    const { out } = await weft(...dualpipe, "--cost", "F=1,B=4,W=3");
    expect(out).toContain("bubble 5F&B - 4B - W; longest idle 6 of 106");
    expect(out).toContain("with B = F + W and W < F it is 3(F&B + B - 3W); that would be 0 here, and is 6");
  });

  test("--compare draws the library's schedules at one scale", async () => {
    const svg = join(folder, "all.svg");
    const { code } = await weft("pipeline", "--compare", "--ranks", "4", "--micro", "8", "--svg", svg);
    const text = await readFile(svg, "utf8");
    expect([code, [...text.matchAll(/class="title"/g)].length]).toEqual([0, 6]);
  });

  test("--pieces draws communication under each rank", async () => {
    const svg = join(folder, "pieces.svg");
    expect((await weft(...dualpipe, "--pieces", "published", "--svg", svg)).code).toBe(0);
    expect(await readFile(svg, "utf8")).toContain('class="a C0"');
  });
});

describe("a schedule that is wrong, and wrong command lines", () => {
  test("deadlock.dsl: the reason, and where every rank stands", async () => {
    const svg = join(folder, "stuck.svg");
    const { code, note } = await weft(
      "pipeline",
      "test/contract/errors/deadlock.dsl",
      "--ranks",
      "4",
      "--micro",
      "8",
      "--svg",
      svg,
    );
    expect(code).toBe(1);
    expect(note).toContain("deadlock.dsl:6:31 error[WF5008]");
    expect(note).toContain("rank  3 | | waits at B0");
    expect(await readFile(svg, "utf8")).toContain("up to where it stops");
  });

  test.each([
    [["pipeline"], "--ranks and --micro"],
    [["pipeline", "--ranks", "4", "--micro", "8"], "needs FILE.dsl:Name"],
    [[...dualpipe, "--cost", "X=1"], "F, B, W or FB"],
    [[...dualpipe, "--cost", "B=1,W=2"], "B is the whole backward"],
    [["pipeline", "a.dsl", "--ranks", "-1", "--micro", "8"], "--ranks"],
    [["pipeline", "a.dsl", "--ranks", "0", "--micro", "8"], "--ranks 0: this is a whole number from 1 on"],
    [["pipeline", "a.dsl", "--ranks", "8", "--micro", "0"], "--micro 0: this is a whole number from 1 on"],
    [["pipeline", "a.dsl", "--ranks", "1e99", "--micro", "8"], "a number up to"],
    [[...dualpipe, "--cost", "F=1,F=2"], "gives F more than once"],
    [[...dualpipe, "--cost", "F=1e308"], "a number up to"],
    [[...dualpipe, "--stage-cost", "99=2"], "has stages 0 to 7 here"],
    [[...dualpipe, "--pieces", "published", "--layers", "1e9"], "take fewer --ranks, --micro or --layers"],
    [["pipeline", "a.dsl", "--ranks", "x", "--micro", "8"], "is no number"],
    [["pipeline", "a.dsl", "--compare", "--ranks", "4", "--micro", "8"], "takes no program"],
    [[...dualpipe, "--pieces", "published", "--sm-share", "1"], "a part between 0 and 1"],
  ])("%j", async (args, message) => {
    const { code, note } = await weft(...args);
    expect([code, note]).toEqual([2, expect.stringContaining(message)]);
  });

  test("sizes that it does not allow, and a name that is not there", async () => {
    const odd = await weft("pipeline", "test/contract/dualpipe.dsl", "--ranks", "7", "--micro", "20");
    expect([odd.code, odd.note]).toEqual([1, expect.stringContaining("WF5005")]);
    const vast = await weft("pipeline", "test/contract/dualpipe.dsl", "--ranks", "8", "--micro", "1e9");
    expect([vast.code, vast.note]).toEqual([1, expect.stringContaining("a schedule has up to")]);
    const wide = await weft("pipeline", "stdlib/pipeline/gpipe.dsl", "--ranks", "1e9", "--micro", "8");
    expect([wide.code, wide.note]).toEqual([1, expect.stringContaining("1000000000 ranks")]);
    const empty = await weft("pipeline", "stdlib/nn.dsl", "--ranks", "8", "--micro", "20");
    expect([empty.code, empty.note]).toEqual([
      1,
      expect.stringContaining("there is no pipeline in this file"),
    ]);
    const compared = await weft("pipeline", "--compare", "--ranks", "1e9", "--micro", "8");
    expect([compared.code, compared.out]).toEqual([1, ""]);
    const none = await weft("pipeline", "test/contract/dualpipe.dsl:Nope", "--ranks", "8", "--micro", "20");
    expect([none.code, none.note]).toEqual([1, expect.stringContaining("WF5011")]);
  });

  test("outputs that cannot be written leave nothing behind, the other output neither", async () => {
    const [trace, gone] = [join(folder, "t.json"), join(folder, "gone", "x.svg")];
    const { code, note } = await weft(...dualpipe, "--trace", trace, "--svg", gone);
    expect([code, note]).toEqual([1, expect.stringContaining("there is no folder to write it to")]);
    const taken = await weft(...dualpipe, "--trace", trace, "--svg", folder);
    expect([taken.code, taken.note]).toEqual([1, expect.stringContaining("this is a folder")]);
    expect(
      (await readdir(folder)).filter((name) => name.startsWith("t.json") || name.endsWith(".part")),
    ).toEqual([]);
  });
});
