/**
 * The tensors of a DeepSeek-V2 or V3 checkpoint under the names of a program's params.
 *
 * Attention has the params of `Mla` or `MlaDirect` of std.attention.mla, as `W`; a layer has `attn` of these, `g_attn` and
 * `g_mlp`, the gains before each half, and `mlp.w_gate`, `w_up`, `w_down`: of all experts one after the other where it
 * has experts, beside `mlp.shared_gate`, `shared_up`, `shared_down`, `mlp.w_route`, `mlp.bias` and `mlp.route_scale`.
 *
 * Matrices stay as they are stored: with the checkpoint's blocks of scales (`weight_scale_inv`) they are codes, and
 * their scales under the same name with `.scale`. Blocks count rows from a matrix's first, whatever heads it has.
 */
import { SafetensorsError } from "../safetensors/header.ts";
import { tensorOf, typeText, type HostTensor } from "../tensor/tensor.ts";
import { fromNumbers, toNumbers } from "../tensor/values.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { DeepseekConfig } from "./deepseek-config.ts";

export type Tensors = ReadonlyMap<string, HostTensor>;

interface Matrix {
  readonly param: string;
  /** Of the checkpoint's, after the layer's own prefix. */
  readonly tensor: string;
  readonly rows: number;
  readonly columns: number;
}

interface Gain {
  readonly param: string;
  readonly tensor: string;
  readonly length: number;
}

/** Weights of layer `layer`'s attention. Throws `SafetensorsError` for a tensor that is not there or of another shape. */
export async function attentionWeights(
  checkpoint: Checkpoint,
  config: DeepseekConfig,
  layer: number,
): Promise<Tensors> {
  const { Dm, H, Dn, Dr, Dv, Cq, Ck } = config.attention;
  const at = `model.layers.${layer}.self_attn.`;
  const matrix = (param: string, tensor: string, rows: number, columns: number): Matrix => ({
    param,
    tensor: at + tensor,
    rows,
    columns,
  });
  const gain = (param: string, tensor: string, length: number): Gain => ({
    param,
    tensor: at + tensor,
    length,
  });
  const heads = H * (Dn + Dr);
  const queries =
    Cq === undefined
      ? [matrix("w_q", "q_proj", heads, Dm)]
      : [matrix("w_dq", "q_a_proj", Cq, Dm), matrix("w_uq", "q_b_proj", heads, Cq)];
  const matrices = [
    ...queries,
    matrix("latent.w_dkv", "kv_a_proj_with_mqa", Ck + Dr, Dm),
    matrix("latent.w_ukv", "kv_b_proj", H * (Dn + Dv), Ck),
    matrix("latent.w_o", "o_proj", Dm, H * Dv),
  ];
  const gains = [
    ...(Cq === undefined ? [] : [gain("g_q", "q_a_layernorm", Cq)]),
    gain("latent.g_kv", "kv_a_layernorm", Ck),
  ];
  return new Map([
    ...(await matricesOf(checkpoint, config, matrices)),
    ...(await gainsOf(checkpoint, gains)),
    ["latent.freq", fromNumbers("f32", [Dr / 2], config.frequencies)],
    ["latent.stretch", fromNumbers("f32", [], [config.stretch])],
  ]);
}

/** Weights of layer `layer`, attention and what follows it. Throws like `attentionWeights`. */
export async function layerWeights(
  checkpoint: Checkpoint,
  config: DeepseekConfig,
  layer: number,
): Promise<Tensors> {
  const { Dm } = config.attention;
  const at = `model.layers.${layer}.`;
  const attention = await attentionWeights(checkpoint, config, layer);
  const gains = await gainsOf(checkpoint, [
    { param: "g_attn", tensor: `${at}input_layernorm`, length: Dm },
    { param: "g_mlp", tensor: `${at}post_attention_layernorm`, length: Dm },
  ]);
  const rest =
    layer < config.denseLayers
      ? await matricesOf(checkpoint, config, gated(Dm, config.hidden, "w_", `${at}mlp.`))
      : await expertsOf(checkpoint, config, `${at}mlp.`);
  return new Map([
    ...[...attention].map(([name, tensor]): [string, HostTensor] => [`attn.${name}`, tensor]),
    ...gains,
    ...[...rest].map(([name, tensor]): [string, HostTensor] => [`mlp.${name}`, tensor]),
  ]);
}

/** `embed` and `head`, [vocabulary, Dm] as stored, and `g_out`. Throws like `attentionWeights`. */
export async function outerWeights(checkpoint: Checkpoint, config: DeepseekConfig): Promise<Tensors> {
  const { Dm } = config.attention;
  const shape = [config.vocabulary, Dm];
  return new Map([
    ["embed", await readShaped(checkpoint, "model.embed_tokens.weight", shape)],
    ["head", await readShaped(checkpoint, "lm_head.weight", shape)],
    ...(await gainsOf(checkpoint, [{ param: "g_out", tensor: "model.norm", length: Dm }])),
  ]);
}

function gated(Dm: number, hidden: number, param: string, at: string): readonly Matrix[] {
  return [
    { param: `${param}gate`, tensor: `${at}gate_proj`, rows: hidden, columns: Dm },
    { param: `${param}up`, tensor: `${at}up_proj`, rows: hidden, columns: Dm },
    { param: `${param}down`, tensor: `${at}down_proj`, rows: Dm, columns: hidden },
  ];
}

async function expertsOf(checkpoint: Checkpoint, config: DeepseekConfig, at: string): Promise<Tensors> {
  const { experts } = config;
  if (experts === undefined) throw new SafetensorsError("the configuration has no experts");
  const { Dm } = config.attention;
  const each: Tensors[] = [];
  for (let e = 0; e < experts.routed; e += 1)
    each.push(await matricesOf(checkpoint, config, gated(Dm, experts.hidden, "w_", `${at}experts.${e}.`)));
  const [first] = each;
  const all = [...(first ?? [])].map(([name]): [string, HostTensor] => [
    name,
    stacked(each.flatMap((tensors) => tensors.get(name) ?? [])),
  ]);
  const shared = gated(Dm, experts.hidden * experts.shared, "shared_", `${at}shared_experts.`);
  const bias = `${at}gate.e_score_correction_bias`;
  return new Map([
    ...all,
    ...(experts.shared === 0 ? [] : await matricesOf(checkpoint, config, shared)),
    ["route_scale", fromNumbers("f32", [], [experts.routeScale])],
    ["w_route", toF32(await readShaped(checkpoint, `${at}gate.weight`, [experts.routed, Dm]))],
    [
      "bias",
      checkpoint.has(bias)
        ? toF32(await readShaped(checkpoint, bias, [experts.routed]))
        : fromNumbers("f32", [experts.routed], new Float64Array(experts.routed)),
    ],
  ]);
}

async function matricesOf(
  checkpoint: Checkpoint,
  { weights: { dtype, block } }: DeepseekConfig,
  matrices: readonly Matrix[],
): Promise<Tensors> {
  const out = new Map<string, HostTensor>();
  for (const { param, tensor, rows, columns } of matrices) {
    const codes = await readShaped(checkpoint, `${tensor}.weight`, [rows, columns]);
    if (codes.dtype !== dtype)
      throw new SafetensorsError(`${tensor}.weight is ${typeText(codes)}, and config.json says ${dtype}`);
    out.set(param, codes);
    if (block === undefined) continue;
    const scales = [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])];
    const scale = await readShaped(checkpoint, `${tensor}.weight_scale_inv`, scales);
    if (scale.dtype !== "f32")
      throw new SafetensorsError(`${tensor}.weight_scale_inv is ${typeText(scale)}, and scales are f32`);
    out.set(`${param}.scale`, scale);
  }
  return out;
}

async function gainsOf(checkpoint: Checkpoint, gains: readonly Gain[]): Promise<Tensors> {
  const out = new Map<string, HostTensor>();
  for (const { param, tensor, length } of gains)
    out.set(param, toF32(await readShaped(checkpoint, `${tensor}.weight`, [length])));
  return out;
}

async function readShaped(
  checkpoint: Checkpoint,
  name: string,
  shape: readonly number[],
): Promise<HostTensor> {
  const tensor = await checkpoint.read(name);
  if (tensor.shape.join() !== shape.join())
    throw new SafetensorsError(
      `${name} is ${typeText(tensor)}, and config.json makes it [${shape.join(", ")}]`,
    );
  return tensor;
}

function toF32(tensor: HostTensor): HostTensor {
  return tensor.dtype === "f32" ? tensor : fromNumbers("f32", tensor.shape, toNumbers(tensor));
}

/** Tensors of one type, one behind the other along a new first axis. */
function stacked(tensors: readonly HostTensor[]): HostTensor {
  const [first] = tensors;
  if (first === undefined) throw new SafetensorsError("there are no experts to put together");
  const bytes = new Uint8Array(tensors.length * first.bytes.length);
  tensors.forEach((tensor, k) => bytes.set(tensor.bytes, k * first.bytes.length));
  return tensorOf(first.dtype, [tensors.length, ...first.shape], bytes);
}
