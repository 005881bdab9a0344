/// What is multiplied, scaled by block, and the product in two dtypes: for measuring how near they are.
dim M, N, K

fn scaled(
  x: bf16[M, K],
  w: bf16[N, K],
) -> (left: e4m3[M, K] @ (1, 128), right: e4m3[N, K] @ (128, 128), narrow: bf16[M, N], wide: f32[M, N]) {
  let left = quantize<e4m3 @ (1, 128)>(x)
  let right = quantize<e4m3 @ (128, 128)>(w)
  let out = for m, n: sum[k](left[m, k] * right[n, k])
  (left: left, right: right, narrow: out, wide: out)
}
