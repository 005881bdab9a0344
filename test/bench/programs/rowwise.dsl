/// What memory bounds: each tensor is read once and written once.
import std.nn { rmsnorm, softmax, swiglu, cross_entropy }

dim N, D

fn copied(x: bf16[N, D]) -> bf16[N, D] { for n, d: x[n, d] }

fn rmsnorm_rows(x: bf16[N, D], g: f32[D]) -> bf16[N, D] { rmsnorm(x, g) }

fn softmax_rows(x: bf16[N, D]) -> bf16[N, D] { softmax[D](x) }

fn swiglu_rows(gate: bf16[N, D], up: bf16[N, D]) -> bf16[N, D] { swiglu(gate, up) }

/// Codes and scales of 128 neighbours each, of what is there and of what is made in the same kernel.
fn quantised_rows(x: bf16[N, D]) -> e4m3[N, D] @ (1, 128) { quantize<e4m3 @ (1, 128)>(x) }

fn rmsnorm_quantised_rows(x: bf16[N, D], g: f32[D]) -> e4m3[N, D] @ (1, 128) {
  quantize<e4m3 @ (1, 128)>(rmsnorm(x, g))
}

fn swiglu_quantised_rows(gate: bf16[N, D], up: bf16[N, D]) -> e4m3[N, D] @ (1, 128) {
  quantize<e4m3 @ (1, 128)>(swiglu(gate, up))
}

fn cross_entropy_rows(logits: bf16[N, D], target: i32[N]) -> f32[N] { cross_entropy[D](logits, target) }
