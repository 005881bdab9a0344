// What the examples share: a .dsl file to a run on a device, held to the reference. It uses the package as its
// users do; a program of your own would begin like this file.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile, render } from "weft";
import { openSource } from "weft/node";
import { runReference } from "weft/reference";
import { bestDevice, findViolations, openDevice, randomTensor } from "weft/runtime";

/** The project: imports do not leave it. */
const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * Compiles `file:entry`. `sizes` holds dims as numbers, dtype parameters as names or, with blocks of scales, as
 * `{ dtype, scale }`. Throws the diagnostics as text.
 */
export function compileProgram({ file, entry, sizes }, target) {
  const dims = new Map(Object.entries(sizes).filter(([, value]) => typeof value === "number"));
  const dtypes = new Map(Object.entries(sizes).filter(([, value]) => typeof value !== "number"));
  const { source, host } = openSource(file, root);
  const compiled = compile({ source, host, entry, target, dims, dtypes });
  if (compiled.diagnostics.some(({ severity }) => severity === "error")) {
    throw new Error(render(compiled.diagnostics, { colour: false, sources: compiled.sources }));
  }
  return compiled;
}

/** `js` where there is no GPU, unless a name is given. */
export function open(name) {
  return name === undefined ? bestDevice() : openDevice(name);
}

/** Random inputs for each input of the plan that `given` does not hold; integers count up, as positions do. */
export function inputsOf({ plan }, given = new Map()) {
  const inputs = new Map();
  for (const { name, dtype, shape } of plan.inputs) {
    const fill = { seed: 1, name, deviation: name.includes("w_") ? 0.1 : 1, low: 0, high: 8 };
    inputs.set(name, given.get(name) ?? randomTensor(dtype, shape.map(Number), fill));
  }
  return inputs;
}

/** Runs a compiled program: its results on the host, and each kernel's time after one run to warm up. */
export async function run(device, artifact, inputs) {
  const plan = await device.load(artifact);
  await plan.run(inputs, { keep: false, time: false });
  const { outputs, timings } = await plan.run(inputs, { keep: false, time: true });
  plan.free();
  return { outputs, timings };
}

/** How the results lie against the reference: every element within the bound that its arithmetic allows, or not. */
export function compare({ graph }, inputs, sizes, outputs) {
  const dims = new Map(Object.entries(sizes).filter(([, value]) => typeof value === "number"));
  const reference = runReference(graph.arena, graph.graph, inputs, dims, { bounds: "clamp", errors: true });
  return [...reference.outputs].map(([name, expected]) => {
    const { count, ratio, unbounded } = findViolations(
      outputs.get(name),
      expected,
      reference.bounds.get(name),
    );
    return { name, elements: reference.bounds.get(name).length, beyond: count, ratio, unbounded };
  });
}

/** Compiles for the device, runs and compares. */
export async function runAndCompare(device, program, given) {
  const compiled = compileProgram(program, device.targets[0]);
  const inputs = inputsOf(compiled.artifact, given);
  const { outputs, timings } = await run(device, compiled.artifact, inputs);
  return { compiled, outputs, timings, rows: compare(compiled, inputs, program.sizes, outputs) };
}

/** One line a result: `out: 8192 elements within their bounds`. */
export function verdict(rows) {
  return rows.map(({ name, elements, beyond, unbounded }) => {
    const open = unbounded === 0 ? "" : `, ${unbounded} without a bound`;
    return beyond === 0
      ? `${name}: ${elements} elements within their bounds of the reference${open}`
      : `${name}: ${beyond} of ${elements} elements DIFFER from the reference${open}`;
  });
}
