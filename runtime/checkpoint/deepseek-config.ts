/**
 * The configuration of DeepSeek-V2 and V3 models (`config.json` as published), in the words of std.attention.mla.
 *
 * Of YaRN: the frequencies of Peng et al., arXiv:2309.00071, with the constants of the configuration, and what scores
 * are multiplied by beside 1 / sqrt(Dn + Dr), mscale^2.
 */
import type { DType } from "../../compiler/types/dtype.ts";
import { SafetensorsError } from "../safetensors/header.ts";
import { fieldsOf, type Fields } from "./checkpoint.ts";

export interface DeepseekConfig {
  /** Sizes of `Mla`, or of `MlaDirect` where there is no Cq. */
  readonly attention: {
    readonly Dm: number;
    readonly H: number;
    readonly Dn: number;
    readonly Dr: number;
    readonly Dv: number;
    readonly Ck: number;
    readonly Cq?: number;
  };
  readonly vocabulary: number;
  readonly layers: number;
  /** Layers from 0 that have no experts. */
  readonly denseLayers: number;
  /** Hidden width of a layer without experts. */
  readonly hidden: number;
  /** Undefined for a model without experts. */
  readonly experts: ExpertsConfig | undefined;
  /** Of each pair of the Dr numbers: radians by which a position turns it. */
  readonly frequencies: readonly number[];
  /** What scores are multiplied by beside 1 / sqrt(Dn + Dr). */
  readonly stretch: number;
  /** How the matrices are stored. */
  readonly weights: WeightsConfig;
}

export interface ExpertsConfig {
  readonly routed: number;
  readonly shared: number;
  readonly perToken: number;
  readonly groups: number;
  readonly keptGroups: number;
  /** Hidden width of one. */
  readonly hidden: number;
  readonly scoring: "sigmoid" | "softmax";
  readonly routeScale: number;
}

export interface WeightsConfig {
  readonly dtype: DType;
  /** Rows and columns that share a scale; undefined where there are no scales. */
  readonly block: readonly [number, number] | undefined;
}

/** Throws `SafetensorsError` for what is missing, and for what std.attention.mla does not compute. */
export function deepseekConfig(config: Fields): DeepseekConfig {
  const count = (name: string): number => countIn(config, name);
  const ranked = config["q_lora_rank"] !== undefined && config["q_lora_rank"] !== null;
  const Dr = count("qk_rope_head_dim");
  const eps = config["rms_norm_eps"];
  if (eps !== 1e-6)
    throw new SafetensorsError(`rms_norm_eps is ${text(eps)}, and rmsnorm is computed with 1e-6`);
  if (config["attention_bias"] === true) throw new SafetensorsError("attention_bias: Mla has no biases");
  return {
    attention: {
      Dm: count("hidden_size"),
      H: count("num_attention_heads"),
      Dn: count("qk_nope_head_dim"),
      Dr,
      Dv: count("v_head_dim"),
      Ck: count("kv_lora_rank"),
      ...(ranked ? { Cq: count("q_lora_rank") } : {}),
    },
    vocabulary: count("vocab_size"),
    layers: count("num_hidden_layers"),
    denseLayers: config["n_routed_experts"]
      ? countIn(config, "first_k_dense_replace", 0)
      : count("num_hidden_layers"),
    hidden: count("intermediate_size"),
    experts: config["n_routed_experts"] ? expertsOf(config) : undefined,
    ...positionsOf(config, Dr),
    weights: weightsOf(config),
  };
}

function expertsOf(config: Fields): ExpertsConfig {
  const scoring = config["scoring_func"];
  if (scoring !== "sigmoid" && scoring !== "softmax")
    throw new SafetensorsError(`scoring_func is ${text(scoring)}, neither sigmoid nor softmax`);
  const routeScale = numberIn(config, "routed_scaling_factor");
  return {
    routed: countIn(config, "n_routed_experts"),
    shared: countIn(config, "n_shared_experts", 0),
    perToken: countIn(config, "num_experts_per_tok"),
    groups: countIn(config, "n_group"),
    keptGroups: countIn(config, "topk_group"),
    hidden: countIn(config, "moe_intermediate_size"),
    scoring,
    routeScale,
  };
}

function weightsOf(config: Fields): WeightsConfig {
  const quantized = config["quantization_config"];
  if (quantized === undefined || quantized === null) {
    const dtype = { bfloat16: "bf16", float16: "f16", float32: "f32" }[String(config["torch_dtype"])];
    if (dtype !== "bf16" && dtype !== "f16" && dtype !== "f32")
      throw new SafetensorsError(`torch_dtype is ${text(config["torch_dtype"])}`);
    return { dtype, block: undefined };
  }
  const fields = fieldsOf(quantized) ?? {};
  const blocks: unknown = fields["weight_block_size"];
  const [rows, columns]: readonly unknown[] = Array.isArray(blocks) ? blocks : [];
  if (fields["quant_method"] !== "fp8" || fields["fmt"] !== "e4m3" || !isCount(rows) || !isCount(columns))
    throw new SafetensorsError("quantization_config is not fp8 e4m3 with a weight_block_size of two counts");
  return { dtype: "e4m3", block: [rows, columns] };
}

function positionsOf(config: Fields, width: number): Pick<DeepseekConfig, "frequencies" | "stretch"> {
  const theta = numberIn(config, "rope_theta");
  const plain = Array.from({ length: width / 2 }, (_, i) => theta ** ((-2 * i) / width));
  const scaling = fieldsOf(config["rope_scaling"]);
  if (scaling === undefined) return { frequencies: plain, stretch: 1 };
  if (scaling["type"] !== "yarn" && scaling["rope_type"] !== "yarn")
    throw new SafetensorsError(
      `rope_scaling is of type ${text(scaling["type"] ?? scaling["rope_type"])}, not yarn`,
    );
  const factor = numberIn(scaling, "factor");
  const original = numberIn(scaling, "original_max_position_embeddings");
  const [all, own] = [numberIn(scaling, "mscale_all_dim", 0), numberIn(scaling, "mscale", 1)];
  // The published code multiplies rotated parts by the quotient of the two: with them equal it is 1.
  if (mscale(factor, own) !== mscale(factor, all))
    throw new SafetensorsError(`rope_scaling: mscale ${own} and mscale_all_dim ${all} differ`);
  const pairAt = (rotations: number): number =>
    (width * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(0, Math.floor(pairAt(numberIn(scaling, "beta_fast", 32))));
  const high = Math.min(width - 1, Math.ceil(pairAt(numberIn(scaling, "beta_slow", 1))));
  const frequencies = plain.map((frequency, i) => {
    const slow = Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
    return (frequency / factor) * slow + frequency * (1 - slow);
  });
  return { frequencies, stretch: mscale(factor, all) ** 2 };
}

function mscale(factor: number, coefficient: number): number {
  return factor <= 1 ? 1 : 0.1 * coefficient * Math.log(factor) + 1;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

function countIn(fields: Fields, name: string, otherwise?: number): number {
  const value = fields[name] ?? otherwise;
  if (isCount(value) || (value === 0 && otherwise === 0)) return value;
  throw new SafetensorsError(`config.json: ${name} is ${text(value)}, and a count is expected`);
}

function numberIn(fields: Fields, name: string, otherwise?: number): number {
  const value = fields[name] ?? otherwise;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new SafetensorsError(`config.json: ${name} is ${text(value)}, and a number is expected`);
}

function text(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}
