// Runs one compiled plan through Dawn, as its caller asks, so that another program on the same GPU can take turns.
//   node test/bench/webgpu.mjs FOLDER NAME=FILE ..
// FILE has an input's bytes. Answers are lines of JSON: first { ready }, then for each line on the standard input one:
//   run N         the plan N times, each by itself: { seconds: [..] } on the GPU's own clock
//   result FILE   writes the last run's result: { written }
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { openDevice, readArtifact } from "../../dist/runtime/index.js";

const [folder, ...given] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: webgpu.mjs FOLDER NAME=FILE ..");

const artifact = await readArtifact(folder);
const device = await openDevice("webgpu");
if (!device.targets.includes(artifact.plan.target))
  throw new Error(
    `${device.description} does not run ${artifact.plan.target}, but ${device.targets.join(", ")}`,
  );
const start = performance.now();
const plan = await device.load(artifact);
const loadSeconds = (performance.now() - start) / 1000;

const files = new Map(
  given.map((text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)]),
);
const inputs = new Map();
for (const { name, dtype, shape } of artifact.plan.inputs) {
  const extents = shape.map(Number);
  inputs.set(name, await device.upload({ dtype, shape: extents, bytes: readFileSync(files.get(name)) }));
}

let last;
async function run(count) {
  const seconds = [];
  for (let k = 0; k < count; k += 1) {
    const { outputs, timings } = await plan.run(inputs, { keep: true, time: true });
    seconds.push(timings.reduce((sum, timing) => sum + timing.seconds, 0));
    last?.free();
    [last] = outputs.values();
  }
  return { seconds };
}

async function obey(line) {
  const [word, rest] = line.split(" ");
  if (word === "run") return run(Number(rest));
  if (word !== "result" || last === undefined) throw new Error(`cannot obey: ${line}`);
  const { bytes } = await last.read();
  writeFileSync(rest, bytes);
  return { written: bytes.length };
}

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ ready: device.description, target: artifact.plan.target, loadSeconds });
for await (const line of createInterface({ input: process.stdin })) answer(await obey(line));
// Dawn's threads would keep the process alive.
process.exit(0);
