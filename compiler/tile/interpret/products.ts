/** Matrix products of the tile interpreter: operands' rows, and an element of the result. */
import { matrixIndex, operandExtent } from "../matrix-operand.ts";
import type { MatrixOperand, RegisterOperand, SharedTile, TileOp } from "../ir.ts";
import { isInRegisters } from "../walk.ts";
import { flat, type Element, type SharedMemory } from "./elements.ts";
import type { Scope } from "./scope.ts";

/** Elements along k of one row. */
export type OperandRows = (row: number) => Float64Array;

/** Rows of a product's operand, each gathered once. `oldest`: the slot of a tile that is released next. */
export function rowsOf(
  scope: Scope,
  operand: MatrixOperand | RegisterOperand,
  oldest: (tile: SharedTile) => SharedMemory,
): OperandRows {
  if (isInRegisters(operand)) return rowsInRegisters(scope, operand);
  const { tile, isOldest } = operand;
  const contents = scope.contents(tile, isOldest === true ? oldest(tile) : undefined);
  const { k: depth } = operandExtent(operand);
  const rows = new Map<number, Float64Array>();
  return (row) => {
    let found = rows.get(row);
    if (found === undefined) {
      found = Float64Array.from({ length: depth }, (_, k) =>
        Number(contents[flat(matrixIndex(operand, row, k), tile.shape)]),
      );
      rows.set(row, found);
    }
    return found;
  };
}

function rowsInRegisters(scope: Scope, { registers, row, k }: RegisterOperand): OperandRows {
  const rows = new Map<number, number[]>();
  scope.each(registers.axes, () => {
    const at = Number(scope.value(row));
    let found = rows.get(at);
    if (found === undefined) rows.set(at, (found = []));
    found[Number(scope.value(k))] = Number(scope.element(registers));
  });
  return (at) => Float64Array.from(rows.get(at) ?? []);
}

/** The accumulator's element at the coordinates in scope. */
export function productAt(
  scope: Scope,
  op: Extract<TileOp, { kind: "mma" }>,
  a: OperandRows,
  b: OperandRows,
): Element {
  const left = a(Number(scope.value(op.m)));
  const right = b(Number(scope.value(op.n)));
  let sum = scope.holds(op.accumulate) ? Number(scope.element(op.acc)) : 0;
  left.forEach((value, k) => {
    sum += value * (right[k] ?? Number.NaN);
  });
  return sum;
}
