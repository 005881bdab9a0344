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
import type { Arena } from "../../tensor/arena.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import { rescaling, wayOf, type Change, type Rescaling } from "../../tensor/rescale.ts";
import { operandsOf, reachable, rewriteScalars } from "../../tensor/scalars.ts";
import { add, ceildiv, constant, floordiv, min, mul, one } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Axis, Channel, Counter, MatrixOperand, Tile, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { partition } from "../partition.ts";
import { axesOf, constantOf, readsOf } from "./analysis.ts";
import type { CascadePlan, CopiedFactor } from "./cascade-plan.ts";
import { besideFragment, warpgroupFragment, type WarpgroupFragment } from "./fragments.ts";
import { guard, matricesOf, type Matrices } from "./matrices.ts";
import { endsOf, rangeOf, where, type Range } from "./ranges.ts";
import { declareBuffers, type DeclaredBuffers, type KernelSource } from "./source.ts";
import { operandCopies, panelBytes, resultOps, type CopyPlace } from "./transfers.ts";
import { translator } from "./translate.ts";

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

/** A carrier that others use: whole after each block. `before` is its value in the block before. */
interface Running {
  readonly carrier: number;
  readonly tile: Tile;
  readonly before: Tile;
}

class Cascade {
  readonly #source: KernelSource<LoopNode>;
  readonly #arena: Arena;
  readonly #loop: LoopNode;
  readonly #plan: CascadePlan;
  readonly #shape: CascadeShape;
  readonly #b = new t.TileBuilder();
  readonly #buffers: DeclaredBuffers;
  readonly #matrices: Matrices;
  readonly #range: Range;
  /** The products' fragment, over rows and the block; and the results', over rows and columns. */
  readonly #inner: WarpgroupFragment;
  readonly #outer: WarpgroupFragment;
  readonly #change: Change;

  readonly #worker: Counter;
  readonly #section: Counter;
  readonly #mTile: Counter;
  readonly #inSection: Counter;
  readonly #batch: Counter;
  readonly #block: Counter;
  readonly #mBase: TileExpr;
  readonly #axesAt: ReturnType<Matrices["axesAt"]>;

  /** Of each inner product its result; of each sum its left factor, as f32 and packed, and its accumulator. */
  readonly #scores: ReadonlyMap<Scalar, Tile>;
  readonly #lefts: readonly { readonly wide: Tile; readonly packed: Tile }[];
  readonly #accumulators: readonly Tile[];
  /** Carriers that later ones use, and those that each thread reduces for itself until the end. */
  readonly #running: readonly Running[];
  readonly #partial: ReadonlyMap<number, Tile>;

  constructor(source: KernelSource<LoopNode>, plan: CascadePlan, shape: CascadeShape, dealing: Dealing) {
    const b = this.#b;
    const loop = source.node;
    this.#source = source;
    this.#arena = source.arena;
    this.#loop = loop;
    this.#plan = plan;
    this.#shape = shape;
    this.#buffers = declareBuffers(b, source);
    this.#matrices = matricesOf(loop, { ...plan, products: [] });
    this.#range = rangeOf(loop, plan.m);
    this.#inner = warpgroupFragment(b, { m: shape.rows, n: shape.block, warpgroups: shape.warpgroups });
    this.#outer = besideFragment(b, plan.columns, this.#inner);
    const count = loop.carriers.length;
    // Carriers' numbers beyond the loop's stand for what they were before the block.
    this.#change = {
      arena: this.#arena,
      isSwept: (axis) => axis >= loop.axes.length,
      after: (scalar) => scalar,
      before: (scalar) =>
        rewriteScalars(this.#arena, [scalar], (s) =>
          s.kind === "carrier" ? this.#arena.carrier(s.carrier + count, s.type) : s,
        )[0] ?? scalar,
      way: wayOf(loop.carriers),
    };
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

    const uses = new Set<number>();
    for (const s of reachable(loop.carriers.map((carrier) => carrier.lift)))
      if (s.kind === "carrier") uses.add(s.carrier);
    const { parts } = this.#inner;
    const rowAxes = this.#rowAxes();
    const nameOf = (k: number): string => loop.carriers[k]?.name ?? "carrier";
    this.#scores = new Map(
      plan.products.map(({ scalar }) => [scalar, b.tile("product", "f32", this.#inner.axes)]),
    );
    this.#lefts = plan.sums.map(({ carrier }) => ({
      wide: b.tile(`${nameOf(carrier)}_left`, "f32", this.#inner.axes),
      packed: b.tile(`${nameOf(carrier)}_packed`, "f32", this.#inner.axes, plan.dtype),
    }));
    this.#accumulators = plan.sums.map(({ carrier }) => b.tile(nameOf(carrier), "f32", this.#outer.axes));
    this.#running = plan.rows.flatMap((k): Running[] =>
      uses.has(k)
        ? [
            {
              carrier: k,
              tile: b.tile(nameOf(k), this.#typeOf(k), rowAxes),
              before: b.tile(`${nameOf(k)}_before`, this.#typeOf(k), rowAxes),
            },
          ]
        : [],
    );
    this.#partial = new Map(
      plan.rows.flatMap((k) =>
        uses.has(k)
          ? []
          : [[k, b.tile(`${nameOf(k)}_part`, this.#typeOf(k), [...rowAxes, parts.quad, parts.pair])]],
      ),
    );
  }

  #typeOf(k: number): Tile["type"] {
    return this.#carrier(k).lift.type;
  }

  #carrier(k: number): LoopNode["carriers"][number] {
    const carrier = this.#loop.carriers[k];
    invariant(carrier !== undefined, `no carrier ${k}`);
    return carrier;
  }

  #rowAxes(): Axis[] {
    const { warpgroup, warp, wave, half, group } = this.#inner.parts;
    return [warpgroup, warp, wave, half, group];
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
    const { ops, first, end } = this.#visited();

    const score = (): TileOp[] =>
      products.map(({ scalar }, i): TileOp => {
        const [a, c] = [still[i]?.operand, inner[i]?.operand];
        const acc = this.#scores.get(scalar);
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
        const [left, c, acc] = [this.#lefts[i], outer[i]?.operand, this.#accumulators[i]];
        invariant(left !== undefined && c !== undefined && acc !== undefined, "each sum has its tiles");
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
      this.#lefts.map(({ wide, packed }) => ({
        kind: "update",
        tile: packed,
        expr: { kind: "round", type: "f32", to: dtype, arg: t.valueOf(wide) },
      }));
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
      ...this.#declarations(),
      { kind: "take", channel: inners },
      ...score(),
      { kind: "await", pending: 0 },
      { kind: "release", channel: inners, where: undefined },
      ...this.#reductions(first),
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
          ...this.#reductions(here),
          { kind: "await", pending: 0 },
          { kind: "release", channel: outers, where: undefined },
          ...this.#rescaleSums(),
          ...pack(),
        ],
      },
      { kind: "release", channel: lefts, where: undefined },
      this.#fill(outers, outer, t.plus(end, t.int(-1))),
      { kind: "take", channel: outers },
      ...accumulate(t.less(t.plus(first, t.int(1)), end)),
      ...this.#finalRows(),
      ...this.#rowsOfResults(),
      { kind: "await", pending: 0 },
      { kind: "release", channel: outers, where: undefined },
      ...resultOps(b, this.#loop, {
        shape: { m: rows, n: columns, warpgroups: this.#shape.warpgroups },
        carriers: this.#finals(),
        made: this.#ofRows,
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

  /** The first block of the swept axis that some row sees, and the end; one at least. */
  #visited(): { readonly ops: TileOp[]; readonly first: TileExpr; readonly end: TileExpr } {
    const { block } = this.#shape;
    const blocks = this.#block.count;
    const { low, high } = endsOf(this.#range, this.#rowsOfTile(), "any");
    const ops: TileOp[] = [];
    const named = (name: string, count: Counter["count"], expr: TileExpr): TileExpr => {
      const counter = this.#b.counter(name, count);
      ops.push({ kind: "index", counter, expr });
      return t.at(counter);
    };
    const last = t.plus(t.size(blocks), t.int(-1));
    const least = (a: TileExpr, c: TileExpr): TileExpr => t.apply("min", "i32", [a, c]);
    const most = (a: TileExpr, c: TileExpr): TileExpr => t.apply("max", "i32", [a, c]);
    const blockOf = (place: TileExpr): TileExpr => t.over(most(place, t.int(0)), t.int(block));
    const first = low === undefined ? t.int(0) : named("first", blocks, least(blockOf(low), last));
    if (high === undefined) return { ops, first, end: t.size(blocks) };
    const end = most(t.plus(least(blockOf(high), last), t.int(1)), t.plus(first, t.int(1)));
    return { ops, first, end: named("end", add(blocks, one), end) };
  }

  #rowsOfTile(): Parameters<typeof endsOf>[1] {
    const axes = this.#axesAt(this.#mBase, t.int(0), t.int(0));
    return {
      axes: this.#plan.m,
      extents: this.#plan.m.map((axis) => this.#loop.axes[axis]?.extent ?? one),
      base: this.#mBase,
      count: this.#shape.rows,
      translate: translator({ axes, carriers: [], inputs: this.#buffers.inputs }),
    };
  }

  #declarations(): TileOp[] {
    const identity = (k: number): TileExpr => {
      const { monoid, lift } = this.#carrier(k);
      return { kind: "const", type: lift.type, value: monoidOf(monoid).identity(lift.type) };
    };
    const open = (tile: Tile): TileOp => ({ kind: "var", tile, init: undefined });
    return [
      ...[...this.#scores.values()].map(open),
      ...this.#lefts.flatMap(({ wide, packed }) => [open(wide), open(packed)]),
      ...this.#accumulators.map(open),
      ...this.#running.map(({ carrier, tile }): TileOp => ({ kind: "var", tile, init: identity(carrier) })),
      ...[...this.#partial].map(([k, tile]): TileOp => ({ kind: "var", tile, init: identity(k) })),
    ];
  }

  // ---------------------------------------------------------------- reductions of one block

  /** The rows' reductions and the left factors; without the conditions that hold where every row sees the whole block. */
  #reductions(block: TileExpr): TileOp[] {
    const before = this.#running.map(({ tile, before: tileBefore }): TileOp => ({
      kind: "let",
      tile: tileBefore,
      expr: t.valueOf(tile),
      where: undefined,
      otherwise: undefined,
    }));
    const whole = this.#isWhole(block);
    if (whole === true) return [...before, ...this.#blockOps(block, this.#range.conditions, false)];
    if (whole === false) return [...before, ...this.#blockOps(block, new Set(), true)];
    return [
      ...before,
      {
        kind: "if",
        condition: whole,
        then: this.#blockOps(block, this.#range.conditions, false),
        otherwise: this.#blockOps(block, new Set(), true),
      },
    ];
  }

  /** Whether every row sees every place of the block, and the block is no longer than what is left of the axis. */
  #isWhole(block: TileExpr): TileExpr | boolean {
    const size = this.#shape.block;
    const extent = constantOf(this.#matrices.kCount);
    const start = t.times(block, t.int(size));
    const last = t.plus(start, t.int(size - 1));
    const { low, high } = endsOf(this.#range, this.#rowsOfTile(), "every");
    const parts = [
      extent !== undefined && extent % size === 0 ? undefined : t.less(last, t.size(this.#matrices.kCount)),
      high === undefined ? undefined : t.less(last, t.plus(high, t.int(1))),
      low === undefined ? undefined : t.less(t.plus(low, t.int(-1)), start),
    ];
    return parts.reduce<TileExpr | undefined>(t.both, undefined) ?? true;
  }

  #blockOps(block: TileExpr, known: ReadonlySet<Scalar>, isGuarded: boolean): TileOp[] {
    const { parts, n, m } = this.#inner;
    const loop = this.#loop;
    const place = t.plus(t.times(block, t.int(this.#shape.block)), n.row);
    const row = t.plus(this.#mBase, m.row);
    const lifts = where(
      this.#arena,
      loop.carriers.map((carrier) => carrier.lift),
      known,
    );
    const axes = this.#axesAt(row, t.int(0), place);
    // Beyond the axis nothing counts. Beyond the rows nothing is stored, but nothing may be read there either.
    const inside = t.both(
      isGuarded ? guard(place, this.#matrices.kCount, this.#shape.block) : undefined,
      readsAt(lifts, this.#plan.m) ? guard(row, this.#matrices.mCount, this.#shape.rows) : undefined,
    );
    const made = new Map<Scalar, TileExpr>(
      [...this.#scores].map(([scalar, tile]): [Scalar, TileExpr] => [scalar, t.valueOf(tile)]),
    );
    const translate = (scalar: Scalar): TileExpr =>
      translator({ axes, carriers: this.#current(), inputs: this.#buffers.inputs, made })(scalar);
    const ops: TileOp[] = [];
    for (const { carrier: k, tile } of this.#running) {
      const lift = lifts[k];
      invariant(lift !== undefined, "each carrier has a lift");
      ops.push(...this.#rescale(k, tile));
      const { monoid } = this.#carrier(k);
      const own = this.#b.tile(`${tile.name}_own`, tile.type, [...this.#rowAxes(), parts.quad, parts.pair]);
      const identity = monoidOf(monoid).identity(tile.type);
      ops.push(
        { kind: "var", tile: own, init: { kind: "const", type: tile.type, value: identity } },
        { kind: "fold", tile: own, monoid, expr: translate(lift), over: this.#alongBlock(), where: inside },
      );
      const { ops: more, tile: reduced } = this.#acrossQuad(own, monoid);
      const combined = t.apply(monoidOf(monoid).combine, tile.type, [t.valueOf(tile), t.valueOf(reduced)]);
      ops.push(...more, { kind: "update", tile, expr: combined });
    }
    this.#plan.sums.forEach(({ carrier }, i) => {
      const left = this.#leftOf(lifts[carrier] ?? this.#carrier(carrier).lift);
      const wide = this.#lefts[i]?.wide;
      invariant(wide !== undefined, "each sum has a left factor");
      const zero: TileExpr = { kind: "const", type: "f32", value: 0 };
      if (inside === undefined) {
        ops.push({ kind: "update", tile: wide, expr: translate(left) });
      } else {
        const own = this.#b.tile(`${wide.name}_inside`, "f32", wide.axes);
        ops.push(
          { kind: "let", tile: own, expr: translate(left), where: inside, otherwise: zero },
          { kind: "update", tile: wide, expr: t.valueOf(own) },
        );
      }
      made.set(left, t.valueOf(wide));
    });
    for (const [k, tile] of this.#partial) {
      const lift = lifts[k];
      invariant(lift !== undefined, "each carrier has a lift");
      ops.push(...this.#rescale(k, tile));
      const { monoid } = this.#carrier(k);
      ops.push({
        kind: "fold",
        tile,
        monoid,
        expr: translate(lift),
        over: this.#alongBlock(),
        where: inside,
      });
    }
    return ops;
  }

  /** The factor of a lift that the loop makes, before it is rounded. */
  #leftOf(lift: Scalar): Scalar {
    invariant(lift.kind === "apply" && lift.fn === "mul", "a sum of products");
    const isMade = (s: Scalar): boolean =>
      reachable([s]).some((part) => part.kind === "carrier" || part.kind === "reduce");
    const left = lift.args.find(isMade);
    invariant(left !== undefined, "a factor is made in the loop");
    return left.kind === "round" && left.to === this.#plan.dtype ? left.arg : left;
  }

  #alongBlock(): Axis[] {
    return [this.#inner.tiles];
  }

  /** Both of a pair, then the four threads that share a row. */
  #acrossQuad(part: Tile, monoid: string): { readonly ops: TileOp[]; readonly tile: Tile } {
    const { quad, pair } = this.#inner.parts;
    const identity = monoidOf(monoid).identity(part.type);
    const own = this.#b.tile(`${part.name}_pair`, part.type, [...this.#rowAxes(), quad]);
    const tile = this.#b.tile(`${part.name}_row`, part.type, this.#rowAxes());
    return {
      ops: [
        { kind: "var", tile: own, init: { kind: "const", type: part.type, value: identity } },
        { kind: "fold", tile: own, monoid, expr: t.valueOf(part), over: [pair], where: undefined },
        { kind: "reduce", tile, src: own, monoid, over: [quad] },
      ],
      tile,
    };
  }

  // ---------------------------------------------------------------- rescaling

  /** Values of carriers now, then of those that others use before this block. */
  #current(): (TileExpr | undefined)[] {
    const count = this.#loop.carriers.length;
    const values: (TileExpr | undefined)[] = Array.from({ length: 2 * count }, () => undefined);
    for (const { carrier, tile, before } of this.#running) {
      values[carrier] = t.valueOf(tile);
      values[count + carrier] = t.valueOf(before);
    }
    return values;
  }

  /** Brings what was reduced up to now to the carriers' new values. */
  #rescale(k: number, tile: Tile): TileOp[] {
    const { monoid, lift } = this.#carrier(k);
    const found = rescaling(this.#change, monoid, lift);
    invariant(found !== undefined, "the loop can be streamed");
    if (found === "same") return [];
    return this.#rescaleBy(found, tile);
  }

  #rescaleBy({ fn, by, isGuarded }: Rescaling, tile: Tile): TileOp[] {
    const axes = this.#axesAt(t.plus(this.#mBase, this.#inner.m.row), t.int(0), t.int(0));
    const translate = translator({ axes, carriers: this.#current(), inputs: this.#buffers.inputs });
    const step = this.#b.tile(`${tile.name}_step`, "f32", this.#rowAxes());
    const value = t.valueOf(tile);
    const moved = t.apply(fn, "f32", [value, t.valueOf(step)]);
    const zero: TileExpr = { kind: "const", type: "f32", value: 0 };
    const isZero = t.apply("eq", "bool", [value, zero]);
    return [
      { kind: "let", tile: step, expr: translate(by), where: undefined, otherwise: undefined },
      { kind: "update", tile, expr: isGuarded ? t.apply("select", "f32", [isZero, zero, moved]) : moved },
    ];
  }

  #rescaleSums(): TileOp[] {
    return this.#plan.sums.flatMap(({ carrier }, i) => {
      const acc = this.#accumulators[i];
      invariant(acc !== undefined, "each sum has an accumulator");
      return this.#rescale(carrier, acc);
    });
  }

  // ---------------------------------------------------------------- the end

  readonly #whole = new Map<number, Tile>();

  #finalRows(): TileOp[] {
    return [...this.#partial].flatMap(([k, tile]) => {
      const { ops, tile: whole } = this.#acrossQuad(tile, this.#carrier(k).monoid);
      this.#whole.set(k, whole);
      return ops;
    });
  }

  /** What of the results is the same along a row, made once for it. */
  readonly #ofRows = new Map<Scalar, TileExpr>();

  #rowsOfResults(): TileOp[] {
    const { n, sums } = this.#plan;
    const varies = new Set<Scalar>();
    const tops = new Set<Scalar>();
    const all = reachable(this.#loop.results.map((result) => result.value));
    // What is read is read where the row is known to be inside.
    const isOfRow = (s: Scalar): boolean =>
      s.kind === "apply" && s.type === "f32" && !varies.has(s) && readsOf([s]).length === 0;
    for (const s of all) {
      const own =
        (s.kind === "axis" && n.includes(s.axis)) ||
        (s.kind === "carrier" && sums.some(({ carrier }) => carrier === s.carrier));
      const operands = operandsOf(s);
      if (!own && !operands.some((operand) => varies.has(operand))) continue;
      varies.add(s);
      for (const operand of operands) if (isOfRow(operand)) tops.add(operand);
    }
    const axes = this.#axesAt(t.plus(this.#mBase, this.#inner.m.row), t.int(0), t.int(0));
    const carriers = this.#finals();
    return [...tops].map((scalar) => {
      const tile = this.#b.tile("of_row", "f32", this.#rowAxes());
      const expr = translator({ axes, carriers, inputs: this.#buffers.inputs })(scalar);
      this.#ofRows.set(scalar, t.valueOf(tile));
      return { kind: "let", tile, expr, where: undefined, otherwise: undefined };
    });
  }

  #finals(): TileExpr[] {
    return this.#loop.carriers.map((_, k) => {
      const sum = this.#plan.sums.findIndex(({ carrier }) => carrier === k);
      const tile =
        this.#accumulators[sum] ?? this.#whole.get(k) ?? this.#running.find((r) => r.carrier === k)?.tile;
      invariant(tile !== undefined, "each carrier has a tile");
      return t.valueOf(tile);
    });
  }
}

/** Whether something that is read moves along some axes. */
function readsAt(scalars: readonly Scalar[], axes: readonly number[]): boolean {
  const all = reachable(scalars);
  // The products' factors are copied.
  const inside = new Set(all.flatMap((s) => (s.kind === "reduce" ? reachable([s.arg]) : [])));
  return all.some((s) => {
    if (s.kind !== "read" || inside.has(s)) return false;
    const moves = axesOf(s);
    return axes.some((axis) => moves.has(axis));
  });
}

/** A factor that a channel brings: of the block's rows, of places of the swept axis, or of those by the columns. */
interface Streaming {
  readonly operand: MatrixOperand;
  readonly factor: CopiedFactor;
  readonly side: "rows" | "block" | "columns";
}
