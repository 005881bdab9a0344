/**
 * How threads bring a factor's tile from global to shared memory, computing it on the way: they lie along whichever
 * of rows and k is contiguous in memory, with the widest access that the sizes allow.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { constant, type Dim } from "../../types/dim.ts";
import type { Caps } from "../../types/caps.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Axis, MatrixOperand, SharedTile, TileExpr, TileOp } from "../ir.ts";
import { axisInMemory, constantOf, powerOfTwoFactor, readsOf } from "./analysis.ts";
import { guard } from "./matrices.ts";
import { commonDivisor } from "./runs.ts";

/** Elements that nobody uses behind a line of f32: lines begin in different banks. */
export const scalarPad = 4;
/** Bytes behind a line of a matrix instruction's factor. */
export const matrixPadBytes = 16;

export interface Staging {
  readonly tile: SharedTile;
  /** Rows of the tile, and its extent along k. */
  readonly rows: number;
  readonly depth: number;
  /** Where row `row` at `k` of the tile is in it. */
  readonly index: (row: TileExpr, k: TileExpr) => readonly TileExpr[];
  readonly threads: number;
  /** Widest access of the target in bytes. */
  readonly vectorBytes: number;
  /** Elements that a thread holds at a time. */
  readonly most: number;
  /** Where in the matrix the tile begins, and how far that goes. */
  readonly base: TileExpr;
  readonly count: Dim;
  readonly kBase: TileExpr;
  readonly kCount: Dim;
  /** Tiles go on in steps of so many k, beyond the end too; undefined: of `depth`. */
  readonly kStep?: number;
  /** Whether neighbouring k of the factor are neighbours in memory; undefined: as `liesAlongK` finds for a swept axis. */
  readonly alongK?: boolean;
  /** The factor at (row, k) of the matrix. */
  readonly expr: (row: TileExpr, k: TileExpr) => TileExpr;
}

/** Elements that a thread which fills a channel's slot holds at a time. */
export const mostLoaded = 16;

/** Where an element of a factor is in a tile of panels, each so wide; see `matrix-operand.ts`. */
export function panelIndex(
  order: MatrixOperand["order"],
  row: TileExpr,
  k: TileExpr,
  panel: number,
): readonly TileExpr[] {
  const [along, across] = order === "k" ? [k, row] : [row, k];
  return [t.over(along, t.int(panel)), across, t.modulo(along, t.int(panel))];
}

/** True where neighbouring k of a factor are neighbours in memory, or nothing is. */
export function liesAlongK(loop: LoopNode, factor: Scalar): boolean {
  const moving = axisInMemory(factor);
  return moving === undefined || moving >= loop.axes.length;
}

/** Whether a side's factor comes element by element: neighbours do not lie for a wider access. */
export function comesSingly(
  loop: LoopNode,
  factor: Scalar,
  matrices: Readonly<Record<"mCount" | "nCount" | "kCount", Dim>>,
  side: "m" | "n",
  { vectorBytes }: Pick<Caps, "vectorBytes">,
): boolean {
  const whole = matrices[`${liesAlongK(loop, factor) ? "k" : side}Count`];
  const wide = Math.floor(vectorBytes / narrowRead(loop, factor));
  return wide > 1 && constantOf(whole) !== undefined && powerOfTwoFactor(whole, wide) === 1;
}

/** What a thread loads into registers, and then writes. */
export interface Staged {
  readonly loads: readonly TileOp[];
  readonly puts: readonly TileOp[];
}

/** Some of a factor's tile, as it lies over threads: so many lines of each thread, from one on. */
export interface StagedChunk {
  readonly axes: readonly Axis[];
  /** Where in the tile its elements are. */
  readonly row: TileExpr;
  readonly k: TileExpr;
  /** Where the first of each thread's neighbours is. */
  readonly first: { readonly row: TileExpr; readonly k: TileExpr };
  /** More threads than lines: the spare ones hold nothing. */
  readonly spare: TileExpr | undefined;
}

/** How a factor's tile lies over the threads that stage it. */
export interface StagedLayout {
  /** Elements of a thread that are neighbours in memory, along the last axis of a chunk. */
  readonly vector: number;
  readonly alongK: boolean;
  /** Lines of each thread, and of a chunk. */
  readonly repeats: number;
  /** Accesses of a thread to a line. */
  readonly lineRepeats: number;
  readonly atOnce: number;
  /** The length of a line of the matrix, all of them together. */
  readonly whole: Dim;
  readonly chunk: (size: number, from: TileExpr) => StagedChunk;
}

export function layOutStaged(
  b: t.TileBuilder,
  loop: LoopNode,
  factor: Scalar,
  s: Omit<Staging, "expr" | "index" | "base" | "kBase">,
): StagedLayout {
  const { name } = s.tile;
  const alongK = s.alongK ?? liesAlongK(loop, factor);
  const wide = Math.max(1, Math.floor(s.vectorBytes / narrowRead(loop, factor)));
  const [line, other] = alongK ? [s.depth, s.rows] : [s.rows, s.depth];
  const whole = alongK ? s.kCount : s.count;
  const vector = Math.min(powerOfTwoFactor(whole, wide), powerOfTwoFactor(constant(line), wide));
  // A line need not be a power of two: of its accesses each thread has as many.
  const lineThreads = commonDivisor(line / vector, s.threads);
  const otherThreads = s.threads / lineThreads;
  const lineRepeats = line / (lineThreads * vector);
  const otherRepeats = Math.ceil(other / otherThreads);
  const atOnce = Math.max(1, Math.min(otherRepeats, Math.floor(s.most / (lineRepeats * vector))));

  const w = b.registerAxis(`${name}_w`, lineRepeats);
  const ot = b.threadAxis(`${name}_o`, otherThreads, lineThreads);
  const lt = b.threadAxis(`${name}_l`, lineThreads, 1);
  const v = b.registerAxis(`${name}_v`, vector);
  const lineStart = t.times(t.plus(t.times(t.along(w), t.int(lineThreads)), t.along(lt)), t.int(vector));
  const onLine = t.plus(lineStart, t.along(v));
  const chunk = (size: number, from: TileExpr): StagedChunk => {
    const u = b.registerAxis(`${name}_u`, size);
    const repeat = t.plus(t.along(u), from);
    const onOther = t.plus(t.times(repeat, t.int(otherThreads)), t.along(ot));
    const at = (place: TileExpr): { row: TileExpr; k: TileExpr } =>
      alongK ? { row: onOther, k: place } : { row: place, k: onOther };
    const spare = otherRepeats * otherThreads > other ? t.less(onOther, t.int(other)) : undefined;
    return { axes: [u, w, ot, lt, v], ...at(onLine), first: at(lineStart), spare };
  };
  return { vector, alongK, repeats: otherRepeats, lineRepeats, atOnce, whole, chunk };
}

/** Together they fill the tile. */
export function stageFactor(b: t.TileBuilder, loop: LoopNode, factor: Scalar, s: Staging): readonly Staged[] {
  const { name } = s.tile;
  const layout = layOutStaged(b, loop, factor, s);
  const { repeats, atOnce, whole } = layout;
  const chunk = (size: number, from: TileExpr): { load: TileOp; put: TileOp } => {
    const { axes, row, k, spare } = layout.chunk(size, from);
    const rowIndex = t.plus(s.base, row);
    const kIndex = t.plus(s.kBase, k);
    const inRange = t.both(guard(rowIndex, s.count, s.rows), guard(kIndex, s.kCount, s.kStep ?? s.depth));
    const value = b.tile(`${name}_value`, "f32", axes);
    const zero: TileExpr = { kind: "const", type: "f32", value: 0 };
    const { expr, asked } = underCondition(s.expr(rowIndex, kIndex), s.tile);
    return {
      load: {
        kind: "let",
        tile: value,
        expr,
        where: [inRange, spare, asked].reduce(t.both),
        otherwise: zero,
      },
      put: {
        kind: "put",
        shared: s.tile,
        index: s.index(row, k),
        axes,
        expr: t.valueOf(value),
        where: spare,
        otherwise: undefined,
      },
    };
  };
  // Where nothing is known of a line's length, elements are loaded one by one: a loop keeps the text short.
  const chunks = repeats / atOnce;
  if (constantOf(whole) === undefined && chunks > 1 && Number.isInteger(chunks)) {
    const counter = b.counter(`${name}_part`, constant(chunks));
    const { load, put } = chunk(atOnce, t.times(t.at(counter), t.int(atOnce)));
    return [
      {
        loads: [],
        puts: [{ kind: "for", counter, from: undefined, below: undefined, unroll: false, body: [load, put] }],
      },
    ];
  }
  const staged: Staged[] = [];
  for (let from = 0; from < repeats; from += atOnce) {
    const { load, put } = chunk(Math.min(atOnce, repeats - from), t.int(from));
    staged.push({ loads: [load], puts: [put] });
  }
  return staged;
}

/**
 * What is to be put where a condition holds, and 0 elsewhere: loads under the condition give that by themselves. A
 * value is rounded as it is put.
 */
function underCondition(
  expr: TileExpr,
  tile: SharedTile,
): { readonly expr: TileExpr; readonly asked: TileExpr | undefined } {
  if (expr.kind === "round" && expr.to === tile.dtype) return underCondition(expr.arg, tile);
  const [asked, value, otherwise] = expr.kind === "apply" && expr.fn === "select" ? expr.args : [];
  const isZero = otherwise?.kind === "const" && Object.is(otherwise.value, 0);
  return value === undefined || !isZero ? { expr, asked: undefined } : { expr: value, asked };
}

/** Bytes of an element of the narrowest tensor that a factor reads. */
export function narrowRead(loop: LoopNode, factor: Scalar): number {
  let bytes = 4;
  for (const read of readsOf([factor])) {
    const ref = loop.inputs[read.input];
    invariant(ref !== undefined, "a read has an input");
    const dtype = ref.node.types[ref.output]?.dtype;
    if (dtype !== undefined) bytes = Math.min(bytes, dtypes[dtype].bytes);
  }
  return bytes;
}
