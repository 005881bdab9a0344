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
import type { Counter, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { partition } from "../partition.ts";
import { CascadeColumns } from "./cascade-columns.ts";
import { CascadeFactors } from "./cascade-factors.ts";
import type { CascadePlan } from "./cascade-plan.ts";
import { CascadeReductions, moved } from "./cascade-reductions.ts";
import { CascadeSlots } from "./cascade-slots.ts";
import { besideFragment, warpgroupFragment, type WarpgroupFragment } from "./fragments.ts";
import { matricesOf, type Matrices } from "./matrices.ts";
import { declareBuffers, type DeclaredBuffers, type KernelSource } from "./source.ts";
import { visitedBlocks } from "./swept-blocks.ts";
import { resultOps } from "./transfers.ts";
import { translator } from "./translate.ts";

export interface CascadeShape {
  /** Rows of a block, a warpgroup's 64 times their number, and places of the swept axis that it takes at a time. */
  readonly rows: number;
  readonly block: number;
  readonly warpgroups: number;
  /** Of the results, for a warpgroup; where there are more, others beside those that reduce have as many. */
  readonly columns: number;
  /** Whether results go out through shared memory. */
  readonly isStaged: boolean;
  /** Slots for either kind of factor that streams, and for a tile's rows. */
  readonly depth: number;
  readonly rowsDepth: number;
  /** Warpgroups of the role that copies; where there are none, those who reduce do. */
  readonly copyWarpgroups: number;
  /** Registers of a thread that copies for what it has read and not yet made. */
  readonly heldRegisters: number;
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
    const conditions = [...plan.products, ...plan.sums].flatMap(({ right }) => [
      ...right.conditions,
      ...(right.made?.conditions ?? []),
    ]);
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
        threads: (shape.copyWarpgroups || shape.warpgroups) * warpgroupThreads,
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
        copy:
          shape.copyWarpgroups > 0
            ? { threads: shape.copyWarpgroups * warpgroupThreads, registers: shape.registers.copy }
            : undefined,
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
    const { rows, block, columns: width } = this.#shape;
    const { sums, columns } = this.#plan;
    const b = this.#b;
    const { ops, first, end, whole } = visitedBlocks(
      b,
      this.#block,
      block,
      this.#matrices.kCount,
      this.#reductions.seenBy("any"),
      this.#reductions.seenBy("every"),
    );
    const slots = new CascadeSlots(b, this.#factors, this.#plan, { ...this.#shape, end });
    const here = t.at(this.#block);
    const previous = t.plus(here, t.int(-1));
    const inSection = t.plus(
      t.times(t.at(this.#section), t.size(this.#inSection.count)),
      t.at(this.#inSection),
    );
    const before: TileOp[] = [
      { kind: "index", counter: this.#batch, expr: this.#inOrder(inSection) },
      ...ops,
    ];
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
            columns: slots.piece,
            inner: this.#inner,
            outer: slots.piece === width ? this.#outer : besideFragment(b, slots.piece, this.#inner),
          });
    const done: TileOp = { kind: "await", pending: 0 };
    const score = this.#score(slots);
    const accumulate = this.#accumulate(slots);
    const isAfterFirst = t.less(first, previous);
    const overlapped = (): TileOp[] => {
      const { steps, hold, bring } = this.#follow(others);
      return [
        ...slots.fillInner(here),
        ...score.flatMap(({ takes }) => takes),
        ...slots.fillOuter(previous),
        {
          kind: "turn",
          axis: this.#inner.warpgroup,
          body: [
            ...score.map(({ product }) => product),
            ...slots.takeOuter,
            ...accumulate(isAfterFirst),
            { kind: "await", pending: sums.length },
          ],
        },
        ...slots.afterInner(here),
        ...this.#reductions.ofBlock(here, whole),
        ...(others === undefined ? [] : [...steps, ...hold, others.give("wide")]),
        done,
        ...slots.afterOuter(previous),
        ...(others === undefined ? steps : []),
        ...bring,
        ...this.#pack(),
      ];
    };
    // A slot that both products read is free only after both: the next one could not come while it waits for another.
    // Those who multiply the other columns do so while the next block is reduced, when nothing else is multiplied: their
    // factors are written under the own product, and handed over after the inner ones.
    const oneAfterAnother = (): TileOp[] => [
      ...slots.fillOuter(previous),
      ...slots.takeOuter,
      ...accumulate(isAfterFirst),
      ...(others === undefined ? [] : [others.give("wide", true)]),
      ...slots.fillInner(here),
      ...score.flatMap(({ takes, product }, k): TileOp[] => [
        ...takes,
        product,
        ...(k > 0 ? [] : [{ kind: "await", pending: 1 } as const, ...slots.afterOuter(previous)]),
      ]),
      ...(others === undefined ? [] : [others.handOver]),
      done,
      ...slots.afterInner(here),
      ...this.#reductions.ofBlock(here, whole, () => {
        const { steps, hold, bring } = this.#follow(others);
        return [...steps, ...hold, ...bring];
      }),
      ...this.#pack(),
    ];
    const body: TileOp[] = [
      ...before,
      ...this.#factors.ops,
      ...slots.readFirst(first),
      slots.fillRows(first),
      ...slots.fillFirst(first),
      ...slots.fillInner(first),
      slots.takeRows,
      ...this.#reductions.declarations(),
      ...(others?.declarations() ?? []),
      ...score.flatMap(({ takes, product }) => [...takes, product]),
      done,
      ...slots.afterInner(first),
      ...this.#reductions.ofBlock(first, whole),
      ...(others === undefined || slots.isShared ? [] : [others.give("wide")]),
      ...this.#pack(),
      {
        kind: "for",
        counter: this.#block,
        from: t.plus(first, t.int(1)),
        below: end,
        unroll: false,
        body: slots.isShared ? oneAfterAnother() : overlapped(),
      },
      slots.releaseRows,
      ...(others === undefined || !slots.isShared ? [] : [others.give("packed")]),
      ...slots.fillOuter(t.plus(end, t.int(-1))),
      ...slots.takeOuter,
      ...accumulate(t.less(t.plus(first, t.int(1)), end)),
      ...this.#results(others, [done, ...slots.afterOuter(undefined)]),
    ];
    const beside = Array.from({ length: columns / width - 1 }, (_, i): TileOp[] =>
      others === undefined
        ? []
        : others.body(slots.piecesOf(i + 1), { counter: this.#block, first, end, ops: before }),
    );
    return { body, beside };
  }

  /** Which of the batch is the one to be taken at a place. */
  #inOrder(at: TileExpr): TileExpr {
    const { order, axes } = this.#loop;
    if (order === undefined) return at;
    const zero = t.int(0);
    const places = this.#matrices.axesAt(at)(zero, zero, zero);
    const place = translator({ axes: places, carriers: [], inputs: this.#buffers.inputs })(order.place);
    return this.#plan.batch.reduce<TileExpr>((flat, axis) => {
      const own = axis === order.axis ? place : (places[axis] ?? zero);
      return t.plus(t.times(flat, t.size(axes[axis]?.extent ?? constant(1))), own);
    }, zero);
  }

  /** How sums follow the block's changes: the steps, kept for others, and the own sums brought on. */
  #follow(others: CascadeColumns | undefined): Readonly<Record<"steps" | "hold" | "bring", TileOp[]>> {
    const changes = this.#reductions.changesOfSums();
    return {
      steps: changes.flatMap((change) => (change === undefined ? [] : [change.op])),
      hold: others?.hold(changes) ?? [],
      bring: changes.flatMap((change, i): TileOp[] => {
        const acc = this.#reductions.accumulators[i];
        return change === undefined || acc === undefined ? [] : [moved(change, acc, t.valueOf(change.step))];
      }),
    };
  }

  /** The inner products in steps, each with what it waits for. */
  #score(slots: CascadeSlots): readonly { readonly takes: readonly TileOp[]; readonly product: TileOp }[] {
    const { block } = this.#shape;
    return slots.innerSteps().map(({ take, product, left, right, isFirst }) => {
      const acc = this.#reductions.scores.get(product.scalar);
      invariant(acc !== undefined, "each product has its tile");
      const side = right.order === "k" ? "k" : "n";
      return {
        takes: take === undefined ? [] : [{ kind: "take", channel: take }],
        product: {
          kind: "mma",
          acc,
          a: left,
          b: right,
          m: this.#inner.m.row,
          n: this.#inner.n.row,
          accumulate: t.bool(!isFirst),
          instruction: `wgmma.m64n${block}k16.${this.#plan.dtype}.k.${side}`,
        },
      };
    });
  }

  /** The sums' products of a block, onto what was summed before or not. */
  #accumulate(slots: CascadeSlots): (accumulate: TileExpr) => TileOp[] {
    const { dtype } = this.#plan;
    const { columns } = this.#shape;
    return (accumulate) =>
      slots.factorsOf(0).map(({ operand, from }, i): TileOp => {
        const [left, acc] = [this.#reductions.lefts[i], this.#reductions.accumulators[i]];
        invariant(left?.packed !== undefined && acc !== undefined, "each sum has its tiles");
        const side = operand.order === "k" ? "k" : "n";
        return {
          kind: "mma",
          acc,
          a: { registers: left.packed, row: this.#inner.m.row, k: this.#inner.n.row },
          b: operand,
          m: this.#outer.m.row,
          n: from === 0 ? this.#outer.n.row : t.plus(this.#outer.n.row, t.int(from)),
          accumulate,
          instruction: `wgmma.m64n${columns}k16.${dtype}.r.${side}`,
        };
      });
  }

  #pack(): TileOp[] {
    const to = this.#plan.dtype;
    return this.#reductions.lefts.flatMap(({ wide, packed }): TileOp[] =>
      packed === undefined
        ? []
        : [{ kind: "update", tile: packed, expr: { kind: "round", type: "f32", to, arg: t.valueOf(wide) } }],
    );
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
