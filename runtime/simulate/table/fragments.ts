/**
 * What `mma.sync` and `wgmma` share: element types, operands and accumulators as the lanes of a warp hold them (PTX
 * ISA 9.7.14.5, 9.7.15.5), and how each type's products are added.
 */
import type { Site, Value } from "../compile/site.ts";
import { elementsOf } from "../machine/access.ts";
import type { Warp } from "../machine/warp.ts";
import {
  aligned16,
  aligned32,
  aligned8,
  alignedDot,
  exactDot,
  findExponents,
  intoF16,
  type Dot,
  type Factors,
} from "../numeric/accumulate.ts";
import {
  bf16ToNumber,
  e4m3ToNumber,
  e5m2ToNumber,
  f16ToNumber,
  numberToF16,
  tf32ToNumber,
} from "../numeric/formats.ts";

export interface ElementType {
  readonly bits: number;
  readonly decode: (bits: number) => number;
  /** Exponent of a float's smallest normal number; undefined for integers. */
  readonly least?: number;
}

const signExtend =
  (bits: number): ((x: number) => number) =>
  (x) =>
    (x << (32 - bits)) >> (32 - bits);

export const elementTypes: Readonly<Record<string, ElementType>> = {
  f16: { bits: 16, decode: f16ToNumber, least: -14 },
  bf16: { bits: 16, decode: bf16ToNumber, least: -126 },
  tf32: { bits: 32, decode: tf32ToNumber, least: -126 },
  e4m3: { bits: 8, decode: e4m3ToNumber, least: -6 },
  e5m2: { bits: 8, decode: e5m2ToNumber, least: -14 },
  s8: { bits: 8, decode: signExtend(8) },
  u8: { bits: 8, decode: (x) => x },
  s4: { bits: 4, decode: signExtend(4) },
  u4: { bits: 4, decode: (x) => x },
};

/** First words of the registers of an operand. */
export const basesOf = (site: Site, value: Value | undefined): number[] =>
  elementsOf(site, value).map((element) => element.base);

const inOrder = (column: number): number => column;

/**
 * One operand of a warp into a dense array of `k` columns. Each register holds `32 / bits` neighbours along k; lane l
 * owns row (or column) l / 4 and the k positions of l % 4; registers step over `halves` of 8 rows, then over k. `place` says where along k a
 * column goes.
 */
export function gatherFragment(
  w: Warp,
  registers: readonly number[],
  type: ElementType,
  halves: 1 | 2,
  k: number,
  into: Float64Array,
  place: (column: number) => number = inOrder,
): void {
  const per = 32 / type.bits;
  const field = type.bits === 32 ? -1 : (1 << type.bits) - 1;
  registers.forEach((base, r) => {
    for (let lane = 0; lane < 32; lane++) {
      const row = (lane >> 2) + 8 * (r % halves);
      const column = (lane & 3) * per + Math.floor(r / halves) * 4 * per;
      const word = w.U[base + lane]!;
      for (let j = 0; j < per; j++)
        into[row * k + place(column + j)] = type.decode((word >>> (j * type.bits)) & field);
    }
  });
}

/** Element `i` of the accumulator of `lane`: two to a register in f16, else one. */
export function readAccumulator(
  w: Warp,
  registers: readonly number[],
  type: string,
  i: number,
  lane: number,
): number {
  if (type === "f16") return f16ToNumber((w.U[registers[i >> 1]! + lane]! >>> (16 * (i & 1))) & 0xffff);
  const at = registers[i]! + lane;
  return type === "f32" ? w.F[at]! : w.I[at]!;
}

/** An s32 wraps around. */
export function writeAccumulator(
  w: Warp,
  registers: readonly number[],
  type: string,
  i: number,
  lane: number,
  value: number,
): void {
  if (type === "f16") {
    const at = registers[i >> 1]! + lane;
    const shift = 16 * (i & 1);
    w.U[at] = (w.U[at]! & ~(0xffff << shift)) | (numberToF16(value) << shift);
    return;
  }
  const at = registers[i]! + lane;
  if (type === "s32") w.I[at] = value;
  else if (value === value) w.F[at] = value;
  else w.U[at] = 0x7fffffff;
}

export const clampS32 = (x: number): number => Math.max(-2147483648, Math.min(2147483647, x));

/** Has the exponents of both operands found, when their type is a float. */
export function prepare(factors: Factors, type: ElementType, count: number): void {
  if (type.least !== undefined) findExponents(factors, count, type.least);
}

/** How the products of a type are added in one instruction of the tensor core. */
export function groupDot(type: string, result: string): Dot {
  const { bits, least } = elementTypes[type]!;
  if (least === undefined) return exactDot;
  const alignment = bits === 8 ? aligned8 : bits === 16 ? aligned16 : aligned32;
  return alignedDot(result === "f16" ? intoF16(alignment) : alignment);
}

/** Hopper's warps have no product of 8-bit floats: `mma.sync` widens them to f16. */
export function isWidened(type: string): boolean {
  const { bits, least } = elementTypes[type]!;
  return bits === 8 && least !== undefined;
}

/** Where along k a widened column goes: a register of four becomes two, and the first ones come before the second. */
export function widenedPlace(k: number): (column: number) => number {
  return (column) => ((column >> 1) & 1) * (k / 2) + (column >> 2) * 2 + (column & 1);
}

/**
 * How the products of widened columns are added: the first half of k upon zero, the second half upon that, and the
 * accumulator by an addition of its own, which rounds to nearest.
 */
export function widenedDot(result: string): Dot {
  const dot = groupDot("f16", result);
  const round = result === "f16" ? (x: number): number => f16ToNumber(numberToF16(x)) : Math.fround;
  return (a, i, b, j, k, c) => {
    const half = k / 2;
    return round(dot(a, i + half, b, j + half, half, dot(a, i, b, j, half, 0)) + c);
  };
}
