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

/**
 * What a float may be rounded to: a dtype, or tf32, the values that matrix units read of an f32 (8 bits of exponent,
 * 10 of mantissa). Nothing is stored as tf32: its values are kept as f32.
 */
export type Rounding = DType | "tf32";

/** Explicit mantissa bits of the values. */
export function mantissaOf(rounding: Rounding): number {
  return rounding === "tf32" ? 10 : dtypes[rounding].mantissa;
}

/** The dtype that the values are kept as. */
export function storedAs(rounding: Rounding): DType {
  return rounding === "tf32" ? "f32" : rounding;
}

export function isRounding(name: string): name is Rounding {
  return name === "tf32" || (isDType(name) && isFloat(name));
}

/** Of floats: those whose every value is one of the second's, f32 apart, which has them all. */
const within: Readonly<Partial<Record<Rounding, readonly Rounding[]>>> = {
  e4m3: ["f16", "bf16", "tf32"],
  e5m2: ["f16", "bf16", "tf32"],
  f16: ["tf32"],
  bf16: ["tf32"],
};

/** True where every value of the float `from` is one of the float `to`. */
export function holdsFloat(to: Rounding, from: Rounding): boolean {
  return to === from || to === "f32" || (within[from] ?? []).includes(to);
}

export function isFloat(dtype: DType): boolean {
  return dtypes[dtype].kind === "float";
}

export function isDType(name: string): name is DType {
  return Object.hasOwn(dtypes, name);
}
