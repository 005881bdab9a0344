/**
 * The language reference is true: a block with a code has an error of that code and of no other; every other block is
 * free of them, and one marked `compile ENTRY SIZES` compiles for every target.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSource } from "../../compiler/cli/source-host.ts";
import { parseDims } from "../../compiler/cli/arguments.ts";
import { check, compile, format, render } from "../../compiler/index.ts";
import { blocksOf, root } from "./blocks.ts";

const page = "docs/language.md";
const { host } = openSource(join(root, "stdlib/nn.dsl"), root);

for (const readme of [page, "README.md", "docs/serving.md"])
  describe(readme, () => {
    for (const { words, text, line } of blocksOf(readme).filter(({ words: [kind] }) => kind === "dsl")) {
      const [, mark, entry, sizes] = words;
      const source = { file: "docs/page.dsl", text };
      if (mark?.startsWith("WF") === true)
        it(`line ${line} fails with ${mark}`, () => {
          expect(check({ source, host }).diagnostics.map(({ code }) => code)).toEqual([mark]);
        });
      else
        it(`line ${line} checks and is formatted`, () => {
          const { diagnostics, sources } = check({ source, host });
          expect(render(diagnostics, { colour: false, sources })).toBe("");
          expect(format(source).diagnostics).toEqual([]);
        });
      if (mark === "compile")
        it.each(["ptx", "cuda", "wgsl", "js"])(`line ${line} compiles for %s`, (target) => {
          const { dims, dtypes, pack } = parseDims([sizes ?? ""]);
          const { artifact, diagnostics, sources } = compile({
            source,
            host,
            entry,
            target,
            dims,
            dtypes,
            pack,
          });
          expect(render(diagnostics, { colour: false, sources })).toBe("");
          expect(artifact?.plan.launches.length).toBeGreaterThan(0);
        });
    }
  });
