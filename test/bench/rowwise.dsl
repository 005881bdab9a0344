/// What the memory-bound benchmarks time: one pass over large tensors.
import std.nn { rmsnorm, softmax, layernorm, swiglu, gelu, cross_entropy }

dim N, D

fn copied(x: bf16[N, D]) -> bf16[N, D] {
  for n, d: x[n, d]
}

fn normalised(x: bf16[N, D], g: f32[D]) -> bf16[N, D] {
  rmsnorm(x, g)
}

fn layered(x: bf16[N, D], g: f32[D], b: f32[D]) -> bf16[N, D] {
  layernorm(x, g, b)
}

fn softened(x: bf16[N, D]) -> bf16[N, D] {
  softmax[D](x)
}

fn gated(gate: bf16[N, D], up: bf16[N, D]) -> bf16[N, D] {
  swiglu(gate, up)
}

fn bent(x: bf16[N, D]) -> bf16[N, D] {
  gelu(x)
}

fn summed(x: bf16[N, D]) -> f32[N] {
  for n: sum[d](x[n, d])
}

fn column_summed(x: bf16[N, D]) -> f32[D] {
  for d: sum[n](x[n, d])
}

fn loss(logits: bf16[N, D], target: i32[N]) -> f32[N] {
  cross_entropy[D](logits, target)
}

fn multiplied(x: bf16[N, D], w: bf16[M, D]) -> bf16[N, M] {
  for n, m: sum[d](x[n, d] * w[m, d])
}

dim M
