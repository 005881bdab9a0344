/**
 * WebGPU devices in processes of their own, as devices that run plans: Dawn, and wgpu through Deno. Memory is the
 * host's, and each launch takes its buffers there and back, so that a process may be replaced between two launches.
 */
import type { Artifact, PlanKernel } from "../../compiler/index.ts";
import type { Device } from "../../runtime/index.ts";
import type { Backend, Launch, Program } from "../../runtime/plan/backend.ts";
import { Executor } from "../../runtime/plan/executor.ts";
import { textOf } from "../../runtime/plan/kernel-text.ts";
import { MemoryPool } from "../../runtime/plan/memory-pool.ts";
import type { Gpu } from "../targets/wgsl/gpu.ts";

export function deviceOf(gpu: Gpu): Device {
  const backend: Backend<Uint8Array> = {
    pool: new MemoryPool<Uint8Array>({
      allocate: (bytes) => new Uint8Array(bytes),
      release: () => undefined,
    }),
    temporaries: "each",
    write: (memory, bytes) => memory.set(bytes),
    read: (memory, bytes) => Promise.resolve(memory.slice(0, bytes)),
    load: (artifact) => Promise.resolve(programOf(gpu, artifact)),
  };
  const device: Device = {
    name: "webgpu",
    description: gpu.name,
    targets: gpu.features.includes("shader-f16") ? ["wgsl:f16", "wgsl"] : ["wgsl"],
    upload: (tensor) => Promise.resolve(executor.upload(tensor)),
    load: (artifact) => executor.load(artifact),
    close: () => Promise.resolve(gpu.close()),
  };
  const executor = new Executor(device, backend);
  return device;
}

function programOf(gpu: Gpu, artifact: Artifact): Program<Uint8Array> {
  return {
    async launch(launches) {
      for (const launch of launches) {
        const kernel = artifact.plan.kernels[launch.kernel];
        if (kernel === undefined) throw new Error(`the plan has no kernel ${launch.kernel}`);
        await run(gpu, kernel, textOf(artifact, kernel), launch);
      }
      return [];
    },
    free: () => undefined,
  };
}

async function run(gpu: Gpu, kernel: PlanKernel, text: string, launch: Launch<Uint8Array>): Promise<void> {
  const access = kernel.buffers.map((buffer) =>
    buffer.access === "read" ? ("read" as const) : ("storage" as const),
  );
  const results = await gpu.run({
    text,
    entry: kernel.entry,
    access: kernel.sizes.length > 0 ? [...access, "uniform"] : access,
    run: {
      buffers: launch.buffers.map(({ memory, offset, bytes }) => memory.subarray(offset, offset + bytes)),
      sizes: launch.sizes,
      grid: launch.grid,
    },
  });
  for (const [k, { memory, offset, bytes }] of launch.buffers.entries()) {
    if (access[k] !== "read") memory.set(results[k]?.subarray(0, bytes) ?? [], offset);
  }
}
