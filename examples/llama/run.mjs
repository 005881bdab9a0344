// One Llama-style decoder block with random weights.
//
//     node examples/llama/run.mjs [cuda | webgpu | js]
import { fromNumbers } from "weft/runtime";
import { open, runAndCompare, verdict } from "../program.mjs";

const [B, S] = [1, 16];
const sizes = { B, S, T: S, Dm: 64, Hkv: 2, G: 2, Dh: 16, F: 128, W: "bf16" };
const pos = fromNumbers(
  "i32",
  [B, S],
  Array.from({ length: B * S }, (_, i) => i % S),
);

const device = await open(process.argv[2]);
const program = { file: "examples/llama/block.dsl", entry: "Block.forward", sizes };
const { compiled, timings, rows } = await runAndCompare(device, program, new Map([["pos", pos]]));
console.log(`on ${device.description}`);
for (const [k, { kernel, seconds }] of timings.entries()) {
  const { summary } = compiled.artifact.plan.kernels[compiled.artifact.plan.launches[k].kernel];
  console.log(`  ${kernel.padEnd(22)} ${(seconds * 1e6).toFixed(0).padStart(8)} us  ${summary}`);
}
console.log(verdict(rows).join("\n"));
if (rows.some(({ beyond }) => beyond > 0)) process.exitCode = 1;
await device.close();
