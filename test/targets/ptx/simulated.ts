/** Runs an emitted kernel on the PTX simulator with arrays for its buffers. */
import type { Kernel, Caps } from "../../../compiler/kernel/ir.ts";
import { sharedLayout, sizeTypes } from "../../../compiler/kernel/launch.ts";
import { emitPtx } from "../../../compiler/targets/ptx/emit.ts";
import {
  createDevice,
  launch,
  loadModule,
  renderFinding,
  type KernelArg,
} from "../../../runtime/simulate/index.ts";

export interface Simulated {
  readonly buffers: readonly Uint8Array[];
  readonly findings: readonly string[];
}

export interface Arguments {
  /** One array a global buffer; a length in bytes where the kernel only writes. */
  readonly buffers: readonly (Uint8Array | number)[];
  readonly sizes: readonly number[];
  readonly grid: readonly number[];
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
  const [x = 1, y = 1, z = 1] = given.grid;
  const { kind, bytes } = sharedLayout(kernel);
  const report = launch(loadModule(text), entry, {
    grid: [x, y, z],
    block: [kernel.threads, 1, 1],
    sharedBytes: kind === "dynamic" ? bytes : 0,
    args: [...buffers.map((buffer): KernelArg => ({ kind: "buffer", buffer })), ...sizes],
  });
  return {
    buffers: buffers.map((buffer, i) => {
      const of = given.buffers[i];
      return device.read(buffer, 0, typeof of === "number" ? of : of?.length);
    }),
    findings: report.findings.map(renderFinding),
  };
}
