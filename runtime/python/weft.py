"""Launches what `weft build FILE:FN --target ptx -o DIR` wrote, on PyTorch's tensors and stream.

    plan = weft.Plan("DIR")
    y = plan(x=x, w=w)["out"]                      # results are allocated; nothing waits for the GPU

    bound = plan.bind({"x": x, "w": w}, {"out": y})
    with torch.cuda.graph(graph): bound()          # no allocation, no wait; torch's current stream

Tensors are contiguous, of the plan's dtypes (`plan.inputs`), on its GPU, and begin at a multiple of 16 bytes. Sizes that
the plan leaves open are told by the inputs' shapes, or by `dims={"N": 4}`. A state is updated in its tensor. Without
PyTorch, `Buffer(pointer, dtype, shape)` stands for a tensor, results must be given, and a stream is a number. A mistake
is a `WeftError`. Needs Python 3.9 and an NVIDIA driver of CUDA 12; PyTorch is used where the caller has imported it.
"""
import ctypes, functools, hashlib, json, os, re, sys
from ctypes import byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from typing import NamedTuple


class WeftError(Exception):
    """A plan, a tensor or the driver refuses: its own words, with the kernel and its source line where one is to blame."""


class Buffer(NamedTuple):
    """Device memory at an address. `dtype` is the language's word, such as "bf16"."""
    pointer: int
    dtype: str
    shape: tuple


# By dtype: PyTorch's name, bytes of an element, and the CUtensorMapDataType.
DTYPES = dict(f32=("float32", 4, 7), f16=("float16", 2, 6), bf16=("bfloat16", 2, 9), e4m3=("float8_e4m3fn", 1, 0),
              e5m2=("float8_e5m2", 1, 0), i64=("int64", 8, 5), i32=("int32", 4, 3), u32=("uint32", 4, 2),
              i8=("int8", 1, 0), u8=("uint8", 1, 0), bool=("bool", 1, 0))


def need(condition, words):
    if not condition:
        raise WeftError(words)


def pytorch():
    return sys.modules.get("torch")


# ---------------------------------------------------------------- the driver: all of the foreign interface

SIGNATURES = dict(
    cuInit=[c_uint], cuDeviceGet=[c_void_p, c_int], cuDeviceGetAttribute=[c_void_p, c_int, c_int],
    cuDevicePrimaryCtxRetain=[c_void_p, c_int], cuCtxSetCurrent=[c_void_p],
    cuModuleLoadDataEx=[c_void_p, c_char_p, c_uint, c_void_p, c_void_p],
    cuModuleGetFunction=[c_void_p, c_void_p, c_char_p], cuFuncSetAttribute=[c_void_p, c_int, c_int],
    cuMemAlloc_v2=[c_void_p, c_size_t], cuMemFree_v2=[c_uint64], cuMemsetD8_v2=[c_uint64, c_ubyte, c_size_t],
    cuLaunchKernelEx=[c_void_p] * 4,
    cuTensorMapEncodeTiled=[c_void_p, c_int, c_uint, c_uint64] + [c_void_p] * 4 + [c_int] * 4,
    cuGetErrorName=[c_int, c_void_p], cuGetErrorString=[c_int, c_void_p])


class LaunchConfig(ctypes.Structure):
    """CUlaunchConfig of cuda.h."""
    _fields_ = [("grid", c_uint * 3), ("block", c_uint * 3), ("shared", c_uint), ("stream", c_void_p),
                ("attributes", c_void_p), ("count", c_uint)]


class LaunchAttribute(ctypes.Structure):
    """CUlaunchAttribute of cuda.h."""
    _fields_ = [("id", c_uint), ("value", c_uint64 * 8)]


# CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: the kernel may begin before what is ahead of it has ended, and waits.
EARLY = LaunchAttribute(6, (c_uint64 * 8)(1))


class Driver:
    """libcuda, or the library that WEFT_CUDA_PATH names, with one GPU's primary context, which is PyTorch's too."""

    def __init__(self, ordinal):
        path = os.environ.get("WEFT_CUDA_PATH") or ("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        try:
            self.library = ctypes.CDLL(path)
            for name, arguments in SIGNATURES.items():
                getattr(self.library, name).argtypes = arguments
        except (OSError, AttributeError) as error:
            raise WeftError(f"{path} does not load: {error}") from None
        self.call("cuInit", 0)
        device = self.get("cuDeviceGet", ordinal, kind=c_int)
        # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
        self.capability = tuple(self.get("cuDeviceGetAttribute", which, device, kind=c_int) for which in (75, 76))
        self.context = self.get("cuDevicePrimaryCtxRetain", device)
        self.enter()

    def enter(self):
        self.call("cuCtxSetCurrent", self.context)

    def text(self, status):
        """`CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered`."""
        out = [c_char_p(), c_char_p()]
        self.library.cuGetErrorName(status, byref(out[0]))
        self.library.cuGetErrorString(status, byref(out[1]))
        return ": ".join(word.value.decode() for word in out if word.value) or f"CUDA error {status}"

    def call(self, name, *arguments, what=None):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise WeftError(f"{what or name}: {self.text(status)}")

    def get(self, name, *arguments, kind=c_uint64, what=None):
        """The one value that a call writes to its first argument."""
        out = kind()
        self.call(name, byref(out), *arguments, what=what)
        return out.value

    def load(self, kernel, text):
        """A kernel's function, its PTX compiled by the driver."""
        info, errors, module, size = *map(ctypes.create_string_buffer, (1 << 16, 1 << 16)), c_uint64(), 1 << 16
        # CU_JIT_INFO_LOG_BUFFER and its size, CU_JIT_ERROR_LOG_BUFFER and its size, CU_JIT_GENERATE_LINE_INFO.
        values = (c_void_p * 5)(ctypes.addressof(info), size, ctypes.addressof(errors), size, 1)
        status = self.library.cuModuleLoadDataEx(byref(module), text, 5, (c_int * 5)(3, 4, 5, 6, 13), values)
        log = "\n".join(log.value.decode(errors="replace").strip() for log in (errors, info) if log.value)
        line = re.search(r"line (\d+)", log)
        if status != 0:
            raise WeftError(blame(kernel, f"{self.text(status)}\n{log}".strip(), line and int(line[1])))
        entry, shared = kernel["entry"], kernel["dynamicSharedBytes"]
        function = self.get("cuModuleGetFunction", module.value, entry.encode(),
                            what=blame(kernel, f"cuModuleGetFunction {entry}"))
        if shared > 0:  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.call("cuFuncSetAttribute", function, 8, shared, what=blame(kernel, f"{shared} bytes of shared memory"))
        return function


driver_of = functools.lru_cache(None)(Driver)


def blame(kernel, words, line=None):
    """`kernel softmax (model.dsl:3:5), softmax.ptx:17: ..`: the source place is the last at or before the line."""
    sources = [entry["source"] for entry in kernel["lines"] if line is None or entry["line"] <= line]
    place = f" ({sources[-1]})" if sources else ""
    return f"kernel {kernel['name']}{place}, {kernel['file']}{f':{line}' if line else ''}: {words}"


# ---------------------------------------------------------------- sizes

CALLS = dict(floordiv=lambda a, b: a // b, ceildiv=lambda a, b: -(-a // b), mod=lambda a, b: a % b, min=min, max=max)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(?![A-Za-z0-9_.]|\s*\()")
CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\s*\(")
RELATIONS = {"==": int.__eq__, "!=": int.__ne__, "<": int.__lt__, "<=": int.__le__}


@functools.lru_cache(None)
def size_code(text):
    """A plan's size as Python, which has the same grammar once names are looked up and calls are one of five."""
    legal = re.fullmatch(r"(?:[A-Za-z_][A-Za-z0-9_.]*|[0-9]+|[-+(),\s]|\*(?!\*))*", text)
    try:
        need(legal and CALLS.keys() >= set(CALL.findall(text)), f"'{text}' is not a size")
        return compile(CALL.sub(r"fold('\1', ", NAME.sub(r"dims['\g<0>']", text)).strip(), text, "eval")
    except SyntaxError:
        raise WeftError(f"'{text}' is not a size") from None


def size(text, dims):
    """The value of a plan's size, such as `ceildiv(B * S, 4)`, for dims by name."""
    fold = lambda name, *values: functools.reduce(CALLS[name], values)
    try:
        return eval(size_code(text), {"__builtins__": {}}, {"dims": dims, "fold": fold})
    except KeyError as error:
        raise WeftError(f"the dim {error} has no value (give dims={{{error}: ..}})") from None
    except ZeroDivisionError:
        raise WeftError(f"the size {text} divides by zero") from None


def count(text, dims):
    value = size(text, dims)
    need(value >= 0, f"the size {text} is {value}")
    return value


def solve(text, known, name, value):
    """What `name` must be for a size that is linear in it to equal `value`; None where nothing is."""
    first, second = (size(text, {**known, name: k}) for k in (1, 2))
    if first == second or (value - first) % (second - first) != 0:
        return None
    found = 1 + (value - first) // (second - first)
    return found if found >= 0 and size(text, {**known, name: found}) == value else None


# ---------------------------------------------------------------- plans

def tensor_map(driver, kernel, spec, extents, address):
    """A CUtensorMap as plan.ts describes it: 128 bytes, aligned to 64. The driver counts dims from the fastest."""
    dims, box, (_, width, number) = extents[::-1], spec["box"][::-1], DTYPES[spec["dtype"]]
    strides = [width * functools.reduce(int.__mul__, dims[:k]) for k in range(1, len(dims))]
    room = (ctypes.c_ubyte * 192)()
    made = (ctypes.c_ubyte * 128).from_buffer(room, -ctypes.addressof(room) % 64)
    rank, words = len(dims), lambda kind, values: (kind * max(len(values), 1))(*values)
    # No interleaving; a swizzle of 0, 32, 64, 128 bytes is 0 to 3; L2 promotion to 256 bytes; zeros out of bounds.
    driver.call("cuTensorMapEncodeTiled", made, number, rank, address, words(c_uint64, dims), words(c_uint64, strides),
                words(c_uint, box), words(c_uint, [1] * rank), 0, (0, 32, 64, 128).index(spec["swizzle"]), 3, 0,
                what=blame(kernel, f"cuTensorMapEncodeTiled of {spec['name']}, extents {extents}, box {spec['box']}"))
    return made


def arguments_of(driver, kernel, launch, address, dims):
    """The values of a kernel's parameters in its order: every kind of parameter is made here."""
    for buffer in launch["buffers"]:
        yield c_uint64(address[buffer])
    for parameter, text in zip(kernel["sizes"], launch["sizes"]):
        value, bits = size(text, dims), 32 if parameter["type"] == "i32" else 64
        need(abs(value) < 1 << bits - 1, blame(kernel, f"{parameter['name']} = {value} does not fit in an i{bits}"))
        yield (c_int32 if bits == 32 else c_int64)(value)
    for spec, texts in zip(kernel["maps"], launch["maps"]):
        yield tensor_map(driver, kernel, spec, [count(text, dims) for text in texts], address[launch["buffers"][spec["buffer"]]])


def read(folder, name):
    """The bytes of a file of the build."""
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        hint = "" if os.path.isdir(folder) else "; a plan is a folder that `weft build .. --target ptx -o DIR` wrote"
        raise WeftError(f"{path} cannot be read: {error.strerror}{hint}") from None


class Plan:
    """A folder that `weft build` wrote, its kernels loaded on a GPU (PyTorch's current one, else the first)."""

    def __init__(self, folder, device=None):
        try:
            self.plan = plan = json.loads(read(folder, "plan.json"))
        except ValueError as error:
            raise WeftError(f"{os.path.join(folder, 'plan.json')} is no JSON: {error}") from None
        need(isinstance(plan, dict), f"{os.path.join(folder, 'plan.json')} is no plan")
        need(plan.get("schema") == 4, f"plan.json has the schema {plan.get('schema')}, and this loader reads 4")
        torch = pytorch()
        self.ordinal = device if device is not None else torch.cuda.current_device() if torch else 0
        self.driver = driver_of(self.ordinal)
        target, capability = plan["target"], self.driver.capability
        need(target == "ptx:sm_80" and capability >= (8, 0) or target == "ptx:sm_90a" and capability == (9, 0),
             f"{plan['program']} is compiled for {target}, and GPU {self.ordinal} has compute capability "
             f"{'.'.join(map(str, capability))}")
        self.functions = [self.driver.load(kernel, self.text_of(folder, kernel)) for kernel in plan["kernels"]]
        self.inputs = {entry["name"]: entry for entry in plan["inputs"]}
        self.outputs = {entry["name"]: entry for entry in plan["outputs"]}

    @staticmethod
    def text_of(folder, kernel):
        text = read(folder, kernel["file"])
        same = hashlib.sha256(text).hexdigest() == kernel["sha256"]
        need(same, blame(kernel, "not the file that plan.json was written with"))
        return text

    def dims_of(self, shapes, given=None):
        """Values of all dims, from the shapes of the inputs by name; each extent and each of the plan's relations held."""
        dims, dynamic = {**self.plan["dims"]["bound"], **(given or {})}, self.plan["dims"]["dynamic"]
        strange = dims.keys() - {*dynamic, *self.plan["dims"]["bound"]}
        need(not strange, f"{self.plan['program']} has no dims {strange}; it has {', '.join(dynamic) or 'none open'}")
        extents = [(name, axis, *extent) for name, shape in shapes.items()
                   for axis, extent in enumerate(zip(self.inputs[name]["shape"], shape))]
        # A dim may be told only by an extent such as 2 * F whose other dims another input tells first.
        for _, (_, _, text, value) in ((again, extent) for again in dynamic for extent in extents):
            unknown = set(NAME.findall(text)) - dims.keys()
            found = solve(text, dims, *unknown, value) if len(unknown) == 1 else None
            dims.update({} if found is None else {unknown.pop(): found})
        lost = [name for name in dynamic if name not in dims]
        need(not lost, f"no input's shape tells {', '.join(lost)} (give dims={{'{lost and lost[0]}': ..}})")
        for name, axis, text, value in extents:
            expected = size(text, dims)
            named = text if text == str(expected) else f"{text} = {expected}"
            need(value == expected, f"input '{name}': axis {axis + 1} has {value} elements, and {named} are expected")
        for check in self.plan["checks"]:
            left, right = size(check["left"], dims), size(check["right"], dims)
            need(RELATIONS[check["relation"]](left, right),
                 f"{check['message']} ({check['left']} is {left}, {check['right']} is {right})")
        return dims

    def bind(self, inputs, outputs=None, dims=None, stream=None):
        """All that launching takes, made once: a `Bound`, to be called any number of times. What the plan makes of its
        parameters is computed here, on `stream` or torch's current one."""
        return Bound(self, inputs, outputs or {}, dims, stream)

    def __call__(self, **inputs):
        """Runs on torch's current stream; the results by name."""
        bound = self.bind(inputs)
        bound()
        return bound.outputs


class Bound:
    """A plan on its tensors: calling it launches the kernels in order. It holds the tensors, the results (`outputs`, by
    name), what is made of the parameters, the temporaries, and flags that begin as zeros: keep it while a stream other than the one that it was made on may
    still run them."""

    def __init__(self, plan, inputs, outputs, given, stream):
        self.memory = []
        self.plan, self.driver, self.inputs, self.outputs, spec = plan, plan.driver, dict(inputs), dict(outputs), plan.plan
        for kind, known, some in (("input", plan.inputs, inputs), ("result", plan.outputs, outputs)):
            for name in some.keys() - known.keys():
                raise WeftError(f"{spec['program']} has no {kind} '{name}'; it has {', '.join(known) or 'none'}")
        for name, entry in plan.inputs.items():
            need(name in inputs, f"input '{name}' is missing: {entry['dtype']}[{', '.join(entry['shape'])}]")
        found = {name: self.place_of("input", plan.inputs[name], tensor) for name, tensor in inputs.items()}
        self.dims = plan.dims_of({name: shape for name, (_, shape) in found.items()}, given)
        address = {plan.inputs[name]["buffer"]: pointer for name, (pointer, _) in found.items()}
        owner = {plan.inputs[name]["buffer"]: tensor for name, tensor in inputs.items()}
        for name, entry in plan.outputs.items():
            shared = entry["buffer"] in owner
            need(not (shared and name in outputs), f"result '{name}' lies in the memory of an input or of another result")
            tensor = owner[entry["buffer"]] if shared else outputs[name] if name in outputs else self.empty(entry)
            self.outputs[name] = owner[entry["buffer"]] = tensor
            address[entry["buffer"]], shape = self.place_of("result", entry, tensor)
            expected = tuple(count(text, self.dims) for text in entry["shape"])
            need(shape == expected, f"result '{name}' has the shape {list(shape)}, and {list(expected)} is expected")
        base = self.room(count(spec["temporaryBytes"], self.dims))
        for buffer in (buffer for buffer in spec["buffers"] if buffer["kind"] == "flags"):
            address[buffer["id"]] = self.room(count(buffer["bytes"], self.dims), zeros=True)
        for buffer in (buffer for buffer in spec["buffers"] if buffer["kind"] == "temporary"):
            address[buffer["id"]] = base + count(buffer["offset"], self.dims)
        for buffer in (buffer for buffer in spec["buffers"] if buffer["kind"] == "prepared"):
            address[buffer["id"]] = self.room(count(buffer["bytes"], self.dims))
        self.preparation, self.launches = ([self.ready(launch, address) for launch in spec[part]]
                                           for part in ("preparation", "launches"))
        self.prepare(stream)

    def place_of(self, kind, entry, tensor):
        """(address, shape) of a tensor that is what the plan expects there."""
        what, ordinal = f"{kind} '{entry['name']}'", self.plan.ordinal
        if isinstance(tensor, Buffer):
            pointer, dtype, shape = tensor
        else:
            need(hasattr(tensor, "data_ptr"), f"{what} is a {type(tensor).__name__}, and a tensor or weft.Buffer is expected")
            need(tensor.is_cuda and tensor.device.index == ordinal, f"{what} is on {tensor.device}, the plan on GPU {ordinal}")
            need(tensor.is_contiguous(), f"{what} is not contiguous: its strides are {tensor.stride()}")
            dtype = str(tensor.dtype).replace("torch.", "")
            dtype = next((name for name, (theirs, _, _) in DTYPES.items() if theirs == dtype), dtype)
            pointer, shape = tensor.data_ptr(), tensor.shape
        need(dtype == entry["dtype"] and len(shape) == len(entry["shape"]),
             f"{what} is {dtype}[{', '.join(map(str, shape))}], and {entry['dtype']}[{', '.join(entry['shape'])}] is expected")
        need(pointer % 16 == 0, f"{what} begins at an address that is no multiple of 16")
        return pointer, tuple(shape)

    def empty(self, entry):
        torch = pytorch()
        need(torch, f"PyTorch is not imported: give the result '{entry['name']}'")
        shape = [count(text, self.dims) for text in entry["shape"]]
        return torch.empty(shape, dtype=getattr(torch, DTYPES[entry["dtype"]][0]), device=f"cuda:{self.plan.ordinal}")

    def room(self, size_in_bytes, zeros=False):
        """The address of memory that lives as long as this object."""
        torch = pytorch()
        if torch or size_in_bytes == 0:
            make = torch and (torch.zeros if zeros else torch.empty)
            self.memory.append(make and make(size_in_bytes, dtype=torch.uint8, device=f"cuda:{self.plan.ordinal}"))
            return self.memory[-1].data_ptr() if torch else 0
        self.driver.enter()
        self.memory.append(self.driver.get("cuMemAlloc_v2", size_in_bytes, what=f"{size_in_bytes} bytes of device memory"))
        if zeros:
            self.driver.call("cuMemsetD8_v2", self.memory[-1], 0, size_in_bytes, what=f"{size_in_bytes} zeros")
        return self.memory[-1]

    def __del__(self):
        for pointer in self.memory:
            if isinstance(pointer, int):
                self.driver.library.cuMemFree_v2(pointer)

    def ready(self, launch, address):
        kernel = self.plan.plan["kernels"][launch["kernel"]]
        grid = (c_uint * 3)(*(count(text, self.dims) for text in launch["grid"]))
        # What has no block has nothing to view.
        values = list(arguments_of(self.driver, kernel, launch, address, self.dims)) if all(grid) else []
        config = LaunchConfig(grid, (c_uint * 3)(kernel["threads"], 1, 1), kernel["dynamicSharedBytes"], None,
                              ctypes.addressof(EARLY) if launch.get("early") else None, 0)
        pointers = (c_void_p * max(len(values), 1))(*map(ctypes.addressof, values))
        return kernel, self.plan.functions[launch["kernel"]], config, pointers, values

    def prepare(self, stream=None):
        """Computes again what the plan makes of its parameters: to be called when one of them has been written."""
        self.launch(self.preparation, stream)

    def __call__(self, stream=None):
        """Launches on `stream` (a number, or what has `cuda_stream`), else on torch's current one."""
        self.launch(self.launches, stream)

    def launch(self, launches, stream):
        if launches and stream is None and pytorch():
            stream = pytorch().cuda.current_stream(self.plan.ordinal)
        self.driver.enter()
        ahead = False  # Nothing of the plan's is ahead of its first.
        for kernel, function, config, pointers, _ in launches:
            if 0 in config.grid:
                continue
            config.count, ahead = int(ahead and config.attributes is not None), True
            config.stream = getattr(stream, "cuda_stream", stream)
            status = self.driver.library.cuLaunchKernelEx(byref(config), function, pointers, None)
            if status != 0:
                words = f"grid {' x '.join(map(str, config.grid))}, {config.block[0]} threads, {config.shared} dynamic shared bytes"
                raise WeftError(blame(kernel, f"cuLaunchKernelEx, {words}: {self.driver.text(status)}"))
