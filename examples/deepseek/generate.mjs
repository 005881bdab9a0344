// Generates tokens from a checkpoint of DeepSeek-V3's form, the likeliest each time, for several sequences at once, and
// holds them to those of the reference.
//
//     node examples/deepseek/generate.mjs --device js --prompt 3,1,4 --prompt 1,5 --tokens 8
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { checkpointFolder, makeCheckpoint } from "./make-checkpoint.mjs";
import { openModel, readModel } from "./model.mjs";

const devices = ["cuda", "webgpu", "js", "simulate", "reference"];
const usage = `usage: generate.mjs [--device ${devices.join(" | ")}] [--prompt 3,1,4].. [--tokens 8] [--chunk 8] [--checkpoint FOLDER]`;
/** Of different lengths: one is longer than a page of the cache, one is a single token. */
const prompts = [counting(19, 7), counting(5, 50), counting(1, 20), counting(9, 12)];

/**
 * `most` tokens after each prompt. A step takes up to `chunk` tokens of each sequence: of its prompt while there are
 * any, and then the one that it made.
 */
async function generate(model, prompts, most, chunk) {
  const waiting = prompts.map((prompt) => [...prompt]);
  const made = prompts.map(() => []);
  const steps = [];
  while (made.some((tokens) => tokens.length < most)) {
    const taken = waiting.map((tokens) => tokens.splice(0, chunk));
    const { next, logits } = await model.step(taken);
    steps.push({ taken, logits });
    for (const [b, tokens] of made.entries()) {
      if (taken[b].length === 0 || waiting[b].length > 0) continue;
      tokens.push(next[b]);
      if (tokens.length < most) waiting[b].push(next[b]);
    }
  }
  return { made, steps };
}

/** What differs from the reference, in words: nothing where each token is the same. */
function differences(made, expected) {
  return made.flatMap((tokens, b) => {
    const at = tokens.findIndex((token, k) => token !== expected[b][k]);
    return at < 0
      ? []
      : [`sequence ${b}, token ${at}: ${tokens[at]}, and the reference has ${expected[b][at]}`];
  });
}

/** By how much the likeliest token led at the closest choice, and how far logits are apart at most. */
function closeness(run, reference, vocabulary) {
  let [lead, apart] = [Infinity, 0];
  for (const [k, { taken, logits }] of reference.steps.entries())
    for (const [b, tokens] of taken.entries()) {
      if (tokens.length === 0) continue;
      const row = logits.subarray(b * vocabulary, (b + 1) * vocabulary);
      const [first, second] = [...row].sort((x, y) => y - x);
      lead = Math.min(lead, first - second);
      row.forEach((x, v) => (apart = Math.max(apart, Math.abs(x - run.steps[k].logits[b * vocabulary + v]))));
    }
  return { lead, apart };
}

function counting(length, from) {
  return Array.from({ length }, (_, k) => (from + 3 * k) % 64);
}

/** Throws for what is wrong with the command line. */
function optionsOf(args) {
  const { values } = parseArgs({
    args,
    options: {
      device: { type: "string", default: "js" },
      prompt: { type: "string", multiple: true },
      tokens: { type: "string", default: "8" },
      chunk: { type: "string", default: "8" },
      checkpoint: { type: "string", default: checkpointFolder },
    },
  });
  const count = (name) => {
    const value = Number(values[name]);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} ${values[name]} is no count`);
    return value;
  };
  if (!devices.includes(values.device))
    throw new Error(`--device ${values.device} is none of ${devices.join(", ")}`);
  const given = values.prompt?.map((text) => {
    if (!/^\d+(,\d+)*$/.test(text))
      throw new Error(`--prompt ${text} is no list of token numbers, such as 3,1,4`);
    return text.split(",").map(Number);
  });
  return { ...values, prompts: given ?? prompts, tokens: count("tokens"), chunk: count("chunk") };
}

async function main(options) {
  if (options.checkpoint === checkpointFolder && !existsSync(checkpointFolder))
    await makeCheckpoint(checkpointFolder);
  const weights = await readModel(options.checkpoint);
  const over = options.prompts.flat().find((token) => token >= weights.sizes.V);
  if (over !== undefined) throw new Error(`token ${over} is not one of the model's ${weights.sizes.V}`);
  const longest = Math.max(...options.prompts.map((prompt) => prompt.length)) + options.tokens;
  const on = async (name) => {
    const model = await openModel(name, weights, options.prompts.length, longest);
    try {
      return {
        description: model.description,
        ...(await generate(model, options.prompts, options.tokens, options.chunk)),
      };
    } finally {
      await model.close();
    }
  };
  const run = await on(options.device);
  console.log(`on ${run.description}, weights from ${options.checkpoint}`);
  for (const [b, prompt] of options.prompts.entries())
    console.log(`${prompt.join(" ")} -> ${run.made[b].join(" ")}`);
  if (options.device === "reference") return;
  const reference = await on("reference");
  const wrong = differences(run.made, reference.made);
  if (wrong.length > 0) {
    for (const line of wrong) console.log(`DIFFERENT: ${line}`);
    process.exitCode = 1;
    return;
  }
  const { lead, apart } = closeness(run, reference, weights.sizes.V);
  console.log(`${run.made.flat().length} tokens, each that of the reference`);
  console.log(
    `logits are at most ${apart.toPrecision(2)} apart; the closest choice was one of ${lead.toPrecision(2)}`,
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  let options;
  try {
    options = optionsOf(process.argv.slice(2));
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    process.exit(2);
  }
  try {
    await main(options);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
