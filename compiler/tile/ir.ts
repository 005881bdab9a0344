/**
 * The tile IR: how one block computes it.
 *
 * A block works on tiles: small tensors over named **axes**. An axis is held either in registers (each thread has
 * all of it) or over threads (each thread has one place on it), so a tile's layout is the list of its axes: the map
 * from (register, thread) to element is the sum of coordinates times strides, linear over F2 where the sizes are
 * powers of two and mixed-radix where they are not. Expressions say what stands at each coordinate; two tiles meet
 * in an expression by sharing axes, and a tile that lacks an axis is the same all along it.
 *
 * Nothing here names a target, a barrier or an address. A shared tile that is written and then read is a
 * dependence; the lowering to kernels derives the barriers from those.
 */
import type { ScalarType } from "../tensor/ir.ts";
import type { Dim } from "../types/dim.ts";
import type { DType } from "../types/dtype.ts";

/** One coordinate of tiles, `0 <= coordinate < size`. */
export interface Axis {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  /** For an axis over threads: thread = sum of coordinate * stride over the block's thread axes. */
  readonly place: { readonly kind: "register" } | { readonly kind: "thread"; readonly stride: number };
}

/** A counter: of blocks along one grid direction, or of a loop. An i32 (i64 where its range needs it). */
export interface Counter {
  readonly id: number;
  readonly name: string;
  /** It runs over `0 .. count - 1`. */
  readonly count: Dim;
}

export interface GlobalBuffer {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  readonly access: "read" | "write" | "read-write";
}

/** An array of the block in shared memory, row-major; `pad` elements follow each row of the last axis. */
export interface SharedTile {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly pad: number;
}

/** A tile in registers. */
export interface Tile {
  readonly id: number;
  readonly name: string;
  readonly type: ScalarType;
  readonly axes: readonly Axis[];
}

export interface TileProgram {
  readonly name: string;
  /** For a reader: what the kernel computes. */
  readonly summary: string;
  readonly threads: number;
  /** The grid, slowest first; their product is the number of blocks. */
  readonly blocks: readonly Counter[];
  readonly buffers: readonly GlobalBuffer[];
  readonly shared: readonly SharedTile[];
  readonly body: readonly TileOp[];
}

/** Evaluated at every coordinate of the axes in scope. Floats are f32, as in the tensor IR. */
export type TileExpr =
  | { readonly kind: "const"; readonly type: ScalarType; readonly value: number | bigint | boolean }
  | { readonly kind: "size"; readonly type: "i32"; readonly dim: Dim }
  | { readonly kind: "counter"; readonly type: "i32"; readonly counter: Counter }
  | { readonly kind: "coordinate"; readonly type: "i32"; readonly axis: Axis }
  | { readonly kind: "tile"; readonly type: ScalarType; readonly tile: Tile }
  | {
      readonly kind: "read";
      readonly type: ScalarType;
      readonly buffer: GlobalBuffer;
      readonly index: readonly TileExpr[];
      /** As in the tensor IR: proved in range (under the op's `where`), clamped, or `otherwise` outside. */
      readonly bounds: "proved" | "clamp" | "else";
      readonly otherwise: TileExpr | undefined;
    }
  | {
      readonly kind: "shared";
      readonly type: ScalarType;
      readonly tile: SharedTile;
      readonly index: readonly TileExpr[];
    }
  | {
      readonly kind: "apply";
      readonly type: ScalarType;
      readonly fn: string;
      readonly args: readonly TileExpr[];
    }
  | { readonly kind: "round"; readonly type: "f32"; readonly to: DType; readonly arg: TileExpr }
  | { readonly kind: "cast"; readonly type: ScalarType; readonly to: DType; readonly arg: TileExpr };

interface Kinds {
  /** tile = expr at each coordinate where `where` holds, `otherwise` elsewhere. */
  let: {
    readonly tile: Tile;
    readonly expr: TileExpr;
    readonly where: TileExpr | undefined;
    readonly otherwise: TileExpr | undefined;
  };
  /** A tile that later ops update: a running reduction, an accumulator. */
  var: { readonly tile: Tile; readonly init: TileExpr };
  /** A row of the monoid table; tile = tile (monoid) expr for every coordinate of the register axes `over`, in row-major order, where `where` holds. */
  fold: {
    readonly tile: Tile;
    readonly monoid: string;
    readonly expr: TileExpr;
    readonly over: readonly Axis[];
    readonly where: TileExpr | undefined;
  };
  /** tile = expr, elementwise, in place. */
  update: { readonly tile: Tile; readonly expr: TileExpr };
  /** tile = src reduced along the thread axes `over`; every thread gets the result. */
  reduce: {
    readonly tile: Tile;
    readonly src: Tile;
    readonly monoid: string;
    readonly over: readonly Axis[];
  };
  /** Writes `expr` for every coordinate of `axes` where `where` holds. `dropped`: an index outside the buffer is dropped. */
  store: {
    readonly buffer: GlobalBuffer;
    readonly index: readonly TileExpr[];
    readonly expr: TileExpr;
    readonly axes: readonly Axis[];
    readonly where: TileExpr | undefined;
    readonly bounds: "proved" | "drop";
  };
  /** Writes a shared tile for every coordinate of `axes`; `otherwise` where `where` does not hold. */
  put: {
    readonly shared: SharedTile;
    readonly index: readonly TileExpr[];
    readonly expr: TileExpr;
    readonly axes: readonly Axis[];
    readonly where: TileExpr | undefined;
    readonly otherwise: TileExpr | undefined;
  };
  /**
   * acc += a . b by a matrix instruction: acc[m, n] += sum over k of a[m, k] * b[n, k], f32. `a` is [rows of m, k],
   * `b` is [rows of n, k] in shared memory. The accumulator's axes are the instruction's fragment (see
   * `tile/fragments.ts`): `m` and `n` give the row of a and of b for each coordinate.
   */
  mma: {
    readonly acc: Tile;
    readonly a: SharedTile;
    readonly b: SharedTile;
    readonly m: TileExpr;
    readonly n: TileExpr;
    readonly instruction: string;
  };
  /** `counter` from 0 below its count; the body sees it. */
  for: { readonly counter: Counter; readonly body: readonly TileOp[]; readonly unroll: boolean };
  /** What follows comes from here. */
  line: { readonly file: string; readonly line: number; readonly column: number };
}

export type TileKind = keyof Kinds;
export type TileOp<K extends TileKind = TileKind> = { [P in K]: { readonly kind: P } & Kinds[P] }[K];
