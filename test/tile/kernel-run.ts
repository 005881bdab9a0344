/** What a kernel writes in the kernel interpreter, by the buffers of the tile program that it was lowered from. */
import { interpretKernel } from "../../compiler/kernel/interpret.ts";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import { decode } from "../../compiler/tensor/number-formats.ts";
import type { GlobalBuffer, TileProgram } from "../../compiler/tile/ir.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { dtypes } from "../../compiler/types/dtype.ts";

/** `bytesOf` gives an input's bytes, nothing of what is only written. Buffers round up to whole words. */
export function runKernel(
  kernel: Kernel,
  { buffers }: TileProgram,
  bytesOf: (buffer: GlobalBuffer) => Uint8Array | undefined,
  { dims, subgroup }: { readonly dims: ReadonlyMap<string, number>; readonly subgroup: number },
): ReadonlyMap<GlobalBuffer, number[]> {
  const lengths = buffers.map(
    ({ shape, dtype }) => shape.reduce((p, extent) => p * evaluate(extent, dims), 1) * dtypes[dtype].bytes,
  );
  const memory = buffers.map((buffer, k) => {
    const bytes = new Uint8Array(Math.ceil((lengths[k] ?? 0) / 4) * 4).fill(0xa5);
    bytes.set(bytesOf(buffer) ?? []);
    return bytes;
  });
  const [x, y, z] = kernel.grid;
  interpretKernel(kernel, {
    buffers: memory,
    sizes: kernel.sizes.map(({ dim }) => evaluate(dim, dims)),
    grid: [evaluate(x, dims), evaluate(y, dims), evaluate(z, dims)],
    subgroup,
  });
  return new Map(
    buffers.flatMap((buffer, k): [GlobalBuffer, number[]][] => {
      if (buffer.access === "read") return [];
      const bytes = memory[k]?.slice(0, lengths[k]) ?? new Uint8Array();
      return [[buffer, Array.from(decode(buffer.dtype, bytes), Number)]];
    }),
  );
}
