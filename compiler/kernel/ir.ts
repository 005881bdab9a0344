/**
 * The kernel IR: how one thread computes it. Structured code that every target prints.
 *
 * Values are SSA and scalar; a wide access has several destinations. What changes over time is a `Register`
 * (declared by `var`, read by `get`, written by `set`): loops carry nothing else, so an accumulator is one named
 * register from its first use to its last. Control is `for` and `if`; both have no results.
 *
 * Barriers stand in uniform control flow only. Indices into a buffer count elements of its `dtype`, never bytes.
 * A kernel is legal for a target when its ops are among the target's caps; `legalize` rewrites the rest.
 */
import type { Dim } from "../types/dim.ts";
import type { DType } from "../types/dtype.ts";

/**
 * Types of values in registers. `f16` and `bf16` are 16-bit patterns on their way to or from memory or a matrix
 * fragment; `b8` likewise for e4m3, e5m2, i8 and u8; arithmetic is in the other types. `h2` is two 16-bit
 * halves in 32 bits (low half first), `b8x4` four bytes: what matrix instructions take. A `matrix-` type is a matrix
 * that a subgroup holds together, nobody knows how: only the instructions of `instructions/subgroup-matrix.ts` touch it.
 */
export type ValueType = PlainType | MatrixType;
export type PlainType = "bool" | "i32" | "u32" | "i64" | "f32" | "f16" | "bf16" | "b8" | "h2" | "b8x4";
export type MatrixType = "matrix-left" | "matrix-right" | "matrix-result";

export interface Value {
  readonly id: number;
  readonly type: ValueType;
  /** For the reader of the output: `row`, `x`, `acc`. Emitters make it unique and legal. */
  readonly hint: string;
}

export interface Register {
  /** Tells it from a value where an instruction may define either. */
  readonly register: true;
  readonly id: number;
  readonly type: ValueType;
  readonly hint: string;
}

/** A kernel's parameter in device memory, or an array of a block in shared memory. */
export interface Buffer {
  readonly id: number;
  readonly name: string;
  readonly space: "global" | "shared";
  /** Storage dtype of an element. */
  readonly dtype: DType;
  /** Elements; a shared buffer's is a constant. */
  readonly length: Dim;
  /** For a global buffer. A buffer that is written is not read through a read-only path. */
  readonly access: "read" | "write" | "read-write";
  /** Bytes that its start is a multiple of. */
  readonly align: number;
  /** Elements of one vector, where the array is one of vectors: every access then takes whole ones. */
  readonly lanes?: number;
  /** Elements of a panel, of a shared array that is made of panels: what a `MatrixPlace` counts. */
  readonly panel?: number;
}

/**
 * A row-major view of a global buffer whose boxes the copy engine moves to and from shared memory (PTX ISA 5.5,
 * "Tensors"; the driver's CUtensorMap). What lies outside of the view reads as zero and is not written.
 */
export interface TensorMap {
  readonly id: number;
  readonly name: string;
  readonly buffer: Buffer;
  /** 1 to 5 extents, slowest first; their product is the buffer's length. */
  readonly dims: readonly Dim[];
  /** Elements of a box along each dim, at most 256. */
  readonly box: readonly number[];
  /** Bytes of a swizzled row in shared memory (PTX ISA 5.5.6, "Swizzling modes"); 0 for rows as they are. */
  readonly swizzle: Swizzle;
}

export type Swizzle = 0 | 32 | 64 | 128;

/** A size that stays symbolic, handed over at launch as an i32 (i64 where the caps have it and the size needs it). */
export interface SizeParam {
  readonly name: string;
  readonly dim: Dim;
}

export interface Kernel {
  readonly name: string;
  readonly buffers: readonly Buffer[];
  readonly sizes: readonly SizeParam[];
  /** Parameters of the kernel, after the buffers and the sizes. */
  readonly maps: readonly TensorMap[];
  /** Blocks along x, y, z. */
  readonly grid: readonly [Dim, Dim, Dim];
  /** Threads of a block; a multiple of the caps' subgroup size unless it is 1. */
  readonly threads: number;
  /** Neighbouring blocks along x that run at once and reach each other's shared memory, so many; undefined: each for itself. */
  readonly cluster?: number | undefined;
  /** Blocks that shall fit on a unit at once: a thread's registers are then so few. Undefined: as many as come of it. */
  readonly resident?: number | undefined;
  readonly body: readonly Op[];
  /** What it does, for a reader: `rmsnorm: y = x * rsqrt(..)`; one line. */
  readonly summary: string;
  /** .dsl files of `line` ops. */
  readonly files: readonly string[];
}

export type BinaryFn =
  /** Arithmetic; integer `div` truncates and `rem` has the dividend's sign; float `div` is IEEE division. Float `min` and `max` of a NaN and a number may give either, of zeros of two signs either. */
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "rem"
  | "min"
  | "max"
  /** Integers and bools. */
  | "and"
  | "or"
  | "xor"
  /** Integers; `shr` is arithmetic on i32 and i64, logical on u32. Shift counts are u32 below the width. */
  | "shl"
  | "shr"
  /** Comparisons give bool. On floats they are ordered, but `ne` is true on NaN. */
  | "eq"
  | "ne"
  | "lt"
  | "le"
  | "gt"
  | "ge";

export type UnaryFn =
  | "neg"
  | "not"
  | "abs"
  /** f32 only. The approximate ones are within 2 ulp of f32, or 2^-21 absolutely near a zero of log2, sin and cos (for |x| <= 2^15; beyond, the argument is reduced first by legalize); a result of exp2 or rcp below 2^-126 may be 0. */
  | "exp2"
  | "log2"
  | "sin"
  | "cos"
  | "sqrt"
  | "rsqrt"
  | "rcp"
  | "tanh"
  | "floor"
  | "ceil"
  | "trunc"
  | "round-even"
  /** To 10 bits of mantissa, half to even: what matrix units read of an f32. */
  | "round-tf32"
  /** u32: number of set bits, leading zeros. */
  | "popcount"
  | "clz";

/** One op a kind; see `Op`. */
interface Kinds {
  const: { readonly dst: Value; readonly value: number | bigint | boolean };
  /** A `SizeParam` by position. */
  size: { readonly dst: Value; readonly param: number };
  /** Thread in block (x only), lane in subgroup, subgroup in block, block in grid; i32. */
  thread: { readonly dst: Value };
  lane: { readonly dst: Value };
  subgroup: { readonly dst: Value };
  block: { readonly dst: Value; readonly axis: 0 | 1 | 2 };
  unary: { readonly dst: Value; readonly fn: UnaryFn; readonly a: Value };
  binary: { readonly dst: Value; readonly fn: BinaryFn; readonly a: Value; readonly b: Value };
  /** a * b + c, rounded once on floats. */
  fma: { readonly dst: Value; readonly a: Value; readonly b: Value; readonly c: Value };
  select: { readonly dst: Value; readonly condition: Value; readonly a: Value; readonly b: Value };
  /** Numeric conversion. `storage` names the format of a `b8` side (e4m3, e5m2, i8, u8). To a float: nearest even; e4m3 and e5m2 saturate; float to integer truncates and saturates, NaN to 0. Between integers: i32 and u32 keep each other's bits, i32 to i64 extends the sign, a narrower target saturates. To bool is `!= 0`. */
  convert: { readonly dst: Value; readonly a: Value; readonly storage: DType | undefined };
  /** The same bits: i32, u32, f32 among each other; f16, bf16 with the low half of a u32; b8 with the low byte. */
  bitcast: { readonly dst: Value; readonly a: Value };
  /** Two 16-bit values into h2, four b8 into b8x4, low part first; and back. */
  pack: { readonly dst: Value; readonly parts: readonly Value[] };
  unpack: { readonly dst: readonly Value[]; readonly a: Value };

  /** Without `init` its contents are undefined until they are set. */
  var: { readonly register: Register; readonly init: Value | undefined };
  get: { readonly dst: Value; readonly register: Register };
  set: { readonly register: Register; readonly value: Value };

  /**
   * Reads `dst.length` neighbouring elements (1, 2, 4, 8 or 16; at most 16 bytes) starting at `index`; a wide access is aligned to its own
   * size. Element types: f32 i32 u32 i64 as themselves, f16 and bf16 as such, e4m3 e5m2 i8 u8 as b8, bool as bool.
   * Where `guard` is there and false, nothing is read and every destination is `otherwise` (zero if undefined).
   */
  load: {
    readonly dst: readonly Value[];
    readonly buffer: Buffer;
    readonly index: Value;
    readonly guard: Value | undefined;
    readonly otherwise: Value | undefined;
  };
  store: {
    readonly buffer: Buffer;
    readonly index: Value;
    readonly values: readonly Value[];
    readonly guard: Value | undefined;
  };
  /** Read-modify-write of one u32 or i32 element; the old value is not returned. */
  atomic: {
    readonly buffer: Buffer;
    readonly index: Value;
    readonly fn: "add" | "and" | "or" | "min" | "max";
    readonly value: Value;
    readonly guard: Value | undefined;
  };

  /**
   * All threads of the block, or of each group; shared memory written before is seen after. Groups are of
   * neighbouring threads (a multiple of the subgroup), group g taking hardware barrier `first + g`; 0 is the block's.
   */
  barrier: { readonly group: { readonly threads: number; readonly first: number } | undefined };
  /** Value of the lane whose number is this lane's xor `mask`. */
  "shuffle-xor": { readonly dst: Value; readonly value: Value; readonly mask: number };
  /** Value of the lane `lane` (any i32 below the subgroup size). */
  "shuffle-index": { readonly dst: Value; readonly value: Value; readonly lane: Value };

  /** A hardware instruction of `kernel/instructions.ts`, by name. */
  instruction: {
    readonly name: string;
    readonly dst: readonly (Value | Register)[];
    readonly operands: readonly Operand[];
  };

  /**
   * How a matrix instruction finds a tile in shared memory (PTX ISA 9.7.15.5.1, "Matrix descriptor format"): an i64
   * of the address of `index` in 16 bytes, the leading and the stride byte offset, and the swizzle. Adding n to it
   * moves the address by 16 n bytes.
   */
  descriptor: {
    readonly dst: Value;
    readonly buffer: Buffer;
    readonly index: Value;
    readonly leading: number;
    readonly stride: number;
    readonly swizzle: Swizzle;
  };

  /** Each role's threads, taken from 0 in order, run its body, all roles at once. Only at the top of a kernel; the block has as many threads as its roles. */
  roles: { readonly roles: readonly KernelRole[] };

  /** `index` runs from `from` while below `to`, by `step` (a positive constant). Same trip count in every thread where the body holds a barrier. */
  for: {
    readonly index: Value;
    readonly from: Value;
    readonly to: Value;
    readonly step: number;
    readonly unroll: boolean;
    readonly body: readonly Op[];
  };
  if: { readonly condition: Value; readonly then: readonly Op[]; readonly else: readonly Op[] };

  /** What follows comes from this line of `files[file]`. */
  line: { readonly file: number; readonly line: number; readonly column: number };
  comment: { readonly text: string };
}

export type Kind = keyof Kinds;
export type Op<K extends Kind = Kind> = { [P in K]: { readonly kind: P } & Kinds[P] }[K];

export type Operand =
  Value | { readonly buffer: Buffer; readonly index: Value } | { readonly map: TensorMap } | MatrixPlace;

/**
 * A matrix within one panel of a shared array. `offset` and `stride` count elements of the matrix, however the array
 * is stored; both are known, so that only the panel's number has to be looked at to tell that it is in range.
 */
export interface MatrixPlace {
  readonly matrix: Buffer;
  /** The panel's number, an i32, the same in all of the subgroup. */
  readonly panel: Value;
  readonly offset: number;
  /** From one line of the matrix to the next. */
  readonly stride: number;
}

export interface KernelRole {
  readonly name: string;
  /** A multiple of 128. */
  readonly threads: number;
  readonly body: readonly Op[];
}

export type { Caps } from "../types/caps.ts";
