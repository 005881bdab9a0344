/**
 * `quantize`: for each block the largest magnitude, from it the scale, and the codes x * (1 / scale) rounded to the
 * dtype, 1 / scale being an f32. The last block of an axis may be short. A block-scaled tensor is then its codes and
 * its scales, and an element of it their product.
 */
import { invariant, type Place } from "../diagnostics/diagnostic.ts";
import { raggedInLoop } from "../diagnostics/lower.ts";
import type { BlockScaling, TypedExpr } from "../check/typed.ts";
import { storedAs, type Format } from "../types/dtype.ts";
import { codeOf, scaleOf } from "../tensor/block-scales.ts";
import { ceildiv, constant, mod, sub } from "../types/dim.ts";
import type { Scalar } from "../tensor/ir.ts";
import { elementType, type Frame, type Lowering } from "./frame.ts";
import { bindAxes, emitLoop } from "./loops.ts";
import { blockIndex, scaledTensor } from "./members.ts";
import { Refusal } from "./refusal.ts";
import { castTensor } from "./rounding.ts";
import type { LoopVariable } from "./terms.ts";
import { physicalIndex, settle, storeElement, type Stored } from "./tensors.ts";
import { elementAt, type AxisValue, type TensorValue } from "./value.ts";

export function quantize(cx: Lowering, expr: TypedExpr, value: TensorValue, frame: Frame): TensorValue {
  invariant(expr.type.kind === "tensor", "quantize gives a tensor");
  const type = elementType(frame, expr.type.dtype);
  const scaling = expr.type.scale ?? type.scale;
  if (scaling === undefined) return castTensor(cx.terms, value, type, "clear");
  const x = settle(cx, value, undefined, expr.place);
  invariant(x.kind === "tensor", "quantize of no tensor");
  const { codes, scales } = quantizeTo(cx, x, { dtype: type.dtype, scale: scaling }, expr.place);
  return scaledTensor(cx.terms, codes, scales, scaling, x.axes, type.dtype);
}

/** Codes and scales of a tensor's blocks, in nodes of their own. */
export function quantizeTo(
  cx: Lowering,
  x: TensorValue,
  { dtype, scale: scaling }: { readonly dtype: Format; readonly scale: BlockScaling },
  place: Place,
): { readonly codes: Stored; readonly scales: Stored } {
  const scales = storeScales(cx, x, scaling, dtype, place);
  const bound = bindAxes(
    cx,
    x.axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const { terms } = cx;
  const at = [
    ...scales.outer.map((v) => v.term),
    ...physicalIndex(terms, x.axes, blockIndex(terms, bound.indices, scaling)),
  ];
  const element = keptElement(cx, x, bound.indices);
  const code = codeOf(terms, element, terms.read(scales.ref, at), dtype);
  return { codes: storeElement(cx, bound, code, storedAs(dtype), "codes", place), scales };
}

/** A masked element counts 0. */
function keptElement(cx: Lowering, x: TensorValue, index: readonly Scalar[]): Scalar {
  const { term, keep } = elementAt(cx.terms, x, index);
  return keep === undefined ? term : cx.terms.select(keep, term, cx.terms.f32(0));
}

function storeScales(
  cx: Lowering,
  x: TensorValue,
  scaling: BlockScaling,
  dtype: Format,
  place: Place,
): Stored {
  const { terms } = cx;
  const first = x.axes.length - scaling.block.length;
  const width = (k: number): number => (k < first ? 1 : (scaling.block[k - first] ?? 1));
  if (x.axes.some((axis, k) => axis.ragged !== undefined && width(k) > 1))
    throw new Refusal(raggedInLoop(place));
  const blocks = x.axes.map((axis, k): AxisValue =>
    width(k) === 1 ? axis : { ...axis, extent: ceildiv(axis.extent, constant(width(k))) },
  );
  const bound = bindAxes(
    cx,
    blocks.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const over: LoopVariable[] = [];
  let inside: Scalar | undefined;
  const index = bound.indices.map((block, k) => {
    const extent = x.axes[k]?.extent;
    if (width(k) === 1 || extent === undefined) return block;
    const inner = terms.variable("i", constant(width(k)));
    over.push(inner);
    const i = terms.add(terms.mul(block, terms.i32(width(k))), inner.term);
    const rest = mod(extent, constant(width(k)));
    if (rest.kind === "const" && rest.value === 0) return i;
    inside = terms.both(inside, terms.apply("lt", i, terms.dim(extent)));
    return terms.apply("min", i, terms.dim(sub(extent, constant(1))));
  });
  const magnitude = terms.apply("abs", keptElement(cx, x, index));
  const lift = inside === undefined ? magnitude : terms.select(inside, magnitude, terms.f32(0));
  const outer = terms.freeVariables([lift]).filter((v) => !bound.variables.includes(v) && !over.includes(v));
  const node = emitLoop(cx, {
    axes: [...outer, ...bound.variables],
    over,
    carriers: [{ name: "absmax", monoid: "max", lift }],
    results: [{ value: scaleOf(terms, cx.arena.carrier(0, "f32"), dtype, scaling.format), dtype: "f32" }],
    place,
  });
  const ref = cx.arena.ref(node);
  cx.arena.setHint(ref, "scales");
  return { ref, outer };
}

/** The products as an ordinary f32 tensor. */
export function dequantize(value: TensorValue): TensorValue {
  return { ...value, dtype: "f32", written: true, scaling: undefined, parts: undefined };
}
