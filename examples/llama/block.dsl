/// A Llama-style decoder block: rmsnorm, rotary positions, attention whose G query heads share a key/value head,
/// and a gated MLP, each added to the stream it read.
import std.nn { rmsnorm, softmax, swiglu }
import std.rope { rope }

dim B, S, T            // batch, positions, positions seen as keys
dim Dm, Hkv, G, Dh, F  // width, key/value heads, query heads of each, head width, MLP width

module Block<W: weight> {
  param g_attn: f32[Dm]
  param w_q:    W[Hkv, G, Dh, Dm]
  param w_k:    W[Hkv, Dh, Dm]
  param w_v:    W[Hkv, Dh, Dm]
  param w_o:    W[Dm, Hkv, G, Dh]
  param g_mlp:  f32[Dm]
  param w_gate: W[F, Dm]
  param w_up:   W[F, Dm]
  param w_down: W[Dm, F]

  /// x: the normalised stream; pos: the position of each token.
  fn attention(x: bf16[B, S, Dm], pos: i32[B, S]) -> bf16[B, S, Dm] {
    let q: bf16[B, S, Hkv, G, Dh] = for b, s, h, g, d: sum[m](x[b, s, m] * w_q[h, g, d, m])
    let k: bf16[B, S, Hkv, Dh] = for b, s, h, d: sum[m](x[b, s, m] * w_k[h, d, m])
    let v: bf16[B, S, Hkv, Dh] = for b, s, h, d: sum[m](x[b, s, m] * w_v[h, d, m])
    let turned = rope(q, pos)
    let keys = rope(k, pos)[S as T]
    let values = v[S as T]
    let pos_k = pos[S as T]
    let keep = for b, s, t: pos_k[b, t] <= pos[b, s]
    let score = for b, s, h, g, t: rsqrt(Dh) * sum[d](turned[b, s, h, g, d] * keys[b, t, h, d])
    let p = softmax[T](score where keep)
    let o: bf16[B, S, Hkv, G, Dh] = for b, s, h, g, d: sum[t](p[b, s, h, g, t] * values[b, t, h, d])
    for b, s, m: sum[h, g, d](o[b, s, h, g, d] * w_o[m, h, g, d])
  }

  fn gated(x: bf16[B, S, Dm]) -> bf16[B, S, F] {
    let gate = for b, s, f: sum[m](x[b, s, m] * w_gate[f, m])
    let up = for b, s, f: sum[m](x[b, s, m] * w_up[f, m])
    swiglu(gate, up)
  }

  fn mlp(x: bf16[B, S, Dm]) -> bf16[B, S, Dm] {
    let h = gated(x)
    for b, s, m: sum[f](h[b, s, f] * w_down[m, f])
  }

  fn forward(x: bf16[B, S, Dm], pos: i32[B, S]) -> bf16[B, S, Dm] {
    let y: bf16[B, S, Dm] = x + attention(rmsnorm(x, g_attn), pos)
    y + mlp(rmsnorm(y, g_mlp))
  }
}
