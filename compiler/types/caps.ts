/**
 * What a target can do. Schedules and legalize ask a `Caps`; no pass asks which target it is.
 */
import type { DType } from "./dtype.ts";

/** What a target can do; lowering and legalize ask, emitters do not. */
export interface Caps {
  /** For messages and file names: `ptx:sm_90a`, `wgsl`. */
  readonly target: string;
  /** Threads of a block at most; 1 means that blocks are serial code. */
  readonly maxThreads: number;
  /** Threads that run in lockstep and shuffle; 1 for none. */
  readonly subgroup: number;
  readonly sharedBytes: number;
  /** 32-bit registers of a thread that a schedule may plan with. */
  readonly registers: number;
  /** 32-bit registers that the blocks of a unit share; undefined where a kernel cannot ask for so many blocks there. */
  readonly registerFile?: number;
  /** Blocks of `threads` that run at once on the whole device, about; for cost. */
  readonly units: number;
  /** Bytes/s and FLOP/s ceilings, for cost and roofline; measured where that could be done. */
  readonly bandwidth: number;
  readonly flops: Readonly<Record<"f32" | "matrix32" | "matrix16" | "matrix8", number>>;
  readonly int64: boolean;
  /** Storage dtypes that `load` and `store` take as they are; the rest is packed in u32 by legalize. */
  readonly storage: readonly DType[];
  /** Widest single access in bytes. */
  readonly vectorBytes: number;
  /** `convert` pairs that exist, as "from>to" over ValueType and storage names ("f32>e4m3"); the rest is bits by legalize. */
  readonly converts: readonly string[];
  /** Unary functions of the kernel IR that exist as such; the rest is expanded by legalize. */
  readonly unary: readonly string[];
  /** Names in `kernel/instructions.ts`. */
  readonly instructions: readonly string[];
  readonly maxGrid: readonly [number, number, number];
  /** A quotient of f32 is the nearest one. */
  readonly exactDivision: boolean;
  /** Global buffers that a kernel may have. */
  readonly maxBuffers: number;
  /** Elements of a buffer beyond which its indices must be i64 (Infinity where they never are). */
  readonly index32Limit: number;
}
