/**
 * Loads of a factor's later panels while threads make the ones before them: what they read is held in registers, as it is
 * in memory, from one slot to the next.
 *
 *     before: wait for the slot; of each chunk read, convert, put
 *     after:  wait for the slot; of each chunk convert what is held, put, read the same chunk some panels later
 *
 * A chunk's registers are free as soon as it is put, so that as many panels as have room are always under way, and nobody
 * waits for memory between a slot and its contents.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar, ScalarRead } from "../../tensor/ir.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { GlobalBuffer, Tile, TileExpr, TileOp } from "../ir.ts";
import { guard } from "./matrices.ts";
import { commonDivisor, constantRun } from "./runs.ts";
import { layOutStaged, type StagedChunk, type StagedLayout, type Staging } from "./staging.ts";
import { translator } from "./translate.ts";

/** A panel of what is made: where its elements come from and go to. */
export interface HeldPanel {
  readonly staging: Omit<Staging, "expr">;
  /** Loop axes at a row and a k of the matrix. */
  readonly axes: (row: TileExpr, k: TileExpr) => readonly TileExpr[];
  /** Whether there is such a panel, where that is not sure. */
  readonly where?: TileExpr | undefined;
}

export interface HeldPlace {
  readonly b: t.TileBuilder;
  readonly loop: LoopNode;
  readonly inputs: readonly GlobalBuffer[];
  /** Where each panel of a block begins along k, in the order in which they are made; undefined: panels lie along the rows. */
  readonly columns: readonly number[] | undefined;
  /** Panels of a block. */
  readonly panels: number;
  /** Loop axes of the rows and of k. */
  readonly along: { readonly rows: readonly number[]; readonly k: readonly number[] };
  /** Registers of a thread for what is held. */
  readonly registers: number;
}

/** A tensor that a factor reads, and the tile that holds it. */
interface HeldRead {
  readonly read: ScalarRead;
  readonly tile: Tile;
  /** Whether it is the same for all of a thread's neighbours, of which one is held. */
  readonly isWhole: boolean;
  /** Whether no later panel has the same: then it is read anew. */
  readonly isLast: boolean;
}

interface HeldChunk {
  readonly chunk: StagedChunk;
  readonly reads: readonly HeldRead[];
}

/** Formats of which four share a register as they are. */
const packable: ReadonlySet<DType> = new Set<DType>(["e4m3", "e5m2"]);

export class HeldLoads {
  readonly #place: HeldPlace;
  readonly #value: Scalar;
  readonly #asked: Scalar | undefined;
  /** Of each panel that is held at a time; a block's are as many or several times so many. */
  readonly #held: readonly (readonly HeldChunk[])[];

  private constructor(place: HeldPlace, factor: MadeOfReads, held: readonly (readonly HeldChunk[])[]) {
    this.#place = place;
    this.#value = factor.value;
    this.#asked = factor.asked;
    this.#held = held;
  }

  /** `panel` is like all others but for its place. Undefined: what a panel is made of has no room, or is not only read. */
  static of(place: HeldPlace, factor: Scalar, { staging }: HeldPanel): HeldLoads | undefined {
    const made = madeOfReads(factor, staging.tile.dtype);
    if (made === undefined) return undefined;
    const { b, loop, panels } = place;
    const layout = layOutStaged(b, loop, factor, staging);
    const shapes = made.reads.map((read) => shapeOf(place, layout, read));
    const wordsOf = (count: number): number =>
      shapes.reduce((sum, shape) => sum + (shape.words * count) / commonDivisor(shape.panels, count), 0);
    const lines = layout.repeats * layout.lineRepeats;
    let count = panels;
    while (count > 0 && (panels % count !== 0 || wordsOf(count) * lines > place.registers)) count -= 1;
    if (count === 0) return undefined;
    const held: HeldChunk[][] = Array.from({ length: count }, () => []);
    for (let from = 0; from < layout.repeats; from += layout.atOnce) {
      const chunk = layout.chunk(Math.min(layout.atOnce, layout.repeats - from), t.int(from));
      const tiles = shapes.map(() => new Map<number, Tile>());
      for (const [panel, chunks] of held.entries())
        chunks.push({
          chunk,
          reads: made.reads.map((read, i) => {
            const { isWhole = false, packed, panels: same = 1 } = shapes[i] ?? {};
            const along = commonDivisor(same, count);
            const axes = isWhole ? chunk.axes.slice(0, -1) : chunk.axes;
            const group = Math.floor(panel / along);
            const tile = tiles[i]?.get(group) ?? b.tile(`${staging.tile.name}_held`, read.type, axes, packed);
            tiles[i]?.set(group, tile);
            const isLast = panel + 1 === count || Math.floor((panel + 1) / along) > group;
            return { read, tile, isWhole, isLast };
          }),
        });
    }
    return new HeldLoads(place, made, held);
  }

  /** Panels that are held at a time. */
  get count(): number {
    return this.#held.length;
  }

  /** Reads a block's first panels, before any is put. */
  first(panelAt: (place: number) => HeldPanel): TileOp[] {
    return this.#held.flatMap((chunks, place) =>
      chunks.flatMap((chunk) =>
        this.#loads(chunk, panelAt(place)).flatMap(([op, tile]): TileOp[] => [
          op,
          { kind: "var", tile, init: t.valueOf(op.tile) },
        ]),
      ),
    );
  }

  /** Puts a block's panel, and reads in its place the one that is `count` panels later. */
  fill(place: number, panel: HeldPanel, later: HeldPanel): TileOp[] {
    const chunks = this.#held[place % this.count] ?? [];
    return chunks.flatMap((chunk) => [
      this.#put(chunk, panel),
      ...this.#loads(chunk, later).flatMap(([op, tile]): TileOp[] => [
        op,
        { kind: "update", tile, expr: t.valueOf(op.tile) },
      ]),
    ]);
  }

  #loads(
    { chunk, reads }: HeldChunk,
    { staging: s, axes, where }: HeldPanel,
  ): (readonly [Extract<TileOp, { kind: "let" }>, Tile])[] {
    return reads.flatMap(({ read, tile, isWhole, isLast }) => {
      if (!isLast) return [];
      const { row, k } = isWhole ? chunk.first : chunk;
      const [rowIndex, kIndex] = [t.plus(s.base, row), t.plus(s.kBase, k)];
      const inRange = t.both(guard(rowIndex, s.count, s.rows), guard(kIndex, s.kCount, s.kStep ?? s.depth));
      const places = axes(rowIndex, kIndex);
      const translate = translator({ axes: places, carriers: [], inputs: this.#place.inputs });
      const asked = this.#asked === undefined ? undefined : translate(this.#asked);
      const op = {
        kind: "let",
        tile: this.#place.b.tile(`${tile.name}_next`, tile.type, tile.axes),
        expr: translate(read),
        where: [where, inRange, chunk.spare, asked].reduce(t.both),
        otherwise: { kind: "const", type: "f32", value: 0 },
      } as const;
      return [[op, tile] as const];
    });
  }

  #put(
    { chunk: { axes, row, k, spare }, reads }: HeldChunk,
    { staging: s, axes: axesAt }: HeldPanel,
  ): TileOp {
    const made = new Map<Scalar, TileExpr>(reads.map(({ read, tile }) => [read, t.valueOf(tile)]));
    const places = axesAt(t.plus(s.base, row), t.plus(s.kBase, k));
    const translate = translator({ axes: places, carriers: [], inputs: this.#place.inputs, made });
    return {
      kind: "put",
      shared: s.tile,
      index: s.index(row, k),
      axes,
      expr: translate(this.#value),
      where: spare,
      otherwise: undefined,
    };
  }
}

/** A factor that is 0 where nothing is read, under a condition. */
interface MadeOfReads {
  readonly value: Scalar;
  readonly asked: Scalar | undefined;
  readonly reads: readonly ScalarRead[];
}

function madeOfReads(factor: Scalar, dtype: DType): MadeOfReads | undefined {
  // A value is rounded as it is put.
  if (factor.kind === "round" && factor.to === dtype) return madeOfReads(factor.arg, dtype);
  if (factor.kind === "apply" && factor.fn === "select") {
    const [asked, value, otherwise] = factor.args;
    const isZero = otherwise?.kind === "const" && Object.is(otherwise.value, 0);
    const inner = value === undefined || !isZero ? undefined : madeOfReads(value, dtype);
    return asked === undefined || inner?.asked !== undefined || inner === undefined
      ? undefined
      : { ...inner, asked };
  }
  const reads = new Set<ScalarRead>();
  return isZeroOfZeros(factor, reads) ? { value: factor, asked: undefined, reads: [...reads] } : undefined;
}

/** Functions that are 0 of zeros. */
const keepsZero: ReadonlySet<string> = new Set(["add", "mul", "sub"]);

/** Whether a value is 0 where its reads give 0, and which these are. */
function isZeroOfZeros(value: Scalar, reads: Set<ScalarRead>): boolean {
  switch (value.kind) {
    case "read":
      reads.add(value);
      return value.bounds !== "else" && value.type === "f32";
    case "round":
    case "cast":
      return value.type === "f32" && isZeroOfZeros(value.arg, reads);
    case "apply":
      return keepsZero.has(value.fn) && value.args.every((arg) => isZeroOfZeros(arg, reads));
    default:
      return false;
  }
}

/** How a thread's neighbours of a read are held. */
interface HeldShape {
  /** All as one, where they are the same. */
  readonly isWhole: boolean;
  readonly packed: DType | undefined;
  /** Registers of a thread. */
  readonly words: number;
  /** Neighbouring panels, from the first on, that have the same. */
  readonly panels: number;
}

function shapeOf({ loop, along, columns }: HeldPlace, layout: StagedLayout, read: ScalarRead): HeldShape {
  const { vector, alongK } = layout;
  const axes = alongK ? along.k : along.rows;
  const run = read.index.reduce((all, index) => commonDivisor(all, constantRun(loop, axes, index)), 0);
  if (run % vector === 0)
    return { isWhole: true, packed: undefined, words: 1, panels: alongK ? panelsOf(run, columns ?? []) : 1 };
  const ref = loop.inputs[read.input];
  const dtype = ref?.node.types[ref.output]?.dtype;
  invariant(dtype !== undefined, "a read has an input");
  const isPacked = packable.has(dtype) && (vector * dtypes[dtype].bytes) % 4 === 0;
  const packed = isPacked ? dtype : undefined;
  return { isWhole: false, packed, words: isPacked ? vector / 4 : vector, panels: 1 };
}

/** How many neighbours of the panels that begin at these columns are in the same run, all along. */
function panelsOf(run: number, columns: readonly number[]): number {
  const runs = columns.map((column) => (run === 0 ? 0 : Math.floor(column / run)));
  let most = Math.max(1, columns.length);
  const isSame = (size: number): boolean => runs.every((own, k) => own === runs[k - (k % size)]);
  while (columns.length % most !== 0 || !isSame(most)) most -= 1;
  return most;
}
