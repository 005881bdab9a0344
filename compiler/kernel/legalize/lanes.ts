/**
 * Makes arrays of vectors of those whose every access takes two or four neighbouring elements: for targets where an
 * access is as wide as the array's element is.
 *
 *     %1: u32, %2: u32 = load @x[%i]    stays, and x is then an array of vectors of two
 *
 * An array of scalars stays one where it is accessed by single elements or atomically, where its length is not known
 * (a vector may reach over the end of what is bound), or where it or its panels do not hold whole vectors.
 */
import type { Buffer, Kernel } from "../ir.ts";
import { Rewriter } from "../rewrite.ts";
import { visitOps } from "../walk.ts";

const widest = 4;

export function joinLanes(kernel: Kernel): Kernel {
  const lanes = new Map<Buffer, number>();
  const limit = (buffer: Buffer, width: number): void => {
    lanes.set(buffer, Math.min(lanes.get(buffer) ?? widest, width));
  };
  visitOps(kernel.body, (op) => {
    if (op.kind === "load") limit(op.buffer, op.dst.length);
    if (op.kind === "store") limit(op.buffer, op.values.length);
    if (op.kind === "atomic") limit(op.buffer, 1);
  });
  return new Rewriter(kernel).run({}, (buffer) => {
    const width = lanes.get(buffer) ?? 1;
    const whole = [buffer.length.kind === "const" ? buffer.length.value : 1, buffer.panel ?? widest];
    return width > 1 && whole.every((length) => length % width === 0) ? { lanes: width } : undefined;
  });
}
