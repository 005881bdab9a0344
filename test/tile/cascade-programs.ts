/** Programs whose products stream through reductions into products; their inputs, and what the oracle says of results. */
import { expect } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { decode, encode, rounderTo } from "../../compiler/tensor/number-formats.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { interpretTiles, type Element } from "../../compiler/tile/interpret.ts";
import type { GlobalBuffer, TileProgram } from "../../compiler/tile/ir.ts";
import { parse } from "../../compiler/tile/parse.ts";
import { print } from "../../compiler/tile/print.ts";
import { verify } from "../../compiler/tile/verify.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { fromNumbers, toNumbers, type Device, type HostTensor } from "../../runtime/index.ts";
import { testHost } from "../check/host.ts";

const head = `import std.nn { softmax }
dim B, H, S, T, D, Dv
`;
const signature = "q: bf16[B, H, S, D], k: bf16[B, H, T, D], v: bf16[B, H, T, Dv]";
const both = "(out: bf16[B, H, S, Dv], lse: f32[B, H, S])";
const scores = "for b, h, s, t: rsqrt(D) * sum[d](q[b, h, s, d] * k[b, h, t, d])";
const mix = "for b, h, s, e: sum[t](p[b, h, s, t] * v[b, h, t, e])";

/** Weights by a softmax of scores that some condition keeps. */
function weighted(condition: string, more = ""): string {
  return `${head}fn f(${signature}${more}) -> bf16[B, H, S, Dv] {
  let score = ${scores}${condition}
  let p = softmax[T](score)
  ${mix}
}`;
}

export const programs: Readonly<Record<string, string>> = {
  full: weighted(""),
  causal: weighted(" where t <= s"),
  window: weighted(" where t <= s and s - t < 20"),
  "a mask that is given": weighted(" where keep[b, s, t]", ", keep: bool[B, S, T]"),
  "a mask by what stands at rows and columns": weighted(
    " where t <= s and a[b, s] == c[b, t]",
    ", a: i32[B, S], c: i32[B, T]",
  ),
  // Rows of a tile are positions and the heads of a group, which do not follow each other in memory.
  "heads that share keys": `import std.nn { softmax }
dim B, H, G, S, T, D, Dv
fn f(q: f16[B, S, H, G, D], k: f16[B, T, H, D], v: f16[B, T, H, Dv], keep: bool[B, S, T]) -> f16[B, S, H, G, Dv] {
  let score = for b, s, h, g, t: rsqrt(D) * sum[d](q[b, s, h, g, d] * k[b, t, h, d])
  let p = softmax[T](score where keep)
  for b, s, h, g, e: sum[t](p[b, s, h, g, t] * v[b, t, h, e])
}`,
  // No softmax: weights of squares over their sum.
  squares: `${head}fn f(${signature}) -> bf16[B, H, S, Dv] {
  let score = ${scores}
  let w = for b, h, s, t: score[b, h, s, t] * score[b, h, s, t] + 1.0
  let z = for b, h, s: sum[t](w[b, h, s, t])
  let p = for b, h, s, t: w[b, h, s, t] / z[b, h, s]
  ${mix}
}`,
  // The least score takes part, and what is made has a factor of its row.
  "relative to the least": `${head}fn f(${signature}, g: f32[S]) -> f32[B, H, S, Dv] {
  let score = ${scores}
  let low = for b, h, s: min[t](score[b, h, s, t])
  let p = for b, h, s, t: exp(low[b, h, s] - score[b, h, s, t])
  for b, h, s, e: g[s] * sum[t](p[b, h, s, t] * v[b, h, t, e])
}`,
  // A second result with one value a row; the first row sees nothing.
  "with the logarithm of the weights' sum": `${head}fn f(${signature}) -> ${both} {
  let score = ${scores} where t < s
  let p = softmax[T](score)
  let m = for b, h, s: max[t](score[b, h, s, t])
  let z = for b, h, s: sum[t](exp(score[b, h, s, t] - m[b, h, s]))
  (out: ${mix}, lse: for b, h, s: m[b, h, s] + log(z[b, h, s]))
}`,
  "with logsumexp": `${head}fn f(${signature}) -> ${both} {
  let score = ${scores} where t < s
  let p = softmax[T](score)
  (out: ${mix}, lse: for b, h, s: logsumexp[t](score[b, h, s, t]))
}`,
  // The weights are made of the other result, and its logarithm leaves the exponent.
  "weights by logsumexp": `${head}fn f(${signature}) -> ${both} {
  let score = ${scores}
  let lse = for b, h, s: logsumexp[t](score[b, h, s, t])
  let p = for b, h, s, t: exp(score[b, h, s, t] - lse[b, h, s])
  (out: ${mix}, lse: lse)
}`,
};

export const sizes = { B: 1, H: 1, S: 70, T: 150, D: 64, Dv: 64, G: 4 };

export function attempted(text: string, dims: Readonly<Record<string, number>>, target: string): Compiled {
  return compile({
    source: { file: "f.dsl", text },
    host: testHost(),
    entry: "f",
    target,
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
}

export function compiled(
  text: string,
  dims: Readonly<Record<string, number>>,
  target = "ptx:sm_90a",
): Compiled {
  const made = attempted(text, dims, target);
  expect(made.diagnostics.map(({ code }) => code)).toEqual([]);
  return made;
}

/** Values of both signs from a small generator; masks of nothing in their first row. `dims`: what is open in the program. */
export function inputsOf(
  made: Compiled,
  dims: ReadonlyMap<string, number> = new Map(),
): Map<string, StoredTensor> {
  let state = 99;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return new Map(
    (made.graph?.graph.inputs ?? []).map((input) => {
      const type = input.types[0];
      if (type === undefined) throw new Error("an input has a type");
      const shape = type.shape.map((extent) => evaluate(extent, dims));
      const count = shape.reduce((a, b) => a * b, 1);
      const row = shape.at(-1) ?? 1;
      const value = (i: number): number => {
        if (type.dtype === "bool") return i < row ? 0 : Math.round(next());
        if (type.dtype === "i32") return Math.floor((i % row) / 23);
        return rounderTo(type.dtype)(4 * next() - 2);
      };
      const bytes = encode(
        type.dtype,
        Float64Array.from({ length: count }, (_, i) => value(i)),
      );
      return [input.name, { dtype: type.dtype, shape, bytes }];
    }),
  );
}

export function numbersOf(stored: StoredTensor): number[] {
  return Array.from(decode(stored.dtype, stored.bytes), Number);
}

/** The numbers of each result, by its name. */
export type Numbers = (name: string) => ArrayLike<number>;

/** Each of what was computed, in one way or several. */
export function expectWithin(
  actual: Numbers | readonly Numbers[],
  made: Compiled,
  inputs: Map<string, StoredTensor>,
  dims: ReadonlyMap<string, number> = new Map(),
): void {
  if (made.graph === undefined) throw new Error("no graph");
  const { arena, graph } = made.graph;
  const { results, bounds } = interpret(arena, graph, inputs, dims, { bounds: "clamp", errors: true });
  expect(results.size).toBeGreaterThan(0);
  for (const [name, out] of results) {
    const bound = bounds.get(name);
    if (bound === undefined) throw new Error("no bound");
    for (const [way, numbers] of [actual].flat().entries()) {
      const found = numbers(name);
      const wrong = numbersOf(out).flatMap((want, i) => {
        const have = found[i] ?? Number.NaN;
        return Object.is(want, have) || Math.abs(want - have) <= (bound[i] ?? 0)
          ? []
          : [{ name, way, i, want, have }];
      });
      expect(wrong.slice(0, 3)).toEqual([]);
    }
  }
}

/** The tile programs that were made. */
export function tilesOf(made: Compiled): readonly string[] {
  return made.trace.filter(({ pass }) => pass === "tile").map((step) => step.text());
}

/** What the only tile program, which is read back from its text, writes in the tile interpreter; `change` it before. */
export function interpreted(
  made: Compiled,
  inputs: ReadonlyMap<string, StoredTensor>,
  dims: ReadonlyMap<string, number> = new Map(),
  change: (program: TileProgram) => TileProgram = (program) => program,
): Numbers {
  const [text = "", ...others] = tilesOf(made);
  expect(others).toEqual([]);
  const read = parse(text);
  expect(verify(read)).toEqual([]);
  expect(print(read)).toBe(text);
  const program = change(read);
  const memory = new Map<GlobalBuffer, Element[]>(
    program.buffers.map((buffer) => {
      const count = buffer.shape.reduce((a, extent) => a * evaluate(extent, dims), 1);
      const stored = inputs.get(buffer.name);
      return [buffer, stored === undefined ? new Array<Element>(count).fill(Number.NaN) : numbersOf(stored)];
    }),
  );
  interpretTiles(program, memory, dims);
  const written = program.buffers.filter((buffer) => buffer.access === "write");
  return (name) => {
    const buffer = written.find((one) => one.name === name);
    return (buffer === undefined ? [] : (memory.get(buffer) ?? [])).map(Number);
  };
}

/** What a device computes from the plan. */
export async function ranOn(
  device: Device,
  made: Compiled,
  inputs: ReadonlyMap<string, StoredTensor>,
): Promise<Numbers> {
  if (made.artifact === undefined) throw new Error("no plan");
  const loaded = await device.load(made.artifact);
  const tensors = [...inputs].map(([key, stored]): [string, HostTensor] => [
    key,
    fromNumbers(stored.dtype, stored.shape, numbersOf(stored)),
  ]);
  const { outputs } = await loaded.run(new Map(tensors), { keep: false, time: false });
  return (name) => toNumbers(outputs.get(name) as HostTensor).map(Number);
}
