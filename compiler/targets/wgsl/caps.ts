/**
 * What WebGPU devices can do, in three variants. The limits are the ones every device has by default; a variant
 * adds the feature of its name.
 */
import { subgroupMatrixInstructions } from "../../kernel/instructions/subgroup-matrix.ts";
import type { Caps } from "../../types/caps.ts";

/** No feature at all: what every WebGPU device runs. */
export const wgslCaps: Caps = {
  target: "wgsl",
  maxThreads: 256,
  subgroup: 1,
  sharedBytes: 16384,
  registers: 64,
  units: 64,
  bandwidth: 1e11,
  flops: { f32: 1e12, matrix32: 1e12, matrix16: 1e12, matrix8: 1e12 },
  int64: false,
  storage: ["f32", "i32", "u32"],
  vectorBytes: 4,
  converts: [
    "bool>f32",
    "bool>i32",
    "bool>u32",
    "f32>bool",
    "i32>bool",
    "u32>bool",
    "i32>f32",
    "u32>f32",
    "f32>i32",
    "f32>u32",
    "i32>u32",
    "u32>i32",
  ],
  // WGSL lets sin and cos be off by 2^-11, exp2 by 3 + 2 |x| ulp, and tanh overflow (15.7.4), so they are expanded.
  unary: [
    "neg",
    "not",
    "abs",
    "log2",
    "sqrt",
    "rsqrt",
    "rcp",
    "floor",
    "ceil",
    "trunc",
    "round-even",
    "popcount",
    "clz",
  ],
  instructions: [],
  maxGrid: [65535, 65535, 65535],
  // WGSL, "Floating point accuracy": 2.5 ULP.
  exactDivision: false,
  maxBuffers: 8,
  index32Limit: Infinity,
};

/** With `subgroups` of 32 lanes. */
export const wgslSubgroupCaps: Caps = { ...wgslCaps, target: "wgsl:subgroups", subgroup: 32 };

/** With `shader-f16`: f16 in memory as itself. f32 to f16 stays bit arithmetic, since WGSL leaves its rounding open. */
export const wgslF16Caps: Caps = {
  ...wgslCaps,
  target: "wgsl:f16",
  storage: [...wgslCaps.storage, "f16"],
  converts: [...wgslCaps.converts, "f16>f32"],
};

/**
 * With `chromium-experimental-subgroup-matrix` and f16 matrices of 16 x 16 by subgroups of 32, and three times the
 * workgroup memory that every device has. f16 is moved as bits: memory's widest accesses are four words.
 */
export const wgslMatrixCaps: Caps = {
  ...wgslSubgroupCaps,
  target: "wgsl:matrices",
  sharedBytes: 49152,
  registers: 128,
  // As many times what scalars have as on H200.
  flops: { ...wgslCaps.flops, matrix16: 15e12 },
  vectorBytes: 16,
  instructions: subgroupMatrixInstructions.map(({ name }) => name),
};

/** By variant; the first is what every WebGPU device runs. */
export const wgslVariants: Readonly<Record<string, Caps>> = {
  base: wgslCaps,
  subgroups: wgslSubgroupCaps,
  f16: wgslF16Caps,
  "subgroups-f16": { ...wgslF16Caps, target: "wgsl:subgroups-f16", subgroup: 32 },
  matrices: wgslMatrixCaps,
};
