/**
 * Writes docs/pipelines.md and its pictures: node docs/pipelines.mjs after a build. With `--check` it writes nothing and
 * fails where a file is not what it would write.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import * as compiler from "../dist/compiler/index.js";
import { pipelineFiles } from "./pipelines-page.mjs";

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
let stale = 0;
mkdirSync(new URL("pipelines/", import.meta.url), { recursive: true });
for (const [path, text] of pipelineFiles(compiler, (name) => read(`../stdlib/pipeline/${name}.dsl`))) {
  if (!process.argv.includes("--check")) writeFileSync(new URL(path, import.meta.url), text);
  else if (read(path) !== text) {
    stale += 1;
    console.error(`docs/${path} is not what docs/pipelines.mjs writes`);
  }
}
process.exitCode = stale > 0 ? 1 : 0;
