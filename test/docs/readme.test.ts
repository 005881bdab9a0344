/** What the README says of the library, the command line and the targets. Examples run from the built package. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { exitCode } from "../../compiler/cli/exit-code.ts";
import { targetNames } from "../../compiler/index.ts";
import { deviceNames } from "../../runtime/index.ts";
import { blocksOf, root } from "./blocks.ts";

it("README's example of the library", () => {
  const [block] = blocksOf("README.md").filter(({ words: [kind] }) => kind === "js");
  const { status, stdout } = spawnSync(
    process.execPath,
    ["--input-type=module", "-e", block?.text ?? "throw 1"],
    {
      cwd: root,
      encoding: "utf8",
    },
  );
  expect(stdout.replace(/\s/g, "")).toBe("[2,4,6]");
  expect(status).toBe(0);
});

it("docs/serving.md's program and what it prints", () => {
  const blocks = blocksOf("docs/serving.md");
  const block = (...marks: readonly string[]): string =>
    blocks.find(({ words: [kind, mark] }) => kind === marks[0] && mark === marks[1])?.text ?? "";
  const folder = mkdtempSync(join(root, "dist/serving-"));
  try {
    writeFileSync(join(folder, "decode.dsl"), block("dsl", "program"));
    const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", block("js")], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(stdout).toBe(block("text"));
    expect(status).toBe(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const page = readFileSync(join(root, "README.md"), "utf8");

it("README lists every command", () => {
  const commands = readdirSync(join(root, "compiler/cli/commands"))
    .map((file) => file.replace(".ts", ""))
    .filter((name) => name !== "command");
  const listed = [...page.matchAll(/^ {4}weft (\w+)/gm)].map(([, name]) => name ?? "");
  expect(listed.toSorted()).toEqual(commands.toSorted());
});

it("README lists every exit code, target, variant and device", () => {
  const codes = [...page.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
  expect(codes).toEqual(Object.values(exitCode).toSorted((a, b) => a - b));
  const missing = [...new Set(targetNames.flatMap((name) => name.split(":"))), ...deviceNames].filter(
    (name) => !page.includes(`\`${name}\``),
  );
  expect(missing).toEqual([]);
});
