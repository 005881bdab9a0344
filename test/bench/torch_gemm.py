"""Products of two matrices against cuBLAS, as PyTorch calls it: bf16, and e4m3 without scales in cuBLAS's fast mode.

    node test/bench/build.mjs BUILD --only gemm --only e4m3 --only odd
    python3 test/bench/torch_gemm.py BUILD --out OUT [--only rows-4096] [--seconds 2]
"""
import sys

import torch

import harness


def tensors(case):
    M, N, K = (case["dims"][name] for name in "MNK")
    shape = (K, N) if case["entry"] == "columns" else (N, K)
    dtype = torch.float8_e4m3fn if case["group"] == "e4m3" else torch.bfloat16
    make = lambda *size: torch.randn(*size, device="cuda", dtype=torch.float32).to(dtype)
    return dict(x=make(M, K), w=make(*shape))


def across(case, w):
    """The weights as [K, N], a view."""
    return w if case["entry"] == "columns" else w.t()


def library(case, inputs):
    """cuBLAS on these tensors, into memory of its own."""
    x, w = inputs["x"], across(case, inputs["w"])
    if case["group"] == "e4m3":
        one = torch.ones((), device="cuda")
        return lambda: torch._scaled_mm(x, w, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True)
    out = torch.empty(x.shape[0], w.shape[1], device="cuda", dtype=torch.bfloat16)
    return lambda: torch.mm(x, w, out=out)


def check(case, inputs, outputs):
    """The result's own rounding, and one error a step of the sum: of bf16, each of K products added in f32 by truncation;
    of e4m3 in the fast mode, each group of 32 products added with 13 bits of mantissa. A partial sum of K products of
    normal numbers is taken to stay within six deviations, 6 sqrt(K)."""
    x, w, out = inputs["x"].double(), across(case, inputs["w"]).double(), outputs["out"]
    K = x.shape[1]
    steps, step = (-(-K // 32), 2.0**-13) if case["group"] == "e4m3" else (K, 2.0**-23)
    deviation = float(x.pow(2).mean().sqrt() * w.pow(2).mean().sqrt())
    of_sum = steps * step * 6 * K**0.5 * deviation
    for part in harness.rows_in_parts(x.shape[0], 1024):
        expected = x[part] @ w
        yield out[part], expected, 2 * harness.unit(out.dtype) * expected.abs() + of_sum


def work_of(case, plan_of):
    M, N, K = (case["dims"][name] for name in "MNK")
    return harness.Work(
        inputs=lambda: tensors(case),
        peers=[harness.Peer("cuBLAS", lambda inputs: library(case, inputs))],
        check=lambda inputs, outputs: check(case, inputs, outputs),
        amount=2.0 * M * N * K,
    )


if __name__ == "__main__":
    sys.exit(harness.main(["gemm", "e4m3", "odd"], work_of, harness.arguments(__doc__)))
