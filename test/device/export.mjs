// Runs every case of cases.mjs on a device, holds each element to the reference's bound, and writes inputs and
// outputs of the float programs for compare-torch.py.
//   node test/device/export.mjs OUTDIR [--device cuda] [--target ptx:sm_80] [--only NAME] [--part 1/8]
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compile, render } from "../../dist/compiler/index.js";
import { interpret } from "../../dist/compiler/tensor/interpret.js";
import { evaluate } from "../../dist/compiler/types/dim.js";
import * as runtime from "../../dist/runtime/index.js";
import { openSimulator } from "../../dist/runtime/simulate/plan-device.js";
import { driverOf, text } from "./driver.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: "string", default: "cuda" },
    target: { type: "string" },
    only: { type: "string" },
    part: { type: "string", default: "1/1" },
  },
});
const [folder] = positionals;
if (folder === undefined)
  throw new Error("usage: export.mjs OUTDIR [--device cuda] [--target ptx:sm_80] [--only NAME] [--part 1/8]");
const [part, parts] = options.part.split("/").map(Number);
mkdirSync(folder, { recursive: true });

const driver = driverOf({ compile, render, interpret, evaluate, ...runtime, count: runtime.elementCount });
const device =
  options.device === "simulate" ? await openSimulator() : await runtime.openDevice(options.device);
const target = options.target ?? device.targets[0];
console.log(`${device.description}, ${target}`);

/** Programs that compare-torch.py has a PyTorch form of. */
const compared = new Set(
  (
    "softened softened_columns softened_kept normalised layered silu_of gelu_of gated loss turned stretched reduced_columns middle " +
    "multiplied multiplied_plain multiplied_left multiplied_batch multiplied_vector multiplied_bias multiplied_two " +
    "functions more_functions convolved gathered transposed attend linear_bf16 Block.mlp Block.forward Model.forward Moe.forward Mla.forward"
  ).split(" "),
);

let failures = 0;
const manifest = [];
for (const [index, one] of driver.cases.entries()) {
  if (index % parts !== part - 1) continue;
  if (options.only !== undefined && !one.name.includes(options.only)) continue;
  for (const types of one.types) {
    const label = `${one.name} ${text(types)}`.trim();
    // Once with every size left open, and once more for each size with all of them known.
    const problems = [];
    let [elements, unbounded, ratio, runs] = [0, 0, 0, 0];
    try {
      const open = driver.compileCase(one, types, target);
      const loaded = await device.load(open.artifact);
      for (const [k, size] of one.sizes.entries()) {
        const dims = { ...one.bound, ...size };
        const inputs = driver.inputsOf(one, open, dims);
        const expected = driver.referenceOf(open, inputs, dims);
        const bound = driver.compileCase(one, types, target, size);
        const fixed = await device.load(bound.artifact);
        for (const [how, plan, program] of [
          ["open", open.artifact.plan, loaded],
          ["bound", bound.artifact.plan, fixed],
        ]) {
          const run = await driver.compareRun(one, plan, program, inputs, expected);
          for (const problem of run.problems) problems.push(`${text(dims)} (${how}): ${problem}`);
          elements += run.elements;
          unbounded += run.unbounded;
          ratio = Math.max(ratio, run.ratio);
          runs += 1;
          if (how !== "bound" || !compared.has(one.entry)) continue;
          const file = `${one.name.replace(/[^A-Za-z0-9]+/g, "_")}-${Object.values(types).join("_") || "plain"}-${k}.safetensors`;
          const outputs = [...run.outputs].map(([name, tensor]) => [`out.${name}`, tensor]);
          const inputTensors = [...inputs].map(([name, tensor]) => [`in.${name}`, tensor]);
          await runtime.writeSafetensorsFile(join(folder, file), new Map([...inputTensors, ...outputs]));
          manifest.push({ file, entry: one.entry, dims, types });
        }
        fixed.free();
      }
      loaded.free();
    } catch (error) {
      problems.push(error instanceof Error ? (error.stack ?? error.message).slice(0, 1500) : String(error));
    }
    if (problems.length > 0) failures += 1;
    const state = problems.length > 0 ? "FAIL" : "ok  ";
    console.log(
      `${state} ${label.padEnd(40)} ${runs} runs, ${elements} elements, ${unbounded} unpromised, error / bound ${ratio.toFixed(3)}`,
    );
    for (const problem of problems) console.log(`     ${problem}`);
  }
}
writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest, undefined, 1));
await device.close();
console.log(
  failures === 0 ? "all within their bounds" : `${failures} programs beyond their bounds or failed`,
);
process.exit(failures === 0 ? 0 : 1);
