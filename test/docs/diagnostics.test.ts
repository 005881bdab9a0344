/** The page of diagnostics is what `weft explain` prints. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { pages } from "../../compiler/index.ts";
import { syntaxErrors } from "../../grammar/index.ts";
import { root } from "./blocks.ts";

it("docs/diagnostics.md is fresh (npm run build && node docs/diagnostics.mjs)", async () => {
  const { diagnosticsPage } = (await import(join(root, "docs/diagnostics-page.mjs"))) as {
    diagnosticsPage: (pages: Readonly<Record<string, { title: string; page: string }>>) => string;
  };
  expect(readFileSync(join(root, "docs/diagnostics.md"), "utf8")).toBe(
    diagnosticsPage({ ...syntaxErrors, ...pages }),
  );
});
