/**
 * A small checkpoint of DeepSeek-V3's form, made here: two files and an index, codes with blocks of scales that straddle
 * heads, YaRN. What is loaded runs `Mla` of the library and whole layers of the example, and gives what plain loops over
 * the dequantised tensors, by their published names, give.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/index.ts";
import { openSource } from "../../compiler/cli/source-host.ts";
import type { ScaledType } from "../../compiler/lower/lower.ts";
import type { DType, Format } from "../../compiler/types/dtype.ts";
import { attentionWeights, layerWeights, outerWeights } from "../../runtime/checkpoint/deepseek.ts";
import { openCheckpoint } from "../../runtime/checkpoint/checkpoint.ts";
import { deepseekConfig } from "../../runtime/checkpoint/deepseek-config.ts";
import { runReference } from "../../runtime/reference/index.ts";
import { writeSafetensorsFile } from "../../runtime/safetensors/file.ts";
import { randomTensor } from "../../runtime/tensor/random.ts";
import type { HostTensor } from "../../runtime/tensor/tensor.ts";
import { fromNumbers, toNumbers } from "../../runtime/tensor/values.ts";

const root = resolve(import.meta.dirname, "../..");
const [Dm, H, Dn, Dr, Dv, Cq, Ck] = [40, 3, 8, 4, 8, 24, 20];
/** A head has 12 rows of the queries and 16 of the keys and values: no multiple of 10 ends where a head does. */
const block = 10;
const config = {
  hidden_size: Dm,
  num_attention_heads: H,
  qk_nope_head_dim: Dn,
  qk_rope_head_dim: Dr,
  v_head_dim: Dv,
  q_lora_rank: Cq,
  kv_lora_rank: Ck,
  vocab_size: 32,
  num_hidden_layers: 2,
  first_k_dense_replace: 1,
  intermediate_size: 48,
  moe_intermediate_size: 16,
  n_routed_experts: 4,
  n_shared_experts: 1,
  num_experts_per_tok: 2,
  n_group: 2,
  topk_group: 1,
  scoring_func: "sigmoid",
  routed_scaling_factor: 2.5,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_scaling: {
    type: "yarn",
    factor: 40,
    original_max_position_embeddings: 4096,
    beta_fast: 32,
    beta_slow: 1,
    mscale: 1,
    mscale_all_dim: 1,
  },
  torch_dtype: "bfloat16",
  quantization_config: { quant_method: "fp8", fmt: "e4m3", weight_block_size: [block, block] },
};

let folder: string;
let tensors: Map<string, HostTensor>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-checkpoint-"));
  tensors = published();
  await written(folder, config, tensors);
});
afterAll(() => rm(folder, { recursive: true }));

function drawn(dtype: DType, shape: readonly number[], name: string, deviation: number): HostTensor {
  return randomTensor(dtype, shape, { seed: 3, name, deviation, low: 0, high: 1 });
}

/** Tensors under the names and in the shapes that checkpoints have. */
function published(): Map<string, HostTensor> {
  const all = new Map<string, HostTensor>();
  const matrix = (name: string, rows: number, columns: number): void => {
    all.set(`${name}.weight`, drawn("e4m3", [rows, columns], name, 100));
    const shape = [Math.ceil(rows / block), Math.ceil(columns / block)];
    const scale = toNumbers(drawn("f32", shape, `${name} scale`, 1));
    all.set(
      `${name}.weight_scale_inv`,
      fromNumbers(
        "f32",
        shape,
        scale.map((x) => (0.5 + Math.abs(x)) / (100 * Math.sqrt(columns))),
      ),
    );
  };
  const gain = (name: string, length: number): void =>
    void all.set(`${name}.weight`, drawn("bf16", [length], name, 1));
  const gated = (at: string, hidden: number): void => {
    matrix(`${at}.gate_proj`, hidden, Dm);
    matrix(`${at}.up_proj`, hidden, Dm);
    matrix(`${at}.down_proj`, Dm, hidden);
  };
  for (const layer of [0, 1]) {
    const at = `model.layers.${layer}`;
    matrix(`${at}.self_attn.q_a_proj`, Cq, Dm);
    gain(`${at}.self_attn.q_a_layernorm`, Cq);
    matrix(`${at}.self_attn.q_b_proj`, H * (Dn + Dr), Cq);
    matrix(`${at}.self_attn.kv_a_proj_with_mqa`, Ck + Dr, Dm);
    gain(`${at}.self_attn.kv_a_layernorm`, Ck);
    matrix(`${at}.self_attn.kv_b_proj`, H * (Dn + Dv), Ck);
    matrix(`${at}.self_attn.o_proj`, Dm, H * Dv);
    gain(`${at}.input_layernorm`, Dm);
    gain(`${at}.post_attention_layernorm`, Dm);
  }
  gated("model.layers.0.mlp", 48);
  for (let e = 0; e < 4; e += 1) gated(`model.layers.1.mlp.experts.${e}`, 16);
  gated("model.layers.1.mlp.shared_experts", 16);
  all.set("model.layers.1.mlp.gate.weight", drawn("bf16", [4, Dm], "gate", 1));
  all.set("model.layers.1.mlp.gate.e_score_correction_bias", drawn("f32", [4], "bias", 1));
  all.set("model.embed_tokens.weight", drawn("bf16", [32, Dm], "embed", 1));
  all.set("lm_head.weight", drawn("bf16", [32, Dm], "head", 1));
  gain("model.norm", Dm);
  return all;
}

/** Every other tensor in the second file. */
async function written(path: string, json: unknown, all: ReadonlyMap<string, HostTensor>): Promise<void> {
  const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const map = Object.fromEntries([...all.keys()].map((name, k) => [name, files[k % 2]]));
  for (const file of files)
    await writeSafetensorsFile(join(path, file), new Map([...all].filter(([name]) => map[name] === file)));
  await writeFile(join(path, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  await writeFile(join(path, "config.json"), JSON.stringify(json));
}

/** Rows of a matrix, each element its code times its block's scale where there are scales. */
function dequantised(name: string): number[][] {
  const [codes, scales] = [tensors.get(`${name}.weight`), tensors.get(`${name}.weight_scale_inv`)];
  if (codes === undefined) throw new Error(name);
  const [rows = 0, columns = 0] = codes.shape;
  const values = toNumbers(codes);
  if (scales === undefined)
    return Array.from({ length: rows }, (_, r) => [...values.subarray(r * columns, (r + 1) * columns)]);
  const by = toNumbers(scales);
  const across = Math.ceil(columns / block);
  return Array.from({ length: rows }, (_, r) =>
    Array.from(
      { length: columns },
      (_, c) =>
        (values[r * columns + c] ?? NaN) *
        (by[Math.floor(r / block) * across + Math.floor(c / block)] ?? NaN),
    ),
  );
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] ?? NaN), 0);
const times = (w: readonly (readonly number[])[], x: readonly number[]): number[] =>
  w.map((row) => dot(row, x));

function normed(x: readonly number[], name: string): number[] {
  const g = toNumbers(tensors.get(`${name}.weight`) ?? fromNumbers("f32", [0], []));
  const r = 1 / Math.sqrt(dot(x, x) / x.length + 1e-6);
  return x.map((v, i) => v * r * (g[i] ?? NaN));
}

/** YaRN of width 4 at the configuration above, worked out by hand: pair 0 turns fast, pair 1 is mixed. */
function turned(x: readonly number[], pos: number): number[] {
  const turns = (count: number): number =>
    (Dr * Math.log(4096 / (count * 2 * Math.PI))) / (2 * Math.log(10000));
  const [low, high] = [Math.floor(turns(32)), Math.min(Math.ceil(turns(1)), Dr - 1)];
  return x.map((v, k) => {
    const i = Math.floor(k / 2);
    const plain = 10000 ** (-2 * (i / Dr));
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    const angle = pos * (plain * (1 - ramp) + (plain / 40) * ramp);
    const other = x[k ^ 1] ?? NaN;
    return k % 2 === 0
      ? v * Math.cos(angle) - other * Math.sin(angle)
      : other * Math.sin(angle) + v * Math.cos(angle);
  });
}

/** Queries of a token, through a latent of their own or not. */
function queries(at: string, token: readonly number[]): number[] {
  if (!tensors.has(`${at}.q_a_proj.weight`)) return times(dequantised(`${at}.q_proj`), token);
  const latent = times(dequantised(`${at}.q_a_proj`), token);
  return times(dequantised(`${at}.q_b_proj`), normed(latent, `${at}.q_a_layernorm`));
}

function attention(x: readonly (readonly number[])[], layer: number, coefficient = 1): number[][] {
  const at = `model.layers.${layer}.self_attn`;
  const [kva, kvb, o] = ["kv_a_proj_with_mqa", "kv_b_proj", "o_proj"].map((name) =>
    dequantised(`${at}.${name}`),
  );
  if (kva === undefined || kvb === undefined || o === undefined) throw new Error("three matrices");
  const mscale = 0.1 * coefficient * Math.log(40) + 1;
  const keys = x.map((token, t) => {
    const z = times(kva, token);
    return { kv: times(kvb, normed(z.slice(0, Ck), `${at}.kv_a_layernorm`)), r: turned(z.slice(Ck), t) };
  });
  return x.map((token, s) => {
    const q = queries(at, token);
    const heads = Array.from({ length: H }, (_, h) => {
      const own = q.slice(h * (Dn + Dr), (h + 1) * (Dn + Dr));
      const r = turned(own.slice(Dn), s);
      const seen = keys.slice(0, s + 1).map(({ kv, r: other }) => {
        const part = kv.slice(h * (Dn + Dv), (h + 1) * (Dn + Dv));
        const score = dot(own.slice(0, Dn), part.slice(0, Dn)) + dot(r, other);
        return { e: Math.exp((score * mscale * mscale) / Math.sqrt(Dn + Dr)), v: part.slice(Dn) };
      });
      const sum = seen.reduce((all, { e }) => all + e, 0);
      return Array.from({ length: Dv }, (_, d) =>
        seen.reduce((all, { e, v }) => all + (e / sum) * (v[d] ?? NaN), 0),
      );
    });
    return times(o, heads.flat());
  });
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((x, i) => x + (b[i] ?? NaN));

function gatedMlp(at: string, x: readonly number[]): number[] {
  const [gate, up, down] = ["gate_proj", "up_proj", "down_proj"].map((name) => dequantised(`${at}.${name}`));
  if (gate === undefined || up === undefined || down === undefined) throw new Error("three matrices");
  const ups = times(up, x);
  return times(
    down,
    times(gate, x).map((g, i) => g * sigmoid(g) * (ups[i] ?? NaN)),
  );
}

/** Of two groups of two experts the one with the larger sum, and of that both. */
function routed(at: string, x: readonly number[]): number[] {
  const gate = Array.from(toNumbers(tensors.get(`${at}.gate.weight`) ?? fromNumbers("f32", [0], [])));
  const bias = toNumbers(tensors.get(`${at}.gate.e_score_correction_bias`) ?? fromNumbers("f32", [0], []));
  const score = [0, 1, 2, 3].map((e) => sigmoid(dot(gate.slice(e * Dm, (e + 1) * Dm), x)));
  const biased = score.map((s, e) => s + (bias[e] ?? NaN));
  const of = (e: number): number => biased[e] ?? NaN;
  const kept = of(0) + of(1) > of(2) + of(3) ? [0, 1] : [2, 3];
  const total = kept.reduce((sum, e) => sum + (score[e] ?? NaN), 0);
  return kept.reduce(
    (sum, e) =>
      plus(
        sum,
        gatedMlp(`${at}.experts.${e}`, x).map((y) => (2.5 * (score[e] ?? NaN) * y) / total),
      ),
    gatedMlp(`${at}.shared_experts`, x),
  );
}

function wholeLayer(x: readonly (readonly number[])[], layer: number): number[][] {
  const at = `model.layers.${layer}`;
  const attended = attention(
    x.map((token) => normed(token, `${at}.input_layernorm`)),
    layer,
  );
  return x.map((token, s) => {
    const y = plus(token, attended[s] ?? []);
    const h = normed(y, `${at}.post_attention_layernorm`);
    return plus(y, layer === 0 ? gatedMlp(`${at}.mlp`, h) : routed(`${at}.mlp`, h));
  });
}

/** Runs five tokens of one sequence, each of which sees those before it, on the weights given, in f64. */
function forward(
  file: string,
  entry: string,
  sizes: Readonly<Record<string, number>>,
  weights: ReadonlyMap<string, HostTensor>,
  stored: Format | ScaledType = { dtype: "e4m3", scale: { block: [block, block], format: "f32" } },
): { readonly out: HostTensor | undefined; readonly x: number[][] } {
  const S = 5;
  const { source, host } = openSource(join(root, file), root);
  const { graph, diagnostics } = compile({
    source,
    host,
    entry,
    target: undefined,
    dims: new Map(Object.entries({ ...sizes, B: 1, S })),
    dtypes: new Map([["W", stored]]),
  });
  expect(diagnostics).toEqual([]);
  if (graph === undefined) throw new Error("it compiles");
  const x = drawn("bf16", [1, S, Dm], "x", 1);
  const keep = Array.from({ length: S * S }, (_, i) => Number(i % S <= i / S));
  const given = new Map([
    ...weights,
    ["x", x],
    ["pos", fromNumbers("i32", [1, S], [0, 1, 2, 3, 4])],
    ["keep", fromNumbers("bool", [1, S, S], keep)],
  ] as const);
  expect(new Set(graph.graph.inputs.map(({ name }) => name))).toEqual(new Set(given.keys()));
  const { outputs } = runReference(graph.arena, graph.graph, given, new Map(), {
    bounds: "error",
    errors: false,
  });
  const values = toNumbers(x);
  return {
    out: outputs.get("out"),
    x: Array.from({ length: S }, (_, s) => Array.from(values.subarray(s * Dm, (s + 1) * Dm))),
  };
}

/** The largest difference, as a part of the largest number that is expected. */
function apart(got: HostTensor | undefined, expected: readonly number[]): number {
  const values = toNumbers(got ?? fromNumbers("f32", [0], []));
  expect(values.length).toBe(expected.length);
  return (
    Math.max(...expected.map((v, i) => Math.abs(v - (values[i] ?? NaN)))) /
    Math.max(...expected.map(Math.abs))
  );
}

describe("a checkpoint of DeepSeek-V3's form", () => {
  it("runs Mla, and gives what its tensors give", async () => {
    const checkpoint = await openCheckpoint(folder);
    const known = deepseekConfig(checkpoint.config);
    const weights = await attentionWeights(checkpoint, known, 1);
    const { out, x } = forward("stdlib/attention/mla.dsl", "Mla.forward", known.attention, weights);
    // At most ten values on the way are rounded to bf16, half a unit of 2^-8 each.
    expect(apart(out, attention(x, 1).flat())).toBeLessThan(10 / 512);
    await checkpoint.close();
  });

  it("runs MlaDirect on matrices in bf16, all in one file, as DeepSeek-V2-Lite has them", async () => {
    const lite = join(folder, "lite");
    await mkdir(lite);
    const own = new Map(
      Object.entries({
        "q_proj.weight": [H * (Dn + Dr), Dm],
        "kv_a_proj_with_mqa.weight": [Ck + Dr, Dm],
        "kv_a_layernorm.weight": [Ck],
        "kv_b_proj.weight": [H * (Dn + Dv), Ck],
        "o_proj.weight": [Dm, H * Dv],
      }).map(([name, shape]) => [
        `model.layers.2.self_attn.${name}`,
        drawn("bf16", shape, name, 1 / Math.sqrt(shape[1] ?? 1)),
      ]),
    );
    for (const [name, tensor] of own) tensors.set(name, tensor);
    const half = { mscale: 0.707, mscale_all_dim: 0.707 };
    const changes = { q_lora_rank: null, num_hidden_layers: 3, quantization_config: undefined };
    const json = { ...config, ...changes, rope_scaling: { ...config.rope_scaling, ...half } };
    await writeSafetensorsFile(join(lite, "model.safetensors"), own);
    await writeFile(join(lite, "config.json"), JSON.stringify(json));
    const checkpoint = await openCheckpoint(lite);
    const known = deepseekConfig(checkpoint.config);
    const weights = await attentionWeights(checkpoint, known, 2);
    const { out, x } = forward(
      "stdlib/attention/mla.dsl",
      "MlaDirect.forward",
      known.attention,
      weights,
      "bf16",
    );
    expect(apart(out, attention(x, 2, 0.707).flat())).toBeLessThan(10 / 512);
    await checkpoint.close();
  });

  it.each([
    [0, "DenseLayer"],
    [1, "ExpertLayer"],
  ] as const)("layer %i runs %s of the example: attention, norms and what follows", async (layer, module) => {
    const checkpoint = await openCheckpoint(folder);
    const known = deepseekConfig(checkpoint.config);
    const sizes = { ...known.attention, F: 48, Fe: 16, Fs: 16, E: 4, G: 2, Kg: 1, K: 2 };
    const weights = await layerWeights(checkpoint, known, layer);
    const { out, x } = forward("examples/deepseek/block.dsl", `${module}.forward`, sizes, weights);
    // As many again after the attention: its sum, norm, gate, up, their product, down.
    expect(apart(out, wholeLayer(x, layer).flat())).toBeLessThan(20 / 512);
    await checkpoint.close();
  });

  it("gives a whole layer, experts one after the other with their scales, and what is outside of layers", async () => {
    const checkpoint = await openCheckpoint(folder);
    const known = deepseekConfig(checkpoint.config);
    const [dense, routed] = [
      await layerWeights(checkpoint, known, 0),
      await layerWeights(checkpoint, known, 1),
    ];
    expect(dense.get("mlp.w_gate")?.shape).toEqual([48, Dm]);
    expect(routed.get("mlp.w_down")?.shape).toEqual([4, Dm, 16]);
    expect(routed.get("mlp.w_down.scale")?.shape).toEqual([4, Dm / block, 2]);
    const third = tensors.get("model.layers.1.mlp.experts.2.down_proj.weight")?.bytes;
    expect(routed.get("mlp.w_down")?.bytes.slice(2 * Dm * 16, 3 * Dm * 16)).toEqual(third);
    expect(routed.get("mlp.shared_up")?.shape).toEqual([16, Dm]);
    expect(routed.get("mlp.bias")?.dtype).toBe("f32");
    expect(routed.get("attn.w_dq")?.shape).toEqual([Cq, Dm]);
    expect((await outerWeights(checkpoint, known)).get("head")?.shape).toEqual([32, Dm]);
    await checkpoint.close();
  });

  it("names what it cannot use", async () => {
    const lacks =
      (changes: object): (() => unknown) =>
      () =>
        deepseekConfig({ ...config, ...changes });
    expect(lacks({ rms_norm_eps: 1e-5 })).toThrow("rms_norm_eps is 0.00001");
    expect(lacks({ kv_lora_rank: undefined })).toThrow("kv_lora_rank is missing");
    expect(lacks({ rope_scaling: { ...config.rope_scaling, mscale: 0.5 } })).toThrow("differ");
    expect(lacks({ rope_scaling: { type: "linear", factor: 2 } })).toThrow("not yarn");
    expect(lacks({ quantization_config: { quant_method: "awq" } })).toThrow("quantization_config");
    const other = join(folder, "other");
    await mkdir(other);
    await written(other, { ...config, hidden_size: 41 }, tensors);
    const checkpoint = await openCheckpoint(other);
    await expect(attentionWeights(checkpoint, deepseekConfig(checkpoint.config), 0)).rejects.toThrow(
      "q_a_proj.weight is e4m3[24, 40], and config.json makes it [24, 41]",
    );
    await checkpoint.close();
    await writeFile(
      join(other, "model.safetensors.index.json"),
      JSON.stringify({ weight_map: { a: "../model-00001-of-00002.safetensors" } }),
    );
    await expect(openCheckpoint(other)).rejects.toThrow('gives "a" no file beside it');
  });
});
