/// Attention of a few queries on a paged cache, with its logsumexp: heads of a latent whose first Ck columns are the
/// values, and heads with keys and values of their own.
import std.nn { softmax }
import std.cache { Paged }
import std.attention.heads { scores, weigh, lse }

dim B, S, T, G, R, Ck, Dr, D

/// G heads of keys, R of queries to each; a row of the cache has all heads'.
fn latent<A: float>(
  q: A[B, S, G, R, Ck + Dr],
  pos: i32[B, S],
  mut kv: Paged<A, 64>[B, T, G * (Ck + Dr)],
) -> (out: A[B, S, G, R, Ck], lse: f32[B, S, G, R]) {
  let keys = kv.read() as [B, T, G, Ck + Dr]
  let (values, r) = split[Ck | Dr](keys)
  let keep = kv.visible(pos)
  let score = scores(q, keys, rsqrt(Ck + Dr))
  (out: weigh(score, keep, values), lse: lse(score, keep))
}

/// The same with all keys and then all values in a row.
fn grouped<A: float>(
  q: A[B, S, G, R, D],
  pos: i32[B, S],
  mut kv: Paged<A, 64>[B, T, G * D + G * D],
) -> (out: A[B, S, G, R, D], lse: f32[B, S, G, R]) {
  let (k, v) = split[G * D | G * D](kv.read())
  let keep = kv.visible(pos)
  let score = scores(q, k as [B, T, G, D], rsqrt(D))
  (out: weigh(score, keep, v as [B, T, G, D]), lse: lse(score, keep))
}
