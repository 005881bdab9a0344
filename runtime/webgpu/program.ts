/** The kernels of one loaded plan on a WebGPU device: bind groups, dispatches, time stamps. */
import type { PlanKernel } from "../../compiler/plan/plan.ts";
import type { KernelTiming } from "../device.ts";
import { DeviceError } from "../device.ts";
import type { Launch, Program } from "../plan/backend.ts";
import type { Pipeline } from "./modules.ts";
import { mapRead, usage } from "./usage.ts";

/** A uniform's bytes start at a multiple of this on every adapter. */
const uniformAlign = 256;

/** Launches timed in one submission: a query set has 4096 time stamps at most, two a launch. */
const timedAtOnce = 2048;

/** One launch with everything that its dispatch needs. */
interface Dispatch {
  readonly kernel: string;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
}

export class GpuProgram implements Program<GPUBuffer> {
  readonly #gpu: GPUDevice;
  readonly #kernels: readonly PlanKernel[];
  readonly #pipelines: readonly Pipeline[];
  readonly #checkAlive: () => void;
  #launches: readonly Launch<GPUBuffer>[] = [];
  #dispatches: readonly Dispatch[] = [];
  #sizes: GPUBuffer | undefined;

  constructor(
    gpu: GPUDevice,
    kernels: readonly PlanKernel[],
    pipelines: readonly Pipeline[],
    checkAlive: () => void,
  ) {
    this.#gpu = gpu;
    this.#kernels = kernels;
    this.#pipelines = pipelines;
    this.#checkAlive = checkAlive;
  }

  async launch(launches: readonly Launch<GPUBuffer>[], time: boolean): Promise<readonly KernelTiming[]> {
    this.#checkAlive();
    if (this.#launches !== launches) {
      await this.#checked("binding the plan's buffers", () => this.#prepare(launches));
    }
    if (!time) {
      await this.#checked("launching the plan", () => this.#submit(this.#dispatches, undefined));
      return [];
    }
    if (this.#gpu.features.has("timestamp-query")) return this.#timeByStamps();
    return this.#timeByClock();
  }

  free(): void {
    this.#sizes?.destroy();
    this.#sizes = undefined;
    this.#dispatches = [];
    this.#launches = [];
  }

  #prepare(launches: readonly Launch<GPUBuffer>[]): void {
    this.free();
    const offsets = this.#uploadSizes(launches);
    this.#dispatches = launches.map((launch, k) => this.#dispatchOf(launch, offsets[k] ?? 0));
    this.#launches = launches;
  }

  #dispatchOf(launch: Launch<GPUBuffer>, sizesOffset: number): Dispatch {
    const [kernel, made] = [this.#kernels[launch.kernel], this.#pipelines[launch.kernel]];
    if (kernel === undefined || made === undefined)
      throw new DeviceError(`the plan has no kernel ${launch.kernel}`);
    const entries = launch.buffers.map(({ memory, offset, bytes }, binding): GPUBindGroupEntry => ({
      binding,
      resource: { buffer: memory, offset, size: Math.max(Math.ceil(bytes / 4) * 4, 4) },
    }));
    if (this.#sizes !== undefined && launch.sizes.length > 0) {
      const size = uniformBytes(launch.sizes.length);
      entries.push({ binding: entries.length, resource: { buffer: this.#sizes, offset: sizesOffset, size } });
    }
    const group = this.#gpu.createBindGroup({ label: kernel.name, layout: made.layout, entries });
    return { kernel: kernel.name, pipeline: made.pipeline, group, grid: launch.grid };
  }

  /** All launches' sizes in one buffer; the place of each. */
  #uploadSizes(launches: readonly Launch<GPUBuffer>[]): readonly number[] {
    let end = 0;
    const offsets = launches.map(({ sizes }) => {
      const offset = end;
      end += Math.ceil(uniformBytes(sizes.length) / uniformAlign) * uniformAlign;
      return offset;
    });
    if (end === 0) return offsets;
    const words = new Int32Array(end / 4);
    for (const [k, { sizes, kernel }] of launches.entries()) {
      for (const [n, size] of sizes.entries()) {
        if (size !== (size | 0)) {
          throw new DeviceError(
            `kernel ${this.#kernels[kernel]?.name ?? kernel}: the size ${size} does not fit in an i32`,
          );
        }
        words[(offsets[k] ?? 0) / 4 + n] = size;
      }
    }
    this.#sizes = this.#gpu.createBuffer({ size: end, usage: usage.uniform | usage.copyTarget });
    this.#gpu.queue.writeBuffer(this.#sizes, 0, words);
    return offsets;
  }

  #submit(dispatches: readonly Dispatch[], stamps: GPUQuerySet | undefined): void {
    const encoder = this.#gpu.createCommandEncoder();
    this.#encode(encoder, dispatches, stamps);
    this.#gpu.queue.submit([encoder.finish()]);
  }

  #encode(
    encoder: GPUCommandEncoder,
    dispatches: readonly Dispatch[],
    stamps: GPUQuerySet | undefined,
  ): void {
    for (const [k, { kernel, pipeline, group, grid }] of dispatches.entries()) {
      const pass = encoder.beginComputePass(
        stamps === undefined
          ? { label: kernel }
          : {
              label: kernel,
              timestampWrites: {
                querySet: stamps,
                beginningOfPassWriteIndex: 2 * k,
                endOfPassWriteIndex: 2 * k + 1,
              },
            },
      );
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
      pass.end();
    }
  }

  async #timeByStamps(): Promise<readonly KernelTiming[]> {
    const timings: KernelTiming[] = [];
    for (let first = 0; first < this.#dispatches.length; first += timedAtOnce) {
      const part = this.#dispatches.slice(first, first + timedAtOnce);
      const nanoseconds = await this.#stampsOf(part);
      for (const [k, { kernel }] of part.entries()) {
        const [begin, end] = [nanoseconds[2 * k] ?? 0n, nanoseconds[2 * k + 1] ?? 0n];
        timings.push({ kernel, seconds: Number(end - begin) * 1e-9 });
      }
    }
    return timings;
  }

  async #stampsOf(dispatches: readonly Dispatch[]): Promise<BigInt64Array> {
    const gpu = this.#gpu;
    const [count, size] = [2 * dispatches.length, 16 * dispatches.length];
    const querySet = gpu.createQuerySet({ type: "timestamp", count });
    const resolved = gpu.createBuffer({ size, usage: usage.queryResolve | usage.copySource });
    const staging = gpu.createBuffer({ size, usage: usage.mapRead | usage.copyTarget });
    try {
      await this.#checked("timing the plan", () => {
        const encoder = gpu.createCommandEncoder();
        this.#encode(encoder, dispatches, querySet);
        encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
        encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
        gpu.queue.submit([encoder.finish()]);
      });
      await staging.mapAsync(mapRead);
      return new BigInt64Array(staging.getMappedRange().slice(0));
    } finally {
      querySet.destroy();
      resolved.destroy();
      staging.destroy();
    }
  }

  /** The host's clock, around each launch and the wait for it. */
  async #timeByClock(): Promise<readonly KernelTiming[]> {
    const timings: KernelTiming[] = [];
    for (const dispatch of this.#dispatches) {
      await this.#gpu.queue.onSubmittedWorkDone();
      const start = performance.now();
      await this.#checked("launching the plan", () => this.#submit([dispatch], undefined));
      await this.#gpu.queue.onSubmittedWorkDone();
      timings.push({ kernel: dispatch.kernel, seconds: (performance.now() - start) * 1e-3 });
    }
    return timings;
  }

  /** Runs `work`, which does not wait, and throws the errors that the device found in it. Their text names the kernel by its label. */
  async #checked(what: string, work: () => void): Promise<void> {
    const gpu = this.#gpu;
    gpu.pushErrorScope("out-of-memory");
    gpu.pushErrorScope("validation");
    try {
      work();
    } catch (error) {
      // The scopes are a stack that others use too.
      await Promise.all([gpu.popErrorScope(), gpu.popErrorScope()]);
      throw error;
    }
    for (const error of await Promise.all([gpu.popErrorScope(), gpu.popErrorScope()])) {
      if (error !== null) throw new DeviceError(`${what}: ${error.message}`);
    }
    this.#checkAlive();
  }
}

function uniformBytes(sizes: number): number {
  return Math.ceil(sizes / 4) * 16;
}
