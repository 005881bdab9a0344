import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openSource } from "../../compiler/cli/source-host.ts";
import {
  openSafetensorsFile,
  readArtifact,
  toNumbers,
  writeSafetensorsFile,
  fromNumbers,
} from "../../runtime/index.ts";
import { weft } from "./session.ts";

let root: string;
let cwd: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "weft-cli-"));
});
afterAll(() => rm(root, { recursive: true }));
beforeEach(async () => {
  cwd = await mkdtemp(join(root, "project-"));
  await writeFile(join(cwd, "good.dsl"), "  fn scale()  \n");
  await writeFile(join(cwd, "bad.dsl"), "wrong\n");
  await writeFile(join(cwd, "inexact.dsl"), "inexact\n");
});

describe("help and mistakes in the command line", () => {
  test("help names every command, the exit codes, and comes with 0", async () => {
    const { code, out, note } = await weft(["--help"]);
    expect([code, note]).toEqual([0, ""]);
    for (const word of [
      "check",
      "fmt",
      "build",
      "run",
      "bench",
      "inspect",
      "explain",
      "devices",
      "Exit codes",
    ])
      expect(out).toContain(word);
    for (const command of ["check", "fmt", "build", "run", "bench", "inspect", "explain", "devices"]) {
      const help = await weft([command, "--help"]);
      expect(help.code, command).toBe(0);
      expect(help.out, command).toContain("Examples:");
    }
    expect((await weft(["--version"])).out).toBe("9.9.9\n");
  });

  const wrong: readonly (readonly [readonly string[], string])[] = [
    [[], "weft needs a command"],
    [["frobnicate"], "there is no command 'frobnicate'; see weft --help"],
    [["chekc", "good.dsl"], "Did you mean check"],
    [["check"], "weft check <files..>: it is not said which; see weft check --help"],
    [["check", "good.dsl", "--colour"], "Unknown argument: colour"],
    [["check", "good.dsl", "--format", "xml"], "Invalid values"],
    [
      ["build", "good.dsl", "--target", "metal"],
      "--target metal: choose from ptx, ptx:sm_90a, ptx:sm_80, cuda",
    ],
    [["build", "good.dsl", "--target", "ptx:sm_10"], "--target ptx:sm_10: choose from"],
    [["build", "good.dsl", "--target", "constructor"], "--target constructor: choose from"],
    [["build", "good.dsl", "--dims", "B"], "--dims takes NAME=VALUE pairs"],
    [["build", "good.dsl", "--dims", "B=-2"], "a dim is a positive integer"],
    [["build", "good.dsl", "--dims", "B=0"], "is not a size"],
    [["build", "good.dsl", "--dims", "B=99999999999999999999"], "is not a size"],
    [["build", "good.dsl", "--dims", "B=2,B=3"], "--dims gives B twice"],
    [["run", "good.dsl", "--random", "x"], "--random takes a whole number"],
    [["run", "good.dsl", "--random", "1", "--range", "x"], "--range takes NAME=LOW:HIGH"],
    [["run", "good.dsl", "--device", "tpu"], "Invalid values"],
    [["run", "good.dsl", "--device", "reference", "--compare", "reference"], "compares another device"],
    [["explain", "WF9999"], "WF9999 is no code"],
    [["inspect", "good.dsl", "--after", "nothing"], "--after nothing: no such pass ran; there are fuse"],
  ];
  for (const [args, message] of wrong) {
    test(`weft ${args.join(" ")}`, async () => {
      const { code, out, note } = await weft(args, { cwd });
      expect([code, out]).toEqual([2, ""]);
      expect(note).toContain(message);
      expect(note).not.toContain("    at ");
    });
  }

  test("a mistake of the compiler's is 3, says so, and shows no stack", async () => {
    await writeFile(join(cwd, "bug.dsl"), "bug");
    const { code, note } = await weft(["check", "bug.dsl"], { cwd });
    expect(code).toBe(3);
    expect(note).toContain("internal error: TypeError: undefined is not a function");
    expect(note).not.toContain("    at ");
  });
});

describe("check", () => {
  test("silent and 0 when all is well; a warning is not an error", async () => {
    expect(await weft(["check", "good.dsl"], { cwd })).toEqual({ code: 0, out: "", note: "" });
    await writeFile(join(cwd, "warned.dsl"), "warn");
    expect(await weft(["check", "warned.dsl"], { cwd })).toEqual({
      code: 0,
      out: "",
      note: "warned.dsl: WF2012: this is warn\n",
    });
  });

  test("diagnostics on the error stream, every file's; JSON and SARIF on the output", async () => {
    const { code, out, note } = await weft(["check", "good.dsl", "bad.dsl", "bad.dsl"], { cwd });
    expect([code, out, note]).toEqual([1, "", "bad.dsl: WF2012: this is wrong\n"]);
    const json = await weft(["check", "bad.dsl", "--format", "json"], { cwd });
    expect([json.code, json.note]).toEqual([1, ""]);
    expect(JSON.parse(json.out)).toEqual({ format: "json", lines: ["bad.dsl: WF2012: this is wrong"] });
    expect(await weft(["check", "bad.dsl", "--json"], { cwd })).toEqual(json);
    expect(JSON.parse((await weft(["check", "good.dsl", "--format", "sarif"], { cwd })).out)).toEqual({
      format: "sarif",
      lines: [],
    });
  });

  test("colour on a terminal alone, unless NO_COLOR or FORCE_COLOR says otherwise", async () => {
    const colored = async (isTerminal: boolean, env: Record<string, string>): Promise<boolean> =>
      (await weft(["check", "bad.dsl"], { cwd, isTerminal, env })).note.includes("\u001b[31m");
    expect(await colored(true, {})).toBe(true);
    expect(await colored(false, {})).toBe(false);
    expect(await colored(true, { NO_COLOR: "1" })).toBe(false);
    expect(await colored(false, { FORCE_COLOR: "1" })).toBe(true);
    expect(await colored(true, { TERM: "dumb" })).toBe(false);
  });

  test("files that are none", async () => {
    await writeFile(join(cwd, "large.dsl"), new Uint8Array(16 * 2 ** 20 + 1));
    await writeFile(join(cwd, "binary.dsl"), new Uint8Array([0xff, 0xfe, 0]));
    await mkdir(join(cwd, "folder.dsl"));
    for (const [file, message] of [
      ["nowhere.dsl", "nowhere.dsl: there is no such file"],
      ["large.dsl", "large.dsl: 16777217 bytes, and a source may have 16777216"],
      ["binary.dsl", "binary.dsl: this is not UTF-8 text"],
      ["folder.dsl", "folder.dsl: this is not a file"],
    ] as const) {
      expect(await weft(["check", file], { cwd })).toEqual({ code: 1, out: "", note: `weft: ${message}\n` });
    }
  });
});

describe("where imports come from", () => {
  test("the project and the library; nothing outside, by no way", async () => {
    await mkdir(join(cwd, "lib"));
    await writeFile(join(cwd, "lib", "blocks.dsl"), "blocks");
    const secret = join(root, "secret.dsl");
    await writeFile(secret, "secret");
    await symlink(secret, join(cwd, "lib", "link.dsl"));
    await symlink(root, join(cwd, "up"));
    await symlink(join(cwd, "lib", "blocks.dsl"), join(cwd, "alias.dsl"));
    const { source, host } = openSource("good.dsl", cwd);
    expect(source.file).toBe("good.dsl");
    expect(host.read("lib/blocks.dsl", "good.dsl")).toEqual({ file: "lib/blocks.dsl", text: "blocks" });
    expect(host.read("alias.dsl", "good.dsl")?.text).toBe("blocks");
    expect(host.read("stdlib/nn.dsl", "good.dsl")?.text).toContain("softmax");
    for (const path of [
      "nowhere.dsl",
      "../secret.dsl",
      "lib/link.dsl",
      "up/secret.dsl",
      secret,
      "lib/../../secret.dsl",
      "/etc/passwd",
      "stdlib/../package.json",
      "stdlib/../../package.json",
      "",
    ]) {
      expect(host.read(path, "good.dsl"), path).toBeUndefined();
    }
  });

  test("a program outside the current folder has its own folder for a project", async () => {
    await mkdir(join(root, "elsewhere"), { recursive: true });
    await writeFile(join(root, "elsewhere", "main.dsl"), "main");
    await writeFile(join(root, "elsewhere", "beside.dsl"), "beside");
    const { source, host } = openSource("../elsewhere/main.dsl", cwd);
    const folder = source.file.slice(0, -"/main.dsl".length);
    expect(host.read(`${folder}/beside.dsl`, source.file)?.text).toBe("beside");
    expect(host.read("good.dsl", source.file)).toBeUndefined();
  });
});

describe("fmt", () => {
  test("writes in place and names what changed; --check writes nothing; --stdout prints", async () => {
    expect(await weft(["fmt", "--check", "good.dsl"], { cwd })).toEqual({
      code: 1,
      out: "good.dsl\n",
      note: "",
    });
    const asJson = await weft(["fmt", "--check", "--json", "good.dsl"], { cwd });
    expect([asJson.code, JSON.parse(asJson.out)]).toEqual([
      1,
      [{ file: "good.dsl", parses: true, changes: true }],
    ]);
    expect((await weft(["fmt", "--stdout", "good.dsl"], { cwd })).out).toBe("fn scale()\n");
    expect(await readFile(join(cwd, "good.dsl"), "utf8")).toBe("  fn scale()  \n");
    expect(await weft(["fmt", "good.dsl"], { cwd })).toEqual({ code: 0, out: "good.dsl\n", note: "" });
    expect(await readFile(join(cwd, "good.dsl"), "utf8")).toBe("fn scale()\n");
    expect(await weft(["fmt", "--check", "good.dsl"], { cwd })).toEqual({ code: 0, out: "", note: "" });
  });

  test("a file that does not parse is left as it is", async () => {
    const { code, note } = await weft(["fmt", "bad.dsl"], { cwd });
    expect([code, note]).toEqual([1, "bad.dsl: WF2012: this is wrong\n"]);
    expect(await readFile(join(cwd, "bad.dsl"), "utf8")).toBe("wrong\n");
  });
});

describe("build", () => {
  test("a folder that a runtime reads back, and no more in it", async () => {
    const built = await weft(["build", "good.dsl:scale", "--target", "js", "-o", "out/deep"], { cwd });
    expect([built.code, built.note]).toEqual([0, ""]);
    expect(built.out).toContain("affine");
    expect((await readdir(join(cwd, "out", "deep"))).sort()).toEqual(["affine.js", "double.js", "plan.json"]);
    // The hand-made plan has no true hashes, and that is noticed.
    await expect(readArtifact(join(cwd, "out", "deep"))).rejects.toThrow(
      "affine.js, kernel affine, is not the file",
    );
  });

  test("ptx means sm_90a; --json is the plan", async () => {
    const { out } = await weft(["build", "good.dsl:scale", "--json"], { cwd });
    expect(JSON.parse(out).target).toBe("ptx:sm_90a");
  });

  test("a program with an error writes nothing", async () => {
    const { code } = await weft(["build", "bad.dsl", "-o", "out"], { cwd });
    expect(code).toBe(1);
    expect(await readdir(cwd)).not.toContain("out");
  });

  test("a folder that cannot be is an error of one line", async () => {
    const { code, note } = await weft(["build", "good.dsl", "--target", "js", "-o", "good.dsl/out"], { cwd });
    expect(code).toBe(1);
    expect(note.trim().split("\n")).toHaveLength(1);
  });
});

describe("run", () => {
  test("on js, random, compared with the reference", async () => {
    const { code, out, note } = await weft(
      [
        "run",
        "good.dsl:scale",
        "--dims",
        "N=6",
        "--random",
        "1",
        "--device",
        "js",
        "--compare",
        "reference",
        "--time",
      ],
      { cwd },
    );
    expect(note).toBe("");
    expect(code).toBe(0);
    expect(out).toContain("good.dsl:scale on JavaScript, one thread with");
    expect(out).toContain("within its bound");
    expect(out).toContain("affine");
  });

  test("a device that is off by one part in twenty thousand is found: 4", async () => {
    const args = [
      "run",
      "inexact.dsl",
      "--dims",
      "N=6",
      "--random",
      "1",
      "--device",
      "js",
      "--compare",
      "reference",
    ];
    const { code, out } = await weft(args, { cwd });
    expect(code).toBe(4);
    expect(out).toContain("DIFFERS: 24 of 24 beyond their bound");
    const json = await weft([...args, "--json"], { cwd });
    expect([json.code, JSON.parse(json.out).comparison[0]]).toMatchObject([
      4,
      { name: "out", violations: 24, special: 0 },
    ]);
  });

  test("from a file to a file, on the reference and on js alike; the file tells the dims", async () => {
    const x = fromNumbers("f32", [2, 4], [0, 1, 2, 3, 4, 5, 6, 7]);
    await writeSafetensorsFile(
      join(cwd, "in.safetensors"),
      new Map([
        ["x", x],
        ["unused", x],
      ]),
    );
    for (const device of ["reference", "js"]) {
      const { code, note } = await weft(
        ["run", "good.dsl", "--input", "in.safetensors", "--output", "out.safetensors", "--device", device],
        { cwd },
      );
      expect([code, note], device).toEqual([0, ""]);
      const file = await openSafetensorsFile(join(cwd, "out.safetensors"));
      expect([...file.tensors.keys()]).toEqual(["out"]);
      expect(Array.from(toNumbers(await file.read("out")))).toEqual([2, 8, 14, 20, 26, 32, 38, 44]);
      await file.close();
    }
  });

  const refused: readonly (readonly [readonly string[], string])[] = [
    [[], "no input for x: f32[N, 4] (give --input FILE, or --random SEED)"],
    [["--random", "1"], "no size is given for N (give --dims N=..)"],
    [["--input", "nowhere.safetensors"], "nowhere.safetensors: there is no such file"],
    [["--input", "good.dsl"], "good.dsl is no safetensors file: the header claims"],
    [["--random", "1", "--dims", "N=2", "--range", "x=0:3"], "x is f32, and ranges are for integers"],
    [["--random", "1", "--dims", "N=3"], "N % 2 == 0 does not hold"],
  ];
  for (const [args, message] of refused) {
    test(`run ${args.join(" ")} is refused in a line`, async () => {
      const { code, note, out } = await weft(["run", "good.dsl", "--device", "js", ...args], { cwd });
      expect(code).toBe(message.includes("ranges") ? 2 : 1);
      expect(out).toBe("");
      expect(note).toContain(message);
      expect(note.trim().split("\n")).toHaveLength(1);
    });
  }

  test("progress is for a terminal alone, and is gone at the end", async () => {
    const args = ["run", "good.dsl", "--dims", "N=2", "--random", "1", "--device", "js"];
    expect((await weft(args, { cwd })).note).toBe("");
    const { note } = await weft(args, { cwd, isTerminal: true });
    expect(note).toContain("compiling good.dsl for js ..");
    expect(note.endsWith("\r\u001b[K")).toBe(true);
    expect((await weft(args, { cwd, isTerminal: true, env: { CI: "true" } })).note).toBe("");
  });
});

describe("inspect, explain, devices", () => {
  test("inspect lists passes, prints one, gives JSON", async () => {
    expect((await weft(["inspect", "good.dsl"], { cwd })).out).toBe("fuse\n");
    expect((await weft(["inspect", "good.dsl", "--after", "fuse"], { cwd })).out).toBe("graph fused\n");
    expect(JSON.parse((await weft(["inspect", "good.dsl", "--json"], { cwd })).out)).toEqual([
      { pass: "fuse", text: "graph fused" },
    ]);
  });

  test("explain prints a page, in any case of letters, and lists the codes", async () => {
    expect((await weft(["explain", "wf2012"])).out).toBe("# WF2012\nAxes differ.\n");
    expect((await weft(["explain"])).out).toContain("axes differ");
  });

  test("devices says of each whether it is here and why not", async () => {
    const { code, out } = await weft(["devices", "--json"]);
    expect(code).toBe(0);
    const found: readonly { name: string; present: boolean; text: string }[] = JSON.parse(out);
    expect(found.map(({ name }) => name)).toEqual(["cuda", "webgpu", "js", "simulate", "reference"]);
    expect(
      found
        .filter(({ name }) => ["js", "simulate", "reference"].includes(name))
        .every(({ present }) => present),
    ).toBe(true);
    for (const { text } of found) expect(text).toMatch(/^\S[^\n]+$/);
    expect((await weft(["devices"])).out).toContain("JavaScript, one thread");
  });
});
