/** The programs that ARCHITECTURE.md shows are what the compiler prints. WEFT_BLESS=1 writes them anew. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSource } from "../../compiler/cli/source-host.ts";
import { compile } from "../../compiler/index.ts";
import { blocksOf, root } from "./blocks.ts";

const page = "ARCHITECTURE.md";
const text = blocksOf(page).find(({ words: [kind] }) => kind === "dsl")?.text ?? "";
const { host } = openSource(join(root, "stdlib/nn.dsl"), root);
const { trace } = compile({
  source: { file: "rows.dsl", text },
  host,
  entry: "rows",
  target: "wgsl",
  dims: new Map([
    ["N", 4],
    ["X", 256],
  ]),
  dtypes: new Map(),
});

/** `after=kernel lines=1-24`: that part of what the compiler prints. */
function printed(words: readonly string[]): string {
  const of = (key: string): string | undefined =>
    words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);
  const whole = trace.findLast(({ pass }) => pass === of("after"))?.text() ?? "";
  const [first = 1, last = Infinity] = of("lines")?.split("-").map(Number) ?? [];
  const lines = whole.trimEnd().split("\n");
  return `${lines.slice(first - 1, last).join("\n")}\n`;
}

describe(page, () => {
  if (process.env["WEFT_BLESS"] === "1") {
    const old = readFileSync(join(root, page), "utf8");
    const blessed = old.replace(
      /^```(text after=\S+(?: lines=\S+)?)\n.*?^```$/gms,
      (_, words: string) => `\`\`\`${words}\n${printed(words.split(" "))}\`\`\``,
    );
    writeFileSync(join(root, page), blessed);
  }
  const blocks = blocksOf(page).filter(({ words: [, mark] }) => mark?.startsWith("after=") === true);

  it("shows every level", () => {
    expect(blocks.map(({ words: [, mark] }) => mark)).toEqual(
      ["lower", "fuse", "tile", "kernel", "emit"].map((pass) => `after=${pass}`),
    );
  });

  for (const { words, text: shown, line } of blocks)
    it(`line ${line} is what the compiler prints, ${words.slice(1).join(" ")}`, () => {
      expect(printed(words).length).toBeGreaterThan(20);
      expect(shown).toBe(printed(words));
    });
});
