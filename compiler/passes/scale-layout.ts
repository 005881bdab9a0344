/**
 * Stores the scales of rows as the product that reads them wants them: those of one run of the sum side by side.
 *
 *     %s = loop n, b over i { .. yield f32[n, b]: m / 448 }
 *     %y = loop n, f over k { sum: %q[n, k] * %s[n, k div 128] * .. }
 *  =>
 *     %s = loop n, b over i { .. yield f32[b, n]: m / 448 }
 *     %y = loop n, f over k { sum: %q[n, k] * %s[k div 128, n] * .. }
 *
 * Each step of the product then takes its rows' scales as one piece of memory, and no kernel turns them around: whoever
 * makes the scales writes them so. What comes from outside, or goes there, stays as the program says.
 */
import type { Arena } from "../tensor/arena.ts";
import { outputsOf, outputsOfNode, rewriteGraph, topological } from "../tensor/graphs.ts";
import type { Graph, LoopNode, Node, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { factorsOf } from "../tensor/narrow-sums.ts";
import { sameRef, typeOf } from "../tensor/refs.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";
import type { Pass } from "./pass.ts";

/** What a copy engine takes at least: four scales. */
const together = 4;

/** `isStreamed`: whether the target brings the factors of such a product by a copy engine. */
export function scaleLayout(isStreamed: boolean): Pass<Graph> {
  return {
    name: "scale-layout",
    run: (graph, { arena }) => {
      const turned = isStreamed ? scalesOfRows(graph) : [];
      return turned.length === 0 ? graph : rewritten(arena, graph, turned);
    },
  };
}

/** Made by loops, and read by sums of 8-bit products alone, each time at a row and a run of the sum. */
function scalesOfRows(graph: Graph): readonly Ref[] {
  const candidates: Ref[] = [];
  const refused: Ref[] = [...outputsOf(graph)];
  for (const node of topological(graph)) {
    node.inputs.forEach((ref, input) => {
      if (!isMade(ref)) return;
      if (node.kind === "loop" && readsOf(node, input).every((read) => isOfRow(node, read)))
        candidates.push(ref);
      else refused.push(ref);
    });
  }
  const unique = candidates.filter((ref, k) => candidates.findIndex((other) => sameRef(ref, other)) === k);
  return unique.filter((ref) => !refused.some((other) => sameRef(ref, other)));
}

/** An f32 of a loop, whose last two axes are axes of the loop and rows of whole pieces. */
function isMade({ node, output }: Ref): boolean {
  if (node.kind !== "loop") return false;
  const result = node.results[output];
  const rows = node.types[output]?.shape.at(-2);
  return (
    result !== undefined &&
    result.dtype === "f32" &&
    result.merged === undefined &&
    result.axes.length >= 2 &&
    rows?.kind === "const" &&
    rows.value % together === 0
  );
}

function rootsOf(loop: LoopNode): readonly Scalar[] {
  return [...loop.carriers.map(({ lift }) => lift), ...loop.results.map(({ value }) => value)];
}

function readsOf(loop: LoopNode, input: number): readonly ScalarRead[] {
  return reachable(rootsOf(loop)).filter((s): s is ScalarRead => s.kind === "read" && s.input === input);
}

/** Read at a row of the result, and at a run of the one axis that is summed. */
function isOfRow(loop: LoopNode, { index, bounds }: ScalarRead): boolean {
  const [row, run] = index.slice(-2);
  const swept = loop.axes.length;
  if (loop.over.length !== 1 || loop.inner.length > 0 || bounds !== "proved") return false;
  const stored = (read: ScalarRead) => {
    const ref = loop.inputs[read.input];
    return ref === undefined ? undefined : typeOf(ref).dtype;
  };
  return (
    row?.kind === "axis" &&
    row.axis < swept &&
    run?.kind === "apply" &&
    run.fn === "floordiv" &&
    run.args[0]?.kind === "axis" &&
    run.args[0].axis === swept &&
    loop.carriers.every(({ lift, monoid }) => monoid === "sum" && factorsOf(lift, stored, 1) !== undefined)
  );
}

function rewritten(arena: Arena, graph: Graph, turned: readonly Ref[]): Graph {
  const isTurned = (ref: Ref | undefined): boolean =>
    ref !== undefined && turned.some((other) => sameRef(ref, other));
  return rewriteGraph(arena, graph, (node, original) => {
    if (node.kind !== "loop" || original.kind !== "loop") return undefined;
    const makes = turned.some((ref) => ref.node === original);
    const reads = original.inputs.some(isTurned);
    if (!makes && !reads) return undefined;
    const moved = (s: Scalar): Scalar =>
      s.kind === "read" && isTurned(original.inputs[s.input])
        ? arena.readAt(s.input, s.type, swapped(s.index), s.bounds, s.otherwise)
        : s;
    const body = (root: Scalar): Scalar => rewriteScalars(arena, [root], moved)[0] ?? root;
    const made: Node = arena.loop({
      ...node,
      carriers: node.carriers.map((carrier) => ({ ...carrier, lift: body(carrier.lift) })),
      results: node.results.map((result, output) => ({
        ...result,
        value: body(result.value),
        axes: isTurned({ node: original, output }) ? swapped(result.axes) : result.axes,
      })),
    });
    return outputsOfNode(arena, made);
  });
}

/** The last two the other way round. */
function swapped<T>(list: readonly T[]): readonly T[] {
  const [a, b] = list.slice(-2);
  return a === undefined || b === undefined ? list : [...list.slice(0, -2), b, a];
}
