/** The dtypes of the language: one row each, and what follows from the row. */

export type DType = "f32" | "f16" | "bf16" | "e4m3" | "e5m2" | "i64" | "i32" | "u32" | "i8" | "u8" | "bool";

export interface DTypeRow {
  readonly kind: "float" | "int" | "bool";
  /** Bytes of one stored element; a bool is stored as one byte, 0 or 1. */
  readonly bytes: number;
  /** Float: explicit mantissa bits. */
  readonly mantissa: number;
  /** Float: largest finite value. Integer: largest value. */
  readonly max: number;
  /** Name in a safetensors header. */
  readonly safetensors: string;
}

export const dtypes: Readonly<Record<DType, DTypeRow>> = {
  f32: { kind: "float", bytes: 4, mantissa: 23, max: 3.4028234663852886e38, safetensors: "F32" },
  f16: { kind: "float", bytes: 2, mantissa: 10, max: 65504, safetensors: "F16" },
  bf16: { kind: "float", bytes: 2, mantissa: 7, max: 3.3895313892515355e38, safetensors: "BF16" },
  e4m3: { kind: "float", bytes: 1, mantissa: 3, max: 448, safetensors: "F8_E4M3" },
  e5m2: { kind: "float", bytes: 1, mantissa: 2, max: 57344, safetensors: "F8_E5M2" },
  i64: { kind: "int", bytes: 8, mantissa: 0, max: Number.MAX_SAFE_INTEGER, safetensors: "I64" },
  i32: { kind: "int", bytes: 4, mantissa: 0, max: 2147483647, safetensors: "I32" },
  u32: { kind: "int", bytes: 4, mantissa: 0, max: 4294967295, safetensors: "U32" },
  i8: { kind: "int", bytes: 1, mantissa: 0, max: 127, safetensors: "I8" },
  u8: { kind: "int", bytes: 1, mantissa: 0, max: 255, safetensors: "U8" },
  bool: { kind: "bool", bytes: 1, mantissa: 0, max: 1, safetensors: "BOOL" },
};

export function isFloat(dtype: DType): boolean {
  return dtypes[dtype].kind === "float";
}

export function isDType(name: string): name is DType {
  return Object.hasOwn(dtypes, name);
}
