/**
 * The plan: what a runtime does to run a compiled program. JSON, with the kernels' texts in files beside it, so
 * that Node, a browser, C or Python can launch it with no compiler present.
 *
 * Sizes are strings in a small expression syntax over the dims that stay dynamic, for example
 * `"ceildiv(B * S, 4)"`: names, integers, `+ - *`, and `floordiv ceildiv mod min max` as calls.
 *
 * How a kernel is called, its buffers, sizes and maps in the plan's order:
 *
 *   ptx, cuda   a `void` entry: one 64-bit pointer a buffer, then the sizes, each of its own type, then the maps,
 *               each a CUtensorMap by value (128 bytes, aligned to 64)
 *   wgsl        group 0: binding k is buffer k, `read` or `read_write` as `access` says; where there are sizes,
 *               the uniform at the next binding is a struct of them, each an i32
 *   js          an ES module that exports the entry; see the js target
 */
import type { Swizzle } from "../kernel/ir.ts";
import type { DType } from "../types/dtype.ts";

/** 4: preparation. A reader takes its own schema alone, since what it does not know it would launch wrong. */
export const planSchema = 4;

export type SizeExpr = string;

export interface Plan {
  readonly schema: typeof planSchema;
  readonly compiler: string;
  /** `file.dsl:Module.fn`. */
  readonly program: string;
  /** `ptx:sm_90a`, `cuda:sm_90a`, `wgsl`, `js`. */
  readonly target: string;
  /** Dims bound at compile time, and the dynamic ones in order of the kernels' size parameters. */
  readonly dims: { readonly bound: Readonly<Record<string, number>>; readonly dynamic: readonly string[] };
  readonly checks: readonly {
    readonly left: SizeExpr;
    readonly relation: "==" | "<" | "<=" | "!=";
    readonly right: SizeExpr;
    readonly message: string;
  }[];
  readonly inputs: readonly PlanTensor[];
  readonly outputs: readonly PlanTensor[];
  /**
   * Device memory by id. An input's, output's or state's buffer is the caller's; a temporary may share an arena
   * slot with others whose lives do not overlap (`offset` in one allocation of `temporaryBytes`). `flags` are memory of
   * their own that lasts as long as the loaded plan: zeros before its first run, and each run leaves it so. What is
   * `prepared` is kept from the preparation on.
   */
  readonly buffers: readonly PlanBuffer[];
  readonly temporaryBytes: SizeExpr;
  /**
   * Launches that read parameters alone and write what is prepared, such as a weight's codes and scales: made before the
   * first run, and again when a parameter has changed. They may use temporaries and flags as a run does.
   */
  readonly preparation: readonly PlanLaunch[];
  /** Launches of each run. */
  readonly launches: readonly PlanLaunch[];
  readonly kernels: readonly PlanKernel[];
}

export interface PlanTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly SizeExpr[];
  /** Names of the axes as written in the source. */
  readonly axes: readonly string[];
  readonly role: "argument" | "param" | "state" | "result";
  readonly buffer: number;
}

export interface PlanBuffer {
  readonly id: number;
  readonly kind: "input" | "output" | "state" | "temporary" | "flags" | "prepared";
  readonly bytes: SizeExpr;
  /** Byte offset in the temporaries' allocation; undefined for other buffers. */
  readonly offset: SizeExpr | undefined;
}

export interface PlanLaunch {
  readonly kernel: number;
  /** Buffer id for each of the kernel's buffers. */
  readonly buffers: readonly number[];
  readonly grid: readonly [SizeExpr, SizeExpr, SizeExpr];
  /** Value of each size parameter. */
  readonly sizes: readonly SizeExpr[];
  /** Extents of each of the kernel's maps, slowest first, in elements of its buffer; 1 to 5 of them, all positive. */
  readonly maps: readonly (readonly SizeExpr[])[];
  /**
   * The kernel waits by itself for what is ahead of it in the stream: it may be launched with the attribute of
   * programmatic stream serialization (CUDA), to begin before that has ended. An ordinary launch does as well.
   */
  readonly early?: true;
}

export interface PlanKernel {
  readonly name: string;
  /** Name to launch it by in the text; differs from `name` where the target reserves that word. */
  readonly entry: string;
  readonly summary: string;
  /** File beside the plan. */
  readonly file: string;
  readonly sha256: string;
  readonly threads: number;
  readonly sharedBytes: number;
  /** Of them, what a launch on CUDA asks for: all when they are more than the 48 KiB that a kernel may just declare. */
  readonly dynamicSharedBytes: number;
  readonly buffers: readonly {
    readonly name: string;
    readonly dtype: DType;
    readonly access: "read" | "write" | "read-write";
  }[];
  readonly sizes: readonly { readonly name: string; readonly type: "i32" | "i64" }[];
  readonly maps: readonly PlanMap[];
  /** WGSL features that the kernel's text enables: `subgroups`, `shader-f16`. */
  readonly features: readonly string[];
  /** Counted from the IR, with the time that the target's ceilings allow, in seconds. */
  readonly bytes: SizeExpr;
  readonly flops: SizeExpr;
  readonly roofline: { readonly bandwidth: number; readonly flops: number };
  /** Generated line to source place. */
  readonly lines: readonly { readonly line: number; readonly source: string }[];
}

/**
 * A view of one of the kernel's buffers for the copy engine, made at launch by `cuTensorMapEncodeTiled`: row-major
 * over the launch's extents, so that the stride of a dim is the product of the faster extents. The driver counts
 * dims from the fastest: extents and box go to it in reverse, with the strides in bytes of all dims but the fastest
 * (each a multiple of 16), unit element strides, no interleaving, L2 promotion to 256 bytes and zeros out of bounds.
 * Elements of one byte are its UINT8, i32, u32 and i64 its INT32, UINT32 and INT64, the others its floats.
 */
export interface PlanMap {
  readonly name: string;
  /** Position in the kernel's `buffers`, and so in the launch's. */
  readonly buffer: number;
  readonly dtype: DType;
  /** Elements that one copy moves along each dim, slowest first: 1 to 256. */
  readonly box: readonly number[];
  /** Bytes of a swizzled row in shared memory; 0 for none. */
  readonly swizzle: Swizzle;
}

/** A plan and its kernels' texts, as the compiler returns them and a device loads them. */
export interface Artifact {
  readonly plan: Plan;
  /** By file name. */
  readonly files: ReadonlyMap<string, string>;
}
