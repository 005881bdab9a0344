/**
 * Asynchronous products of a warpgroup (PTX ISA 9.7.15, "wgmma"): the right operand in shared memory, the left one
 * there too, or in registers as an accumulator lies, whose pairs are the instruction's fragment as they are.
 *
 * A descriptor says where an operand's tile begins and how far apart its groups of eight rows are; the steps along
 * k and the waves of 64 rows move it. Panels are 128 bytes wide and swizzled, groups of eight rows 1024 bytes apart.
 * Along k the next step is inside the panel's row. Across k it is 16 rows further, and the operand's other side goes
 * on in the next panel (PTX ISA 9.7.15.5.1, "Strides").
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Axis, MatrixOperand, Tile, TileExpr, TileOp } from "../../tile/ir.ts";
import { operandExtent } from "../../tile/matrix-operand.ts";
import { isInRegisters } from "../../tile/walk.ts";
import { dtypes } from "../../types/dtype.ts";
import type { Register, Value } from "../ir.ts";
import { addPoly, constantOfPoly, mulPoly, constantPoly, type Poly } from "./algebra.ts";
import {
  assignmentKey,
  assignments,
  evaluatePoly,
  isRegister,
  type Assignment,
  type Context,
} from "./context.ts";
import { Group } from "./evaluate.ts";

/** Bytes along k that one instruction takes of each operand. */
const depthBytes = 32;
const groupBytes = 1024;
/** A descriptor counts in these. */
const unit = 16;

export function lowerWarpgroupMma(cx: Context, op: Extract<TileOp, { kind: "mma" }>): void {
  const { b } = cx;
  const [warpgroup, warp, wave] = op.acc.axes;
  const [half, group, quad, pair] = op.acc.axes.slice(-4);
  // Columns have one axis or several.
  const columns = op.acc.axes.slice(3, -4);
  invariant(
    warpgroup !== undefined &&
      warp !== undefined &&
      wave !== undefined &&
      columns.length > 0 &&
      half !== undefined &&
      group !== undefined &&
      quad !== undefined &&
      pair !== undefined,
    "the accumulator is no fragment of a warpgroup's instruction",
  );
  const lanes = [warp, group, quad];
  const fixed = [wave, ...columns, half, pair];
  const rowAt = (expr: TileExpr, waveNumber: number): Poly =>
    rowOf(cx, expr, new Map(fixed.map((axis) => [axis.id, axis === wave ? waveNumber : 0])), lanes);
  const accumulate = accumulates(cx, op.accumulate);
  const { k } = operandExtent(op.b);
  const depth = depthOf(op.b);

  // What is in registers is taken before the fence, which orders it before the product.
  const { a } = op;
  const taken = isInRegisters(a)
    ? Array.from({ length: wave.size }, (_, i) => fragmentsOf(cx, a.registers, i, k / depth))
    : [];
  b.instruction("wgmma.fence", [], []);
  const pieces = piecesOf(op.instruction, cx.program.threads);
  const rights = pieces.map(({ first }) =>
    operandSteps(cx, op.b, addPoly(rowAt(op.n, 0), constantPoly(first))),
  );
  const waves = Array.from({ length: wave.size }, (_, i) => ({
    left: isInRegisters(a) ? (step: number) => taken[i]?.[step] ?? [] : memorySteps(cx, a, rowAt(op.m, i)),
    registers: accumulators(cx, op, new Map([[wave.id, i]])),
  }));
  for (let step = 0; step < k / depth; step += 1) {
    const more = step === 0 ? accumulate : b.bool(true);
    for (const { left, registers } of waves)
      for (const [p, { name }] of pieces.entries()) {
        const own = registers.length / pieces.length;
        const right = rights[p]?.(step);
        invariant(right !== undefined, "each piece has a right operand");
        b.instruction(name, registers.slice(p * own, (p + 1) * own), [...left(step), right, more]);
      }
  }
  b.instruction("wgmma.commit", [], []);
}

const registerFile = 65536;
/** What ptxas wants of a thread beside an instruction's sums. */
const besideSums = 30;

/**
 * An instruction, or two of half its columns: ptxas takes none that needs more registers than a thread has when the
 * block begins, whatever its role has by then.
 */
function piecesOf(
  name: string,
  threads: number,
): readonly { readonly name: string; readonly first: number }[] {
  const columns = Number(/^wgmma\.m64n(\d+)k/.exec(name)?.[1]);
  if (columns / 2 + besideSums <= registerFile / threads || columns % 16 !== 0) return [{ name, first: 0 }];
  const half = name.replace(`n${columns}`, `n${columns / 2}`);
  return [0, columns / 2].map((first) => ({ name: half, first }));
}

/** k of one instruction. */
function depthOf({ tile }: MatrixOperand): number {
  return depthBytes / dtypes[tile.dtype].bytes;
}

function accumulates(cx: Context, expr: TileExpr | undefined): Value {
  if (expr === undefined) return cx.b.bool(true);
  const [value] = new Group(cx, [new Map()], [undefined]).values(expr);
  invariant(value !== undefined, "one condition");
  return value;
}

/** First row of a warpgroup's wave: the row without the lanes' own parts of it. */
function rowOf(cx: Context, expr: TileExpr, at: Assignment, lanes: readonly Axis[]): Poly {
  const still = new Set(lanes.map((axis) => `coordinate ${axis.id}`));
  const [poly] = new Group(cx, [at], [undefined]).polys(expr);
  invariant(poly !== undefined, "one row");
  let rest: Poly = poly;
  for (const [key, term] of poly) {
    if (still.has(key)) rest = addPoly(rest, new Map([[key, term]]), -1);
  }
  return rest;
}

function memorySteps(cx: Context, operand: MatrixOperand, row: Poly): (step: number) => Value[] {
  const at = operandSteps(cx, operand, row);
  return (step) => [at(step)];
}

/**
 * The registers of each step along k: two tiles of eight columns, of each the upper and the lower rows (PTX ISA
 * 9.7.15.5.1.1, "Register fragments for wgmma.mma_async.m64nNk16").
 */
export function fragmentsOf(cx: Context, tile: Tile, waveNumber: number, steps: number): Value[][] {
  const [, , wave, tileN, half, , , pair] = tile.axes;
  invariant(
    wave !== undefined && tileN !== undefined && half !== undefined && pair !== undefined,
    "a left operand lies as an accumulator does",
  );
  const held = cx.tiles.get(tile);
  const places = [0, 1].flatMap((next) => [0, 1].map((lower) => ({ next, lower })));
  return Array.from({ length: steps }, (_, step) =>
    places.map(({ next, lower }) => {
      const at = new Map([
        [wave.id, waveNumber],
        [tileN.id, 2 * step + next],
        [half.id, lower],
        [pair.id, 0],
      ]);
      const one = held?.get(assignmentKey(tile.axes, at));
      invariant(one !== undefined && isRegister(one), `${tile.name} is held in registers`);
      return cx.b.get(one.register);
    }),
  );
}

/** The descriptor of each step along k, for the rows that begin at `row`. */
function operandSteps(cx: Context, operand: MatrixOperand, row: Poly): (step: number) => Value {
  const { b } = cx;
  const { tile, order, isOldest } = operand;
  const buffer = cx.sharedOf(tile);
  const bytes = dtypes[tile.dtype].bytes;
  const [panels = 1, rows = 1, width = 1] = tile.shape;
  const panelBytes = rows * width * bytes;
  const depth = depthOf(operand);
  invariant(order === "k" || bytes === 2, "operands of 8 bits lie along k");
  invariant(
    width * bytes === tile.swizzle && tile.swizzle === 128,
    `${tile.name} is made of swizzled panels`,
  );
  const constantRow = constantOfPoly(row);
  // Rows of an operand that lies across k go on in the next panel: whole panels alone can be told by a descriptor.
  const start =
    order === "k"
      ? mulPoly(row, constantPoly(width))
      : mulPoly(wholePanels(row, width), constantPoly(rows * width));
  invariant(
    order === "k" || constantRow === undefined || constantRow % width === 0,
    "a wave is whole panels",
  );
  const base = b.descriptor(buffer, evaluatePoly(cx, start, "i32"), {
    leading: order === "k" ? unit : panelBytes,
    stride: groupBytes,
    swizzle: tile.swizzle,
  });
  const slot = cx.channels.slot(cx, tile, isOldest);
  const slotUnits = b.i32((panels * panelBytes) / unit);
  const here = slot === undefined ? base : b.add(base, b.convert(b.mul(slot, slotUnits), "i64"));
  const stepBytes = (step: number): number => {
    if (order === "mn") return step * depth * width * bytes;
    const along = step * depth;
    return Math.floor(along / width) * panelBytes + (along % width) * bytes;
  };
  return (step) => b.add(here, b.constant("i64", BigInt(stepBytes(step) / unit)));
}

/** A row number that is a multiple of a panel's width, in panels. */
function wholePanels(row: Poly, width: number): Poly {
  const panels = new Map(row);
  for (const [key, term] of row) {
    invariant(term.coefficient % width === 0, "a wave is whole panels");
    panels.set(key, { ...term, coefficient: term.coefficient / width });
  }
  return panels;
}

/** A wave's registers in the order of the instruction's fragment. */
function accumulators(cx: Context, op: Extract<TileOp, { kind: "mma" }>, at: Assignment): Register[] {
  const held = cx.tiles.get(op.acc);
  const inner = op.acc.axes.filter((axis) => axis.place.kind === "register" && !at.has(axis.id));
  return assignments(inner).map((within) => {
    const one = held?.get(assignmentKey(op.acc.axes, new Map([...at, ...within])));
    invariant(one !== undefined && isRegister(one), "the accumulator changes in place");
    return one.register;
  });
}
