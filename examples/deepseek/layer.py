"""One layer of DeepSeek-V3 on a GPU, as compiled from block.dsl: its time, and its results beside PyTorch's.

    D=P=64,Dm=7168,H=128,Dn=128,Dr=64,Dv=128,Cq=1536,Ck=512,F=18432,W=bf16
    node dist/cli/weft.js build examples/deepseek/block.dsl:DenseLayer.step --dims B=64,S=1,T=8192,$D --target ptx -o dist/layer/decode
    node dist/cli/weft.js build examples/deepseek/block.dsl:DenseLayer.step --dims B=1,S=4096,T=4096,$D --target ptx -o dist/layer/prefill
    python3 examples/deepseek/layer.py dist/layer/decode dist/layer/prefill

Weights are bf16 and drawn. With S < T, sequences of several lengths up to T - S are in the cache; with S = T it is empty.
Pages have no order, and slots that no sequence has hold NaN. Results are held to PyTorch's in f32, of three sequences,
with keys and values expanded and nothing rounded on the way: at most ROUNDINGS values on the way are rounded to bf16,
each by half a unit of 2^-8, at the size of the largest result, and so in norm. Times are medians of single runs between two events, of
the compiled layer and of the same formulas written in PyTorch in bf16. The exit code is 1 where a result is beyond its bound.
"""
import argparse
import math
import os
import statistics
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../runtime/python"))
import weft

ROUNDINGS = 20


def drawn(shape, deviation):
    return (torch.randn(shape, device="cuda") * deviation).to(torch.bfloat16)


def params_of(plan):
    """By name; what a product with a vector gives is about as large as the vector."""
    made = {}
    for entry in plan.plan["inputs"]:
        if entry["role"] != "param":
            continue
        name, shape = entry["name"], [int(size) for size in entry["shape"]]
        if name.endswith("freq"):
            made[name] = 10000.0 ** (-torch.arange(shape[0], device="cuda") / shape[0])
        elif name.endswith("stretch"):
            made[name] = torch.tensor((0.1 * math.log(40) + 1) ** 2, device="cuda")
        elif len(shape) == 1:
            made[name] = 1 + torch.randn(shape, device="cuda") / 10
        else:
            made[name] = drawn(shape, shape[-1] ** -0.5)
    return made


class Cache:
    """Pages in a random order; sequence b has `length[b]` drawn rows, and all other slots hold NaN."""

    def __init__(self, length, longest, page, width):
        self.page, self.length = page, torch.tensor(length, dtype=torch.int32, device="cuda")
        slots = -(-longest // page)
        self.table = torch.randperm(len(length) * slots, device="cuda").to(torch.int32).view(len(length), slots)
        self.pages = torch.full((len(length) * slots, page, width), math.nan, dtype=torch.bfloat16, device="cuda")
        for b, count in enumerate(length):
            for first in range(0, count, page):
                rows = min(page, count - first)
                self.pages[self.table[b, first // page].long(), :rows] = drawn((rows, width), 1.0)

    def rows(self, b, count):
        """The first rows of a sequence."""
        return self.pages[self.table[b].long()].flatten(0, 1)[:count]

    def gathered(self):
        """[B, T, width], 0 where no sequence has a row."""
        return self.pages[self.table.long()].flatten(1, 2).nan_to_num(0)


def norm(x, g):
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6) * g).to(x.dtype)


def turn(x, pos, freq):
    """Neighbours as complex numbers; pos has x's axes but for the last, or lacks the heads."""
    angle = pos[..., None].float() * freq
    while angle.dim() < x.dim():
        angle = angle.unsqueeze(-2)
    cos, sin = torch.cos(angle), torch.sin(angle)
    a, b = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


class Layer:
    """The formulas, in the dtype of the weights given."""

    def __init__(self, dims, params, dtype):
        self.d = dims
        self.p = {name: tensor.to(dtype) if tensor.dtype == torch.bfloat16 else tensor for name, tensor in params.items()}

    def latent(self, h, pos):
        d, p = self.d, self.p
        c, r = (h @ p["attn.latent.w_dkv"].t()).split([d["Ck"], d["Dr"]], -1)
        return torch.cat([norm(c, p["attn.latent.g_kv"]), turn(r, pos, p["attn.latent.freq"])], -1)

    def queries(self, h, pos):
        d, p = self.d, self.p
        q = norm(h @ p["attn.w_dq"].t(), p["attn.g_q"]) @ p["attn.w_uq"].t()
        n, r = (q.unflatten(-1, (d["H"], d["Dn"] + d["Dr"])) * p["attn.latent.stretch"].to(q.dtype)).split([d["Dn"], d["Dr"]], -1)
        return n, turn(r, pos, p["attn.latent.freq"])

    def rest(self, x, o):
        p = self.p
        y = x + o.flatten(-2) @ p["attn.latent.w_o"].t()
        h = norm(y, p["g_mlp"])
        gate, up = h @ p["mlp.w_gate"].t(), h @ p["mlp.w_up"].t()
        return y + (torch.nn.functional.silu(gate) * up) @ p["mlp.w_down"].t()

    def expanded(self, x, pos, rows):
        """One sequence: x [S, Dm], pos [S], rows [T, Ck + Dr] of the cache, with its own tokens; heads by sixteen."""
        d, p = self.d, self.p
        n, r = self.queries(norm(x, p["g_attn"]), pos)
        c, kr = rows.split([d["Ck"], d["Dr"]], -1)
        weights = p["attn.latent.w_ukv"].view(d["H"], d["Dn"] + d["Dv"], d["Ck"])
        seen = torch.arange(rows.shape[0], device="cuda") <= pos[:, None]
        out = []
        for h in range(0, d["H"], 16):
            kv = torch.einsum("tl,hil->hti", c, weights[h:h + 16])
            score = torch.einsum("shn,htn->hst", n[:, h:h + 16], kv[..., : d["Dn"]]) + torch.einsum("she,te->hst", r[:, h:h + 16], kr)
            score = (score / math.sqrt(d["Dn"] + d["Dr"])).masked_fill(~seen, -math.inf)
            out.append(torch.einsum("hst,htd->shd", torch.softmax(score, -1), kv[..., d["Dn"]:]))
        return self.rest(x, torch.cat(out, 1))

    def decoded(self, x, pos, rows, keep):
        """All sequences, S tokens each, on gathered rows [B, T, Ck + Dr]: no key and no value is made."""
        d, p = self.d, self.p
        n, r = self.queries(norm(x, p["g_attn"]), pos)
        w_uk, w_uv = p["attn.latent.w_ukv"].view(d["H"], d["Dn"] + d["Dv"], d["Ck"]).split([d["Dn"], d["Dv"]], 1)
        q = torch.cat([torch.einsum("bshn,hnl->bshl", n, w_uk), r], -1)
        score = torch.einsum("bshe,bte->bhst", q, rows).float() / math.sqrt(d["Dn"] + d["Dr"])
        weight = torch.softmax(score.masked_fill(~keep[:, None], -math.inf), -1).to(x.dtype)
        o = torch.einsum("bhst,btl->bshl", weight, rows[..., : d["Ck"]])
        return self.rest(x, torch.einsum("bshl,hdl->bshd", o, w_uv))

    def prefilled(self, x, pos, rows):
        """One sequence from nothing, by PyTorch's attention."""
        d, p = self.d, self.p
        n, r = self.queries(norm(x, p["g_attn"]), pos)
        c, kr = rows.split([d["Ck"], d["Dr"]], -1)
        kv = (c @ p["attn.latent.w_ukv"].t()).unflatten(-1, (d["H"], d["Dn"] + d["Dv"]))
        k = torch.cat([kv[..., : d["Dn"]], kr[..., None, :].expand(-1, -1, d["H"], -1)], -1)
        q = torch.cat([n, r], -1)
        o = torch.nn.functional.scaled_dot_product_attention(
            *(t.transpose(1, 2) for t in (q, k, kv[..., d["Dn"]:])), is_causal=True).transpose(1, 2)
        return self.rest(x, o)


def timed(run, before, count=20):
    """Median seconds of single runs, each after `before`."""
    for _ in range(3):
        before()
        run()
    found = []
    for _ in range(count):
        before()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) / 1000)
    return statistics.median(found)


def run(folder):
    """Prints a row; whether the results are within their bound."""
    torch.manual_seed(1)
    plan = weft.Plan(folder)
    d = plan.plan["dims"]["bound"]
    B, S, T = d["B"], d["S"], d["T"]
    params = params_of(plan)
    before = [T - S - (37 * b) % max(1, (T - S) // 2) for b in range(B)]
    cache = Cache(before, T, d["P"], d["Ck"] + d["Dr"])
    start = cache.length.clone()
    x = drawn((B, S, d["Dm"]), 1.0)
    pos = start[:, None] + torch.arange(S, dtype=torch.int32, device="cuda")
    count = torch.full((B,), S, dtype=torch.int32, device="cuda")
    inputs = {**params, "x": x, "pos": pos, "count": count, "kv.pages": cache.pages, "kv.table": cache.table, "kv.length": cache.length}
    bound = plan.bind(inputs)
    again = lambda: cache.length.copy_(start)

    bound()
    torch.cuda.synchronize()
    out = bound.outputs["out"].clone()
    is_appended = torch.equal(cache.length, start + S)
    exact = Layer(d, params, torch.float32)
    worst = largest = relative = 0.0
    for b in sorted({0, B // 2, B - 1}):
        rows = cache.rows(b, int(start[b])).float()
        own = exact.latent(norm(x[b].float(), params["g_attn"]), pos[b])
        expected = exact.expanded(x[b].float(), pos[b], torch.cat([rows, own]))
        difference = (out[b].float() - expected).nan_to_num(nan=math.inf)
        worst, largest = max(worst, float(difference.abs().max())), max(largest, float(expected.abs().max()))
        relative = max(relative, float(difference.norm() / expected.norm()))
        del expected
    del exact
    ours = timed(bound, again)

    plain = Layer(d, params, torch.bfloat16)
    if S == T:
        theirs = timed(lambda: plain.prefilled(x, pos, plain.latent(norm(x, params["g_attn"]), pos)), lambda: None)
    else:
        rows = cache.gathered()
        keep = torch.arange(rows.shape[1], device="cuda") <= pos[..., None]
        theirs = timed(lambda: (plain.latent(norm(x, params["g_attn"]), pos), plain.decoded(x, pos, rows, keep)), lambda: None)
    allowed = ROUNDINGS * 2.0**-9
    is_right = worst <= allowed * largest and relative <= allowed and is_appended
    print(f"{folder}: {B} sequences, {S} tokens each, {int(start.min())} to {int(start.max())} in the cache\n"
          f"  {ours * 1e6:.0f} us, {len(plan.plan['launches'])} kernels; PyTorch {theirs * 1e6:.0f} us\n"
          f"  {'right' if is_right else 'WRONG'}: off by {worst / largest:.4f} of the largest result and by {relative:.4f} in norm, {allowed:.4f} is allowed"
          + ("" if is_appended else "; lengths are not those after the append"), flush=True)
    return is_right


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="what weft build wrote, DenseLayer.step for ptx")
    folders = parser.parse_args().folders
    torch.backends.cuda.matmul.allow_tf32 = False
    results = []
    for folder in folders:
        results.append(run(folder))
        torch.cuda.empty_cache()
    return 0 if all(results) else 1


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
