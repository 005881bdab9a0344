"""Products of the rows of each expert with its own weight, and of their gradients, beside PyTorch's grouped products.

    node test/bench/build.mjs BUILD --only grouped
    python3 test/bench/torch_grouped.py BUILD --out OUT [--only masked] [--seconds 2]

`contiguous` has blocks of 128 rows, each of one expert; `masked` has room for T rows of each expert and 192 on average. FLOPs
are those of the rows that count. PyTorch has e4m3 with one scale a row, which is less work, and bf16; of T rows it multiplies
all. Where this PyTorch has none, a copy stands beside.
"""
import functools
import sys

import torch

import harness

BLOCK = 128


def tensors(case):
    dims, entry = case["dims"], case["entry"]
    E, N, K = (dims[name] for name in "ENK")
    is_wide = entry.endswith("_bf16")
    dtype = torch.bfloat16 if is_wide else torch.float8_e4m3fn
    make = lambda *size: torch.randn(*size, device="cuda", dtype=torch.bfloat16).to(dtype)
    scales = lambda *size: torch.rand(*size, device="cuda") + 0.5
    runs, int32 = K // BLOCK, dict(device="cuda", dtype=torch.int32)
    if entry == "masked":
        T = dims["T"]
        # Of each expert about 192 rows, from 0.7 to 1.3 times as many.
        count = (192 * (0.7 + 0.6 * torch.rand(E, device="cuda"))).int().clamp(max=T)
        return {"x": make(E, T, K), "x.scale": scales(E, T, runs), "count": count,
                "w": make(E, N, K), "w.scale": scales(E, N // BLOCK, runs)}
    B = dims["B"]
    ends = torch.arange(1, E + 1, **int32) * B // E
    first = torch.cat([torch.zeros(1, **int32), ends[:-1]])
    if entry == "gradients_bf16":
        return dict(x=make(B, BLOCK, K), y=make(B, BLOCK, N), first=first, below=ends)
    if entry == "gradients":
        return {"x": make(K, B, BLOCK), "x.scale": scales(K, B, 1), "y": make(N, B, BLOCK), "y.scale": scales(N, B, 1),
                "first": first, "below": ends}
    expert = torch.bucketize(torch.arange(B, **int32), ends, right=True).int()
    made = dict(x=make(B, BLOCK, K), expert=expert, w=make(E, N, K))
    return made if is_wide else made | {"x.scale": scales(B, BLOCK, runs), "w.scale": scales(E, N // BLOCK, runs)}


def rows_of(case, inputs):
    if case["entry"] == "masked":
        return int(inputs["count"].sum())
    return case["dims"]["B"] * BLOCK


# ---------------------------------------------------------------- peers


def offsets(inputs):
    """The first row after those of each expert."""
    if "below" in inputs:
        return inputs["below"] * BLOCK
    counts = torch.bincount(inputs["expert"].long(), minlength=inputs["w"].shape[0])
    return (counts.cumsum(0) * BLOCK).int()


def theirs(case, inputs):
    """A call of PyTorch's; raises where there is none."""
    entry = case["entry"]
    if entry == "gradients_bf16":
        x, y = inputs["x"].flatten(0, 1), inputs["y"].flatten(0, 1)
        ends = offsets(inputs)
        return lambda: torch._grouped_mm(y.t(), x, offs=ends)
    if entry == "contiguous_bf16":
        x, w, ends = inputs["x"].flatten(0, 1), inputs["w"].transpose(1, 2), offsets(inputs)
        return lambda: torch._grouped_mm(x, w, offs=ends)
    if entry == "gradients":
        raise NotImplementedError("gradients scaled along tokens")
    w = inputs["w"].transpose(1, 2)
    of_columns = torch.ones(w.shape[0], w.shape[2], device="cuda")
    if entry == "masked":
        of_rows = torch.ones(inputs["x"].shape[:2], device="cuda")
        return lambda: torch._scaled_grouped_mm(inputs["x"], w, of_rows, of_columns, out_dtype=torch.bfloat16)
    if entry == "contiguous":
        x, ends = inputs["x"].flatten(0, 1), offsets(inputs)
        of_rows = torch.ones(x.shape[0], device="cuda")
        return lambda: torch._scaled_grouped_mm(x, w, of_rows, of_columns, offs=ends, out_dtype=torch.bfloat16)
    raise NotImplementedError(entry)


@functools.cache
def has(entry):
    sizes = dict(E=2, N=256, K=256) | (dict(T=256) if entry == "masked" else dict(B=4))
    case = dict(entry=entry, dims=sizes)
    try:
        theirs(case, tensors(case))()
        torch.cuda.synchronize()
        return True
    except (AttributeError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        print(f"no {entry} in this PyTorch: {str(error).splitlines()[0]}", file=sys.stderr)
        return False


def copy_of(case):
    """Where PyTorch has no such product: a copy, so that a row has a time beside it."""
    def start(inputs):
        x = inputs["x"].view(torch.uint8)
        out = torch.empty_like(x)
        return lambda: out.copy_(x)

    return harness.Peer("copy of x", start)


def peers(case):
    name = "PyTorch, a scale a row" if case["entry"] in ("contiguous", "masked") else "PyTorch"
    return [harness.Peer(name, lambda inputs: theirs(case, inputs))] if has(case["entry"]) else [copy_of(case)]


# ---------------------------------------------------------------- results


def spread(scale, axis, size):
    return scale.double().repeat_interleave(BLOCK, axis).narrow(axis, 0, size)


def wide(inputs, name, e=None):
    """A factor, or that of an expert, in f64 with its scales."""
    tensor, scale = inputs[name], inputs.get(f"{name}.scale")
    if e is not None:
        tensor, scale = tensor[e], None if scale is None else scale[e]
    if scale is None:
        return tensor.double()
    if name == "w":
        scale = spread(scale, 0, tensor.shape[0])
    return tensor.double() * spread(scale, scale.dim() - 1, tensor.shape[-1])


def bound(case, out, expected, left, right, terms):
    """As `torch_gemm.py` has it: the result's rounding, and the errors of a sum's steps at six deviations."""
    is_wide = case["entry"].endswith("_bf16")
    steps, step, run = (terms, 2.0**-23, terms) if is_wide else (-(-terms // 32), 2.0**-13, min(terms, BLOCK))
    deviation = float(left.pow(2).mean().sqrt() * right.pow(2).mean().sqrt())
    of_sum = (steps * step * run**0.5 + terms * 2.0**-23 * terms**0.5) * 6 * deviation
    return out, expected, 2 * harness.unit(out.dtype) * expected.abs() + of_sum


def check(case, inputs, outputs):
    out, entry, K = outputs["out"], case["entry"], case["dims"]["K"]
    if entry.startswith("gradients"):
        for e, (first, below) in enumerate(zip(inputs["first"].tolist(), inputs["below"].tolist())):
            if entry == "gradients":
                cut = lambda name: {name: inputs[name][:, first:below], f"{name}.scale": inputs[f"{name}.scale"][:, first:below]}
                x, y = (wide(cut(name), name).flatten(1) for name in "xy")
            else:
                x, y = (inputs[name][first:below].double().flatten(0, 1).t() for name in "xy")
            yield bound(case, out[e], y @ x.t(), x, y, x.shape[1])
        return
    if entry == "masked":
        for e, count in enumerate(inputs["count"].tolist()):
            x, w = wide(inputs, "x", e), wide(inputs, "w", e)
            expected = x @ w.t()
            expected[count:] = 0
            yield bound(case, out[e], expected, x, w, K)
        return
    experts = inputs["expert"].long()
    for e in experts.unique().tolist():
        w, own = wide(inputs, "w", e), (experts == e).nonzero().flatten()
        for part in own.split(16):
            cut = {name: inputs[name][part] for name in ("x", "x.scale") if name in inputs}
            x = wide(cut, "x")
            yield bound(case, out[part], x @ w.t(), x, w, K)


def work_of(case, plan_of):
    N, K = (case["dims"][name] for name in "NK")
    # The rows of the first inputs; the others' are as many but for chance.
    return harness.Work(
        inputs=lambda: tensors(case),
        peers=peers(case),
        check=lambda inputs, outputs: check(case, inputs, outputs),
        amount=2.0 * rows_of(case, tensors(case)) * N * K,
    )


if __name__ == "__main__":
    sys.exit(harness.main(["grouped"], work_of, harness.arguments(__doc__)))
