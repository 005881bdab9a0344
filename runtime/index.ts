/**
 * The runtime in Node: devices, tensors, safetensors. It runs what the compiler has compiled, and needs no compiler.
 *
 *     const device = await bestDevice();
 *     const plan = await device.load(artifact);
 *     const { outputs } = await plan.run(new Map([["x", fromNumbers("f32", [2], [1, 2])]]), { keep: false, time: false });
 */
import type { Device } from "./device.ts";
import { DeviceError } from "./device.ts";
import { openJs } from "./js/device.ts";

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
export type { SafetensorsOnDisk } from "./safetensors/file.ts";
export { openSafetensorsFile, writeSafetensorsFile } from "./safetensors/file.ts";
export type { Checkpoint } from "./checkpoint/checkpoint.ts";
export { openCheckpoint } from "./checkpoint/checkpoint.ts";
export type { DeepseekConfig } from "./checkpoint/deepseek-config.ts";
export { deepseekConfig } from "./checkpoint/deepseek-config.ts";
export { attentionWeights, layerWeights, outerWeights } from "./checkpoint/deepseek.ts";
export { PlanError } from "./plan/fields.ts";
export { parsePlan } from "./plan/parse-plan.ts";
export { readArtifact } from "./plan/artifact-file.ts";

/** Devices that load compiled plans. (`reference` runs tensor graphs: `weft/reference`.) */
export type DeviceName = "cuda" | "webgpu" | "js";

/** Best first: what `bestDevice` tries in order. */
export const deviceNames: readonly DeviceName[] = ["cuda", "webgpu", "js"];

export interface Presence {
  readonly name: DeviceName;
  readonly present: boolean;
  /** The device's description, or in one line why it is not there. */
  readonly text: string;
  /** Whether its kernels run on a GPU, as against software that plays one. */
  readonly accelerated: boolean;
}

/** Opens a device by name. Throws `DeviceError` with the reason where it is not there. The caller closes it. */
export async function openDevice(name: DeviceName): Promise<Device> {
  switch (name) {
    case "js":
      return openJs();
    case "webgpu": {
      const { openWebGpuInNode } = await import("./webgpu/node.ts");
      return openWebGpuInNode();
    }
    case "cuda": {
      const { openCuda } = await import("./cuda/device.ts");
      return openCuda(0);
    }
  }
}

/** Every device, present or not, with one line about each. */
export async function devices(): Promise<readonly Presence[]> {
  const found: Presence[] = [];
  for (const name of deviceNames) {
    const { presence, device } = await probe(name);
    await device?.close();
    found.push(presence);
  }
  return found;
}

/** The best device that is there, software playing a GPU left out: `js` runs the same kernels sooner. */
export async function bestDevice(): Promise<Device> {
  for (const name of deviceNames) {
    const { presence, device } = await probe(name);
    if (device !== undefined && (presence.accelerated || name === "js")) return device;
    await device?.close();
  }
  throw new DeviceError("no device is there");
}

async function probe(
  name: DeviceName,
): Promise<{ readonly presence: Presence; readonly device: Device | undefined }> {
  try {
    const device = await openDevice(name);
    const accelerated = name !== "js" && !isSoftware(device.description);
    return { presence: { name, present: true, text: device.description, accelerated }, device };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    const text = error.message.split("\n")[0] ?? "";
    return { presence: { name, present: false, text, accelerated: false }, device: undefined };
  }
}

/** Vulkan drivers that run on the processor. */
function isSoftware(description: string): boolean {
  return /swiftshader|llvmpipe|lavapipe|software|basic render/i.test(description);
}
