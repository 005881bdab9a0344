/** Finding a WebGPU adapter: the browser's own, or Dawn's in Node, and what to ask its device for. */
import { DeviceError } from "../device.ts";

/** Features that kernels may enable, or that timing needs; asked for where the adapter has them. */
const wantedFeatures: readonly string[] = [
  "shader-f16",
  "subgroups",
  "timestamp-query",
  "chromium-experimental-subgroup-matrix",
];

/** Limits that are asked for as high as the adapter goes. */
const raisedLimits: readonly (keyof GPUSupportedLimits & string)[] = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
];

/** An adapter of `gpu`. Throws `DeviceError` where there is none. */
export async function findAdapter(gpu: GPU): Promise<GPUAdapter> {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new DeviceError("WebGPU finds no adapter");
  return adapter;
}

/** A device with every wanted feature and the largest limits that the adapter has. */
export async function openGpuDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of raisedLimits) {
    const most = adapter.limits[name];
    if (typeof most === "number") requiredLimits[name] = most;
  }
  return adapter.requestDevice({
    requiredFeatures: [...adapter.features].filter((feature): feature is GPUFeatureName =>
      wantedFeatures.includes(feature),
    ),
    requiredLimits,
  });
}

/** `SwiftShader Device (LLVM 16.0.0), google, through Dawn`: which adapter it is, for people. */
export function adapterText(adapter: GPUAdapter, engine: string): string {
  const { description, device, vendor, architecture } = adapter.info;
  const named = [description || device, vendor, architecture].filter((part) => part !== "");
  return `${named.length > 0 ? named.join(", ") : "unnamed adapter"}, through ${engine}`;
}
