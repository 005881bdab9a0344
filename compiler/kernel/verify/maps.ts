/** What a tensor map and a matrix descriptor can say (PTX ISA 5.5 and 9.7.15.5.1). */
import { constant, dimEquals, mul } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";
import type { Op, TensorMap } from "../ir.ts";
import type { Verifier } from "../verify.ts";

export function verifyMap(map: TensorMap, cx: Verifier): void {
  const { name, buffer, dims, box, swizzle } = map;
  const { bytes } = dtypes[buffer.dtype];
  cx.check(cx.hasBuffer(buffer), `map ${name} is of no buffer of the kernel's`);
  cx.check(
    buffer.space === "global" && buffer.align % 16 === 0,
    `map ${name} is of ${buffer.name}, which is not in global memory on 16 bytes`,
  );
  cx.check(dims.length >= 1 && dims.length <= 5, `map ${name} has ${dims.length} dims`);
  cx.check(
    box.length === dims.length && box.every((n) => Number.isInteger(n) && n >= 1 && n <= 256),
    `map ${name} has a box of [${box.join(", ")}]`,
  );
  cx.check(
    dimEquals(
      dims.reduce((all, dim) => mul(all, dim), constant(1)),
      buffer.length,
    ),
    `map ${name} does not have as many elements as ${buffer.name}`,
  );
  const row = (box.at(-1) ?? 0) * bytes;
  cx.check(row % 16 === 0, `map ${name} has rows of ${row} bytes in a box, no multiple of 16`);
  cx.check(
    swizzle === 0 || row === swizzle,
    `map ${name} has rows of ${row} bytes in a box, and a swizzle of ${swizzle}`,
  );
  const inner = dims.at(-1);
  if (dims.length > 1 && inner?.kind === "const")
    cx.check(
      (inner.value * bytes) % 16 === 0,
      `map ${name} has rows of ${inner.value * bytes} bytes, no multiple of 16`,
    );
}

export function verifyDescriptor(op: Op<"descriptor">, cx: Verifier): void {
  cx.is(op.dst, "i64", "a descriptor");
  cx.check(op.buffer.space === "shared", `a descriptor of ${op.buffer.name}, which is not in shared memory`);
  cx.check(op.index.type === "i32" || op.index.type === "i64", `an index of type ${op.index.type}`);
  for (const bytes of [op.leading, op.stride])
    cx.check(
      Number.isInteger(bytes) && bytes >= 0 && bytes % 16 === 0 && bytes < 2 ** 18,
      `an offset of ${bytes} bytes is no multiple of 16 below 2^18`,
    );
  const repeat = Math.max(16, 8 * op.swizzle);
  cx.check(
    op.buffer.align % repeat === 0,
    `${op.buffer.name} is aligned to ${op.buffer.align} bytes, and its swizzle repeats after ${repeat}`,
  );
}
