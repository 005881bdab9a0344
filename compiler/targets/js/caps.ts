/** What plain JavaScript over typed arrays can do: one thread, every storage dtype, no instruction. */
import { unaryFns } from "../../kernel/scalar.ts";
import type { Caps } from "../../types/caps.ts";

export const jsCaps: Caps = {
  target: "js",
  maxThreads: 1,
  subgroup: 1,
  sharedBytes: 1 << 20,
  // Locals beyond about this many spill to the stack, which costs little.
  registers: 64,
  units: 1,
  bandwidth: 4e9,
  flops: { f32: 1e9, matrix32: 1e9, matrix16: 1e9, matrix8: 1e9 },
  int64: true,
  storage: ["f32", "f16", "bf16", "e4m3", "e5m2", "i64", "i32", "u32", "i8", "u8", "bool"],
  vectorBytes: 4,
  converts: [
    "bool>f32",
    "bool>i32",
    "bool>u32",
    "bool>i64",
    "f32>bool",
    "i32>bool",
    "u32>bool",
    "i64>bool",
    "i32>f32",
    "u32>f32",
    "i64>f32",
    "f32>i32",
    "f32>u32",
    "f32>i64",
    "i32>u32",
    "u32>i32",
    "i32>i64",
    "u32>i64",
    "i64>i32",
    "i64>u32",
  ],
  unary: unaryFns.filter((name) => name !== "round-tf32"),
  instructions: [],
  maxGrid: [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1],
  exactDivision: true,
  maxBuffers: 64,
  // A bigint as an index is slow, and no engine has arrays that need one.
  index32Limit: Infinity,
};
