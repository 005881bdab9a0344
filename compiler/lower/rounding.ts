/** Conversion to a written type: where a value is rounded, and what was masked becomes 0. */
import { dtypes, isFloat, type DType } from "../types/dtype.ts";
import type { Scalar } from "../tensor/ir.ts";
import type { Terms } from "./terms.ts";
import type { Element, ElementType, TensorValue } from "./value.ts";

/** A tensor in a written type. A block-scaled one is already what it is written as: nothing rounds it by itself. */
export function castTensor(terms: Terms, value: TensorValue, to: ElementType): TensorValue {
  if (to.scale !== undefined && value.scaling !== undefined) return value;
  const element = convertElement(terms, value.element, value, to);
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

/** An element as the type wants it. What has the type of a masked argument stays masked. */
export function convertElement(terms: Terms, element: Element, from: Pick<TensorValue, "dtype" | "written" | "scaling">, to: ElementType): Element {
  const exact = from.written && from.scaling === undefined;
  const term = convert(terms, element.term, exact ? from.dtype : undefined, to.dtype, to.written);
  if (to.masked || element.keep === undefined) return { term, keep: element.keep };
  return { term: terms.select(element.keep, term, zeroOf(terms, term)), keep: undefined };
}

function zeroOf(terms: Terms, term: Scalar): Scalar {
  return terms.constant(term.type, 0);
}

/** `from` is the dtype whose values the term is known to have, if any. */
function convert(terms: Terms, term: Scalar, from: DType | undefined, to: DType, written: boolean): Scalar {
  if (!isFloat(to)) return from === to ? term : terms.cast(to, term);
  const float = terms.cast("f32", term);
  if (!written || holds(to, from)) return float;
  return terms.round(to, float);
}

/** True where every value of `from` is one of `to`. */
function holds(to: DType, from: DType | undefined): boolean {
  if (from === undefined) return false;
  if (from === to || from === "bool") return true;
  const [wide, narrow] = [dtypes[to], dtypes[from]];
  if (narrow.kind === "float") return to === "f32" || (narrow.bytes === 1 && wide.bytes === 2);
  return narrow.kind === "int" && narrow.bytes === 1 && to !== "e4m3" && to !== "e5m2";
}

/** The type that a stored float gives to a contraction's other factor. */
export function factorType(dtype: DType): DType {
  return dtypes[dtype].bytes === 1 ? "bf16" : dtype;
}
