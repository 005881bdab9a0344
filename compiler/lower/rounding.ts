/** Conversion to a written type: where a value is rounded, and what was masked becomes 0. */
import {
  dtypes,
  holdsFloat,
  isCustomFloat,
  isFloat,
  mantissaOf,
  maxOf,
  type DType,
  type Format,
} from "../types/dtype.ts";
import type { Scalar } from "../tensor/ir.ts";
import type { Terms } from "./terms.ts";
import type { Element, ElementType, TensorValue } from "./value.ts";

/** What a cast does with keep bits: a written type makes a masked element 0, a conversion inside an expression keeps it masked. */
export type Masking = "clear" | "keep";

/** A tensor in a written type. A block-scaled one is already what it is written as: nothing rounds it by itself. */
export function castTensor(terms: Terms, value: TensorValue, to: ElementType, masking: Masking): TensorValue {
  if (to.scale !== undefined && value.scaling !== undefined) return value;
  const element = convertElement(terms, value.element, value, to, masking);
  const same = element.term === value.element.term;
  return {
    ...value,
    element,
    dtype: to.dtype,
    written: to.written,
    settled: same && value.settled,
    scaling: undefined,
    parts: undefined,
  };
}

export function convertElement(
  terms: Terms,
  element: Element,
  from: Pick<TensorValue, "dtype" | "written" | "scaling">,
  to: ElementType,
  masking: Masking,
): Element {
  const exact = from.written && from.scaling === undefined;
  const converted = {
    term: convert(terms, element.term, exact ? from.dtype : undefined, to.dtype, to.written),
    keep: element.keep,
  };
  return masking === "keep" ? converted : filledElement(terms, converted);
}

/** 0 where it was masked. */
export function filledElement(terms: Terms, element: Element): Element {
  const { term, keep } = element;
  return keep === undefined
    ? element
    : { term: terms.select(keep, term, terms.constant(term.type, 0)), keep: undefined };
}

/** `from` is the dtype whose values the term is known to have, if any. */
function convert(terms: Terms, term: Scalar, from: Format | undefined, to: Format, written: boolean): Scalar {
  if (!isCustomFloat(to) && !isFloat(to)) return from === to ? term : terms.cast(to, term);
  const float = terms.cast("f32", term);
  if (!written || holds(to, from)) return float;
  return terms.round(to, float);
}

/** True where every value of `from` is one of `to`. */
function holds(to: Format, from: Format | undefined): boolean {
  if (from === undefined) return false;
  if (from === to || from === "bool") return true;
  if (isCustomFloat(from) || isFloat(from)) return holdsFloat(to, from);
  // 256 whole numbers need 8 bits, one of which is not stored.
  return dtypes[from].bytes === 1 && mantissaOf(to) >= 7 && maxOf(to) >= 255;
}

/** The type that a stored float gives to a contraction's other factor. */
export function factorType(dtype: DType): DType {
  return dtypes[dtype].bytes === 1 ? "bf16" : dtype;
}
