/// Products of two matrices, with the weights stored either way round.
dim M, N, K

/// Rows of `w` are the outputs: w[o, i], as a linear layer keeps them.
fn rows(x: bf16[M, K], w: bf16[N, K]) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}

/// Columns of `w` are the outputs: w[i, o].
fn columns(x: bf16[M, K], w: bf16[K, N]) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[k, n])
}

/// e4m3 without scales, added by the matrix unit alone.
fn rows_e4m3(x: e4m3[M, K], w: e4m3[N, K]) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}

numerics rows_e4m3 { accumulate: f32 every 65536 }

/// e4m3 without scales, promoted to f32 every 128.
fn promoted_e4m3(x: e4m3[M, K], w: e4m3[N, K]) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}

/// e4m3 with a scale for each 128 of a row of `x`, and for each block of 128 x 128 of `w`.
fn scaled_e4m3(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (128, 128)) -> bf16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}

/// A weight's gradient: e4m3 with a scale for each 128 of a row of both, added to what there is in f32.
fn gradient_e4m3(x: e4m3[M, K] @ (1, 128), w: e4m3[N, K] @ (1, 128), c: f32[M, N]) -> f32[M, N] {
  for m, n: c[m, n] + sum[k](x[m, k] * w[n, k])
}

/// f16, with sums in f32.
fn rows_f16(x: f16[M, K], w: f16[N, K]) -> f16[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}

fn columns_f16(x: f16[M, K], w: f16[K, N]) -> f16[M, N] {
  for m, n: sum[k](x[m, k] * w[k, n])
}

fn rows_f32(x: f32[M, K], w: f32[N, K]) -> f32[M, N] {
  for m, n: sum[k](x[m, k] * w[n, k])
}
