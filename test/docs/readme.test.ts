/** The library example of the README runs, from the built package, and prints what its comment says. */
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
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
