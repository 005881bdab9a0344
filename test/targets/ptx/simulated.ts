/** Runs an emitted kernel on the PTX simulator with arrays for its buffers. */
import type { Kernel, Caps } from "../../../compiler/kernel/ir.ts";
import { sharedLayout, sizeTypes } from "../../../compiler/kernel/launch.ts";
import { emitPtx } from "../../../compiler/targets/ptx/emit.ts";
import { dtypes, type DType } from "../../../compiler/types/dtype.ts";
import { encodeTensorMap, type TensorMapType } from "../../../runtime/simulate/tensor-map.ts";
import {
  createDevice,
  launch,
  loadModule,
  renderFinding,
  type KernelArg,
} from "../../../runtime/simulate/index.ts";

const mapTypes: Readonly<Partial<Record<DType, TensorMapType>>> = { bf16: "bf16", f16: "f16", f32: "f32" };

export interface Simulated {
  readonly buffers: readonly Uint8Array[];
  readonly findings: readonly string[];
}

export interface Arguments {
  /** One array a global buffer; a length in bytes where the kernel only writes. */
  readonly buffers: readonly (Uint8Array | number)[];
  readonly sizes: readonly number[];
  readonly grid: readonly number[];
  /** Extents of the kernel's tensor maps, slowest first. */
  readonly maps?: readonly (readonly number[])[];
}

export function simulate(kernel: Kernel, caps: Caps, given: Arguments): Simulated {
  const { text, entry } = emitPtx(kernel, caps);
  const device = createDevice();
  const buffers = given.buffers.map((bytes) => {
    const buffer = device.alloc(Math.max(16, typeof bytes === "number" ? bytes : bytes.length));
    if (typeof bytes !== "number") device.write(buffer, bytes);
    return buffer;
  });
  const types = sizeTypes(kernel);
  const sizes = given.sizes.map((value, i): KernelArg =>
    types[i] === "i64" ? { kind: "i64", value: BigInt(value) } : { kind: "i32", value },
  );
  const global = kernel.buffers.filter((buffer) => buffer.space === "global");
  const maps = kernel.maps.map((map, k): KernelArg => {
    const buffer = buffers[global.indexOf(map.buffer)];
    const dims = given.maps?.[k]?.toReversed();
    if (buffer === undefined || dims === undefined) throw new Error(`no extents for the map of ${map.name}`);
    const { bytes } = dtypes[map.buffer.dtype];
    const strides = dims.map((_, i) => dims.slice(0, i + 1).reduce((a, b) => a * b, bytes)).slice(0, -1);
    const type = mapTypes[map.buffer.dtype];
    if (type === undefined) throw new Error(`no map of ${map.buffer.dtype}`);
    const { address } = buffer;
    const { swizzle } = map;
    const box = map.box.toReversed();
    return {
      kind: "bytes",
      bytes: encodeTensorMap({ type, address, dims, strides, box, swizzle, fill: "zero" }),
    };
  });
  const [x = 1, y = 1, z = 1] = given.grid;
  const { kind, bytes } = sharedLayout(kernel);
  const report = launch(loadModule(text), entry, {
    grid: [x, y, z],
    block: [kernel.threads, 1, 1],
    sharedBytes: kind === "dynamic" ? bytes : 0,
    args: [...buffers.map((buffer): KernelArg => ({ kind: "buffer", buffer })), ...sizes, ...maps],
  });
  return {
    buffers: buffers.map((buffer, i) => {
      const of = given.buffers[i];
      return device.read(buffer, 0, typeof of === "number" ? of : of?.length);
    }),
    findings: report.findings.map(renderFinding),
  };
}
