/** A kernel cut into segments: straight runs of instructions, each one generated function, and what follows each. */
import type { Attempt, Step } from "../table/row.ts";
import type { Register, Site, Value } from "./site.ts";
import type { Warp } from "../machine/warp.ts";

export interface Guarded {
  readonly register: Register;
  readonly negated: boolean;
}

export type End =
  | { readonly kind: "next"; readonly next: number }
  | {
      readonly kind: "branch";
      readonly guard: Guarded;
      readonly taken: number;
      readonly next: number;
      readonly site: Site | undefined;
    }
  | {
      readonly kind: "indexed";
      readonly selector: Value;
      readonly targets: readonly number[];
      readonly site: Site;
    }
  /** `around` is the segment that lanes without the guard go to, -1 for an exit of all. */
  | { readonly kind: "exit"; readonly site: Site | undefined; readonly around: number }
  | { readonly kind: "trap"; readonly site: Site; readonly around: number }
  | { readonly kind: "wait"; readonly site: Site; readonly attempt: Attempt; readonly next: number };

export interface Segment {
  readonly index: number;
  /** Its instructions but the one that ends it. */
  readonly sites: readonly Site[];
  readonly run: (w: Warp, mask: number) => void;
  readonly end: End;
  /** Segment where lanes that part here meet again: the immediate post-dominator, or -1. */
  reconverge: number;
  /** Registers that its instructions read or write, and those written, as bit sets; wgmma's own are left out. */
  readonly touched: Int32Array;
  readonly written: Int32Array;
  /** Whether the segment is a wgmma instruction, which keeps the books on registers itself. */
  readonly wgmma: boolean;
  /** The most accumulators and fragments of wgmma live before one of its instructions, in 32-bit registers. */
  readonly live: number;
}

export interface BoundStep {
  readonly site: Site;
  readonly step: Step;
}
