"""Attention on a paged cache, one query or two a sequence: against a copy of as many bytes as the cache has, and against
cuBLAS on one large product, by rates. No library that PyTorch ships has the same kernel; published figures are
compared by how cuBLAS, or the copy, does in this run against the page that has them. A cache of 8-bit codes is compared
with our own bf16 cache of as many keys.

    node test/bench/build.mjs BUILD --only decode
    python3 test/bench/torch_decode.py BUILD --out OUT [--only latent] [--seconds 2]

Bytes are those of the rows that sequences have, read once, with queries and results; FLOPs 2 (d_k + d_v) a pair of a
query and a key. Slots that no sequence has hold NaN, and pages lie in a random order.
"""
import math
import sys

import torch

import harness

PAGE = 64


def widths(case):
    dims = case["dims"]
    if case["entry"] != "grouped":
        return dims["H"], dims["Ck"] + dims["Dr"], dims["Ck"], dims["Ck"] + dims["Dr"]
    return dims["G"] * dims["R"], dims["D"], dims["D"], 2 * dims["G"] * dims["D"]


def lengths(case):
    """Of each sequence: all of T, or spread about half of it."""
    B, S, T = (case["dims"][name] for name in "BST")
    if not case.get("varied"):
        return torch.full((B,), T, dtype=torch.int32)
    generator = torch.Generator().manual_seed(7)
    return torch.normal(T / 2, T / 4, (B,), generator=generator).clamp(S, T).to(torch.int32)


def tensors(case):
    dims = case["dims"]
    B, S, T = dims["B"], dims["S"], dims["T"]
    _, d_k, _, row = widths(case)
    length = lengths(case)
    slots = -(-T // PAGE)
    table = torch.randperm(B * slots).to(torch.int32).reshape(B, slots)
    pages = (torch.randn(B * slots, PAGE, row, device="cuda") / 10).clamp(-1, 1).to(torch.bfloat16)
    for b in range(B):
        used = int(length[b])
        first = -(-used // PAGE)
        pages[table[b, first:].long().cuda()] = math.nan
        if used % PAGE:
            pages[int(table[b, used // PAGE]), used % PAGE:] = math.nan
    heads = (dims["G"], dims["R"]) if case["entry"] == "grouped" else (dims["H"],)
    q = (torch.randn(B, S, *heads, d_k, device="cuda") / 10).clamp(-1, 1).to(torch.bfloat16)
    pos = (length[:, None] - S + torch.arange(S)[None, :]).to(torch.int32).cuda()
    made = {"q": q, "pos": pos, "kv.pages": pages, "kv.table": table.cuda(), "kv.length": length.cuda()}
    return coded(made, dims["Ck"]) if case["entry"] == "coded" else made


def coded(inputs, width):
    """The cache as codes and scales beside bf16."""
    pages = inputs.pop("kv.pages")
    blocks = pages[..., :width].float().unflatten(-1, (-1, 128))
    scale = blocks.abs().amax(-1, keepdim=True) / 448
    codes = (blocks / scale.where(scale > 0, 1)).to(torch.float8_e4m3fn)
    parts = {"pages0": codes.flatten(-2), "pages0.scale": scale.squeeze(-1), "pages1": pages[..., width:]}
    return {**inputs, **{f"kv.{name}": part.contiguous() for name, part in parts.items()}}


def pages_of(inputs):
    """The numbers that a cache has, in bf16."""
    if "kv.pages" in inputs:
        return inputs["kv.pages"]
    codes, scale = inputs["kv.pages0"].float(), inputs["kv.pages0.scale"]
    numbers = (codes.unflatten(-1, (-1, 128)) * scale[..., None]).flatten(-2).to(torch.bfloat16)
    return torch.cat([numbers, inputs["kv.pages1"]], -1)


def rows_of(inputs, b):
    """A sequence's rows of the cache, in f64."""
    used = int(inputs["kv.length"][b])
    pages = inputs["kv.table"][b, : -(-used // PAGE)].long()
    names = [name for name in inputs if name.startswith("kv.pages")]
    rows = pages_of({name: inputs[name][pages] for name in names})
    return rows.reshape(-1, rows.shape[-1])[:used].double()


def check(case, inputs, outputs):
    """As in torch_attention.py: weights are rounded once, groups of products are added by truncation."""
    dims = case["dims"]
    half = harness.unit(torch.bfloat16)
    for b in sorted({0, dims["B"] // 2, dims["B"] - 1}):
        rows = rows_of(inputs, b)
        places = torch.arange(rows.shape[0], device="cuda")
        for s in range(dims["S"]):
            seen = places <= inputs["pos"][b, s]
            groups = [(inputs["q"][b, s], rows, rows[:, : dims["Ck"]], outputs["out"][b, s])] if case["entry"] != "grouped" else [
                (inputs["q"][b, s, g], rows[:, g * dims["D"]:(g + 1) * dims["D"]],
                 rows[:, (dims["G"] + g) * dims["D"]:(dims["G"] + g + 1) * dims["D"]], outputs["out"][b, s, g])
                for g in range(dims["G"])
            ]
            for q, k, v, out in groups:
                score = q.double() @ k.t() / math.sqrt(k.shape[1])
                p = torch.softmax(score.masked_fill(~seen, -math.inf), -1)
                expected = p @ v
                of_weights = 8 * half * (p.pow(2) @ v.pow(2)).sqrt()
                of_sum = 2.0**-22 * k.shape[0] / 16 * (p @ v.abs())
                yield out, expected, 2 * half * expected.abs() + of_weights + of_sum


def copy_of(amount):
    count = int(amount) // 4  # bf16 elements: each is read and written

    def start(_):
        x = torch.empty(count, dtype=torch.bfloat16, device="cuda").normal_()
        out = torch.empty_like(x)
        return lambda: out.copy_(x)

    return harness.Peer("copy", start, 4.0 * count)


def product():
    side = 8192

    def start(_):
        a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        return lambda: a @ b.t()

    return harness.Peer("cuBLAS 8192", start, 2.0 * side**3)


def work_of(case, plan_of):
    dims = case["dims"]
    heads, d_k, d_v, row = widths(case)
    keys = float(lengths(case).sum())
    queries = dims["S"] * heads
    flops = 2.0 * keys * queries * (d_k + d_v)
    moved = 2 * (keys * row + dims["B"] * queries * (d_k + d_v))
    if case["entry"] == "coded":
        plan = plan_of(case["name"].replace("coded", "latent"))
        shared = ("q", "pos", "kv.table", "kv.length")
        own = lambda inputs: {"kv.pages": pages_of(inputs), **{name: inputs[name] for name in shared}}
        bf16 = harness.Peer("our bf16 cache", lambda inputs: plan.bind(own(inputs)), flops)
    # What bounds the work on this machine: 989 TFLOP/s and 4.8 TB/s.
    is_bound_by_flops = flops / 989e12 > moved / 4.8e12
    return harness.Work(
        inputs=lambda: tensors(case),
        peers=[bf16] if case["entry"] == "coded" else [product() if is_bound_by_flops else copy_of(moved)],
        check=lambda inputs, outputs: check(case, inputs, outputs),
        amount=flops if is_bound_by_flops or case["entry"] == "coded" else moved,
        unit="FLOP" if is_bound_by_flops or case["entry"] == "coded" else "byte",
    )


if __name__ == "__main__":
    sys.exit(harness.main(["decode"], work_of, harness.arguments(__doc__)))
