/** The WebGPU device in Node: on Dawn. */
import type { Device } from "../device.ts";
import { findAdapter } from "./adapter.ts";
import { openDawn } from "./dawn.ts";
import { openWebGpu } from "./device.ts";

/** Throws `DeviceError` where Dawn does not load or finds no adapter. */
export async function openWebGpuInNode(): Promise<Device> {
  return openWebGpu(await findAdapter(await openDawn()), "Dawn");
}
