// Writes a small checkpoint of DeepSeek-V3's form: config.json, tensors under the published names in two files and their
// index, matrices as e4m3 codes with a scale for each block (which ends within heads), YaRN. All numbers are drawn, the
// same in each run; the model says nothing, and says it the same way everywhere.
//
//     node examples/deepseek/make-checkpoint.mjs [FOLDER]
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { fromNumbers, randomTensor, toNumbers, writeSafetensorsFile } from "weft/runtime";

/** Beside what is built, which the repository does not keep. */
export const checkpointFolder = fileURLToPath(new URL("../../dist/deepseek", import.meta.url));

/** With these numbers no choice of the example's prompts is a close one. */
const seed = 12;
const block = 32;
const config = {
  hidden_size: 40,
  num_attention_heads: 4,
  qk_nope_head_dim: 16,
  qk_rope_head_dim: 8,
  v_head_dim: 16,
  q_lora_rank: 32,
  kv_lora_rank: 32,
  vocab_size: 64,
  num_hidden_layers: 2,
  first_k_dense_replace: 1,
  intermediate_size: 64,
  moe_intermediate_size: 8,
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

/** Codes and scales of a matrix whose products with a vector are about as large as that vector. */
function* matrix(name, rows, columns) {
  yield [`${name}.weight`, drawn("e4m3", [rows, columns], name, 64)];
  const shape = [Math.ceil(rows / block), Math.ceil(columns / block)];
  const around = toNumbers(drawn("f32", shape, `${name} scales`, 0.2));
  const scales = around.map((x) => Math.exp(x) / (64 * Math.sqrt(columns)));
  yield [`${name}.weight_scale_inv`, fromNumbers("f32", shape, scales)];
}

function* gain(name, length) {
  const around = toNumbers(drawn("f32", [length], name, 0.1));
  const values = around.map((x) => 1 + x);
  yield [`${name}.weight`, fromNumbers("bf16", [length], values)];
}

function* gated(at, hidden) {
  yield* matrix(`${at}.gate_proj`, hidden, config.hidden_size);
  yield* matrix(`${at}.up_proj`, hidden, config.hidden_size);
  yield* matrix(`${at}.down_proj`, config.hidden_size, hidden);
}

function* layer(at, isDense) {
  const { hidden_size: width, num_attention_heads: heads, q_lora_rank: q, kv_lora_rank: kv } = config;
  const { qk_nope_head_dim: plain, qk_rope_head_dim: turned, v_head_dim: value } = config;
  yield* gain(`${at}.input_layernorm`, width);
  yield* matrix(`${at}.self_attn.q_a_proj`, q, width);
  yield* gain(`${at}.self_attn.q_a_layernorm`, q);
  yield* matrix(`${at}.self_attn.q_b_proj`, heads * (plain + turned), q);
  yield* matrix(`${at}.self_attn.kv_a_proj_with_mqa`, kv + turned, width);
  yield* gain(`${at}.self_attn.kv_a_layernorm`, kv);
  yield* matrix(`${at}.self_attn.kv_b_proj`, heads * (plain + value), kv);
  yield* matrix(`${at}.self_attn.o_proj`, width, heads * value);
  yield* gain(`${at}.post_attention_layernorm`, width);
  if (isDense) {
    yield* gated(`${at}.mlp`, config.intermediate_size);
    return;
  }
  const { n_routed_experts: experts, n_shared_experts: shared, moe_intermediate_size: hidden } = config;
  yield [`${at}.mlp.gate.weight`, drawn("bf16", [experts, width], `${at} gate`, 1 / Math.sqrt(width))];
  yield [`${at}.mlp.gate.e_score_correction_bias`, drawn("f32", [experts], `${at} bias`, 0.05)];
  for (let e = 0; e < experts; e += 1) yield* gated(`${at}.mlp.experts.${e}`, hidden);
  yield* gated(`${at}.mlp.shared_experts`, shared * hidden);
}

function* tensors() {
  const { hidden_size: width, vocab_size: words, num_hidden_layers: layers } = config;
  yield ["model.embed_tokens.weight", drawn("bf16", [words, width], "embed", 1)];
  for (let k = 0; k < layers; k += 1) yield* layer(`model.layers.${k}`, k < config.first_k_dense_replace);
  yield* gain("model.norm", width);
  yield ["lm_head.weight", drawn("bf16", [words, width], "head", 1 / Math.sqrt(width))];
}

function drawn(dtype, shape, name, deviation) {
  return randomTensor(dtype, shape, { seed, name, deviation, low: 0, high: 1 });
}

/** Makes the folder; gives the number of its tensors. */
export async function makeCheckpoint(folder) {
  await mkdir(folder, { recursive: true });
  const all = [...tensors()];
  const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const parts = [all.slice(0, all.length / 2), all.slice(all.length / 2)];
  for (const [k, file] of files.entries()) await writeSafetensorsFile(join(folder, file), new Map(parts[k]));
  const map = Object.fromEntries(parts.flatMap((part, k) => part.map(([name]) => [name, files[k]])));
  const json = (value) => `${JSON.stringify(value, undefined, 2)}\n`;
  await writeFile(join(folder, "model.safetensors.index.json"), json({ weight_map: map }));
  await writeFile(join(folder, "config.json"), json(config));
  return all.length;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const folder = process.argv[2] ?? checkpointFolder;
  console.log(`${await makeCheckpoint(folder)} tensors in ${folder}`);
}
