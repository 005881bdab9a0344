/// Products of the rows of each expert with its own weight, in e4m3 scaled by block: counts lie on the device.
dim E, B, T, N, K

/// Blocks of 128 rows, each of one expert: rows of an expert one behind another, padded to whole blocks.
fn contiguous(
  x: e4m3[B, 128, K] @ (1, 128),
  expert: i32[B],
  w: e4m3[E, N, K] @ (128, 128),
) -> bf16[B, 128, N] {
  for b, r in 128, n: sum[k](x[b, r, k] * w[expert[b], n, k])
}

/// Room for T rows of each expert, of which it has `count`; the others are 0 in the result, and are not multiplied.
fn masked(x: e4m3[E, T, K] @ (1, 128), count: i32[E], w: e4m3[E, N, K] @ (128, 128)) -> bf16[E, T, N] {
  for e, t, n: select(t < count[e], sum[k](x[e, t, k] * w[e, n, k]), 0.0)
}

/// Of each expert the sum over its blocks of 128 tokens, from `first` on and before `below`: a weight's gradient. Tokens
/// lie along the rows, as what scales 128 of them wants.
fn gradients(
  x: e4m3[K, B, 128] @ (1, 1, 128),
  y: e4m3[N, B, 128] @ (1, 1, 128),
  first: i32[E],
  below: i32[E],
) -> f32[E, N, K] {
  for e, n, k: sum[b, r](select(first[e] <= b and b < below[e], y[n, b, r] * x[k, b, r], 0.0))
}

/// The first in bf16.
fn contiguous_bf16(x: bf16[B, 128, K], expert: i32[B], w: bf16[E, N, K]) -> bf16[B, 128, N] {
  for b, r in 128, n: sum[k](x[b, r, k] * w[expert[b], n, k])
}

/// Gradients in bf16, of tokens as the layers have them.
fn gradients_bf16(x: bf16[B, 128, K], y: bf16[B, 128, N], first: i32[E], below: i32[E]) -> f32[E, N, K] {
  for e, n, k: sum[b, r](select(first[e] <= b and b < below[e], y[b, r, n] * x[b, r, k], 0.0))
}
