/**
 * The plan: what a runtime does to run a compiled program. JSON, with the kernels' texts in files beside it, so
 * that Node, a browser, C or Python can launch it with no compiler present.
 *
 * Sizes are strings in a small expression syntax over the dims that stay dynamic, for example
 * `"ceildiv(B * S, 4)"`: names, integers, `+ - *`, and `floordiv ceildiv mod min max` as calls.
 *
 * How a kernel is called, its buffers and sizes in the plan's order:
 *
 *   ptx, cuda   a `void` entry: one 64-bit pointer a buffer, then the sizes, each of its own type
 *   wgsl        group 0: binding k is buffer k, `read` or `read_write` as `access` says; where there are sizes,
 *               the uniform at the next binding is a struct of them, each an i32
 *   js          an ES module that exports the entry; see the js target
 */
import type { DType } from "../types/dtype.ts";

export const planSchema = 1;

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
   * slot with others whose lives do not overlap (`offset` in one allocation of `temporaryBytes`).
   */
  readonly buffers: readonly PlanBuffer[];
  readonly temporaryBytes: SizeExpr;
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
  readonly kind: "input" | "output" | "state" | "temporary";
  readonly bytes: SizeExpr;
  /** Byte offset in the temporaries' allocation; undefined for the caller's buffers. */
  readonly offset: SizeExpr | undefined;
}

export interface PlanLaunch {
  readonly kernel: number;
  /** Buffer id for each of the kernel's buffers. */
  readonly buffers: readonly number[];
  readonly grid: readonly [SizeExpr, SizeExpr, SizeExpr];
  /** Value of each size parameter. */
  readonly sizes: readonly SizeExpr[];
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
  /** WGSL features that the kernel's text enables: `subgroups`, `shader-f16`. */
  readonly features: readonly string[];
  /** Counted from the IR, with the time that the target's ceilings allow, in seconds. */
  readonly bytes: SizeExpr;
  readonly flops: SizeExpr;
  readonly roofline: { readonly bandwidth: number; readonly flops: number };
  /** Generated line to source place. */
  readonly lines: readonly { readonly line: number; readonly source: string }[];
}

/** A plan and its kernels' texts, as the compiler returns them and a device loads them. */
export interface Artifact {
  readonly plan: Plan;
  /** By file name. */
  readonly files: ReadonlyMap<string, string>;
}
