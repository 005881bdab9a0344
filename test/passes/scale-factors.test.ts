/** A bf16 model's contractions scaled by block: which of them, why not the others, and how far results are off then. */
import { describe, expect, it } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { explanationText } from "../../compiler/cli/explain-report.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { encode } from "../../compiler/tensor/number-formats.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { toNumbers } from "../../runtime/tensor/values.ts";
import { testHost } from "../check/host.ts";

const numerics = "contract: e4m3 @ (1, 128), (128, 128); accumulate: f32 every 128; bound: rel 2^-5";

const block = (rules: string): string => `
import std.nn { rmsnorm, softmax, swiglu }
dim S, D, F, H, V, E
dim Dh = 64

module Block {
  param g1: f32[D]
  param g2: f32[D]
  param w_q: bf16[H, Dh, D]
  param w_k: bf16[H, Dh, D]
  param w_v: bf16[H, Dh, D]
  param w_o: bf16[D, H * Dh]
  param w_gate: bf16[F, D]
  param w_up: bf16[F, D]
  param w_down: bf16[D, F]
  param router: f32[E, D]
  param head: bf16[V, D]

  fn forward(x: bf16[S, D]) -> (y: bf16[S, D], expert: i32[S, 2], logits: f32[S, V]) {
    let a: bf16[S, D] = rmsnorm(x, g1)
    let q: bf16[S, H, Dh] = for s, h, d: sum[c](a[s, c] * w_q[h, d, c])
    let k: bf16[S, H, Dh] = for s, h, d: sum[c](a[s, c] * w_k[h, d, c])
    let v: bf16[S, H, Dh] = for s, h, d: sum[c](a[s, c] * w_v[h, d, c])
    let keys = k[S as T]
    let values = v[S as T]
    let score = for s, h, t: 0.125 * sum[d](q[s, h, d] * keys[t, h, d])
    let p = softmax[T](score)
    let o: bf16[S, H, Dh] = for s, h, d: sum[t](p[s, h, t] * values[t, h, d])
    let flat = o as [S, H * Dh]
    let attended: bf16[S, D] = for s, c: x[s, c] + sum[e](flat[s, e] * w_o[c, e])
    let b: bf16[S, D] = rmsnorm(attended, g2)
    let best = topk[E, 2](for s, e: sum[c](b[s, c] * router[e, c]))
    let gate: bf16[S, F] = for s, f: sum[c](b[s, c] * w_gate[f, c])
    let up: bf16[S, F] = for s, f: sum[c](b[s, c] * w_up[f, c])
    let h: bf16[S, F] = swiglu(gate, up)
    let y: bf16[S, D] = for s, c: attended[s, c] + sum[f](h[s, f] * w_down[c, f])
    (y: y, expert: best.index, logits: for s, i in V: sum[c](y[s, c] * head[i, c]))
  }
}
${rules}
`;

function compiled(
  text: string,
  entry: string,
  sizes: Readonly<Record<string, number>>,
  target?: string,
): Compiled {
  return compile({
    source: { file: "model.dsl", text },
    host: testHost(),
    entry,
    target,
    dims: new Map(Object.entries(sizes)),
    dtypes: new Map(),
    explain: true,
  });
}

const large = { S: 4096, D: 2048, F: 8192, H: 32, V: 4096, E: 64 };

/** Normal numbers by Box and Muller, from a generator of its own. */
function normal(seed: number): () => number {
  let state = seed;
  const uniform = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** `deviation` of parameters, so that sums of products keep the size of what they sum. */
function results({ graph, diagnostics }: Compiled): ReadonlyMap<string, ArrayLike<number>> {
  if (graph === undefined) throw new Error(diagnostics.map((d) => d.message).join());
  const inputs = new Map(
    graph.graph.inputs.map(({ name, role, types: [type] }, k) => {
      const shape = (type?.shape ?? []).map((dim) => evaluate(dim, new Map()));
      const next = normal(k + 1);
      const deviation = role === "param" && shape.length > 1 ? (shape.at(-1) ?? 1) ** -0.5 : 1;
      const count = shape.reduce((a, b) => a * b, 1);
      const values = Float64Array.from({ length: count }, () => next() * deviation);
      const dtype = type?.dtype ?? "f32";
      return [name, { dtype, shape, bytes: encode(dtype, values) }];
    }),
  );
  const { results: made } = interpret(graph.arena, graph.graph, inputs, new Map());
  return new Map([...made].map(([name, value]) => [name, toNumbers(value)]));
}

/** 1 - 2 sum(xy) / sum(x^2 + y^2). */
function difference(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let [both, squares] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i] ?? 0, y[i] ?? 0];
    both += a * b;
    squares += a * a + b * b;
  }
  return 1 - (2 * both) / squares;
}

describe("factors scaled by block", () => {
  const made = compiled(block(`numerics Block { ${numerics} }`), "Block.forward", large, "ptx");

  it("those of linear layers, and no others", () => {
    expect(made.diagnostics).toEqual([]);
    const said = new Map(made.contractions.map(({ name, why }) => [name ?? "", why]));
    for (const name of ["q", "k", "v", "gate", "up"])
      expect([name, said.get(name)]).toEqual([name, undefined]);
    const reasons = made.contractions.flatMap(({ why }) => why ?? []).sort();
    expect(reasons).toEqual([
      "an order is made of its result",
      "its result is handed out in f32",
      "neither factor is a weight",
      "neither factor is a weight",
    ]);
    expect(made.contractions.length - reasons.length).toBe(7);
  });

  it("what is quantised once is read by all: three projections, a gate and its sibling", () => {
    const text = made.trace.find(({ pass }) => pass === "scale-factors")?.text() ?? "";
    // Four activations and seven weights.
    expect(text.match(/absmax = max f32/g)?.length).toBe(11);
    const emitted = [...(made.artifact?.files.values() ?? [])].join("\n");
    expect(emitted).toMatch(/wgmma\.mma_async\S*e4m3\.e4m3/);
  });

  it("neither scores nor what an exponential makes, where nothing is called a parameter", () => {
    const text = `import std.nn { softmax }
      dim S, T, D
      fn attend(q: bf16[S, D], k: bf16[T, D], v: bf16[T, D]) -> bf16[S, D] {
        let score = for s, t: sum[d](q[s, d] * k[t, d])
        let p = softmax[T](score)
        for s, d: sum[t](p[s, t] * v[t, d])
      }
      numerics attend { ${numerics} }`;
    const { contractions } = compiled(text, "attend", { S: 4096, T: 4096, D: 512 });
    expect(contractions.map(({ why }) => why)).toEqual([
      "an exponential, or a comparison, is made of its result",
      "an exponential makes one of its factors",
    ]);
  });

  it("nothing where numerics says nothing, or of another function", () => {
    expect(compiled(block(""), "Block.forward", large).contractions).toEqual([]);
  });

  const linear = (rules: string): string =>
    `dim N, D, F\nfn linear(x: bf16[N, D], w: bf16[F, D]) -> bf16[N, F] { for n, f: sum[d](x[n, d] * w[f, d]) }\nnumerics linear { ${rules} }`;

  it("a linear layer of Gaussian inputs is off by less than 1e-3", () => {
    // At sizes that an interpreter can do it does not pay, so that what the pass makes is written out.
    const sizes = { N: 48, D: 576, F: 40 };
    const text = `${linear(numerics)}`;
    const wide = results(compiled(text.replace(/numerics[\s\S]*/, ""), "linear", sizes)).get("out") ?? [];
    const narrow = compiled(text, "linear", { N: 4096, D: 4096, F: 4096 });
    expect(narrow.contractions.map(({ why }) => why)).toEqual([undefined]);
    const direct = `dim N, D, F
      fn linear(x: bf16[N, D], w: bf16[F, D]) -> bf16[N, F] {
        let q = quantize<e4m3 @ (1, 128)>(x)
        let r = quantize<e4m3 @ (128, 128)>(w)
        for n, f: sum[d](q[n, d] * r[f, d])
      }`;
    const scaled = results(compiled(direct, "linear", sizes)).get("out") ?? [];
    expect(difference(wide, scaled)).toBeLessThan(1e-3);
    expect(difference(wide, scaled)).toBeGreaterThan(1e-5);
  });

  it("the graph that the pass makes is that of quantize", () => {
    const sizes = { N: 2048, D: 2112, F: 2048 };
    const mine = compiled(linear(numerics), "linear", sizes);
    expect(mine.contractions.map(({ why }) => why)).toEqual([undefined]);
    const direct = `dim N, D, F
      fn linear(x: bf16[N, D], w: bf16[F, D]) -> bf16[N, F] {
        let q = quantize<e4m3 @ (1, 128)>(x)
        let r = quantize<e4m3 @ (128, 128)>(w)
        for n, f: sum[d](q[n, d] * r[f, d])
      }`;
    const theirs = compiled(direct, "linear", sizes);
    const kernels = ({ fused }: Compiled): number => fused?.results.length ?? 0;
    expect(kernels(mine)).toBe(kernels(theirs));
    expect(mine.fusion?.after).toEqual(theirs.fusion?.after);
  });

  it("a whole block on the interpreter, with and without", () => {
    const sizes = { S: 6, D: 128, F: 256, H: 2, V: 8, E: 4 };
    const rules = `numerics Block { ${numerics} }`;
    const wide = compiled(block(""), "Block.forward", sizes);
    const narrow = compiled(block(rules), "Block.forward", sizes);
    expect(narrow.contractions.filter(({ why }) => why === undefined).length).toBe(7);
    const [a, b] = [results(wide), results(narrow)];
    // The residual keeps the block's result near: what it adds is off by less than a linear layer's.
    expect(difference(a.get("y") ?? [], b.get("y") ?? [])).toBeLessThan(1e-3);
    expect(difference(a.get("y") ?? [], b.get("y") ?? [])).toBeGreaterThan(1e-6);
  });

  it("a bound that does not hold keeps the program's types, and says so", () => {
    const sizes = { N: 4096, D: 4096, F: 4096 };
    for (const rules of [
      numerics.replace("2^-5", "2^-12"),
      // Without promotion the unit's own sums lose more than the roundings.
      numerics.replace("every 128", "every 4096").replace("2^-5", "2^-7"),
    ]) {
      const { contractions, diagnostics } = compiled(linear(rules), "linear", sizes);
      expect(diagnostics.map(({ code }) => code)).toEqual(["WF3702"]);
      expect(contractions[0]?.why).toMatch(/may be off by/);
    }
  });

  it("explain says of each what became of it", () => {
    const made = compiled(linear(numerics), "linear", { N: 4096, D: 4096, F: 4096 }, "ptx");
    const { fusion } = made;
    if (fusion === undefined) throw new Error("it compiles");
    const said = explanationText("model.dsl:linear", { ...made, fusion });
    expect(said).toMatch(/model\.dsl:2:\d+ +scaled: e4m3 @ \(1, 128\), e4m3 @ \(128, 128\), off by 0\.00/);
  });

  it("what does not pay, or has no whole block, stays", () => {
    const why = (sizes: Readonly<Record<string, number>>): readonly (string | undefined)[] =>
      compiled(linear(numerics), "linear", sizes).contractions.map((one) => one.why);
    expect(why({ N: 4096, D: 64, F: 4096 })).toEqual(["its sum has 64 terms, less than a block"]);
    expect(why({ N: 1, D: 4096, F: 4096 })[0]).toMatch(/^it does not pay/);
  });
});
