"""What memory bounds, by bytes a second: against a copy of a tensor by PyTorch, and against PyTorch's own operation.

    node test/bench/build.mjs BUILD --only rowwise
    python3 test/bench/torch_rowwise.py BUILD --out OUT [--compile] [--seconds 2]

Bytes are those that must move: each input read once, each result written once. PyTorch's operations are eager, or with
--compile also torch.compile's; eager they may move more, which is theirs to answer for. `quantised` and its like give e4m3
codes and a scale for each 128 of a row.
"""
import sys

import torch
import torch.nn.functional as F

import harness

BLOCK = 128
EPS = 1e-6  # of rmsnorm in the library


def tensors(case):
    N, D = case["dims"]["N"], case["dims"]["D"]
    make = lambda *size: torch.randn(*size, device="cuda", dtype=torch.bfloat16)
    kind = case["entry"].replace("_rows", "").replace("_quantised", "")
    if kind == "cross_entropy":
        return dict(logits=make(N, D), target=torch.randint(0, D, (N,), device="cuda", dtype=torch.int32))
    if kind == "swiglu":
        return dict(gate=make(N, D), up=make(N, D))
    return dict(x=make(N, D), g=torch.randn(D, device="cuda")) if kind == "rmsnorm" else dict(x=make(N, D))


def rmsnorm(x, g):
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS) * g).to(x.dtype)


def quantised(x):
    """e4m3 codes of x, a block of 128 along a row at a time, and the blocks' scales."""
    blocks = x.float().unflatten(-1, (-1, BLOCK))
    scale = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-4) / 448
    codes = (blocks * scale.reciprocal()).to(torch.float8_e4m3fn)
    return codes.flatten(-2), scale.squeeze(-1)


# Of one set of inputs, as PyTorch says it, in any float type.
OPERATIONS = {
    "copied": lambda x: x.clone(),
    "rmsnorm_rows": rmsnorm,
    "softmax_rows": lambda x: torch.softmax(x, -1),
    "swiglu_rows": lambda gate, up: F.silu(gate) * up,
    "quantised_rows": quantised,
    "rmsnorm_quantised_rows": lambda x, g: quantised(rmsnorm(x, g)),
    "swiglu_quantised_rows": lambda gate, up: quantised(F.silu(gate) * up),
    "cross_entropy_rows": lambda logits, target: F.cross_entropy(logits.float(), target.long(), reduction="none"),
}


def copy_of(case):
    """A copy of about as many bytes as the case moves."""
    N, D = case["dims"]["N"], case["dims"]["D"]

    def start(inputs):
        x = next(tensor for tensor in inputs.values() if tuple(tensor.shape) == (N, D))
        out = torch.empty_like(x)
        return lambda: out.copy_(x)

    return harness.Peer("copy", start, 2.0 * N * D * 2)


def wide(entry, part, inputs):
    """The expected values of some rows, in f64."""
    cut = {name: tensor if name == "g" else tensor[part] for name, tensor in inputs.items()}
    if entry == "cross_entropy_rows":
        return F.cross_entropy(cut["logits"].double(), cut["target"].long(), reduction="none")
    if entry in ("quantised_rows", "swiglu_quantised_rows"):
        return cut["x"].double() if "x" in cut else F.silu(cut["gate"].double()) * cut["up"].double()
    if entry in ("rmsnorm_rows", "rmsnorm_quantised_rows"):
        x = cut["x"].double()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * cut["g"].double()
    return OPERATIONS[entry](**{name: tensor.double() for name, tensor in cut.items()})


def check(case, inputs, outputs):
    """The result's own rounding; before it everything is f32. A row is summed by 32 lanes at least, so that D / 32 terms
    follow each other, each with a rounding of 2^-24 of the sum; the functions of the special unit are within 2^-21."""
    N, D = case["dims"]["N"], case["dims"]["D"]
    out = outputs["out"]
    of_f32 = 2.0**-24 * D / 32 + 2.0**-20
    for part in harness.rows_in_parts(N, 512):
        expected = wide(case["entry"], part, inputs)
        if "out.scale" in outputs:
            # What is quantised is a bf16 where the library's operation gives one: half a step of that, and of e4m3 half a
            # step of 3 bits, or of the least of them where the code is subnormal.
            scale = outputs["out.scale"][part].double()
            made = 0 if case["entry"] == "quantised_rows" else 2 * harness.unit(torch.bfloat16) + of_f32
            largest = expected.unflatten(-1, (-1, BLOCK)).abs().amax(-1).clamp(min=1e-4)
            yield scale, largest / 448, (made + 2.0**-22) * largest / 448
            each = scale.repeat_interleave(BLOCK, -1)
            step = (2.0**-4 + made + 2.0**-22) * expected.abs() + 2.0**-10 * each
            yield out[part].double() * each, expected, step
            continue
        relative = 2 * harness.unit(out.dtype) + of_f32
        # A logarithm of a sum with a relative error has it as an absolute one.
        absolute = of_f32 * 4 if case["entry"] == "cross_entropy_rows" else 1e-30
        yield out[part], expected, relative * expected.abs() + absolute


def work_of(case, plan_of, options):
    entry = case["entry"]
    sample = tensors(case)
    moved = sum(tensor.nbytes for tensor in sample.values())
    N, D = case["dims"]["N"], case["dims"]["D"]
    made = {"cross_entropy": 4, "quantised": D + 4 * D // BLOCK}
    moved += N * next((bytes for name, bytes in made.items() if name in entry), 2 * D)
    peers = [copy_of(case)]
    if entry != "copied":
        peers.append(harness.Peer("PyTorch", lambda inputs: lambda: OPERATIONS[entry](**inputs)))
    if entry != "copied" and options.compile:
        compiled = torch.compile(OPERATIONS[entry], dynamic=False)
        peers.append(harness.Peer("torch.compile", lambda inputs: lambda: compiled(**inputs)))
    return harness.Work(
        inputs=lambda: tensors(case),
        peers=peers,
        check=lambda inputs, outputs: check(case, inputs, outputs),
        amount=float(moved),
        unit="byte",
    )


if __name__ == "__main__":
    given = harness.arguments(__doc__)
    sys.exit(harness.main(["rowwise"], lambda case, plan_of: work_of(case, plan_of, given), given))
