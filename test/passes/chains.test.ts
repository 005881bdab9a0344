/** Fusion, streaming and splitting keep the meaning of random chains: exactly in finite fields, in f64 within bounds. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cascade } from "../../compiler/passes/cascade.ts";
import { fuse } from "../../compiler/passes/fuse.ts";
import { runPasses, type Pass } from "../../compiler/passes/pass.ts";
import { split } from "../../compiler/passes/split.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import type { Graph } from "../../compiler/tensor/ir.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { violations } from "../../runtime/reference/index.ts";
import { numbers, tensor } from "../tensor/tensors.ts";
import { evaluateInFields, ZeroDivision, type FieldTensor } from "./field.ts";
import { randomChain, type Chain, type ChainInput } from "./random-chains.ts";
import { Random } from "./random-graph.ts";

interface Counts {
  fused: number;
  streamed: number;
  split: number;
  rescaled: number;
}

/** The passes in the order of a compilation, every sum that can be split cut in two, every cascade accepted. */
function passesOf(counts: Counts): readonly Pass<Graph>[] {
  const wishes = ["a", "b", "c"].map((axis) => ({ axis, parts: 2, answer: () => undefined }));
  const device = { units: 1, bandwidth: 1e12, maxThreads: 1 };
  return [
    fuse(),
    cascade((loop) => {
      if (loop.inner.length > 0) counts.streamed += 1;
      return true;
    }),
    split(device, {
      wishes,
      note: () => {
        counts.split += 1;
      },
    }),
  ];
}

/** Each graph that a pass leaves, by the pass. */
function stages(chain: Chain, counts: Counts): readonly (readonly [string, Graph])[] {
  const { arena, graph } = chain;
  let current = graph;
  return passesOf(counts).map((pass) => {
    const next = runPasses([pass], current, { arena });
    if (pass.name === "fuse" && topological(next).length < topological(current).length) counts.fused += 1;
    if (pass.name === "split" && next !== current && /select\(eq\(/.test(print(arena, next)))
      counts.rescaled += 1;
    current = next;
    return [pass.name, next];
  });
}

function fieldInputs({ inputs }: Chain, seed: number): ReadonlyMap<string, FieldTensor> {
  const random = new Random(seed);
  return new Map(
    inputs.map(({ name, kind, shape }) => {
      const count = shape.reduce((a, b) => a * b, 1);
      return [
        name,
        { kind, shape, elements: Array.from({ length: count }, () => 1 + random.below(1_000_000)) },
      ];
    }),
  );
}

const steps = fc.integer({ min: 2, max: 9 });

describe("fusion, streaming and splitting", () => {
  it("keep chains of + - x / and exp exactly, in finite fields", () => {
    const counts: Counts = { fused: 0, streamed: 0, split: 0, rescaled: 0 };
    let skipped = 0;
    fc.assert(
      fc.property(fc.integer(), steps, (seed, length) => {
        const chain = randomChain(seed, length, "signed");
        const inputs = fieldInputs(chain, seed);
        try {
          const before = evaluateInFields(chain.graph, inputs);
          for (const [pass, graph] of stages(chain, counts)) {
            const after = evaluateInFields(graph, inputs);
            for (const [name, elements] of before)
              if (elements.join() !== after.get(name)?.join())
                throw new Error(
                  `${pass} changed ${name}\n${print(chain.arena, chain.graph)}\n${print(chain.arena, graph)}`,
                );
          }
        } catch (error) {
          if (!(error instanceof ZeroDivision)) throw error;
          skipped += 1;
        }
      }),
      { numRuns: 400 },
    );
    expect(skipped).toBeLessThan(40);
    // Each of the passes had something to do.
    for (const count of Object.values(counts)) expect(count, JSON.stringify(counts)).toBeGreaterThan(4);
  });

  it("keep chains within the bound on a target's error, in f64", () => {
    const counts: Counts = { fused: 0, streamed: 0, split: 0, rescaled: 0 };
    fc.assert(
      fc.property(fc.integer(), steps, (seed, length) => {
        const chain = randomChain(seed, length, "positive");
        const { arena, graph } = chain;
        const random = new Random(seed);
        const inputs = new Map(
          chain.inputs.map(({ name, kind, shape }) => {
            const [low, high] = kind === "exponent" ? [-0.5, 0.5] : [0.5, 1.5];
            const count = shape.reduce((a, b) => a * b, 1);
            const values = Array.from(
              { length: count },
              () => low + (high - low) * (random.below(4096) / 4096),
            );
            return [name, tensor("f32", shape, values)];
          }),
        );
        const before = interpret(arena, graph, inputs, new Map(), { bounds: "clamp", errors: true });
        for (const [pass, now] of stages(chain, counts)) {
          const after = interpret(arena, now, inputs, new Map()).results;
          for (const [name, value] of before.results) {
            const beyond = violations(
              numbers(after.get(name)),
              numbers(value),
              before.bounds.get(name) ?? [],
            );
            if (beyond > 0)
              throw new Error(`${pass} changed ${name}\n${print(arena, graph)}\n${print(arena, now)}`);
          }
        }
      }),
      { numRuns: 200 },
    );
    for (const count of Object.values(counts)) expect(count, JSON.stringify(counts)).toBeGreaterThan(2);
  });

  it("keep a sum that uses another from which a quotient has moved out", () => {
    const arena = new Arena();
    const graph = parse(
      arena,
      `graph twice
%x = input argument "x": f32[4]
%v = input argument "v": f32[2, 4]
%m = loop over b in 4 {
  r = max f32: %x[b]
  yield f32[]: r
}
%e = loop b in 4 {
  yield f32[b]: exp(sub(%x[b], %m[]))
}
%z = loop over b in 4 {
  r = sum f32: %e[b]
  yield f32[]: r
}
%p = loop b in 4 {
  yield f32[b]: div(%e[b], %z[])
}
%y = loop a in 2 over b in 4 {
  r = sum f32: mul(%p[b], %v[a, b])
  yield f32[a]: r
}
%s = loop a in 2 over b in 4 {
  r = sum f32: mul(mul(%y[a], %p[b]), mul(%y[a], %p[b]))
  yield f32[a]: r
}
result "s" = %s
`,
    );
    const inputs: readonly ChainInput[] = [
      { name: "x", kind: "exponent", shape: [4] },
      { name: "v", kind: "value", shape: [2, 4] },
    ];
    const chain = { arena, graph, inputs };
    const given = fieldInputs(chain, 1);
    const before = evaluateInFields(graph, given).get("s");
    for (const [pass, now] of stages(chain, { fused: 0, streamed: 0, split: 0, rescaled: 0 }))
      expect(evaluateInFields(now, given).get("s"), pass).toEqual(before);
  });
});
