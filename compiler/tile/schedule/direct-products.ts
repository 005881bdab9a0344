/**
 * Products of a cascade with one thread a block, who has nobody to share with: factors are read where they are
 * multiplied, what the loop makes from where it was put.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { constant, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Counter, SharedTile, Tile, TileExpr, TileOp } from "../ir.ts";
import { volume } from "./analysis.ts";
import type { InnerFactors } from "./cascade-parts.ts";
import type { ProductUnit, UnitShape } from "./cascade-units.ts";
import { multiplyAdd } from "./contraction.ts";
import type { Fragment } from "./fragments.ts";
import { guard, type Matrices } from "./matrices.ts";
import type { DeclaredBuffers } from "./source.ts";
import { translator } from "./translate.ts";

/** Where a block's tile of a cascade is, and what holds it. */
export interface CascadeFrame {
  readonly b: t.TileBuilder;
  readonly loop: LoopNode;
  readonly buffers: DeclaredBuffers;
  readonly matrices: Matrices;
  readonly unit: ProductUnit;
  readonly shape: UnitShape;
  readonly mBase: TileExpr;
  readonly nBase: TileExpr;
  readonly axesAt: ReturnType<Matrices["axesAt"]>;
}

interface DirectFactor {
  readonly side: Fragment["m"];
  readonly expr: TileExpr;
  readonly where: TileExpr | undefined;
}

const zero: TileExpr = { kind: "const", type: "f32", value: 0 };

/** acc += a product inside bodies, of the places of the swept axis from `start` on. */
export function scoreDirectly(
  frame: CascadeFrame,
  { left, right, axes }: InnerFactors,
  acc: Tile,
  start: TileExpr,
): TileOp {
  const { b, loop, matrices, unit, shape, mBase, axesAt } = frame;
  const { inner } = unit;
  const { rows, block } = shape;
  const { mCount, kCount } = matrices;
  const k = b.counter("k", depthOf(loop, axes));
  const [row, place] = [t.plus(mBase, inner.m.row), t.plus(start, inner.n.row)];
  const a = read(frame, left, insideAt(loop, axesAt(row, t.int(0), t.int(0)), axes, t.at(k)));
  const c = read(frame, right, insideAt(loop, axesAt(t.int(0), t.int(0), place), axes, t.at(k)));
  return directly(
    frame,
    k,
    acc,
    { side: inner.m, expr: a, where: guard(row, mCount, rows) },
    { side: inner.n, expr: c, where: guard(place, kCount, block) },
  );
}

/** acc += the block's part of a sum, whose left factor is `[place of the block][row]`. */
export function sumDirectly(
  frame: CascadeFrame,
  left: SharedTile,
  right: Scalar,
  acc: Tile,
  start: TileExpr,
): TileOp {
  const { b, matrices, unit, shape, nBase, axesAt } = frame;
  const { outer } = unit;
  const { block, columns } = shape;
  const { nCount, kCount } = matrices;
  const k = b.counter("k", constant(block));
  const place = t.plus(start, t.at(k));
  const column = t.plus(nBase, outer.n.row);
  const made: TileExpr = { kind: "shared", type: "f32", tile: left, index: [t.at(k), outer.m.row] };
  return directly(
    frame,
    k,
    acc,
    { side: outer.m, expr: made, where: undefined },
    {
      side: outer.n,
      expr: read(frame, right, axesAt(t.int(0), column, place)),
      where: t.both(guard(column, nCount, columns), guard(place, kCount, block)),
    },
  );
}

function read({ buffers }: CascadeFrame, factor: Scalar, axes: readonly TileExpr[]): TileExpr {
  return translator({ axes, carriers: [], inputs: buffers.inputs })(factor);
}

function directly(
  { b }: CascadeFrame,
  k: Counter,
  acc: Tile,
  left: DirectFactor,
  right: DirectFactor,
): TileOp {
  const taken = ({ side, expr, where }: DirectFactor, name: string): { op: TileOp; value: TileExpr } => {
    const tile = b.tile(name, "f32", side.axes);
    return { op: { kind: "let", tile, expr, where, otherwise: zero }, value: t.valueOf(tile) };
  };
  const [a, c] = [taken(left, "a"), taken(right, "b")];
  return repeated(k, [a.op, c.op, multiplyAdd(acc, a.value, c.value)]);
}

export function repeated(counter: Counter, body: readonly TileOp[]): TileOp {
  return { kind: "for", counter, from: undefined, below: undefined, unroll: false, body };
}

/** How many elements a product inside bodies sums. */
export function depthOf(loop: LoopNode, axes: readonly number[]): Dim {
  return volume(axes.map((axis) => innerAxis(loop, axis)));
}

/** Index expressions of a point, and of a place along the axes that are summed inside. */
export function insideAt(
  loop: LoopNode,
  point: readonly TileExpr[],
  axes: readonly number[],
  k: TileExpr,
): TileExpr[] {
  const all = [...point];
  const places = t.unflatten(
    k,
    axes.map((axis) => innerAxis(loop, axis).extent),
  );
  axes.forEach((axis, i) => (all[axis] = places[i] ?? t.int(0)));
  return all;
}

function innerAxis(loop: LoopNode, axis: number): LoopNode["inner"][number] {
  const found = loop.inner[axis - loop.axes.length - loop.over.length];
  invariant(found !== undefined, `axis ${axis} is inside bodies`);
  return found;
}
