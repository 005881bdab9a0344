/// Attention of a few queries on a paged cache: the cores of multi-head latent attention in its absorbed form and of
/// grouped heads, whose rows of the cache have all keys and then all values.
import std.nn { softmax }
import std.cache { Paged }

dim B, S, T, H, Ck, Dr
dim G, R, D

/// The first Ck columns of a key are its value.
fn latent(
  q: bf16[B, S, H, Ck + Dr],
  pos: i32[B, S],
  mut kv: Paged<bf16, 64>[B, T, Ck + Dr],
) -> bf16[B, S, H, Ck] {
  let keys = kv.read()
  let (c, r) = split[Ck | Dr](keys)
  let keep = kv.visible(pos)
  let score = for b, s, h, t: rsqrt(Ck + Dr) * sum[e](q[b, s, h, e] * keys[b, t, e])
  let p = softmax[T](score where keep)
  for b, s, h, l: sum[t](p[b, s, h, t] * c[b, t, l])
}

/// The same with a latent of 8 bits, scaled by 128 numbers, beside positions in bf16.
fn coded(
  q: bf16[B, S, H, Ck + Dr],
  pos: i32[B, S],
  mut kv: Paged<e4m3 @ (128), bf16, 64>[B, T, Ck, Dr],
) -> bf16[B, S, H, Ck] {
  let (codes, r) = kv.read()
  let c = bf16(dequantize(codes))
  let (qc, qr) = split[Ck | Dr](q)
  let keep = kv.visible(pos)
  let score = for b, s, h, t:
    rsqrt(Ck + Dr) * (sum[l](qc[b, s, h, l] * c[b, t, l]) + sum[e](qr[b, s, h, e] * r[b, t, e]))
  let p = softmax[T](score where keep)
  for b, s, h, l: sum[t](p[b, s, h, t] * c[b, t, l])
}

/// G heads of keys and values, R of queries to each.
fn grouped(
  q: bf16[B, S, G, R, D],
  pos: i32[B, S],
  mut kv: Paged<bf16, 64>[B, T, G * D + G * D],
) -> bf16[B, S, G, R, D] {
  let (k, v) = split[G * D | G * D](kv.read())
  let keys = k as [B, T, G, D]
  let values = v as [B, T, G, D]
  let keep = kv.visible(pos)
  let score = for b, s, g, r, t: rsqrt(D) * sum[e](q[b, s, g, r, e] * keys[b, t, g, e])
  let p = softmax[T](score where keep)
  for b, s, g, r, e: sum[t](p[b, s, g, r, t] * values[b, t, g, e])
}
