/** Runs an emitted kernel on the PTX simulator with arrays for its buffers. */
import type { Kernel, Caps } from "../../../compiler/kernel/ir.ts";
import { sharedLayout, sizeTypes } from "../../../compiler/kernel/launch.ts";
import { emitPtx } from "../../../compiler/targets/ptx/emit.ts";
import { evaluate } from "../../../compiler/types/dim.ts";
import { createDevice, launch, loadModule, renderFinding, type KernelArg } from "../../../runtime/simulate/index.ts";

export interface Simulated {
  readonly buffers: readonly Uint8Array[];
  readonly findings: readonly string[];
}

/** `contents` is one array a global buffer; undefined where the kernel only writes. Sizes come from `dims`. */
export function simulate(kernel: Kernel, caps: Caps, contents: readonly (Uint8Array | number)[], dims: ReadonlyMap<string, number> = new Map()): Simulated {
  const { text, entry } = emitPtx(kernel, caps);
  const device = createDevice();
  const buffers = contents.map((bytes) => {
    const buffer = device.alloc(Math.max(16, typeof bytes === "number" ? bytes : bytes.length));
    if (typeof bytes !== "number") device.write(buffer, bytes);
    return buffer;
  });
  const types = sizeTypes(kernel);
  const sizes = kernel.sizes.map(({ dim }, i): KernelArg => {
    const value = evaluate(dim, dims);
    return types[i] === "i64" ? { kind: "i64", value: BigInt(value) } : { kind: "i32", value };
  });
  const [x, y, z] = kernel.grid.map((dim) => evaluate(dim, dims));
  const { kind, bytes } = sharedLayout(kernel);
  const report = launch(loadModule(text), entry, {
    grid: [x ?? 1, y ?? 1, z ?? 1],
    block: [kernel.threads, 1, 1],
    sharedBytes: kind === "dynamic" ? bytes : 0,
    args: [...buffers.map((buffer): KernelArg => ({ kind: "buffer", buffer })), ...sizes],
  });
  return {
    buffers: buffers.map((buffer, i) => device.read(buffer, 0, typeof contents[i] === "number" ? contents[i] : contents[i]?.length)),
    findings: report.findings.map(renderFinding),
  };
}
