/**
 * The sweep schedule: rows by columns. It serves every loop that is no tiled contraction: pointwise work, a
 * reduction along any axis, linked reductions (each a sweep over the row), results over rows and over all axes.
 *
 * Rows are the loop's parallel axes, columns its reduced ones, both flattened. A block holds `rows x columns`:
 *
 *     column = (chunk * u + j) * (t * v) + lane * v + k      j: registers, lane: threads, k: one wide access
 *
 * Where the columns of a row fit the registers there is one chunk, and what a sweep read is still there for the
 * next (the row is loaded once). Else each sweep loops over chunks. Where memory runs along the rows instead, the
 * wide accesses and the neighbouring threads lie along the rows.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import type { LoopNode, LoopResult } from "../../tensor/ir.ts";
import { ceildiv, constant, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Axis, GlobalBuffer, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { constantOf, sweepsOf, volume } from "./analysis.ts";
import { declareBuffers, type KernelSource } from "./source.ts";
import { translator } from "./translate.ts";

/** Extents of a block's tile; the schedule's free numbers. */
export interface SweepShape {
  /** Along the rows: threads, unrolled registers, width of an access. */
  readonly rows: Side;
  readonly columns: Side;
  /** All columns at once. */
  readonly resident: boolean;
  /** Which side neighbouring threads lie along. */
  readonly along: "rows" | "columns";
}

export interface Side {
  readonly threads: number;
  readonly unroll: number;
  readonly vector: number;
}

export function sweepProgram(source: KernelSource<LoopNode>, shape: SweepShape): TileProgram {
  const loop = source.node;
  const b = new t.TileBuilder();
  const buffers = declareBuffers(b, source);

  const rowCount = volume(loop.axes);
  const columnCount = volume(loop.over);
  const alongRows = shape.along === "rows";
  const rowAxes = sideAxes(b, "row", shape.rows, alongRows ? 1 : shape.columns.threads);
  const columnAxes = sideAxes(b, "col", shape.columns, alongRows ? shape.rows.threads : 1);
  const threads = shape.rows.threads * shape.columns.threads;

  const rowTile = extentOf(shape.rows);
  const columnTile = extentOf(shape.columns);
  const blocks = b.counter("block", ceildiv(rowCount, constant(rowTile)));
  const chunks = b.counter(
    "chunk",
    shape.resident ? constant(1) : ceildiv(columnCount, constant(columnTile)),
  );

  const row = position(t.at(blocks), shape.rows, rowAxes);
  const column = position(t.at(chunks), shape.columns, columnAxes);
  const rowGuard = guard(row, rowCount, rowTile);
  const columnGuard = loop.over.length === 0 ? undefined : guard(column, columnCount, columnTile);

  // Flattened rows follow the first result's order, so that stores run along memory.
  const order = rowOrder(loop);
  const rowIndices = t.unflatten(
    row,
    order.map((k) => axisExtent(loop, k)),
  );
  const axes: TileExpr[] = [];
  order.forEach((k, i) => {
    axes[k] = rowIndices[i] ?? t.int(0);
  });
  axes.push(
    ...t.unflatten(
      column,
      loop.over.map((axis) => axis.extent),
    ),
  );

  const sweeps = sweepsOf(loop);
  const carriers: (TileExpr | undefined)[] = loop.carriers.map(() => undefined);
  const body: TileOp[] = [];
  const inChunks = (ops: TileOp[]): void => {
    if (shape.resident) body.push(...ops);
    else
      body.push({
        kind: "for",
        counter: chunks,
        from: undefined,
        below: undefined,
        body: ops,
        unroll: false,
      });
  };

  const partialAxes = [...rowAxes, ...columnAxes.filter((axis) => axis.place.kind === "thread")];
  const foldAxes = columnAxes.filter((axis) => axis.place.kind === "register");
  const reduceAxes = columnAxes.filter((axis) => axis.place.kind === "thread" && axis.size > 1);
  for (let sweep = 0; sweep <= Math.max(-1, ...sweeps); sweep += 1) {
    const translate = translator({ axes, carriers, inputs: buffers.inputs });
    const folds: TileOp[] = [];
    const after: TileOp[] = [];
    loop.carriers.forEach((carrier, k) => {
      if (sweeps[k] !== sweep) return;
      const monoid = monoidOf(carrier.monoid);
      const partial = b.tile(`${carrier.name}_part`, carrier.lift.type, partialAxes);
      const identity = monoid.identity(carrier.lift.type);
      body.push({
        kind: "var",
        tile: partial,
        init: { kind: "const", type: carrier.lift.type, value: identity },
      });
      folds.push({
        kind: "fold",
        tile: partial,
        monoid: carrier.monoid,
        expr: translate(carrier.lift),
        over: foldAxes,
        where: t.both(rowGuard, columnGuard),
      });
      const total = b.tile(carrier.name, carrier.lift.type, rowAxes);
      after.push({ kind: "reduce", tile: total, src: partial, monoid: carrier.monoid, over: reduceAxes });
      carriers[k] = t.valueOf(total);
    });
    inChunks(folds);
    body.push(...after);
  }

  const translate = translator({ axes, carriers, inputs: buffers.inputs });
  const stores = (results: readonly (readonly [LoopResult, GlobalBuffer])[], everywhere: boolean): TileOp[] =>
    results.map(([result, buffer]) => ({
      kind: "store",
      buffer,
      index: result.axes.map((k) => axes[k] ?? t.int(0)),
      expr: translate(result.value),
      axes: !everywhere ? rowAxes : alongRows ? [...columnAxes, ...rowAxes] : [...rowAxes, ...columnAxes],
      where: everywhere
        ? t.both(rowGuard, columnGuard)
        : t.both(rowGuard, firstAlongOthers(loop, result, axes)),
      bounds: "proved",
    }));
  const overAll = (result: LoopResult): boolean =>
    result.axes.length > loop.axes.length || loop.over.length === 0;
  const pairs = loop.results.map((result, k): readonly [LoopResult, GlobalBuffer] => {
    const buffer = buffers.outputs[k];
    invariant(buffer !== undefined, "each result has a buffer");
    return [result, buffer];
  });
  body.push(
    ...stores(
      pairs.filter(([result]) => !overAll(result)),
      false,
    ),
  );
  const everywhere = stores(
    pairs.filter(([result]) => overAll(result)),
    true,
  );
  if (everywhere.length > 0) inChunks(everywhere);

  return {
    name: source.name,
    summary: source.summary,
    threads,
    blocks: [blocks],
    buffers: b.buffers,
    shared: b.shared,
    channels: b.channels,
    body,
  };
}

/** Of a result along fewer axes than the loop's, which is the same along the others: that those are at their first. */
function firstAlongOthers(
  loop: LoopNode,
  result: LoopResult,
  axes: readonly TileExpr[],
): TileExpr | undefined {
  return loop.axes.reduce<TileExpr | undefined>(
    (all, _, k) => (result.axes.includes(k) ? all : t.both(all, t.less(axes[k] ?? t.int(0), t.int(1)))),
    undefined,
  );
}

function extentOf(side: Side): number {
  return side.threads * side.unroll * side.vector;
}

/** Axes of one side, slowest first. */
function sideAxes(b: t.TileBuilder, name: string, side: Side, stride: number): Axis[] {
  const axes: Axis[] = [];
  axes.push(b.registerAxis(`${name}_u`, side.unroll));
  axes.push(b.threadAxis(`${name}_t`, side.threads, stride));
  axes.push(b.registerAxis(`${name}_v`, side.vector));
  return axes;
}

function position(tile: TileExpr, side: Side, axes: readonly Axis[]): TileExpr {
  const [unroll, thread, vector] = axes;
  invariant(unroll !== undefined && thread !== undefined && vector !== undefined, "a side has three axes");
  const step = side.threads * side.vector;
  return t.plus(
    t.plus(t.times(tile, t.int(step * side.unroll)), t.times(t.along(unroll), t.int(step))),
    t.plus(t.times(t.along(thread), t.int(side.vector)), t.along(vector)),
  );
}

function guard(index: TileExpr, count: Dim, tile: number): TileExpr | undefined {
  const known = constantOf(count);
  if (tile === 1 || (known !== undefined && known % tile === 0)) return undefined;
  return t.less(index, t.size(count));
}

function axisExtent(loop: LoopNode, k: number): Dim {
  const axis = loop.axes[k] ?? loop.over[k - loop.axes.length];
  invariant(axis !== undefined, `no axis ${k}`);
  return axis.extent;
}

export function rowOrder(loop: LoopNode): number[] {
  const first = loop.results[0];
  const parallel = (first?.axes ?? []).filter((k) => k < loop.axes.length);
  return parallel.length === loop.axes.length ? parallel : loop.axes.map((_, k) => k);
}
