/// A layer of attention whose key/value heads are shared by G query heads each: Hkv = 1 is MQA, G = 1 is MHA, anything
/// between is GQA. Weights lie as checkpoints have them, [out, in] with the heads' rows one after the other; rotary
/// pairs are neighbours, as everywhere in std.rope.
import std.attention.heads { attend }
import std.rope { turn }
import std.cache { Paged }

dim B, S, T             // batch, query positions, key positions
dim Dm, Hkv, G, Dv      // width, key/value heads, query heads of each, width of a value
dim D where D % 2 == 0  // width of a query and a key
dim P                   // rows of a cache's page

module Gqa<W: weight> {
  param w_q: W[Hkv * G * D, Dm]
  param w_k: W[Hkv * D, Dm]
  param w_v: W[Hkv * Dv, Dm]
  param w_o: W[Dm, Hkv * G * Dv]
  /// Of each pair; `yarn_frequencies` of std.rope with a factor of 1 gives theta^(-2i / D).
  param freq: f32[D / 2]

  fn query(x: bf16[B, S, Dm], pos: i32[B, S]) -> bf16[B, S, Hkv, G, D] {
    let q: bf16[B, S, Hkv * G * D] = for b, s, a: sum[m](x[b, s, m] * w_q[a, m])
    turn(q as [B, S, Hkv, G, D], pos, freq)
  }

  fn keys(x: bf16[B, S, Dm], pos: i32[B, S]) -> bf16[B, S, Hkv, D] {
    let k: bf16[B, S, Hkv * D] = for b, s, a: sum[m](x[b, s, m] * w_k[a, m])
    turn(k as [B, S, Hkv, D], pos, freq)
  }

  fn values(x: bf16[B, S, Dm]) -> bf16[B, S, Hkv * Dv] { for b, s, a: sum[m](x[b, s, m] * w_v[a, m]) }

  fn output(o: bf16[B, S, Hkv, G, Dv]) -> bf16[B, S, Dm] {
    let all = o as [B, S, Hkv * G * Dv]
    for b, s, m: sum[a](all[b, s, a] * w_o[m, a])
  }

  /// Training and prefill from nothing: the tokens of x are the keys, of which `keep` says who sees which.
  fn forward(x: bf16[B, S, Dm], pos: i32[B, S], keep: bool[B, S, S]) -> bf16[B, S, Dm] {
    output(attend(query(x, pos), keys(x, pos), values(x) as [B, S, Hkv, Dv], keep))
  }

  /// Prefill, whole or in chunks, and decode: count[b] rows of x continue sequence b in the cache, whose rows are the
  /// keys of all heads and then the values. `pos` is -1 for the rows that are not counted; what comes of them means
  /// nothing. A query sees the last `window` keys.
  fn step(
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    window: i32,
    mut kv: Paged<bf16, P>[B, T, Hkv * D + Hkv * Dv],
  ) -> bf16[B, S, Dm] {
    kv.append(join[Hkv * D + Hkv * Dv](keys(x, pos) as [B, S, Hkv * D], values(x)), count)
    let (k, v) = split[Hkv * D | Hkv * Dv](kv.read())
    let seen = kv.visible(pos)
    let keep = for b, s, t: seen[b, s, t] and pos[b, s] - t < window
    output(attend(query(x, pos), k as [B, T, Hkv, D], v as [B, T, Hkv, Dv], keep))
  }
}
