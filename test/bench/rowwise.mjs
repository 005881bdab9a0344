// Times the memory-bound kernels of rowwise.dsl on a CUDA device: medians of event-timed launches, bytes counted by
// the plan, as a share of the bandwidth of our own copy kernel in the same run.
//   node test/bench/rowwise.mjs [--rows 16384] [--columns 7168] [--runs 40] [--json FILE]
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { compile, render } from "../../dist/compiler/index.js";
import { openDevice, randomTensor } from "../../dist/runtime/index.js";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "16384" },
    columns: { type: "string", default: "7168" },
    runs: { type: "string", default: "40" },
    device: { type: "string", default: "cuda" },
    target: { type: "string", default: "ptx:sm_90a" },
    json: { type: "string" },
  },
});
const dims = { N: Number(options.rows), D: Number(options.columns), M: 4096 };
const file = new URL("rowwise.dsl", import.meta.url);
const text = readFileSync(file, "utf8");
const host = {
  read(path) {
    try {
      return { file: path, text: readFileSync(new URL(`../../${path}`, import.meta.url), "utf8") };
    } catch {
      return undefined;
    }
  },
};

function median(list) {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** A random tensor of a million elements, repeated: drawing all of them would take longer than the benchmark. */
function filled(dtype, shape, fill) {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const part = randomTensor(dtype, [Math.min(size, 2 ** 20)], fill);
  const bytes = new Uint8Array((part.bytes.length / part.shape[0]) * size);
  for (let at = 0; at < bytes.length; at += part.bytes.length)
    bytes.set(part.bytes.subarray(0, Math.min(part.bytes.length, bytes.length - at)), at);
  return { dtype, shape, bytes };
}

const device = await openDevice(options.device);
console.log(`${device.description}, ${dims.N} x ${dims.D}`);
const rows = [];
for (const entry of [
  "copied",
  "normalised",
  "layered",
  "softened",
  "gated",
  "bent",
  "summed",
  "column_summed",
  "loss",
  "multiplied",
]) {
  const compiled = compile({
    source: { file: "rowwise.dsl", text },
    host,
    entry,
    target: options.target,
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
  if (compiled.artifact === undefined)
    throw new Error(render(compiled.diagnostics, { colour: false, sources: compiled.sources }));
  const { plan } = compiled.artifact;
  const loaded = await device.load(compiled.artifact);
  const inputs = new Map();
  for (const [k, input] of plan.inputs.entries()) {
    const shape = input.shape.map(Number);
    inputs.set(
      input.name,
      await device.upload(
        filled(input.dtype, shape, { seed: k + 1, name: input.name, deviation: 1, low: 0, high: dims.D }),
      ),
    );
  }
  const times = [];
  for (let run = 0; run < Number(options.runs) + 5; run += 1) {
    const { outputs, timings } = await loaded.run(inputs, { keep: true, time: true });
    if (run >= 5) times.push(timings.reduce((sum, { seconds }) => sum + seconds, 0));
    for (const output of outputs.values()) output.free();
  }
  const bytes = plan.launches.reduce((sum, { kernel }) => sum + Number(plan.kernels[kernel].bytes), 0);
  const flops = plan.launches.reduce((sum, { kernel }) => sum + Number(plan.kernels[kernel].flops), 0);
  const seconds = median(times);
  rows.push({
    entry,
    kernels: plan.launches.length,
    us: seconds * 1e6,
    gbs: bytes / seconds / 1e9,
    tflops: flops / seconds / 1e12,
  });
  loaded.free();
  for (const tensor of inputs.values()) tensor.free();
}
const copy = rows[0].gbs;
console.log("function        kernels        us      GB/s  of copy   TFLOP/s");
for (const row of rows) {
  console.log(
    `${row.entry.padEnd(16)}${String(row.kernels).padStart(7)}${row.us.toFixed(1).padStart(10)}${row.gbs.toFixed(0).padStart(10)}${(row.gbs / copy).toFixed(3).padStart(9)}${row.tflops.toFixed(1).padStart(10)}`,
  );
}
if (options.json !== undefined)
  writeFileSync(options.json, JSON.stringify({ device: device.description, dims, rows }, undefined, 2));
await device.close();
