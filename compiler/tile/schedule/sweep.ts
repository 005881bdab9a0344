/**
 * The sweep schedule: rows by columns. It serves every loop that is no tiled contraction: pointwise work, a
 * reduction along any axis, linked reductions (each a sweep over the row), results over rows and over all axes.
 *
 * Rows are the loop's parallel axes, columns its reduced ones, both flattened. A block holds `rows x columns`:
 *
 *     column = (chunk * u + j) * (t * v) + lane * v + k      j: registers, lane: threads, k: one wide access
 *
 * Where the columns of a row fit the registers there is one chunk, and what a sweep read is still there for the
 * next (the row is loaded once). Else each sweep loops over chunks, or linked reductions share one (`followed.ts`).
 * Where memory runs along the rows instead, the wide accesses and the neighbouring threads lie along the rows. A
 * reduction inside a body, over the places of a block, is one over the neighbouring threads that hold the block.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import type { LoopNode, LoopResult, Scalar } from "../../tensor/ir.ts";
import { reachable } from "../../tensor/scalars.ts";
import { ceildiv, constant, min, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Axis, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { partition } from "../partition.ts";
import { constantOf, sweepsOf, volume } from "./analysis.ts";
import { followed } from "./followed.ts";
import { resultPlace } from "./places.ts";
import { declareBuffers, type KernelSource } from "./source.ts";
import { bringRows, copyThreads, type BroughtRow } from "./sweep-rows.ts";
import { translator } from "./translate.ts";

/** Extents of a block's tile; the schedule's free numbers. */
export interface SweepShape {
  /** Along the rows: threads, unrolled registers, width of an access. */
  readonly rows: Side;
  readonly columns: Side;
  /** All columns at once. */
  readonly resident: boolean;
  /** Linked reductions in one sweep, each thread's part following what it uses. */
  readonly follows: boolean;
  /** Which side neighbouring threads lie along. */
  readonly along: "rows" | "columns";
  /** Whole rows that a role brings to blocks that stay, so many slots ahead; undefined: every thread loads its own. */
  readonly brought?: Brought | undefined;
  /** Blocks that shall fit on a unit at once; undefined: as many as come of it. */
  readonly fitting?: number | undefined;
}

export interface Brought {
  readonly rows: readonly BroughtRow[];
  readonly depth: number;
  /** Blocks that run at once. */
  readonly workers: number;
  readonly vectorBytes: number;
}

export interface Side {
  readonly threads: number;
  readonly unroll: number;
  readonly vector: number;
  /** Neighbouring threads that hold a block, where bodies reduce blocks; undefined: they do not. */
  readonly together?: number | undefined;
  /** Accesses of such a thread to a block, where they are several: between them lie those of the others. */
  readonly within?: number | undefined;
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
  const inBlock = shape.columns.together === undefined ? 0 : accessesWithin(shape.columns) > 1 ? 3 : 2;
  const blockAxes = columnAxes.slice(0, columnAxes.length - inBlock);
  const firstOfBlock = position(t.at(chunks), shape.columns, blockAxes);
  const rowGuard = guard(row, rowCount, rowTile);
  const columnGuard = loop.over.length === 0 ? undefined : guard(column, columnCount, columnTile);
  const blockGuard = loop.over.length === 0 ? undefined : guard(firstOfBlock, columnCount, columnTile);

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
  const along = (place: TileExpr): TileExpr[] =>
    t.unflatten(
      place,
      loop.over.map((axis) => axis.extent),
    );
  const rowPlaces = [...axes];
  axes.push(...along(column));
  // What is reduced inside a body runs over the places of the block that a point is in; where there are no blocks, over
  // an axis of each row's own, which is short and in registers.
  const reducesBlocks = shape.columns.together !== undefined;
  const innerAxes = reducesBlocks
    ? []
    : loop.inner.map(({ name, extent }) => b.registerAxis(name, constantOf(extent) ?? 0));
  const onPoint = axes.at(-1) ?? t.int(0);
  axes.push(...(reducesBlocks ? loop.inner.map(() => onPoint) : innerAxes.map(t.along)));
  const firstInner = loop.axes.length + loop.over.length;

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

  const axesAt = (rowAt: TileExpr, columnAt: TileExpr): TileExpr[] => {
    const places = t.unflatten(
      rowAt,
      order.map((k) => axisExtent(loop, k)),
    );
    const all: TileExpr[] = [];
    order.forEach((k, i) => (all[k] = places[i] ?? t.int(0)));
    return [...all, ...along(columnAt)];
  };
  const rows =
    shape.brought === undefined
      ? undefined
      : bringRows(shape.brought.rows, {
          b,
          loop,
          buffers,
          rows: rowTile,
          columns: columnTile,
          base: t.times(t.at(blocks), t.int(rowTile)),
          rowCount,
          columnCount,
          depth: shape.brought.depth,
          vectorBytes: shape.brought.vectorBytes,
          axesAt,
          axes: [...rowAxes, ...columnAxes],
          row: position(t.int(0), shape.rows, rowAxes),
          column,
        });
  body.push(...(rows?.ops ?? []));

  /** Reductions along axes of rows, each made once its carriers are known, after those that it uses. */
  const made = new Map<Scalar, TileExpr>(rows?.held);
  const translateNow = (roots: readonly Scalar[]): ((scalar: Scalar) => TileExpr) => {
    for (const scalar of reducesBlocks ? [] : reachable(roots)) {
      if (scalar.kind !== "reduce" || made.has(scalar)) continue;
      const tile = b.tile(scalar.monoid, scalar.type, rowAxes);
      const value = monoidOf(scalar.monoid).identity(scalar.type);
      const expr = translator({ axes, carriers, inputs: buffers.inputs, made })(scalar.arg);
      const over = scalar.axes.flatMap((axis) => innerAxes[axis - firstInner] ?? []);
      body.push(
        { kind: "var", tile, init: { kind: "const", type: scalar.type, value } },
        { kind: "fold", tile, monoid: scalar.monoid, expr, over, where: rowGuard },
      );
      made.set(scalar, t.valueOf(tile));
    }
    return translator({ axes, carriers, inputs: buffers.inputs, made });
  };

  const partialAxes = [...rowAxes, ...columnAxes.filter((axis) => axis.place.kind === "thread")];
  const foldAxes = columnAxes.filter((axis) => axis.place.kind === "register");
  const reduceAxes = columnAxes.filter((axis) => axis.place.kind === "thread" && axis.size > 1);
  if (shape.follows) {
    const one = followed({
      b,
      arena: source.arena,
      loop,
      partAxes: partialAxes,
      threadAxes: reduceAxes,
      rowAxes,
      foldAxes,
      rowGuard,
      translate: (values) => translator({ axes, carriers: values, inputs: buffers.inputs, made }),
    });
    // Chunks that are whole ask no element whether it is there.
    const whole = t.over(t.size(columnCount), t.int(columnTile));
    const loops = (from: TileExpr | undefined, below: TileExpr | undefined, ops: readonly TileOp[]): void =>
      void body.push({ kind: "for", counter: chunks, from, below, body: ops, unroll: false });
    body.push(...one.begins);
    if (columnGuard === undefined) loops(undefined, undefined, one.chunk(rowGuard));
    else {
      loops(undefined, whole, one.chunk(rowGuard));
      loops(whole, undefined, one.chunk(t.both(rowGuard, columnGuard)));
    }
    body.push(...one.ends);
    one.carriers.forEach((value, k) => (carriers[k] = value));
  }
  for (let sweep = 0; !shape.follows && sweep <= Math.max(-1, ...sweeps); sweep += 1) {
    const lifts = loop.carriers.flatMap(({ lift }, k) => (sweeps[k] === sweep ? [lift] : []));
    const translate = translateNow(lifts);
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

  const inner = reducesBlocks
    ? reductionsOf(
        b,
        loop,
        made,
        (now) => translator({ axes, carriers, made: now, inputs: buffers.inputs }),
        {
          rowAxes,
          blockAxes,
          placeAxes: columnAxes.slice(blockAxes.length),
          where: t.both(rowGuard, columnGuard),
        },
      )
    : [];
  const translate = translateNow(loop.results.map((result) => result.value));
  const rowsOnly: Stored = { places: axes, axes: rowAxes, where: rowGuard };
  const everywhere: Stored = {
    places: axes,
    axes: alongRows ? [...columnAxes, ...rowAxes] : [...rowAxes, ...columnAxes],
    where: t.both(rowGuard, columnGuard),
  };
  const onceABlock: Stored = {
    places: [...rowPlaces, ...along(firstOfBlock)],
    axes: [...rowAxes, ...blockAxes],
    where: t.both(rowGuard, blockGuard),
  };
  const whereOf = (result: LoopResult): Stored => {
    const swept = result.axes.filter((k) => k >= loop.axes.length && k < firstInner).length;
    if (swept === loop.over.length) return everywhere;
    return swept === 0 ? rowsOnly : onceABlock;
  };
  const stores = loop.results.map((result, k): { readonly op: TileOp; readonly isRow: boolean } => {
    const buffer = buffers.outputs[k];
    invariant(buffer !== undefined, "each result has a buffer");
    const stored = whereOf(result);
    const { index, inside } = resultPlace(loop, result, stored.places);
    const expr = stored === onceABlock ? onBlock(result) : translate(result.value);
    const first = stored === rowsOnly ? firstAlongOthers(loop, result, axes) : undefined;
    const where = t.both(t.both(stored.where, first), inside);
    const own = [...stored.axes, ...result.axes.flatMap((k) => innerAxes[k - firstInner] ?? [])];
    const op: TileOp = { kind: "store", buffer, index, expr, axes: own, where, bounds: "proved" };
    return { op, isRow: stored === rowsOnly };
  });
  function onBlock(result: LoopResult): TileExpr {
    const own = { axes: onceABlock.places, carriers, made, inputs: buffers.inputs };
    return translator(own)(result.value);
  }
  body.push(...stores.flatMap(({ op, isRow }) => (isRow ? [op] : [])));
  const swept = stores.flatMap(({ op, isRow }) => (isRow ? [] : [op]));
  if (swept.length > 0) inChunks([...inner, ...swept]);

  const program: TileProgram = {
    name: source.name,
    summary: source.summary,
    threads,
    blocks: [blocks],
    ...(shape.fitting === undefined ? {} : { resident: shape.fitting }),
    buffers: b.buffers,
    shared: b.shared,
    channels: b.channels,
    body,
  };
  if (shape.brought === undefined) return program;
  const worker = b.counter("worker", min(blocks.count, constant(shape.brought.workers)));
  const stays: TileOp = { kind: "persistent", worker, counters: [blocks], body };
  return partition(
    { ...program, blocks: [worker], body: [stays] },
    {
      copy: { threads: copyThreads, registers: undefined },
      math: { threads, registers: undefined },
    },
  );
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

/** Where and by whom a result is stored. */
interface Stored {
  /** Index expressions of the loop's axes. */
  readonly places: readonly TileExpr[];
  readonly axes: readonly Axis[];
  readonly where: TileExpr | undefined;
}

/** Makes the reductions inside the results' bodies, each by the threads that hold a block. */
function reductionsOf(
  b: t.TileBuilder,
  loop: LoopNode,
  made: Map<Scalar, TileExpr>,
  translate: (made: ReadonlyMap<Scalar, TileExpr>) => (scalar: Scalar) => TileExpr,
  {
    rowAxes,
    blockAxes,
    placeAxes,
    where,
  }: Readonly<Record<"rowAxes" | "blockAxes" | "placeAxes", readonly Axis[]>> & Pick<Stored, "where">,
): readonly TileOp[] {
  const ops: TileOp[] = [];
  const own = placeAxes.filter(({ place }) => place.kind === "register");
  const lanes = placeAxes.filter(({ place }) => place.kind === "thread");
  for (const scalar of reachable(loop.results.map(({ value }) => value))) {
    if (scalar.kind !== "reduce") continue;
    const { monoid, type } = scalar;
    const outer = [...rowAxes, ...blockAxes];
    // Each thread has the places of its wide accesses, and reduces these first.
    const places = b.tile(`${monoid}_of`, type, [...outer, ...placeAxes]);
    const partial = b.tile(`${monoid}_part`, type, [...outer, ...lanes]);
    const total = b.tile(monoid, type, outer);
    const identity: TileExpr = { kind: "const", type, value: monoidOf(monoid).identity(type) };
    const expr = translate(made)(scalar.arg);
    ops.push(
      { kind: "let", tile: places, expr, where, otherwise: where === undefined ? undefined : identity },
      { kind: "var", tile: partial, init: identity },
      { kind: "fold", tile: partial, monoid, expr: t.valueOf(places), over: own, where: undefined },
      { kind: "reduce", tile: total, src: partial, monoid, over: lanes.filter(({ size }) => size > 1) },
    );
    made.set(scalar, t.valueOf(total));
  }
  return ops;
}

function extentOf(side: Side): number {
  return side.threads * side.unroll * side.vector * accessesWithin(side);
}

function accessesWithin({ within = 1 }: Side): number {
  return within;
}

/** Axes of one side, slowest first: registers, threads, those of them that hold a block, registers. */
function sideAxes(b: t.TileBuilder, name: string, side: Side, stride: number): Axis[] {
  const { threads, unroll, vector, together } = side;
  if (together === undefined)
    return [
      b.registerAxis(`${name}_u`, unroll),
      b.threadAxis(`${name}_t`, threads, stride),
      b.registerAxis(`${name}_v`, vector),
    ];
  return [
    b.registerAxis(`${name}_u`, unroll),
    b.threadAxis(`${name}_b`, threads / together, stride * together),
    ...(accessesWithin(side) > 1 ? [b.registerAxis(`${name}_w`, accessesWithin(side))] : []),
    b.threadAxis(`${name}_t`, together, stride),
    b.registerAxis(`${name}_v`, vector),
  ];
}

/** Where the first so many axes of a side lead, slowest first. */
function position(tile: TileExpr, side: Side, axes: readonly Axis[]): TileExpr {
  const { threads, unroll, vector, together } = side;
  const within = accessesWithin(side);
  const step = threads * vector * within;
  const access = (together ?? 0) * vector;
  const strides =
    together === undefined
      ? [step, vector, 1]
      : [step, access * within, ...(within > 1 ? [access] : []), vector, 1];
  const [first, ...rest] = axes.map((axis, k) => t.times(t.along(axis), t.int(strides[k] ?? 0)));
  invariant(first !== undefined, "a side has axes");
  const inner = rest.reduce<TileExpr | undefined>(
    (sum, one) => (sum === undefined ? one : t.plus(sum, one)),
    undefined,
  );
  const outer = t.plus(t.times(tile, t.int(step * unroll)), first);
  return inner === undefined ? outer : t.plus(outer, inner);
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

/** The order in which the rows lie in the result with the most axes, the first of equals. */
export function rowOrder(loop: LoopNode): number[] {
  const axes = loop.results.reduce<readonly number[]>(
    (most, result) => (result.axes.length > most.length ? result.axes : most),
    [],
  );
  const parallel = axes.filter((k) => k < loop.axes.length);
  return parallel.length === loop.axes.length ? parallel : loop.axes.map((_, k) => k);
}
