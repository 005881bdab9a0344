/** What a launch has to know of a kernel beside its buffers: the types of its sizes, and its shared memory. */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dtypes } from "../types/dtype.ts";
import type { Buffer, Kernel } from "./ir.ts";
import { collectOps } from "./walk.ts";

/** Of each size parameter: i64 where an op reads it as one. */
export function sizeTypes(kernel: Kernel): readonly ("i32" | "i64")[] {
  const wide = new Set(
    collectOps(kernel.body, "size")
      .filter((op) => op.dst.type === "i64")
      .map((op) => op.param),
  );
  return kernel.sizes.map((_, param) => (wide.has(param) ? "i64" : "i32"));
}

export interface SharedLayout {
  /** Byte at which each shared buffer begins when they lie in one array, in the kernel's order. */
  readonly offsets: ReadonlyMap<Buffer, number>;
  readonly bytes: number;
  /** `dynamic` memory is one array whose size the launch asks for; CUDA wants that above 48 KiB. */
  readonly kind: "none" | "static" | "dynamic";
}

const staticLimit = 48 * 1024;

/** A launch asks for `bytes` of dynamic shared memory where the kind is `dynamic`, else for none. */
export function sharedLayout(kernel: Kernel): SharedLayout {
  const offsets = new Map<Buffer, number>();
  let bytes = 0;
  for (const buffer of kernel.buffers) {
    if (buffer.space !== "shared") continue;
    const align = Math.max(buffer.align, 16);
    bytes = Math.ceil(bytes / align) * align;
    offsets.set(buffer, bytes);
    bytes += sharedBytesOf(buffer);
  }
  return { offsets, bytes, kind: bytes === 0 ? "none" : bytes <= staticLimit ? "static" : "dynamic" };
}

export function sharedBytesOf(buffer: Buffer): number {
  invariant(buffer.length.kind === "const", `shared ${buffer.name} needs a constant length`);
  return buffer.length.value * dtypes[buffer.dtype].bytes;
}
