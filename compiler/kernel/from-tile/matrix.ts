/**
 * Products on matrix units: fragments are loaded from shared memory with `ldmatrix`, and each instruction updates
 * the accumulator's registers in place. Fragments are as PTX ISA 9.7.14.5.7 (mma.m16n8k8), 9.7.14.5.8 (mma.m16n8k16)
 * and 9.7.14.5.15 (ldmatrix) describe them; a pair of 16-bit elements of `ldmatrix` is one of 32 bits.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Axis, MatrixOperand, TileExpr, TileOp } from "../../tile/ir.ts";
import { operandExtent } from "../../tile/matrix-operand.ts";
import { isInRegisters } from "../../tile/walk.ts";
import { dtypes } from "../../types/dtype.ts";
import type { Register, Value } from "../ir.ts";
import { addPoly, atomPoly, type Poly } from "./algebra.ts";
import {
  assignmentKey,
  assignments,
  coordinateAtom,
  evaluatePoly,
  isRegister,
  type Assignment,
  type Context,
} from "./context.ts";
import { Group } from "./evaluate.ts";
import { fragmentsOf } from "./warpgroup.ts";

/** k of one instruction in bytes: `ldmatrix` moves rows of 16, whatever they hold. */
const depthBytes = 32;

export function lowerMma(cx: Context, op: Extract<TileOp, { kind: "mma" }>): void {
  const { b } = cx;
  // The order that `tile/schedule/fragments.ts` gives an accumulator.
  const [, , tileM, tileN, half, group, quad, pair] = op.acc.axes;
  invariant(
    tileM !== undefined &&
      tileN !== undefined &&
      half !== undefined &&
      group !== undefined &&
      quad !== undefined &&
      pair !== undefined,
    "the accumulator is no fragment of a matrix instruction",
  );
  const left = op.a;
  const { k } = operandExtent(op.b);
  const depth = depthBytes / dtypes[op.b.tile.dtype].bytes;
  const part = depth / 2;
  invariant(k % depth === 0, "k is whole instructions");
  invariant(isInRegisters(left) || left.order === "k", "rows of the left factor lie along k");
  if (!isInRegisters(left)) cx.hazards.read(left.tile);
  cx.hazards.read(op.b.tile);
  const lane = b.lane();
  const low = (value: Value, mask: number): Value => b.and(value, b.i32(mask));
  // Rows and k that a lane points ldmatrix at: 16 rows by two halves of k for a; for b two tiles of 8 rows.
  const aRow = low(lane, 15);
  const aColumn = b.mul(b.div(lane, b.i32(16)), b.i32(part));
  // Of what lies across k the lanes point at rows of k, and the matrices are turned.
  const isAlong = op.b.order === "k";
  const second = (size: number): Value => b.mul(low(b.div(lane, b.i32(8)), 1), b.i32(size));
  const last = (): Value => b.mul(b.div(lane, b.i32(16)), b.i32(8));
  const bRow = b.add(low(lane, 7), isAlong ? last() : second(8));
  const bColumn = isAlong ? second(part) : last();
  const fixed = [tileM, tileN, half, pair];
  const taken = isInRegisters(left)
    ? range(tileM.size).map((i) => fragmentsOf(cx, left.registers, i, k / depth))
    : [];

  for (let step = 0; step < k; step += depth) {
    const as = range(tileM.size).map((i) =>
      isInRegisters(left)
        ? (taken[i]?.[step / depth] ?? [])
        : fragmentRows(cx, left, {
            start: base(cx, op.m, at(fixed, [i, 0, 0, 0]), group, 1),
            row: aRow,
            column: aColumn,
            step,
          }),
    );
    const bs: Value[][] = [];
    for (let j = 0; j < tileN.size; j += 2) {
      const start = base(cx, op.n, at(fixed, [0, j, 0, 0]), quad, 2);
      const four = fragmentRows(cx, op.b, { start, row: bRow, column: bColumn, step });
      bs.push(four.slice(0, 2), four.slice(2, 4));
    }
    range(tileM.size).forEach((i) =>
      range(tileN.size).forEach((j) => {
        const [a, c] = [as[i], bs[j]];
        invariant(a !== undefined && c !== undefined, "fragments of the tile");
        b.instruction(op.instruction, accumulators(cx, op, at([tileM, tileN], [i, j])), [...a, ...c]);
      }),
    );
  }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, k) => k);
}

function at(axes: readonly Axis[], coordinates: readonly number[]): Assignment {
  return new Map(axes.map((axis, k) => [axis.id, coordinates[k] ?? 0]));
}

/** First row of the warp's tile: the accumulator's row without the lane's own part of it. */
function base(cx: Context, row: TileExpr, assignment: Assignment, lanes: Axis, stride: number): Poly {
  const [poly] = new Group(cx, [assignment], [undefined]).polys(row);
  invariant(poly !== undefined, "one register");
  return addPoly(poly, atomPoly(coordinateAtom(lanes)), -stride);
}

interface FragmentAddress {
  /** First row of the tile: of m or n. */
  readonly start: Poly;
  /** A lane's line and its place on it, from where the tile and the step along k begin. */
  readonly row: Value;
  readonly column: Value;
  readonly step: number;
}

/** Four matrices: of an operand along k, lines are rows; of one across k, which has one panel, lines are places of k. */
function fragmentRows(cx: Context, { tile, order }: MatrixOperand, address: FragmentAddress): Value[] {
  const { b } = cx;
  const buffer = cx.sharedOf(tile);
  const isAlong = order === "k";
  invariant(tile.shape.length === (isAlong ? 2 : 3) && (isAlong || tile.shape[0] === 1), "lines are whole");
  const width = (tile.shape.at(-1) ?? 0) + tile.pad;
  const own = b.add(b.mul(address.row, b.i32(width)), address.column);
  const start = evaluatePoly(cx, address.start, "i32");
  const warp = isAlong ? b.mul(start, b.i32(width)) : start;
  const index = b.add(b.add(own, warp), b.i32(isAlong ? address.step : address.step * width));
  const dst = range(4).map(() => b.result("h2", tile.name));
  invariant(isAlong || dtypes[tile.dtype].bytes === 2, "matrices of 16 bits are turned");
  b.instruction(isAlong ? "ldmatrix.x4" : "ldmatrix.x4.trans", dst, [{ buffer, index }]);
  return dtypes[tile.dtype].bytes === 4 ? dst.map((word) => b.bitcast(word, "u32", tile.name)) : dst;
}

/** The four registers of one instruction's accumulator: row halves, then neighbouring columns. */
function accumulators(cx: Context, op: Extract<TileOp, { kind: "mma" }>, tile: Assignment): Register[] {
  const held = cx.tiles.get(op.acc);
  const inner = op.acc.axes.filter((axis) => axis.place.kind === "register" && !tile.has(axis.id));
  return assignments(inner).map((within) => {
    const one = held?.get(assignmentKey(op.acc.axes, new Map([...tile, ...within])));
    invariant(one !== undefined && isRegister(one), "the accumulator changes in place");
    return one.register;
  });
}
