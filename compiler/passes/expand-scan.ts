/**
 * A running sum as loops: blocks of 32 are added up, their sums are scanned, and each element adds what precedes it
 * in its block. Work is 32 a level for each element, and nothing is sequential.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { ceildiv, constant, type Dim } from "../types/dim.ts";
import type { Arena } from "../tensor/arena.ts";
import { typeOf } from "../tensor/refs.ts";
import type { LoopAxis, Ref, Scalar, ScalarType } from "../tensor/ir.ts";
import { scalarTypeOf } from "../tensor/scalar-types.ts";

const radix = 32;
/** Levels of blocks where the extent is not known: 32^3 blocks' sums are then added up one by one. */
const levels = 3;

export function zeroOf(arena: Arena, type: ScalarType): Scalar {
  return arena.const(type, type === "i64" ? 0n : type === "bool" ? false : 0);
}

/** Axes called by number, for loops that no source wrote. */
export function axesFor(shape: readonly Dim[]): LoopAxis[] {
  return shape.map((extent, i) => ({ name: `i${i}`, extent }));
}

/** Inclusive running sum of `x` along `axis`. */
export function expandScan(arena: Arena, x: Ref, axis: number, level: number = 0): Ref {
  const { dtype, shape } = typeOf(x);
  const type = scalarTypeOf(dtype);
  const extent = shape[axis];
  invariant(extent !== undefined, "a scan along an axis of its tensor");
  const small = extent.kind === "const" ? extent.value <= radix : level >= levels;
  if (small) return sumOfPrefix(arena, x, axis, extent, undefined);
  const blocks = shape.map((dim, i) => (i === axis ? ceildiv(dim, constant(radix)) : dim));
  const inputs: Ref[] = [];
  const index = blocks.map((_, i) => arena.axis(i));
  const block = arena.apply("mul", arena.axis(axis), arena.i32(radix));
  index[axis] = arena.apply("add", block, arena.axis(blocks.length));
  const sums = arena.loop({
    axes: axesFor(blocks),
    over: [{ name: "r", extent: constant(radix) }],
    inputs,
    carriers: [
      { name: "sum", monoid: "sum", lift: arena.read(inputs, x, index, "else", zeroOf(arena, type)) },
    ],
    results: [{ value: arena.carrier(0, type), dtype: type, axes: blocks.map((_, i) => i) }],
  });
  return sumOfPrefix(arena, x, axis, constant(radix), expandScan(arena, arena.ref(sums), axis, level + 1));
}

/** Each element's sum over what precedes it in its block of `width`, and over the blocks before, scanned in `before`. */
function sumOfPrefix(arena: Arena, x: Ref, axis: number, width: Dim, before: Ref | undefined): Ref {
  const { dtype, shape } = typeOf(x);
  const type = scalarTypeOf(dtype);
  const inputs: Ref[] = [];
  const own = arena.axis(axis);
  const step = arena.axis(shape.length);
  const size = arena.dim(width);
  const block = before === undefined ? arena.i32(0) : arena.apply("floordiv", own, size);
  const at = arena.apply("add", arena.apply("mul", block, size), step);
  const index = shape.map((_, i) => (i === axis ? at : arena.axis(i)));
  // Within the block `at` is at most the element's own index, so that what is kept is in range.
  const term = arena.apply(
    "select",
    arena.apply("le", at, own),
    arena.read(inputs, x, index, "else", zeroOf(arena, type)),
    zeroOf(arena, type),
  );
  const sum = arena.carrier(0, type);
  const previous = shape.map((_, i) =>
    i === axis ? arena.apply("sub", block, arena.i32(1)) : arena.axis(i),
  );
  const value =
    before === undefined
      ? sum
      : arena.apply("add", arena.read(inputs, before, previous, "else", zeroOf(arena, type)), sum);
  const loop = arena.loop({
    axes: axesFor(shape),
    over: [{ name: "r", extent: width }],
    inputs,
    carriers: [{ name: "sum", monoid: "sum", lift: term }],
    results: [{ value, dtype: type, axes: shape.map((_, i) => i) }],
  });
  return arena.ref(loop);
}
