/**
 * The kernels of one loaded plan on a CUDA device. Launches that come again, on the same memory with the same grids
 * and sizes, are replayed as a CUDA graph: one call of the driver for the whole plan.
 *
 * A graph is found by all that its launches take, addresses included, so that none is ever stale: what lies at an
 * address is read when the graph runs, and memory that was freed and allocated anew at the same address is the same
 * launch. Those used last are kept, `maxPrepared` of them.
 */
import type { PlanKernel } from "../../compiler/plan/plan.ts";
import type { KernelTiming } from "../device.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "../plan/blame.ts";
import type { Launch, Program, TimeOptions } from "../plan/backend.ts";
import type { CudaDriver } from "./driver.ts";
import { cudaConstants } from "./driver.ts";
import type { Handle, NativeMemory } from "./library.ts";
import { encodeMaps } from "./tensor-maps.ts";

export interface CudaKernel {
  readonly kernel: PlanKernel;
  readonly fn: Handle;
}

/** One launch with its parameters' addresses. */
interface Ready {
  readonly kernel: PlanKernel;
  readonly fn: Handle;
  readonly grid: readonly [number, number, number];
  readonly parameters: Handle;
  /** Of a launch that may begin early: its CUlaunchConfig. */
  readonly config: Handle | undefined;
}

/** The launches of one run, ready to be made: their parameters in memory, and their graph once they came twice. */
interface Prepared {
  readonly launches: readonly Ready[];
  readonly parameters: NativeMemory;
  graph: Handle | undefined;
}

/** Runs that take turns, such as those over rotated inputs or over a few batch sizes. */
const maxPrepared = 64;

/**
 * Bytes of cuda.h's CUlaunchConfig (grid, block and shared bytes first) and of the CUlaunchAttribute behind it, whose value
 * begins at byte 8, and where members are. `serialization` is CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION.
 */
const earlyLaunch = {
  bytes: 56 + 72,
  stream: 32,
  attribute: 40,
  count: 48,
  attributeBytes: 72,
  serialization: 6,
} as const;

export class CudaProgram implements Program<Handle> {
  readonly #driver: CudaDriver;
  readonly #stream: Handle;
  readonly #kernels: readonly CudaKernel[];
  /** By `keyOf`, the one used last at the end. */
  readonly #prepared = new Map<string, Prepared>();

  constructor(driver: CudaDriver, stream: Handle, kernels: readonly CudaKernel[]) {
    this.#driver = driver;
    this.#stream = stream;
    this.#kernels = kernels;
  }

  async launch(launches: readonly Launch<Handle>[], time: boolean): Promise<readonly KernelTiming[]> {
    this.#driver.enter();
    const key = keyOf(launches);
    const known = this.#prepared.get(key);
    const prepared = known ?? this.#prepare(launches);
    this.#prepared.delete(key);
    this.#prepared.set(key, prepared);
    this.#forgetOldest();
    if (time) return this.#timed(prepared.launches);
    if (known !== undefined && launches.length > 1) {
      prepared.graph ??= this.#capture(prepared.launches);
      this.#driver.check(this.#driver.library.cuGraphLaunch(prepared.graph, this.#stream), "cuGraphLaunch");
    } else {
      for (const ready of prepared.launches) this.#start(ready);
    }
    return [];
  }

  /** One graph of all launches, between two events that are queued while the device still works. */
  async time(launches: readonly Launch<Handle>[], options: TimeOptions): Promise<readonly number[]> {
    const { samples, repeats, restore, flushBytes } = options;
    const { library } = this.#driver;
    this.#driver.enter();
    const prepared = this.#prepare(launches);
    const flushed =
      flushBytes === 0
        ? 0n
        : this.#driver.handle(`${flushBytes} bytes`, (out) => library.cuMemAlloc_v2(out, flushBytes));
    try {
      const graph = this.#capture(prepared.launches);
      prepared.graph = graph;
      const replay = (): void =>
        this.#driver.check(library.cuGraphLaunch(graph, this.#stream), "cuGraphLaunch");
      const lead = (): void => {
        restore?.();
        if (flushBytes > 0)
          this.#driver.check(
            library.cuMemsetD8Async(flushed, 1, flushBytes, this.#stream),
            "cuMemsetD8Async",
          );
        else if (restore === undefined) replay();
      };
      const work = (): void => {
        for (let repeat = 0; repeat < repeats; repeat += 1) replay();
      };
      return await this.#between(samples, lead, work, "timing the plan").then((passes) =>
        passes.map((seconds) => seconds / repeats),
      );
    } finally {
      this.#release(prepared);
      if (flushed !== 0n) library.cuMemFree_v2(flushed);
    }
  }

  free(): void {
    if (this.#prepared.size === 0) return;
    this.#driver.enter();
    for (const prepared of this.#prepared.values()) this.#release(prepared);
    this.#prepared.clear();
  }

  #forgetOldest(): void {
    for (const [key, prepared] of this.#prepared) {
      if (this.#prepared.size <= maxPrepared) return;
      this.#prepared.delete(key);
      this.#release(prepared);
    }
  }

  /** What still runs needs neither: parameters are copied when they are launched, and a graph is freed once it is done. */
  #release({ parameters, graph }: Prepared): void {
    if (graph !== undefined) this.#driver.library.cuGraphExecDestroy(graph);
    parameters.free();
  }

  /**
   * Writes every launch's maps, its other parameters, and the addresses of all that cuLaunchKernel takes, into one
   * piece of memory: a map is encoded once for the buffer and the extents that it is asked for.
   */
  #prepare(launches: readonly Launch<Handle>[]): Prepared {
    const made = launches.map((launch) => {
      const kernel = this.#kernels[launch.kernel];
      if (kernel === undefined) throw new DeviceError(`the plan has no kernel ${launch.kernel}`);
      return { ...kernel, launch, values: parameterBits(kernel.kernel, launch) };
    });
    const { bytes, align } = cudaConstants.tensorMap;
    const maps = made.reduce((sum, { kernel }) => sum + kernel.maps.length, 0);
    const values = made.reduce((sum, part) => sum + part.values.length, 0);
    const configs = align + bytes * maps + 8 * (2 * values + maps);
    // The first has nothing of the plan's ahead of it.
    const early = made.filter(({ launch }, k) => k > 0 && launch.early).length;
    const memory = this.#driver.cuda.allocate(configs + earlyLaunch.bytes * early);
    try {
      const first = -Number(memory.address % BigInt(align)) & (align - 1);
      let [map, value, address] = [first, first + bytes * maps, first + bytes * maps + 8 * values];
      let config = configs - (configs % 8);
      const all = made.map(({ kernel, fn, launch, values: own }, k): Ready => {
        const parameters = memory.address + BigInt(address);
        const point = (to: number): void => {
          memory.view.setBigUint64(address, memory.address + BigInt(to), true);
          address += 8;
        };
        for (const bits of own) {
          memory.view.setBigUint64(value, bits, true);
          point(value);
          value += 8;
        }
        encodeMaps(this.#driver, kernel, launch, memory.address + BigInt(map));
        for (const _ of kernel.maps) {
          point(map);
          map += bytes;
        }
        const plain = { kernel, fn, grid: launch.grid, parameters, config: undefined };
        if (k === 0 || !launch.early) return plain;
        this.#writeConfig(memory, config, plain);
        config += earlyLaunch.bytes;
        return { ...plain, config: memory.address + BigInt(config - earlyLaunch.bytes) };
      });
      return { launches: all, parameters: memory, graph: undefined };
    } catch (error) {
      memory.free();
      throw error;
    }
  }

  /** A CUlaunchConfig with one attribute behind it: programmatic stream serialization. */
  #writeConfig({ view, address }: NativeMemory, at: number, { kernel, grid }: Ready): void {
    const { attribute, count, stream, attributeBytes, serialization } = earlyLaunch;
    const words = [...grid, kernel.threads, 1, 1, kernel.dynamicSharedBytes];
    words.forEach((word, k) => view.setUint32(at + 4 * k, word, true));
    view.setBigUint64(at + stream, this.#stream, true);
    const own = at + earlyLaunch.bytes - attributeBytes;
    view.setBigUint64(at + attribute, address + BigInt(own), true);
    view.setUint32(at + count, 1, true);
    for (let byte = 0; byte < attributeBytes; byte += 8) view.setBigUint64(own + byte, 0n, true);
    view.setUint32(own, serialization, true);
    view.setUint32(own + 8, 1, true);
  }

  #start({ kernel, fn, grid, parameters, config }: Ready): void {
    const [x, y, z] = grid;
    const { library } = this.#driver;
    const shared = kernel.dynamicSharedBytes;
    const status =
      config !== undefined
        ? library.cuLaunchKernelEx(config, fn, parameters, 0n)
        : library.cuLaunchKernel(fn, x, y, z, kernel.threads, 1, 1, shared, this.#stream, parameters, 0n);
    if (status === cudaConstants.status.success) return;
    const call = config === undefined ? "cuLaunchKernel" : "cuLaunchKernelEx";
    const words = `${call}, grid ${grid.join(" x ")}, ${kernel.threads} threads, ${shared} dynamic shared bytes`;
    throw new DeviceError(kernelMessage(kernel, `${words}: ${this.#driver.errorText(status)}`, undefined));
  }

  #capture(launches: readonly Ready[]): Handle {
    const { library } = this.#driver;
    const begun = library.cuStreamBeginCapture_v2(this.#stream, cudaConstants.captureThreadLocal);
    this.#driver.check(begun, "cuStreamBeginCapture");
    let graph: Handle;
    try {
      for (const ready of launches) this.#start(ready);
    } finally {
      // A failed launch must not leave the stream capturing.
      graph = this.#driver.handle("cuStreamEndCapture", (out) =>
        library.cuStreamEndCapture(this.#stream, out),
      );
    }
    try {
      return this.#driver.handle("cuGraphInstantiate", (out) =>
        library.cuGraphInstantiateWithFlags(out, graph, 0n),
      );
    } finally {
      library.cuGraphDestroy(graph);
    }
  }

  /** A launch at a time, waiting after each, so that a fault is its kernel's. */
  async #timed(launches: readonly Ready[]): Promise<readonly KernelTiming[]> {
    const timings: KernelTiming[] = [];
    for (const ready of launches) {
      const what = kernelMessage(ready.kernel, "running", undefined);
      const [seconds = 0] = await this.#between(
        1,
        () => undefined,
        () => this.#start(ready),
        what,
      );
      timings.push({ kernel: ready.kernel.name, seconds });
    }
    return timings;
  }

  /** Seconds on the device from one event to another around what `work` queues, behind what `lead` does. */
  async #between(
    samples: number,
    lead: () => void,
    work: () => void,
    what: string,
  ): Promise<readonly number[]> {
    const { library } = this.#driver;
    const event = (): Handle => this.#driver.handle("cuEventCreate", (out) => library.cuEventCreate(out, 0));
    const record = (at: Handle): void =>
      this.#driver.check(library.cuEventRecord(at, this.#stream), "cuEventRecord");
    const [start, end] = [event(), event()];
    const milliseconds = new Float32Array(1);
    const found: number[] = [];
    try {
      for (let sample = 0; sample < samples; sample += 1) {
        lead();
        record(start);
        work();
        record(end);
        await this.#driver.finish(this.#stream, what);
        this.#driver.check(library.cuEventElapsedTime(milliseconds, start, end), "cuEventElapsedTime");
        found.push((milliseconds[0] ?? 0) * 1e-3);
      }
    } finally {
      library.cuEventDestroy_v2(start);
      library.cuEventDestroy_v2(end);
    }
    return found;
  }
}

/** All that the launches take; equal for launches that do the same. */
function keyOf(launches: readonly Launch<Handle>[]): string {
  return launches
    .map(({ kernel, buffers, grid, sizes, maps }) =>
      [
        kernel,
        ...grid,
        ...sizes,
        ...maps.flat(),
        ...buffers.map(({ memory, offset }) => memory + BigInt(offset)),
      ].join(),
    )
    .join(";");
}

/** Each parameter as 64 bits, of which the driver reads as many as the kernel's signature says: little-endian. */
function parameterBits(kernel: PlanKernel, launch: Launch<Handle>): readonly bigint[] {
  const pointers = launch.buffers.map(({ memory, offset }) => memory + BigInt(offset));
  const sizes = launch.sizes.map((size, k) => {
    const parameter = kernel.sizes[k];
    if (parameter?.type === "i32" && size !== (size | 0)) {
      throw new DeviceError(
        kernelMessage(kernel, `the size ${parameter.name} = ${size} does not fit in an i32`, undefined),
      );
    }
    return BigInt.asUintN(64, BigInt(size));
  });
  return [...pointers, ...sizes];
}
