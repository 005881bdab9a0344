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
import * as t from "../build.ts";
import type { Channel, Counter, MatrixOperand, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { partition } from "../partition.ts";
import { CascadeColumns } from "./cascade-columns.ts";
import { CascadeFactors, type Streaming } from "./cascade-factors.ts";
import type { CascadePlan } from "./cascade-plan.ts";
import { CascadeReductions, moved, type RowChange } from "./cascade-reductions.ts";
import { besideFragment, warpgroupFragment, type WarpgroupFragment } from "./fragments.ts";
import { matricesOf, type Matrices } from "./matrices.ts";
import { declareBuffers, type DeclaredBuffers, type KernelSource } from "./source.ts";
import { visitedBlocks } from "./swept-blocks.ts";
import { resultOps } from "./transfers.ts";

export interface CascadeShape {
  /** Rows of a block, a warpgroup's 64 times their number, and places of the swept axis that it takes at a time. */
  readonly rows: number;
  readonly block: number;
  readonly warpgroups: number;
  /** Of the results, for a warpgroup; where there are more, others beside those that reduce have as many. */
  readonly columns: number;
  /** Whether results go out through shared memory. */
  readonly isStaged: boolean;
  /** Slots for either kind of factor that streams. */
  readonly depth: number;
  /** Widest access of the target in bytes. */
  readonly vectorBytes: number;
  /** Of each thread, where they change hands. */
  readonly registers: Readonly<Record<"copy" | "math" | "beside", number | undefined>>;
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
  readonly #factors: CascadeFactors;

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
    this.#outer = besideFragment(b, shape.columns, this.#inner);
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
    const conditions = [...plan.products, ...plan.sums].flatMap(({ right }) => [...right.conditions]);
    this.#factors = new CascadeFactors(
      loop,
      {
        b,
        buffers: this.#buffers,
        matrices: this.#matrices,
        axesAt: this.#axesAt,
        mBase: this.#mBase,
        block: shape.block,
        dtype: plan.dtype,
        threads: warpgroupThreads,
        vectorBytes: shape.vectorBytes,
        isWhole: (block, ends) => this.#reductions.isWhole(block, ends),
      },
      this.#reductions.endsWhere(new Set(conditions)),
    );
  }

  program(): TileProgram {
    const b = this.#b;
    const shape = this.#shape;
    const { body, beside } = this.#bodies();
    const persistent = (ops: readonly TileOp[]): TileOp => ({
      kind: "persistent",
      worker: this.#worker,
      counters: [this.#section, this.#mTile, this.#inSection],
      body: ops,
    });
    const threads = shape.warpgroups * warpgroupThreads;
    const program: TileProgram = {
      name: this.#source.name,
      summary: this.#source.summary,
      threads: shape.warpgroups * warpgroupThreads,
      blocks: [this.#worker],
      buffers: b.buffers,
      shared: b.shared,
      channels: b.channels,
      body: [persistent(body)],
    };
    return partition(
      program,
      {
        copy: { threads: warpgroupThreads, registers: shape.registers.copy },
        math: { threads, registers: shape.registers.math },
      },
      beside.map((ops, i) => ({
        name: `columns_${i + 1}`,
        active: "all",
        threads,
        registers: shape.registers.beside,
        body: [persistent(ops)],
      })),
    );
  }

  // ---------------------------------------------------------------- the program

  /** The program but for other columns, and theirs, each for a role of its own. */
  #bodies(): { readonly body: TileOp[]; readonly beside: readonly TileOp[][] } {
    const { rows, block, depth, columns: width } = this.#shape;
    const { products, sums, columns, dtype } = this.#plan;
    const b = this.#b;
    const still = products.map(({ left, axes, depth: k }): Streaming => ({
      operand: this.#factors.operand("left_tile", left, rows, k),
      factor: left,
      side: "rows",
      inner: axes,
    }));
    const inner = products.map(({ right, axes, depth: k }): Streaming => ({
      operand: this.#factors.operand("inner_tile", right, block, k),
      factor: right,
      side: "block",
      inner: axes,
    }));
    // Those whose tile an inner product has too come with it, and that one's slot is held until both are done.
    const outer = sums.map(({ right, partOf }): Streaming => {
      const shared = partOf === undefined ? undefined : inner[products.indexOf(partOf)];
      const operand: MatrixOperand =
        shared === undefined
          ? this.#factors.operand("outer_tile", right, columns, block)
          : { tile: shared.operand.tile, order: right.order, isOldest: true };
      return { operand, factor: right, side: "columns" };
    });
    const own = outer.filter(({ operand }) => operand.isOldest !== true);
    const isShared = own.length < outer.length;
    const tilesOf = (list: readonly Streaming[]): MatrixOperand["tile"][] =>
      list.map((one) => one.operand.tile);
    const lefts = b.channel("lefts", 1, tilesOf(still));
    const inners = b.channel("inners", depth, tilesOf(inner));
    const outers = own.length === 0 ? undefined : b.channel("outers", depth, tilesOf(own));
    const fillOuter = (at: TileExpr): TileOp[] =>
      outers === undefined ? [] : [this.#factors.fill(outers, own, at)];
    const takeOuter: TileOp[] = outers === undefined ? [] : [{ kind: "take", channel: outers }];
    const release = (channel: Channel): TileOp => ({ kind: "release", channel, where: undefined });
    const afterInner = isShared ? [] : [release(inners)];
    const afterOuter = [
      ...(isShared ? [release(inners)] : []),
      ...(outers === undefined ? [] : [release(outers)]),
    ];
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
          instruction: `wgmma.m64n${width}k16.${dtype}.r.${side}`,
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
    const before: TileOp[] = [{ kind: "index", counter: this.#batch, expr: inSection }, ...ops];
    const others =
      width === columns
        ? undefined
        : new CascadeColumns(this.#loop, this.#plan, this.#reductions, {
            b,
            buffers: this.#buffers,
            matrices: this.#matrices,
            axesAt: this.#axesAt,
            mBase: this.#mBase,
            rows,
            warpgroups: this.#shape.warpgroups,
            block,
            columns: width,
            inner: this.#inner,
            outer: this.#outer,
          });
    const give = (those: readonly (RowChange | undefined)[]): TileOp[] =>
      others === undefined ? [] : [others.give(those)];
    const changes = this.#reductions.changesOfSums();
    const steps = changes.flatMap((change) => (change === undefined ? [] : [change.op]));
    const bring = changes.flatMap((change, i): TileOp[] => {
      const acc = this.#reductions.accumulators[i];
      return change === undefined || acc === undefined ? [] : [moved(change, acc, t.valueOf(change.step))];
    });
    const body: TileOp[] = [
      ...before,
      ...this.#factors.ops,
      this.#factors.fill(lefts, still, first),
      this.#factors.fill(inners, inner, first),
      { kind: "take", channel: lefts },
      ...this.#reductions.declarations(),
      { kind: "take", channel: inners },
      ...score(),
      { kind: "await", pending: 0 },
      ...afterInner,
      ...this.#reductions.ofBlock(first, whole),
      ...give([]),
      ...pack(),
      {
        kind: "for",
        counter: this.#block,
        from: t.plus(first, t.int(1)),
        below: end,
        unroll: false,
        body: [
          this.#factors.fill(inners, inner, here),
          { kind: "take", channel: inners },
          ...fillOuter(previous),
          {
            kind: "turn",
            axis: this.#inner.warpgroup,
            body: [
              ...score(),
              ...takeOuter,
              ...accumulate(t.less(first, previous)),
              { kind: "await", pending: waits },
            ],
          },
          ...afterInner,
          ...this.#reductions.ofBlock(here, whole),
          ...(others === undefined ? [] : [...steps, ...give(changes)]),
          { kind: "await", pending: 0 },
          ...afterOuter,
          ...(others === undefined ? steps : []),
          ...bring,
          ...pack(),
        ],
      },
      release(lefts),
      ...fillOuter(t.plus(end, t.int(-1))),
      ...takeOuter,
      ...accumulate(t.less(t.plus(first, t.int(1)), end)),
      ...this.#results(others, [{ kind: "await", pending: 0 }, ...afterOuter]),
    ];
    const wanted = [...(isShared ? [inners] : []), ...(outers === undefined ? [] : [outers])];
    const beside = Array.from({ length: columns / width - 1 }, (_, i): TileOp[] =>
      others === undefined
        ? []
        : others.body((i + 1) * width, {
            counter: this.#block,
            first,
            end,
            ops: before,
            channels: wanted,
            operands: outer.map(({ operand }) => ({ ...operand, isOldest: true })),
          }),
    );
    return { body, beside };
  }

  /** What the rows and their sums come to, after `waits`: the last products. */
  #results(others: CascadeColumns | undefined, waits: readonly TileOp[]): TileOp[] {
    const { rows, columns, warpgroups, isStaged } = this.#shape;
    const ends = this.#reductions.finalRows();
    const carriers = this.#reductions.finals();
    const { ops, made } = this.#reductions.rowsOfResults(carriers);
    return [
      ...ends,
      ...(others?.giveTotals(carriers) ?? []),
      ...ops,
      ...waits,
      ...resultOps(this.#b, this.#loop, {
        shape: { m: rows, n: columns, warpgroups },
        carriers,
        made,
        views: isStaged ? this.#plan.results : [],
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
