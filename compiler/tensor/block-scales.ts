/**
 * The arithmetic of block scales: a block's scale from its largest magnitude, and the code of an element. The scale is
 * turned once, and rounded, so that every target multiplies to the same bits.
 */
import { maxOf, type Format, type Rounding } from "../types/dtype.ts";
import type { Scalar } from "./ir.ts";

export type ScaleFormat = "f32" | "ue8m0";

/** A float with a scale for each block; `block` are extents over the last axes, or over a factor's two sides. */
export interface BlockScaled {
  readonly dtype: Format;
  readonly block: readonly number[];
  readonly format: ScaleFormat;
}

/** What `numerics` asks of the contractions of a function: types of the factors, and how far results may be off. */
export interface ScaledFactors {
  readonly left: BlockScaled;
  readonly right: BlockScaled;
  /** Of the terms' magnitudes; undefined: any. */
  readonly bound: number | undefined;
}

/** The least magnitude that a block is scaled by, so that a block of zeros has a scale. */
const leastMagnitude = 1e-4;

/** What makes scalars. */
export interface Scalars {
  apply(fn: string, ...args: readonly Scalar[]): Scalar;
  round(to: Rounding, value: Scalar): Scalar;
  f32(value: number): Scalar;
}

/** `largest`: the largest magnitude of a block. */
export function scaleOf(s: Scalars, largest: Scalar, dtype: Format, format: ScaleFormat): Scalar {
  const least = s.apply("max", largest, s.f32(leastMagnitude));
  const scale = s.round("f32", s.apply("nearestQuotient", least, s.f32(maxOf(dtype))));
  if (format === "f32") return scale;
  return s.round("f32", s.apply("powerNotBelow", scale));
}

export function codeOf(s: Scalars, element: Scalar, scale: Scalar, dtype: Format): Scalar {
  const turned = s.round("f32", s.apply("nearestQuotient", s.f32(1), scale));
  return s.round(dtype, s.apply("mul", element, turned));
}
