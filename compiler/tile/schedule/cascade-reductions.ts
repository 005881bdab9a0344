/**
 * The reductions of a cascade, in registers: what each block of the swept axis does to them, how what was reduced
 * before follows, and what they come to.
 *
 * A carrier that others use is whole after each block; the others each thread reduces for itself until the end.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Arena } from "../../tensor/arena.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import { rowAxesOf, type RowAxes } from "../../tensor/row-places.ts";
import { rescaling, wayOf, type Change, type Rescaling } from "../../tensor/rescale.ts";
import { operandsOf, reachable, rewriteScalars } from "../../tensor/scalars.ts";
import type { DType } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Axis, Tile, TileExpr, TileOp } from "../ir.ts";
import { axesOf, constantOf, readsOf } from "./analysis.ts";
import { isMade, type CascadeParts } from "./cascade-parts.ts";
import type { Fragment, RowFragment } from "./fragments.ts";
import { guard, type Matrices } from "./matrices.ts";
import { endsOf, rangeOf, where, type Ends, type Range, type Rows } from "./ranges.ts";
import type { DeclaredBuffers, KernelSource } from "./source.ts";
import { translator } from "./translate.ts";

/** Where a block's rows are, and what holds them. */
export interface CascadePlace {
  readonly b: t.TileBuilder;
  readonly buffers: DeclaredBuffers;
  readonly matrices: Matrices;
  readonly axesAt: ReturnType<Matrices["axesAt"]>;
  /** The first row, and how many; places of the swept axis that are taken at a time. */
  readonly mBase: TileExpr;
  readonly rows: number;
  readonly block: number;
  /** The products' fragment, over rows and the block; and the results', over the same rows and columns. */
  readonly inner: RowFragment;
  readonly outer: Fragment;
  /** What left factors are packed as, which products take from registers; undefined: they are not. */
  readonly packed: DType | undefined;
  /** What a row's threads have come to, as one; undefined: threads exchange values. */
  readonly across?: (part: Tile, tile: Tile, monoid: string) => readonly TileOp[];
}

/** What of a plan the reductions are made from. */
export type CascadeRows = Pick<CascadeParts, "m" | "n" | "rows"> & {
  readonly products: readonly Pick<CascadeParts["products"][number], "scalar">[];
  readonly sums: readonly Pick<CascadeParts["sums"][number], "carrier">[];
};

/** What a carrier is combined with, row by row, as others change: `op` makes the step. */
export interface RowChange extends Pick<Rescaling, "fn" | "isGuarded"> {
  readonly step: Tile;
  readonly op: TileOp;
}

/** What was reduced, brought on by a step. */
export function moved({ fn, isGuarded }: RowChange, tile: Tile, step: TileExpr): TileOp {
  const value = t.valueOf(tile);
  const expr = t.apply(fn, "f32", [value, step]);
  const zero: TileExpr = { kind: "const", type: "f32", value: 0 };
  const isZero = t.apply("eq", "bool", [value, zero]);
  return {
    kind: "update",
    tile,
    expr: isGuarded ? t.apply("select", "f32", [isZero, zero, expr]) : expr,
  };
}

/** A carrier that others use: whole after each block. `before` is its value in the block before. */
interface Running {
  readonly carrier: number;
  readonly tile: Tile;
  readonly before: Tile;
}

export class CascadeReductions {
  readonly #arena: Arena;
  readonly #loop: LoopNode;
  readonly #plan: CascadeRows;
  readonly #at: CascadePlace;
  readonly #range: Range;
  readonly #change: Change;
  /** Of each inner product its result; of each sum its left factor, as f32 and packed, and its accumulator. */
  readonly scores: ReadonlyMap<Scalar, Tile>;
  readonly lefts: readonly { readonly wide: Tile; readonly packed: Tile | undefined }[];
  readonly accumulators: readonly Tile[];
  /** Carriers that later ones use, and those that each thread reduces for itself until the end. */
  readonly #running: readonly Running[];
  readonly #partial: ReadonlyMap<number, Tile>;

  constructor(source: KernelSource<LoopNode>, plan: CascadeRows, place: CascadePlace) {
    const loop = source.node;
    const { b, inner, outer } = place;
    this.#arena = source.arena;
    this.#loop = loop;
    this.#plan = plan;
    this.#at = place;
    this.#range = rangeOf(loop, this.#rowAxesOfTile());
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
    const uses = new Set<number>();
    for (const s of reachable(loop.carriers.map((carrier) => carrier.lift)))
      if (s.kind === "carrier") uses.add(s.carrier);
    const { columns, m } = inner;
    const rowAxes = m.axes;
    const nameOf = (k: number): string => loop.carriers[k]?.name ?? "carrier";
    const scores = new Set(plan.products.map(({ scalar }) => scalar));
    this.scores = new Map([...scores].map((scalar) => [scalar, b.tile("product", "f32", inner.axes)]));
    this.lefts = plan.sums.map(({ carrier }) => ({
      wide: b.tile(`${nameOf(carrier)}_left`, "f32", inner.axes),
      packed:
        place.packed === undefined
          ? undefined
          : b.tile(`${nameOf(carrier)}_packed`, "f32", inner.axes, place.packed),
    }));
    this.accumulators = plan.sums.map(({ carrier }) => b.tile(nameOf(carrier), "f32", outer.axes));
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
          : [[k, b.tile(`${nameOf(k)}_part`, this.#typeOf(k), [...rowAxes, columns.across, columns.within])]],
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

  #rowAxes(): readonly Axis[] {
    return this.#at.inner.m.axes;
  }

  #rowAxesOfTile(): RowAxes {
    return rowAxesOf(this.#loop, this.#plan.m, this.#at.rows);
  }

  #rowsOfTile(): Rows {
    const axes = this.#at.axesAt(this.#at.mBase, t.int(0), t.int(0));
    const { inputs } = this.#at.buffers;
    return {
      ...this.#rowAxesOfTile(),
      base: this.#at.mBase,
      translate: (scalar, made = new Map()) => translator({ axes, carriers: [], inputs, made })(scalar),
    };
  }

  /** Ends of the swept axis that some row sees, or all rows do. */
  seenBy(who: "any" | "every"): Ends {
    return endsOf(this.#range, this.#rowsOfTile(), who);
  }

  /** Ends within which conditions hold for all rows. */
  endsWhere(conditions: ReadonlySet<Scalar>): Ends {
    const inside = [...conditions].map((condition) => this.#range.boundsOf.get(condition));
    invariant(
      inside.every((bounds) => bounds !== undefined),
      "the conditions bound the axis",
    );
    return endsOf(
      { bounds: [], inside: inside.flatMap((bounds) => bounds ?? []) },
      this.#rowsOfTile(),
      "every",
    );
  }

  /** The tiles as each tile of the result begins; sums hold nothing yet, or `sums`. */
  declarations(sums?: TileExpr): TileOp[] {
    const identity = (k: number): TileExpr => {
      const { monoid, lift } = this.#carrier(k);
      return { kind: "const", type: lift.type, value: monoidOf(monoid).identity(lift.type) };
    };
    const open = (tile: Tile): TileOp => ({ kind: "var", tile, init: undefined });
    return [
      ...[...this.scores.values()].map(open),
      ...this.lefts.flatMap(({ wide, packed }) =>
        packed === undefined ? [open(wide)] : [open(wide), open(packed)],
      ),
      ...this.accumulators.map((tile): TileOp => ({ kind: "var", tile, init: sums })),
      ...this.#running.map(({ carrier, tile }): TileOp => ({ kind: "var", tile, init: identity(carrier) })),
      ...[...this.#partial].map(([k, tile]): TileOp => ({ kind: "var", tile, init: identity(k) })),
    ];
  }

  // ---------------------------------------------------------------- reductions of one block

  /**
   * The rows' reductions and the left factors; without the conditions that hold where every row sees the whole block,
   * which is within `seen`. What is to be done when the rows' running values are known is done among them.
   */
  ofBlock(block: TileExpr, seen: Ends, known: () => TileOp[] = () => []): TileOp[] {
    const before = this.#running.map(({ tile, before: tileBefore }): TileOp => ({
      kind: "let",
      tile: tileBefore,
      expr: t.valueOf(tile),
      where: undefined,
      otherwise: undefined,
    }));
    const whole = this.isWhole(block, seen);
    const { conditions } = this.#range;
    if (whole === true) return [...before, ...this.#blockOps(block, conditions, false, known)];
    return [
      ...before,
      {
        kind: "if",
        condition: whole,
        then: this.#blockOps(block, conditions, false, known),
        otherwise: this.#blockOps(block, new Set(), true, known),
      },
    ];
  }

  /** Whether the block is within the ends, and no longer than what is left of the axis. */
  isWhole(block: TileExpr, { low, high }: Ends): TileExpr | true {
    const size = this.#at.block;
    const extent = constantOf(this.#at.matrices.kCount);
    const start = t.times(block, t.int(size));
    const last = t.plus(start, t.int(size - 1));
    const parts = [
      extent !== undefined && extent % size === 0
        ? undefined
        : t.less(last, t.size(this.#at.matrices.kCount)),
      high === undefined ? undefined : t.less(last, t.plus(high, t.int(1))),
      low === undefined ? undefined : t.less(t.plus(low, t.int(-1)), start),
    ];
    return parts.reduce<TileExpr | undefined>(t.both, undefined) ?? true;
  }

  #blockOps(
    block: TileExpr,
    known: ReadonlySet<Scalar>,
    isGuarded: boolean,
    whenKnown: () => TileOp[],
  ): TileOp[] {
    const { columns, n, m } = this.#at.inner;
    const loop = this.#loop;
    const place = t.plus(t.times(block, t.int(this.#at.block)), n.row);
    const row = t.plus(this.#at.mBase, m.row);
    const lifts = where(
      this.#arena,
      loop.carriers.map((carrier) => carrier.lift),
      known,
    );
    const axes = this.#at.axesAt(row, t.int(0), place);
    // Beyond the axis nothing counts. Beyond the rows nothing is stored, but nothing may be read there either.
    const inside = t.both(
      isGuarded ? guard(place, this.#at.matrices.kCount, this.#at.block) : undefined,
      readsAt(lifts, this.#plan.m) ? guard(row, this.#at.matrices.mCount, this.#at.rows) : undefined,
    );
    // A product's factors may stand under the same conditions: it is the product that was made all the same.
    const scalars = [...this.scores.keys()];
    const rewritten = where(this.#arena, scalars, known);
    const made = new Map<Scalar, TileExpr>(
      [...this.scores].flatMap(([scalar, tile], i): [Scalar, TileExpr][] => [
        [scalar, t.valueOf(tile)],
        [rewritten[i] ?? scalar, t.valueOf(tile)],
      ]),
    );
    const translate = (scalar: Scalar): TileExpr =>
      translator({ axes, carriers: this.#current(), inputs: this.#at.buffers.inputs, made })(scalar);
    const ops: TileOp[] = [];
    for (const { carrier: k, tile } of this.#running) {
      const lift = lifts[k];
      invariant(lift !== undefined, "each carrier has a lift");
      ops.push(...this.#rescale(k, tile));
      const { monoid } = this.#carrier(k);
      const own = this.#at.b.tile(`${tile.name}_own`, tile.type, [
        ...this.#rowAxes(),
        columns.across,
        columns.within,
      ]);
      const identity = monoidOf(monoid).identity(tile.type);
      ops.push(
        { kind: "var", tile: own, init: { kind: "const", type: tile.type, value: identity } },
        { kind: "fold", tile: own, monoid, expr: translate(lift), over: this.#alongBlock(), where: inside },
      );
      const { ops: more, tile: reduced } = this.#acrossRow(own, monoid);
      const combined = t.apply(monoidOf(monoid).combine, tile.type, [t.valueOf(tile), t.valueOf(reduced)]);
      ops.push(...more, { kind: "update", tile, expr: combined });
    }
    ops.push(...whenKnown());
    this.#plan.sums.forEach(({ carrier }, i) => {
      const left = this.#leftOf(lifts[carrier] ?? this.#carrier(carrier).lift);
      const wide = this.lefts[i]?.wide;
      invariant(wide !== undefined, "each sum has a left factor");
      const zero: TileExpr = { kind: "const", type: "f32", value: 0 };
      if (inside === undefined) {
        ops.push({ kind: "update", tile: wide, expr: translate(left) });
      } else {
        const own = this.#at.b.tile(`${wide.name}_inside`, "f32", wide.axes);
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
    const left = lift.args.find(isMade);
    invariant(left !== undefined, "a factor is made in the loop");
    return left.kind === "round" && left.to === this.#at.packed ? left.arg : left;
  }

  #alongBlock(): Axis[] {
    return [this.#at.inner.columns.tiles];
  }

  /** What a thread has of a row, then what the row's threads have. */
  #acrossRow(part: Tile, monoid: string): { readonly ops: TileOp[]; readonly tile: Tile } {
    const { across, within } = this.#at.inner.columns;
    const identity = monoidOf(monoid).identity(part.type);
    const own = this.#at.b.tile(`${part.name}_pair`, part.type, [...this.#rowAxes(), across]);
    const tile = this.#at.b.tile(`${part.name}_row`, part.type, this.#rowAxes());
    return {
      ops: [
        { kind: "var", tile: own, init: { kind: "const", type: part.type, value: identity } },
        { kind: "fold", tile: own, monoid, expr: t.valueOf(part), over: [within], where: undefined },
        ...(this.#at.across?.(own, tile, monoid) ?? [
          { kind: "reduce", tile, src: own, monoid, over: [across] } as const,
        ]),
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
    const change = this.#changeOf(k, tile.name);
    return change === undefined ? [] : [change.op, moved(change, tile, t.valueOf(change.step))];
  }

  /** How a carrier follows the block's changes, made once for each row; undefined: it stays as it is. */
  #changeOf(k: number, name: string): RowChange | undefined {
    const { monoid, lift } = this.#carrier(k);
    const found = rescaling(this.#change, monoid, lift);
    invariant(found !== undefined, "the loop can be streamed");
    if (found === "same") return undefined;
    const row = t.plus(this.#at.mBase, this.#at.inner.m.row);
    const axes = this.#at.axesAt(row, t.int(0), t.int(0));
    const translate = translator({ axes, carriers: this.#current(), inputs: this.#at.buffers.inputs });
    // Beyond the rows nothing may be read.
    const inside = readsAt([found.by], this.#plan.m)
      ? guard(row, this.#at.matrices.mCount, this.#at.rows)
      : undefined;
    const step = this.#at.b.tile(`${name}_step`, "f32", this.#rowAxes());
    const still: TileExpr = { kind: "const", type: "f32", value: found.fn === "mul" ? 1 : 0 };
    const expr = translate(found.by);
    const otherwise = inside === undefined ? undefined : still;
    return { ...found, step, op: { kind: "let", tile: step, expr, where: inside, otherwise } };
  }

  rescaleSums(): TileOp[] {
    return this.changesOfSums().flatMap((change, i) => {
      const acc = this.accumulators[i];
      return change === undefined || acc === undefined
        ? []
        : [change.op, moved(change, acc, t.valueOf(change.step))];
    });
  }

  /** Of each sum how it follows the block's changes. */
  changesOfSums(): readonly (RowChange | undefined)[] {
    return this.#plan.sums.map(({ carrier }, i) =>
      this.#changeOf(carrier, this.accumulators[i]?.name ?? "sum"),
    );
  }

  // ---------------------------------------------------------------- the end

  readonly #whole = new Map<number, Tile>();

  finalRows(): TileOp[] {
    return [...this.#partial].flatMap(([k, tile]) => {
      const { ops, tile: whole } = this.#acrossRow(tile, this.#carrier(k).monoid);
      this.#whole.set(k, whole);
      return ops;
    });
  }

  /** What of the results is the same along a row, made once for it, from what the carriers have come to. */
  rowsOfResults(carriers: readonly TileExpr[]): {
    readonly ops: TileOp[];
    readonly made: ReadonlyMap<Scalar, TileExpr>;
  } {
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
    const axes = this.#at.axesAt(t.plus(this.#at.mBase, this.#at.inner.m.row), t.int(0), t.int(0));
    const translate = translator({ axes, carriers, inputs: this.#at.buffers.inputs });
    const made = new Map<Scalar, TileExpr>();
    const ops = [...tops].map((scalar): TileOp => {
      const tile = this.#at.b.tile("of_row", "f32", this.#rowAxes());
      made.set(scalar, t.valueOf(tile));
      return { kind: "let", tile, expr: translate(scalar), where: undefined, otherwise: undefined };
    });
    return { ops, made };
  }

  /** Carriers of rows that results with columns are made from. */
  rowsInResults(): readonly number[] {
    const { n, rows } = this.#plan;
    const wide = this.#loop.results.filter((result) => result.axes.some((axis) => n.includes(axis)));
    const used = reachable(wide.map((result) => result.value));
    return rows.filter((k) => used.some((s) => s.kind === "carrier" && s.carrier === k));
  }

  finals(): TileExpr[] {
    return this.#loop.carriers.map((_, k) => {
      const sum = this.#plan.sums.findIndex(({ carrier }) => carrier === k);
      const tile =
        this.accumulators[sum] ?? this.#whole.get(k) ?? this.#running.find((r) => r.carrier === k)?.tile;
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
