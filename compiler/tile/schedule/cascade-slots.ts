/**
 * What a cascade keeps in shared memory: channels of its factors, which role takes what of them, and when it lets go.
 *
 * A factor that is both an inner product's and an outer one's comes in parts, each through a channel of its own: the
 * columns of each role that multiplies, and what lies beyond them. A part's slot is free when its last reader is done,
 * and so the next block's parts come while others are still read.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Scalar } from "../../tensor/ir.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Channel, MatrixOperand, TileExpr, TileOp } from "../ir.ts";
import { fillFirst, fillNext, type StepsAhead } from "./ahead.ts";
import type { ColumnsPiece } from "./cascade-columns.ts";
import type { CascadeFactors, Streaming } from "./cascade-factors.ts";
import type { CascadePlan, InnerProduct } from "./cascade-plan.ts";
import type { CascadeShape } from "./cascade.ts";
import type { HeldLoads, HeldPanel } from "./held-loads.ts";
import { panelBytes } from "./transfers.ts";

/** Neighbouring places of what an inner product sums over, of both its factors. */
interface Part {
  readonly from: number;
  readonly width: number;
  readonly left: Streaming;
  readonly right: Streaming;
  readonly channel: Channel;
}

/** One step of an inner product: what it waits for, and what it multiplies. */
export interface InnerStep {
  readonly take: Channel | undefined;
  readonly product: InnerProduct;
  readonly left: MatrixOperand;
  readonly right: MatrixOperand;
  readonly isFirst: boolean;
}

/** Right factors of sums: `from` columns into the tile they begin. */
export interface RoleFactor {
  readonly operand: MatrixOperand;
  readonly from: number;
}

/** A channel, and what comes through it for each block. */
interface Brought {
  readonly channel: Channel;
  readonly factors: readonly Streaming[];
}

/** A panel that threads make, of a part that comes through a channel of its own. */
interface MadePanel {
  readonly channel: Channel;
  readonly part: Streaming;
  readonly panel: number;
}

/** The panels of a block in the order in which they are made, and what is held for them; `end` of the blocks. */
interface HeldPanels {
  readonly loads: HeldLoads;
  readonly panels: readonly MadePanel[];
  readonly end: TileExpr;
}

/** Blocks ahead that what threads read is asked for. Rows of codes, 128 x 16384, took 716, 668, 681 and 714 us with 0, 1, 2 and 4. H200. */
const blocksAhead = 1;

export class CascadeSlots {
  readonly #factors: CascadeFactors;
  readonly #plan: CascadePlan;
  readonly #width: number;
  /** Columns that those beyond the first role multiply at a time: a role's, or a part of them. */
  readonly piece: number;
  readonly #lefts: Channel;
  /** Of each product its parts, in the order in which they come. */
  readonly #parts: ReadonlyMap<InnerProduct, readonly Part[]>;
  /** Right factors of sums that come by themselves. */
  readonly #own: ReadonlyMap<CascadePlan["sums"][number], Streaming>;
  readonly #outers: Channel | undefined;
  /** Of all channels; undefined where a role copies. */
  readonly #ahead: { readonly depth: number; readonly end: TileExpr } | undefined;
  /** What threads of a role make alone. */
  readonly #held: HeldPanels | undefined;

  /** `columns` of the results for each role that multiplies; `end` of the blocks that are visited. */
  constructor(
    b: t.TileBuilder,
    factors: CascadeFactors,
    plan: CascadePlan,
    {
      rows,
      block,
      depth,
      rowsDepth,
      columns,
      copyWarpgroups,
      heldRegisters,
      end,
    }: Pick<
      CascadeShape,
      "rows" | "block" | "depth" | "rowsDepth" | "columns" | "copyWarpgroups" | "heldRegisters"
    > & {
      readonly end: TileExpr;
    },
  ) {
    this.#factors = factors;
    this.#plan = plan;
    this.#width = columns;
    this.piece = pieceOf(plan, columns);
    const copies = copyWarpgroups > 0;
    this.#ahead = copies ? undefined : { depth, end };
    // Slots that no sum reads are free first.
    const shared = (product: InnerProduct): boolean => plan.sums.some(({ partOf }) => partOf === product);
    const ordered = [...plan.products.filter((one) => !shared(one)), ...plan.products.filter(shared)];
    const drafts = ordered.map((product) => {
      const { left, right, axes: inner } = product;
      const parts = rangesOf(plan, product, columns, this.piece).map(({ from, width }) => ({
        from,
        width,
        left: {
          operand: factors.operand("left_tile", left, rows, width),
          factor: left,
          side: "rows",
          inner,
          from,
        } as const,
        right: {
          operand: factors.operand("inner_tile", right, block, width),
          factor: right,
          side: "block",
          inner,
          from,
        } as const,
      }));
      return { product, parts };
    });
    this.#lefts = b.channel(
      "lefts",
      rowsDepth,
      drafts.flatMap(({ parts }) => parts.map(({ left }) => left.operand.tile)),
    );
    // What is one part goes with others that are.
    const whole = drafts.filter(({ parts }) => parts.length === 1).flatMap(({ parts }) => parts);
    const inners =
      whole.length === 0
        ? undefined
        : b.channel(
            "inners",
            depth,
            whole.map(({ right }) => right.operand.tile),
          );
    this.#parts = new Map(
      drafts.map(({ product, parts }) => [
        product,
        parts.map((part) => ({
          ...part,
          channel:
            parts.length === 1 && inners !== undefined
              ? inners
              : b.channel("inner_part", depth, [part.right.operand.tile]),
        })),
      ]),
    );
    this.#own = new Map(
      plan.sums.flatMap((sum) =>
        sum.partOf === undefined
          ? [
              [
                sum,
                {
                  operand: factors.operand("outer_tile", sum.right, plan.columns, block),
                  factor: sum.right,
                  side: "columns",
                },
              ] as const,
            ]
          : [],
      ),
    );
    const own = [...this.#own.values()].map(({ operand }) => operand.tile);
    this.#outers = own.length === 0 ? undefined : b.channel("outers", depth, own);
    this.#held = copies ? this.#heldPanels(heldRegisters, end) : undefined;
  }

  /** Of channels that bring a factor of their own, which threads make. */
  #heldPanels(registers: number, end: TileExpr): HeldPanels | undefined {
    const panels = this.#innerChannels().flatMap(({ channel, factors: [part, other] }): MadePanel[] =>
      part === undefined || other !== undefined || part.factor.copied !== undefined
        ? []
        : Array.from({ length: part.operand.tile.shape[0] ?? 1 }, (_, panel) => ({ channel, part, panel })),
    );
    const loads = this.#factors.held([...new Set(panels.map(({ part }) => part))], registers);
    return loads === undefined ? undefined : { loads, panels, end };
  }

  /** Whether a slot is read by both kinds of products. */
  get isShared(): boolean {
    return this.#own.size < this.#plan.sums.length;
  }

  // ---------------------------------------------------------------- by those who copy

  /** The rows' own factors, brought once for a tile. */
  fillRows(first: TileExpr): TileOp {
    const all = [...this.#parts.values()].flat().map(({ left }) => left);
    return this.#factors.fill(this.#lefts, all, first);
  }

  /** What is read before the first slot is free. */
  readFirst(first: TileExpr): TileOp[] {
    if (this.#held === undefined) return [];
    const { loads } = this.#held;
    const asked = Array.from({ length: blocksAhead }, (_, k) => this.#ask(t.plus(first, t.int(k)))).flat();
    return [...asked, ...loads.first((place) => this.#heldPanel(place, first))];
  }

  /** A block's panel, or one of the next block. */
  #heldPanel(place: number, block: TileExpr): HeldPanel {
    invariant(this.#held !== undefined, "panels are held");
    const { panels, end } = this.#held;
    const made = panels[place % panels.length];
    invariant(made !== undefined, "a block has panels");
    const next = t.plus(block, t.int(1));
    return place < panels.length
      ? this.#factors.heldPanel(made.part, made.panel, block)
      : this.#factors.heldPanel(made.part, made.panel, next, t.less(next, end));
  }

  /** Blocks from the first one on, where those who multiply fill ahead. */
  fillFirst(first: TileExpr): TileOp[] {
    const steps = [...this.#inTurn(false), ...this.#inTurn(true)];
    return steps.flatMap((one) => fillFirst({ ...one, from: first }));
  }

  /** Asks for what the panels of a block are made of. */
  #ask(block: TileExpr): TileOp[] {
    const [made] = this.#held?.panels ?? [];
    return this.#held === undefined || made === undefined
      ? []
      : this.#factors.prefetch(made.part, block, this.#held.end);
  }

  fillInner(block: TileExpr): TileOp[] {
    return this.#ahead === undefined
      ? [...this.#ask(t.plus(block, t.int(blocksAhead))), ...this.#fillOf(this.#innerChannels(), block)]
      : [];
  }

  fillOuter(block: TileExpr): TileOp[] {
    return this.#ahead === undefined ? this.#fillOf(this.#outerChannels(), block) : [];
  }

  #fillOf(brought: readonly Brought[], block: TileExpr): TileOp[] {
    return brought.map(
      (one) => this.#heldFill(one.channel, block) ?? this.#factors.fill(one.channel, one.factors, block),
    );
  }

  /** Fills a slot with what is held, while later panels are read. */
  #heldFill(channel: Channel, block: TileExpr): TileOp | undefined {
    const { loads, panels } = this.#held ?? { panels: [] };
    const body = panels.flatMap((made, place) =>
      loads === undefined || made.channel !== channel
        ? []
        : loads.fill(place, this.#heldPanel(place, block), this.#heldPanel(place + loads.count, block)),
    );
    return body.length === 0 ? undefined : { kind: "fill", channel, copies: [], body };
  }

  /** What is free after the inner products, or kept until the outer ones are done. */
  #inTurn(isKept: boolean): readonly Omit<StepsAhead, "from">[] {
    if (this.#ahead === undefined) return [];
    const { depth, end } = this.#ahead;
    const kept = this.channelsOf(0);
    const all = [...this.#innerChannels(), ...this.#outerChannels()];
    const brought = all.filter(({ channel }) => kept.includes(channel) === isKept);
    // A slot that both products read is held until the next one is taken.
    const ahead = isKept && this.isShared ? depth : depth - 1;
    return brought.length === 0 ? [] : [{ below: end, ahead, fill: (block) => this.#fillOf(brought, block) }];
  }

  #next(isKept: boolean, block: TileExpr | undefined): TileOp[] {
    return block === undefined ? [] : this.#inTurn(isKept).map((steps) => fillNext(steps, block));
  }

  // ---------------------------------------------------------------- by those who multiply

  get takeRows(): TileOp {
    return { kind: "take", channel: this.#lefts };
  }

  get releaseRows(): TileOp {
    return release(this.#lefts);
  }

  /** The inner products of a block, step by step. */
  innerSteps(): readonly InnerStep[] {
    const taken = new Set<Channel>();
    const begun = new Set<Scalar>();
    return [...this.#parts].flatMap(([product, parts]) =>
      parts.map(({ channel, left, right }): InnerStep => {
        const isNew = !taken.has(channel);
        const isFirst = !begun.has(product.scalar);
        taken.add(channel);
        begun.add(product.scalar);
        return {
          take: isNew ? channel : undefined,
          product,
          left: left.operand,
          right: right.operand,
          isFirst,
        };
      }),
    );
  }

  get takeOuter(): TileOp[] {
    return this.#outers === undefined ? [] : [{ kind: "take", channel: this.#outers }];
  }

  /** What the first role's sums do not read is free again after a block's inner products. */
  afterInner(block: TileExpr): TileOp[] {
    const kept = this.channelsOf(0);
    const free = this.#innerChannels().filter(({ channel }) => !kept.includes(channel));
    return [...free.map(({ channel }) => release(channel)), ...this.#next(false, block)];
  }

  /** `block`: whose outer products are done; undefined: the last one's. */
  afterOuter(block: TileExpr | undefined): TileOp[] {
    return [...this.channelsOf(0).map(release), ...this.#next(true, block)];
  }

  /** Where pieces begin that others than the first role multiply. */
  #besideFirst(): readonly number[] {
    const { columns } = this.#plan;
    return Array.from(
      { length: (columns - this.#width) / this.piece },
      (_, k) => this.#width + k * this.piece,
    );
  }

  /** Of a role beyond the first its pieces. */
  piecesOf(role: number): readonly ColumnsPiece[] {
    return this.#besideFirst().flatMap((from) =>
      Math.floor(from / this.#width) === role
        ? [{ from, channels: this.channelsOf(from), factors: this.factorsOf(from) }]
        : [],
    );
  }

  /** Channels that bring what sums multiply whose columns begin at a place. */
  channelsOf(column: number): readonly Channel[] {
    const shared = this.#plan.sums.flatMap((sum) => this.#partOf(sum, column)?.channel ?? []);
    return [...new Set(shared), ...(this.#outers === undefined ? [] : [this.#outers])];
  }

  /** Of each sum its right factor, for the columns from a place on. */
  factorsOf(from: number): readonly RoleFactor[] {
    return this.#plan.sums.flatMap((sum): RoleFactor[] => {
      const own = this.#own.get(sum);
      if (own !== undefined) return [{ operand: own.operand, from }];
      const part = this.#partOf(sum, from);
      if (part === undefined) return [];
      const { tile } = part.right.operand;
      return [{ operand: { tile, order: sum.right.order, isOldest: true }, from: from - part.from }];
    });
  }

  /** The part that has a column. */
  #partOf({ partOf }: CascadePlan["sums"][number], column: number): Part | undefined {
    const parts = partOf === undefined ? [] : (this.#parts.get(partOf) ?? []);
    return parts.find(({ from, width }) => from <= column && column < from + width);
  }

  #innerChannels(): readonly Brought[] {
    const all = [...this.#parts.values()].flat();
    return [...new Set(all.map(({ channel }) => channel))].map((channel) => ({
      channel,
      factors: all.flatMap((part) => (part.channel === channel ? [part.right] : [])),
    }));
  }

  #outerChannels(): readonly Brought[] {
    return this.#outers === undefined ? [] : [{ channel: this.#outers, factors: [...this.#own.values()] }];
  }
}

/**
 * What others than the first role multiply is free again last, and soonest in pieces: the next block's first piece comes
 * while the last one is multiplied.
 */
function pieceOf({ dtype, columns, sums }: CascadePlan, width: number): number {
  const half = width / 2;
  const isShared = sums.some(({ partOf }) => partOf !== undefined);
  return isShared && width < columns && (half * dtypes[dtype].bytes) % panelBytes === 0 ? half : width;
}

/** What lies beyond the columns of sums first: it is free first. Then those of each role. */
function rangesOf(
  { sums, columns }: CascadePlan,
  product: InnerProduct,
  width: number,
  piece: number,
): readonly { readonly from: number; readonly width: number }[] {
  const { depth, right } = product;
  if (right.order !== "k" || !sums.some(({ partOf }) => partOf === product))
    return [{ from: 0, width: depth }];
  return [
    ...(columns < depth ? [{ from: columns, width: depth - columns }] : []),
    { from: 0, width },
    ...Array.from({ length: (columns - width) / piece }, (_, k) => ({
      from: width + k * piece,
      width: piece,
    })),
  ];
}

function release(channel: Channel): TileOp {
  return { kind: "release", channel, where: undefined };
}
