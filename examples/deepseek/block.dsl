/// Layers of DeepSeek-V3: multi-head latent attention and a gated MLP or experts, each after a norm and added to the
/// stream that it read. Params have the names that `layerWeights` of weft/runtime gives a checkpoint's tensors.
import std.attention.mla { Mla }
import std.cache { Paged }
import std.nn { rmsnorm, swiglu }

dim B, S, T, N          // sequences, positions of a step, longest sequence, tokens
dim Dm, H, Dn, Dr, Dv   // as in std.attention.mla
dim Cq, Ck, P           // as there
dim F, Fe, Fs           // hidden widths: of a dense MLP, of an expert, of what all tokens pass
dim E where E % G == 0  // experts
dim G, Kg, K            // their groups, groups that a token may choose from, experts of a token
dim R[E]                // rows that an expert gets

module Dense<W: weight> {
  param w_gate: W[F, Dm]
  param w_up:   W[F, Dm]
  param w_down: W[Dm, F]

  fn forward(x: bf16[N, Dm]) -> bf16[N, Dm] {
    let h: bf16[N, F] = swiglu(
      for n, f: sum[m](x[n, m] * w_gate[f, m]),
      for n, f: sum[m](x[n, m] * w_up[f, m]),
    )
    for n, m: sum[f](h[n, f] * w_down[m, f])
  }
}

module Experts<W: weight> {
  param w_route: f32[E, Dm]
  /// Moves what is chosen, never the weights.
  param bias:        f32[E]
  param route_scale: f32
  param w_gate:      W[E, Fe, Dm]
  param w_up:        W[E, Fe, Dm]
  param w_down:      W[E, Dm, Fe]
  param shared_gate: W[Fs, Dm]
  param shared_up:   W[Fs, Dm]
  param shared_down: W[Dm, Fs]

  /// Of the Kg groups whose two best experts score highest, the K best experts. Weights sum to `route_scale`.
  fn route(x: bf16[N, Dm]) -> (index: i32[N, K], weight: f32[N, K]) {
    let s = for n, e: sigmoid(sum[m](f32(x[n, m]) * w_route[e, m]))
    let biased = (for n, e: s[n, e] + bias[e]) as [N, G, E / G]
    let best = topk[E / G, 2](biased).values
    let group = for n, g: sum[j](best[n, g, j])
    let kept = topk[G, Kg](group).mask
    let chosen = topk[E, K]((for n, g, j: select(kept[n, g], biased[n, g, j], -inf)) as [N, E])
    let w = for n, k: s[n, chosen.index[n, k]]
    let total = for n: sum[k](w[n, k])
    (index: chosen.index, weight: for n, k: route_scale * w[n, k] / total[n])
  }

  /// Tokens that are not `live` pass no expert.
  fn forward(x: bf16[N, Dm], live: bool[N]) -> bf16[N, Dm] {
    let r = route(x)
    let (rows, plan) = dispatch[E](x, for n, k: select(live[n], r.index[n, k], -1))
    let h: bf16[E, R[E], Fe] = for e, t, f:
      silu(sum[m](rows[e, t, m] * w_gate[e, f, m])) * sum[m](rows[e, t, m] * w_up[e, f, m])
    let y: bf16[E, R[E], Dm] = for e, t, m: sum[f](h[e, t, f] * w_down[e, m, f])
    let routed = combine(y, plan, r.weight)
    let own: bf16[N, Fs] = swiglu(
      for n, f: sum[m](x[n, m] * shared_gate[f, m]),
      for n, f: sum[m](x[n, m] * shared_up[f, m]),
    )
    for n, m: routed[n, m] + sum[f](own[n, f] * shared_down[m, f])
  }
}

/// A layer without experts.
module DenseLayer<W: weight> {
  param g_attn: f32[Dm]
  param attn:   Mla<W>
  param g_mlp:  f32[Dm]
  param mlp:    Dense<W>

  fn after(y: bf16[B, S, Dm]) -> bf16[B, S, Dm] {
    y + (mlp.forward(rmsnorm(y, g_mlp) as [B * S, Dm]) as [B, S, Dm])
  }

  /// Training and prefill from nothing; see `Mla.forward`.
  fn forward(x: bf16[B, S, Dm], pos: i32[B, S], keep: bool[B, S, S]) -> bf16[B, S, Dm] {
    after(x + attn.forward(rmsnorm(x, g_attn), pos, keep))
  }

  /// count[b] rows of x continue sequence b in the cache; pos is -1 for others. See `Mla.step`.
  fn step(
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    mut kv: Paged<bf16, P>[B, T, Ck + Dr],
  ) -> bf16[B, S, Dm] {
    let a = attn.step(rmsnorm(x, g_attn), pos, count, kv)
    after(x + a)
  }
}

/// A layer with experts.
module ExpertLayer<W: weight> {
  param g_attn: f32[Dm]
  param attn:   Mla<W>
  param g_mlp:  f32[Dm]
  param mlp:    Experts<W>

  fn after(y: bf16[B, S, Dm], pos: i32[B, S]) -> bf16[B, S, Dm] {
    let live = (for b, s: pos[b, s] >= 0) as [B * S]
    y + (mlp.forward(rmsnorm(y, g_mlp) as [B * S, Dm], live) as [B, S, Dm])
  }

  fn forward(x: bf16[B, S, Dm], pos: i32[B, S], keep: bool[B, S, S]) -> bf16[B, S, Dm] {
    after(x + attn.forward(rmsnorm(x, g_attn), pos, keep), pos)
  }

  fn step(
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    mut kv: Paged<bf16, P>[B, T, Ck + Dr],
  ) -> bf16[B, S, Dm] {
    let a = attn.step(rmsnorm(x, g_attn), pos, count, kv)
    after(x + a, pos)
  }
}
