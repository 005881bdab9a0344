/**
 * The bounds of a compiled program on given tensors: the graph that its kernels compute is interpreted twice, once with
 * the worst that the emitted sums can lose and once with the probable, and all values on the way are looked at.
 *
 * Everything that is no sum is bounded as in `tensor/error-bound.ts`, in both.
 */
import { reductionTree, type ReductionTree } from "./reduction-tree.ts";
import { independenceOf } from "./independence.ts";
import { probableOfSums, worstOfSums, type SumModel } from "./sum-errors.ts";
import type { Arena } from "../tensor/arena.ts";
import { topological } from "../tensor/graphs.ts";
import { interpret, type Interpretation } from "../tensor/interpret.ts";
import type { Graph, LoopNode, Node } from "../tensor/ir.ts";
import { decode } from "../tensor/number-formats.ts";
import type { StoredTensor } from "../tensor/values.ts";
import type { TileProgram } from "../tile/ir.ts";
import type { Caps } from "../types/caps.ts";
import { dtypes, isFloat, type DType } from "../types/dtype.ts";

export interface AnalyzeRequest {
  readonly arena: Arena;
  /** As its kernels compute it: `fused` of a compilation. */
  readonly graph: Graph;
  readonly tiles: readonly { readonly node: Node | undefined; readonly program: TileProgram }[];
  readonly caps: Caps;
  readonly inputs: ReadonlyMap<string, StoredTensor>;
  readonly dims: ReadonlyMap<string, number>;
  /** That all elements of all outputs are within their probable bounds; below 1. */
  readonly confidence: number;
}

export interface AnalyzedSum extends ReductionTree {
  readonly kernel: string;
  readonly summary: string;
  /** The largest sum of |term| that was met. */
  readonly magnitude: number;
  /** The largest f32 over that. */
  readonly headroom: number;
}

export interface AnalyzedValue {
  readonly name: string;
  readonly dtype: DType;
  /** The largest |value| with its bound. */
  readonly magnitude: number;
  /** The largest finite value of the dtype over that; undefined for what is no float. */
  readonly headroom: number | undefined;
  /** A value beyond the largest becomes that, not an infinity. */
  readonly saturates: boolean;
}

export interface AnalyzedOutput extends AnalyzedValue {
  /** For each element, row-major. */
  readonly worst: Float64Array;
  readonly probable: Float64Array;
}

export interface Analysis {
  /** Of each kernel with a sum of floats, in order. */
  readonly sums: readonly AnalyzedSum[];
  readonly outputs: readonly AnalyzedOutput[];
  /** What kernels hand to one another. */
  readonly between: readonly AnalyzedValue[];
}

/** Throws `InterpretError` for inputs that the program does not take. */
export function analyze(request: AnalyzeRequest): Analysis {
  const { arena, graph, tiles, caps, dims, inputs, confidence } = request;
  const trees = new Map<Node, ReductionTree | undefined>();
  for (const { node, program } of tiles)
    if (node !== undefined) trees.set(node, reductionTree(program, caps, dims));
  const magnitudes = new Map<Node, number>();
  const model: SumModel = {
    treeOf: (node) => trees.get(node),
    seen: (node, magnitude) => void magnitudes.set(node, Math.max(magnitudes.get(node) ?? 0, magnitude)),
  };
  const observed = withValues(arena, graph);
  const run = (sums: ReturnType<typeof worstOfSums>): Interpretation =>
    interpret(arena, observed.graph, inputs, dims, { bounds: "clamp", errors: true, sums });
  const worst = run(worstOfSums(model));
  const outputs = [...graph.results.map(({ name }) => name), ...graph.updates.map(({ input }) => input.name)];
  const stored = (name: string): StoredTensor | undefined =>
    worst.results.get(name) ?? worst.updates.get(name);
  const elements = outputs.reduce((sum, name) => sum + (worst.bounds.get(name)?.length ?? 0), 0);
  const lambda = Math.sqrt(2 * Math.log((2 * Math.max(1, elements)) / (1 - confidence)));
  const order = topological(observed.graph);
  const independence = independenceOf(order, (node) => trees.get(node)?.unit !== undefined);
  const probable = run(probableOfSums(model, independence, lambda));
  const valueOf = (name: string, shown: string): AnalyzedValue => {
    const tensor = stored(name);
    return magnitudeOf(shown, tensor, worst.bounds.get(name) ?? new Float64Array());
  };
  return {
    sums: tiles.flatMap(({ node, program }) => {
      const tree = node === undefined ? undefined : trees.get(node);
      if (tree === undefined || node === undefined) return [];
      const magnitude = magnitudes.get(node) ?? 0;
      const { name, summary } = program;
      return [{ ...tree, kernel: name, summary, magnitude, headroom: dtypes.f32.max / magnitude }];
    }),
    outputs: outputs.map((name) => ({
      ...valueOf(name, name),
      worst: worst.bounds.get(name) ?? new Float64Array(),
      probable: probable.bounds.get(name) ?? new Float64Array(),
    })),
    between: observed.names.map(({ name, shown }) => valueOf(name, shown)),
  };
}

/** The graph with what its kernels hand to one another among its results. */
function withValues(
  arena: Arena,
  graph: Graph,
): { readonly graph: Graph; readonly names: readonly { readonly name: string; readonly shown: string }[] } {
  const out = new Set(
    [...graph.results.map(({ value }) => value), ...graph.updates.map(({ value }) => value)].map(
      ({ node, output }) => `${node.id}.${output}`,
    ),
  );
  const inner = topological(graph)
    .filter((node): node is LoopNode => node.kind === "loop")
    .flatMap((node) => node.types.map((_, output) => arena.ref(node, output)))
    .filter(({ node, output }) => !out.has(`${node.id}.${output}`))
    .map((value, k) => ({ name: `between ${k}`, shown: arena.hint(value) ?? `value ${k + 1}`, value }));
  return { graph: { ...graph, results: [...graph.results, ...inner] }, names: inner };
}

function magnitudeOf(name: string, tensor: StoredTensor | undefined, bounds: Float64Array): AnalyzedValue {
  const dtype = tensor?.dtype ?? "f32";
  const values = tensor === undefined ? new Float64Array() : decode(dtype, tensor.bytes);
  let magnitude = 0;
  for (let i = 0; i < values.length; i++) {
    const reached = Math.abs(Number(values[i])) + (bounds[i] ?? 0);
    if (reached > magnitude) magnitude = reached;
  }
  return {
    name,
    dtype,
    magnitude,
    headroom: isFloat(dtype) ? dtypes[dtype].max / magnitude : undefined,
    saturates: dtype === "e4m3" || dtype === "e5m2",
  };
}
