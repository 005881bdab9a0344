// Writes the model's weights to a safetensors file under its parameters' names. All of them are random but the last
// matrix, `second.w_down`, which is fitted to a few lines of text in closed form: the compiled model gives what that
// matrix multiplies, and ridge regression finds the matrix that turns it into the embedding of the next byte. So the
// model has learned these lines by heart, and nothing else.
//
//     node examples/tiny-lm/make-weights.mjs [FILE]
import { pathToFileURL } from "node:url";
import { fromBigInts, fromNumbers, randomTensor, toNumbers, writeSafetensorsFile } from "weft/runtime";
import { compileProgram, open, run } from "../program.mjs";
import { batchOf, file, sizes, weightsFile } from "./shape.mjs";

const lines = [
  "Every axis has a name.",
  "One tensor builder, one reduction form.",
  "Rounding happens where a type is written.",
  "What cannot be right does not compile.",
  "Meaning is executed, text is pinned.",
];

export async function makeWeights(path) {
  const device = await open("js");
  const bytes = lines.map((line) => [...new TextEncoder().encode(`${line}\n`)]);
  const all = { ...sizes, B: bytes.length };
  const { artifact } = compileProgram({ file, entry: "Model.features", sizes: all }, device.targets[0]);
  const weights = randomWeights(artifact.plan);
  const { ids, pos } = batchOf(bytes);
  const shape = [bytes.length, sizes.S];
  const inputs = new Map([
    ...[...weights].filter(([name]) => artifact.plan.inputs.some((input) => input.name === name)),
    ["ids", fromBigInts(shape, ids)],
    ["pos", fromNumbers("i32", shape, pos)],
  ]);
  const { outputs } = await run(device, artifact, inputs);
  await device.close();
  const examples = bytes.flatMap((line, b) =>
    line.slice(1).map((next, s) => ({ row: b * sizes.S + s, next })),
  );
  weights.set("second.w_down", fitted(weights.get("embed"), outputs, examples));
  await writeSafetensorsFile(path, weights);
  return weights;
}

/** Every parameter of the model; those that `features` does not read are added. */
function randomWeights({ inputs }) {
  const { Dm, F } = sizes;
  const shapes = new Map(
    inputs
      .filter(({ role }) => role === "param")
      .map(({ name, dtype, shape }) => [name, { dtype, shape: shape.map(Number) }]),
  );
  shapes.set("g_out", { dtype: "f32", shape: [Dm] });
  shapes.set("second.w_down", { dtype: "bf16", shape: [Dm, F] });
  return new Map([...shapes].map(([name, { dtype, shape }]) => [name, initial(name, dtype, shape)]));
}

function initial(name, dtype, shape) {
  if (dtype === "f32") return fromNumbers(dtype, shape, new Float64Array(shape[0]).fill(1));
  // A sum over as many products as a row has keeps the size of what it sums.
  const deviation = name === "embed" ? 1 : 1 / Math.sqrt(sizes.Dm);
  return randomTensor(dtype, shape, { seed: 1, name, deviation, low: 0, high: 1 });
}

/** The least-squares solution W of hidden W = 4 embed[next] - stream, with a small penalty on W. */
function fitted(embed, outputs, examples) {
  const { Dm, F } = sizes;
  const [table, stream, hidden] = [embed, outputs.get("stream"), outputs.get("hidden")].map(toNumbers);
  const normal = Array.from({ length: F }, () => new Float64Array(F));
  const right = Array.from({ length: F }, () => new Float64Array(Dm));
  for (const { row, next } of examples) {
    for (let i = 0; i < F; i++) {
      const h = hidden[row * F + i];
      for (let j = 0; j <= i; j++) normal[i][j] += h * hidden[row * F + j];
      for (let m = 0; m < Dm; m++) right[i][m] += h * (4 * table[next * Dm + m] - stream[row * Dm + m]);
    }
  }
  for (let i = 0; i < F; i++) normal[i][i] += 1e-3;
  solve(normal, right);
  const values = Float64Array.from({ length: Dm * F }, (_, k) => right[k % F][Math.floor(k / F)]);
  return fromNumbers("bf16", [Dm, F], values);
}

/** Cholesky: overwrites the lower triangle of `a` with its factor, and `b` with the solution of a x = b. */
function solve(a, b) {
  const n = a.length;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i][j];
      for (let k = 0; k < j; k++) sum -= a[i][k] * a[j][k];
      a[i][j] = i === j ? Math.sqrt(sum) : sum / a[j][j];
    }
  }
  for (let m = 0; m < b[0].length; m++) {
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < i; k++) b[i][m] -= a[i][k] * b[k][m];
      b[i][m] /= a[i][i];
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let k = i + 1; k < n; k++) b[i][m] -= a[k][i] * b[k][m];
      b[i][m] /= a[i][i];
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const path = process.argv[2] ?? weightsFile;
  const weights = await makeWeights(path);
  console.log(`${weights.size} tensors in ${path}, all random but second.w_down, which is fitted to`);
  for (const line of lines) console.log(`  ${line}`);
}
