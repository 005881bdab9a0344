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
import { launch as simulate, type KernelArg, type SimulateOptions } from "./launch.ts";
import type { Report } from "./report.ts";
import { encodeTensorMap, tensorMapTypes } from "./tensor-map.ts";

export interface SimulatorOptions {
  /** How launches are simulated: the order of warps, the checks. */
  readonly simulate?: SimulateOptions;
  /** Each launch is run under this many seeds; what any of them finds comes with its seed and shortest schedule. */
  readonly seeds?: number;
  /** Told of each launch: its counts of instructions, bytes and bank conflicts, and what was found. */
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

function programOf(artifact: Artifact, options: SimulatorOptions): Program<Uint8Array> {
  const loaded = artifact.plan.kernels.map((kernel) => {
    const module = blaming(kernel, () => loadModule(textOf(artifact, kernel)));
    return { kernel, module };
  });
  const run = (launch: Launch<Uint8Array>): string => {
    const found = loaded[launch.kernel];
    if (found === undefined) throw new DeviceError(`the plan has no kernel ${launch.kernel}`);
    const { kernel, module } = found;
    const { report, reproducers, keep } = blaming(kernel, () =>
      exploreKernel(kernel, module, launch, options),
    );
    options.onLaunch?.(kernel, report, reproducers);
    if (reproducers.length > 0) {
      const words = reproducers.map(renderReproducer).join("\n");
      throw new DeviceError(kernelMessage(kernel, words, undefined));
    }
    keep();
    return kernel.name;
  };
  return {
    launch(launches: readonly Launch<Uint8Array>[], time: boolean): Promise<readonly KernelTiming[]> {
      const timings: KernelTiming[] = [];
      for (const launch of launches) {
        const start = performance.now();
        const kernel = run(launch);
        if (time) timings.push({ kernel, seconds: (performance.now() - start) * 1e-3 });
      }
      return Promise.resolve(timings);
    },
    free: () => undefined,
  };
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
  /** Writes what the launch computed to the plan's memory. */
  readonly keep: () => void;
}

function exploreKernel(
  kernel: PlanKernel,
  module: Module,
  launch: Launch<Uint8Array>,
  options: SimulatorOptions,
): Explored {
  const plain = options.simulate ?? {};
  const first = runKernel(kernel, module, launch, plain);
  const alone = first.report.findings.map((finding): Reproducer => ({
    finding,
    seed: plain.seed ?? 0,
    schedule: [],
  }));
  if ((options.seeds ?? 1) < 2) return { ...first, reproducers: alone };
  const trial = (trialOptions: SimulateOptions): Report =>
    runKernel(kernel, module, launch, trialOptions).report;
  const { reproducers } = explore(trial, { seeds: options.seeds ?? 1, options: plain });
  return { ...first, reproducers: reproducers.length > 0 ? reproducers : alone };
}

function runKernel(
  kernel: PlanKernel,
  module: Module,
  launch: Launch<Uint8Array>,
  options: SimulateOptions,
): { readonly report: Report; readonly keep: () => void } {
  const device = createDevice();
  const placed = new Map<Uint8Array, { readonly range: Range<Uint8Array>; readonly buffer: Buffer }>();
  const buffers = launch.buffers.map((range, k): KernelArg => {
    const known = placed.get(range.memory);
    if (known !== undefined && known.range.bytes >= range.bytes)
      return { kind: "buffer", buffer: known.buffer };
    const buffer = place(device, range, kernel.buffers[k]?.name);
    placed.set(range.memory, { range, buffer });
    return { kind: "buffer", buffer };
  });
  const sizes = launch.sizes.map((value, k): KernelArg =>
    kernel.sizes[k]?.type === "i64" ? { kind: "i64", value: BigInt(value) } : { kind: "i32", value },
  );
  const maps = kernel.maps.map((map, k): KernelArg => {
    const range = launch.buffers[map.buffer];
    const extents = launch.maps[k];
    const placedAt = range === undefined ? undefined : placed.get(range.memory);
    if (range === undefined || extents === undefined || placedAt === undefined)
      throw new DeviceError(kernelMessage(kernel, `the map ${map.name} views no buffer`, undefined));
    const { type, ...tiled } = tiledMap(kernel, map, extents, range.bytes);
    const { address } = placedAt.buffer;
    const name = tensorMapTypes[type];
    if (name === undefined) throw new DeviceError(`there is no tensor map of type ${type}`);
    return { kind: "bytes", bytes: encodeTensorMap({ ...tiled, type: name, address, fill: "zero" }) };
  });
  const report = simulate(
    module,
    kernel.entry,
    {
      grid: launch.grid,
      block: [kernel.threads, 1, 1],
      sharedBytes: kernel.dynamicSharedBytes,
      args: [...buffers, ...sizes, ...maps],
      device,
    },
    options,
  );
  const keep = (): void => {
    for (const { range, buffer } of placed.values())
      range.memory.set(device.read(buffer, 0, range.bytes), range.offset);
  };
  return { report, keep };
}

function place(device: SimulatedDevice, range: Range<Uint8Array>, name: string | undefined): Buffer {
  const buffer = device.alloc(range.bytes, name);
  device.write(buffer, range.memory.subarray(range.offset, range.offset + range.bytes));
  return buffer;
}
