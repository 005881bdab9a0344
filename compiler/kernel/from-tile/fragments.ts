/**
 * Products by matrix instructions whose fragments are opaque: an accumulator is a matrix-typed register for each
 * assignment of its register axes, factors are loaded from panels of shared memory, and sums are stored to one.
 *
 * A panel belongs to a band of rows that one subgroup multiplies, so that within it every place is known when the
 * kernel is compiled. Which band that is, the subgroup's own number tells: nobody says how threads are dealt to
 * subgroups, and all that threads do by themselves with the same shared memory stands behind a barrier.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Axis, MatrixOperand, SharedTile, Tile, TileExpr, TileOp } from "../../tile/ir.ts";
import { operandExtent, type OperandExtent } from "../../tile/matrix-operand.ts";
import { visitOps } from "../../tile/walk.ts";
import { instructionOf } from "../instructions.ts";
import { matrixLoad } from "../instructions/subgroup-matrix.ts";
import type { Register, Value } from "../ir.ts";
import { splitConstant } from "./algebra.ts";
import {
  assignmentKey,
  assignments,
  evaluatePoly,
  isRegister,
  registerHint,
  type Assignment,
  type Context,
  type Held,
} from "./context.ts";
import { Group } from "./evaluate.ts";

/** Rows, columns and depth of one instruction. */
const side = 16;

export function isFragment(tile: Tile): boolean {
  return tile.axes.some((axis) => axis.place.kind === "fragment");
}

/** Whether an op multiplies opaque fragments. */
export function multipliesFragments(op: Extract<TileOp, { kind: "mma" }>): boolean {
  return instructionOf(op.instruction).results.includes("matrix-result");
}

/** Shared tiles that matrices are loaded from and stored to. */
export function panelledTiles(ops: readonly TileOp[]): ReadonlySet<SharedTile> {
  const found = new Set<SharedTile>();
  visitOps(ops, (op) => {
    if (op.kind === "mma" && multipliesFragments(op))
      for (const { tile } of [sharedOperand(op), op.b]) found.add(tile);
    if (op.kind === "put" && fragmentOf(op.expr) !== undefined) found.add(op.shared);
  });
  return found;
}

function sharedOperand({ a }: Extract<TileOp, { kind: "mma" }>): MatrixOperand {
  invariant("tile" in a, "factors of fragments come from shared memory");
  return a;
}

/** Elements of a place on the tile's first axis. */
export function panelLength({ shape, pad }: SharedTile): number {
  const [, ...inner] = shape;
  const last = inner.at(-1) ?? 1;
  return inner.slice(0, -1).reduce((product, extent) => product * extent, 1) * (last + pad);
}

export function fragmentOf(expr: TileExpr): Tile | undefined {
  return expr.kind === "tile" && isFragment(expr.tile) ? expr.tile : undefined;
}

export function declareFragments(cx: Context, { tile, init }: Extract<TileOp, { kind: "var" }>): void {
  invariant(init?.kind === "const" && init.value === 0, `${tile.name} begins as zero`);
  const held = new Map<string, Value | Held>();
  for (const assignment of assignments(tile.axes)) {
    const register = cx.b.open("matrix-result", registerHint(tile, assignment));
    cx.b.instruction("matrix.zero.f32", [register], []);
    held.set(assignmentKey(tile.axes, assignment), { register });
  }
  cx.tiles.set(tile, held);
}

export function lowerFragmentMma(cx: Context, op: Extract<TileOp, { kind: "mma" }>): void {
  const { b } = cx;
  const [subgroupM, subgroupN, tileM, tileN] = op.acc.axes;
  invariant(
    subgroupM !== undefined && subgroupN !== undefined && tileM !== undefined && tileN !== undefined,
    "the accumulator has subgroups and tiles along both sides",
  );
  invariant(op.accumulate === undefined, "sums of fragments begin as zero");
  const a = sharedOperand(op);
  const [left, right] = [bandsOf(a, subgroupM), bandsOf(op.b, subgroupN)];
  invariant(left.k === right.k && left.k % side === 0, "k is whole instructions");
  const [leftRows, rightRows] = [
    rowsOf(cx, op.m, [tileM, tileN], left.rows),
    rowsOf(cx, op.n, [tileN, tileM], right.rows),
  ];
  cx.hazards.read(a.tile);
  cx.hazards.read(op.b.tile);
  const [leftPanel, rightPanel] = [ofSubgroup(cx, subgroupM), ofSubgroup(cx, subgroupN)];
  for (let step = 0; step < left.k; step += side) {
    const lefts = leftRows.map((row) => load(cx, a, { factor: "left", panel: leftPanel, row, step }));
    const rights = rightRows.map((row) => load(cx, op.b, { factor: "right", panel: rightPanel, row, step }));
    lefts.forEach((own, i) =>
      rights.forEach((c, j) => {
        const at = new Map([
          [tileM.id, i],
          [tileN.id, j],
        ]);
        b.instruction(op.instruction, [registerOf(cx, op.acc, at)], [own, c]);
      }),
    );
  }
}

/** Stores each fragment of which `where` holds to its subgroup's panel. */
export function putFragments(cx: Context, op: Extract<TileOp, { kind: "put" }>, tile: Tile): void {
  const { b } = cx;
  const [panel, row, column] = op.index;
  const [rows, columns] = tile.axes.slice(-2);
  invariant(
    panel !== undefined && isCoordinate(row, rows) && isCoordinate(column, columns),
    `${tile.name} is put as [subgroup, row, column]`,
  );
  cx.hazards.write(op.shared);
  for (const assignment of assignments(op.axes)) {
    if (!holdsAt(cx, op.where, assignment)) continue;
    const number = bySubgroup(cx, tile.axes, () => {
      const [poly] = new Group(cx, [assignment], [undefined]).polys(panel);
      invariant(poly !== undefined, "one subgroup");
      return evaluatePoly(cx, poly, "i32");
    });
    const stride = (op.shared.shape[2] ?? 0) + op.shared.pad;
    const place = { matrix: cx.sharedOf(op.shared), panel: number, offset: 0, stride };
    b.instruction("matrix.store.f32", [registerOf(cx, tile, assignment)], [place]);
  }
}

function holdsAt(cx: Context, where: TileExpr | undefined, assignment: Assignment): boolean {
  if (where === undefined) return true;
  const [value] = new Group(cx, [assignment], [undefined]).values(where);
  const holds = value === undefined ? undefined : cx.b.constantOf(value);
  invariant(typeof holds === "boolean", "which fragment is put is known");
  return holds;
}

function isCoordinate(expr: TileExpr | undefined, axis: Axis | undefined): boolean {
  return expr?.kind === "coordinate" && expr.axis === axis;
}

/** What the subgroup's number says of a thread axis. */
function ofSubgroup(cx: Context, axis: Axis): Value {
  const { b, caps } = cx;
  if (axis.size === 1) return b.i32(0);
  invariant(
    axis.place.kind === "thread" && axis.place.stride % caps.subgroup === 0,
    `${axis.name} is the same in all of a subgroup`,
  );
  const quotient = b.div(b.subgroup(), b.i32(axis.place.stride / caps.subgroup));
  const isTop = axis.place.stride * axis.size === cx.team.threads;
  return b.bound(isTop ? quotient : b.rem(quotient, b.i32(axis.size), axis.name), 0, axis.size - 1);
}

/** Runs `make` with the coordinates that are one for a subgroup taken from its number. */
function bySubgroup(cx: Context, axes: readonly Axis[], make: () => Value): Value {
  const changed = axes.filter(
    ({ place, size }) => place.kind === "thread" && size > 1 && place.stride % cx.caps.subgroup === 0,
  );
  for (const axis of changed) cx.common.set(axis, ofSubgroup(cx, axis));
  const value = make();
  for (const axis of changed) cx.common.delete(axis);
  return value;
}

/** Each band is of one subgroup along its side. */
function bandsOf(operand: MatrixOperand, subgroups: Axis): OperandExtent {
  const { rows, k } = operandExtent(operand);
  const isBanded = operand.order !== "k" && operand.tile.shape[0] === subgroups.size;
  invariant(isBanded, `${operand.tile.name} has a band a subgroup`);
  return { rows: rows / subgroups.size, k };
}

/** The first row, in its band, of each of the matrices along an axis. */
function rowsOf(
  cx: Context,
  row: TileExpr,
  [along, other]: readonly [along: Axis, other: Axis],
  band: number,
): number[] {
  return Array.from({ length: along.size }, (_, i) => {
    const at = new Map([
      [along.id, i],
      [other.id, 0],
    ]);
    const [poly] = new Group(cx, [at], [undefined]).polys(row);
    invariant(poly !== undefined, "one matrix");
    const { constant } = splitConstant(poly);
    invariant(constant % side === 0 && constant + side <= band, `row ${constant} of a band of ${band}`);
    return constant;
  });
}

interface FactorPlace {
  readonly factor: "left" | "right";
  readonly panel: Value;
  /** Of the band's rows, the matrix's first. */
  readonly row: number;
  readonly step: number;
}

function load(cx: Context, { tile, order }: MatrixOperand, at: FactorPlace): Value {
  const { b } = cx;
  const stride = (tile.shape[2] ?? 0) + tile.pad;
  const isAlongK = order === "bands";
  const offset = isAlongK ? at.row * stride + at.step : at.step * stride + at.row;
  // The left factor's rows are m, the right one's are k.
  const major = isAlongK === (at.factor === "left") ? "row" : "column";
  const loaded = b.result(at.factor === "left" ? "matrix-left" : "matrix-right", tile.name);
  const place = { matrix: cx.sharedOf(tile), panel: at.panel, offset, stride };
  b.instruction(matrixLoad(at.factor, major), [loaded], [place]);
  return loaded;
}

function registerOf(cx: Context, tile: Tile, assignment: Assignment): Register {
  const held = cx.tiles.get(tile)?.get(assignmentKey(tile.axes, assignment));
  invariant(held !== undefined && isRegister(held), `tile ${tile.name} does not change`);
  return held.register;
}
