/** A WebGPU device: buffers, dispatches, time stamps, and the device's own errors. */
import type { Artifact } from "../../compiler/plan/plan.ts";
import type { Device, DeviceTensor, LoadedPlan } from "../device.ts";
import { DeviceError } from "../device.ts";
import type { Backend, Program } from "../plan/backend.ts";
import { Executor } from "../plan/executor.ts";
import { textOf } from "../plan/kernel-text.ts";
import { MemoryPool } from "../plan/memory-pool.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { adapterText, openGpuDevice } from "./adapter.ts";
import type { Pipeline } from "./modules.ts";
import { PipelineCache } from "./modules.ts";
import { GpuProgram } from "./program.ts";
import { mapRead, usage } from "./usage.ts";

/** A device over an adapter; `engine` says whose WebGPU it is. */
export async function openWebGpu(adapter: GPUAdapter, engine: string): Promise<Device> {
  const gpu = await openGpuDevice(adapter);
  let lost: string | undefined;
  void gpu.lost.then((reason) => {
    lost = reason.message;
  });
  const pipelines = new PipelineCache(gpu);
  const pool = new MemoryPool<GPUBuffer>({
    allocate: (bytes) => allocate(gpu, bytes),
    release: (buffer) => buffer.destroy(),
  });
  const checkAlive = (): void => {
    if (lost !== undefined) throw new DeviceError(`the WebGPU device is lost: ${lost}`);
  };
  const backend: Backend<GPUBuffer> = {
    pool,
    temporaries: "each",
    write(buffer: GPUBuffer, bytes: Uint8Array): void {
      checkAlive();
      writeBuffer(gpu, buffer, bytes);
    },
    read: (buffer, bytes) => readBuffer(gpu, buffer, bytes),
    finish: async () => void (await gpu.queue.onSubmittedWorkDone()),
    async load(artifact: Artifact): Promise<Program<GPUBuffer>> {
      checkAlive();
      const { kernels } = artifact.plan;
      const compiled: Pipeline[] = [];
      for (const kernel of kernels)
        compiled.push(await pipelines.pipelineOf(kernel, textOf(artifact, kernel)));
      return new GpuProgram(gpu, kernels, compiled, checkAlive);
    },
  };
  const device: Device = {
    name: "webgpu",
    description: adapterText(adapter, engine),
    targets: targetsOf(adapter, gpu),
    upload: (tensor: HostTensor): Promise<DeviceTensor> => Promise.resolve(executor.upload(tensor)),
    load: (artifact: Artifact): Promise<LoadedPlan> => executor.load(artifact),
    close(): Promise<void> {
      pool.close();
      gpu.destroy();
      return Promise.resolve();
    },
  };
  const executor = new Executor(device, backend);
  return device;
}

/** Bytes of workgroup memory that kernels for `wgsl:matrices` may have. */
const matrixWorkgroupBytes = 49152;

/** What Dawn tells of a subgroup's matrix product; the types of WebGPU do not have it yet. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Whether subgroups multiply 16 x 16 matrices of f16 to f32, with the workgroup memory that its kernels have. */
function multipliesMatrices(adapter: GPUAdapter, gpu: GPUDevice): boolean {
  const info: GPUAdapterInfo & { readonly subgroupMatrixConfigs?: readonly MatrixConfig[] } = adapter.info;
  const { subgroupMatrixConfigs = [] } = info;
  const hasShape = subgroupMatrixConfigs.some(
    ({ componentType, resultComponentType, M, N, K }) =>
      componentType === "f16" && resultComponentType === "f32" && M === 16 && N === 16 && K === 16,
  );
  const hasFeature = [...gpu.features].some((name) => name === "chromium-experimental-subgroup-matrix");
  return hasShape && hasFeature && gpu.limits.maxComputeWorkgroupStorageSize >= matrixWorkgroupBytes;
}

/** Variants whose kernels run here, best first. A subgroup variant counts on 32 lanes, always. */
function targetsOf(adapter: GPUAdapter, gpu: GPUDevice): readonly string[] {
  const { subgroupMinSize, subgroupMaxSize } = adapter.info;
  const subgroups = gpu.features.has("subgroups") && subgroupMinSize === 32 && subgroupMaxSize === 32;
  const f16 = gpu.features.has("shader-f16");
  const variants: readonly (readonly [string, boolean])[] = [
    ["wgsl:matrices", subgroups && f16 && multipliesMatrices(adapter, gpu)],
    ["wgsl:subgroups-f16", subgroups && f16],
    ["wgsl:subgroups", subgroups],
    ["wgsl:f16", f16],
    ["wgsl", true],
  ];
  return variants.filter(([, has]) => has).map(([name]) => name);
}

function allocate(gpu: GPUDevice, bytes: number): GPUBuffer {
  const most = Math.min(gpu.limits.maxBufferSize, gpu.limits.maxStorageBufferBindingSize);
  if (bytes > most) {
    throw new DeviceError(`a buffer of ${bytes} bytes is asked for, and this adapter binds ${most} at most`);
  }
  return gpu.createBuffer({ size: bytes, usage: usage.storage | usage.copySource | usage.copyTarget });
}

/** A write is a multiple of four bytes; what the last word lacks is zero. */
function writeBuffer(gpu: GPUDevice, buffer: GPUBuffer, bytes: Uint8Array): void {
  const whole = bytes.length - (bytes.length % 4);
  if (whole > 0) gpu.queue.writeBuffer(buffer, 0, bytes.buffer, bytes.byteOffset, whole);
  if (whole === bytes.length) return;
  const tail = new Uint8Array(4);
  tail.set(bytes.subarray(whole));
  gpu.queue.writeBuffer(buffer, whole, tail);
}

async function readBuffer(gpu: GPUDevice, buffer: GPUBuffer, bytes: number): Promise<Uint8Array> {
  if (bytes === 0) return new Uint8Array(0);
  const size = Math.ceil(bytes / 4) * 4;
  const staging = gpu.createBuffer({ size, usage: usage.mapRead | usage.copyTarget });
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
  gpu.queue.submit([encoder.finish()]);
  try {
    await staging.mapAsync(mapRead);
    return new Uint8Array(staging.getMappedRange()).slice(0, bytes);
  } catch (error) {
    throw new DeviceError(
      `reading from the device: ${error instanceof Error ? error.message : String(error)}`,
    );
  } finally {
    staging.destroy();
  }
}
