// MHA, GQA and MQA from one file: only the sizes differ.
//
//     node examples/attention/run.mjs [cuda | webgpu | js]
import { fromNumbers } from "weft/runtime";
import { open, runAndCompare, verdict } from "../program.mjs";

const [B, S, heads, D] = [1, 32, 4, 32];

const family = [
  { name: "MHA", Hkv: heads, G: 1 },
  { name: "GQA", Hkv: 2, G: heads / 2 },
  { name: "MQA", Hkv: 1, G: heads },
];

/** A query sees the keys at or before it. */
const keep = fromNumbers(
  "bool",
  [B, S, S],
  Array.from({ length: B * S * S }, (_, i) => Number(i % S <= Math.floor(i / S) % S)),
);

const device = await open(process.argv[2]);
console.log(`on ${device.description}`);
for (const { name, Hkv, G } of family) {
  const sizes = { B, S, T: S, Hkv, G, D, Dv: D, A: "f16" };
  const program = { file: "examples/attention/attention.dsl", entry: "attend", sizes };
  const { rows } = await runAndCompare(device, program, new Map([["keep", keep]]));
  console.log(`${name} (Hkv = ${Hkv}, G = ${G}): ${verdict(rows).join("; ")}`);
  if (rows.some(({ beyond }) => beyond > 0)) process.exitCode = 1;
}
await device.close();
