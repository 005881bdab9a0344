#!/usr/bin/env python3
"""Runs the cases of a fixture set on the GPU of this host and writes what they gave.

    python3 test/simulate/run-on-gpu.py cases.json h200.json
    python3 test/simulate/run-on-gpu.py emitted-cases.json.gz emitted-answers.json.gz

Cases are kernels each by itself, or chains: launches one after the other on the same memory. A launch of a chain whose
text has approximate instructions runs twice, the second time with the text that logs their results; both runs must
leave the same bytes.

Needs the CUDA driver (libcuda.so.1) alone: no toolkit, no Python package. The driver assembles the PTX.
"""
import base64
import ctypes as C
import gzip
import json
import sys
import zlib

cu = C.CDLL("libcuda.so.1")


def ok(code, what):
    if code != 0:
        name = C.c_char_p()
        cu.cuGetErrorName(code, C.byref(name))
        raise RuntimeError(f"{what}: {code} {name.value.decode() if name.value else ''}")


class Attribute(C.Structure):
    _fields_ = [("id", C.c_uint), ("pad", C.c_uint), ("value", C.c_uint * 16)]


class Config(C.Structure):
    _fields_ = [("grid", C.c_uint * 3), ("block", C.c_uint * 3), ("shared", C.c_uint), ("stream", C.c_void_p),
                ("attributes", C.POINTER(Attribute)), ("count", C.c_uint)]


TYPES = ["u8", "u16", "u32", "s32", "u64", "s64", "f16", "f32", "f64", "bf16", "f32_ftz", "tf32", "tf32_ftz"]
SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}


def alloc(size):
    pointer = C.c_uint64()
    ok(cu.cuMemAlloc_v2(C.byref(pointer), C.c_size_t(max(size, 16))), "cuMemAlloc")
    return pointer.value


def load(text):
    size = 1 << 16
    log = C.create_string_buffer(size)
    options = (C.c_int * 2)(5, 6)
    values = (C.c_void_p * 2)(C.cast(log, C.c_void_p), C.c_void_p(size))
    module = C.c_void_p()
    code = cu.cuModuleLoadDataEx(C.byref(module), C.c_char_p(text.encode()), 2, options, values)
    if code != 0:
        raise RuntimeError(f"PTX was refused ({code}): {log.value.decode()[:2000]}")
    return module


def tensor_map(spec, address):
    raw = C.create_string_buffer(256)
    start = (C.addressof(raw) + 63) & ~63
    rank = len(spec["dims"])
    dims = (C.c_uint64 * rank)(*spec["dims"])
    strides = (C.c_uint64 * max(1, rank - 1))(*spec["strides"])
    box = (C.c_uint32 * rank)(*spec["box"])
    steps = (C.c_uint32 * rank)(*([1] * rank))
    ok(cu.cuTensorMapEncodeTiled(C.c_void_p(start), C.c_int(TYPES.index(spec["type"])), C.c_uint32(rank), C.c_void_p(address), dims,
                                 strides, box, steps, C.c_int(0), C.c_int(SWIZZLES[spec["swizzle"]]), C.c_int(0), C.c_int(0)),
       "cuTensorMapEncodeTiled")
    return raw, start


def run(case, module):
    function = C.c_void_p()
    ok(cu.cuModuleGetFunction(C.byref(function), module, case["entry"].encode()), "cuModuleGetFunction")
    if case["shared"] > 48 * 1024:
        ok(cu.cuFuncSetAttribute(function, C.c_int(8), C.c_int(case["shared"])), "cuFuncSetAttribute")
    buffers = []
    for arg in case["args"]:
        if "in" in arg:
            data = base64.b64decode(arg["in"])
            address = alloc(len(data))
            ok(cu.cuMemcpyHtoD_v2(C.c_uint64(address), data, C.c_size_t(len(data))), "cuMemcpyHtoD")
            buffers.append((address, len(data)))
        elif "out" in arg:
            address = alloc(arg["out"])
            ok(cu.cuMemsetD8_v2(C.c_uint64(address), C.c_ubyte(0xFF), C.c_size_t(arg["out"])), "cuMemsetD8")
            buffers.append((address, arg["out"]))
        else:
            buffers.append(None)
    keep, pointers = [], []
    for i, arg in enumerate(case["args"]):
        if arg.get("hidden"):
            continue
        if "map" in arg:
            raw, start = tensor_map(arg["map"], buffers[arg["map"]["of"]][0])
            keep.append(raw)
            pointers.append(start)
        else:
            value = C.c_uint32(arg["u32"]) if "u32" in arg else C.c_float(arg["f32"]) if "f32" in arg else C.c_uint64(buffers[i][0])
            keep.append(value)
            pointers.append(C.addressof(value))
    params = (C.c_void_p * len(pointers))(*pointers)
    attribute = Attribute(4, 0, (C.c_uint * 16)(case["cluster"], 1, 1))
    config = Config((C.c_uint * 3)(case["grid"], 1, 1), (C.c_uint * 3)(case["block"], 1, 1), case["shared"], None, C.pointer(attribute),
                    1 if case["cluster"] > 1 else 0)
    ok(cu.cuLaunchKernelEx(C.byref(config), function, params, None), "cuLaunchKernelEx")
    ok(cu.cuCtxSynchronize(), f"run {case['name']}")
    outputs = []
    for arg, buffer in zip(case["args"], buffers):
        if "out" in arg or arg.get("written"):
            data = C.create_string_buffer(buffer[1])
            ok(cu.cuMemcpyDtoH_v2(data, C.c_uint64(buffer[0]), C.c_size_t(buffer[1])), "cuMemcpyDtoH")
            outputs.append(base64.b64encode(data.raw).decode())
    for buffer in buffers:
        if buffer:
            ok(cu.cuMemFree_v2(C.c_uint64(buffer[0])), "cuMemFree")
    return outputs


def upload(data):
    address = alloc(len(data))
    ok(cu.cuMemcpyHtoD_v2(C.c_uint64(address), data, C.c_size_t(len(data))), "cuMemcpyHtoD")
    return address


def download(address, size):
    data = C.create_string_buffer(max(size, 1))
    ok(cu.cuMemcpyDtoH_v2(data, C.c_uint64(address), C.c_size_t(size)), "cuMemcpyDtoH")
    return data.raw[:size]


def launch_one(module, launch, addresses, log):
    """One launch of a chain; `log` is the address of one more argument, or None."""
    function = C.c_void_p()
    ok(cu.cuModuleGetFunction(C.byref(function), module, launch["entry"].encode()), "cuModuleGetFunction")
    if launch["dynamicShared"] > 48 * 1024:
        ok(cu.cuFuncSetAttribute(function, C.c_int(8), C.c_int(launch["dynamicShared"])), "cuFuncSetAttribute")
    values = [C.c_uint64(addresses[k]) for k in launch["buffers"]]
    values += [C.c_int64(size["value"]) if size["type"] == "i64" else C.c_int32(size["value"]) for size in launch["sizes"]]
    maps = [tensor_map(spec, addresses[spec["of"]]) for spec in launch.get("maps", [])]
    last = [] if log is None else [C.c_uint64(log)]
    pointers = [C.addressof(value) for value in values] + [start for _, start in maps] + [C.addressof(value) for value in last]
    params = (C.c_void_p * max(1, len(pointers)))(*pointers)
    config = Config((C.c_uint * 3)(*launch["grid"]), (C.c_uint * 3)(launch["threads"], 1, 1), launch["dynamicShared"], None, None, 0)
    ok(cu.cuLaunchKernelEx(C.byref(config), function, params, None), "cuLaunchKernelEx")
    ok(cu.cuCtxSynchronize(), f"run {launch['entry']}")


def pack(data):
    return base64.b64encode(zlib.compress(data, 9)).decode()


def run_chain(chain, module_of):
    sizes = [buffer["bytes"] for buffer in chain["buffers"]]
    addresses = []
    for buffer in chain["buffers"]:
        data = base64.b64decode(buffer.get("input", ""))
        addresses.append(upload(data + b"\xff" * (buffer["bytes"] - len(data))))
    answers = []
    for launch in chain["launches"]:
        answer = {}
        written = launch["written"]
        before = {k: download(addresses[k], sizes[k]) for k in written} if launch["slots"] > 0 else {}
        launch_one(module_of(launch["text"], False), launch, addresses, None)
        outputs = [download(addresses[k], sizes[k]) for k in written]
        if launch["slots"] > 0:
            x, y, z = launch["grid"]
            size = 4 * launch["slots"] * launch["threads"] * x * y * z
            log = upload(b"\xff" * size)
            for k, data in before.items():
                ok(cu.cuMemcpyHtoD_v2(C.c_uint64(addresses[k]), data, C.c_size_t(len(data))), "cuMemcpyHtoD")
            launch_one(module_of(launch["text"], True), launch, addresses, log)
            if [download(addresses[k], sizes[k]) for k in written] != outputs:
                raise RuntimeError(f"{launch['entry']}: the text that logs does not give the same bytes")
            answer["log"] = pack(download(log, size))
            ok(cu.cuMemFree_v2(C.c_uint64(log)), "cuMemFree")
        answer["outputs"] = [pack(data) for data in outputs]
        answers.append(answer)
    for address in addresses:
        ok(cu.cuMemFree_v2(C.c_uint64(address)), "cuMemFree")
    return answers


def run_chains(cases):
    modules, results, refused = {}, {}, {}

    def module_of(text, logs):
        key = (text, logs)
        if key not in modules:
            modules[key] = load(cases["recording"][str(text)] if logs else cases["texts"][text])
        return modules[key]

    for chain in cases["chains"]:
        try:
            results[chain["name"]] = run_chain(chain, module_of)
        except RuntimeError as error:
            print(f"{chain['name']}: {error}", flush=True)
            refused[chain["name"]] = str(error)
            if "_ILLEGAL_" in str(error) or "MISALIGNED" in str(error) or "LAUNCH_FAILED" in str(error):
                break
    return results, refused, len(cases["chains"])


def run_cases(fixtures):
    modules, results, refused = {}, {}, {}
    for text in fixtures["modules"]:
        try:
            modules[text] = load(fixtures["modules"][text])
        except RuntimeError as error:
            refused[text] = str(error)
            print(f"module {text}: {error}", flush=True)
    for case in fixtures["cases"]:
        if case["module"] in modules:
            # A kernel that faults takes the context with it, so what came before is written first.
            try:
                results[case["name"]] = run(case, modules[case["module"]])
            except RuntimeError as error:
                print(f"{case['name']}: {error}", flush=True)
                refused[case["name"]] = str(error)
                if "_ILLEGAL_" in str(error) or "MISALIGNED" in str(error) or "LAUNCH_FAILED" in str(error):
                    break
    return results, refused, len(fixtures["cases"])


def opened(path, mode):
    return gzip.open(path, mode + "t") if path.endswith(".gz") else open(path, mode)


def main():
    with opened(sys.argv[1], "r") as file:
        fixtures = json.load(file)
    ok(cu.cuInit(0), "cuInit")
    device, context = C.c_int(), C.c_void_p()
    ok(cu.cuDeviceGet(C.byref(device), 0), "cuDeviceGet")
    ok(cu.cuDevicePrimaryCtxRetain(C.byref(context), device), "cuDevicePrimaryCtxRetain")
    ok(cu.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    name = C.create_string_buffer(256)
    ok(cu.cuDeviceGetName(name, 256, device), "cuDeviceGetName")
    driver = C.c_int()
    ok(cu.cuDriverGetVersion(C.byref(driver)), "cuDriverGetVersion")
    results, refused, count = (run_chains if "chains" in fixtures else run_cases)(fixtures)
    with opened(sys.argv[2], "w") as file:
        json.dump({"device": name.value.decode(), "driver": driver.value, "outputs": results, "refused": refused}, file)
    print(f"{name.value.decode()}: {len(results)} of {count} cases ran, {len(refused)} refused")


main()
