/** How the cost of a proof and a simulation grows with ranks and micro-batches. After `npm run build`: node test/pipeline/bench.mjs */
import { readFileSync } from "node:fs";
import { compilePipeline, prove, simulate } from "../../dist/compiler/index.js";

const text = (name) => readFileSync(new URL(`../../stdlib/pipeline/${name}.dsl`, import.meta.url), "utf8");
const only = process.argv[2];
console.log("schedule     ranks  micro    actions  evaluate   prove  simulate (CPU s)  ns/action  RSS MB");
for (const name of ["1f1b", "zb1p", "dualpipe", "dualpipev"]) {
  if (only !== undefined && only !== name) continue;
  for (const [ranks, micro] of [
    [64, 4096],
    [256, 1024],
    [256, 4096],
    [1024, 2048],
    [1024, 4096],
  ]) {
    const times = [];
    const timed = (run) => {
      const before = process.cpuUsage();
      const result = run();
      const { user, system } = process.cpuUsage(before);
      times.push((user + system) / 1e6);
      return result;
    };
    const source = { file: name, text: text(name) };
    const { pipeline } = timed(() =>
      compilePipeline({ source, host: { read: () => undefined }, name: undefined, ranks, micro }),
    );
    const proof = timed(() => prove(pipeline.schedule));
    if (proof.verdict !== "proved") throw new Error(proof.diagnostic.message);
    timed(() => simulate(pipeline.schedule, {}, proof.channels));
    const actions = pipeline.schedule.start[pipeline.schedule.ranks];
    const total = times.reduce((a, b) => a + b, 0);
    const cells = [
      ranks,
      micro,
      actions,
      ...times.map((t) => t.toFixed(2)),
      ((total * 1e9) / actions).toFixed(0),
      (process.memoryUsage().rss / 2 ** 20).toFixed(0),
    ];
    console.log(
      name.padEnd(12),
      cells.map((cell, k) => String(cell).padStart([5, 6, 10, 9, 7, 9, 18, 7][k])).join(" "),
    );
  }
}
