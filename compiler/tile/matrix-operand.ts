/**
 * Where the elements of a matrix product's operands are in their shared tiles.
 *
 * A tile of two axes is [rows, k]. A tile of three is made of panels, each as wide as one row of memory: along k
 * [k / width, rows, width], or, where the other side lies along memory, [rows / width, k, width]; or of bands, which
 * hold some rows each, [rows / height, height, k].
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
  switch (order) {
    case "k":
      return { rows: second, k: first * width };
    case "bands":
      return { rows: first * second, k: width };
    case "mn":
      return { rows: first * width, k: second };
  }
}

export function matrixIndex({ tile, order }: MatrixOperand, row: number, k: number): number[] {
  const [, height = 1, width] = tile.shape;
  if (width === undefined) return [row, k];
  if (order === "bands") return [Math.floor(row / height), row % height, k];
  const [along, across] = order === "k" ? [k, row] : [row, k];
  return [Math.floor(along / width), across, along % width];
}
