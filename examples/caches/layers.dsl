/// Layers of attention that hold their cache: what `weft report kv` tells the sizes of.
import std.attention.gqa { Gqa }
import std.attention.mla { Mla }
import std.cache { Paged }

dim B, S, T                               // batch, query positions, key positions
dim Dm, Hkv, G, D, Dv, H, Dn, Dr, Cq, Ck  // as in std.attention

/// Hkv heads of keys and values, each of G query heads: G = 1 is MHA, Hkv = 1 is MQA.
module Shared<W: weight> {
  param layer: Gqa<W>
  state kv: Paged<bf16, 64>[B, T, Hkv * D + Hkv * Dv]

  fn step(x: bf16[B, S, Dm], pos: i32[B, S], count: i32[B], window: i32) -> bf16[B, S, Dm] {
    layer.step(x, pos, count, window, kv)
  }
}

module Latent<W: weight> {
  param layer: Mla<W>
  state kv: Paged<bf16, 64>[B, T, Ck + Dr]

  fn step(x: bf16[B, S, Dm], pos: i32[B, S], count: i32[B]) -> bf16[B, S, Dm] {
    layer.step(x, pos, count, kv)
  }
}

/// The latent in 8 bits, a scale for each 128 numbers; positions in bf16.
module Latent8<W: weight> {
  param layer: Mla<W>
  state kv: Paged<e4m3 @ (128), bf16, 64>[B, T, Ck, Dr]

  fn step(x: bf16[B, S, Dm], pos: i32[B, S], count: i32[B]) -> bf16[B, S, Dm] {
    layer.step8(x, pos, count, kv)
  }
}
