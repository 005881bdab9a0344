/** What the parts of fusion share: options, decisions, and what one run of the pass knows. */
import type { Arena } from "../tensor/arena.ts";
import type { Node } from "../tensor/ir.ts";
import type { Sizes } from "./sizes.ts";

export interface FuseOptions {
  /** Tensors that one loop may read and write: a target binds no more buffers than it has. */
  readonly maxBuffers: number;
  /** Scalars that the bodies of one loop may have. */
  readonly maxScalars: number;
}

export interface FusionDecision {
  readonly outcome: "prologue" | "epilogue" | "row" | "sibling" | "apart";
  /** The values that met, by hint or number. */
  readonly producer: string;
  readonly consumer: string;
  /** Bytes of memory traffic that it saves, or would save; unknown sizes count as `unknownSize`. */
  readonly saved: number;
  readonly reason: string;
}

export type FusionReport = readonly FusionDecision[];

/** One run of the pass. */
export interface Fusing {
  readonly arena: Arena;
  readonly options: FuseOptions;
  readonly sizes: Sizes;
  readonly report: FusionDecision[];
}

export function nameOf(cx: Fusing, node: Node | undefined): string {
  if (node === undefined) return "output";
  return node.kind === "input" ? node.name : (cx.arena.hint(cx.arena.ref(node)) ?? `%${node.id}`);
}
