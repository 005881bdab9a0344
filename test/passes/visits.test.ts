/**
 * What is found out from data about which part of an axis a loop has to visit: it is true of every point, it leaves
 * something out, and the kernels that go by it compute what the program means.
 */
import { describe, expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import type { Graph, Scalar } from "../../compiler/tensor/ir.ts";
import { decode, encode, rounderTo } from "../../compiler/tensor/number-formats.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { reachable } from "../../compiler/tensor/scalars.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { constant, evaluate, type Dim } from "../../compiler/types/dim.ts";
import { fromNumbers, toNumbers, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";

function program(condition: string, more: string): string {
  return `import std.nn { softmax }
dim B, S, T, D
fn f(q: bf16[B, S, D], k: bf16[B, T, D], v: bf16[B, T, D]${more}) -> bf16[B, S, D] {
  let score = for b, s, t: rsqrt(D) * sum[d](q[b, s, d] * k[b, t, d]) where ${condition}
  let p = softmax[T](score)
  for b, s, e: sum[t](p[b, s, t] * v[b, t, e])
}`;
}

interface Case {
  readonly text: string;
  /** Elements by tensor: of a place counted through the tensor, and along its last axis. */
  readonly values: Readonly<Record<string, (i: number, last: number) => number>>;
}

const inOrder = (_: number, last: number): number => Math.floor(last / 70);
const documents = ", a: i32[B, S], c: i32[B, T]";

const cases: Readonly<Record<string, Case>> = {
  "documents in order": {
    text: program("t <= s and a[b, s] == c[b, t]", documents),
    values: { a: inOrder, c: inOrder },
  },
  "documents that lie apart": {
    text: program("a[b, s] == c[b, t]", documents),
    values: { a: (_, last) => (last * 7) % 3, c: (_, last) => Math.floor(last / 64) - 1 },
  },
  "an end of each row": {
    text: program("t < last[b, s]", ", last: i32[B, S]"),
    values: { last: (i) => (i * 37) % 100 },
  },
  "places that came with the rows, or a prefix": {
    text: program("c[b, t] <= a[b, s] or t < n[b]", `${documents}, n: i32[B]`),
    values: { a: (_, last) => last + 40, c: (_, last) => last + 30, n: (i) => 5 + 90 * i },
  },
  "keys that do not count": {
    text: program("keep[b, t]", ", keep: bool[B, T]"),
    values: { keep: (_, last) => (last > 70 && last < 210 ? 1 : 0) },
  },
  "a mask of rows and columns": {
    text: program("keep[b, s, t]", ", keep: bool[B, S, T]"),
    values: { keep: (i, last) => (last > 64 && last < 130 && i % 5 !== 0 ? 1 : 0) },
  },
};

const sizes: Readonly<Record<string, number>> = { B: 2, S: 100, T: 260, D: 64 };

/** `open` sizes are left to the launch, as they are where a server does not know its batch. */
function compiled(text: string, open: readonly string[]): Compiled {
  const made = compile({
    source: { file: "f.dsl", text },
    host: testHost(),
    entry: "f",
    target: "ptx:sm_90a",
    dims: new Map(Object.entries(sizes).filter(([name]) => !open.includes(name))),
    dtypes: new Map(),
  });
  expect(made.diagnostics.map(({ code }) => code)).toEqual([]);
  return made;
}

function inputsOf(graph: Graph, values: Case["values"]): Map<string, StoredTensor> {
  return new Map(
    graph.inputs.map((input) => {
      const [type] = input.types;
      if (type === undefined) throw new Error("an input has a type");
      const shape = type.shape.map((extent) => evaluate(extent, new Map(Object.entries(sizes))));
      const count = shape.reduce((a, b) => a * b, 1);
      const given = values[input.name];
      const value = (i: number): number =>
        given === undefined
          ? rounderTo(type.dtype)(Math.sin(i * 12.9898) * 2)
          : given(i, i % (shape.at(-1) ?? 1));
      const bytes = encode(
        type.dtype,
        Float64Array.from({ length: count }, (_, i) => value(i)),
      );
      return [input.name, { dtype: type.dtype, shape, bytes }];
    }),
  );
}

/** The graph, with one result: for each hint and each point whether the hint is true, and whether it leaves it out. */
function claims(arena: Arena, graph: Graph): Graph {
  const loops = topological(graph).filter((node) => node.kind === "loop" && node.inner.length > 0);
  const [loop] = loops;
  if (loop?.kind !== "loop" || loops.length !== 1) throw new Error("one streamed loop");
  const hints = reachable(loop.carriers.map((c) => c.lift)).filter(
    (s): s is Extract<Scalar, { kind: "apply" }> => s.kind === "apply" && s.fn === "bounded",
  );
  const [hint] = hints;
  const [condition, only, whole] = hint?.args ?? [];
  if (condition === undefined || only === undefined || whole === undefined) throw new Error("a hint");
  const implies = (a: Scalar, b: Scalar): Scalar => arena.apply("or", arena.apply("not", a), b);
  const isTrue = arena.apply("and", implies(condition, only), implies(whole, condition));
  // The columns of the result take no part.
  const extents = loop.axes.map(({ extent }, k): Dim => (k === loop.axes.length - 1 ? constant(1) : extent));
  const axes = [
    ...loop.axes.map((axis, k) => ({ ...axis, extent: extents[k] ?? axis.extent })),
    ...loop.over,
  ];
  const made = arena.loop({
    axes,
    results: [isTrue, only, whole].map((value) => ({ value, dtype: "bool", axes: axes.map((_, k) => k) })),
    inputs: loop.inputs,
  });
  const names = ["true", "only", "whole"];
  return { ...graph, results: names.map((name, output) => ({ name, value: arena.ref(made, output) })) };
}

describe("what is found out is true, and leaves something out", () => {
  it.each(Object.entries(cases))("%s", (_, { text, values }) => {
    const made = compiled(text, ["B", "S", "T"]);
    const arena = new Arena();
    const graph = parse(arena, made.trace.find(({ pass }) => pass === "visits")?.text() ?? "");
    const inputs = inputsOf(graph, values);
    const dims = new Map(Object.entries(sizes));
    const { results } = interpret(arena, claims(arena, graph), inputs, dims, {
      bounds: "error",
      errors: false,
    });
    const count = (name: string, wanted: boolean): number => {
      const found = results.get(name);
      if (found === undefined) throw new Error(`no ${name}`);
      return Array.from(decode(found.dtype, found.bytes), Number).filter((x) => Boolean(x) === wanted).length;
    };
    expect(count("true", false)).toBe(0);
    expect(count("only", false) + count("whole", true)).toBeGreaterThan(0);
  });
});

describe("kernels that go by it", () => {
  it.each([
    ["documents in order", ["B"]],
    ["documents that lie apart", ["B", "T"]],
    ["places that came with the rows, or a prefix", ["B", "S"]],
    ["a mask of rows and columns", ["B", "S", "T"]],
  ])("%s, sizes %s open", { timeout: 60_000 }, async (name, open) => {
    const one = cases[name];
    if (one === undefined) throw new Error("no case");
    const { artifact } = compiled(one.text, open);
    const { graph } = compiled(one.text, []);
    if (artifact === undefined || graph === undefined) throw new Error("no plan");
    expect(artifact.plan.kernels.length).toBeGreaterThan(1);
    const inputs = inputsOf(graph.graph, one.values);
    const device = await openSimulator({ seeds: 1 });
    const loaded = await device.load(artifact);
    const tensors = [...inputs].map(([key, { dtype, shape, bytes }]): [string, HostTensor] => [
      key,
      fromNumbers(dtype, shape, Array.from(decode(dtype, bytes), Number)),
    ]);
    const { outputs } = await loaded.run(new Map(tensors), { keep: false, time: false });
    const actual = toNumbers(outputs.get("out") as HostTensor).map(Number);
    const options = { bounds: "clamp", errors: true } as const;
    const { results, bounds } = interpret(graph.arena, graph.graph, inputs, new Map(), options);
    const [out, bound] = [results.get("out"), bounds.get("out")];
    if (out === undefined || bound === undefined) throw new Error("no result");
    const wrong = Array.from(decode(out.dtype, out.bytes), Number).flatMap((want, i) => {
      const have = actual[i] ?? Number.NaN;
      return Object.is(want, have) || Math.abs(want - have) <= (bound[i] ?? 0) ? [] : [{ i, want, have }];
    });
    expect(wrong.slice(0, 3)).toEqual([]);
    await device.close();
  });
});
