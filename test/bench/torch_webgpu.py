"""Products of two matrices through WebGPU against cuBLAS, as PyTorch calls it, on the same GPU in turns.

    node test/bench/build.mjs BUILD --only webgpu
    python3 test/bench/torch_webgpu.py BUILD --out OUT [--only f16] [--rounds 20]

How a row comes about:
- Ours is a process of Node that runs the plan through Dawn. In each round it runs the plan `--calls` times, each timed by
  the GPU between the begin and the end of its pass, and waited for. Then PyTorch makes as many calls between two events,
  without a pause. The other side waits meanwhile; each is first in every other round. Rounds follow one another without
  a rest, after two that do not count.
- Both have one set of tensors, the same numbers; a call may find a part of its inputs in the L2 cache, on either side.
- The time is the median, for ours of all calls, for cuBLAS of all rounds.
- Our result is compared with PyTorch's in f64, with the bound of `torch_gemm.py`.
- The SM clock is read between the rounds.
Needs Node, node_modules and dist/ (`npm run build`) beside Python and PyTorch.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import torch

import harness
import torch_gemm

DTYPES = {"rows_f16": torch.float16, "columns_f16": torch.float16, "rows": torch.bfloat16, "rows_f32": torch.float32}


class Dawn:
    """The process that runs a plan through Dawn."""

    def __init__(self, folder, inputs):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "webgpu.mjs")
        files = [f"{name}={path}" for name, path in inputs.items()]
        self.process = subprocess.Popen(
            ["node", script, folder, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.hello = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if line == "":
            raise RuntimeError(f"the process that runs the plan ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def across(case, w):
    return w if case["entry"].startswith("columns") else w.t()


def bytes_of(tensor):
    return tensor.contiguous().view(torch.uint8).cpu().numpy().tobytes()


def timed(call, count):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) * 1e-3 / count


def worst_of(case, x, w, out):
    """The largest error over its bound: see `torch_gemm.check`."""
    worst = 0.0
    wide = dict(case, group="gemm", entry="columns" if case["entry"].startswith("columns") else "rows")
    for ours, expected, bound in torch_gemm.check(wide, dict(x=x, w=w), dict(out=out)):
        used = float(((ours.double() - expected).abs() / bound).max())
        worst = max(worst, used if used == used else float("inf"))
    return worst


def measure(case, build, options, clock):
    M, N, K = (case["dims"][name] for name in "MNK")
    dtype = DTYPES[case["entry"]]
    shape = (K, N) if case["entry"].startswith("columns") else (N, K)
    x = torch.randn(M, K, device="cuda").to(dtype)
    w = torch.randn(*shape, device="cuda").to(dtype)
    out = torch.empty(M, N, device="cuda", dtype=dtype)
    library = lambda: torch.mm(x, across(case, w), out=out)
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, tensor in dict(x=x, w=w).items():
            paths[name] = os.path.join(folder, name)
            with open(paths[name], "wb") as file:
                file.write(bytes_of(tensor))
        dawn = Dawn(os.path.join(build, case["folder"]), paths)
        ours, theirs, clocks = [], [], []
        for k in range(-2, options.rounds):
            mine, peer = [], []
            sides = [
                lambda: mine.extend(dawn.ask(f"run {options.calls}")["seconds"]),
                lambda: peer.append(timed(library, options.calls)),
            ]
            for side in sides if k % 2 == 0 else sides[::-1]:
                side()
            if k >= 0:
                ours += mine
                theirs += peer
                clocks.append(clock.read().get("mhz"))
        path = os.path.join(folder, "out")
        dawn.ask(f"result {path}")
        with open(path, "rb") as file:
            result = torch.frombuffer(bytearray(file.read()), dtype=dtype).view(M, N).cuda()
        dawn.close()
    flops = 2.0 * M * N * K
    mine, peer = statistics.median(ours), statistics.median(theirs)
    used = worst_of(case, x, w, result)
    return dict(
        name=case["name"],
        device=dawn.hello["ready"],
        tflops=flops / mine * 1e-12,
        best=flops / min(ours) * 1e-12,
        cublas=flops / peer * 1e-12,
        ratio=peer / mine,
        used=used,
        wrong=not used <= 1,
        mhz=statistics.median([c for c in clocks if c is not None] or [0]),
        loadSeconds=dawn.hello["loadSeconds"],
    )


def markdown(rows):
    lines = [
        "| product, M x N x K, target | TFLOP/s | cuBLAS, TFLOP/s | of cuBLAS | error, of its bound | clock, MHz |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['tflops']:.1f} | {row['cublas']:.1f} | {row['ratio']:.3f} "
            f"| {row['used']:.3f} | {row['mhz']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=10)
    options = parser.parse_args()
    # cuBLAS in f32 proper, which is what the plan computes.
    torch.backends.cuda.matmul.allow_tf32 = False
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.build, "cases.json")) as file:
        cases = [case for case in json.load(file) if case["group"] == "webgpu" and options.only in case["name"]]
    clock = harness.Clock()
    rows, failed = [], 0
    for case in cases:
        try:
            if "error" in case:
                raise RuntimeError(case["error"])
            row = measure(case, options.build, options, clock)
        except Exception as error:
            failed += 1
            print(f"{case['name']}: {error}", file=sys.stderr)
            continue
        rows.append(row)
        failed += row["wrong"]
        print(markdown([row]).splitlines()[-1], "WRONG" if row["wrong"] else "", flush=True)
    with open(os.path.join(options.out, "webgpu.json"), "w") as file:
        json.dump(rows, file, indent=1)
    with open(os.path.join(options.out, "webgpu.md"), "w") as file:
        file.write(markdown(rows))
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
