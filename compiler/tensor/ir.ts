/**
 * The tensor IR: what is computed. An immutable, hash-consed graph in an `Arena`.
 *
 * One node carries nearly all of the language, the **loop**:
 *
 *     loop { axes b, s; over d; carriers r: sum of x[b, s, d] * x[b, s, d];
 *            results y[b, s, d]: x[b, s, d] * rsqrt(r / 7168) }
 *
 * With no `over` it is pointwise; with one `sum` carrier of a product it is a contraction; a carrier whose lift
 * uses another carrier's value runs in a later sweep over the same axes; a result may range over the `over` axes
 * too, once all carriers are known. A body may hold a reduction of its own, over axes that it alone has; and a result
 * may have such axes, as the k largest of a row have one. So fusion
 * makes larger loops out of small ones and never needs another node.
 *
 * Float values inside a body carry f32 (f64 in the interpreter); `round` rounds where a type was written.
 * Integers are i32, u32 or i64. Ragged, block-scaled, masked and paged values are gone at this level: lowering
 * has written them as tensors (codes and scales, values and keep bits, rows and offsets, pages and tables).
 */
import type { Dim } from "../types/dim.ts";
import type { DType, Rounding } from "../types/dtype.ts";

export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** Dense id within one arena. */
export type NodeId = number;

/** One output of a node. */
export interface Ref {
  readonly node: Node;
  readonly output: number;
}

interface Common {
  readonly id: NodeId;
  /** The nodes read, each once, in order of first use; scalar reads name them by position. */
  readonly inputs: readonly Ref[];
  readonly types: readonly TensorType[];
  readonly form: Form;
}

/**
 * All that a node is but for which tensors it reads: nodes of one form differ in which tensors of given types they
 * read and in nothing else, as the layers of a model do, and share one object. It keeps what has been found out about
 * the form, so that it is found once.
 */
export interface Form {
  /** Dense id within one arena. */
  readonly id: number;
  /** Of a loop's outputs. */
  types: readonly TensorType[] | undefined;
  body: NodeBody | undefined;
  /** The form has been verified without a violation. */
  sound: boolean;
  contracts: boolean | undefined;
  /** The loop only moves, broadcasts, converts or counts. */
  view: boolean | undefined;
}

/** What the bodies of a node hold. */
export interface NodeBody {
  /** Lifts, then results; targets, value and keep of a scatter. */
  readonly roots: readonly Scalar[];
  /** Every scalar of the bodies, operands first. */
  readonly scalars: readonly Scalar[];
  readonly reads: readonly ScalarRead[];
  /** The reads of each input. */
  readonly readsByInput: readonly (readonly ScalarRead[])[];
  /** For each read, the axis of each index; undefined where an index is no plain axis or an axis stands twice. */
  readonly plainReads: readonly (readonly number[] | undefined)[];
  /** Positions of inputs in order of first use. */
  readonly inputOrder: readonly number[];
  /** For each root, the axes that it varies along, as a bit set; loops have 30 axes at most. */
  readonly axesOfRoots: readonly number[];
  /** For each root, one more than the highest carrier that it uses; 0 where it uses none. */
  readonly carriersOfRoots: readonly number[];
  /** FLOPs of evaluating every scalar once; index arithmetic is free. */
  readonly flops: number;
}

export type Node = InputNode | LoopNode | ScatterNode | TopkNode | ScanNode | SortNode | DispatchNode;

/** An argument, a module's parameter or a part of its state. */
export interface InputNode extends Common {
  readonly kind: "input";
  readonly name: string;
  readonly role: "argument" | "param" | "state";
}

export interface LoopAxis {
  readonly name: string;
  readonly extent: Dim;
  /** The size that the source gives the axis, in the compiled function's names, where it is one name: `N`. */
  readonly size?: string | undefined;
}

export interface LoopNode extends Common {
  readonly kind: "loop";
  /** Parallel axes. Axis k of a body is `axes[k]`, or `over[k - axes.length]`. */
  readonly axes: readonly LoopAxis[];
  /** Reduced axes, swept in row-major order. */
  readonly over: readonly LoopAxis[];
  /** Axes of the reductions inside bodies, and of results: axis k of a body is `inner[k - axes.length - over.length]`. */
  readonly inner: readonly LoopAxis[];
  readonly carriers: readonly Carrier[];
  readonly results: readonly LoopResult[];
  /** In which order places of an axis are best taken. Only time depends on it. */
  readonly order?: LoopOrder | undefined;
}

/** The i-th place to be taken of `axis`, one of the parallel ones, is `place`, an i32 in which i stands at that axis. */
export interface LoopOrder {
  readonly axis: number;
  readonly place: Scalar;
}

/** A running reduction over the `over` axes. Its lift may use earlier carriers' final values. */
export interface Carrier {
  readonly name: string;
  /** A row of the monoid table. */
  readonly monoid: string;
  readonly lift: Scalar;
  /**
   * Of a sum of products of two 8-bit floats: so many at most may be added as a matrix unit adds them, which keeps 13
   * bits below the largest; these runs are added in f32. Undefined: `usualRun` (narrow-sums.ts). Other sums are f32 throughout.
   */
  readonly every?: number | undefined;
}

export interface LoopResult {
  readonly value: Scalar;
  readonly dtype: DType;
  /**
   * Which loop axis each axis of the result tensor is, in the tensor's order. All of `axes`, and none, the first or all of
   * `over`; or all of `axes` and some of `inner`, each point of which has a value once the carriers are known; or some of
   * `axes` alone, where the value is the same along the others.
   */
  readonly axes: readonly number[];
  /**
   * The axes of the tensor, where some of them are several neighbours of `axes`, flattened: blocks and what is in a
   * block. Undefined: each is one of `axes`.
   */
  readonly merged?: readonly MergedAxis[] | undefined;
}

export interface MergedAxis {
  /** How many of a result's `axes` it is. */
  readonly count: number;
  /** Its size. What the loop makes beyond it, in a last block that is short, is dropped. */
  readonly extent: Dim;
}

/**
 * Writes `value` into a copy of `inputs[0]` at `target`, for every point of `axes` where `keep` holds. No two
 * points write one place (the front end guarantees it); a target outside the tensor is dropped,
 * and in bounds mode an error.
 */
export interface ScatterNode extends Common {
  readonly kind: "scatter";
  readonly axes: readonly LoopAxis[];
  readonly target: readonly Scalar[];
  readonly value: Scalar;
  readonly keep: Scalar;
}

/** Outputs values (the input's dtype), index (i32), mask (bool, the input's shape). Order: largest first, equal ones by lowest index, NaN after every number. `inputs[1]`, if there, is a keep mask: masked elements come last, by lowest index. */
export interface TopkNode extends Common {
  readonly kind: "topk";
  readonly axis: number;
  readonly k: Dim;
}

/** Inclusive running sum along `axis`, f32 for floats. */
export interface ScanNode extends Common {
  readonly kind: "scan";
  readonly axis: number;
}

/** Ascending along `axis`, NaN last. */
export interface SortNode extends Common {
  readonly kind: "sort";
  readonly axis: number;
}

/**
 * The routing plan of `index: i32[N, K]` over `experts`. Rows of one expert stand together, by n and then k, each
 * expert's rows beginning at a multiple of `align`, so that a block of `align` rows belongs to one expert.
 *
 * Outputs, with cap = align * floor((N * K + experts * (align - 1)) / align):
 *   0 position i32[N, K]: the row of each copy, or -1 where it goes nowhere
 *   1 source i32[cap]: n * K + k of each row, or -1 for padding
 *   2 expert i32[cap / align]: expert of each block of rows, or `experts` for unused ones
 *   3 start i32[experts]: first row, 4 count i32[experts]: rows
 */
export interface DispatchNode extends Common {
  readonly kind: "dispatch";
  readonly experts: Dim;
  readonly align: number;
}

// ---------------------------------------------------------------- scalar bodies

/** Dtypes that a scalar inside a body has. All floats are f32 there. */
export type ScalarType = "f32" | "i32" | "u32" | "i64" | "bool";

/** Hash-consed like nodes. */
export type Scalar =
  | {
      readonly kind: "const";
      readonly id: number;
      readonly type: ScalarType;
      readonly value: number | bigint | boolean;
    }
  /** A size as an i32. */
  | { readonly kind: "dim"; readonly id: number; readonly type: "i32"; readonly dim: Dim }
  /** The loop's axis number, an i32. */
  | { readonly kind: "axis"; readonly id: number; readonly type: "i32"; readonly axis: number }
  | ScalarRead
  /** A carrier's final value. */
  | { readonly kind: "carrier"; readonly id: number; readonly type: ScalarType; readonly carrier: number }
  /** A row of the scalar-function table. */
  | {
      readonly kind: "apply";
      readonly id: number;
      readonly type: ScalarType;
      readonly fn: string;
      readonly args: readonly Scalar[];
    }
  /**
   * Rounds a float to a dtype's values, or to those of tf32, and saturates as the dtype does; the result is still an f32. `scaled`: a
   * contraction's factor, for which no type was written: it may be rounded at any scale that the sum does not move.
   */
  | {
      readonly kind: "round";
      readonly id: number;
      readonly type: "f32";
      readonly to: Rounding;
      readonly arg: Scalar;
      readonly scaled: boolean;
    }
  /** `arg` reduced by a row of the monoid table over axes of `inner`, at each point of the loop. */
  | {
      readonly kind: "reduce";
      readonly id: number;
      readonly type: ScalarType;
      readonly monoid: string;
      readonly axes: readonly number[];
      readonly arg: Scalar;
    }
  /** Numeric conversion between scalar types; float to integer truncates and saturates (NaN gives 0), to bool is `!= 0`. i32 and u32 keep each other's bits; every other integer conversion saturates, i8 and u8 through `to`. To a float only as f32, from what is none. */
  | {
      readonly kind: "cast";
      readonly id: number;
      readonly type: ScalarType;
      readonly to: DType;
      readonly arg: Scalar;
    };

export interface ScalarRead {
  readonly kind: "read";
  readonly id: number;
  readonly type: ScalarType;
  /** Position in the node's `inputs`. */
  readonly input: number;
  /** One i32 for each axis of the tensor. */
  readonly index: readonly Scalar[];
  /**
   * proved: every index is in range. clamp: an index outside is moved to the nearest inside (and is an error in
   * bounds mode). else: a read outside gives `otherwise`.
   */
  readonly bounds: "proved" | "clamp" | "else";
  /** Undefined unless `bounds` is "else". */
  readonly otherwise: Scalar | undefined;
}

// ---------------------------------------------------------------- graphs

export interface Graph {
  readonly name: string;
  readonly inputs: readonly InputNode[];
  readonly results: readonly { readonly name: string; readonly value: Ref }[];
  /** State after the run: the input that holds it, and its new value. */
  readonly updates: readonly { readonly input: InputNode; readonly value: Ref }[];
  /** Sizes left symbolic, in order of appearance. */
  readonly dims: readonly string[];
  /** Relations that the sizes must satisfy at launch. */
  readonly checks: readonly SizeCheck[];
}

export interface SizeCheck {
  readonly left: Dim;
  readonly relation: "==" | "<" | "<=" | "!=";
  readonly right: Dim;
  /** The message of a failed check, place included. */
  readonly message: string;
}
