/// Multi-head latent attention (DeepSeek-V2 and V3): a token's keys and values are made of Ck numbers that all heads
/// share, beside Dr more that hold the position, and these Ck + Dr are what a cache keeps.
///
/// Weights lie as checkpoints have them, [out, in] with the heads' rows one after the other, so that their scales'
/// blocks may straddle heads.
import std.nn { rmsnorm, softmax }
import std.rope { turn }
import std.cache { Paged }

dim B, S, T               // batch, query positions, key positions
dim Dm, H, Dn, Dv         // width, heads, width of a head's key without position, of its value
dim Dr where Dr % 2 == 0  // width of the part that holds the position
dim Cq, Ck                // ranks of the queries' latent, and of the keys' and values'
dim P                     // rows of a cache's page

/// Scores are scale * (qn k + qr r), with k and v made of the latent by w_ukv.
///
///     qn: [B, S, H, Dn]    qr: [B, S, H, Dr]    c: [B, T, Ck]    r: [B, T, Dr]    keep: [B, S, T]
fn attend<W: weight>(
  qn: bf16[B, S, H, Dn],
  qr: bf16[B, S, H, Dr],
  c: bf16[B, T, Ck],
  r: bf16[B, T, Dr],
  w_ukv: W[H * (Dn + Dv), Ck],
  keep: bool[B, S, T],
) -> bf16[B, S, H, Dv] {
  let (w_uk, w_uv) = split[Dn | Dv](w_ukv as [H, Dn + Dv, Ck])
  let k: bf16[B, T, H, Dn] = for b, t, h, n: sum[l](c[b, t, l] * w_uk[h, n, l])
  let v: bf16[B, T, H, Dv] = for b, t, h, d: sum[l](c[b, t, l] * w_uv[h, d, l])
  let score = for b, s, h, t:
    rsqrt(Dn + Dr) * (sum[n](qn[b, s, h, n] * k[b, t, h, n]) + sum[e](qr[b, s, h, e] * r[b, t, e]))
  let p = softmax[T](score where keep)
  for b, s, h, d: sum[t](p[b, s, h, t] * v[b, t, h, d])
}

/// The same with the keys' half of w_ukv folded into the query and the values' half applied after the sum over keys:
/// no key and no value is made.
derive absorbed from attend by reassociate { w_ukv into qn, w_ukv after p }

/// The one of the two that takes less work at the sizes compiled for: expanded keys where many queries share them, the
/// absorbed form where few do.
derive attended from attend by cheaper { w_ukv into qn, w_ukv after p }

/// What follows the queries: latent, cache, attention and output.
module Latent<W: weight> {
  param w_dkv: W[Ck + Dr, Dm]
  param g_kv:  f32[Ck]
  param w_ukv: W[H * (Dn + Dv), Ck]
  param w_o:   W[Dm, H * Dv]
  /// Of each pair; `yarn_frequencies` of std.rope.
  param freq: f32[Dr / 2]
  /// What scores are multiplied by beside 1 / sqrt(Dn + Dr): mscale^2 of YaRN, 1 where nothing is stretched.
  param stretch: f32

  /// What a cache keeps of each token.
  fn latent(x: bf16[B, S, Dm], pos: i32[B, S]) -> (c: bf16[B, S, Ck], r: bf16[B, S, Dr]) {
    let z = for b, s, o: sum[m](x[b, s, m] * w_dkv[o, m])
    let (c, r) = split[Ck | Dr](z)
    (c: rmsnorm(c, g_kv), r: turn(r, pos, freq))
  }

  /// Queries of all heads in their two parts.
  fn parts(q: bf16[B, S, H * (Dn + Dr)], pos: i32[B, S]) -> (n: bf16[B, S, H, Dn], r: bf16[B, S, H, Dr]) {
    let (n, r) = split[Dn | Dr](q as [B, S, H, Dn + Dr])
    (n: for b, s, h, d: stretch * n[b, s, h, d], r: turn(for b, s, h, d: stretch * r[b, s, h, d], pos, freq))
  }

  fn output(o: bf16[B, S, H, Dv]) -> bf16[B, S, Dm] {
    let all = o as [B, S, H * Dv]
    for b, s, m: sum[a](all[b, s, a] * w_o[m, a])
  }

  /// Training and prefill from nothing: the tokens of x are the keys, of which `keep` says who sees which.
  fn forward(
    q: bf16[B, S, H * (Dn + Dr)],
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    keep: bool[B, S, S],
  ) -> bf16[B, S, Dm] {
    let own = parts(q, pos)
    let kv = latent(x, pos)
    output(attend(own.n, own.r, kv.c, kv.r, w_ukv, keep))
  }

  /// Prefill, whole or in chunks, and decode: count[b] rows of x continue sequence b in the cache. `pos` is -1 for the
  /// rows that are not counted; what comes of them means nothing.
  fn step(
    q: bf16[B, S, H * (Dn + Dr)],
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    mut kv: Paged<bf16, P>[B, T, Ck + Dr],
  ) -> bf16[B, S, Dm] {
    let own = parts(q, pos)
    let new = latent(x, pos)
    kv.append(join[Ck + Dr](new.c, new.r), count)
    let (c, r) = split[Ck | Dr](kv.read())
    output(attended(own.n, own.r, c, r, w_ukv, kv.visible(pos)))
  }

  /// The same with a latent of 8 bits in the cache, scaled by 128 numbers, beside positions in bf16.
  fn step8(
    q: bf16[B, S, H * (Dn + Dr)],
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    mut kv: Paged<e4m3 @ (128), bf16, P>[B, T, Ck, Dr],
  ) -> bf16[B, S, Dm] {
    let own = parts(q, pos)
    let new = latent(x, pos)
    kv.append(new.c, new.r, count)
    let (c, r) = kv.read()
    output(attended(own.n, own.r, bf16(dequantize(c)), r, w_ukv, kv.visible(pos)))
  }
}

/// Queries through a latent of their own.
module Mla<W: weight> {
  param w_dq:   W[Cq, Dm]
  param g_q:    f32[Cq]
  param w_uq:   W[H * (Dn + Dr), Cq]
  param latent: Latent<W>

  fn query(x: bf16[B, S, Dm]) -> bf16[B, S, H * (Dn + Dr)] {
    let z: bf16[B, S, Cq] = rmsnorm(for b, s, l: sum[m](x[b, s, m] * w_dq[l, m]), g_q)
    for b, s, a: sum[l](z[b, s, l] * w_uq[a, l])
  }

  fn forward(x: bf16[B, S, Dm], pos: i32[B, S], keep: bool[B, S, S]) -> bf16[B, S, Dm] {
    latent.forward(query(x), x, pos, keep)
  }

  fn step(
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    mut kv: Paged<bf16, P>[B, T, Ck + Dr],
  ) -> bf16[B, S, Dm] {
    latent.step(query(x), x, pos, count, kv)
  }

  fn step8(
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    mut kv: Paged<e4m3 @ (128), bf16, P>[B, T, Ck, Dr],
  ) -> bf16[B, S, Dm] {
    latent.step8(query(x), x, pos, count, kv)
  }
}

/// Queries without one (the 16B model).
module MlaDirect<W: weight> {
  param w_q:    W[H * (Dn + Dr), Dm]
  param latent: Latent<W>

  fn query(x: bf16[B, S, Dm]) -> bf16[B, S, H * (Dn + Dr)] { for b, s, a: sum[m](x[b, s, m] * w_q[a, m]) }

  fn forward(x: bf16[B, S, Dm], pos: i32[B, S], keep: bool[B, S, S]) -> bf16[B, S, Dm] {
    latent.forward(query(x), x, pos, keep)
  }

  fn step(
    x: bf16[B, S, Dm],
    pos: i32[B, S],
    count: i32[B],
    mut kv: Paged<bf16, P>[B, T, Ck + Dr],
  ) -> bf16[B, S, Dm] {
    latent.step(query(x), x, pos, count, kv)
  }
}
