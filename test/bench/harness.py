"""Times plans beside PyTorch's same work, in one process on one GPU, pair by pair.

What a row says, and how it comes about:
- A side is a CUDA graph of `calls` launches of the work, each on a set of tensors of its own, as many for one side as for
  the other: enough that the sets together are twice the L2, so that no call finds its inputs there.
- A burst is `--pairs` replays of either side, ours and theirs in turn and each of them first in every other pair, after
  a rest; a buffer of twice the L2 is written before each. The time is the median between two events, over the calls.
- Sustained: the sides take turns of equal counts of replays for `--seconds` without a rest, so that the clock falls as it
  does under load, and for both alike. The time is the median over the turns. This is the figure that counts.
- The clock, power and temperature of the row are read from NVML while the sustained part runs.
- Results are compared with PyTorch's in f64, element by element, within a bound that each script computes from the
  dtypes and the length of the reduction. Result memory is filled with NaN before, so that nothing is left unwritten.
"""
import argparse
import ctypes
import json
import math
import os
import statistics
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Callable, Iterable

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../runtime/python"))
import weft

Tensors = dict  # by the plan's names


@dataclass
class Peer:
    """What a row's ratio is against. `start` gives, for one set of inputs, the call to be timed."""

    name: str
    start: Callable[[Tensors], Callable[[], object]]
    """FLOPs or bytes of a call, where they are not those of our work: the ratio is then one of rates."""
    amount: float = 0.0


@dataclass
class Work:
    """One case, as a script describes it."""

    inputs: Callable[[], Tensors]
    peers: list
    """Ranges of the results that are compared: each is ours, the expected values in f64, and the bound of each element."""
    check: Callable[[Tensors, Tensors], Iterable]
    """FLOPs that the result needs, or bytes, of one call, and which of the two."""
    amount: float
    unit: str = "FLOP"


@dataclass
class Clock:
    """NVML through ctypes: the SM clock in MHz, watts, degrees, and the reasons why the clock is held (a bit mask)."""

    handle: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)
    library: object = None

    def __post_init__(self):
        try:
            self.library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return
        # NVML counts all GPUs; CUDA those that it is shown.
        shown = (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0]
        index = int(shown) if shown.isdigit() else 0
        if self.library.nvmlInit_v2() or self.library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(self.handle)):
            self.library = None

    def read(self):
        if self.library is None:
            return {}
        clock, power, degrees, reasons = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint64()
        self.library.nvmlDeviceGetClockInfo(self.handle, 1, ctypes.byref(clock))
        self.library.nvmlDeviceGetPowerUsage(self.handle, ctypes.byref(power))
        self.library.nvmlDeviceGetTemperature(self.handle, 0, ctypes.byref(degrees))
        self.library.nvmlDeviceGetCurrentClocksThrottleReasons(self.handle, ctypes.byref(reasons))
        return dict(mhz=clock.value, watts=power.value / 1000, degrees=degrees.value, reasons=reasons.value)


class Side:
    """One side of a row: a graph of calls, one a set of inputs."""

    def __init__(self, name, amount, calls):
        self.name, self.amount, self.count = name, amount, len(calls)
        # What a library sets up at its first call stays out of the graph.
        torch.cuda.synchronize()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for call in calls[:1] * 2:
                call()
        torch.cuda.synchronize()
        self.kept = calls
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.results = [call() for call in calls]

    def replay(self):
        self.graph.replay()


def event():
    return torch.cuda.Event(enable_timing=True)


class Bench:
    def __init__(self, options):
        self.options, self.clock = options, Clock()
        self.l2 = torch.cuda.get_device_properties(0).L2_cache_size
        self.flushed = torch.empty(2 * self.l2 // 4, dtype=torch.int32, device="cuda")

    def flush(self):
        self.flushed.fill_(1)

    def timed(self, run):
        """Seconds of what `run` queues, behind a flush that lets the host run ahead."""
        start, end = event(), event()
        self.flush()
        start.record()
        run()
        end.record()
        return start, end

    def burst(self, sides, once):
        time.sleep(self.options.rest)
        for side in sides:  # the clock rises again
            side.replay()
        found = {side.name: [] for side in sides}
        pairs = min(self.options.pairs, max(3, int(2 / (once * sides[0].count))))
        for k in range(pairs):
            for side in sides if k % 2 == 0 else sides[::-1]:
                found[side.name].append((*self.timed(side.replay), side.count))
        torch.cuda.synchronize()
        return {name: [start.elapsed_time(end) / 1000 / count for start, end, count in events] for name, events in found.items()}

    def sustained(self, sides, seconds):
        """Turns of about 20 ms each; no more than two of them queued, so that the clock is read while they run."""
        longest = max(seconds[side.name] * side.count for side in sides)
        replays = max(1, round(0.02 / longest))
        found, clocks, queued = {side.name: [] for side in sides}, [], []
        begun, k = time.perf_counter(), 0
        while time.perf_counter() - begun < self.options.seconds:
            for side in sides if k % 2 == 0 else sides[::-1]:
                start, end = event(), event()
                start.record()
                for _ in range(replays):
                    side.replay()
                end.record()
                queued.append((side, start, end))
                if len(queued) > 2:
                    queued[-3][2].synchronize()
            clocks.append(self.clock.read())
            k += 1
        torch.cuda.synchronize()
        for side, start, end in queued:
            found[side.name].append(start.elapsed_time(end) / 1000 / replays / side.count)
        # The first third is the way to the clock that the load allows.
        late = {name: times[len(times) // 3:] for name, times in found.items()}
        steady = [clock for clock in clocks[len(clocks) // 3:] if clock]
        medians = {key: statistics.median(clock[key] for clock in steady) for key in (steady[0] if steady else ())}
        if steady:
            medians["reasons"] = 0
            for clock in steady:
                medians["reasons"] |= clock["reasons"]
        return late, medians

    def row(self, case, work, plan):
        """Checks the plan's results, then times it against each peer."""
        first = work.inputs()
        bound = plan.bind(first)
        error, deterministic = self.compare(work, first, bound)
        start, end = self.timed(bound)
        torch.cuda.synchronize()
        once = start.elapsed_time(end) / 1000
        footprint = sum(tensor.nbytes for tensor in (*first.values(), *bound.outputs.values()))
        count = max(1, min(64, math.ceil(2 * self.l2 / footprint), 1 + int(8e9 / footprint)))
        # A plan far from its goal is timed all the same, in fewer calls.
        count = max(1, min(count, int(0.5 / once)))
        sets = [first] + [work.inputs() for _ in range(count - 1)]
        ours = Side("weft", work.amount, [bound] + [plan.bind(inputs) for inputs in sets[1:]])
        row = dict(case, calls=count, launches=len(plan.plan["launches"]), error=error, deterministic=deterministic,
                   unit=work.unit, amount=work.amount, peers={})
        for peer in work.peers:
            theirs = Side(peer.name, peer.amount or work.amount, [peer.start(inputs) for inputs in sets])
            row["peers"][peer.name] = self.pair(ours, theirs, once)
        return row

    def pair(self, ours, theirs, once):
        sides, pair = (ours, theirs), {}
        bursts = self.burst(sides, once)
        seconds = {name: statistics.median(times) for name, times in bursts.items()}
        pair["burst"] = self.summary(ours, theirs, bursts)
        if self.options.seconds > 0:
            late, clocks = self.sustained(sides, seconds)
            pair["sustained"] = dict(self.summary(ours, theirs, late), clock=clocks)
        return pair

    @staticmethod
    def summary(ours, theirs, times):
        (a, b), (rate_a, rate_b) = [[pick(side) for side in (ours, theirs)] for pick in (
            lambda side: statistics.median(times[side.name]), lambda side: side.amount / statistics.median(times[side.name]))]
        spread = {side.name: (max(times[side.name]) - min(times[side.name])) / statistics.median(times[side.name]) for side in (ours, theirs)}
        return dict(ours=a, theirs=b, rate=rate_a, theirRate=rate_b, ratio=rate_a / rate_b, samples=len(times[ours.name]), spread=spread)

    @staticmethod
    def compare(work, inputs, bound):
        """The largest error over its bound, and whether a second run gives the same bits."""
        for tensor in bound.outputs.values():
            spoil(tensor)
        bound()
        once = {name: tensor.clone() for name, tensor in bound.outputs.items()}
        bound()
        torch.cuda.synchronize()
        same = all(torch.equal(once[name].view(torch.uint8), tensor.view(torch.uint8)) for name, tensor in bound.outputs.items())
        del once
        worst = 0.0 if all(bool(torch.isfinite(readable(tensor)).all()) for tensor in bound.outputs.values()) else math.inf
        for actual, expected, allowed in work.check(inputs, bound.outputs):
            ratio = ((actual.double() - expected).abs() / allowed).nan_to_num(nan=math.inf).max()
            worst = max(worst, float(ratio))
        return worst, same


# ---------------------------------------------------------------- bounds


def unit(dtype):
    """Half the distance from 1 to the next number: what a rounding to nearest may be off by, relatively."""
    return torch.finfo(dtype).eps / 2


def spoil(tensor):
    """Fills with NaN; of 8-bit floats, for which PyTorch has little, all bits but the sign's are set."""
    if tensor.element_size() == 1:
        tensor.view(torch.uint8).fill_(0x7F)
    else:
        tensor.fill_(math.nan)


def readable(tensor):
    return tensor.float() if tensor.element_size() == 1 else tensor


def rows_in_parts(count, at_most):
    """Ranges of rows, small enough to be computed in f64."""
    return [slice(k, min(k + at_most, count)) for k in range(0, count, at_most)]


# ---------------------------------------------------------------- tables


def rate_text(row, rate):
    return f"{rate / 1e12:.0f} TFLOP/s" if row["unit"] == "FLOP" else f"{rate / 1e9:.0f} GB/s"


def state_of(row):
    if "failure" in row:
        return row["failure"].splitlines()[0]
    if not row["error"] <= 1:
        return f"WRONG: {row['error']:.3g} of the bound"
    return f"{row['error']:.2f} of the bound" + ("" if row["deterministic"] else ", bits differ from run to run")


def markdown(head, rows):
    lines = [f"# {head['group']}", "", f"{head['device']}, driver {head['driver']}, PyTorch {head['torch']}, {head['time']}. Times in us; a ratio above 1 "
             "says that ours is faster. Sustained is what counts.", "",
             "| case | against | burst | theirs | ratio | sustained | theirs | ratio | ours | MHz | W | calls | error |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    ratios = {}
    for row in rows:
        if not row.get("peers"):
            lines.append(f"| {row['name']} |{' |' * 11} {state_of(row)} |")
        for name, pair in row.get("peers", {}).items():
            burst, held = pair["burst"], pair.get("sustained")
            clock = (held or {}).get("clock") or {}
            shown = held or burst
            ratios.setdefault(name, []).append((burst["ratio"], shown["ratio"]))
            lines.append(f"| {row['name']} | {name} | {burst['ours'] * 1e6:.1f} | {burst['theirs'] * 1e6:.1f} | {burst['ratio']:.3f} | "
                         + (f"{held['ours'] * 1e6:.1f} | {held['theirs'] * 1e6:.1f} | **{held['ratio']:.3f}** | " if held else "| | | ")
                         + f"{rate_text(row, shown['rate'])} | {clock.get('mhz', '')} | {clock.get('watts', '')} | {row['calls']} | {state_of(row)} |")
    mean = lambda values: math.exp(statistics.fmean(map(math.log, values)))
    lines += ["", "| against | rows | burst, mean | least | sustained, geometric mean | least |", "| --- | --- | --- | --- | --- | --- |"]
    for name, found in ratios.items():
        bursts, held = zip(*found)
        lines.append(f"| {name} | {len(found)} | {mean(bursts):.3f} | {min(bursts):.3f} | {mean(held):.3f} | {min(held):.3f} |")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- the command


def arguments(doc):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="folder that test/bench/build.mjs wrote")
    parser.add_argument("--only", action="append", default=[], help="rows whose group is this word, or whose name has it")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the sustained part of a pair; 0 leaves it out")
    parser.add_argument("--pairs", type=int, default=20, help="replays of a side in a burst")
    parser.add_argument("--rest", type=float, default=0.2, help="seconds of rest before a burst")
    parser.add_argument("--limit", type=float, default=500.0, help="seconds after which no row is begun")
    parser.add_argument("--compile", action="store_true", help="torch.compile as a peer too, where a script has it")
    parser.add_argument("--out", default=os.environ.get("OUT", "."), help="folder for GROUP.json and GROUP.md")
    return parser.parse_args()


def main(groups, work_of, options):
    """Times the cases of these groups. `work_of(case, plan_of)` gives a `Work`; `plan_of(name)` loads another case's plan."""
    begun = time.perf_counter()
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.build, "cases.json"), encoding="utf8") as file:
        cases = [case for case in json.load(file) if case["group"] in groups]
    chosen = [case for case in cases if not options.only or any(word == case["group"] or word in case["name"] for word in options.only)]
    bench, rows, plans = Bench(options), [], {}

    def plan_of(name):
        if name not in plans:
            plans[name] = weft.Plan(os.path.join(options.build, name))
        return plans[name]

    for case in chosen:
        torch.manual_seed(1)
        try:
            if "error" in case:
                raise weft.WeftError(case["error"])
            if time.perf_counter() - begun > options.limit:
                raise weft.WeftError(f"not begun: {options.limit:.0f} s had passed")
            row = bench.row(case, work_of(case, plan_of), plan_of(case["name"]))
        except Exception as error:  # the other rows are still wanted; the exit code says that one is missing
            print(f"{case['name']}: {error}" if isinstance(error, weft.WeftError) else traceback.format_exc(), file=sys.stderr)
            row = dict(case, failure=str(error) or type(error).__name__)
        rows.append(row)
        plans.clear()
        torch.cuda.empty_cache()
        for name, pair in row.get("peers", {}).items():
            shown = pair.get("sustained") or pair["burst"]
            print(f"{row['name']:40} {name:12} burst {pair['burst']['ratio']:.3f}  sustained {shown['ratio']:.3f}  "
                  f"{rate_text(row, shown['rate']):>14}  {state_of(row)}", flush=True)
    name = "-".join(groups)
    head = dict(group=name, device=torch.cuda.get_device_name(0), driver=driver_text(), torch=torch.__version__,
                time=time.strftime("%Y-%m-%d %H:%M", time.gmtime()), l2=bench.l2, seconds=options.seconds, pairs=options.pairs)
    with open(os.path.join(options.out, f"{name}.json"), "w", encoding="utf8") as file:
        json.dump(dict(head, rows=rows), file, indent=1)
    with open(os.path.join(options.out, f"{name}.md"), "w", encoding="utf8") as file:
        file.write(markdown(head, rows))
    print(f"{len(rows)} rows in {time.perf_counter() - begun:.0f} s")
    return 0 if all("failure" not in row and row["error"] <= 1 for row in rows) else 1


def driver_text():
    try:
        with open("/proc/driver/nvidia/version", encoding="utf8") as file:
            return next((word for word in file.readline().split() if word[:1].isdigit()), "unknown")
    except OSError:
        return "unknown"
