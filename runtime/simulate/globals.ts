/** A module's `.global` and `.const` variables: memory on each device, made at the first launch there. */
import type { Module } from "./compile/kernel.ts";
import type { Device } from "./device.ts";
import { SimulateError } from "./finding.ts";
import { typeBytes, variableBytes, type Operand, type Variable } from "./parse/syntax.ts";

const made = new WeakMap<Module, WeakMap<Device, readonly bigint[]>>();

function element(variable: Variable, operand: Operand, view: DataView): void {
  const bytes = typeBytes(variable.type);
  if (operand.kind === "float") {
    if (bytes === 8) view.setFloat64(0, operand.value, true);
    else view.setFloat32(0, operand.value, true);
  } else if (operand.kind === "integer") view.setBigUint64(0, BigInt.asUintN(64, operand.value), true);
  else throw new SimulateError(`${variable.name} has an initial value that I cannot read`, variable.line);
}

function initialBytes(variable: Variable): Uint8Array {
  const bytes = typeBytes(variable.type);
  const all = new Uint8Array(variableBytes(variable));
  const view = new DataView(new ArrayBuffer(8));
  variable.initial.forEach((operand, i) => {
    element(variable, operand, view);
    all.set(new Uint8Array(view.buffer, 0, bytes), i * bytes);
  });
  return all;
}

/** Generic addresses of the variables, in the order in which kernels number them. */
export function globalAddresses(module: Module, device: Device): readonly bigint[] {
  const byDevice = made.get(module) ?? new WeakMap<Device, readonly bigint[]>();
  made.set(module, byDevice);
  const old = byDevice.get(device);
  if (old !== undefined) return old;
  const addresses = module.variables.map((variable) => {
    const buffer = device.alloc(variableBytes(variable), variable.name);
    // Variables without a value start as zeros (PTX ISA 5.4.4).
    device.write(buffer, initialBytes(variable));
    return buffer.address;
  });
  byDevice.set(device, addresses);
  return addresses;
}
