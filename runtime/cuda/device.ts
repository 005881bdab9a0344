/** A CUDA device through the driver API: PTX is compiled by the driver, so that no toolkit is needed. */
import { existsSync, readFileSync } from "node:fs";
import type { Artifact } from "../../compiler/plan/plan.ts";
import type { Device, DeviceTensor, LoadedPlan } from "../device.ts";
import { DeviceError } from "../device.ts";
import type { Backend } from "../plan/backend.ts";
import { Executor } from "../plan/executor.ts";
import { textOf } from "../plan/kernel-text.ts";
import { MemoryPool } from "../plan/memory-pool.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { CudaDriver, cudaConstants } from "./driver.ts";
import type { Handle } from "./library.ts";
import { loadCuda } from "./library.ts";
import { ModuleCache } from "./modules.ts";
import { CudaProgram } from "./program.ts";

/** Opens the GPU of that ordinal. Throws `DeviceError` where there is no driver or no such GPU. */
export async function openCuda(ordinal: number): Promise<Device> {
  const driver = new CudaDriver(await loadCuda());
  const { library } = driver;
  driver.check(library.cuInit(0), "cuInit");
  const count = driver.integer("cuDeviceGetCount", (out) => library.cuDeviceGetCount(out));
  if (ordinal >= count) throw new DeviceError(`there is no GPU ${ordinal}: the driver sees ${count}`);
  const gpu = driver.integer("cuDeviceGet", (out) => library.cuDeviceGet(out, ordinal));
  const { description, targets, cacheBytes } = describe(driver, gpu);
  driver.openContext(gpu);
  const stream = driver.handle("cuStreamCreate", (out) =>
    library.cuStreamCreate(out, cudaConstants.nonBlocking),
  );
  const modules = new ModuleCache(driver);
  const programs = new Set<CudaProgram>();
  const backend = backendOf(driver, stream, modules, programs);
  const device: Device = {
    name: "cuda",
    description,
    targets,
    cacheBytes,
    upload: (tensor: HostTensor): Promise<DeviceTensor> => Promise.resolve(executor.upload(tensor)),
    load: (artifact: Artifact): Promise<LoadedPlan> => executor.load(artifact),
    close(): Promise<void> {
      driver.enter();
      library.cuStreamSynchronize(stream);
      for (const program of programs) program.free();
      modules.close();
      backend.pool.close();
      library.cuStreamDestroy_v2(stream);
      driver.check(library.cuDevicePrimaryCtxRelease_v2(gpu), "cuDevicePrimaryCtxRelease");
      return Promise.resolve();
    },
  };
  const executor = new Executor(device, backend);
  return device;
}

/** `programs` gets every program that is loaded. */
function backendOf(
  driver: CudaDriver,
  stream: Handle,
  modules: ModuleCache,
  programs: Set<CudaProgram>,
): Backend<Handle> {
  const { library } = driver;
  return {
    temporaries: "one",
    pool: new MemoryPool<Handle>({
      allocate(bytes: number): Handle {
        driver.enter();
        return driver.handle(`${bytes} bytes of device memory`, (out) => library.cuMemAlloc_v2(out, bytes));
      },
      // The stream may still use it: cuMemFree waits for the device.
      release(memory: Handle): void {
        driver.enter();
        library.cuMemFree_v2(memory);
      },
    }),
    write(memory: Handle, bytes: Uint8Array): void {
      if (bytes.length === 0) return;
      driver.enter();
      // From pageable memory the call returns once the bytes are staged, so the caller may change them.
      const status = library.cuMemcpyHtoDAsync_v2(memory, bytes, bytes.length, stream);
      driver.check(status, `copying ${bytes.length} bytes to the device`);
    },
    async read(memory: Handle, count: number): Promise<Uint8Array> {
      const bytes = new Uint8Array(count);
      await driver.finish(stream, "running the plan");
      if (count === 0) return bytes;
      const status = library.cuMemcpyDtoHAsync_v2(bytes, memory, count, stream);
      driver.check(status, `copying ${count} bytes from the device`);
      await driver.finish(stream, "copying from the device");
      return bytes;
    },
    finish: () => driver.finish(stream, "running the plan"),
    load(artifact: Artifact): Promise<CudaProgram> {
      driver.enter();
      const kernels = artifact.plan.kernels.map((kernel) => ({
        kernel,
        fn: modules.functionOf(kernel, textOf(artifact, kernel)),
      }));
      const program = new CudaProgram(driver, stream, kernels);
      programs.add(program);
      return Promise.resolve(program);
    },
  };
}

interface Description {
  readonly description: string;
  readonly targets: readonly string[];
  readonly cacheBytes: number;
}

/** Hopper's own instructions (sm_90a) are on compute capability 9.0 alone; plain PTX runs on what is newer too. */
function describe(driver: CudaDriver, gpu: number): Description {
  const { library } = driver;
  const { attribute } = cudaConstants;
  const name = new Uint8Array(256);
  driver.check(library.cuDeviceGetName(name, name.length, gpu), "cuDeviceGetName");
  const text = new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
  const read = (which: number): number =>
    driver.integer("cuDeviceGetAttribute", (out) => library.cuDeviceGetAttribute(out, which, gpu));
  const [major, minor] = [read(attribute.computeCapabilityMajor), read(attribute.computeCapabilityMinor)];
  if (major < 8)
    throw new DeviceError(`${text} has compute capability ${major}.${minor}, and 8.0 is the least`);
  const targets = major === 9 && minor === 0 ? ["ptx:sm_90a", "ptx:sm_80"] : ["ptx:sm_80"];
  return { description: `${text}, ${driverText(driver)}`, targets, cacheBytes: read(attribute.l2Bytes) };
}

/** `driver 580.159` as the kernel module says on Linux, else the CUDA version that the driver implements. */
function driverText(driver: CudaDriver): string {
  const file = "/proc/driver/nvidia/version";
  const version = existsSync(file)
    ? /\s(\d+\.\d+(?:\.\d+)?)\s/.exec(readFileSync(file, "utf8"))?.[1]
    : undefined;
  if (version !== undefined) return `driver ${version}`;
  const cuda = driver.integer("cuDriverGetVersion", (out) => driver.library.cuDriverGetVersion(out));
  return `CUDA ${Math.floor(cuda / 1000)}.${Math.floor((cuda % 1000) / 10)}`;
}
