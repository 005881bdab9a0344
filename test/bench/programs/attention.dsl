/// Attention with heads of their own under several masks; two lines differ from one function to the next.
/// q: [B, H, S, D]; k: [B, H, T, D]; v: [B, H, T, Dv]; gives [B, H, S, Dv].
import std.nn { softmax }

dim B, H, S, T, D, Dv

/// Every query sees every key.
fn full(q: bf16[B, H, S, D], k: bf16[B, H, T, D], v: bf16[B, H, T, Dv]) -> bf16[B, H, S, Dv] {
  let score = for b, h, s, t: rsqrt(D) * sum[d](q[b, h, s, d] * k[b, h, t, d])
  let p = softmax[T](score)
  for b, h, s, e: sum[t](p[b, h, s, t] * v[b, h, t, e])
}

/// A query sees the keys up to its own place.
fn causal(q: bf16[B, H, S, D], k: bf16[B, H, T, D], v: bf16[B, H, T, Dv]) -> bf16[B, H, S, Dv] {
  let score = for b, h, s, t: rsqrt(D) * sum[d](q[b, h, s, d] * k[b, h, t, d]) where t <= s
  let p = softmax[T](score)
  for b, h, s, e: sum[t](p[b, h, s, t] * v[b, h, t, e])
}

/// A query sees the last 1,024 keys, its own place included.
fn sliding(q: bf16[B, H, S, D], k: bf16[B, H, T, D], v: bf16[B, H, T, Dv]) -> bf16[B, H, S, Dv] {
  let score = for b, h, s, t: rsqrt(D) * sum[d](q[b, h, s, d] * k[b, h, t, d]) where t <= s and s - t < 1024
  let p = softmax[T](score)
  for b, h, s, e: sum[t](p[b, h, s, t] * v[b, h, t, e])
}

/// A query sees the keys of its own document up to its own place.
fn document(
  q: bf16[B, H, S, D],
  k: bf16[B, H, T, D],
  v: bf16[B, H, T, Dv],
  doc_q: i32[B, S],
  doc_k: i32[B, T],
) -> bf16[B, H, S, Dv] {
  let score = for b, h, s, t:
    rsqrt(D) * sum[d](q[b, h, s, d] * k[b, h, t, d]) where t <= s and doc_q[b, s] == doc_k[b, t]
  let p = softmax[T](score)
  for b, h, s, e: sum[t](p[b, h, s, t] * v[b, h, t, e])
}

/// Scores softly held within 50 of 0, then as in `causal`.
fn capped(q: bf16[B, H, S, D], k: bf16[B, H, T, D], v: bf16[B, H, T, Dv]) -> bf16[B, H, S, Dv] {
  let score = for b, h, s, t:
    50.0 * tanh(rsqrt(D) / 50.0 * sum[d](q[b, h, s, d] * k[b, h, t, d])) where t <= s
  let p = softmax[T](score)
  for b, h, s, e: sum[t](p[b, h, s, t] * v[b, h, t, e])
}
