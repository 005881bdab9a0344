/**
 * The kernels of one loaded plan on a CUDA device. Launches on the same memory as the last run are replayed as a
 * CUDA graph: one call of the driver for the whole plan.
 */
import type { PlanKernel } from "../../compiler/plan/plan.ts";
import type { KernelTiming } from "../device.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "../plan/blame.ts";
import type { Launch, Program } from "../plan/executor.ts";
import type { CudaDriver } from "./driver.ts";
import { cudaConstants } from "./driver.ts";
import type { Handle, NativeMemory } from "./library.ts";

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
}

export class CudaProgram implements Program<Handle> {
  readonly #driver: CudaDriver;
  readonly #stream: Handle;
  readonly #kernels: readonly CudaKernel[];
  #launches: readonly Launch<Handle>[] = [];
  #ready: readonly Ready[] = [];
  #parameters: NativeMemory | undefined;
  #graph: Handle | undefined;

  constructor(driver: CudaDriver, stream: Handle, kernels: readonly CudaKernel[]) {
    this.#driver = driver;
    this.#stream = stream;
    this.#kernels = kernels;
  }

  async launch(launches: readonly Launch<Handle>[], time: boolean): Promise<readonly KernelTiming[]> {
    this.#driver.enter();
    const again = this.#launches === launches && launches.length > 0;
    if (!again) this.#prepare(launches);
    if (time) return this.#timed();
    if (again && launches.length > 1) {
      this.#graph ??= this.#capture();
      this.#driver.check(this.#driver.library.cuGraphLaunch(this.#graph, this.#stream), "cuGraphLaunch");
    } else {
      for (const ready of this.#ready) this.#start(ready);
    }
    return [];
  }

  free(): void {
    this.#driver.enter();
    // What is still running reads neither: parameters and graphs are copied when they are launched.
    if (this.#graph !== undefined) this.#driver.library.cuGraphExecDestroy(this.#graph);
    this.#graph = undefined;
    this.#parameters?.free();
    this.#parameters = undefined;
    this.#ready = [];
    this.#launches = [];
  }

  /** Writes every launch's parameters, and the addresses of them that cuLaunchKernel takes, into one piece of memory. */
  #prepare(launches: readonly Launch<Handle>[]): void {
    this.free();
    const count = launches.reduce((sum, { buffers, sizes }) => sum + buffers.length + sizes.length, 0);
    const memory = this.#driver.cuda.allocate(Math.max(16 * count, 16));
    this.#parameters = memory;
    let at = 0;
    this.#ready = launches.map((launch) => {
      const made = this.#kernels[launch.kernel];
      if (made === undefined) throw new DeviceError(`the plan has no kernel ${launch.kernel}`);
      const parameters = memory.address + BigInt(8 * (count + at));
      for (const bits of parameterBits(made.kernel, launch)) {
        memory.view.setBigUint64(8 * at, bits, true);
        memory.view.setBigUint64(8 * (count + at), memory.address + BigInt(8 * at), true);
        at += 1;
      }
      return { kernel: made.kernel, fn: made.fn, grid: launch.grid, parameters };
    });
    this.#launches = launches;
  }

  #start({ kernel, fn, grid, parameters }: Ready): void {
    const [x, y, z] = grid;
    const { library } = this.#driver;
    const shared = kernel.dynamicSharedBytes;
    const status = library.cuLaunchKernel(
      fn,
      x,
      y,
      z,
      kernel.threads,
      1,
      1,
      shared,
      this.#stream,
      parameters,
      0n,
    );
    if (status === cudaConstants.status.success) return;
    const words = `cuLaunchKernel, grid ${grid.join(" x ")}, ${kernel.threads} threads, ${shared} dynamic shared bytes`;
    throw new DeviceError(kernelMessage(kernel, `${words}: ${this.#driver.errorText(status)}`, undefined));
  }

  #capture(): Handle {
    const { library } = this.#driver;
    const begun = library.cuStreamBeginCapture_v2(this.#stream, cudaConstants.captureThreadLocal);
    this.#driver.check(begun, "cuStreamBeginCapture");
    let graph: Handle;
    try {
      for (const ready of this.#ready) this.#start(ready);
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

  /** Between two events a launch, waiting after each, so that a fault is its kernel's. */
  async #timed(): Promise<readonly KernelTiming[]> {
    const { library } = this.#driver;
    const event = (): Handle => this.#driver.handle("cuEventCreate", (out) => library.cuEventCreate(out, 0));
    const [start, end] = [event(), event()];
    const milliseconds = new Float32Array(1);
    const timings: KernelTiming[] = [];
    try {
      for (const ready of this.#ready) {
        this.#driver.check(library.cuEventRecord(start, this.#stream), "cuEventRecord");
        this.#start(ready);
        this.#driver.check(library.cuEventRecord(end, this.#stream), "cuEventRecord");
        await this.#driver.finish(this.#stream, kernelMessage(ready.kernel, "running", undefined));
        this.#driver.check(library.cuEventElapsedTime(milliseconds, start, end), "cuEventElapsedTime");
        timings.push({ kernel: ready.kernel.name, seconds: (milliseconds[0] ?? 0) * 1e-3 });
      }
    } finally {
      library.cuEventDestroy_v2(start);
      library.cuEventDestroy_v2(end);
    }
    return timings;
  }
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
