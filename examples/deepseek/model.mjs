// The model, compiled and loaded: a step takes the next tokens of all sequences and gives the likeliest ones after.
import {
  deepseekConfig,
  fromBigInts,
  fromNumbers,
  layerWeights,
  openCheckpoint,
  openDevice,
  outerWeights,
  toNumbers,
} from "weft/runtime";
import { runReference } from "weft/reference";
import { openSimulator } from "weft/simulate";
import { compileProgram } from "../program.mjs";
import { PageTable } from "./pages.mjs";

const program = { file: "examples/deepseek/model.dsl", entry: "Model.step" };
const layers = 2;
export const pageRows = 16;

/** Sizes of `Model`, and how its matrices are stored. Throws for a checkpoint of another form. */
function sizesOf(config) {
  const { attention, experts, weights } = config;
  if (config.layers !== layers || config.denseLayers !== 1)
    throw new Error(
      `model.dsl has ${layers} layers, 1 of them without experts; ` +
        `this checkpoint has ${config.layers}, ${config.denseLayers} of them without`,
    );
  if (attention.Cq === undefined)
    throw new Error("model.dsl has a latent of the queries, this checkpoint none");
  if (experts?.scoring !== "sigmoid" || experts.shared === 0)
    throw new Error("model.dsl scores experts by sigmoid, and has a shared one");
  return {
    ...attention,
    V: config.vocabulary,
    F: config.hidden,
    E: experts.routed,
    G: experts.groups,
    Kg: experts.keptGroups,
    K: experts.perToken,
    Fe: experts.hidden,
    Fs: experts.hidden * experts.shared,
    P: pageRows,
    W:
      weights.block === undefined
        ? weights.dtype
        : { dtype: weights.dtype, scale: { block: weights.block, format: "f32" } },
  };
}

/** A checkpoint's config and the params of `Model`. */
export async function readModel(folder) {
  const checkpoint = await openCheckpoint(folder);
  try {
    const config = deepseekConfig(checkpoint.config);
    const sizes = sizesOf(config);
    const params = new Map(await outerWeights(checkpoint, config));
    for (let k = 0; k < layers; k += 1)
      for (const [name, tensor] of await layerWeights(checkpoint, config, k))
        params.set(`layer${k}.${name}`, tensor);
    return { sizes, params };
  } finally {
    await checkpoint.close();
  }
}

/** The device of this name. Its `load` gives a function from inputs to results on the host; pages stay where they are. */
async function openBackend(name) {
  if (name === "reference") return referenceBackend();
  const device = name === "simulate" ? await openSimulator() : await openDevice(name);
  return {
    description: device.description,
    upload: (tensor) => device.upload(tensor),
    async load(sizes) {
      const plan = await device.load(compileProgram({ ...program, sizes }, device.targets[0]).artifact);
      return async (inputs) => {
        const { outputs } = await plan.run(inputs, { keep: true, time: false });
        const host = new Map();
        const held = new Set(inputs.values());
        for (const [name, tensor] of outputs) {
          if (held.has(tensor)) continue;
          host.set(name, await tensor.read());
          tensor.free();
        }
        return host;
      };
    },
    close: () => device.close(),
  };
}

function referenceBackend() {
  return {
    description: "the interpreter, in f64",
    upload: (tensor) => ({ tensor }),
    load(sizes) {
      const { graph } = compileProgram({ ...program, sizes }, undefined);
      return (inputs) => {
        const dims = new Map();
        for (let k = 0; k < layers; k += 1) {
          dims.set(`kv${k}_pages`, inputs.get(`kv${k}.pages`).tensor.shape[0]);
          dims.set(`kv${k}_slots`, inputs.get(`kv${k}.table`).shape[1]);
        }
        const given = new Map([...inputs].map(([name, held]) => [name, held.tensor ?? held]));
        const { outputs } = runReference(graph.arena, graph.graph, given, dims, {
          bounds: "error",
          errors: false,
        });
        for (const [name, held] of inputs) if (name.endsWith(".pages")) held.tensor = outputs.get(name);
        return outputs;
      };
    },
    close: () => undefined,
  };
}

/**
 * Opens a device, and the model on it for `sequences` of up to `longest` tokens. Unused slots of the cache hold NaN.
 *
 *     const { next, logits } = await model.step([[3, 1, 4], [], [15]]);
 *
 * takes more tokens of each sequence, none of some; results of those mean nothing.
 */
export async function openModel(name, { sizes, params }, sequences, longest) {
  const backend = await openBackend(name);
  const pages = new PageTable(sequences, longest, pageRows);
  const fixed = new Map();
  for (const [param, tensor] of params) fixed.set(param, await backend.upload(tensor));
  const shape = [pages.pageCount, pageRows, sizes.Ck + sizes.Dr];
  const nothing = new Float64Array(shape.reduce((a, b) => a * b)).fill(Number.NaN);
  for (let k = 0; k < layers; k += 1)
    fixed.set(`kv${k}.pages`, await backend.upload(fromNumbers("bf16", shape, nothing)));
  const loaded = new Map();

  async function step(tokens) {
    const B = tokens.length;
    const S = Math.max(...tokens.map((own) => own.length));
    if (!loaded.has(S)) loaded.set(S, await backend.load({ ...sizes, B, S, T: pages.longest }));
    const count = tokens.map((own) => own.length);
    pages.reserve(count);
    const place = (own, b) =>
      Array.from({ length: S }, (_, s) => (s < own.length ? pages.lengths[b] + s : -1));
    const inputs = new Map([
      ...fixed,
      [
        "ids",
        fromBigInts(
          [B, S],
          tokens.flatMap((own) => Array.from({ length: S }, (_, s) => BigInt(own[s] ?? 0))),
        ),
      ],
      ["pos", fromNumbers("i32", [B, S], tokens.flatMap(place))],
      ["count", fromNumbers("i32", [B], count)],
    ]);
    for (let k = 0; k < layers; k += 1) {
      inputs.set(`kv${k}.table`, pages.table());
      inputs.set(`kv${k}.length`, fromNumbers("i32", [B], pages.lengths));
    }
    const results = await loaded.get(S)(inputs);
    pages.advance(count);
    return { next: [...toNumbers(results.get("next"))], logits: toNumbers(results.get("logits")) };
  }

  return { description: backend.description, vocabulary: sizes.V, step, close: () => backend.close() };
}
