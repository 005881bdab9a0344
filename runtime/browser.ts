/** The runtime in a page: the browser's own WebGPU, and `js`. No file and no process is touched. */
import type { Device } from "./device.ts";
import { DeviceError } from "./device.ts";
import { openJs } from "./js/device.ts";
import { findAdapter } from "./webgpu/adapter.ts";
import { openWebGpu } from "./webgpu/device.ts";

export type { Device, DeviceTensor, KernelTiming, LoadedPlan, RunOptions, RunResult } from "./device.ts";
export { DeviceError } from "./device.ts";
export type { HostTensor } from "./tensor/tensor.ts";
export { TensorError, byteCount, elementCount, tensorOf, typeText, zeros } from "./tensor/tensor.ts";
export { fromBigInts, fromNumbers, roundTo, toBigInts, toNumbers } from "./tensor/values.ts";
export type { RandomFill } from "./tensor/random.ts";
export { randomTensor } from "./tensor/random.ts";
export type { Comparison, Violations } from "./tensor/comparison.ts";
export { compareTensors, findViolations, roundingBound } from "./tensor/comparison.ts";
export type { ByteSource, SafetensorsFile } from "./safetensors/safetensors.ts";
export { blobSource, encodeSafetensors, memorySource, openSafetensors } from "./safetensors/safetensors.ts";
export type { SafetensorsEntry } from "./safetensors/header.ts";
export { SafetensorsError } from "./safetensors/header.ts";
export { PlanError } from "./plan/fields.ts";
export { parsePlan } from "./plan/parse-plan.ts";

/** Devices of a page. */
export type DeviceName = "webgpu" | "js";

/** Opens a device by name. Throws `DeviceError` where the browser has no WebGPU or no adapter for it. The caller closes it. */
export async function openDevice(name: DeviceName): Promise<Device> {
  if (name === "js") return openJs();
  // Not every browser has it, whatever the types say.
  const gpu: GPU | undefined = "gpu" in navigator ? navigator.gpu : undefined;
  if (gpu === undefined)
    throw new DeviceError("this browser has no WebGPU (or the page is not served securely)");
  return openWebGpu(await findAdapter(gpu), "the browser's WebGPU");
}

/** WebGPU where the browser has it, else `js`. */
export async function bestDevice(): Promise<Device> {
  try {
    return await openDevice("webgpu");
  } catch (error) {
    if (error instanceof DeviceError) return openJs();
    throw error;
  }
}
