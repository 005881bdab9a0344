/**
 * Where the elements of a matrix product's operands are in their shared tiles.
 *
 * A tile of two axes is [rows, k]. A tile of three is made of panels, each as wide as one row of memory: along k
 * [k / width, rows, width], or, where the other side lies along memory, [rows / width, k, width].
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { MatrixOperand } from "./ir.ts";

export interface OperandExtent {
  /** Of m or of n. */
  readonly rows: number;
  readonly k: number;
}

export function operandExtent({ tile, order }: MatrixOperand): OperandExtent {
  const [first = 0, second = 0, width] = tile.shape;
  if (width === undefined) {
    invariant(order === "k", `${tile.name} of two axes lies along k`);
    return { rows: first, k: second };
  }
  return order === "k" ? { rows: second, k: first * width } : { rows: first * width, k: second };
}

export function matrixIndex({ tile, order }: MatrixOperand, row: number, k: number): number[] {
  const width = tile.shape[2];
  if (width === undefined) return [row, k];
  const [along, across] = order === "k" ? [k, row] : [row, k];
  return [Math.floor(along / width), across, along % width];
}
