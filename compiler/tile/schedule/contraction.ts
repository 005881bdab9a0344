/**
 * The contraction schedule: a sum of products as tiles of m x n x k.
 *
 * Each parallel axis belongs to one of four classes by the factors it moves: m (the left factor alone), n (the
 * right one alone), batch (both), or free (neither; batch too). m, n and k are each flattened, so any number of axes
 * makes a matrix. A factor is any expression: what produces it (a cast, a scale, a gather) is computed as its tile
 * is loaded. Several sums over the same axes share the tiles of equal factors.
 *
 * With threads, the tiles of both factors go through shared memory; with one thread a block, straight to registers.
 * Where both factors are 16-bit floats, or rounded to tf32, and the target has the instruction, the products run on
 * matrix units.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { ceildiv, constant } from "../../types/dim.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Counter, SharedTile, Tile, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { fragment, type Fragment } from "./fragments.ts";
import { guard, matricesOf, type Contraction } from "./matrices.ts";
import { declareBuffers, type KernelSource } from "./source.ts";
import { stageFactor } from "./staging.ts";
import { translator } from "./translate.ts";

export interface ContractionShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Matrix instruction and the dtype of its factors' tiles, or undefined for multiply-adds on scalars. */
  readonly instruction: { readonly name: string; readonly dtype: DType } | undefined;
  /** Threads (scalars) or warps (instruction) along m and n. */
  readonly across: { readonly m: number; readonly n: number };
}

export function contractionProgram(
  source: KernelSource<LoopNode>,
  contraction: Contraction,
  caps: Caps,
  shape: ContractionShape,
): TileProgram {
  const loop = source.node;
  const b = new t.TileBuilder();
  const buffers = declareBuffers(b, source);
  const matrices = matricesOf(loop, contraction);
  const { mCount, nCount, kCount } = matrices;

  const batchBlock = b.counter("batch", matrices.batchCount);
  const mBlock = b.counter("m_block", ceildiv(mCount, constant(shape.m)));
  const nBlock = b.counter("n_block", ceildiv(nCount, constant(shape.n)));
  const kBlock = b.counter("k_block", ceildiv(kCount, constant(shape.k)));
  const mBase = t.times(t.at(mBlock), t.int(shape.m));
  const nBase = t.times(t.at(nBlock), t.int(shape.n));
  const kBase = t.times(t.at(kBlock), t.int(shape.k));
  const axesAt = matrices.axesAt(t.at(batchBlock));

  const layout = fragment(b, shape);
  const carriers = loop.carriers.map((carrier) => b.tile(carrier.name, "f32", layout.axes));
  const body: TileOp[] = carriers.map((tile) => ({
    kind: "var",
    tile,
    init: { kind: "const", type: "f32", value: 0 },
  }));
  const inner: TileOp[] = [];
  const zero: TileExpr = { kind: "const", type: "f32", value: 0 };

  if (layout.threads === 1) {
    // Registers only: the factors' rows are read once for each k and used for a whole tile.
    const k = kBase;
    const tiles = new Map<Scalar, TileExpr>();
    const load = (factor: Scalar, side: "m" | "n"): TileExpr => {
      const known = tiles.get(factor);
      if (known !== undefined) return known;
      const local = side === "m" ? layout.m : layout.n;
      const index = t.plus(side === "m" ? mBase : nBase, local.row);
      const axes = side === "m" ? axesAt(index, t.int(0), k) : axesAt(t.int(0), index, k);
      const tile = b.tile(side === "m" ? "a" : "b", "f32", local.axes);
      inner.push({
        kind: "let",
        tile,
        otherwise: zero,
        expr: translator({ axes, carriers: [], inputs: buffers.inputs })(factor),
        where: guard(index, side === "m" ? mCount : nCount, side === "m" ? shape.m : shape.n),
      });
      tiles.set(factor, t.valueOf(tile));
      return t.valueOf(tile);
    };
    contraction.products.forEach(({ left, right }, c) => {
      const acc = carriers[c];
      invariant(acc !== undefined, "a carrier has a tile");
      inner.push(multiplyAdd(acc, load(left, "m"), load(right, "n")));
    });
  } else {
    const tiles = new Map<Scalar, SharedTile>();
    const loads: TileOp[] = [];
    const puts: TileOp[] = [];
    const stage = (factor: Scalar, side: "m" | "n", name: string): SharedTile => {
      const known = tiles.get(factor);
      if (known !== undefined) return known;
      const rows = side === "m" ? shape.m : shape.n;
      // Matrix instructions want [row][k], scalars [k][row].
      const matrix = shape.instruction !== undefined;
      const dtype: DType = shape.instruction?.dtype ?? "f32";
      const tile = matrix
        ? b.sharedTile(name, dtype, [rows, shape.k], { pad: 16 / dtypes[dtype].bytes })
        : b.sharedTile(name, dtype, [shape.k, rows], { pad: 4 });
      const staged = stageFactor(b, loop, factor, {
        tile,
        rows,
        depth: shape.k,
        index: (row, k) => (matrix ? [row, k] : [k, row]),
        threads: layout.threads,
        vectorBytes: caps.vectorBytes,
        most: Infinity,
        base: side === "m" ? mBase : nBase,
        count: side === "m" ? mCount : nCount,
        kBase,
        kCount,
        expr: (row, k) => {
          const axes = side === "m" ? axesAt(row, t.int(0), k) : axesAt(t.int(0), row, k);
          return translator({ axes, carriers: [], inputs: buffers.inputs })(factor);
        },
      });
      // All loads are under way before the first put waits for one.
      loads.push(...staged.flatMap((one) => one.loads));
      puts.push(...staged.flatMap((one) => one.puts));
      tiles.set(factor, tile);
      return tile;
    };
    const staged = contraction.products.map(({ left, right }, c) => ({
      left: stage(left, "m", c === 0 ? "a_tile" : `a_tile${c}`),
      right: stage(right, "n", c === 0 ? "b_tile" : `b_tile${c}`),
    }));
    inner.push(...loads, ...puts);
    staged.forEach(({ left, right }, c) => {
      const acc = carriers[c];
      invariant(acc !== undefined, "a carrier has a tile");
      if (shape.instruction !== undefined) {
        inner.push({
          kind: "mma",
          acc,
          a: { tile: left, order: "k" },
          b: { tile: right, order: "k" },
          m: layout.m.row,
          n: layout.n.row,
          accumulate: undefined,
          instruction: shape.instruction.name,
        });
      } else {
        inner.push(scalarProducts(b, acc, { tile: left }, right, layout, shape.k));
      }
    });
  }
  body.push({
    kind: "for",
    counter: kBlock,
    from: undefined,
    below: undefined,
    body: inner,
    unroll: false,
  });

  const m = t.plus(mBase, layout.m.row);
  const n = t.plus(nBase, layout.n.row);
  const axes = axesAt(m, n, t.int(0));
  const where = t.both(guard(m, mCount, shape.m), guard(n, nCount, shape.n));
  const translate = translator({ axes, carriers: carriers.map(t.valueOf), inputs: buffers.inputs });
  loop.results.forEach((result, k) => {
    const buffer = buffers.outputs[k];
    invariant(buffer !== undefined, "each result has a buffer");
    body.push({
      kind: "store",
      buffer,
      index: result.axes.map((axis) => axes[axis] ?? t.int(0)),
      expr: translate(result.value),
      axes: layout.axes,
      where,
      bounds: "proved",
    });
  });
  const blocks: Counter[] = [batchBlock, mBlock, nBlock];
  return {
    name: source.name,
    summary: source.summary,
    threads: layout.threads,
    blocks,
    buffers: b.buffers,
    shared: b.shared,
    channels: b.channels,
    body,
  };
}

/** acc += a . b at one place of the sum. */
export function multiplyAdd(acc: Tile, a: TileExpr, bb: TileExpr): TileOp {
  return {
    kind: "update",
    tile: acc,
    expr: t.apply("add", "f32", [t.apply("mul", "f32", [a, bb]), t.valueOf(acc)]),
  };
}

/**
 * acc += a . b on scalars, both [k][row]: for each of `depth` places a row of a and a row of b go to registers, then
 * every pair is multiplied. The left factor's begin at `from`.
 */
export function scalarProducts(
  b: t.TileBuilder,
  acc: Tile,
  left: { readonly tile: SharedTile; readonly from?: TileExpr },
  right: SharedTile,
  layout: Fragment,
  depth: number,
): TileOp {
  const k = b.counter("k", constant(depth));
  const row = (
    tile: SharedTile,
    from: TileExpr | undefined,
    local: Fragment["m"],
    name: string,
  ): { op: TileOp; value: TileExpr } => {
    const taken = b.tile(name, "f32", local.axes);
    const at = from === undefined ? t.at(k) : t.plus(from, t.at(k));
    const expr: TileExpr = { kind: "shared", type: "f32", tile, index: [at, local.row] };
    return {
      op: { kind: "let", tile: taken, expr, where: undefined, otherwise: undefined },
      value: t.valueOf(taken),
    };
  };
  const a = row(left.tile, left.from, layout.m, "a");
  const c = row(right, undefined, layout.n, "b");
  return {
    kind: "for",
    counter: k,
    from: undefined,
    below: undefined,
    unroll: true,
    body: [a.op, c.op, multiplyAdd(acc, a.value, c.value)],
  };
}
