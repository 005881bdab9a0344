/**
 * Dawn, Chromium's WebGPU, through the npm package `webgpu`: WebGPU in Node. An optional dependency, imported when
 * first asked for.
 *
 * The software driver that Debian's chromium package ships (SwiftShader) is named to the Vulkan loader before
 * Dawn loads it: beside the system's own drivers where there is a GPU, else in their place, for Dawn refuses the
 * software driver of older Mesas. Who sets the loader's variables has chosen already. The device's description
 * says which adapter it came to.
 */
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { DeviceError } from "../device.ts";

/** Each of them makes the Vulkan loader leave the usual places alone, or look at others. */
const driverVariables: readonly string[] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];

const softwareDrivers: readonly string[] = [
  "/usr/lib/chromium/vk_swiftshader_icd.json",
  "/usr/lib/chromium-browser/vk_swiftshader_icd.json",
  "/opt/google/chrome/vk_swiftshader_icd.json",
];

/**
 * Toggles: time stamps unrounded (they are rounded to 100 microseconds against fingerprinting, which a page needs);
 * experimental features such as subgroup matrices to be had by who asks for them; f16 on NVIDIA's cards too, which Dawn
 * holds back for what WGSL's conformance tests find of its arithmetic. Kernels take f16 as memory and as factors alone.
 */
const options: readonly string[] = [
  "disable-dawn-features=timestamp_quantization",
  "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia",
];

let opened: Promise<GPU> | undefined;

/** Dawn's `navigator.gpu`, one a process. Throws `DeviceError` where the package or its library is missing. */
export function openDawn(): Promise<GPU> {
  opened ??= loadDawn();
  return opened;
}

async function loadDawn(): Promise<GPU> {
  chooseDriver();
  try {
    const { create, globals } = await import("webgpu");
    // Dawn's classes (GPUBufferUsage and the like) are globals in a page; they are where a page has them.
    for (const [name, value] of Object.entries(globals)) {
      if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true });
    }
    return create([...options]);
  } catch (error) {
    throw new DeviceError(`the npm package webgpu (Dawn) does not load: ${firstLine(error)}`);
  }
}

function chooseDriver(): void {
  const { env, platform } = process;
  // Without it a window system's loader complains on the error stream, of windows that nobody opens.
  if (platform === "linux") env["XDG_RUNTIME_DIR"] ??= tmpdir();
  if (platform !== "linux" || driverVariables.some((name) => env[name] !== undefined)) return;
  const software = softwareDrivers.find((file) => existsSync(file));
  if (software === undefined) return;
  // The loader reads the environment of the process itself, which Node's process.env writes through to.
  env[hasGpu() ? "VK_ADD_DRIVER_FILES" : "VK_DRIVER_FILES"] = software;
}

/** Whether the kernel has a driver of some GPU; without one every Vulkan driver but a software one is of no use. */
function hasGpu(): boolean {
  const devices = readdirSync("/dev");
  return (
    devices.some((name) => /^(nvidia[0-9]|dxg$|kgsl-3d0$|mali[0-9])/.test(name)) || existsSync("/dev/dri")
  );
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split("\n")[0] ?? "";
}
