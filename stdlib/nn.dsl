/// Normalisation, activations and losses. Every function works along one named axis, or element by element,
/// and keeps all other axes where they stand.

/// a: [..., X], masked or not; gives [..., X], which sums to 1 along X over the elements that are kept.
/// A masked element is 0, also where nothing is kept along X.
fn softmax<A: float>[X](a: A[..., X]) -> A[..., X] {
  let m = for ...: max[x](a[..., x])
  let e = for ..., x: exp(a[..., x] - m[...])
  let z = for ...: sum[x](e[..., x])
  for ..., x: e[..., x] / z[...]
}

/// x: [..., D], g: [D]; gives x / sqrt(mean of x^2 along D + eps) * g.
fn rmsnorm<A: float>(x: A[..., D], g: f32[D], eps: f32 = 1e-6) -> A[..., D] {
  let r = for ...: rsqrt(mean[d](x[..., d] * x[..., d]) + eps)
  for ..., d: x[..., d] * r[...] * g[d]
}

/// x: [..., D], g and b: [D]; gives (x - mean) / sqrt(variance + eps) * g + b, both along D.
fn layernorm<A: float>(x: A[..., D], g: f32[D], b: f32[D], eps: f32 = 1e-5) -> A[..., D] {
  let m = for ...: mean[d](x[..., d])
  let r = for ...: rsqrt(mean[d]((x[..., d] - m[...]) * (x[..., d] - m[...])) + eps)
  for ..., d: (x[..., d] - m[...]) * r[...] * g[d] + b[d]
}

/// x * sigmoid(x), element by element.
fn silu<A: float>(x: A[...]) -> A[...] {
  for ...: x[...] * sigmoid(x[...])
}

/// x times the normal distribution function of x (the erf form), element by element.
fn gelu<A: float>(x: A[...]) -> A[...] {
  for ...: 0.5 * x[...] * (1.0 + erf(x[...] * 0.7071067811865476))
}

/// silu(gate) * up, element by element.
fn swiglu<A: float>(gate: A[...], up: A[...]) -> A[...] {
  for ...: gate[...] * sigmoid(gate[...]) * up[...]
}

/// logits: [..., V], target: [...], the index along V of the right class; gives the loss [...] in nats.
/// A negative target counts 0: such a position is not scored.
fn cross_entropy<A: float>[V](logits: A[..., V], target: i32[...]) -> f32[...] {
  let z = for ...: logsumexp[v](logits[..., v])
  for ...: select(target[...] < 0, 0.0, z[...] - logits[..., max(target[...], 0)])
}
