/** C++ types of values in registers and of elements in memory. */
import type { PlainType, ValueType } from "../../kernel/ir.ts";
import { plainType } from "../../kernel/scalar.ts";
import type { DType } from "../../types/dtype.ts";

const valueTypes: Readonly<Record<PlainType, string>> = {
  bool: "bool",
  i32: "int",
  u32: "unsigned",
  i64: "long long",
  f32: "float",
  f16: "f16",
  bf16: "bf16",
  b8: "u8",
  h2: "unsigned",
  b8x4: "unsigned",
};

export const elementTypes: Readonly<Record<DType, string>> = {
  f32: "float",
  f16: "f16",
  bf16: "bf16",
  e4m3: "e4m3",
  e5m2: "e5m2",
  i64: "long long",
  i32: "int",
  u32: "unsigned",
  i8: "u8",
  u8: "u8",
  bool: "bool",
};

/** Names for what C++ has no type for; each is the bits of one element. */
export const aliases: Readonly<Record<string, string>> = {
  f16: "unsigned short",
  bf16: "unsigned short",
  e4m3: "unsigned char",
  e5m2: "unsigned char",
  i8: "signed char",
  u8: "unsigned char",
};

export function typeName(type: ValueType): string {
  return valueTypes[plainType(type)];
}
