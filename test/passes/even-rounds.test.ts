/** Sequences of unequal lengths: taken in another order, which shares them evenly, they give what they gave. */
import { expect, it } from "vitest";
import { Arena } from "../../compiler/tensor/arena.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { encode } from "../../compiler/tensor/number-formats.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { compiled, expectWithin, inputsOf, numbersOf, ranOn } from "../tile/cascade-programs.ts";

const text = `import std.nn { softmax }
dim B, H, T, D
fn f(q: bf16[B, H, D], k: bf16[B, T, D], v: bf16[B, T, D], n: i32[B]) -> (out: bf16[B, H, D], lse: f32[B, H]) {
  let score = for b, h, t: (rsqrt(D) * sum[d](q[b, h, d] * k[b, t, d])) where t < n[b]
  let z = for b, h: logsumexp[t](score[b, h, t])
  let p = softmax[T](score)
  (out: for b, h, e: sum[t](p[b, h, t] * v[b, t, e]), lse: z)
}`;

// More than the units of the device, and no whole number of rounds.
const sequences = 150;
const units = 132;
const lengths = Array.from({ length: sequences }, (_, b) => (b * 61) % 31);

it("in another order they give what they gave, empty ones too", async () => {
  const made = compiled(text, { B: sequences, H: 2, D: 16 });
  const inputs = inputsOf(made, new Map([["T", 30]]));
  inputs.set("n", { dtype: "i32", shape: [sequences], bytes: encode("i32", Float64Array.from(lengths)) });
  const names = made.artifact?.plan.kernels.map(({ entry }) => entry) ?? [];
  expect(names).toContain("f_owner");
  const device = await openSimulator({ seeds: 1 });
  expectWithin(await ranOn(device, made, inputs), made, inputs, new Map([["T", 30]]));
  await device.close();
});

it.each([
  ["mixed", lengths],
  ["one long one", lengths.map((_, b) => (b === 7 ? 30 : 1))],
  ["all alike", lengths.map(() => 9)],
])("units have little more than their share: %s", (_, given) => {
  const made = compiled(text, { B: sequences, H: 2, D: 16 });
  const arena = new Arena();
  const graph = parse(arena, made.trace.find(({ pass }) => pass === "even-rounds")?.text() ?? "");
  const place = topological(graph).find((node) => arena.hint(arena.ref(node)) === "place");
  if (place === undefined) throw new Error("no order");
  const bytes = encode("i32", Float64Array.from(given));
  const { results } = interpret(
    arena,
    {
      ...graph,
      inputs: graph.inputs.filter(({ name }) => name === "n"),
      results: [{ name: "place", value: arena.ref(place) }],
    },
    new Map([["n", { dtype: "i32", shape: [sequences], bytes }]]),
    new Map([["T", 30]]),
  );
  const found = results.get("place");
  const places = found === undefined ? [] : numbersOf(found);
  expect(places.toSorted((a, b) => a - b)).toEqual(lengths.map((__, b) => b));
  const load = new Array<number>(units).fill(0);
  places.forEach((at, b) => (load[at % units] = (load[at % units] ?? 0) + (given[b] ?? 0)));
  // Graham's bound for the longest first: 4/3 of the best, which is at least the mean, the longest, and two that
  // must share a unit.
  const sorted = given.toSorted((a, b) => b - a);
  const [mean, longest] = [sorted.reduce((a, b) => a + b, 0) / units, sorted[0] ?? 0];
  const shared = 2 * (sorted[units] ?? 0);
  expect(Math.max(...load)).toBeLessThanOrEqual((4 / 3) * Math.max(mean, longest, shared));
});
