/**
 * Time of the tensor passes for a target on a graph of 10,000 nodes, verifier on:
 * `npm run build && node test/tensor/bench.mjs [--cpu] [--target ptx:sm_90a]`.
 * Prints the first (cold) run and the median of five warm ones, pass by pass; what is left is the verifier's.
 */
import { parseArgs } from "node:util";
import { Arena } from "../../dist/compiler/tensor/arena.js";
import { topological } from "../../dist/compiler/tensor/graphs.js";
import { runPasses } from "../../dist/compiler/passes/pass.js";
import { parseTarget } from "../../dist/compiler/targets/index.js";
import { fusedPasses, plainPasses } from "../../dist/compiler/tensor-passes.js";
import { constant, symbol } from "../../dist/compiler/types/dim.js";

const { values: options } = parseArgs({
  options: {
    cpu: { type: "boolean", default: false },
    target: { type: "string", default: "ptx:sm_90a" },
  },
});
const chosen = parseTarget(options.target);
if (chosen === undefined) throw new Error(`no target ${options.target}`);

const batch = symbol("B");
const width = constant(512);

/** Layers of a contraction, a residual sum, an rmsnorm, a softmax and a reshape there and back: 14 nodes each. */
function build(nodes) {
  const arena = new Arena();
  const axes = [
    { name: "b", extent: batch },
    { name: "d", extent: width },
  ];
  const [b, d] = axes;
  const rows = arena.type("bf16", [batch, width]);
  const x0 = arena.input("x", "argument", rows);
  const inputs = [x0];
  let x = arena.ref(x0);
  const loop = (parts) => arena.ref(arena.loop(parts));
  const at = (list, ref) => arena.read(list, ref, [arena.axis(0), arena.axis(1)]);
  const reduce = (monoid, lift, list, finish) =>
    loop({
      axes: [b],
      over: [d],
      inputs: list,
      carriers: [{ name: "r", monoid, lift }],
      results: [{ value: finish(arena.carrier(0, "f32")), dtype: "f32", axes: [0] }],
    });
  const map = (list, value, dtype = "f32") =>
    loop({ axes, inputs: list, results: [{ value, dtype, axes: [0, 1] }] });
  for (let layer = 0; arena.nodeCount < nodes; layer++) {
    const w = arena.input(`w${layer}`, "param", arena.type("bf16", [width, width]));
    inputs.push(w);
    let list = [];
    const lift = arena.apply(
      "mul",
      arena.read(list, x, [arena.axis(0), arena.axis(2)]),
      arena.read(list, arena.ref(w), [arena.axis(1), arena.axis(2)]),
    );
    const h = loop({
      axes,
      over: [{ name: "k", extent: width }],
      inputs: list,
      carriers: [{ name: "r", monoid: "sum", lift }],
      results: [{ value: arena.carrier(0, "f32"), dtype: "f32", axes: [0, 1] }],
    });
    list = [];
    const sum = map(list, arena.apply("add", at(list, x), at(list, h)), "bf16");
    list = [];
    const t = at(list, sum);
    const ss = reduce("sum", arena.apply("mul", t, t), list, (r) => r);
    list = [];
    const rs = loop({
      axes: [b],
      inputs: list,
      results: [
        {
          value: arena.apply(
            "rsqrt",
            arena.apply(
              "add",
              arena.apply("div", arena.read(list, ss, [arena.axis(0)]), arena.f32(512)),
              arena.f32(1e-6),
            ),
          ),
          dtype: "f32",
          axes: [0],
        },
      ],
    });
    list = [];
    const normed = map(
      list,
      arena.apply("mul", at(list, sum), arena.read(list, rs, [arena.axis(0)])),
      "bf16",
    );
    list = [];
    const flat = loop({
      axes: [
        { name: "n", extent: batch },
        { name: "i", extent: constant(64) },
        { name: "j", extent: constant(8) },
      ],
      inputs: list,
      results: [
        {
          value: arena.read(list, normed, [
            arena.axis(0),
            arena.apply("add", arena.apply("mul", arena.axis(1), arena.i32(8)), arena.axis(2)),
          ]),
          dtype: "bf16",
          axes: [0, 1, 2],
        },
      ],
    });
    list = [];
    const turned = map(
      list,
      arena.read(list, flat, [
        arena.axis(0),
        arena.apply("floordiv", arena.axis(1), arena.i32(8)),
        arena.apply("mod", arena.axis(1), arena.i32(8)),
      ]),
      "bf16",
    );
    list = [];
    const scaled = map(list, arena.apply("mul", at(list, turned), arena.f32(0.125)));
    list = [];
    const m = reduce("max", at(list, scaled), list, (r) => r);
    list = [];
    const e = map(
      list,
      arena.apply("exp", arena.apply("sub", at(list, scaled), arena.read(list, m, [arena.axis(0)]))),
    );
    list = [];
    const z = reduce("sum", at(list, e), list, (r) => r);
    list = [];
    const y = map(list, arena.apply("div", at(list, e), arena.read(list, z, [arena.axis(0)])), "bf16");
    list = [];
    x = map(list, arena.apply("add", at(list, y), at(list, sum)), "bf16");
  }
  const graph = arena.graph({
    name: "bench",
    inputs,
    results: [{ name: "y", value: x }],
    updates: [],
    dims: ["B"],
    checks: [],
  });
  return { arena, graph };
}

/** Milliseconds: of the process's own CPU time with `--cpu`, which other work on the machine disturbs less. */
const clock = options.cpu ? () => process.cpuUsage().user / 1000 : () => performance.now();

function once() {
  const times = new Map();
  const time = (name, run) => {
    const start = clock();
    const value = run();
    times.set(name, (times.get(name) ?? 0) + clock() - start);
    return value;
  };
  const timed = (list) =>
    list.map((pass) => ({ ...pass, run: (graph, cx) => time(pass.name, () => pass.run(graph, cx)) }));
  const { arena, graph } = time("build", () => build(10_000));
  const before = topological(graph).length;
  const lists = [timed(plainPasses), timed(fusedPasses(chosen.caps))];
  const start = clock();
  const built = times.get("build");
  const made = lists.reduce((current, list) => runPasses(list, current, { arena }), graph);
  const whole = clock() - start;
  const inPasses = [...times.values()].reduce((sum, ms) => sum + ms, -built);
  times.set("verify", whole - inPasses);
  return { times, before, after: topological(made).length };
}

const runs = Array.from({ length: 6 }, once);
const [cold, ...warm] = runs;
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
console.log(`${cold.before} nodes, ${cold.after} after all passes; milliseconds, cold and warm`);
let [totalCold, totalWarm] = [0, 0];
for (const [name, ms] of cold.times) {
  const usual = median(warm.map((run) => run.times.get(name)));
  if (name !== "build") [totalCold, totalWarm] = [totalCold + ms, totalWarm + usual];
  console.log(`${name.padEnd(16)} ${ms.toFixed(1).padStart(8)} ${usual.toFixed(1).padStart(8)}`);
}
console.log(`${"passes".padEnd(16)} ${totalCold.toFixed(1).padStart(8)} ${totalWarm.toFixed(1).padStart(8)}`);
