// Compiles the cases that accept.py runs, so that the GPU's machine needs Python alone.
//   node test/device/decode-accept/build.mjs OUTDIR [--only latent-bf16]
// Writes OUTDIR/NAME/plan.json and its kernels for each case, and OUTDIR/cases.json last. What does not compile ends it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compile, render } from "../../../dist/compiler/index.js";
import { cases } from "./cases.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string", multiple: true, default: [""] } },
});
const [folder] = positionals;
if (folder === undefined) throw new Error("usage: build.mjs OUTDIR [--only WORD]");

const root = new URL("../../../", import.meta.url);
const read = (path) => ({ file: path, text: readFileSync(new URL(path, root), "utf8") });
const chosen = cases.filter(({ name }) => options.only.some((word) => name.includes(word)));
for (const { name, entry, A, dims } of chosen) {
  const { artifact, diagnostics, sources } = compile({
    source: read("test/device/decode-accept/decode.dsl"),
    host: { read },
    entry,
    target: "ptx:sm_90a",
    dims: new Map(Object.entries(dims)),
    dtypes: new Map([["A", A]]),
  });
  if (artifact === undefined) throw new Error(`${name}: ${render(diagnostics, { colour: false, sources })}`);
  mkdirSync(join(folder, name), { recursive: true });
  for (const [file, text] of artifact.files) writeFileSync(join(folder, name, file), text);
  writeFileSync(join(folder, name, "plan.json"), `${JSON.stringify(artifact.plan, undefined, 2)}\n`);
  console.log(`${name}: ${artifact.plan.launches.length} launches`);
}
writeFileSync(join(folder, "cases.json"), `${JSON.stringify(chosen, undefined, 1)}\n`);
