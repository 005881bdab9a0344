/** The dtypes of the language: one row each, and what follows from the row. */
import { invariant } from "../diagnostics/diagnostic.ts";

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
 * Floats that a program names by their bits: `e5m6` has 5 bits of exponent, 6 of mantissa and a sign, 9 to 15 in all. The
 * exponent's bias and its last value, which has the infinity and the NaNs, are as in IEEE's formats; what is beyond the
 * largest number is rounded to it. Each is kept as the f16 or bf16 of the same value, which has zeros where the mantissa
 * ends: 16 bits an element, that any target reads with no decoding, and a matrix unit as they are.
 */
export type CustomFloat =
  | `e4m${4 | 5 | 6 | 7 | 8 | 9 | 10}`
  | `e5m${3 | 4 | 5 | 6 | 7 | 8 | 9}`
  | `e6m${2 | 3 | 4 | 5 | 6 | 7}`
  | `e7m${1 | 2 | 3 | 4 | 5 | 6 | 7}`
  | `e8m${1 | 2 | 3 | 4 | 5 | 6}`;

/** What elements may be in a type of the language. */
export type Format = DType | CustomFloat;

export interface CustomFloatRow {
  /** Bits of the exponent, and explicit ones of the mantissa. */
  readonly exponent: number;
  readonly mantissa: number;
  /** Exponent of the least normal number. */
  readonly least: number;
  /** Largest finite value. */
  readonly max: number;
  readonly stored: "f16" | "bf16";
}

/** Mantissas by the bits of the exponent, from the least to the most. */
const customMantissas: readonly (readonly [number, number, number])[] = [
  [4, 4, 10],
  [5, 3, 9],
  [6, 2, 7],
  [7, 1, 7],
  [8, 1, 6],
];

const customRows: ReadonlyMap<string, CustomFloatRow> = new Map(
  customMantissas.flatMap(([exponent, fewest, most]) =>
    Array.from({ length: most - fewest + 1 }, (_, k): readonly [string, CustomFloatRow] => {
      const mantissa = fewest + k;
      const bias = 2 ** (exponent - 1) - 1;
      const max = (2 - 2 ** -mantissa) * 2 ** bias;
      const stored = exponent <= 5 ? "f16" : "bf16";
      return [`e${exponent}m${mantissa}`, { exponent, mantissa, least: 1 - bias, max, stored }];
    }),
  ),
);

export const customFloats: readonly string[] = [...customRows.keys()];

export function isCustomFloat(name: string): name is CustomFloat {
  return customRows.has(name);
}

export function customFloat(name: CustomFloat): CustomFloatRow {
  const row = customRows.get(name);
  invariant(row !== undefined, `${name} has no row`);
  return row;
}

/** True for what may be the elements of a type. */
export function isFormat(name: string): name is Format {
  return isDType(name) || isCustomFloat(name);
}

/** Largest finite value. */
export function maxOf(format: Format): number {
  return isCustomFloat(format) ? customFloat(format).max : dtypes[format].max;
}

/**
 * What a float may be rounded to: a format, or tf32, the values that matrix units read of an f32 (8 bits of exponent,
 * 10 of mantissa). Nothing is stored as tf32: its values are kept as f32.
 */
export type Rounding = Format | "tf32";

/** Explicit mantissa bits of the values. */
export function mantissaOf(rounding: Rounding): number {
  if (rounding === "tf32") return 10;
  return isCustomFloat(rounding) ? customFloat(rounding).mantissa : dtypes[rounding].mantissa;
}

/** The dtype that the values are kept as. */
export function storedAs(rounding: Rounding): DType {
  if (rounding === "tf32") return "f32";
  return isCustomFloat(rounding) ? customFloat(rounding).stored : rounding;
}

export function isRounding(name: string): name is Rounding {
  return name === "tf32" || (isFormat(name) && isFloat(name));
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
  if (to === from || to === "f32") return true;
  if (isCustomFloat(to)) return isWithin(from, customFloat(to));
  if (!isCustomFloat(from)) return (within[from] ?? []).includes(to);
  const { stored } = customFloat(from);
  return to === stored || to === "tf32" || (to === "bf16" && mantissaOf(from) <= mantissaOf(to));
}

/** Of the floats that have no more bits of either kind, e4m3 alone reaches further than IEEE's rules say: to 448. */
function isWithin(from: Rounding, to: CustomFloatRow): boolean {
  if (from === "e4m3") return to.exponent > 4 && to.mantissa >= 3;
  if (from === "e5m2") return to.exponent >= 5 && to.mantissa >= 2;
  if (!isCustomFloat(from)) return false;
  const { exponent, mantissa } = customFloat(from);
  return exponent <= to.exponent && mantissa <= to.mantissa;
}

/** Floats below the range of f32 may carry scales; where the exponents are those of f32, a scale would have none left. */
export function takesScales(format: Format): boolean {
  return isFloat(format) && maxOf(format) < 2 ** 126;
}

export function isFloat(format: Format): boolean {
  return isCustomFloat(format) || dtypes[format].kind === "float";
}

export function isDType(name: string): name is DType {
  return Object.hasOwn(dtypes, name);
}
