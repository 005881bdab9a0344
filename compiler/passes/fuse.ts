/**
 * Fusion, first form: chosen by counted bytes, on loops alone.
 *
 *     %m = loop b over t { m = max: %x[b, t]; yield [b]: m }
 *     %e = loop b, t { yield [b, t]: exp(%x[b, t] - %m[b]) }
 *     %z = loop b over t { z = sum: %e[b, t]; yield [b]: z }
 *     %y = loop b, t { yield [b, t]: %e[b, t] / %z[b] }
 *  =>
 *     %y = loop b over t { m = max: x; z = sum: exp(x - m); yield [b, t]: exp(x - m) / z }
 *
 * Four steps. Cheap pointwise producers are inlined into all their readers where that saves bytes. Loops that can
 * share an iteration space are grouped, best saving first: epilogues, row-wise chains, siblings. Pointwise producers
 * that are left and have one reader are inlined into it. Then loops are grouped once more, since that made new ones.
 *
 * A contraction keeps a loop of its own, with epilogues, cheap prologues and sibling contractions over the same axes
 * that share an operand. Nothing but a cheap body is computed twice. Needs expanded graphs to be of much use, leaves
 * the meaning of each result as it was but for the order in which floats are rounded at most.
 */
import type { Arena } from "../tensor/arena.ts";
import type { Graph, LoopNode, Node } from "../tensor/ir.ts";
import { bodyOf } from "../tensor/node-body.ts";
import { nameOf, type FuseOptions, type Fusing, type FusionDecision, type FusionReport } from "./fusing.ts";
import { groupLoops } from "./grouping.ts";
import { canInline, inlineProducers, type InlinePolicy, type Use } from "./inline.ts";
import { bodyFlops, isContraction } from "./loops.ts";
import type { Pass } from "./pass.ts";
import { Sizes } from "./sizes.ts";
import { Templates } from "./templates.ts";

export type { FuseOptions, FusionDecision, FusionReport } from "./fusing.ts";

export const fuseDefaults: FuseOptions = { maxBuffers: 8, maxScalars: 512 };

export function fuse(options: FuseOptions = fuseDefaults): Pass<Graph> {
  return { name: "fuse", run: (graph, cx) => fuseGraph(cx.arena, graph, options).graph };
}

export function fuseGraph(
  arena: Arena,
  graph: Graph,
  options: FuseOptions = fuseDefaults,
): { readonly graph: Graph; readonly report: FusionReport } {
  const report: FusionDecision[] = [];
  const cx: Fusing = { arena, options, sizes: new Sizes(), report };
  const templates = new Templates(arena);
  const cheap = inlineProducers(arena, templates, graph, cheapProducers(cx));
  const grouped = groupLoops(cx, templates, cheap);
  const single = inlineProducers(arena, templates, grouped.graph, singleReaders(cx));
  const last = single === grouped.graph && !grouped.changed ? grouped : groupLoops(cx, templates, single);
  report.push(...last.refusals());
  return { graph: last.graph, report };
}

// ---------------------------------------------------------------- prologues

/** FLOPs of a body that may be computed again by each reader, and by a contraction for each of its tiles. */
const cheapFlops = 4;
const cheapFactorFlops = 2;

/** Cheap producers whose readers all take them, where reading their inputs again costs fewer bytes than they do. */
function cheapProducers(cx: Fusing): InlinePolicy {
  return (producer, original, uses) => {
    if (bodyFlops(producer) > cheapFlops || readsReduction(producer)) return [];
    if (uses.some((use) => !canInline(producer, use) || !takes(cx, producer, use))) return [];
    const own = producer.inputs.reduce((sum, ref) => sum + cx.sizes.ref(ref), 0);
    const made = producer.types.reduce((sum, type) => sum + cx.sizes.bytes(type), 0);
    const saved = made * (1 + uses.length) - own * (uses.length - 1);
    if (saved <= 0) return [];
    note(cx, original, uses, saved);
    return uses;
  };
}

/** Producers that are left, with one reader that computes them no more often than they were, or cheaply. */
function singleReaders(cx: Fusing): InlinePolicy {
  return (producer, original, uses) => {
    const [use] = uses;
    if (
      use?.consumer === undefined ||
      uses.length > 1 ||
      !canInline(producer, use) ||
      !takes(cx, producer, use)
    )
      return [];
    const flops = bodyFlops(producer);
    const points =
      use.consumer.kind === "loop" ? cx.sizes.points([...use.consumer.axes, ...use.consumer.over]) : Infinity;
    const again = use.reads.length > 1 || points > cx.sizes.points(producer.axes);
    if (again && flops > cheapFlops) return [];
    const made = producer.types.reduce((sum, type) => sum + cx.sizes.bytes(type), 0);
    note(cx, original, uses, 2 * made);
    return uses;
  };
}

function note(cx: Fusing, producer: Node, uses: readonly Use[], saved: number): void {
  for (const use of uses) {
    cx.report.push({
      outcome: "prologue",
      producer: nameOf(cx, producer),
      consumer: nameOf(cx, use.consumer),
      saved: saved / uses.length,
      reason: "its reader computes it",
    });
  }
}

/** Whether the reader has room for the producer, and is no contraction that it would slow down. */
function takes(cx: Fusing, producer: LoopNode, use: Use): boolean {
  const { consumer } = use;
  if (consumer === undefined) return false;
  const buffers = consumer.inputs.length + producer.inputs.length + consumer.types.length - 1;
  if (buffers > cx.options.maxBuffers && producer.inputs.length > 1) return false;
  if (bodyOf(consumer).scalars.length + bodyOf(producer).scalars.length > cx.options.maxScalars) return false;
  if (!isContraction(consumer)) return true;
  return bodyFlops(producer) <= cheapFactorFlops && producer.inputs.length <= 2;
}

/** What reads a reduction at its own point joins that reduction's loop instead. */
function readsReduction(node: LoopNode): boolean {
  const { reads, plainReads } = bodyOf(node);
  for (let i = 0; i < reads.length; i++) {
    const maker = node.inputs[reads[i]?.input ?? -1]?.node;
    if (maker?.kind === "loop" && maker.over.length > 0 && plainReads[i] !== undefined) return true;
  }
  return false;
}
