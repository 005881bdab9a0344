// The main job, end to end: compiles an example for ptx, cuda and wgsl, runs it on the best device that is there,
// holds it to the reference, and says what each kernel does, its size and its time.
//
//     npm start            builds, then runs this
import { spawnSync } from "node:child_process";
import { devices, fromNumbers } from "weft/runtime";
import { compileProgram, open, runAndCompare, verdict } from "./program.mjs";

const [B, S] = [1, 64];
const program = {
  file: "examples/attention/attention.dsl",
  entry: "attend",
  sizes: { B, S, T: S, Hkv: 2, G: 2, D: 64, Dv: 64, A: "f16" },
};
const keep = fromNumbers(
  "bool",
  [B, S, S],
  Array.from({ length: B * S * S }, (_, i) => Number(i % S <= Math.floor(i / S) % S)),
);

const sizesText = Object.entries(program.sizes).map(([name, value]) => `${name}=${value}`);
console.log(`${program.file}:${program.entry} with ${sizesText.join(", ")}\n`);

for (const target of ["ptx", "cuda", "wgsl"]) {
  const start = performance.now();
  const { artifact } = compileProgram(program, target);
  const kernels = artifact.plan.kernels.length;
  const milliseconds = Math.round(performance.now() - start);
  console.log(
    `${artifact.plan.target}: ${kernels} ${kernels === 1 ? "kernel" : "kernels"}, compiled in ${milliseconds} ms`,
  );
  printTable(
    ["kernel", "text", "blocks", "threads", "moved", "work"],
    artifact.plan.launches.map(({ kernel: k, grid }) => {
      const { name, file, threads, bytes, flops } = artifact.plan.kernels[k];
      const text = artifact.files.get(file).length;
      return [name, `${text} B`, grid.join(" x "), `${threads}`, `${bytes} B`, `${flops} FLOP`];
    }),
  );
}

const device = await open();
const { compiled, timings, rows } = await runAndCompare(device, program, new Map([["keep", keep]]));
const { plan } = compiled.artifact;
console.log(`run on ${device.description} (${plan.target})`);
printTable(
  ["kernel", "time", "what it does"],
  timings.map(({ kernel, seconds }, k) => {
    const { summary } = plan.kernels[plan.launches[k].kernel];
    return [kernel, `${(seconds * 1e6).toFixed(1)} us`, summary];
  }),
);
console.log(`${verdict(rows).join("\n")}\n`);
await device.close();
if (rows.some(({ beyond }) => beyond > 0)) process.exitCode = 1;

const missing = [
  ...(await devices())
    .filter(({ name, accelerated }) => name !== "js" && !accelerated)
    .map(
      ({ name, present, text }) =>
        `${name}: ${present ? `in software only, ${text}; js is used instead` : text}`,
    ),
  ...[
    ["ptxas", "emitted PTX is not assembled here; the driver does that where there is a GPU"],
    ["nvcc", "emitted CUDA C++ is not compiled here"],
  ]
    .filter(([tool]) => spawnSync(tool, ["--version"], { stdio: "ignore" }).status !== 0)
    .map(([tool, meaning]) => `${tool}: not found (${meaning})`),
];
if (missing.length > 0)
  console.log(`without what this machine does not have:\n${missing.map((line) => `  ${line}`).join("\n")}`);

function printTable(head, lines) {
  const all = [head, ...lines];
  const widths = head.map((_, k) => Math.max(...all.map((line) => line[k].length)));
  for (const line of all)
    console.log(
      `  ${line
        .map((cell, k) => cell.padEnd(widths[k]))
        .join("  ")
        .trimEnd()}`,
    );
  console.log();
}
