/**
 * The functions of the CUDA driver API (libcuda) that the runtime calls, with their C signatures: all of the foreign
 * interface is on this page. https://docs.nvidia.com/cuda/cuda-driver-api/
 *
 * Handles and device pointers are opaque 64-bit numbers; a `void *` takes a typed array in place, which the
 * driver reads or writes during the call, or null.
 */
import { isAbsolute } from "node:path";
import { DeviceError } from "../device.ts";

/** A CUcontext, CUmodule, CUfunction, CUstream, CUevent, CUgraph, CUgraphExec or CUdeviceptr. */
export type Handle = bigint;
/** A CUresult: 0, or an error's number. */
export type Status = number;
/** Where the driver writes one handle or size. */
export type Out = BigUint64Array;

export interface CudaLibrary {
  cuInit(flags: number): Status;
  cuDriverGetVersion(version: Int32Array): Status;
  cuDeviceGetCount(count: Int32Array): Status;
  cuDeviceGet(device: Int32Array, ordinal: number): Status;
  cuDeviceGetName(name: Uint8Array, length: number, device: number): Status;
  cuDeviceGetAttribute(value: Int32Array, attribute: number, device: number): Status;
  cuDevicePrimaryCtxRetain(context: Out, device: number): Status;
  cuDevicePrimaryCtxRelease_v2(device: number): Status;
  cuCtxSetCurrent(context: Handle): Status;
  cuModuleLoadDataEx(
    module: Out,
    image: Uint8Array,
    optionCount: number,
    options: Int32Array,
    values: BigUint64Array,
  ): Status;
  cuModuleUnload(module: Handle): Status;
  cuModuleGetFunction(fn: Out, module: Handle, name: string): Status;
  cuFuncSetAttribute(fn: Handle, attribute: number, value: number): Status;
  cuMemAlloc_v2(pointer: Out, bytes: number): Status;
  cuMemFree_v2(pointer: Handle): Status;
  cuMemsetD8Async(to: Handle, value: number, bytes: number, stream: Handle): Status;
  cuMemcpyHtoDAsync_v2(to: Handle, from: Uint8Array, bytes: number, stream: Handle): Status;
  cuMemcpyDtoHAsync_v2(to: Uint8Array, from: Handle, bytes: number, stream: Handle): Status;
  cuStreamCreate(stream: Out, flags: number): Status;
  cuStreamDestroy_v2(stream: Handle): Status;
  cuStreamQuery(stream: Handle): Status;
  cuStreamSynchronize(stream: Handle): Status;
  cuStreamBeginCapture_v2(stream: Handle, mode: number): Status;
  cuStreamEndCapture(stream: Handle, graph: Out): Status;
  cuGraphInstantiateWithFlags(executable: Out, graph: Handle, flags: bigint): Status;
  cuGraphLaunch(executable: Handle, stream: Handle): Status;
  cuGraphExecDestroy(executable: Handle): Status;
  cuGraphDestroy(graph: Handle): Status;
  cuLaunchKernel(
    fn: Handle,
    gridX: number,
    gridY: number,
    gridZ: number,
    blockX: number,
    blockY: number,
    blockZ: number,
    sharedBytes: number,
    stream: Handle,
    /** Address of an array of addresses, one for each parameter. */
    parameters: Handle,
    extra: Handle,
  ): Status;
  /** CUDA 12; `config` is the address of a CUlaunchConfig. */
  cuLaunchKernelEx(config: Handle, fn: Handle, parameters: Handle, extra: Handle): Status;
  /** CUDA 12; the map is 128 bytes at a multiple of 64, the address on the device. */
  cuTensorMapEncodeTiled(
    map: Handle,
    type: number,
    rank: number,
    address: Handle,
    dims: BigUint64Array,
    strides: BigUint64Array,
    box: Uint32Array,
    elementStrides: Uint32Array,
    interleave: number,
    swizzle: number,
    promotion: number,
    fill: number,
  ): Status;
  cuEventCreate(event: Out, flags: number): Status;
  cuEventRecord(event: Handle, stream: Handle): Status;
  cuEventSynchronize(event: Handle): Status;
  cuEventElapsedTime(milliseconds: Float32Array, start: Handle, end: Handle): Status;
  cuEventDestroy_v2(event: Handle): Status;
  cuGetErrorName(status: Status, name: Out): Status;
  cuGetErrorString(status: Status, text: Out): Status;
}

const signatures: Readonly<Record<keyof CudaLibrary, string>> = {
  cuInit: "int cuInit(unsigned int)",
  cuDriverGetVersion: "int cuDriverGetVersion(void *)",
  cuDeviceGetCount: "int cuDeviceGetCount(void *)",
  cuDeviceGet: "int cuDeviceGet(void *, int)",
  cuDeviceGetName: "int cuDeviceGetName(void *, int, int)",
  cuDeviceGetAttribute: "int cuDeviceGetAttribute(void *, int, int)",
  cuDevicePrimaryCtxRetain: "int cuDevicePrimaryCtxRetain(void *, int)",
  cuDevicePrimaryCtxRelease_v2: "int cuDevicePrimaryCtxRelease_v2(int)",
  cuCtxSetCurrent: "int cuCtxSetCurrent(uint64_t)",
  cuModuleLoadDataEx: "int cuModuleLoadDataEx(void *, void *, unsigned int, void *, void *)",
  cuModuleUnload: "int cuModuleUnload(uint64_t)",
  cuModuleGetFunction: "int cuModuleGetFunction(void *, uint64_t, const char *)",
  cuFuncSetAttribute: "int cuFuncSetAttribute(uint64_t, int, int)",
  cuMemAlloc_v2: "int cuMemAlloc_v2(void *, size_t)",
  cuMemFree_v2: "int cuMemFree_v2(uint64_t)",
  cuMemsetD8Async: "int cuMemsetD8Async(uint64_t, unsigned char, size_t, uint64_t)",
  cuMemcpyHtoDAsync_v2: "int cuMemcpyHtoDAsync_v2(uint64_t, void *, size_t, uint64_t)",
  cuMemcpyDtoHAsync_v2: "int cuMemcpyDtoHAsync_v2(void *, uint64_t, size_t, uint64_t)",
  cuStreamCreate: "int cuStreamCreate(void *, unsigned int)",
  cuStreamDestroy_v2: "int cuStreamDestroy_v2(uint64_t)",
  cuStreamQuery: "int cuStreamQuery(uint64_t)",
  cuStreamSynchronize: "int cuStreamSynchronize(uint64_t)",
  cuStreamBeginCapture_v2: "int cuStreamBeginCapture_v2(uint64_t, int)",
  cuStreamEndCapture: "int cuStreamEndCapture(uint64_t, void *)",
  cuGraphInstantiateWithFlags: "int cuGraphInstantiateWithFlags(void *, uint64_t, uint64_t)",
  cuGraphLaunch: "int cuGraphLaunch(uint64_t, uint64_t)",
  cuGraphExecDestroy: "int cuGraphExecDestroy(uint64_t)",
  cuGraphDestroy: "int cuGraphDestroy(uint64_t)",
  cuLaunchKernel:
    "int cuLaunchKernel(uint64_t, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, uint64_t, uint64_t, uint64_t)",
  cuLaunchKernelEx: "int cuLaunchKernelEx(uint64_t, uint64_t, uint64_t, uint64_t)",
  cuTensorMapEncodeTiled:
    "int cuTensorMapEncodeTiled(uint64_t, int, unsigned int, uint64_t, void *, void *, void *, void *, int, int, int, int)",
  cuEventCreate: "int cuEventCreate(void *, unsigned int)",
  cuEventRecord: "int cuEventRecord(uint64_t, uint64_t)",
  cuEventSynchronize: "int cuEventSynchronize(uint64_t)",
  cuEventElapsedTime: "int cuEventElapsedTime(void *, uint64_t, uint64_t)",
  cuEventDestroy_v2: "int cuEventDestroy_v2(uint64_t)",
  cuGetErrorName: "int cuGetErrorName(int, void *)",
  cuGetErrorString: "int cuGetErrorString(int, void *)",
};

/** What a driver may lack that runs everything else. */
const newer: ReadonlySet<string> = new Set(["cuLaunchKernelEx", "cuTensorMapEncodeTiled"]);

/** Memory outside the JavaScript heap, whose address may be handed to the driver and kept. */
export interface NativeMemory {
  readonly address: Handle;
  readonly view: DataView;
  free(): void;
}

/** The library and the few things of the foreign-function package that its callers need. */
export interface Cuda {
  readonly library: CudaLibrary;
  allocate(bytes: number): NativeMemory;
  /** Address of a typed array's elements: valid while the array lives. */
  addressOf(array: ArrayBufferView): Handle;
  /** The C string at an address. */
  textAt(address: Handle): string;
}

/** Loads libcuda, or the library that WEFT_CUDA_PATH names absolutely. Throws `DeviceError` where something is missing. */
export async function loadCuda(): Promise<Cuda> {
  const koffi = await importKoffi();
  const path = libraryPath();
  try {
    const loaded = koffi.load(path);
    const bind = (name: string, signature: string): unknown => {
      try {
        return loaded.func(signature);
      } catch (error) {
        if (!newer.has(name)) throw error;
        return () => {
          throw new DeviceError(`the driver at ${path} has no ${name}: it is older than CUDA 12`);
        };
      }
    };
    const entries = Object.entries(signatures).map(([name, signature]) => [name, bind(name, signature)]);
    // The record has exactly the members that `signatures`, keyed by CudaLibrary, lists.
    const library: CudaLibrary = Object.fromEntries(entries);
    return {
      library,
      allocate(bytes: number): NativeMemory {
        const pointer: unknown = koffi.alloc("uint8_t", bytes);
        return {
          address: koffi.address(pointer),
          view: new DataView(koffi.view(pointer, bytes)),
          free: () => koffi.free(pointer),
        };
      },
      addressOf: (array) => koffi.address(array),
      textAt: (address) => koffi.decode.string(address),
    };
  } catch (error) {
    throw new DeviceError(`${path} does not load: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function importKoffi(): Promise<typeof import("koffi")> {
  try {
    return await import("koffi");
  } catch {
    throw new DeviceError("the npm package koffi, which calls the driver, is not installed");
  }
}

function libraryPath(): string {
  const given = process.env["WEFT_CUDA_PATH"];
  if (given === undefined || given === "")
    return process.platform === "win32" ? "nvcuda.dll" : "libcuda.so.1";
  if (!isAbsolute(given)) throw new DeviceError(`WEFT_CUDA_PATH must be an absolute path, not ${given}`);
  return given;
}
