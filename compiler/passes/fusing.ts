/** What the parts of fusion share: options, decisions, and what one run of the pass knows. */
import type { Arena } from "../tensor/arena.ts";
import type { NodeId } from "../tensor/ir.ts";
import type { Sizes } from "./sizes.ts";

export interface FuseOptions {
  /** Tensors that one loop may read and write: a target binds no more buffers than it has. */
  readonly maxBuffers: number;
  /** Scalars that the bodies of one loop may have. */
  readonly maxScalars: number;
}

/** FLOPs of a value that a contraction may make again for each of its tiles. */
export const cheapFactorFlops = 2;

/** How two loops became one. */
export type Fusion =
  /** The reader computes what it would have read. */
  | "prologue"
  /** What follows a reduction point by point is done where its result is. */
  | "epilogue"
  /** Both run over the same rows, and one of them along them. */
  | "row"
  /** Neither reads the other: what both read is read once. */
  | "sibling";

/** Why two loops did not become one. Sizes are in numbers; those that are not known count as `unknownSize`. */
export type Apart =
  /** One is a contraction, which keeps a loop of its own. */
  | { readonly kind: "contraction" }
  /** One is a sum of products that leaves some out, by a condition of rows and columns: no matrix unit does. */
  | { readonly kind: "masked" }
  /** The numbers of their axes do not fit. */
  | { readonly kind: "axes" }
  /** One reads the other at other points than those that it makes. */
  | { readonly kind: "points" }
  /** Axes that would be one have different sizes. */
  | { readonly kind: "sizes" }
  /** What both read is a small part of the `bytes` that the smaller one reads. */
  | { readonly kind: "little-shared"; readonly shared: number; readonly bytes: number }
  /** A row would be one block's work, and there are too few blocks: fewer than `least`, each longer than `longest`. */
  | {
      readonly kind: "few-rows";
      readonly rows: number;
      readonly least: number;
      readonly length: number;
      readonly longest: number;
    }
  | { readonly kind: "too-large"; readonly scalars: number; readonly most: number }
  | { readonly kind: "too-many-tensors"; readonly tensors: number; readonly most: number }
  /** Another node lies between them, which needs all of what the first makes. */
  | { readonly kind: "between" }
  /** The reduced axes are empty. */
  | { readonly kind: "empty" }
  /** It would be computed again for each reader, or for each of a reader's points. */
  | { readonly kind: "costly-again"; readonly flops: number; readonly most: number }
  /** Its readers would read more bytes to compute it than they read now. */
  | { readonly kind: "reads-more"; readonly bytes: number }
  /** A contraction would read a wider tensor, again for each of its tiles, than the one that is made for it. */
  | { readonly kind: "narrows" }
  /** A reader needs it in memory: it writes over it, or reads outside of it. */
  | { readonly kind: "needs-memory" };

/** What was decided of two sets of loops, by the ids of the graph that the step began with. */
export interface FusionDecision {
  readonly left: ReadonlySet<NodeId>;
  readonly right: ReadonlySet<NodeId>;
  readonly outcome: Fusion | Apart;
}

/** One run of the pass. */
export interface Fusing {
  readonly arena: Arena;
  readonly options: FuseOptions;
  readonly sizes: Sizes;
  /** Where decisions go, if anyone wants to know. */
  readonly decisions: FusionDecision[] | undefined;
}
