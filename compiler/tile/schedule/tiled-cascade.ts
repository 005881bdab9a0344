/**
 * The schedule that streams products through reductions into products where all threads of a block load, and then
 * multiply: scalars, or a warp's matrix instructions (`cascade-units.ts`). A block has rows of the result, columns of
 * it and the reductions' running values in registers; the other factors come by in blocks of the swept axis.
 *
 *     stage the rows' left factors, where they fit
 *     for each block of the swept axis that some row sees:
 *       scores = left . right, in steps along the sum
 *       bring the reductions up to date; rescale what was summed before
 *       sums += what is made of the scores . right, in steps along the block
 *     store the results
 *
 * With one thread a block there is nobody to share with: factors are read where they are multiplied.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { ceildiv, constant, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Counter, Tile, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { axisInMemory, constantOf } from "./analysis.ts";
import type { CascadeParts, InnerFactors } from "./cascade-parts.ts";
import { CascadeReductions } from "./cascade-reductions.ts";
import { productUnit, type ProductUnit, type StagedFactor, type UnitShape } from "./cascade-units.ts";
import {
  depthOf,
  insideAt,
  repeated,
  scoreDirectly,
  sumDirectly,
  type CascadeFrame,
} from "./direct-products.ts";
import { guard, matricesOf, type Matrices } from "./matrices.ts";
import { canExchange, throughShared } from "./row-exchange.ts";
import { commonDivisor } from "./runs.ts";
import { declareBuffers, type DeclaredBuffers, type KernelSource } from "./source.ts";
import { stageFactor, type Staged } from "./staging.ts";
import { visitedBlocks } from "./swept-blocks.ts";
import { translator } from "./translate.ts";

export interface TiledCascadeShape extends UnitShape {
  readonly threads: number;
  /** The rows' left factors are staged once, not again for each block. */
  readonly isResident: boolean;
}

export function tiledCascadeProgram(
  source: KernelSource<LoopNode>,
  parts: CascadeParts,
  shape: TiledCascadeShape,
  caps: Caps,
): TileProgram {
  return new TiledCascade(source, parts, shape, caps).program();
}

/** Elements that a thread holds on their way to shared memory, of factors whose lines are not known. */
const mostStaged = 4;
const zero: TileExpr = { kind: "const", type: "f32", value: 0 };

class TiledCascade {
  readonly #source: KernelSource<LoopNode>;
  readonly #loop: LoopNode;
  readonly #parts: CascadeParts;
  readonly #shape: TiledCascadeShape;
  readonly #caps: Caps;
  readonly #b = new t.TileBuilder();
  readonly #buffers: DeclaredBuffers;
  readonly #matrices: Matrices;
  readonly #unit: ProductUnit;
  readonly #batch: Counter;
  readonly #mTile: Counter;
  readonly #nTile: Counter;
  readonly #block: Counter;
  readonly #mBase: TileExpr;
  readonly #nBase: TileExpr;
  readonly #axesAt: ReturnType<Matrices["axesAt"]>;
  readonly #reductions: CascadeReductions;

  constructor(source: KernelSource<LoopNode>, parts: CascadeParts, shape: TiledCascadeShape, caps: Caps) {
    const b = this.#b;
    const loop = source.node;
    this.#source = source;
    this.#loop = loop;
    this.#parts = parts;
    this.#shape = shape;
    this.#caps = caps;
    this.#buffers = declareBuffers(b, source);
    this.#matrices = matricesOf(loop, { ...parts, products: [] });
    const { batchCount, mCount, nCount, kCount } = this.#matrices;
    this.#unit = productUnit(b, shape);
    this.#batch = b.counter("batch", batchCount);
    this.#mTile = b.counter("m_tile", ceildiv(mCount, constant(shape.rows)));
    this.#nTile = b.counter("n_tile", ceildiv(nCount, constant(shape.columns)));
    this.#block = b.counter("block", ceildiv(kCount, constant(shape.block)));
    // The last rows see most of the axis where it ends at the row: the longest tiles come first.
    const fromEnd = t.plus(
      t.plus(t.size(this.#mTile.count), t.int(-1)),
      t.times(t.at(this.#mTile), t.int(-1)),
    );
    this.#mBase = t.times(fromEnd, t.int(shape.rows));
    this.#nBase = t.times(t.at(this.#nTile), t.int(shape.columns));
    this.#axesAt = this.#matrices.axesAt(t.at(this.#batch));
    const { inner, outer, packed } = this.#unit;
    const isExchanged = canExchange(inner.columns.across.size, caps);
    this.#reductions = new CascadeReductions(source, parts, {
      b,
      buffers: this.#buffers,
      matrices: this.#matrices,
      axesAt: this.#axesAt,
      mBase: this.#mBase,
      rows: shape.rows,
      block: shape.block,
      inner,
      outer,
      packed,
      ...(isExchanged ? {} : { across: throughShared(b, inner, shape.rows) }),
    });
  }

  program(): TileProgram {
    const b = this.#b;
    const body = this.#body();
    return {
      name: this.#source.name,
      summary: this.#source.summary,
      threads: this.#shape.threads,
      blocks: [this.#batch, this.#mTile, this.#nTile],
      buffers: b.buffers,
      shared: b.shared,
      channels: b.channels,
      body,
    };
  }

  #body(): TileOp[] {
    const { block, threads } = this.#shape;
    const { products, sums } = this.#parts;
    const reductions = this.#reductions;
    const unit = this.#unit;
    const isSerial = threads === 1;
    const { ops, first, end, whole } = visitedBlocks(
      this.#b,
      this.#block,
      block,
      this.#matrices.kCount,
      reductions.seenBy("any"),
      reductions.seenBy("every"),
    );
    const start = t.times(t.at(this.#block), t.int(block));
    const frame: CascadeFrame = {
      b: this.#b,
      loop: this.#loop,
      buffers: this.#buffers,
      matrices: this.#matrices,
      unit,
      shape: this.#shape,
      mBase: this.#mBase,
      nBase: this.#nBase,
      axesAt: this.#axesAt,
    };
    const scores = products.map((product, i) => {
      const acc = reductions.scores.get(product.scalar);
      invariant(acc !== undefined, "each product has a tile");
      if (!isSerial) return this.#score(product, acc, start, i);
      const each: TileOp[] = [
        { kind: "update", tile: acc, expr: zero },
        scoreDirectly(frame, product, acc, start),
      ];
      return { once: [], each };
    });
    const made = sums.map(({ right }, i) => {
      const [left, acc] = [reductions.lefts[i], reductions.accumulators[i]];
      invariant(left !== undefined && acc !== undefined, "each sum has its tiles");
      if (!isSerial)
        return [
          unit.bring(left),
          ...this.#sum(right, start, (staged, from) => unit.multiplyMade(acc, left, staged, from)),
        ];
      const tile = unit.brought(left);
      invariant(tile !== undefined, "scalars are multiplied from memory");
      return [unit.bring(left), sumDirectly(frame, tile, right, acc, start)];
    });
    return [
      ...ops,
      ...reductions.declarations(zero),
      ...scores.flatMap(({ once }) => once),
      {
        kind: "for",
        counter: this.#block,
        from: first,
        below: end,
        unroll: false,
        body: [
          ...scores.flatMap(({ each }) => each),
          ...reductions.ofBlock(t.at(this.#block), whole),
          ...reductions.rescaleSums(),
          ...made.flat(),
        ],
      },
      ...reductions.finalRows(),
      ...this.#results(),
    ];
  }

  // ---------------------------------------------------------------- products of staged factors

  /** The scores of a block: what is done once, and for each block. */
  #score(
    { left, right, axes }: InnerFactors,
    acc: Tile,
    start: TileExpr,
    i: number,
  ): { readonly once: TileOp[]; readonly each: TileOp[] } {
    const { rows, block, depth, isResident } = this.#shape;
    const { mCount, kCount } = this.#matrices;
    const whole = depthOf(this.#loop, axes);
    const places = placesOf(whole, depth, this.#shape);
    const steps = this.#b.counter(`step`, ceildiv(whole, constant(places)));
    const at = t.times(t.at(steps), t.int(places));
    const isAlong = (factor: Scalar): boolean => liesAlong(factor, axes);
    const resident = isResident ? (constantOf(steps.count) ?? 1) * places : places;
    const leftTile = this.#unit.left(i === 0 ? "left_tile" : `left_tile${i}`, resident, isAlong(left));
    const rightTile = this.#unit.right("inner", places, isAlong(right));
    const lefts = this.#staged(leftTile, left, isAlong(left), {
      rows,
      base: this.#mBase,
      count: mCount,
      depth: resident,
      kBase: isResident ? t.int(0) : at,
      kCount: whole,
      axesAt: (row, k) => insideAt(this.#loop, this.#axesAt(row, t.int(0), t.int(0)), axes, k),
    });
    const rights = this.#staged(rightTile, right, isAlong(right), {
      rows: block,
      base: start,
      count: kCount,
      depth: places,
      kBase: at,
      kCount: whole,
      axesAt: (row, k) => insideAt(this.#loop, this.#axesAt(t.int(0), t.int(0), row), axes, k),
    });
    const both = isResident ? [rights] : [lefts, rights];
    return {
      once: isResident ? [...lefts.loads, ...lefts.puts] : [],
      each: [
        { kind: "update", tile: acc, expr: zero },
        repeated(steps, [
          ...both.flatMap(({ loads }) => loads),
          ...both.flatMap(({ puts }) => puts),
          ...this.#unit.multiply(acc, leftTile, rightTile, isResident ? at : t.int(0)),
        ]),
      ],
    };
  }

  /** The block's part of a sum. */
  #sum(
    right: Scalar,
    start: TileExpr,
    multiply: (staged: StagedFactor, from: TileExpr) => readonly TileOp[],
  ): TileOp[] {
    const { columns, block, depth, instruction } = this.#shape;
    const places = instruction === undefined ? commonDivisor(block, depth) : block;
    const { nCount, kCount } = this.#matrices;
    const alongK = liesAlong(right, [this.#loop.axes.length]);
    const tile = this.#unit.right("outer", places, alongK);
    const steps = this.#b.counter("part", constant(block / places));
    const at = t.times(t.at(steps), t.int(places));
    const { loads, puts } = this.#staged(tile, right, alongK, {
      rows: columns,
      base: this.#nBase,
      count: nCount,
      depth: places,
      kBase: t.plus(start, at),
      kCount,
      kStep: block,
      axesAt: (row, k) => this.#axesAt(t.int(0), row, k),
    });
    return [repeated(steps, [...loads, ...puts, ...multiply(tile, at)])];
  }

  #staged(
    { tile, index }: StagedFactor,
    factor: Scalar,
    alongK: boolean,
    place: {
      readonly rows: number;
      readonly base: TileExpr;
      readonly count: Dim;
      readonly depth: number;
      readonly kBase: TileExpr;
      readonly kCount: Dim;
      readonly kStep?: number;
      readonly axesAt: (row: TileExpr, k: TileExpr) => readonly TileExpr[];
    },
  ): Staged {
    const { inputs } = this.#buffers;
    const { axesAt, ...extent } = place;
    const staged = stageFactor(this.#b, this.#loop, factor, {
      ...extent,
      tile,
      index,
      threads: this.#shape.threads,
      vectorBytes: this.#caps.vectorBytes,
      most: mostStaged,
      alongK,
      expr: (row, k) => translator({ axes: axesAt(row, k), carriers: [], inputs })(factor),
    });
    return { loads: staged.flatMap(({ loads }) => loads), puts: staged.flatMap(({ puts }) => puts) };
  }

  // ---------------------------------------------------------------- rows and results

  #results(): TileOp[] {
    const { rows, columns } = this.#shape;
    const { outer } = this.#unit;
    const { mCount, nCount } = this.#matrices;
    const reductions = this.#reductions;
    const [m, n] = [t.plus(this.#mBase, outer.m.row), t.plus(this.#nBase, outer.n.row)];
    const axes = this.#axesAt(m, n, t.int(0));
    const carriers = reductions.finals();
    const { ops, made } = reductions.rowsOfResults(carriers);
    const translate = translator({ axes, carriers, inputs: this.#buffers.inputs, made });
    const stores = this.#loop.results.map((result, k): TileOp => {
      const buffer = this.#buffers.outputs[k];
      invariant(buffer !== undefined, "each result has a buffer");
      // One value for a row is the same in all tiles of its columns.
      const isOfRow = !result.axes.some((axis) => this.#parts.n.includes(axis));
      const ofColumn = isOfRow ? t.less(t.at(this.#nTile), t.int(1)) : guard(n, nCount, columns);
      return {
        kind: "store",
        buffer,
        index: result.axes.map((axis) => axes[axis] ?? t.int(0)),
        expr: translate(result.value),
        axes: isOfRow ? outer.m.axes : outer.axes,
        where: t.both(guard(m, mCount, rows), ofColumn),
        bounds: "proved",
      };
    });
    return [...ops, ...stores];
  }
}

/** Whether neighbours along one of the axes, or nothing, are neighbours in the factor's memory. */
export function liesAlong(factor: Scalar, axes: readonly number[]): boolean {
  const moving = axisInMemory(factor);
  return moving === undefined || axes.includes(moving);
}

/** Of a sum inside bodies, places that are staged at a time: no more than there are. */
export function placesOf(whole: Dim, depth: number, { instruction }: Pick<UnitShape, "instruction">): number {
  const known = constantOf(whole);
  if (known === undefined) return depth;
  const unit = instruction === undefined ? 1 : 16;
  return Math.min(depth, Math.ceil(known / unit) * unit);
}
