/// Programs that no pass was written for: what becomes of them is in programs.test.ts.
import std.nn { softmax, rmsnorm, swiglu, cross_entropy }

dim N, D, F, V

/// The mean of the squares of what is left when the mean is taken away.
fn variance(x: f32[N, V]) -> f32[N] {
  let m = for n: mean[v](x[n, v])
  for n: mean[v]((x[n, v] - m[n]) * (x[n, v] - m[n]))
}

fn weighted_mean(x: f32[N, V]) -> f32[N] {
  let z = for n: sum[v](tanh(x[n, v]))
  for n: sum[v](tanh(x[n, v]) / z[n] * x[n, v])
}

fn two_softmaxes(x: bf16[N, V], y: bf16[N, V]) -> f32[N] {
  let p = softmax[V](f32(x))
  let q = softmax[V](f32(y))
  for n: sum[v](p[n, v] * q[n, v])
}

fn likely(x: f32[N, V]) -> (values: f32[N, 2], index: i32[N, 2]) {
  let t = topk[V, 2](softmax[V](x))
  (values: t.values, index: t.index)
}

fn loss(x: bf16[N, V], target: i32[N]) -> f32[N] { cross_entropy[V](x, target) }

fn total(x: bf16[N, V]) -> f32[N] { for n: logsumexp[v](f32(x[n, v])) }

fn normed(x: bf16[N, D], g: f32[D], w: bf16[F, D]) -> bf16[N, F] {
  let h = rmsnorm(x, g)
  for n, f: sum[d](h[n, d] * w[f, d])
}

fn gated(x: bf16[N, D], gate: bf16[F, D], up: bf16[F, D]) -> bf16[N, F] {
  let a = for n, f: sum[d](x[n, d] * gate[f, d])
  let b = for n, f: sum[d](x[n, d] * up[f, d])
  swiglu(a, b)
}

fn added(x: bf16[N, D], w: bf16[F, D], bias: f32[F], rest: bf16[N, F]) -> bf16[N, F] {
  let y = for n, f: sum[d](x[n, d] * w[f, d])
  for n, f: bf16(y[n, f] + bias[f] + rest[n, f])
}
