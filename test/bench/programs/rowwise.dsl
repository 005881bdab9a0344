/// What memory bounds: each tensor is read once and written once.
import std.nn { rmsnorm, softmax, swiglu, cross_entropy }

dim N, D

fn copied(x: bf16[N, D]) -> bf16[N, D] { for n, d: x[n, d] }

fn rmsnorm_rows(x: bf16[N, D], g: f32[D]) -> bf16[N, D] { rmsnorm(x, g) }

fn softmax_rows(x: bf16[N, D]) -> bf16[N, D] { softmax[D](x) }

fn swiglu_rows(gate: bf16[N, D], up: bf16[N, D]) -> bf16[N, D] { swiglu(gate, up) }

fn cross_entropy_rows(logits: bf16[N, D], target: i32[N]) -> f32[N] { cross_entropy[D](logits, target) }
