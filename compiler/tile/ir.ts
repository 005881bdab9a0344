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
import type { DType, Rounding } from "../types/dtype.ts";

/** One coordinate of tiles, `0 <= coordinate < size`. */
export interface Axis {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  /**
   * For an axis over threads: thread = sum of coordinate * stride over the block's thread axes. A fragment's axis is
   * spread over a subgroup as the matrix instruction likes: such a tile is a variable that begins as zero, that `mma`
   * changes, and that is put to shared memory as it is.
   */
  readonly place:
    | { readonly kind: "register" }
    | { readonly kind: "thread"; readonly stride: number }
    | { readonly kind: "fragment" };
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
  /**
   * `tensor`: the caller's. The others are the program's own, after all tensors: `scratch` holds nothing before and
   * after a run, `flags` (u32) are zeros before a run and after it.
   */
  readonly use: "tensor" | "scratch" | "flags";
}

/** An array of the block in shared memory, row-major; `pad` elements follow each row of the last axis. */
export interface SharedTile {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly pad: number;
  /**
   * Bytes of a row whose 16-byte units are exchanged by the row's number, so that columns are read without bank
   * conflicts (PTX ISA 5.5.6); the last axis is one such row then. 0: units lie in order.
   */
  readonly swizzle: Swizzle;
  /** The thread axis each of whose places has a copy of its own; undefined: one for the block. */
  readonly per: Axis | undefined;
}

export type Swizzle = 0 | 32 | 64 | 128;

/**
 * A bounded queue between those who fill its slots and those who take them, in order. A slot holds one of each of
 * the tiles; `depth` slots can be filled and not yet released. All synchronisation between roles comes from here.
 */
export interface Channel {
  readonly id: number;
  readonly name: string;
  readonly depth: number;
  readonly tiles: readonly SharedTile[];
}

/** A box of a global buffer, seen as the row-major tensor `view` (its extents' product is the buffer's length). */
export interface Box {
  readonly buffer: GlobalBuffer;
  readonly view: readonly Dim[];
  /** Where the box begins. */
  readonly at: readonly TileExpr[];
  /** How far it reaches; outside of the view a copy reads zero and writes nothing. */
  readonly extent: readonly number[];
}

/**
 * What of a tile a box is copied to or from: the tile's part at `panel` of its first axis, which has three, or some rows
 * of that part, whole groups of eight from `row` on.
 */
export interface PanelCopy {
  readonly tile: SharedTile;
  readonly panel: number;
  /** Undefined: from the first one. */
  readonly row?: number;
  readonly box: Box;
  /** In a fill: the box is the same in all blocks of the cluster, which fill as often; each copies a part of it to all. */
  readonly common?: boolean;
}

/**
 * Roles run at once, on threads of their own, taken in order from 0. `one`: a single thread does the role's work,
 * the others wait. `registers` is what each of its threads may have, where the target can set that.
 */
export interface Role {
  readonly name: string;
  readonly threads: number;
  readonly active: "all" | "one";
  readonly registers: number | undefined;
  readonly body: readonly TileOp[];
}

/** An operand of a matrix product in shared memory; see `matrixIndex` for where its elements are. */
export interface MatrixOperand {
  readonly tile: SharedTile;
  /** Which of its two sides lies along memory: the summed one (rows one after another, or in bands), or the other. */
  readonly order: "k" | "bands" | "mn";
  /** Of a channel's tile: in the slot that is released next, not in the one that was taken last. */
  readonly isOldest?: boolean;
}

/**
 * A product's left operand that is in registers: a packed tile that lies as the instruction wants it, and the row and
 * the place along k of each of its elements.
 */
export interface RegisterOperand {
  readonly registers: Tile;
  readonly row: TileExpr;
  readonly k: TileExpr;
}

/** A tile in registers. */
export interface Tile {
  readonly id: number;
  readonly name: string;
  readonly type: ScalarType;
  readonly axes: readonly Axis[];
  /**
   * Pairs along the last axis, which has two places in registers, share a register as values of this dtype of 16 bits,
   * which they are rounded to; only products read such a tile. Of 8 bits fours along the last axis, which has whole fours
   * of places in registers, share one as they are in memory: what is read long before it is used takes no more room.
   */
  readonly packed: DType | undefined;
}

export interface TileProgram {
  readonly name: string;
  /** For a reader: what the kernel computes. */
  readonly summary: string;
  readonly threads: number;
  /** The grid, slowest first; their product is the number of blocks. */
  readonly blocks: readonly Counter[];
  /** Neighbouring blocks that run at once and can share copies, so many; they divide the grid. Undefined: each for itself. */
  readonly cluster?: number | undefined;
  /** Blocks that shall fit on a unit at once, as far as registers go; undefined: as many as come of it. */
  readonly resident?: number | undefined;
  readonly buffers: readonly GlobalBuffer[];
  readonly shared: readonly SharedTile[];
  /** Their tiles are not among `shared`. */
  readonly channels: readonly Channel[];
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
  | { readonly kind: "round"; readonly type: "f32"; readonly to: Rounding; readonly arg: TileExpr }
  | { readonly kind: "cast"; readonly type: ScalarType; readonly to: DType; readonly arg: TileExpr };

interface Kinds {
  /** tile = expr at each coordinate where `where` holds, `otherwise` elsewhere. */
  let: {
    readonly tile: Tile;
    readonly expr: TileExpr;
    readonly where: TileExpr | undefined;
    readonly otherwise: TileExpr | undefined;
  };
  /** The counter's value for what follows: an index that takes more than counting to find, below the counter's count. */
  index: { readonly counter: Counter; readonly expr: TileExpr };
  /** A tile that later ops update: a running reduction, an accumulator. Without `init` it holds nothing yet. */
  var: { readonly tile: Tile; readonly init: TileExpr | undefined };
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
   * acc += a . b by a matrix instruction: acc[m, n] += sum over k of a[m, k] * b[n, k], f32. The accumulator's axes
   * are the instruction's fragment (see `tile/schedule/fragments.ts`): `m` and `n` give the row of a and of b for
   * each coordinate. Where `accumulate` does not hold, acc = a . b. An asynchronous instruction's accumulator is
   * there, and its operands are free, only after an `await`.
   */
  mma: {
    readonly acc: Tile;
    readonly a: MatrixOperand | RegisterOperand;
    readonly b: MatrixOperand;
    readonly m: TileExpr;
    readonly n: TileExpr;
    readonly accumulate: TileExpr | undefined;
    readonly instruction: string;
  };
  /** All asynchronous products are done but the `pending` youngest. */
  await: { readonly pending: number };
  /**
   * Fills the channel's next free slot, once there is one: with boxes of global buffers, which are copied while others
   * go on, and with what the body puts into the slot's tiles. With `where`, a condition that all threads find alike,
   * with one of the two: the boxes where it holds, else the body.
   */
  fill: {
    readonly channel: Channel;
    readonly copies: readonly PanelCopy[];
    /** Others see what fills the slot only at the `commit` that follows. */
    readonly deferred?: boolean;
    readonly where?: TileExpr | undefined;
    readonly body: readonly TileOp[];
  };
  /** Hands over the slot that a deferred fill before it, in the same ops, has filled. */
  commit: { readonly channel: Channel };
  /**
   * Asks, where `where` holds, that boxes are brought near while others go on: what is read of them later takes less
   * long. A box is within its view; nothing is waited for.
   */
  prefetch: { readonly boxes: readonly Box[]; readonly where: TileExpr | undefined };
  /** Waits for the channel's next slot; its tiles are then that slot's. */
  take: { readonly channel: Channel };
  /** The oldest slot that was taken may be filled again, where `where` holds. */
  release: { readonly channel: Channel; readonly where: TileExpr | undefined };
  /** Writes shared tiles to boxes of global buffers while others go on; the tile may be put to again. */
  drain: { readonly copies: readonly PanelCopy[] };
  /** The bodies of the roles; only at the top of a program. */
  roles: { readonly roles: readonly Role[] };
  /**
   * All combinations of the counters, the last fastest, dealt to the blocks in turn: the block at place w of
   * `worker` takes the w-th, and then every `worker.count`-th.
   */
  persistent: {
    readonly worker: Counter;
    readonly counters: readonly Counter[];
    readonly body: readonly TileOp[];
  };
  /** `counter` from 0, or `from`, below its count, or `below`, which are in its range; the body sees it. */
  for: {
    readonly counter: Counter;
    readonly from: TileExpr | undefined;
    readonly below: TileExpr | undefined;
    readonly body: readonly TileOp[];
    readonly unroll: boolean;
  };
  /**
   * The places of a thread axis do this one after the other, over and over; each comes to it equally often. What it
   * computes does not depend on that.
   */
  turn: { readonly axis: Axis; readonly body: readonly TileOp[] };
  /** One of the two, by a condition that all threads find alike. */
  if: {
    readonly condition: TileExpr;
    readonly then: readonly TileOp[];
    readonly otherwise: readonly TileOp[];
  };
  /** Raises a flag, which is down: whoever waits for it sees what was stored to global memory before. */
  raise: { readonly flags: GlobalBuffer; readonly index: TileExpr };
  /**
   * Waits until another block has raised the flag, and lowers it. The other block has a lower number: a block that is
   * waited for has begun then, however many of them run at once.
   */
  meet: { readonly flags: GlobalBuffer; readonly index: TileExpr };
  /** What follows comes from here. */
  line: { readonly file: string; readonly line: number; readonly column: number };
}

export type TileKind = keyof Kinds;
export type TileOp<K extends TileKind = TileKind> = { [P in K]: { readonly kind: P } & Kinds[P] }[K];
