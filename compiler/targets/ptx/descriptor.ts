/**
 * Matrix descriptors (PTX ISA 9.7.15.5.1): bits 0 to 13 the address, 16 to 29 the leading and 32 to 45 the stride byte
 * offset, each in 16 bytes, and bits 62 and 63 the swizzle. The layout is constants, so the halves are put together.
 */
import type { Op, Swizzle } from "../../kernel/ir.ts";
import { type Context, descriptorUnit } from "./context.ts";

const swizzleCodes: Readonly<Record<Swizzle, number>> = { 0: 0, 128: 1, 64: 2, 32: 3 };

/** Where the index is another one plus a constant, the descriptor is that one's plus a constant. */
export function emitDescriptor(op: Op<"descriptor">, cx: Context): void {
  const { register, offset } = cx.place(op.buffer, op.index, descriptorUnit);
  const { leading, stride, swizzle } = op;
  const base = cx.once(`descriptor ${register} ${leading} ${stride} ${swizzle}`, () => {
    const [low, whole] = [
      cx.temporary("b32", `${op.buffer.name}_low`),
      cx.temporary("b64", `${op.buffer.name}_matrix`),
    ];
    cx.instruction(`bfe.u32 ${low}, ${register}, 4, 14`);
    if (leading !== 0) cx.instruction(`or.b32 ${low}, ${low}, ${hex(units(leading) * 2 ** 16)}`);
    cx.instruction(`mov.b64 ${whole}, {${low}, ${hex(units(stride) + swizzleCodes[swizzle] * 2 ** 30)}}`);
    return whole;
  });
  if (offset === 0) cx.alias(op.dst, base);
  else cx.instruction(`add.s64 ${cx.define(op.dst)}, ${base}, ${offset / descriptorUnit}`);
}

/** 14 bits, as the manual's matrix-descriptor-encode. */
function units(bytes: number): number {
  return (bytes & 0x3ffff) >> 4;
}

function hex(bits: number): string {
  return `0x${bits.toString(16)}`;
}
