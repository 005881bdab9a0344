/// A small model of DeepSeek-V3's form: one layer without experts and one with, each with a paged cache of its own.
import "./block.dsl" { DenseLayer, ExpertLayer }
import std.cache { Paged }
import std.nn { rmsnorm }

dim B, S, T, V, Dm, H, Dn, Dr, Dv, Cq, Ck, P, F, Fe, Fs, E, G, Kg, K

module Model<W: weight> {
  param embed:  bf16[V, Dm]
  param layer0: DenseLayer<W>
  param layer1: ExpertLayer<W>
  param g_out:  f32[Dm]
  param head:   bf16[V, Dm]
  state kv0: Paged<bf16, P>[B, T, Ck + Dr]
  state kv1: Paged<bf16, P>[B, T, Ck + Dr]

  /// Prefill, whole or in chunks, and decode: count[b] tokens continue sequence b, at positions `pos`, -1 for rows of
  /// `ids` that are not counted. Gives the logits after each sequence's last token, and the likeliest next one.
  fn step(ids: i64[B, S], pos: i32[B, S], count: i32[B]) -> (next: i32[B], logits: f32[B, V]) {
    let x: bf16[B, S, Dm] = for b, s, m: embed[ids[b, s], m]
    let x1 = layer0.step(x, pos, count, kv0)
    let y = layer1.step(x1, pos, count, kv1)
    let last: bf16[B, Dm] = for b, m: y[b, max(count[b] - 1, 0), m]
    let z = rmsnorm(last, g_out)
    let logits: f32[B, V] = for b, v: sum[m](z[b, m] * head[v, m])
    (next: for b: argmax[v](logits[b, v]), logits: logits)
  }
}
