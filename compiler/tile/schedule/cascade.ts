/**
 * The schedule that streams products through reductions into products, for targets with a copy engine and asynchronous
 * products. A block has rows of the result, all of their columns and the reductions' running values in registers; the
 * other factors stream by in blocks of the swept axis.
 *
 * For each block of the axis: the inner products; the reductions that something needs, brought up to date; with how
 * much they changed, what was reduced before is rescaled (`tensor/rescale.ts`); the outer products' left factor is
 * made where the inner products are, in registers, and multiplied from there. An iteration's outer products run under
 * the reductions of the next one: the loop issues both products, waits for the inner one, reduces, and then waits for
 * the outer one. Warpgroups take turns with their products, so that one reduces while the other multiplies.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode } from "../../tensor/ir.ts";
import { ceildiv, constant, floordiv, min, mul } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Channel, Counter, MatrixOperand, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { partition } from "../partition.ts";
import type { CascadePlan, CopiedFactor } from "./cascade-plan.ts";
import { CascadeReductions } from "./cascade-reductions.ts";
import { besideFragment, warpgroupFragment, type WarpgroupFragment } from "./fragments.ts";
import { matricesOf, type Matrices } from "./matrices.ts";
import { declareBuffers, type DeclaredBuffers, type KernelSource } from "./source.ts";
import { visitedBlocks } from "./swept-blocks.ts";
import { operandCopies, panelBytes, resultOps, type CopyPlace } from "./transfers.ts";

export interface CascadeShape {
  /** Rows of a block, a warpgroup's 64 times their number, and places of the swept axis that it takes at a time. */
  readonly rows: number;
  readonly block: number;
  readonly warpgroups: number;
  /** Slots for either kind of factor that streams. */
  readonly depth: number;
  /** Of each thread, where they change hands. */
  readonly registers: { readonly copy: number | undefined; readonly math: number | undefined };
}

/** How tiles are dealt: to blocks that run at once, which are at so much of the batch: its factors stay in the cache. */
export interface Dealing {
  readonly workers: number;
  readonly section: number;
}

const warpgroupThreads = 128;

export function cascadeProgram(
  source: KernelSource<LoopNode>,
  plan: CascadePlan,
  shape: CascadeShape,
  dealing: Dealing,
): TileProgram {
  return new Cascade(source, plan, shape, dealing).program();
}

class Cascade {
  readonly #source: KernelSource<LoopNode>;
  readonly #loop: LoopNode;
  readonly #plan: CascadePlan;
  readonly #shape: CascadeShape;
  readonly #b = new t.TileBuilder();
  readonly #buffers: DeclaredBuffers;
  readonly #matrices: Matrices;
  /** The products' fragment, over rows and the block; and the results', over rows and columns. */
  readonly #inner: WarpgroupFragment;
  readonly #outer: WarpgroupFragment;

  readonly #worker: Counter;
  readonly #section: Counter;
  readonly #mTile: Counter;
  readonly #inSection: Counter;
  readonly #batch: Counter;
  readonly #block: Counter;
  readonly #mBase: TileExpr;
  readonly #axesAt: ReturnType<Matrices["axesAt"]>;
  readonly #reductions: CascadeReductions;

  constructor(source: KernelSource<LoopNode>, plan: CascadePlan, shape: CascadeShape, dealing: Dealing) {
    const b = this.#b;
    const loop = source.node;
    this.#source = source;
    this.#loop = loop;
    this.#plan = plan;
    this.#shape = shape;
    this.#buffers = declareBuffers(b, source);
    this.#matrices = matricesOf(loop, { ...plan, products: [] });
    this.#inner = warpgroupFragment(b, { m: shape.rows, n: shape.block, warpgroups: shape.warpgroups });
    this.#outer = besideFragment(b, plan.columns, this.#inner);
    const { batchCount } = this.#matrices;
    this.#batch = b.counter("batch", batchCount);
    this.#section = b.counter("section", floordiv(batchCount, constant(dealing.section)));
    this.#inSection = b.counter("in_section", constant(dealing.section));
    this.#mTile = b.counter("m_tile", ceildiv(this.#matrices.mCount, constant(shape.rows)));
    const tiles = mul(batchCount, this.#mTile.count);
    this.#worker = b.counter("worker", min(tiles, constant(dealing.workers)));
    this.#block = b.counter("block", ceildiv(this.#matrices.kCount, constant(shape.block)));
    // The last rows see most of the axis where it ends at the row: the longest tiles come first.
    const fromEnd = t.plus(
      t.plus(t.size(this.#mTile.count), t.int(-1)),
      t.times(t.at(this.#mTile), t.int(-1)),
    );
    this.#mBase = t.times(fromEnd, t.int(shape.rows));
    this.#axesAt = this.#matrices.axesAt(t.at(this.#batch));
    this.#reductions = new CascadeReductions(source, plan, {
      b,
      buffers: this.#buffers,
      matrices: this.#matrices,
      axesAt: this.#axesAt,
      mBase: this.#mBase,
      rows: shape.rows,
      block: shape.block,
      inner: this.#inner,
      outer: this.#outer,
      packed: plan.dtype,
    });
  }

  program(): TileProgram {
    const b = this.#b;
    const shape = this.#shape;
    const body = this.#body();
    const program: TileProgram = {
      name: this.#source.name,
      summary: this.#source.summary,
      threads: shape.warpgroups * warpgroupThreads,
      blocks: [this.#worker],
      buffers: b.buffers,
      shared: b.shared,
      channels: b.channels,
      body: [
        {
          kind: "persistent",
          worker: this.#worker,
          counters: [this.#section, this.#mTile, this.#inSection],
          body,
        },
      ],
    };
    return partition(program, {
      copy: { threads: warpgroupThreads, registers: shape.registers.copy },
      math: { threads: shape.warpgroups * warpgroupThreads, registers: shape.registers.math },
    });
  }

  // ---------------------------------------------------------------- factors

  #operand(name: string, { order }: CopiedFactor, rows: number, k: number): MatrixOperand {
    const width = panelBytes / dtypes[this.#plan.dtype].bytes;
    const shape = order === "k" ? [Math.ceil(k / width), rows, width] : [Math.ceil(rows / width), k, width];
    return { tile: this.#b.slotTile(name, this.#plan.dtype, shape, { swizzle: panelBytes }), order };
  }

  #place(start: Partial<CopyPlace["start"]>, block: TileExpr): CopyPlace {
    return {
      axes: this.#axesAt(this.#mBase, t.int(0), block),
      buffers: this.#buffers,
      start: { m: t.int(0), n: t.int(0), k: t.int(0), ...start },
    };
  }

  #fill(channel: Channel, factors: readonly Streaming[], block: TileExpr): TileOp {
    const width = panelBytes / dtypes[this.#plan.dtype].bytes;
    const start = t.times(block, t.int(this.#shape.block));
    const copies = factors.flatMap(({ operand, factor, side }) =>
      operandCopies(
        operand,
        factor.copied,
        side === "rows" ? "m" : "n",
        width,
        side === "rows"
          ? this.#place({ m: this.#mBase }, start)
          : this.#place(side === "block" ? { n: start } : { k: start }, start),
      ),
    );
    return { kind: "fill", channel, copies, body: [] };
  }

  // ---------------------------------------------------------------- the program

  #body(): TileOp[] {
    const { rows, block, depth } = this.#shape;
    const { products, sums, columns, dtype } = this.#plan;
    const b = this.#b;
    const still = products.map(({ left, depth: k }): Streaming => ({
      operand: this.#operand("left_tile", left, rows, k),
      factor: left,
      side: "rows",
    }));
    const inner = products.map(({ right, depth: k }): Streaming => ({
      operand: this.#operand("inner_tile", right, block, k),
      factor: right,
      side: "block",
    }));
    const outer = sums.map(({ right }): Streaming => ({
      operand: this.#operand("outer_tile", right, columns, block),
      factor: right,
      side: "columns",
    }));
    const tilesOf = (list: readonly Streaming[]): MatrixOperand["tile"][] =>
      list.map((one) => one.operand.tile);
    const lefts = b.channel("lefts", 1, tilesOf(still));
    const inners = b.channel("inners", depth, tilesOf(inner));
    const outers = b.channel("outers", depth, tilesOf(outer));
    const { ops, first, end, whole } = visitedBlocks(
      b,
      this.#block,
      block,
      this.#matrices.kCount,
      this.#reductions.seenBy("any"),
      this.#reductions.seenBy("every"),
    );

    const score = (): TileOp[] =>
      products.map(({ scalar }, i): TileOp => {
        const [a, c] = [still[i]?.operand, inner[i]?.operand];
        const acc = this.#reductions.scores.get(scalar);
        invariant(a !== undefined && c !== undefined && acc !== undefined, "each product has its tiles");
        const side = c.order === "k" ? "k" : "n";
        return {
          kind: "mma",
          acc,
          a,
          b: c,
          m: this.#inner.m.row,
          n: this.#inner.n.row,
          accumulate: t.bool(false),
          instruction: `wgmma.m64n${block}k16.${dtype}.k.${side}`,
        };
      });
    const accumulate = (isFirst: TileExpr): TileOp[] =>
      sums.map((_, i): TileOp => {
        const [left, c, acc] = [
          this.#reductions.lefts[i],
          outer[i]?.operand,
          this.#reductions.accumulators[i],
        ];
        invariant(
          left?.packed !== undefined && c !== undefined && acc !== undefined,
          "each sum has its tiles",
        );
        const side = c.order === "k" ? "k" : "n";
        return {
          kind: "mma",
          acc,
          a: { registers: left.packed, row: this.#inner.m.row, k: this.#inner.n.row },
          b: c,
          m: this.#outer.m.row,
          n: this.#outer.n.row,
          accumulate: isFirst,
          instruction: `wgmma.m64n${columns}k16.${dtype}.r.${side}`,
        };
      });
    const here = t.at(this.#block);
    const previous = t.plus(here, t.int(-1));
    const pack = (): TileOp[] =>
      this.#reductions.lefts.flatMap(({ wide, packed }): TileOp[] =>
        packed === undefined
          ? []
          : [
              {
                kind: "update",
                tile: packed,
                expr: { kind: "round", type: "f32", to: dtype, arg: t.valueOf(wide) },
              },
            ],
      );
    const waits = sums.length;
    const inSection = t.plus(
      t.times(t.at(this.#section), t.size(this.#inSection.count)),
      t.at(this.#inSection),
    );
    return [
      { kind: "index", counter: this.#batch, expr: inSection },
      ...ops,
      this.#fill(lefts, still, first),
      this.#fill(inners, inner, first),
      { kind: "take", channel: lefts },
      ...this.#reductions.declarations(),
      { kind: "take", channel: inners },
      ...score(),
      { kind: "await", pending: 0 },
      { kind: "release", channel: inners, where: undefined },
      ...this.#reductions.ofBlock(first, whole),
      ...pack(),
      {
        kind: "for",
        counter: this.#block,
        from: t.plus(first, t.int(1)),
        below: end,
        unroll: false,
        body: [
          this.#fill(inners, inner, here),
          { kind: "take", channel: inners },
          this.#fill(outers, outer, previous),
          {
            kind: "turn",
            axis: this.#inner.warpgroup,
            body: [
              ...score(),
              { kind: "take", channel: outers },
              ...accumulate(t.less(first, previous)),
              { kind: "await", pending: waits },
            ],
          },
          { kind: "release", channel: inners, where: undefined },
          ...this.#reductions.ofBlock(here, whole),
          { kind: "await", pending: 0 },
          { kind: "release", channel: outers, where: undefined },
          ...this.#reductions.rescaleSums(),
          ...pack(),
        ],
      },
      { kind: "release", channel: lefts, where: undefined },
      this.#fill(outers, outer, t.plus(end, t.int(-1))),
      { kind: "take", channel: outers },
      ...accumulate(t.less(t.plus(first, t.int(1)), end)),
      ...this.#reductions.finalRows(),
      ...this.#reductions.rowsOfResults(),
      { kind: "await", pending: 0 },
      { kind: "release", channel: outers, where: undefined },
      ...resultOps(b, this.#loop, {
        shape: { m: rows, n: columns, warpgroups: this.#shape.warpgroups },
        carriers: this.#reductions.finals(),
        made: this.#reductions.ofRows,
        views: this.#plan.results,
        layout: this.#outer,
        buffers: this.#buffers,
        axesAt: this.#axesAt,
        mBase: this.#mBase,
        nBase: t.int(0),
        matrices: this.#matrices,
      }),
    ];
  }
}

/** A factor that a channel brings: of the block's rows, of places of the swept axis, or of those by the columns. */
interface Streaming {
  readonly operand: MatrixOperand;
  readonly factor: CopiedFactor;
  readonly side: "rows" | "block" | "columns";
}
