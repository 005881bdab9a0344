/** The 64 bits of a product of two u32, for targets whose multiplication keeps 32. */
import type { KernelBuilder } from "../builder.ts";
import type { Value } from "../ir.ts";

export interface Pair {
  /** Both u32. */
  readonly low: Value;
  readonly high: Value;
}

export function multiplyWide(b: KernelBuilder, x: Value, y: Value): Pair {
  const half = (a: Value): readonly [Value, Value] => [
    b.and(a, b.u32(0xffff)),
    b.binary("shr", a, b.u32(16)),
  ];
  const [x0, x1] = half(x);
  const [y0, y1] = half(y);
  const middle = b.add(b.mul(x1, y0), b.binary("shr", b.mul(x0, y0), b.u32(16)));
  const [m0, m1] = half(middle);
  const cross = b.add(b.mul(x0, y1), m0);
  const high = b.add(b.add(b.mul(x1, y1), m1), b.binary("shr", cross, b.u32(16)));
  return { low: b.mul(x, y), high };
}
