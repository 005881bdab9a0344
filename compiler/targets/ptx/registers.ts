/**
 * Register classes of PTX, and how types and constants of the kernel IR are spelled.
 *
 * A `b8` is kept in a 32-bit register with zeros above it: PTX computes nothing in 8 bits.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { PlainType, ValueType } from "../../kernel/ir.ts";
import { plainType, scalarBits, type ScalarValue } from "../../kernel/scalar.ts";
import { dtypes, type DType } from "../../types/dtype.ts";

export type RegisterClass = "pred" | "b16" | "b32" | "b64" | "f32";

export const registerClasses: readonly RegisterClass[] = ["pred", "b16", "b32", "b64", "f32"];

const classes: Readonly<Record<PlainType, RegisterClass>> = {
  bool: "pred",
  i32: "b32",
  u32: "b32",
  i64: "b64",
  f32: "f32",
  f16: "b16",
  bf16: "b16",
  b8: "b32",
  h2: "b32",
  b8x4: "b32",
};

export function classOf(type: ValueType): RegisterClass {
  return classes[plainType(type)];
}

/** Type suffix for arithmetic that has to know a sign; bits for what is only carried. */
const arithmeticTypes: Readonly<Record<PlainType, string>> = {
  bool: "pred",
  i32: "s32",
  u32: "u32",
  i64: "s64",
  f32: "f32",
  f16: "b16",
  bf16: "b16",
  b8: "u32",
  h2: "b32",
  b8x4: "b32",
};

export function arithmeticType(type: ValueType): string {
  return arithmeticTypes[plainType(type)];
}

/** An immediate operand. Predicates have none. */
export function immediate(type: ValueType, value: ScalarValue): string {
  if (typeof value === "bigint") return String(value);
  invariant(type !== "bool", "a predicate has no immediate");
  if (type === "f32") return `0f${scalarBits("f32", value).toString(16).toUpperCase().padStart(8, "0")}`;
  return String(value);
}

export function bytesOf(dtype: DType): number {
  return dtypes[dtype].bytes;
}

/** Names that mean something to PTX after a `%`, and so are not free for a register. */
export const specialRegisters: readonly string[] = [
  "tid",
  "ntid",
  "laneid",
  "warpid",
  "nwarpid",
  "ctaid",
  "nctaid",
  "smid",
  "nsmid",
  "gridid",
  "is_explicit_cluster",
  "clusterid",
  "nclusterid",
  "cluster_ctaid",
  "cluster_nctaid",
  "cluster_ctarank",
  "cluster_nctarank",
  "lanemask_eq",
  "lanemask_le",
  "lanemask_lt",
  "lanemask_ge",
  "lanemask_gt",
  "clock",
  "clock_hi",
  "clock64",
  "globaltimer",
  "globaltimer_lo",
  "globaltimer_hi",
  "reserved_smem_offset_begin",
  "reserved_smem_offset_end",
  "reserved_smem_offset_cap",
  "reserved_smem_offset_0",
  "reserved_smem_offset_1",
  "total_smem_size",
  "aggr_smem_size",
  "dynamic_smem_size",
  "current_graph_exec",
  ...numbered("pm", 8),
  ...numbered("pm", 8).map((name) => `${name}_64`),
  ...numbered("envreg", 32),
];

function numbered(stem: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `${stem}${i}`);
}
