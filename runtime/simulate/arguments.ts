/** Kernel arguments as the bytes of the parameter space (PTX ISA 5.1.6.1). */
import { SimulateError } from "./finding.ts";
import type { Kernel } from "./compile/kernel.ts";
import type { KernelArg } from "./launch.ts";

const sizes: Readonly<Record<KernelArg["kind"], number>> = {
  buffer: 8,
  i32: 4,
  u32: 4,
  f32: 4,
  f64: 8,
  u16: 2,
  u8: 1,
  i64: 8,
  u64: 8,
  bytes: 0,
};

export function encode(kernel: Kernel, args: readonly KernelArg[], into: Uint8Array): void {
  if (args.length !== kernel.params.length) {
    throw new SimulateError(
      `${kernel.name} takes ${kernel.params.length} arguments (${kernel.params.map((p) => p.name).join(", ")}), not ${args.length}`,
    );
  }
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  kernel.params.forEach((param, i) => {
    const arg = args[i]!;
    const bytes = arg.kind === "bytes" ? arg.bytes.length : sizes[arg.kind];
    if (bytes !== param.bytes)
      throw new SimulateError(
        `${kernel.name}: ${param.name} has ${param.bytes} bytes, and the argument (${arg.kind}) has ${bytes}`,
      );
    write(view, param.offset, arg, into);
  });
}

function write(view: DataView, at: number, arg: KernelArg, into: Uint8Array): void {
  switch (arg.kind) {
    case "buffer":
      return view.setBigUint64(at, arg.buffer.address + BigInt(arg.offset ?? 0), true);
    case "i32":
      return view.setInt32(at, arg.value, true);
    case "u32":
      return view.setUint32(at, arg.value, true);
    case "u16":
      return view.setUint16(at, arg.value, true);
    case "u8":
      return view.setUint8(at, arg.value);
    case "f32":
      return view.setFloat32(at, arg.value, true);
    case "f64":
      return view.setFloat64(at, arg.value, true);
    case "i64":
      return view.setBigInt64(at, arg.value, true);
    case "u64":
      return view.setBigUint64(at, arg.value, true);
    case "bytes":
      into.set(arg.bytes, at);
  }
}
