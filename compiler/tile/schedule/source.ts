/** What a schedule is made from: a node of the fused graph, with names for its tensors. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Arena } from "../../tensor/arena.ts";
import type { LoopNode, ScatterNode } from "../../tensor/ir.ts";
import type { TileBuilder } from "../build.ts";
import type { GlobalBuffer } from "../ir.ts";

export interface KernelSource<N = LoopNode | ScatterNode> {
  /** The node's, for scalars that a schedule makes. */
  readonly arena: Arena;
  readonly node: N;
  readonly name: string;
  readonly summary: string;
  /** Names of the node's inputs and outputs, by position; for a reader only. */
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Where the program says it, if known. */
  readonly place: { readonly file: string; readonly line: number; readonly column: number } | undefined;
}

export interface DeclaredBuffers {
  readonly inputs: readonly GlobalBuffer[];
  readonly outputs: readonly GlobalBuffer[];
}

/** One buffer for each input, then one for each output, in order: the order of a kernel's arguments. */
export function declareBuffers(b: TileBuilder, source: KernelSource): DeclaredBuffers {
  const inputs = source.node.inputs.map((ref, k) => {
    const type = ref.node.types[ref.output];
    invariant(type !== undefined, "an input has a type");
    return b.buffer(source.inputNames[k] ?? `in${k}`, type.dtype, type.shape, "read");
  });
  const outputs = source.node.types.map((type, k) =>
    b.buffer(source.outputNames[k] ?? `out${k}`, type.dtype, type.shape, "write"),
  );
  return { inputs, outputs };
}
