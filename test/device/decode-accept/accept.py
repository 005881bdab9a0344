"""Accepts decoding on paged caches on a GPU: every case of cases.mjs against attention in f32, written out in PyTorch.

    node test/device/decode-accept/build.mjs BUILD
    python3 test/device/decode-accept/accept.py BUILD [--only latent-bf16] [--workers 8]

A plan is run with 1 to 128 sequences of 20, 140 and 4096 tokens: all alike, or spread about that with a deviation of
half of it; with requests of no token among them; with queries that see all of their sequence, or what is before them.
Numbers are normal with a deviation of 0.1, at most 1. Pages lie in a random order. Slots that no sequence has hold NaN,
and entries of the table that no sequence reaches name pages that are far out of range.

The criteria are those that FlashMLA's dense decoding is tested with. Out, element by element: within 8e-4, or within
2.01 / 128 of the expected number; over a run, 1 - 2 sum(xy) / sum(x^2 + y^2) below 5e-6. Logsumexp: within 1e-6, or
within 8.01 / 65536 of the expected number. NaN nowhere; where a query sees no key, out is 0 and the logsumexp -inf.

A line a case: its runs, and the worst figures among them. The exit code is 0 where all runs of all cases are accepted.
"""
import argparse
import itertools
import json
import math
import multiprocessing
import os
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../runtime/python"))
import weft

PAGE = 64
NOWHERE = 2147480000
OUT, LSE, COS = (8e-4, 2.01 / 128), (1e-6, 8.01 / 65536), 5e-6
DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16}


def widths(case):
    """Of one head's query, of its result, and of a row of the cache."""
    dims = case["dims"]
    if case["entry"] == "latent":
        return dims["Ck"] + dims["Dr"], dims["Ck"], dims["G"] * (dims["Ck"] + dims["Dr"])
    return dims["D"], dims["D"], 2 * dims["G"] * dims["D"]


def runs_of(case):
    """(sequences, tokens, whether lengths vary, whether queries are causal, the share of requests without a token)."""
    dims = case["dims"]
    wholly = list(itertools.product((False, True), (False, True)))
    if "B" in dims:
        sizes = [(dims["B"], tokens) for tokens in (20, 140, 4096) if tokens <= dims["T"]]
    else:
        # Caches of many heads are held to a few GB.
        most = 64 if dims["G"] == 1 else 6
        sizes = [(B, T) for B in (1, 2, 6, 64) for T in (20, 140, 4096) if T < 4096 or B <= most]
    for B, tokens in sizes:
        for varied, causal in wholly:
            yield B, tokens, varied, causal, 0.0
        if B > 1:
            yield B, tokens, True, True, 0.5
        elif tokens == 20:
            yield B, tokens, False, True, 1.0


def lengths(case, B, tokens, varied, empty, generator):
    S, most = case["dims"]["S"], case["dims"].get("T", 3 * tokens)
    length = torch.full((B,), float(tokens))
    if varied:
        length = torch.normal(length, tokens / 2, generator=generator)
    length = length.clamp(S, most).to(torch.int32)
    length[torch.rand(B, generator=generator) < empty] = 0
    return length


def small(shape, dtype):
    return (torch.randn(shape, device="cuda", dtype=torch.float32) / 10).clamp(-1, 1).to(dtype)


def inputs_of(case, B, length, causal, generator):
    dims, dtype = case["dims"], DTYPES[case["A"]]
    width, _, row = widths(case)
    S = dims["S"]
    # A pool of whole groups of four pages a sequence.
    slots = -(-max(int(length.max()), 1) // (4 * PAGE)) * 4
    if "T" in dims:
        slots = max(slots, -(-dims["T"] // PAGE))
    order = torch.randperm(B * slots, generator=generator).to(torch.int32).reshape(B, slots)
    pages = torch.full((B * slots, PAGE, row), math.nan, device="cuda", dtype=dtype)
    used = torch.arange(slots * PAGE)[None, :] < length[:, None]
    place = (order.long() * PAGE)[:, :, None] + torch.arange(PAGE)
    place = place.reshape(B, slots * PAGE)[used].cuda()
    flat = pages.view(-1, row)
    for part in place.split(1 << 14):
        flat[part] = small((part.numel(), row), dtype)
    table = order.masked_fill(torch.arange(slots)[None, :] * PAGE >= length[:, None], NOWHERE)
    last = length[:, None] - 1
    pos = last - S + 1 + torch.arange(S)[None, :] if causal else last.expand(B, S)
    q = small((B, S, dims["G"], dims["R"], width), dtype)
    ints = {"pos": pos, "kv.table": table, "kv.length": length}
    return {"q": q, "kv.pages": pages, **{name: x.to(torch.int32).contiguous().cuda() for name, x in ints.items()}}


def attention(case, q, pos, rows):
    """Of one sequence, in f32. q: [S, G, R, width]; rows: [length, G or 2 G, width]."""
    G, (width, value, _) = case["dims"]["G"], widths(case)
    keys, values = (rows, rows[..., :value]) if case["entry"] == "latent" else (rows[:, :G], rows[:, G:])
    score = torch.einsum("sgre,tge->sgrt", q, keys) / math.sqrt(width)
    seen = torch.arange(rows.shape[0], device="cuda")[None, :] <= pos[:, None]
    score = score.masked_fill(~seen[:, None, None, :], -math.inf)
    lse = torch.logsumexp(score, -1)
    weight = torch.softmax(score, -1).masked_fill(torch.isinf(lse)[..., None], 0.0)
    return torch.einsum("sgrt,tge->sgre", weight, values), lse


def expected_of(case, inputs):
    length, dims = inputs["kv.length"].tolist(), case["dims"]
    width, value, row = widths(case)
    shape = (len(length), dims["S"], dims["G"], dims["R"])
    out = torch.zeros(*shape, value, device="cuda")
    lse = torch.full(shape, -math.inf, device="cuda")
    for b, used in enumerate(length):
        if used > 0:
            table = inputs["kv.table"][b, : -(-used // PAGE)].long()
            rows = inputs["kv.pages"][table].reshape(-1, row)[:used].float().unflatten(-1, (-1, width))
            out[b], lse[b] = attention(case, inputs["q"][b].float(), inputs["pos"][b], rows)
    return out, lse


def worst(actual, expected, limits):
    """The largest error over what is allowed; infinite where one has a NaN or an infinity that the other has not."""
    absolute, relative = limits
    same = actual == expected  # infinities of one sign
    error = (actual - expected).abs()
    share = torch.minimum(error / absolute, error / (relative * expected.abs()).clamp_min(1e-30))
    return float(share.masked_fill(same, 0.0).nan_to_num(nan=math.inf, posinf=math.inf).max())


def cos_difference(actual, expected):
    x, y = actual.double(), expected.double()
    both = float((x * x + y * y).sum())
    return 1 - 2 * float((x * y).sum()) / both if both > 0 else 0.0


def run_case(build, case):
    """(whether all of its runs are accepted, its line)."""
    begun, dims = time.perf_counter(), case["dims"]
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("highest")
    generator = torch.Generator().manual_seed(7)
    plan = weft.Plan(os.path.join(build, case["name"]))
    loaded = time.perf_counter()
    figures, failed = [], []
    for B, tokens, varied, causal, empty in runs_of(case):
        length = lengths(case, B, tokens, varied, empty, generator)
        inputs = inputs_of(case, B, length, causal, generator)
        shape = (B, dims["S"], dims["G"], dims["R"])
        results = {"out": torch.full((*shape, widths(case)[1]), math.nan, device="cuda", dtype=DTYPES[case["A"]]),
                   "lse": torch.full(shape, math.nan, device="cuda")}
        given = {"T": max(int(length.max()), 1)} if "T" not in dims else {}
        plan.bind(inputs, results, dims=given)()
        out, lse = expected_of(case, inputs)
        actual = results["out"].float()
        found = worst(actual, out, OUT), cos_difference(actual, out) / COS, worst(results["lse"], lse, LSE)
        figures.append(found)
        if not all(share < 1 for share in found):
            failed.append(f"    {B} of {tokens}, varied {varied}, causal {causal}, without a token {empty}: "
                          + ", ".join(f"{share:.3g}" for share in found))
    most = [max(column) for column in zip(*figures)]
    line = (f"{'FAIL' if failed else 'ok  '} {case['name']:28} {len(figures):3} runs, of what is allowed: out {most[0]:.3f}, "
            f"cos {most[1]:.3f}, lse {most[2]:.3f}; {loaded - begun:.1f} + {time.perf_counter() - loaded:.1f} s")
    return not failed, "\n".join([line, *failed[:4]]), len(figures)


def task(arguments):
    build, case = arguments
    try:
        return run_case(build, case)
    except Exception as error:  # the other cases are still wanted; the exit code says that one is missing
        return False, f"FAIL {case['name']}: {type(error).__name__}: {error}", 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="folder that build.mjs wrote")
    parser.add_argument("--only", default="", help="cases whose name has it")
    parser.add_argument("--workers", type=int, default=8, help="processes: a driver compiles one kernel in each at a time")
    options = parser.parse_args()
    begun = time.perf_counter()
    with open(os.path.join(options.build, "cases.json"), encoding="utf8") as file:
        chosen = [case for case in json.load(file) if options.only in case["name"]]
    accepted = runs = 0
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for good, line, count in pool.imap_unordered(task, [(options.build, case) for case in chosen]):
            print(line, flush=True)
            accepted, runs = accepted + good, runs + count
    print(f"{accepted} of {len(chosen)} cases accepted, {runs} runs, {time.perf_counter() - begun:.0f} s")
    return 0 if accepted == len(chosen) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
