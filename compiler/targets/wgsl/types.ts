/** WGSL's types for those of values. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { wgslMatrixTypes } from "../../kernel/instructions/subgroup-matrix.ts";
import type { ValueType } from "../../kernel/ir.ts";

const typeNames: Readonly<Record<ValueType, string | undefined>> = {
  ...wgslMatrixTypes,
  bool: "bool",
  i32: "i32",
  u32: "u32",
  f32: "f32",
  f16: "f16",
  h2: "u32",
  b8x4: "u32",
  i64: undefined,
  bf16: undefined,
  b8: undefined,
};

export function typeName(type: ValueType): string {
  const name = typeNames[type];
  invariant(name !== undefined, `wgsl has no ${type}: legalize carries it in other types`);
  return name;
}
