/** What the two architectures have. Ceilings are of the H200 and the A100 SXM 80 GB; bandwidth is a measured copy's. */
import type { DType } from "../../types/dtype.ts";
import { dtypes } from "../../types/dtype.ts";
import { instructions } from "../../kernel/instructions.ts";
import type { Caps } from "../../kernel/ir.ts";
import { unaryFunctions } from "./arithmetic.ts";
import { conversionsOf } from "./convert.ts";

export interface Architecture {
  readonly name: string;
  /** Compute capability times ten. */
  readonly sm: number;
  readonly sharedBytes: number;
  readonly units: number;
  readonly bandwidth: number;
  readonly flops: Caps["flops"];
}

export const architectures: readonly Architecture[] = [
  { name: "sm_90a", sm: 90, sharedBytes: 227 * 1024, units: 132, bandwidth: 4.28e12, flops: { f32: 67e12, matrix16: 989e12, matrix8: 1979e12 } },
  // 2.04 TB/s on paper, about 0.89 of it in a copy; it has no 8-bit floats, so those multiply as 16 bits.
  { name: "sm_80", sm: 80, sharedBytes: 163 * 1024, units: 108, bandwidth: 1.82e12, flops: { f32: 19.5e12, matrix16: 312e12, matrix8: 312e12 } },
];

/** `target` is how the caps name themselves. */
export function nvidiaCaps(architecture: Architecture, target: string): Caps {
  const { sm, sharedBytes, units, bandwidth, flops } = architecture;
  return {
    target,
    maxThreads: 1024,
    subgroup: 32,
    sharedBytes,
    // 255, less what addresses and the loop itself take.
    registers: 232,
    units,
    bandwidth,
    flops,
    int64: true,
    storage: Object.keys(dtypes).filter((name): name is DType => Object.hasOwn(dtypes, name)),
    vectorBytes: 16,
    converts: conversionsOf(sm),
    unary: unaryFunctions,
    instructions: [...instructions.values()].filter((record) => record.needs.sm <= sm).map((record) => record.name),
    maxGrid: [2 ** 31 - 1, 65535, 65535],
    // 4096 bytes of parameters are sure to be there.
    maxBuffers: 256,
    // Away from 2^31 by more than an address's immediate offset reaches.
    index32Limit: 2 ** 31 - 2 ** 23,
  };
}
