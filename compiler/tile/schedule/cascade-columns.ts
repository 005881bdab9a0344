/**
 * More columns of a cascade's results than one warpgroup's registers hold: other warpgroups, in roles of their own,
 * multiply the same left factors with the other columns. Those who reduce hand them, for each block of the swept axis,
 * the left factors and by how much sums are to be rescaled; and at the end what the rows have come to.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode } from "../../tensor/ir.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Channel, Counter, SharedTile, Tile, TileExpr, TileOp } from "../ir.ts";
import type { CascadePlan } from "./cascade-plan.ts";
import { moved, type CascadeReductions, type RowChange } from "./cascade-reductions.ts";
import type { RoleFactor } from "./cascade-slots.ts";
import type { WarpgroupFragment } from "./fragments.ts";
import type { Matrices } from "./matrices.ts";
import type { DeclaredBuffers } from "./source.ts";
import { panelIndex } from "./staging.ts";
import { panelBytes, resultOps } from "./transfers.ts";

export interface ColumnsPlace {
  readonly b: t.TileBuilder;
  readonly buffers: DeclaredBuffers;
  readonly matrices: Matrices;
  readonly axesAt: ReturnType<Matrices["axesAt"]>;
  readonly mBase: TileExpr;
  readonly rows: number;
  readonly warpgroups: number;
  /** Places of the swept axis that are taken at a time; columns of a piece, which the outer fragment is over. */
  readonly block: number;
  readonly columns: number;
  readonly inner: WarpgroupFragment;
  readonly outer: WarpgroupFragment;
}

/** Columns that a role multiplies at a time. */
export interface ColumnsPiece {
  readonly from: number;
  /** What brings the right factors, each in the slot that is released next. */
  readonly channels: readonly Channel[];
  readonly factors: readonly RoleFactor[];
}

/** What the loop over the swept axis is to those who only multiply. */
export interface ColumnsLoop {
  readonly counter: Counter;
  readonly first: TileExpr;
  readonly end: TileExpr;
  /** Before the loop. */
  readonly ops: readonly TileOp[];
}

export class CascadeColumns {
  readonly #loop: LoopNode;
  readonly #plan: CascadePlan;
  readonly #reductions: CascadeReductions;
  readonly #at: ColumnsPlace;
  /** Of each sum its left factor, and by how much its rows are brought on. */
  readonly #lefts: readonly SharedTile[];
  readonly #steps: readonly SharedTile[];
  /** Steps of a block that are not given yet; undefined: the sum is never rescaled. */
  readonly #held: readonly (Tile | undefined)[];
  readonly #weights: Channel;
  /** Carriers of rows, as the results need them. */
  readonly #rows: ReadonlyMap<number, SharedTile>;
  readonly #totals: Channel | undefined;

  constructor(loop: LoopNode, plan: CascadePlan, reductions: CascadeReductions, place: ColumnsPlace) {
    const { b, rows, block } = place;
    this.#loop = loop;
    this.#plan = plan;
    this.#reductions = reductions;
    this.#at = place;
    const width = panelWidth(plan.dtype);
    this.#lefts = plan.sums.map(() =>
      b.slotTile("left_factor", plan.dtype, [Math.ceil(block / width), rows, width], { swizzle: panelBytes }),
    );
    this.#steps = plan.sums.map(() => b.slotTile("steps", "f32", [rows]));
    this.#held = reductions
      .changesOfSums()
      .map((change) => (change === undefined ? undefined : b.tile("held_step", "f32", place.inner.m.axes)));
    this.#weights = b.channel("weights", 1, [...this.#lefts, ...this.#steps]);
    this.#rows = new Map(reductions.rowsInResults().map((k) => [k, b.slotTile("row_total", "f32", [rows])]));
    this.#totals = this.#rows.size === 0 ? undefined : b.channel("totals", 1, [...this.#rows.values()]);
  }

  // ---------------------------------------------------------------- by those who reduce

  /** By how much sums are to be rescaled before the first block: not at all. */
  declarations(): TileOp[] {
    const init: TileExpr = { kind: "const", type: "f32", value: 1 };
    return this.#held.flatMap((tile): TileOp[] => (tile === undefined ? [] : [{ kind: "var", tile, init }]));
  }

  /** Keeps the steps of a block until they are given. */
  hold(changes: readonly (RowChange | undefined)[]): TileOp[] {
    return changes.flatMap((change, i): TileOp[] => {
      const tile = this.#held[i];
      return change === undefined || tile === undefined
        ? []
        : [{ kind: "update", tile, expr: t.valueOf(change.step) }];
    });
  }

  /** The block's left factors, before they are packed or after that, and the steps; `deferred`: until they are handed over. */
  give(which: "wide" | "packed", deferred = false): TileOp {
    const { inner } = this.#at;
    const width = panelWidth(this.#plan.dtype);
    const puts = this.#lefts.flatMap((shared, i): TileOp[] => {
      const [left, steps, held] = [this.#reductions.lefts[i], this.#steps[i], this.#held[i]];
      invariant(left !== undefined && steps !== undefined, "each sum has a left factor");
      const index = panelIndex("k", inner.m.row, inner.n.row, width);
      return [
        put(shared, index, t.valueOf(left[which] ?? left.wide), inner.axes),
        ...(held === undefined ? [] : [put(steps, [inner.m.row], t.valueOf(held), inner.m.axes)]),
      ];
    });
    return {
      kind: "fill",
      channel: this.#weights,
      copies: [],
      ...(deferred ? { deferred } : {}),
      body: puts,
    };
  }

  get handOver(): TileOp {
    return { kind: "commit", channel: this.#weights };
  }

  /** What the rows have come to, when they have. */
  giveTotals(carriers: readonly TileExpr[]): TileOp[] {
    const { m } = this.#at.inner;
    if (this.#totals === undefined) return [];
    const body = [...this.#rows].flatMap(([k, shared]): TileOp[] => {
      const value = carriers[k];
      return value === undefined ? [] : [put(shared, [m.row], value, m.axes)];
    });
    return [{ kind: "fill", channel: this.#totals, copies: [], body }];
  }

  // ---------------------------------------------------------------- by those who only multiply

  /** The body of a role: pieces of its columns one after another, of which each lets go of its own factors. */
  body(pieces: readonly ColumnsPiece[], { counter, first, end, ops }: ColumnsLoop): TileOp[] {
    const { b, outer, rows, columns, warpgroups } = this.#at;
    const names = this.#plan.sums.map(({ carrier }) => this.#loop.carriers[carrier]?.name ?? "sum");
    const parts = pieces.map((piece) => ({
      piece,
      sums: names.map((name) => b.tile(name, "f32", outer.axes)),
    }));
    const taken = [...new Set(pieces.flatMap(({ channels }) => channels)), this.#weights];
    const take = taken.map((channel): TileOp => ({ kind: "take", channel }));
    const changes = this.#reductions.changesOfSums();
    const bring = parts.flatMap(({ sums }) =>
      sums.flatMap((tile, i): TileOp[] => {
        const [change, steps] = [changes[i], this.#steps[i]];
        if (change === undefined || steps === undefined) return [];
        return [moved(change, tile, { kind: "shared", type: "f32", tile: steps, index: [outer.m.row] })];
      }),
    );
    const multiply = (accumulate: boolean): TileOp[] => [
      ...parts.flatMap(({ piece, sums }) => this.#products(piece, sums, accumulate)),
      ...pieces.flatMap((piece, k): TileOp[] => [
        { kind: "await", pending: (pieces.length - 1 - k) * names.length },
        ...this.#releases(piece, pieces.slice(k + 1)),
      ]),
      release(this.#weights),
    ];
    const results = this.#loop.results.flatMap((result, k) =>
      result.axes.some((axis) => this.#plan.n.includes(axis)) ? [k] : [],
    );
    const { ops: ofRows, made } = this.#reductions.rowsOfResults(this.#carriers(parts[0]?.sums ?? []));
    return [
      ...ops,
      ...parts.flatMap(({ sums }) => sums.map((tile): TileOp => ({ kind: "var", tile, init: undefined }))),
      ...take,
      ...multiply(false),
      {
        kind: "for",
        counter,
        from: t.plus(first, t.int(1)),
        below: end,
        unroll: false,
        body: [...take, ...bring, ...multiply(true)],
      },
      ...(this.#totals === undefined ? [] : [{ kind: "take", channel: this.#totals } as const]),
      ...ofRows,
      ...parts.flatMap(({ piece, sums }) =>
        resultOps(b, this.#loop, {
          shape: { m: rows, n: columns, warpgroups },
          carriers: this.#carriers(sums),
          made,
          results,
          views: [],
          layout: outer,
          buffers: this.#at.buffers,
          axesAt: this.#at.axesAt,
          mBase: this.#at.mBase,
          nBase: t.int(piece.from),
          matrices: this.#at.matrices,
        }),
      ),
      ...(this.#totals === undefined ? [] : [release(this.#totals)]),
    ];
  }

  /** A piece's products of a block, onto what was summed before or not. */
  #products({ factors }: ColumnsPiece, sums: readonly Tile[], accumulate: boolean): TileOp[] {
    const { inner, outer, columns } = this.#at;
    return sums.map((acc, i): TileOp => {
      const [left, right] = [this.#lefts[i], factors[i]];
      invariant(left !== undefined && right !== undefined, "each sum has its tiles");
      const { operand, from } = right;
      const side = operand.order === "k" ? "k" : "n";
      return {
        kind: "mma",
        acc,
        a: { tile: left, order: "k" },
        b: operand,
        m: inner.m.row,
        n: t.plus(outer.n.row, t.int(from)),
        accumulate: t.bool(accumulate),
        instruction: `wgmma.m64n${columns}k16.${this.#plan.dtype}.k.${side}`,
      };
    });
  }

  /** What no later piece reads. */
  #releases({ channels }: ColumnsPiece, later: readonly ColumnsPiece[]): TileOp[] {
    return channels
      .filter((channel) => !later.some((other) => other.channels.includes(channel)))
      .map(release);
  }

  #carriers(sums: readonly Tile[]): TileExpr[] {
    return this.#loop.carriers.map((carrier, k): TileExpr => {
      const sum = sums[this.#plan.sums.findIndex((one) => one.carrier === k)];
      const row = this.#rows.get(k);
      if (sum !== undefined) return t.valueOf(sum);
      // What no result with columns is made from.
      if (row === undefined) return { kind: "const", type: carrier.lift.type, value: 0 };
      return { kind: "shared", type: "f32", tile: row, index: [this.#at.outer.m.row] };
    });
  }
}

function panelWidth(dtype: DType): number {
  return panelBytes / dtypes[dtype].bytes;
}

function put(
  shared: SharedTile,
  index: readonly TileExpr[],
  expr: TileExpr,
  axes: TileOp<"put">["axes"],
): TileOp {
  return { kind: "put", shared, index, expr, axes, where: undefined, otherwise: undefined };
}

function release(channel: Channel): TileOp {
  return { kind: "release", channel, where: undefined };
}
