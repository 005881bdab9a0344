"""Attention against cuDNN, as PyTorch calls it; and under other masks against our own causal kernel, by the rate of
useful FLOPs, since no library is asked for these in the same form.

    node test/bench/build.mjs BUILD --only attention --only masks
    python3 test/bench/torch_attention.py BUILD --out OUT [--only causal] [--seconds 2]

FLOPs are counted as usual: 2 D + 2 Dv a pair of a query and a key that it sees.
"""
import math
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import harness

WINDOW, CAP, DOCUMENTS = 1024, 50.0, 8  # of attention.dsl, and how many documents share a sequence


def sizes(case):
    return tuple(case["dims"][name] for name in ("B", "H", "S", "D", "Dv"))


def tensors(case):
    B, H, S, D, Dv = sizes(case)
    make = lambda width: torch.randn(B, H, S, width, device="cuda", dtype=torch.bfloat16)
    found = dict(q=make(D), k=make(D), v=make(Dv))
    if case["entry"] == "document":
        documents = documents_of(S, "cuda").to(torch.int32).expand(B, S).contiguous()
        found.update(doc_q=documents, doc_k=documents.clone())
    return found


def documents_of(S, device):
    """Documents of unequal lengths, lying in order."""
    ends = torch.tensor([round(S * (k + 1) ** 1.5 / DOCUMENTS**1.5) for k in range(DOCUMENTS)], device=device)
    return torch.searchsorted(ends, torch.arange(S, device=device), right=True)


def seen(case, device="cuda"):
    """Which keys each query sees: bool[S, S]."""
    S = case["dims"]["S"]
    s, t = torch.arange(S, device=device)[:, None], torch.arange(S, device=device)[None, :]
    entry = case["entry"]
    if entry == "full":
        return torch.ones(S, S, dtype=torch.bool, device=device)
    if entry == "sliding":
        return (t <= s) & (s - t < WINDOW)
    if entry == "document":
        documents = documents_of(S, device)
        return (t <= s) & (documents[:, None] == documents[None, :])
    return t <= s


def flops(case):
    B, H, S, D, Dv = sizes(case)
    pairs = S * S if case["entry"] == "full" else int(seen(case).sum())
    if case["entry"] == "causal":
        pairs = S * S / 2  # as it is always counted
    return 2.0 * B * H * pairs * (D + Dv)


def library(case, inputs):
    q, k, v = inputs["q"], inputs["k"], inputs["v"]

    def call():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v, is_causal=case["entry"] == "causal")

    return call


def check(case, inputs, outputs):
    """Of four heads. A weight p is rounded to bf16 once, each rounding independent of the others, and the error of their
    sum is taken to stay within eight deviations; each group of 16 products is added in f32 by truncation; the result
    is rounded. The scores' own rounding is below these: f32, from products that are exact."""
    mask = seen(case)
    B, H, S, D, _ = sizes(case)
    half = harness.unit(torch.bfloat16)
    for b, h in {(0, 0), (0, H // 2), (B - 1, H // 3), (B - 1, H - 1)}:
        q, k, v = (inputs[name][b, h].double() for name in "qkv")
        for part in harness.rows_in_parts(S, 1024):
            score = q[part] @ k.t() / math.sqrt(D)
            if case["entry"] == "capped":
                score = CAP * torch.tanh(score / CAP)
            p = torch.softmax(score.masked_fill(~mask[part], -math.inf), -1)
            expected = p @ v
            of_weights = 8 * half * (p.pow(2) @ v.pow(2)).sqrt()
            of_sum = 2.0**-22 * S / 16 * (p @ v.abs())
            yield outputs["out"][b, h, part], expected, 2 * half * expected.abs() + of_weights + of_sum


def work_of(case, plan_of):
    if case["group"] == "attention":
        peer = harness.Peer("cuDNN", lambda inputs: library(case, inputs))
    else:
        causal = dict(case, entry="causal")
        plan = plan_of(case["name"].replace(case["entry"], "causal"))
        peer = harness.Peer("our causal", lambda inputs: plan.bind({name: inputs[name] for name in "qkv"}), flops(causal))
    return harness.Work(
        inputs=lambda: tensors(case),
        peers=[peer],
        check=lambda inputs, outputs: check(case, inputs, outputs),
        amount=flops(case),
    )


if __name__ == "__main__":
    sys.exit(harness.main(["attention", "masks"], work_of, harness.arguments(__doc__)))
