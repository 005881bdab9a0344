"""Runs a plan through runtime/python/weft.py without PyTorch, for python.test.ts: memory comes from the driver.

    launch-plan.py FOLDER REQUEST    the request is JSON: {inputs: {name: {shape, hex}}, results: {name: shape}, dims,
                                     tweak, times}; what comes back is {dims, outputs: {name: hex}} or {error}
"""
import ctypes
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../runtime/python"))
import weft

BYTES = dict(f32=4, f16=2, bf16=2, e4m3=1, e5m2=1, i64=8, i32=4, u32=4, i8=1, u8=1, bool=1)
STREAM = 0x2000  # the only one of the driver that the test is run with


def allocate(driver, dtype, shape, contents=b""):
    size = BYTES[dtype]
    for extent in shape:
        size *= extent
    pointer = driver.get("cuMemAlloc_v2", max(size, 256))
    ctypes.memset(pointer, 0, size)
    ctypes.memmove(pointer, contents, len(contents))
    return weft.Buffer(pointer, dtype, tuple(shape))


def contents_of(buffer):
    size = BYTES[buffer.dtype]
    for extent in buffer.shape:
        size *= extent
    return ctypes.string_at(buffer.pointer, size).hex()


def main(folder, request):
    plan = weft.Plan(folder)
    tweak = request.get("tweak", {})
    inputs = {}
    for name, given in request["inputs"].items():
        dtype = plan.inputs[name]["dtype"] if name in plan.inputs else "f32"
        inputs[name] = allocate(plan.driver, dtype, given["shape"], bytes.fromhex(given.get("hex", "")))
        inputs[name] = inputs[name]._replace(**tweak.get(name, {}))
    if "offset" in tweak:
        inputs = {name: buffer._replace(pointer=buffer.pointer + tweak["offset"]) for name, buffer in inputs.items()}
    results = {name: allocate(plan.driver, plan.outputs[name]["dtype"], shape) for name, shape in request["results"].items()}
    bound = plan.bind(inputs, results, request.get("dims"), STREAM)
    for _ in range(request.get("times", 1)):
        bound(STREAM)
    return {"dims": bound.dims, "outputs": {name: contents_of(buffer) for name, buffer in bound.outputs.items()}}


try:
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
except weft.WeftError as error:
    print(json.dumps({"error": str(error)}))
