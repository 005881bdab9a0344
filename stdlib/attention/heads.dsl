/// Attention over heads, G of which share a key/value head: Hkv = 1 is MQA, G = 1 is MHA, anything between is GQA.
/// Training, prefill and decode differ by their sizes and by what `keep` says; a query that sees no key gets 0.
///
///     q: [B, S, Hkv, G, D]    k: [B, T, Hkv, D]    v: [B, T, Hkv, Dv]    keep: bool[B, S, T], a mask of std.mask
///
/// `attend` is the whole of it. Soft caps, ALiBi, sinks and the logsumexp are had by putting its parts together:
///
///     let score = alibi(softcap(scores(q, k, rsqrt(D)), 50.0), slope, pos_q, pos_k)
///     (o: weigh_sinks(score, keep, v, sink), lse: lse(score, keep))
import std.nn { softmax }

dim B, S, T  // batch, query positions, key positions
dim Hkv, G   // key/value heads, query heads of each
dim D, Dv    // query/key width, value width

/// softmax(q k / sqrt(D)) v over the keys that are kept.
fn attend<A: float>(
  q: A[B, S, Hkv, G, D],
  k: A[B, T, Hkv, D],
  v: A[B, T, Hkv, Dv],
  keep: bool[B, S, T],
) -> A[B, S, Hkv, G, Dv] {
  weigh(scores(q, k, rsqrt(D)), keep, v)
}

/// scale * q k. No type is written for the scores where none is for the scale, as for rsqrt(D).
fn scores<A: float, X: float>(q: A[B, S, Hkv, G, D], k: A[B, T, Hkv, D], scale: X) -> X[B, S, Hkv, G, T] {
  for b, s, h, g, t: scale * sum[d](q[b, s, h, g, d] * k[b, t, h, d])
}

/// Scores softly held between -cap and cap.
fn softcap<X: float>(score: X[...], cap: f32) -> X[...] { for ...: cap * tanh(score[...] / cap) }

/// Scores less slope times the distance between query and key (ALiBi).
fn alibi<X: float>(
  score: X[B, S, Hkv, G, T],
  slope: f32[Hkv, G],
  pos_q: i32[B, S],
  pos_k: i32[B, T],
) -> X[B, S, Hkv, G, T] {
  for b, s, h, g, t: score[b, s, h, g, t] - slope[h, g] * f32(abs(pos_q[b, s] - pos_k[b, t]))
}

/// Values weighted by the softmax of the scores that are kept.
fn weigh<A: float, X: float>(
  score: X[B, S, Hkv, G, T],
  keep: bool[B, S, T],
  v: A[B, T, Hkv, Dv],
) -> A[B, S, Hkv, G, Dv] {
  let p = softmax[T](score where keep)
  for b, s, h, g, d: sum[t](p[b, s, h, g, t] * v[b, t, h, d])
}

/// The same beside one more score of each head, which takes its part of the weights and has no value.
fn weigh_sinks<A: float, X: float>(
  score: X[B, S, Hkv, G, T],
  keep: bool[B, S, T],
  v: A[B, T, Hkv, Dv],
  sink: f32[Hkv, G],
) -> A[B, S, Hkv, G, Dv] {
  let p = softmax_beside[T](score where keep, sink)
  for b, s, h, g, d: sum[t](p[b, s, h, g, t] * v[b, t, h, d])
}

/// a: [..., Y], masked or not; gives exp(a) / (sum of exp(a) along Y + exp(sink)), 0 where masked.
fn softmax_beside<X: float>[Y](a: X[..., Y], sink: f32[...]) -> X[..., Y] {
  let m = for ...: max[y](a[..., y])
  let e = for ..., y: exp(a[..., y] - m[...])
  let z = for ...: sum[y](e[..., y]) + exp(sink[...] - m[...])
  for ..., y: e[..., y] / z[...]
}

/// log(sum of exp(score)) over the keys that are kept, in nats, sinks left out: what results over parts of the keys
/// are merged by. -inf where none is kept.
fn lse<X: float>(score: X[B, S, Hkv, G, T], keep: bool[B, S, T]) -> f32[B, S, Hkv, G] {
  let x = score where keep
  for b, s, h, g: logsumexp[t](x[b, s, h, g, t])
}
