"""Products of two matrices against cuBLAS, as PyTorch calls it: bf16, and e4m3.

e4m3 without scales runs beside cuBLAS's fast mode, promoted beside its accurate one, and scaled in blocks beside the
accurate mode with one scale a tensor and, where this PyTorch has it, beside its own product with the same blocks. Gradients,
scaled by 1 x 128 on both sides and added to what there is in f32, run beside our own product of the same sizes with 1 x 128
and 128 x 128 and a bf16 result, and beside PyTorch's with 1 x 128 on both sides and an f32 result, which adds to nothing.

    node test/bench/build.mjs BUILD --only gemm --only e4m3 --only odd --only gradient
    python3 test/bench/torch_gemm.py BUILD --out OUT [--only rows-4096] [--seconds 2]
"""
import functools
import sys

import torch

import harness

BLOCK = 128


def is_e4m3(case):
    return case["group"] in ("e4m3", "gradient", "gradient-peer")


def tensors(case):
    M, N, K = (case["dims"][name] for name in "MNK")
    shape = (K, N) if case["entry"] == "columns" else (N, K)
    dtype = torch.float8_e4m3fn if is_e4m3(case) else torch.bfloat16
    make = lambda *size: torch.randn(*size, device="cuda", dtype=torch.float32).to(dtype)
    made = dict(x=make(M, K), w=make(*shape))
    if case["entry"] == "scaled_e4m3":
        scales = lambda *size: torch.rand(*size, device="cuda") + 0.5
        made |= {"x.scale": scales(M, -(-K // BLOCK)), "w.scale": scales(-(-N // BLOCK), -(-K // BLOCK))}
    if case["entry"] == "gradient_e4m3":
        scales = lambda *size: torch.rand(*size, device="cuda") + 0.5
        made |= {"x.scale": scales(M, -(-K // BLOCK)), "w.scale": scales(N, -(-K // BLOCK))}
        made["c"] = torch.randn(M, N, device="cuda")
    return made


def across(case, w):
    """The weights as [K, N], a view."""
    return w if case["entry"] == "columns" else w.t()


def library(case, inputs, fast=True):
    """cuBLAS on these tensors, into memory of its own."""
    x, w = inputs["x"], across(case, inputs["w"])
    if is_e4m3(case):
        one = torch.ones((), device="cuda")
        return lambda: torch._scaled_mm(x, w, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=fast)
    out = torch.empty(x.shape[0], w.shape[1], device="cuda", dtype=torch.bfloat16)
    return lambda: torch.mm(x, w, out=out)


def blocks(inputs):
    """PyTorch's product with the same blocks: its scales of rows lie along the rows, those of blocks along K, four by four."""
    from torch.nn.functional import ScalingType, scaled_mm

    x, w = inputs["x"], inputs["w"].t()
    rows = inputs["x.scale"].t().contiguous().t()
    along, count = inputs["w.scale"].shape[1], inputs["w.scale"].shape[0]
    padded = torch.zeros(count, -(-along // 4) * 4, device="cuda")
    padded[:, :along] = inputs["w.scale"]
    of_blocks = padded.t()[:along]
    return lambda: scaled_mm(x, w, rows, ScalingType.BlockWise1x128, of_blocks, ScalingType.BlockWise128x128,
                             output_dtype=torch.bfloat16)


def rows_on_both_sides(inputs):
    """PyTorch's product of 1 x 128 with 1 x 128; scales lie along the rows."""
    from torch.nn.functional import ScalingType, scaled_mm

    x, w = inputs["x"], inputs["w"].t()
    left = inputs["x.scale"].t().contiguous().t()
    right = inputs["w.scale"].t().contiguous()
    return lambda: scaled_mm(x, w, left, ScalingType.BlockWise1x128, right, ScalingType.BlockWise1x128,
                             output_dtype=torch.float32)


@functools.cache
def has_product(entry):
    start = rows_on_both_sides if entry == "gradient_e4m3" else blocks
    case = dict(group="e4m3", entry=entry, dims=dict(M=256, N=256, K=512))
    inputs = tensors(case)
    try:
        found = start(inputs)().double()
    except (ImportError, RuntimeError, ValueError, NotImplementedError) as error:
        print(f"no product with blocks in this PyTorch: {str(error).splitlines()[0]}", file=sys.stderr)
        return False
    x, w = dequantised(case, inputs)
    same = bool(((found - x @ w).norm() / found.norm()) < 0.01)
    if not same:
        print("PyTorch's product with blocks takes its scales in another order", file=sys.stderr)
    return same


def dequantised(case, inputs):
    """Both factors in f64, their scales multiplied in, the right one as [K, N]."""
    x, w = inputs["x"].double(), inputs["w"].double()
    if "x.scale" in inputs:
        spread = lambda scale, axis, size: scale.double().repeat_interleave(BLOCK, axis).narrow(axis, 0, size)
        x = x * spread(inputs["x.scale"], 1, x.shape[1])
        of_rows = inputs["w.scale"].shape[0] == w.shape[0]
        scale = inputs["w.scale"] if of_rows else spread(inputs["w.scale"], 0, w.shape[0])
        w = w * spread(scale, 1, w.shape[1])
    return x, across(case, w)


def check(case, inputs, outputs):
    """The result's own rounding, and one error a step of the sum: of bf16, each of K products added in f32 by truncation;
    of e4m3, each group of 32 products added with 13 bits of mantissa, to a sum of all of K or, where it is promoted, of 128.
    A partial sum of k products of normal numbers is taken to stay within six deviations, 6 sqrt(k)."""
    x, w = dequantised(case, inputs)
    out, K = outputs["out"], x.shape[1]
    steps, step = (-(-K // 32), 2.0**-13) if is_e4m3(case) else (K, 2.0**-23)
    run = min(K, BLOCK) if case["entry"] in ("promoted_e4m3", "scaled_e4m3", "gradient_e4m3") else K
    deviation = float(x.pow(2).mean().sqrt() * w.pow(2).mean().sqrt())
    of_sum = (steps * step * run**0.5 + K * 2.0**-23 * K**0.5) * 6 * deviation
    for part in harness.rows_in_parts(x.shape[0], 1024):
        expected = x[part] @ w + (inputs["c"][part].double() if "c" in inputs else 0)
        yield out[part], expected, 2 * harness.unit(out.dtype) * expected.abs() + of_sum


def own_product(case, plan_of):
    """Ours with blocks of 128 x 128 on the right side: the same sizes, and the same memory for the factors."""
    M, N, K = (case["dims"][name] for name in "MNK")
    plan = plan_of(f"scaled_e4m3-{M}x{N}x{K}")

    def start(inputs):
        scale = inputs["w.scale"][::BLOCK].contiguous()
        return plan.bind({name: inputs[name] for name in ("x", "w", "x.scale")} | {"w.scale": scale})

    return harness.Peer("our 128x128", start)


def peers(case, plan_of):
    accurate = harness.Peer("cuBLAS, accurate", lambda inputs: library(case, inputs, fast=False))
    if case["entry"] == "gradient_e4m3":
        theirs = [harness.Peer("PyTorch's 1x128", rows_on_both_sides)] if has_product(case["entry"]) else []
        return [own_product(case, plan_of), *theirs]
    if case["entry"] == "promoted_e4m3":
        return [accurate]
    if case["entry"] == "scaled_e4m3":
        return [accurate] + ([harness.Peer("PyTorch's blocks", blocks)] if has_product(case["entry"]) else [])
    return [harness.Peer("cuBLAS", lambda inputs: library(case, inputs))]


def work_of(case, plan_of):
    M, N, K = (case["dims"][name] for name in "MNK")
    return harness.Work(
        inputs=lambda: tensors(case),
        peers=peers(case, plan_of),
        check=lambda inputs, outputs: check(case, inputs, outputs),
        amount=2.0 * M * N * K,
    )


if __name__ == "__main__":
    sys.exit(harness.main(["gemm", "e4m3", "odd", "gradient"], work_of, harness.arguments(__doc__)))
