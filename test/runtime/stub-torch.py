"""Runs the plan of python.test.ts through a stand-in for PyTorch: what the loader asks of it, and no more.

    stub-torch.py FOLDER    prints {out, asked}: the result's floats, and what was asked of the module
"""
import ctypes
import json
import os
import sys
import types

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../runtime/python"))
asked = []


class Tensor:
    is_cuda, device = True, types.SimpleNamespace(index=0)

    def __init__(self, shape, dtype):
        self.shape, self.dtype, count = tuple(shape), f"torch.{dtype}", 1
        for extent in shape:
            count *= extent
        self.room = (ctypes.c_float * (count + 4))()
        self.strided = False

    def data_ptr(self):
        return -(-ctypes.addressof(self.room) // 16) * 16

    def is_contiguous(self):
        return not self.strided

    def stride(self):
        return (1, 6)

    def floats(self):
        return (ctypes.c_float * 24).from_address(self.data_ptr())


def empty(shape, dtype, device):
    asked.append(f"empty {dtype} {device}")
    return Tensor([shape] if isinstance(shape, int) else shape, dtype)


def current_stream(device):
    asked.append("current_stream")
    return types.SimpleNamespace(cuda_stream=0x2000)


sys.modules["torch"] = torch = types.ModuleType("torch")
torch.cuda = types.SimpleNamespace(current_device=lambda: 0, current_stream=current_stream)
torch.empty, torch.float32, torch.uint8 = empty, "float32", "uint8"

import weft

plan = weft.Plan(sys.argv[1])
x = Tensor([6, 4], "float32")
x.floats()[:] = [float(k - 8) for k in range(24)]
out = plan(x=x)["out"]
bound = plan.bind({"x": x}, {"out": out})
asked.append("bound")
bound()
bound()
x.strided = True
try:
    plan(x=x)
except weft.WeftError as error:
    asked.append(str(error))
print(json.dumps({"out": list(out.floats()), "shape": out.shape, "asked": asked}))
