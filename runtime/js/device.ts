/** The js device: the js target's kernels, on this thread, over array buffers. It is there wherever JavaScript runs. */
import type { Artifact, PlanKernel } from "../../compiler/plan/plan.ts";
import type { DType } from "../../compiler/types/dtype.ts";
import type { Device, DeviceTensor, KernelTiming, LoadedPlan } from "../device.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "../plan/blame.ts";
import type { Backend, Launch, Program } from "../plan/backend.ts";
import { Executor } from "../plan/executor.ts";
import { textOf } from "../plan/kernel-text.ts";
import { MemoryPool } from "../plan/memory-pool.ts";
import type { HostTensor } from "../tensor/tensor.ts";

type Elements = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array | BigInt64Array;

/** What a module of the js target exports. */
type KernelFunction = (
  buffers: readonly Elements[],
  sizes: readonly number[],
  x: number,
  y: number,
  z: number,
) => void;

/** Opens the device. It cannot be missing. */
export function openJs(): Promise<Device> {
  const backend: Backend<ArrayBuffer> = {
    pool: new MemoryPool<ArrayBuffer>({ allocate, release: () => undefined }),
    temporaries: "one",
    write: (memory, bytes) => new Uint8Array(memory).set(bytes),
    read: (memory, bytes) => Promise.resolve(new Uint8Array(memory.slice(0, bytes))),
    load: (artifact) => Promise.resolve(programOf(artifact)),
  };
  const device: Device = {
    name: "js",
    description: "JavaScript, one thread",
    targets: ["js"],
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

function allocate(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (error) {
    if (error instanceof RangeError) throw new DeviceError(`no memory for ${bytes} bytes: ${error.message}`);
    throw error;
  }
}

function programOf(artifact: Artifact): Program<ArrayBuffer> {
  const { kernels } = artifact.plan;
  const compiled = kernels.map((kernel) => compile(kernel, textOf(artifact, kernel)));
  const run = (launch: Launch<ArrayBuffer>): string => {
    const [kernel, call] = [kernels[launch.kernel], compiled[launch.kernel]];
    if (kernel === undefined || call === undefined)
      throw new DeviceError(`the plan has no kernel ${launch.kernel}`);
    const buffers = launch.buffers.map(({ memory, offset, bytes }, k) =>
      elementsOf(kernel.buffers[k]?.dtype ?? "u8", memory, offset, bytes),
    );
    try {
      call(buffers, launch.sizes, ...launch.grid);
    } catch (error) {
      throw new DeviceError(
        kernelMessage(kernel, error instanceof Error ? error.message : String(error), undefined),
      );
    }
    return kernel.name;
  };
  return {
    launch(launches: readonly Launch<ArrayBuffer>[], time: boolean): Promise<readonly KernelTiming[]> {
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

/** A function and not an `import` of a `data:` address, which an engine keeps for ever. */
function compile(kernel: PlanKernel, text: string): KernelFunction {
  try {
    const body = text.replace(/^export function /m, "function ");
    const made: unknown = new Function(`"use strict";\n${body}\nreturn ${kernel.entry};`)();
    if (isKernelFunction(made)) return made;
  } catch (error) {
    throw new DeviceError(
      kernelMessage(kernel, error instanceof Error ? error.message : String(error), undefined),
    );
  }
  throw new DeviceError(kernelMessage(kernel, `${kernel.entry} is not a function`, undefined));
}

function isKernelFunction(value: unknown): value is KernelFunction {
  return typeof value === "function";
}

/** The typed array that the js target reads each dtype through: narrow floats as their codes. */
function elementsOf(dtype: DType, memory: ArrayBuffer, offset: number, bytes: number): Elements {
  switch (dtype) {
    case "f32":
      return new Float32Array(memory, offset, bytes / 4);
    case "i32":
      return new Int32Array(memory, offset, bytes / 4);
    case "u32":
      return new Uint32Array(memory, offset, bytes / 4);
    case "i64":
      return new BigInt64Array(memory, offset, bytes / 8);
    case "f16":
    case "bf16":
      return new Uint16Array(memory, offset, bytes / 2);
    case "e4m3":
    case "e5m2":
    case "i8":
    case "u8":
    case "bool":
      return new Uint8Array(memory, offset, bytes);
  }
}
