// Compiles what the benchmarks run, so that the GPU's machine needs Python alone.
//   node test/bench/build.mjs OUTDIR [--only gemm] [--only rows-4096] [--target ptx:sm_90a]
// A case with a target of its own is for that.
// Writes OUTDIR/NAME/plan.json and its kernels for each case, and OUTDIR/cases.json last. What does not compile is said
// there and on the error stream, and the exit code is 1.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compile, render } from "../../dist/compiler/index.js";
import { cases } from "./cases.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", multiple: true, default: [] },
    target: { type: "string", default: "ptx:sm_90a" },
  },
});
const [folder] = positionals;
if (folder === undefined) throw new Error("usage: build.mjs OUTDIR [--only WORD] [--target TARGET]");

const root = new URL("../../", import.meta.url);
const host = {
  read(path) {
    try {
      return { file: path, text: readFileSync(new URL(path, root), "utf8") };
    } catch (error) {
      if (error.code === "ENOENT") return undefined;
      throw error;
    }
  },
};

const chosen = cases.filter(
  ({ group, name }) =>
    options.only.length === 0 || options.only.some((word) => group === word || name.includes(word)),
);
const built = [];
for (const one of chosen) {
  const file = `test/bench/programs/${one.program}`;
  const start = performance.now();
  const { artifact, diagnostics, sources } = compile({
    source: { file, text: host.read(file).text },
    host,
    entry: one.entry,
    target: one.target ?? options.target,
    dims: new Map(Object.entries(one.dims)),
    dtypes: new Map(),
  });
  const seconds = (performance.now() - start) / 1000;
  if (artifact === undefined) {
    const error = render(diagnostics, { colour: false, sources });
    console.error(`${one.name}: ${error}`);
    built.push({ ...one, error });
    continue;
  }
  const to = join(folder, one.name);
  mkdirSync(to, { recursive: true });
  for (const [name, text] of artifact.files) writeFileSync(join(to, name), text);
  writeFileSync(join(to, "plan.json"), `${JSON.stringify(artifact.plan, undefined, 2)}\n`);
  built.push({ ...one, folder: one.name, compileSeconds: Number(seconds.toFixed(3)) });
  console.log(`${one.name}: ${artifact.plan.launches.length} launches, ${seconds.toFixed(2)} s`);
}
writeFileSync(join(folder, "cases.json"), `${JSON.stringify(built, undefined, 1)}\n`);
if (built.some(({ error }) => error !== undefined)) process.exitCode = 1;
