/** What NVIDIA's architectures have, in PTX and CUDA C++ alike. Ceilings are of the H200 and the A100 SXM 80 GB; bandwidth is a measured copy's. */
import { dtypes, type DType } from "../../types/dtype.ts";
import { instructions, isPtx } from "../../kernel/instructions.ts";
import type { Caps } from "../../kernel/ir.ts";

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
  {
    name: "sm_90a",
    sm: 90,
    sharedBytes: 227 * 1024,
    units: 132,
    bandwidth: 4.28e12,
    flops: { f32: 67e12, matrix32: 495e12, matrix16: 989e12, matrix8: 1979e12 },
  },
  // 2.04 TB/s on paper, about 0.89 of it in a copy; it has no 8-bit floats, so those multiply as 16 bits.
  {
    name: "sm_80",
    sm: 80,
    sharedBytes: 163 * 1024,
    units: 108,
    bandwidth: 1.82e12,
    flops: { f32: 19.5e12, matrix32: 156e12, matrix16: 312e12, matrix8: 312e12 },
  },
];

/** Every conversion that one instruction or a few do, as caps name them. */
export const conversions = [
  "f32>f16",
  "f16>f32",
  "f32>bf16",
  "bf16>f32",
  "f32>e4m3",
  "f32>e5m2",
  "e4m3>f32",
  "e5m2>f32",
  "f32>i32",
  "f32>u32",
  "f32>i64",
  "f32>i8",
  "f32>u8",
  "i32>f32",
  "u32>f32",
  "i64>f32",
  "i8>f32",
  "u8>f32",
  "i32>u32",
  "u32>i32",
  "i32>i64",
  "u32>i64",
  "i64>i32",
  "i64>u32",
  "i8>i32",
  "i8>u32",
  "i8>i64",
  "u8>i32",
  "u8>u32",
  "u8>i64",
  "i32>i8",
  "i32>u8",
  "u32>i8",
  "u32>u8",
  "i64>i8",
  "i64>u8",
  "bool>f32",
  "bool>i32",
  "bool>u32",
  "bool>i64",
  "bool>i8",
  "bool>u8",
  "f32>bool",
  "i32>bool",
  "u32>bool",
  "i64>bool",
  "i8>bool",
  "u8>bool",
] as const;

export type Conversion = (typeof conversions)[number];

/** 8-bit floats are converted by instructions from sm_89 on. */
function hasConversion(sm: number, name: Conversion): boolean {
  return sm >= 89 || !/e4m3|e5m2/.test(name);
}

/** `target` is how the caps name themselves; `unary` what the language has functions for. */
export function nvidiaCaps(
  architecture: Architecture,
  { target, unary }: Pick<Caps, "target" | "unary">,
): Caps {
  const { sm, sharedBytes, units, bandwidth, flops } = architecture;
  return {
    target,
    maxThreads: 1024,
    subgroup: 32,
    sharedBytes,
    // 255, less what addresses and the loop itself take.
    registers: 232,
    registerFile: 65536,
    units,
    bandwidth,
    flops,
    int64: true,
    storage: Object.keys(dtypes).filter((name): name is DType => Object.hasOwn(dtypes, name)),
    vectorBytes: 16,
    converts: conversions.filter((name) => hasConversion(sm, name)),
    // Rounding to tf32, half to even, is an instruction from sm_90 on.
    unary: unary.filter((name) => sm >= 90 || name !== "round-tf32"),
    instructions: [...instructions.values()]
      .filter((record) => isPtx(record) && record.needs.sm <= sm)
      .map((record) => record.name),
    maxGrid: [2 ** 31 - 1, 65535, 65535],
    exactDivision: true,
    // 4096 bytes of parameters are sure to be there.
    maxBuffers: 256,
    // Away from 2^31 by more than an address's immediate offset reaches.
    index32Limit: 2 ** 31 - 2 ** 23,
  };
}
