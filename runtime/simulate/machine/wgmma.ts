/** wgmma: shared-memory descriptors, and one warp's quarter of the product (PTX ISA 9.7.15). */
import type { Site } from "../compile/site.ts";
import { checkRead } from "./check.ts";
import { findAt } from "./findings.ts";
import type { Region } from "./region.ts";
import { swizzled } from "./swizzle.ts";
import type { Warp } from "./warp.ts";

export interface Descriptor {
  readonly start: number;
  /** Leading and stride byte offsets. */
  readonly leading: number;
  readonly stride: number;
  /** Span of the swizzle in bytes: 0, 32, 64 or 128. */
  readonly span: number;
}

const spans = [0, 128, 64, 32] as const;
const reserved = 0x3ffe_c000_c000_c000n & ~(7n << 49n);

/** Bit fields of 9.7.15.5.2. */
export function decodeDescriptor(w: Warp, site: Site, bits: bigint, name: string): Descriptor {
  const field = (at: bigint): number => Number((bits >> at) & 0x3fffn) << 4;
  const span = spans[Number(bits >> 62n)]!;
  if ((bits & reserved) !== 0n)
    findAt(
      w,
      -1,
      site.id,
      "descriptor",
      `the descriptor of ${name} has bits set that are reserved: 0x${bits.toString(16)}`,
    );
  if ((bits >> 49n) & 7n)
    findAt(
      w,
      -1,
      site.id,
      "descriptor",
      `the descriptor of ${name} has a base offset, which I do not simulate: align the tile instead`,
    );
  return { start: field(0n), leading: field(16n), stride: field(32n), span };
}

export interface OperandShape {
  /** Rows of A or columns of B. */
  readonly extent: number;
  readonly k: number;
  /** Bytes of an element: 1, 2 or 4; an eighth for single bits. */
  readonly bytes: number;
  /** Whether neighbours along m or n, not along k, lie side by side. */
  readonly mnMajor: boolean;
}

/**
 * Byte address of element (mn, k), before its region is looked at (9.7.15.5.1). In units of 16 bytes a core matrix
 * is 8 rows; a swizzled layout has rows of the span, and the swizzle acts on the address.
 */
export function elementAddress(
  d: Descriptor,
  { bytes, mnMajor }: OperandShape,
  mn: number,
  k: number,
): number {
  if (mnMajor) {
    if (d.span === 0) {
      const along = mn * bytes;
      return d.start + (along & 15) + (along >> 4) * d.stride + (k & 7) * 16 + (k >> 3) * d.leading;
    }
    const along = mn * bytes;
    const atom = Math.floor(along / d.span);
    return swizzled(
      d.start + (along % d.span) + atom * d.leading + (k & 7) * d.span + (k >> 3) * d.stride,
      d.span,
    );
  }
  const along = k * bytes;
  if (d.span === 0)
    return d.start + (mn & 7) * 16 + (mn >> 3) * d.stride + (along >> 4) * d.leading + (along & 15);
  return swizzled(d.start + (mn & 7) * d.span + (mn >> 3) * d.stride + along, d.span);
}

/** The descriptor must point at the first row of a swizzle pattern, and step by whole patterns. */
export function checkDescriptor(w: Warp, site: Site, d: Descriptor, shape: OperandShape, name: string): void {
  if (d.span === 0) return;
  const pattern = 8 * d.span;
  if (d.start % pattern >= d.span) {
    findAt(
      w,
      -1,
      site.id,
      "descriptor",
      `${name} starts at shared byte ${d.start - w.block.shared.low}, inside a swizzle pattern of ${pattern} bytes`,
    );
  }
  const groups = shape.mnMajor ? shape.k > 8 : shape.extent > 8;
  if (groups && d.stride % pattern !== 0)
    findAt(
      w,
      -1,
      site.id,
      "descriptor",
      `${name} steps by ${d.stride} bytes, no multiple of its swizzle pattern of ${pattern}`,
    );
  if (shape.mnMajor && shape.extent * shape.bytes > d.span && d.leading % pattern !== 0) {
    findAt(
      w,
      -1,
      site.id,
      "descriptor",
      `${name} leads by ${d.leading} bytes, no multiple of its swizzle pattern of ${pattern}`,
    );
  }
}

/** Rows `from` to `from + count` of an operand as numbers, row by row along k. */
export function readOperand(
  shared: Region,
  d: Descriptor,
  shape: OperandShape,
  from: number,
  count: number,
  decode: (bits: number) => number,
  into: Float64Array,
): void {
  const { k, bytes } = shape;
  for (let r = 0; r < count; r++) {
    for (let p = 0; p < k; p++) {
      const at = elementAddress(d, shape, from + r, p);
      const bits = bytes === 2 ? shared.u16[at >> 1]! : bytes === 1 ? shared.u8[at]! : shared.u32[at >> 2]!;
      into[r * k + p] = decode(bits);
    }
  }
}

/** Enters the bytes of the rows in the shadow, 16 at a time; reports a descriptor that leaves shared memory. */
export function checkOperand(
  w: Warp,
  site: Site,
  d: Descriptor,
  shape: OperandShape,
  from: number,
  count: number,
  record: number,
  flags: number,
): boolean {
  const { shared } = w.block;
  const perUnit = 16 / shape.bytes;
  const visit = (mn: number, k: number): boolean => {
    const at = elementAddress(d, shape, mn, k) & ~15;
    if (at < shared.low || at + 16 > shared.size) {
      findAt(
        w,
        -1,
        site.id,
        "out-of-bounds",
        `a wgmma operand reaches shared byte ${at - shared.low} of ${shared.size - shared.low}`,
      );
      return false;
    }
    if (w.machine.options.memoryChecks) checkRead(w, shared, at, 16, -1, record, flags);
    return true;
  };
  if (shape.mnMajor) {
    for (let mn = from; mn < from + count; mn += perUnit)
      for (let k = 0; k < shape.k; k++) if (!visit(mn, k)) return false;
    return true;
  }
  for (let mn = from; mn < from + count; mn++)
    for (let k = 0; k < shape.k; k += perUnit) if (!visit(mn, k)) return false;
  return true;
}
