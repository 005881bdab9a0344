/** Tensor maps, which kernels take by value: encoded by the driver, who knows their bits. */
import type { PlanKernel, PlanMap } from "../../compiler/plan/plan.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "../plan/blame.ts";
import type { Launch } from "../plan/backend.ts";
import { mapFaults, mapText, tiledMap } from "../plan/tensor-maps.ts";
import type { CudaDriver } from "./driver.ts";
import { cudaConstants } from "./driver.ts";
import type { Handle } from "./library.ts";

/** CUtensorMapSwizzle. */
const swizzles: Readonly<Record<PlanMap["swizzle"], number>> = { 0: 0, 32: 1, 64: 2, 128: 3 };

/** Writes a launch's maps at `at`, a multiple of 64, one after the other. Throws `DeviceError` with the driver's words and what it may mean. */
export function encodeMaps(driver: CudaDriver, kernel: PlanKernel, launch: Launch<Handle>, at: Handle): void {
  const { bytes, interleaveNone, promotion256, fillZeros } = cudaConstants.tensorMap;
  for (const [k, map] of kernel.maps.entries()) {
    const range = launch.buffers[map.buffer];
    const extents = launch.maps[k];
    if (range === undefined || extents === undefined)
      throw new DeviceError(kernelMessage(kernel, `the map ${map.name} views no buffer`, undefined));
    const tiled = tiledMap(kernel, map, extents, range.bytes);
    const address = range.memory + BigInt(range.offset);
    const status = driver.library.cuTensorMapEncodeTiled(
      at + BigInt(bytes * k),
      tiled.type,
      tiled.dims.length,
      address,
      BigUint64Array.from(tiled.dims, BigInt),
      BigUint64Array.from(tiled.strides, BigInt),
      Uint32Array.from(tiled.box),
      Uint32Array.from(tiled.box, () => 1),
      interleaveNone,
      swizzles[map.swizzle],
      promotion256,
      fillZeros,
    );
    if (status === cudaConstants.status.success) continue;
    const words = [
      `cuTensorMapEncodeTiled, ${mapText(map, extents)}: ${driver.errorText(status)}`,
      ...mapFaults(map, tiled, address),
    ];
    throw new DeviceError(kernelMessage(kernel, words.join("; "), undefined));
  }
}
