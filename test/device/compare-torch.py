"""Recomputes what export.mjs wrote with plain PyTorch operations and compares.

    python3 test/device/compare-torch.py OUTDIR [--device cuda]

Arithmetic is f64, rounded where the programs write a type. A result may differ by `rel` of its tensor's largest
element: 2^-17 for f32, and two units of the last place for narrower dtypes, for a rounding before may fall to the
other side; four for chains of many layers.
"""
import json
import math
import os
import struct
import sys

import torch
import torch.nn.functional as nn

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}
UNIT = {torch.float32: 2.0**-18, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def read(path):
    with open(path, "rb") as file:
        raw = file.read()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in DTYPES:
            continue
        begin, end = entry["data_offsets"]
        data = bytearray(raw[8 + size + begin : 8 + size + end])
        dtype = DTYPES[entry["dtype"]]
        flat = torch.frombuffer(data, dtype=dtype) if len(data) > 0 else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def as64(x):
    return x.double() if x.is_floating_point() else x


def rounded(x, dtype):
    return x.to(dtype).double()


def to_bf16(x):
    return rounded(x, torch.bfloat16)


def rms(x, g):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * g


def rotate(x, pos, freq):
    """x: [B, S, ..., D], pos: [B, S], freq: [D / 2]; neighbours are pairs, turned as complex numbers."""
    angle = pos.double().reshape(list(pos.shape) + [1] * (x.dim() - pos.dim())) * freq
    pairs = torch.view_as_complex(x.reshape(list(x.shape[:-1]) + [x.shape[-1] // 2, 2]).clone(memory_format=torch.contiguous_format))
    turned = pairs * torch.polar(torch.ones_like(angle), angle)
    return torch.view_as_real(turned).reshape(x.shape)


def frequencies(width, theta=1e4):
    return theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def kept_softmax(score, keep):
    p = torch.softmax(score.masked_fill(~keep, -math.inf), -1)
    return torch.nan_to_num(p, nan=0.0)


def attend(t, dtype):
    q, k, v, keep = t["q"], t["k"], t["v"], t["keep"]
    score = torch.einsum("bshgd,bthd->bshgt", q, k) / math.sqrt(q.shape[-1])
    p = kept_softmax(score, keep[:, :, None, None, :])
    return {"out": torch.einsum("bshgt,bthe->bshge", rounded(p, dtype), v)}


def yarn(t, dtype):
    x, pos = t["x"], t["pos"]
    width, theta, factor, original = x.shape[-1], 1e4, 4.0, 64.0
    pair = lambda turns: width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
    low = max(math.floor(pair(32.0)), 0)
    high = min(math.ceil(pair(1.0)), width - 1)
    ramp = ((torch.arange(width // 2, dtype=torch.float64) - low) / max(high - low, 0.001)).clamp(0, 1)
    base = frequencies(width)
    y = rotate(x, pos, base / factor * ramp + base * (1 - ramp))
    return {"out": rounded(y, dtype) * (0.1 * math.log(4.0) + 1)}


def block(t, x, pos, prefix=""):
    w = lambda name: t[prefix + name]
    h = to_bf16(rms(x, w("g_attn")))
    project = lambda name, rule: to_bf16(torch.einsum(rule, h, w(name)))
    q = project("w_q", "bsm,hgdm->bshgd")
    k = project("w_k", "bsm,hdm->bshd")
    v = project("w_v", "bsm,hdm->bshd")
    freq = frequencies(q.shape[-1])
    q, k = to_bf16(rotate(q, pos, freq)), to_bf16(rotate(k, pos, freq))
    keep = (pos[:, None, :] <= pos[:, :, None])[:, :, None, None, :]
    score = torch.einsum("bshgd,bthd->bshgt", q, k) / math.sqrt(q.shape[-1])
    p = to_bf16(kept_softmax(score, keep))
    o = to_bf16(torch.einsum("bshgt,bthd->bshgd", p, v))
    y = to_bf16(x + to_bf16(torch.einsum("bshgd,mhgd->bsm", o, w("w_o"))))
    return to_bf16(y + mlp(t, to_bf16(rms(y, w("g_mlp"))), prefix))


def mlp(t, x, prefix=""):
    w = lambda name: t[prefix + name]
    gate = torch.einsum("bsm,fm->bsf", x, w("w_gate"))
    up = torch.einsum("bsm,fm->bsf", x, w("w_up"))
    return to_bf16(torch.einsum("bsf,mf->bsm", to_bf16(nn.silu(gate) * up), w("w_down")))


def model(t, dtype):
    pos = t["pos"]
    x = to_bf16(t["embed"][t["ids"]])
    y = block(t, block(t, x, pos, "first."), pos, "second.")
    return {"out": torch.einsum("bsm,vm->bsv", to_bf16(rms(y, t["g_out"])), t["embed"])}


def moe(t, dims):
    x = t["x"]
    n, e, g, kg, k = x.shape[0], dims["E"], dims["G"], dims["Kg"], dims["K"]
    s = torch.sigmoid(x @ t["w_gate"].T)
    biased = (s + t["bias"]).reshape(n, g, e // g)
    group = biased.topk(2, dim=-1).values.sum(-1)
    kept = torch.zeros(n, g, dtype=torch.bool).scatter(1, group.topk(kg, dim=-1).indices, True)
    chosen = biased.masked_fill(~kept[:, :, None], -math.inf).reshape(n, e).topk(k, dim=-1).indices
    weight = s.gather(1, chosen)
    weight = 2.5 * weight / weight.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    for row in range(n):
        for slot in range(k):
            i = int(chosen[row, slot])
            h = nn.silu(t["w_gate_proj"][i] @ x[row]) * (t["w_up"][i] @ x[row])
            # No type is written for h: it rounds to the other factor's dtype, which an f32 weight leaves alone.
            h = h if t["w_down.dtype"] == torch.float32 else to_bf16(h)
            out[row] += weight[row, slot] * to_bf16(t["w_down"][i] @ h)
    return {"out": out}


def mla(t, dims):
    x, pos = t["x"], t["pos"]
    dn, ck = dims["Dn"], dims["Ck"]
    width = dn + dims["Dr"]
    # z is rounded by the matrix unit's rule where it meets a bf16 weight: rmsnorm of an unannotated f32 stays one.
    z = to_bf16(rms(torch.einsum("bsm,om->bso", x, t["w_dq"]), t["g_q"]))
    q = torch.einsum("bsl,hol->bsho", z, t["w_uq"])
    qn, qr = to_bf16(q[..., :dn]), to_bf16(rotate(q[..., dn:], pos, frequencies(dims["Dr"])))
    kv = torch.einsum("bsm,om->bso", x, t["w_dkv"])
    c, r = to_bf16(rms(kv[..., :ck], t["g_kv"])), to_bf16(rotate(kv[..., ck:], pos, frequencies(dims["Dr"])))
    k = to_bf16(torch.einsum("btl,hnl->bthn", c, t["w_uk"]))
    v = to_bf16(torch.einsum("btl,hdl->bthd", c, t["w_uv"]))
    score = (torch.einsum("bshn,bthn->bsht", qn, k) + torch.einsum("bshe,bte->bsht", qr, r)) / math.sqrt(width)
    keep = (pos[:, None, :] <= pos[:, :, None])[:, :, None, :]
    o = to_bf16(torch.einsum("bsht,bthd->bshd", to_bf16(kept_softmax(score, keep)), v))
    return {"out": torch.einsum("bshd,mhd->bsm", o, t["w_o"])}


def convolved(t, dtype):
    x, w = t["x"], t["w"]
    padded = nn.pad(x, (0, 0, 3, 0))
    length = x.shape[1]
    return {"out": sum(padded[:, 3 - i : 3 - i + length] * w[i] for i in range(4))}


def cross_entropy(t, dtype):
    target = t["target"].long()
    each = nn.cross_entropy(t["logits"], target.clamp(min=0), reduction="none")
    return {"out": torch.where(target < 0, torch.zeros_like(each), each)}


def one(f):
    return lambda t, dtype: {"out": f(t)}


PROGRAMS = {
    "softened": one(lambda t: torch.softmax(t["x"], 1)),
    "softened_columns": one(lambda t: torch.softmax(t["x"], 0)),
    "softened_kept": one(lambda t: kept_softmax(t["x"], t["keep"])),
    "normalised": one(lambda t: rms(t["x"], t["g"])),
    "layered": one(lambda t: nn.layer_norm(t["x"], t["g"].shape, t["g"], t["b"], 1e-5)),
    "silu_of": one(lambda t: nn.silu(t["x"])),
    "gelu_of": one(lambda t: nn.gelu(t["x"])),
    "gated": one(lambda t: nn.silu(t["gate"]) * t["up"]),
    "loss": cross_entropy,
    "turned": one(lambda t: rotate(t["x"], t["pos"], frequencies(t["x"].shape[-1]))),
    "stretched": yarn,
    "reduced_columns": lambda t, dtype: {"s": t["x"].sum(0), "hi": t["x"].amax(0)},
    "middle": one(lambda t: t["x"].sum(1)),
    "multiplied": one(lambda t: t["x"] @ t["w"].T),
    "multiplied_plain": one(lambda t: t["x"] @ t["w"]),
    "multiplied_left": one(lambda t: t["x"].T @ t["w"]),
    "multiplied_batch": one(lambda t: t["x"] @ t["w"].transpose(-1, -2)),
    "multiplied_vector": one(lambda t: t["w"] @ t["x"]),
    "multiplied_bias": one(lambda t: nn.gelu(t["x"] @ t["w"].T + t["b"])),
    "multiplied_two": one(lambda t: torch.einsum("bshk,mhk->bsm", t["x"], t["w"])),
    "functions": lambda t, dtype: {
        "a": torch.exp(t["x"]), "b": torch.exp2(t["x"]), "c": torch.log(t["x"].abs()), "d": torch.log2(t["x"].abs() + 1),
        "e": torch.sqrt(t["x"].abs()), "f": torch.rsqrt(t["x"].abs() + 0.5), "g": torch.sin(t["x"]), "h": torch.cos(t["x"]),
        "i": torch.tanh(t["x"]), "j": torch.sigmoid(t["x"]),
    },
    "more_functions": lambda t, dtype: {
        "a": torch.erf(t["x"]), "b": torch.floor(t["x"]), "c": torch.ceil(t["x"]), "d": torch.round(t["x"]),
        "e": t["x"].clamp(-1, 1), "g": t["x"] / (t["x"].abs() + 0.25),
    },
    "convolved": convolved,
    "gathered": one(lambda t: t["table"][t["ids"].long().clamp(0, t["table"].shape[0] - 1)]),
    "transposed": one(lambda t: t["x"].T),
    "attend": attend,
    "linear_bf16": one(lambda t: t["x"] @ t["w"].T),
    "Block.mlp": one(lambda t: mlp(t, t["x"])),
    "Block.forward": one(lambda t: block(t, t["x"], t["pos"])),
    "Model.forward": model,
}
WITH_DIMS = {"Moe.forward": moe, "Mla.forward": mla}
# Units of the last place, of the largest element, that a chain of roundings may differ by.
LOOSE = {"Block.forward": 6, "Model.forward": 8, "Mla.forward": 6, "Moe.forward": 4, "Block.mlp": 4}


def compare(folder, row):
    tensors = read(os.path.join(folder, row["file"]))
    inputs = {name[3:]: as64(x) for name, x in tensors.items() if name.startswith("in.")}
    outputs = {name[4:]: x for name, x in tensors.items() if name.startswith("out.")}
    for name, x in tensors.items():
        if name.startswith("in."):
            inputs[name[3:] + ".dtype"] = x.dtype
    entry = row["entry"]
    if entry in WITH_DIMS:
        expected = WITH_DIMS[entry](inputs, row["dims"])
    else:
        expected = PROGRAMS[entry](inputs, next((x.dtype for x in outputs.values()), torch.float32))
    chain = UNIT[torch.bfloat16] if entry in LOOSE else 0.0
    worst = 0.0
    for name, want in expected.items():
        have = outputs[name]
        if list(have.shape) != list(want.shape):
            raise ValueError(f"{name}: {list(have.shape)} for {list(want.shape)}")
        scale = float(want.abs().max()) if want.numel() > 0 else 0.0
        unit = max(UNIT[have.dtype], chain)
        allowed = LOOSE.get(entry, 2) * unit * max(scale, 1e-30)
        # float16 keeps no more than this near zero.
        allowed = max(allowed, 2.0**-24 if have.dtype == torch.float16 else 0.0)
        error = float((have.double() - want).abs().max()) if want.numel() > 0 else 0.0
        if error != error:
            error = math.inf
        worst = max(worst, error / allowed)
    return worst


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, "manifest.json")) as file:
        manifest = json.load(file)
    failures = 0
    groups = {}
    for row in manifest:
        label = (row["entry"] + " " + " ".join(f"{k}={v}" for k, v in row["types"].items())).strip()
        try:
            ratio, problem = compare(folder, row), ""
        except Exception as error:  # one program that fails must not hide the others
            ratio, problem = math.inf, repr(error)
        best = groups.setdefault(label, [0, 0.0, ""])
        best[0] += 1
        if ratio > best[1]:
            best[1], best[2] = ratio, f"{row['file']} {problem}"
    for label, (runs, ratio, where) in groups.items():
        ok = ratio <= 1
        failures += 0 if ok else 1
        print(f"{'ok  ' if ok else 'FAIL'} {label:32} {runs} runs, error / allowed {ratio:.3f}{'' if ok else '  ' + where}")
    print(f"torch {torch.__version__}: {len(groups)} programs, {failures} beyond")
    sys.exit(1 if failures > 0 or len(groups) == 0 else 0)


main()
