/**
 * The factors of a cascade on their way to shared memory: tiles of panels that channels bring, by the copy engine, or
 * made by the threads that copy.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopAxis, LoopNode } from "../../tensor/ir.ts";
import { constant, one } from "../../types/dim.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Channel, MatrixOperand, PanelCopy, TileExpr, TileOp } from "../ir.ts";
import { operandExtent } from "../matrix-operand.ts";
import { volume } from "./analysis.ts";
import type { View } from "./boxes.ts";
import type { BroughtFactor } from "./cascade-plan.ts";
import type { Matrices } from "./matrices.ts";
import type { Ends } from "./ranges.ts";
import type { DeclaredBuffers } from "./source.ts";
import { HeldLoads, type HeldPanel } from "./held-loads.ts";
import { mostLoaded, narrowRead, stageFactor, type Staging } from "./staging.ts";
import { heldEnds } from "./swept-blocks.ts";
import { boxesAlongK, operandCopies, panelBytes, type CopyPlace } from "./transfers.ts";
import { translator } from "./translate.ts";

/** A factor that a channel brings: of the tile's rows, of places of the swept axis, or of those by the columns. */
export interface Streaming {
  readonly operand: MatrixOperand;
  readonly factor: BroughtFactor;
  readonly side: "rows" | "block" | "columns";
  /** The axes that a product inside bodies sums over, and from which of their places on the tile is. */
  readonly inner?: readonly number[];
  readonly from?: number;
}

/** Where tiles are, and who fills them. */
export interface FactorPlace {
  readonly b: t.TileBuilder;
  readonly buffers: DeclaredBuffers;
  readonly matrices: Matrices;
  readonly axesAt: ReturnType<Matrices["axesAt"]>;
  readonly mBase: TileExpr;
  /** Places of the swept axis that are taken at a time. */
  readonly block: number;
  readonly dtype: DType;
  /** Threads that copy, and the target's widest access in bytes. */
  readonly threads: number;
  readonly vectorBytes: number;
  /** Whether a block is within ends of the swept axis, and no longer than what is left of it. */
  readonly isWhole: (block: TileExpr, ends: Ends) => TileExpr | true;
}

/** Bytes that a thread loads before it makes factors of them, at most. */
const mostAhead = 128;

export class CascadeFactors {
  readonly #loop: LoopNode;
  readonly #at: FactorPlace;
  /** Elements of a panel's row. */
  readonly #width: number;
  /** Within these the engine brings what it brings under conditions; found before the loop runs. */
  readonly #copied: ReturnType<typeof heldEnds>;

  constructor(loop: LoopNode, place: FactorPlace, copied: Ends) {
    this.#loop = loop;
    this.#at = place;
    this.#width = panelBytes / dtypes[place.dtype].bytes;
    this.#copied = heldEnds(place.b, "copied", place.matrices.kCount, copied);
  }

  /** What is to be known before slots are filled. */
  get ops(): readonly TileOp[] {
    return this.#copied.ops;
  }

  operand(name: string, { order }: BroughtFactor, rows: number, k: number): MatrixOperand {
    const width = this.#width;
    const shape = order === "k" ? [Math.ceil(k / width), rows, width] : [Math.ceil(rows / width), k, width];
    return { tile: this.#at.b.slotTile(name, this.#at.dtype, shape, { swizzle: panelBytes }), order };
  }

  #place(start: Partial<CopyPlace["start"]>, block: TileExpr): CopyPlace {
    return {
      axes: this.#at.axesAt(this.#at.mBase, t.int(0), block),
      buffers: this.#at.buffers,
      start: { m: t.int(0), n: t.int(0), k: t.int(0), ...start },
    };
  }

  /** Boxes where all of the channel's factors come by the engine; else all are made by threads. */
  fill(channel: Channel, factors: readonly Streaming[], block: TileExpr): TileOp {
    const start = t.times(block, t.int(this.#at.block));
    const engine = factors.filter(({ factor }) => factor.copied !== undefined);
    const isPlain = (one: Streaming): boolean =>
      one.factor.copied !== undefined && one.factor.conditions.size === 0;
    const isMixed = engine.length === factors.length && !factors.every(isPlain);
    const isWhole = isMixed ? this.#at.isWhole(block, this.#copied.ends) : undefined;
    const copied = isMixed ? factors : factors.filter(isPlain);
    const made = isMixed ? factors : factors.filter((one) => !isPlain(one));
    const fill = {
      kind: "fill",
      channel,
      copies: copied.flatMap((one) => this.#copies(one, start)),
    } as const;
    if (isWhole === true) return { ...fill, body: [] };
    return { ...fill, where: isWhole, body: made.flatMap((one) => this.#puts(one, start)) };
  }

  #copies({ operand, factor: { copied }, side, from = 0 }: Streaming, start: TileExpr): readonly PanelCopy[] {
    if (copied === undefined) return [];
    if (side === "rows")
      return operandCopies(operand, copied, "m", {
        panel: this.#width,
        place: this.#place({ m: this.#at.mBase }, start),
        from,
      });
    // A box lies in one page.
    const { block } = this.#at;
    const page = copied.view.flatMap((axis) => axis.page ?? [])[0] ?? block;
    return Array.from({ length: Math.ceil(block / page) }, (_, k) => {
      const at = t.plus(start, t.int(k * page));
      const place = this.#place(side === "block" ? { n: at } : { k: at }, at);
      const rows = block <= page ? undefined : { from: k * page, count: page };
      return operandCopies(operand, copied, "n", { panel: this.#width, place, from, rows });
    }).flat();
  }

  /** Axes of the loop at a place of a factor's tile, from the matrix's start. */
  #places({ side, inner = [] }: Streaming): (row: TileExpr, k: TileExpr) => TileExpr[] {
    return (row, place) => {
      const axes =
        side === "rows"
          ? this.#at.axesAt(row, t.int(0), t.int(0))
          : side === "block"
            ? this.#at.axesAt(t.int(0), t.int(0), row)
            : this.#at.axesAt(t.int(0), row, place);
      const places = t.unflatten(
        place,
        inner.map((axis) => this.#innerAxis(axis)?.extent ?? one),
      );
      inner.forEach((axis, i) => (axes[axis] = places[i] ?? t.int(0)));
      return axes;
    };
  }

  /** How threads make a panel of a factor's tile, for the block that begins at `start`. */
  #staging(
    { operand, factor: { order }, side, inner = [], from = 0 }: Streaming,
    start: TileExpr,
    panel: TileExpr,
  ): Omit<Staging, "expr"> {
    const { rows, k } = operandExtent(operand);
    const swept = this.#at.matrices.kCount;
    const depth = volume(inner.flatMap((axis) => this.#innerAxis(axis) ?? []));
    const base = side === "rows" ? this.#at.mBase : side === "block" ? start : t.int(0);
    const kBase = side === "columns" ? start : t.int(from);
    const along = t.times(panel, t.int(this.#width));
    const [wide, deep] = order === "k" ? [rows, this.#width] : [this.#width, k];
    return {
      tile: operand.tile,
      rows: wide,
      depth: deep,
      index: (row, place) => (order === "k" ? [panel, row, place] : [panel, place, row]),
      threads: this.#at.threads,
      vectorBytes: this.#at.vectorBytes,
      most: mostLoaded,
      base: order === "k" ? base : t.plus(base, along),
      count: side === "rows" ? this.#at.matrices.mCount : side === "block" ? swept : this.#at.matrices.nCount,
      kBase: order === "k" ? t.plus(kBase, along) : kBase,
      kCount: side === "columns" ? swept : depth,
    };
  }

  /** Asks for what threads will make a factor of, from its first column on; not where a block may reach beyond the end. */
  prefetch({ factor: { made } }: Streaming, block: TileExpr, end: TileExpr): TileOp[] {
    if (made === undefined) return [];
    const start = t.times(block, t.int(this.#at.block));
    const isWhole = this.#at.isWhole(block, this.#copied.ends);
    const where = t.both(t.less(block, end), isWhole === true ? undefined : isWhole);
    const boxes = made.reads.flatMap(({ input, view, columns }) => {
      const buffer = this.#at.buffers.inputs[input];
      invariant(buffer !== undefined, "each input has a buffer");
      return this.#inPages(view, start).flatMap(({ at, count }) =>
        boxesAlongK(buffer, view, this.#place({ n: at }, at), { rows: count, columns }),
      );
    });
    return [{ kind: "prefetch", boxes, where }];
  }

  /** A block's places in each page: a box lies in one. */
  #inPages(view: View, start: TileExpr): { readonly at: TileExpr; readonly count: number }[] {
    const { block } = this.#at;
    const page = Math.min(block, view.flatMap((axis) => axis.page ?? [])[0] ?? block);
    return Array.from({ length: Math.ceil(block / page) }, (_, k) => ({
      at: t.plus(start, t.int(k * page)),
      count: page,
    }));
  }

  #puts(one: Streaming, start: TileExpr): TileOp[] {
    const loop = this.#loop;
    const {
      operand,
      factor: { factor },
    } = one;
    const at = this.#places(one);
    // Panel by panel, which keeps a thread's values few and the text short.
    const panel = this.#at.b.counter("panel", constant(operand.tile.shape[0] ?? 1));
    const staged = stageFactor(this.#at.b, loop, factor, {
      ...this.#staging(one, start, t.at(panel)),
      expr: (row, place) =>
        translator({ axes: at(row, place), carriers: [], inputs: this.#at.buffers.inputs })(factor),
    });
    const body = staged.flatMap(({ loads, puts }) => [...loads, ...puts]);
    // Loads wait for memory together where what they bring has room in registers as it is.
    const bytes = narrowRead(loop, factor) * operand.tile.shape.reduce((a, b) => a * b, 1);
    const unroll = bytes <= mostAhead * this.#at.threads;
    return [{ kind: "for", counter: panel, from: undefined, below: undefined, unroll, body }];
  }

  /**
   * What threads make panel by panel, block after block: parts of one factor. Undefined where they are not, or where what
   * is read has no room.
   */
  held(parts: readonly Streaming[], registers: number): HeldLoads | undefined {
    const [first, ...others] = parts;
    if (first === undefined || first.side !== "block") return undefined;
    const { factor, operand, inner = [] } = first;
    const isAlike = (other: Streaming): boolean =>
      other.factor.factor === factor.factor &&
      other.operand.order === operand.order &&
      other.operand.tile.shape.every((extent, axis) => axis === 0 || extent === operand.tile.shape[axis]);
    if (factor.copied !== undefined || !others.every(isAlike)) return undefined;
    const columns = parts.flatMap(({ from = 0, operand: { tile } }) =>
      Array.from({ length: tile.shape[0] ?? 1 }, (_, panel) => from + panel * this.#width),
    );
    return HeldLoads.of(
      {
        b: this.#at.b,
        loop: this.#loop,
        inputs: this.#at.buffers.inputs,
        columns: operand.order === "k" ? columns : undefined,
        panels: columns.length,
        along: { rows: [this.#loop.axes.length], k: inner },
        registers,
      },
      factor.factor,
      this.heldPanel(first, 0, t.int(0)),
    );
  }

  heldPanel(part: Streaming, panel: number, block: TileExpr, where?: TileExpr): HeldPanel {
    const start = t.times(block, t.int(this.#at.block));
    return { staging: this.#staging(part, start, t.int(panel)), axes: this.#places(part), where };
  }

  #innerAxis(axis: number): LoopAxis | undefined {
    return this.#loop.inner[axis - this.#loop.axes.length - this.#loop.over.length];
  }
}
