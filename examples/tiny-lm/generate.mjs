// Loads the weights from their safetensors file and continues a text, the likeliest byte each time.
//
//     node examples/tiny-lm/generate.mjs [TEXT [cuda | webgpu | js [WEIGHTS]]]
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { fromBigInts, fromNumbers, openSafetensorsFile, toNumbers } from "weft/runtime";
import { compileProgram, open } from "../program.mjs";
import { makeWeights } from "./make-weights.mjs";
import { batchOf, file, sizes, weightsFile } from "./shape.mjs";

/** Up to `most` bytes after `text`, as text; ends after a line's end or where the positions end. */
export async function generate(device, weights, text, most) {
  const { artifact } = compileProgram(
    { file, entry: "Model.next", sizes: { ...sizes, B: 1 } },
    device.targets[0],
  );
  const plan = await device.load(artifact);
  const fixed = new Map();
  for (const { name, role } of artifact.plan.inputs) {
    if (role === "param") fixed.set(name, await device.upload(await weights.read(name)));
  }
  const line = [...new TextEncoder().encode(text)];
  const start = line.length;
  while (line.length < sizes.S && line.length - start < most && line.at(-1) !== 10) {
    const { ids, pos } = batchOf([line]);
    const inputs = new Map([
      ...fixed,
      ["ids", fromBigInts([1, sizes.S], ids)],
      ["pos", fromNumbers("i32", [1, sizes.S], pos)],
      ["last", fromNumbers("i32", [1], [line.length - 1])],
    ]);
    const { outputs } = await plan.run(inputs, { keep: false, time: false });
    line.push(toNumbers(outputs.get("out"))[0]);
  }
  for (const tensor of fixed.values()) tensor.free();
  plan.free();
  return new TextDecoder().decode(Uint8Array.from(line.slice(start))).trimEnd();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const text = process.argv[2] ?? "Every ";
  const path = process.argv[4] ?? weightsFile;
  if (!existsSync(path)) await makeWeights(path);
  const device = await open(process.argv[3]);
  const weights = await openSafetensorsFile(path);
  console.log(`on ${device.description}, weights from ${path}`);
  console.log(text + (await generate(device, weights, text, sizes.S)));
  await weights.close();
  await device.close();
}
