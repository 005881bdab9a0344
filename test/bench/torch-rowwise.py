"""Times in PyTorch what rowwise.mjs times, on the same GPU: eager, torch.compile and a copy, medians of event-timed runs.

python3 test/bench/torch-rowwise.py [rows] [columns]
"""
import json, sys
import torch
import torch.nn.functional as F

N, D, M = int(sys.argv[1]) if len(sys.argv) > 1 else 16384, int(sys.argv[2]) if len(sys.argv) > 2 else 7168, 4096
torch.manual_seed(1)
x = torch.randn(N, D, device="cuda", dtype=torch.bfloat16)
u = torch.randn(N, D, device="cuda", dtype=torch.bfloat16)
w = torch.randn(M, D, device="cuda", dtype=torch.bfloat16)
g = torch.randn(D, device="cuda", dtype=torch.float32)
t = torch.randint(0, D, (N,), device="cuda")
out = torch.empty_like(x)


def median(fn, runs=40):
    for _ in range(5):
        fn()
    times = []
    for _ in range(runs):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record(); fn(); b.record(); b.synchronize()
        times.append(a.elapsed_time(b) * 1e3)
    return sorted(times)[len(times) // 2]


def rmsnorm(x, g):
    f = x.float()
    return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-6) * g).bfloat16()


both, one = 2 * x.numel() * 2, x.numel() * 2
cases = {
    "copied": (lambda: out.copy_(x), both),
    "normalised compiled": (lambda f=torch.compile(rmsnorm): f(x, g), both),
    "softened eager": (lambda: torch.softmax(x, -1), both),
    "softened compiled": (lambda f=torch.compile(lambda x: torch.softmax(x.float(), -1).bfloat16()): f(x), both),
    "gated compiled": (lambda f=torch.compile(lambda a, b: (F.silu(a.float()) * b.float()).bfloat16()): f(x, u), 3 * one),
    "loss eager": (lambda: F.cross_entropy(x, t, reduction="none"), one),
    "summed": (lambda: x.float().sum(-1), one),
    "column summed": (lambda: x.sum(0, dtype=torch.float32), one),
    "multiplied": (lambda: x @ w.T, 2 * (N * D + M * D + N * M)),
}
print(torch.cuda.get_device_name(0), torch.__version__, N, D)
for name, (fn, nbytes) in cases.items():
    us = median(fn)
    print(f"{name:24}{us:10.1f} us {nbytes / us / 1e3:8.0f} GB/s" + (f" {2 * N * D * M / us / 1e6:8.1f} TFLOP/s" if name == "multiplied" else ""))
