/** What the bundle test runs in a page: compile from source text, run on `js` and, where the browser has it, on WebGPU. */
import { compile, render } from "../../compiler/index.ts";
import {
  bestDevice,
  fromNumbers,
  openDevice,
  toNumbers,
  type Device,
  type HostTensor,
} from "../../runtime/browser.ts";
import nn from "../../stdlib/nn.dsl?raw";

const text = `import std.nn { softmax }
dim N, D
fn spread(x: f32[N, D], y: f32[N, D]) -> f32[N, D] {
  softmax[D](x + y)
}
`;

async function run(device: Device): Promise<string> {
  const { artifact, diagnostics, sources } = compile({
    source: { file: "page.dsl", text },
    host: { read: (path) => (path === "stdlib/nn.dsl" ? { file: path, text: nn } : undefined) },
    entry: "spread",
    target: device.targets[0],
    dims: new Map([["D", 5]]),
    dtypes: new Map(),
  });
  if (artifact === undefined) return render(diagnostics, { colour: false, sources });
  const plan = await device.load(artifact);
  const x = fromNumbers(
    "f32",
    [3, 5],
    Array.from({ length: 15 }, (_, k) => Math.sin(k)),
  );
  const y = fromNumbers(
    "f32",
    [3, 5],
    Array.from({ length: 15 }, (_, k) => Math.cos(3 * k)),
  );
  const { outputs } = await plan.run(
    new Map([
      ["x", x],
      ["y", y],
    ]),
    { keep: false, time: false },
  );
  const out = outputs.get("out") as HostTensor;
  return [...toNumbers(out)].map((v) => v.toFixed(6)).join(" ");
}

const lines: string[] = [];
for (const open of [() => openDevice("js"), bestDevice]) {
  try {
    const device = await open();
    lines.push(`${device.name}: ${await run(device)}`);
  } catch (problem) {
    lines.push(`failed: ${String(problem)}`);
  }
}
await fetch("/result", { method: "POST", body: lines.join("\n") });
