/**
 * The PTX simulator as a device that runs plans: the ptx target's kernels, as their text says, on the CPU.
 *
 * Memory is the host's. Each launch gets buffers of exactly the plan's sizes, so that an access one element beyond
 * a tensor is a finding, and a finding ends the run with the kernel's name and what was found.
 */
import type { Artifact, PlanKernel } from "../../compiler/plan/plan.ts";
import type { Device, DeviceTensor, KernelTiming, LoadedPlan } from "../device.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "../plan/blame.ts";
import type { Backend, Launch, Program, Range } from "../plan/backend.ts";
import { Executor } from "../plan/executor.ts";
import { textOf } from "../plan/kernel-text.ts";
import { MemoryPool } from "../plan/memory-pool.ts";
import { tiledMap } from "../plan/tensor-maps.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { loadModule, type Module } from "./compile/kernel.ts";
import { createDevice, type Buffer, type Device as SimulatedDevice } from "./device.ts";
import { explore, renderReproducer, type Reproducer } from "./explore.ts";
import { SimulateError } from "./finding.ts";
import { launchAll, type KernelArg, type KernelLaunch, type SimulateOptions } from "./launch.ts";
import type { Report } from "./report.ts";
import { encodeTensorMap, tensorMapTypes } from "./tensor-map.ts";

export interface SimulatorOptions {
  /** How launches are simulated: the order of warps, the checks. */
  readonly simulate?: SimulateOptions;
  /** Each launch is run under this many seeds; what any of them finds comes with its seed and shortest schedule. */
  readonly seeds?: number;
  /** Whether each launch runs by itself, also one that may begin before the one ahead of it, of at most 1024 blocks, has ended. */
  readonly apart?: boolean;
  /** Told of each launch, or of the first of those that run together: its counts of instructions, bytes and bank conflicts, and what was found. */
  readonly onLaunch?: (kernel: PlanKernel, report: Report, reproducers: readonly Reproducer[]) => void;
}

/** Opens the device. It cannot be missing. */
export function openSimulator(options: SimulatorOptions = {}): Promise<Device> {
  const backend: Backend<Uint8Array> = {
    pool: new MemoryPool<Uint8Array>({
      allocate: (bytes) => new Uint8Array(bytes),
      release: () => undefined,
    }),
    temporaries: "each",
    write: (memory, bytes) => memory.set(bytes),
    read: (memory, bytes) => Promise.resolve(memory.slice(0, bytes)),
    load: (artifact) => Promise.resolve(programOf(artifact, options)),
  };
  const device: Device = {
    name: "simulate",
    description: "PTX simulator, one thread",
    targets: ["ptx:sm_90a", "ptx:sm_80"],
    upload: (tensor: HostTensor): Promise<DeviceTensor> => Promise.resolve(executor.upload(tensor)),
    load: (artifact: Artifact): Promise<LoadedPlan> => executor.load(artifact),
    close(): Promise<void> {
      backend.pool.close();
      return Promise.resolve();
    },
  };
  const executor = new Executor(device, backend);
  return Promise.resolve(device);
}

/** A launch of a loaded kernel. */
interface Started {
  readonly kernel: PlanKernel;
  readonly module: Module;
  readonly launch: Launch<Uint8Array>;
}

function programOf(artifact: Artifact, options: SimulatorOptions): Program<Uint8Array> {
  const loaded = artifact.plan.kernels.map((kernel) => {
    const module = blaming(kernel, () => loadModule(textOf(artifact, kernel)));
    return { kernel, module };
  });
  const started = (launch: Launch<Uint8Array>): Started => {
    const found = loaded[launch.kernel];
    if (found === undefined) throw new DeviceError(`the plan has no kernel ${launch.kernel}`);
    return { ...found, launch };
  };
  const run = (group: readonly Started[], { kernel }: Started): void => {
    const { report, reproducers, keep } = blaming(kernel, () => exploreKernels(group, options));
    options.onLaunch?.(kernel, report, reproducers);
    if (reproducers.length > 0) {
      const words = reproducers.map(renderReproducer).join("\n");
      throw new DeviceError(kernelMessage(kernel, words, undefined));
    }
    keep();
  };
  return {
    launch(launches: readonly Launch<Uint8Array>[], time: boolean): Promise<readonly KernelTiming[]> {
      const timings: KernelTiming[] = [];
      for (const group of groupsOf(launches.map(started), options.apart === true)) {
        const [first] = group;
        if (first === undefined) continue;
        const start = performance.now();
        run(group, first);
        if (time) timings.push({ kernel: first.kernel.name, seconds: (performance.now() - start) * 1e-3 });
      }
      return Promise.resolve(timings);
    },
    free: () => undefined,
  };
}

/** What each block knew in the end is kept for those that wait for it: of more blocks it does not fit the memory. */
const mostAwaited = 1024;

/** Each launch with those behind it that may begin before it has ended; behind very many blocks a launch runs by itself. */
function groupsOf(all: readonly Started[], apart: boolean): readonly (readonly Started[])[] {
  const groups: Started[][] = [];
  for (const [k, one] of all.entries()) {
    const last = groups.at(-1);
    const blocks = all[k - 1]?.launch.grid.reduce((product, n) => product * n, 1) ?? 0;
    if (!apart && one.launch.early && last !== undefined && blocks <= mostAwaited) last.push(one);
    else groups.push([one]);
  }
  return groups;
}

/** The simulator's own refusals, with the kernel's name. */
function blaming<T>(kernel: PlanKernel, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof SimulateError)
      throw new DeviceError(kernelMessage(kernel, error.message, undefined));
    throw error;
  }
}

interface Explored {
  readonly report: Report;
  readonly reproducers: readonly Reproducer[];
  /** Writes what the launches computed to the plan's memory. */
  readonly keep: () => void;
}

function exploreKernels(group: readonly Started[], options: SimulatorOptions): Explored {
  const plain = options.simulate ?? {};
  const first = runKernels(group, plain);
  const alone = first.report.findings.map((finding): Reproducer => ({
    finding,
    seed: plain.seed ?? 0,
    schedule: [],
  }));
  if ((options.seeds ?? 1) < 2) return { ...first, reproducers: alone };
  const trial = (trialOptions: SimulateOptions): Report => runKernels(group, trialOptions).report;
  const { reproducers } = explore(trial, { seeds: options.seeds ?? 1, options: plain });
  return { ...first, reproducers: reproducers.length > 0 ? reproducers : alone };
}

interface Placed {
  readonly range: Range<Uint8Array>;
  readonly buffer: Buffer;
}

function runKernels(
  group: readonly Started[],
  options: SimulateOptions,
): { readonly report: Report; readonly keep: () => void } {
  const device = createDevice();
  const placed = placeAll(device, group);
  const launches = group.map((one, k): KernelLaunch => ({
    module: one.module,
    kernel: one.kernel.entry,
    grid: one.launch.grid,
    block: [one.kernel.threads, 1, 1],
    sharedBytes: one.kernel.dynamicSharedBytes,
    args: argumentsOf(one, placed),
    device,
    dependent: k > 0,
  }));
  const report = launchAll(launches, options);
  const keep = (): void => {
    for (const { range, buffer } of placed.values())
      range.memory.set(device.read(buffer, 0, range.bytes), range.offset);
  };
  return { report, keep };
}

/** Each piece of memory once, as long as the longest that a launch has of it. */
function placeAll(device: SimulatedDevice, group: readonly Started[]): ReadonlyMap<Uint8Array, Placed> {
  const longest = new Map<Uint8Array, { range: Range<Uint8Array>; name: string | undefined }>();
  for (const { kernel, launch } of group)
    for (const [k, range] of launch.buffers.entries()) {
      const known = longest.get(range.memory);
      if (known === undefined) longest.set(range.memory, { range, name: kernel.buffers[k]?.name });
      else if (known.range.bytes < range.bytes) known.range = range;
    }
  return new Map(
    [...longest].map(([memory, { range, name }]) => [memory, { range, buffer: place(device, range, name) }]),
  );
}

function argumentsOf(
  { kernel, launch }: Started,
  placed: ReadonlyMap<Uint8Array, Placed>,
): readonly KernelArg[] {
  const bufferAt = (k: number): Buffer => {
    const found = placed.get(launch.buffers[k]?.memory ?? new Uint8Array());
    if (found === undefined)
      throw new DeviceError(kernelMessage(kernel, `there is no buffer ${k}`, undefined));
    return found.buffer;
  };
  const buffers = launch.buffers.map((_, k): KernelArg => ({ kind: "buffer", buffer: bufferAt(k) }));
  const sizes = launch.sizes.map((value, k): KernelArg =>
    kernel.sizes[k]?.type === "i64" ? { kind: "i64", value: BigInt(value) } : { kind: "i32", value },
  );
  const maps = kernel.maps.map((map, k): KernelArg => {
    const [range, extents] = [launch.buffers[map.buffer], launch.maps[k]];
    if (range === undefined || extents === undefined)
      throw new DeviceError(kernelMessage(kernel, `the map ${map.name} views no buffer`, undefined));
    const { type, ...tiled } = tiledMap(kernel, map, extents, range.bytes);
    const { address } = bufferAt(map.buffer);
    const name = tensorMapTypes[type];
    if (name === undefined) throw new DeviceError(`there is no tensor map of type ${type}`);
    return { kind: "bytes", bytes: encodeTensorMap({ ...tiled, type: name, address, fill: "zero" }) };
  });
  return [...buffers, ...sizes, ...maps];
}

function place(device: SimulatedDevice, range: Range<Uint8Array>, name: string | undefined): Buffer {
  const buffer = device.alloc(range.bytes, name);
  device.write(buffer, range.memory.subarray(range.offset, range.offset + range.bytes));
  return buffer;
}
