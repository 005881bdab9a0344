"""How near products of block-scaled factors are to what they stand for, on a GPU, for several kinds of inputs.

    node test/bench/build.mjs BUILD --only accuracy
    python3 test/bench/torch_accuracy.py BUILD [--out OUT]

Differences are 1 - 2 sum(x y) / sum(x^2 + y^2), in f64. `codes`: against the product of the codes times their scales,
below 3e-6 for bf16 results and below 1e-6 for f32 ones. `bf16`: against the bf16 product of what was quantised, below 1e-3
where both factors are normal, and told for the others. Writes OUT/accuracy.json; the exit code is 1 where a bar is missed.
"""
import argparse
import json
import math
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../runtime/python"))
import weft

BLOCK = 128
BARS = {"narrow": 3e-6, "wide": 1e-6}
NORMAL_BAR = 1e-3


def normal(rows, K):
    return torch.randn(rows, K, device="cuda")


def heavy(rows, K):
    """Student's t with two degrees of freedom: its variance is infinite."""
    return normal(rows, K) / torch.empty(rows, K, device="cuda").exponential_().sqrt()


def channels(rows, K):
    """One channel in 64 is a hundred times larger."""
    large = torch.where(torch.arange(K, device="cuda") % 64 == 17, 100.0, 1.0)
    return normal(rows, K) * large


KINDS = {
    "normal, normal": (normal, normal),
    "heavy tails, normal": (heavy, normal),
    "heavy tails, heavy tails": (heavy, heavy),
    "large channels, normal": (channels, normal),
    "large channels, large channels": (channels, channels),
}


def difference(found, wanted):
    """The formula without its cancellation."""
    x, y = found.double(), wanted.double()
    return float((x - y).square().sum() / (x.square() + y.square()).sum())


def dequantised(codes, scales, rows):
    """Codes times scales in f64; a scale is for `rows` rows."""
    spread = scales.double().repeat_interleave(rows, 0)[: codes.shape[0]]
    return codes.double() * spread.repeat_interleave(BLOCK, 1)[:, : codes.shape[1]]


def factors(outputs):
    left = dequantised(outputs["left"], outputs["left.scale"], 1)
    return left, dequantised(outputs["right"], outputs["right.scale"], BLOCK)


def near(plan, make, M, N, K):
    x, w = make[0](M, K).bfloat16(), make[1](N, K).bfloat16()
    outputs = plan(x=x, w=w)
    left, right = factors(outputs)
    wanted = left @ right.t()
    exact = (x.double() @ w.double().t()).bfloat16()
    codes = {name: difference(outputs[name], wanted) for name in BARS}
    return dict(codes=codes, bf16=difference(outputs["narrow"], exact))


def odd_numbers(plan, M, N, K):
    """What is wrong with zeros, NaN and infinities, in words; nothing where all is well."""
    x, w = normal(M, K).bfloat16(), normal(N, K).bfloat16()
    x[0], w[:BLOCK] = 0.0, 0.0
    x[1, 5], x[2, 300], w[-1, 7] = math.nan, math.inf, math.nan
    outputs = plan(x=x, w=w)
    wrong = []
    for name in ("left.scale", "right.scale"):
        finite = torch.isfinite(outputs[name])
        # The block with the infinity is row 2's third.
        if name == "left.scale":
            finite[2, 300 // BLOCK] = True
        if not bool(finite.all()) or not bool((outputs[name] > 0).all()):
            wrong.append(f"{name} is not finite and positive")
    for name in BARS:
        is_nan = torch.isnan(outputs[name])
        expected = torch.zeros_like(is_nan)
        expected[1:3], expected[:, -1] = True, True
        if not torch.equal(is_nan, expected):
            wrong.append(f"{name}: NaN in {int((is_nan != expected).sum())} places too many or too few")
        if not bool((outputs[name][0, :-1] == 0).all()) or not bool((outputs[name][3:, :BLOCK] == 0).all()):
            wrong.append(f"{name}: a product with zeros is not zero")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="folder that test/bench/build.mjs wrote")
    parser.add_argument("--out", default=os.environ.get("OUT", "."), help="folder for accuracy.json")
    options = parser.parse_args()
    with open(os.path.join(options.build, "cases.json"), encoding="utf8") as file:
        cases = [case for case in json.load(file) if case["group"] == "accuracy"]
    rows, missed = [], []
    for case in cases:
        if "error" in case:
            missed.append(f"{case['name']}: {case['error']}")
            continue
        plan = weft.Plan(os.path.join(options.build, case["name"]))
        M, N, K = (case["dims"][name] for name in "MNK")
        for kind, make in KINDS.items():
            torch.manual_seed(1)
            found = near(plan, make, M, N, K)
            rows.append(dict(name=case["name"], kind=kind, **found))
            for name, bar in BARS.items():
                if not found["codes"][name] < bar:
                    missed.append(f"{case['name']}, {kind}: {name} is off by {found['codes'][name]:.2g}, {bar:g} is allowed")
            if kind == "normal, normal" and not found["bf16"] < NORMAL_BAR:
                missed.append(f"{case['name']}: {found['bf16']:.2g} from the bf16 product, {NORMAL_BAR:g} is allowed")
            codes = found["codes"]
            print(f"{case['name']:28} {kind:32} codes: bf16 {codes['narrow']:.2e}  f32 {codes['wide']:.2e}  "
                  f"bf16 product: {found['bf16']:.2e}", flush=True)
        missed += [f"{case['name']}: {text}" for text in odd_numbers(plan, M, N, K)]
    os.makedirs(options.out, exist_ok=True)
    head = dict(device=torch.cuda.get_device_name(0), torch=torch.__version__)
    with open(os.path.join(options.out, "accuracy.json"), "w", encoding="utf8") as file:
        json.dump(dict(head, rows=rows, missed=missed), file, indent=2)
    for text in missed:
        print(text, file=sys.stderr)
    return 1 if missed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
