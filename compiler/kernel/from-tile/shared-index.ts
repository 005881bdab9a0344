/**
 * Where an element of a shared tile is. A swizzled tile exchanges the 16-byte units of each 128 bytes: unit u lies at
 * u xor r, r counting the 128-byte lines (PTX ISA 5.5.6, "Swizzling modes"), so that equal columns of neighbouring
 * rows are in different banks.
 */
import type { SharedTile } from "../../tile/ir.ts";
import { dtypes } from "../../types/dtype.ts";
import type { Value } from "../ir.ts";
import { addPoly, constantPoly, divPoly, modPoly, mulPoly, splitConstant, type Poly } from "./algebra.ts";
import { evaluatePoly, type Context } from "./context.ts";

const unitBytes = 16;
const lineBytes = 128;

/** The element index in the tile's buffer of a row-major position. */
export function sharedIndex(cx: Context, tile: SharedTile, position: Poly): Value {
  const { b } = cx;
  const start = cx.channels.start(cx, tile);
  if (tile.swizzle === 0) return b.add(evaluatePoly(cx, position, "i32"), start);
  const { bytes } = dtypes[tile.dtype];
  const units = constantPoly(tile.swizzle / unitBytes);
  const unitSize = constantPoly(unitBytes / bytes);
  const unit = modPoly(divPoly(position, unitSize), units);
  const line = modPoly(divPoly(position, constantPoly(lineBytes / bytes)), units);
  const exchanged = b.binary("xor", evaluatePoly(cx, unit, "i32"), evaluatePoly(cx, line, "i32"));
  const moved = b.mul(b.bound(exchanged, 0, tile.swizzle / unitBytes - 1), b.i32(unitBytes / bytes));
  // The constant comes last, where an address takes it as an offset.
  const { constant, rest } = splitConstant(addPoly(position, mulPoly(unit, unitSize), -1));
  return b.add(b.add(b.add(start, evaluatePoly(cx, rest, "i32")), moved), b.i32(constant));
}
