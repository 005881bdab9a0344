/** The page of pipeline schedules and its pictures are what the compiler makes of the library. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import * as compiler from "../../compiler/index.ts";
import { root } from "./blocks.ts";

it("docs/pipelines.md and docs/pipelines/ are fresh (npm run docs:pipelines)", async () => {
  const { pipelineFiles } = (await import(join(root, "docs/pipelines-page.mjs"))) as {
    pipelineFiles: (api: typeof compiler, library: (name: string) => string) => Map<string, string>;
  };
  const files = pipelineFiles(compiler, (name) =>
    readFileSync(join(root, `stdlib/pipeline/${name}.dsl`), "utf8"),
  );
  for (const [path, text] of files) expect(readFileSync(join(root, "docs", path), "utf8"), path).toBe(text);
  const pictures = [...files.keys()].filter((path) => path.startsWith("pipelines/")).sort();
  expect(
    readdirSync(join(root, "docs/pipelines"))
      .map((name) => `pipelines/${name}`)
      .sort(),
  ).toEqual(pictures);
});
