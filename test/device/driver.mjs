/** Runs a case on a device and on the reference. The compiler and the runtime are handed in: sources, or what is built of them. */
import { existsSync, readFileSync } from "node:fs";
import { cases } from "./cases.mjs";

const root = new URL("../../", import.meta.url);

/** Files by their paths from the repository's root. */
const host = {
  read(path) {
    const url = new URL(path, root);
    return existsSync(url) ? { file: path, text: readFileSync(url, "utf8") } : undefined;
  },
};

/** `e4m3@4,4`: a dtype, with the block that one scale is for. */
function dtypeOf(text) {
  const [dtype = "", block] = text.split("@");
  return block === undefined
    ? dtype
    : { dtype, scale: { block: block.split(",").map(Number), format: "f32" } };
}

export const text = (record) =>
  Object.entries(record)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");

/**
 * @param {{ compile: Function, render: Function, interpret: Function, evaluate: Function, randomTensor: Function, fromNumbers: Function, findViolations: Function }} weft
 */
export function driverOf(weft) {
  function attempt(one, types, target, size) {
    return weft.compile({
      source: host.read(one.file),
      host,
      entry: one.entry,
      target,
      dims: new Map(Object.entries({ ...one.bound, ...size })),
      dtypes: new Map(Object.entries(types).map(([name, value]) => [name, dtypeOf(value)])),
    });
  }

  /** Compiles a case; `size` is bound too where it is given. Throws with the diagnostics where it does not compile. */
  function compileCase(one, types, target, size = {}) {
    const compiled = attempt(one, types, target, size);
    if (compiled.artifact === undefined)
      throw new Error(weft.render(compiled.diagnostics, { colour: false, sources: compiled.sources }));
    return compiled;
  }

  /** Random inputs, the same on every machine, of the shapes that the graph has for these dims. */
  function inputsOf(one, { graph }, dims) {
    const sizes = new Map(Object.entries(dims));
    const bound = (value) => (typeof value === "string" ? dims[value] : value);
    return new Map(
      graph.graph.inputs.map((node) => {
        const [{ dtype, shape }] = node.types;
        const extents = shape.map((extent) => weft.evaluate(extent, sizes));
        const made = one.made[node.name];
        if (made !== undefined) return [node.name, weft.fromNumbers(dtype, extents, made(extents, dims))];
        const [low, high] = one.ranges[node.name] ?? [0, 8];
        const fill = {
          seed: 1,
          name: `${one.name} ${node.name}`,
          deviation: one.spread[node.name] ?? 1,
          low: bound(low),
          high: bound(high),
        };
        return [node.name, weft.randomTensor(dtype, extents, fill)];
      }),
    );
  }

  function referenceOf({ graph }, inputs, dims) {
    const { results, updates, bounds } = weft.interpret(
      graph.arena,
      graph.graph,
      inputs,
      new Map(Object.entries(dims)),
      {
        bounds: "clamp",
        errors: true,
      },
    );
    return { outputs: new Map([...results, ...updates]), bounds };
  }

  /** Runs a loaded plan and says, in words, which outputs are beyond their bounds. */
  async function compareRun(one, plan, loaded, inputs, { outputs, bounds }) {
    const names = new Set(plan.inputs.map(({ name }) => name));
    const given = new Map([...inputs].filter(([name]) => names.has(name)));
    const result = await loaded.run(given, { keep: false, time: false });
    const problems = [];
    let [elements, unbounded, ratio] = [0, 0, 0];
    for (const [name, expected] of outputs) {
      const actual = result.outputs.get(name);
      if (actual === undefined) {
        problems.push(`no output '${name}'`);
        continue;
      }
      const found = weft.findViolations(actual, expected, bounds.get(name));
      elements += weft.count(expected.shape);
      unbounded += found.unbounded;
      ratio = Math.max(ratio, found.ratio);
      if (found.count === 0) continue;
      const [a, e] = [weft.toNumbers(actual)[found.first], weft.toNumbers(expected)[found.first]];
      problems.push(
        `${name}: ${found.count} of ${weft.count(expected.shape)} beyond their bounds, the first ${found.first}: ${a} for ${e}, bound ${bounds.get(name)?.[found.first] ?? 0}`,
      );
    }
    if (unbounded > one.unpromised * elements)
      problems.push(`nothing is promised about ${unbounded} of ${elements} elements`);
    return { problems, outputs: result.outputs, ratio, elements, unbounded };
  }

  return { cases, attempt, compileCase, inputsOf, referenceOf, compareRun };
}
