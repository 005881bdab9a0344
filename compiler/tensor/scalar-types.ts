/** Which scalar type an element of a dtype has inside a body, and the sets of scalar types that tables name. */
import { dtypes, type DType } from "../types/dtype.ts";
import type { ScalarType } from "./ir.ts";

const ofDType: Readonly<Record<DType, ScalarType>> = {
  f32: "f32",
  f16: "f32",
  bf16: "f32",
  e4m3: "f32",
  e5m2: "f32",
  i64: "i64",
  i32: "i32",
  u32: "u32",
  i8: "i32",
  u8: "u32",
  bool: "bool",
};

/** The scalar type of an element once it is read: floats are f32, i8 is i32, u8 is u32. */
export function scalarTypeOf(dtype: DType): ScalarType {
  return ofDType[dtype];
}

/** True where every value of `scalarTypeOf(dtype)` may be stored as `dtype` without rounding or saturating. */
export function isWide(dtype: DType): boolean {
  return dtype === ofDType[dtype];
}

export const scalarTypes: readonly ScalarType[] = ["f32", "i32", "u32", "i64", "bool"];
export const numericTypes: readonly ScalarType[] = ["f32", "i32", "u32", "i64"];
export const intTypes: readonly ScalarType[] = ["i32", "u32", "i64"];
export const signedTypes: readonly ScalarType[] = ["f32", "i32", "i64"];
export const floatTypes: readonly ScalarType[] = ["f32"];
export const boolTypes: readonly ScalarType[] = ["bool"];

/** Dtypes in the order of their table: a dense number for each. */
export const dtypeNames: readonly DType[] = Object.keys(dtypes).filter(
  (name): name is DType => name in ofDType,
);
