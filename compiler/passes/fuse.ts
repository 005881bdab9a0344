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
import { typeOf } from "../tensor/refs.ts";
import { dtypes } from "../types/dtype.ts";
import {
  cheapFactorFlops,
  type Apart,
  type FuseOptions,
  type Fusing,
  type Fusion,
  type FusionDecision,
} from "./fusing.ts";
import { groupLoops } from "./grouping.ts";
import { canInline, inlineProducers, type InlinePolicy, type Use } from "./inline.ts";
import { bodyFlops, isContraction } from "./loops.ts";
import type { Pass } from "./pass.ts";
import { Sizes } from "./sizes.ts";
import { Templates } from "./templates.ts";

export type { Apart, FuseOptions, Fusion, FusionDecision } from "./fusing.ts";

export const fuseDefaults: FuseOptions = { maxBuffers: 8, maxScalars: 512 };

/** What is decided is added to `decisions`, where there are some. */
export function fuse(options: FuseOptions = fuseDefaults, decisions?: FusionDecision[]): Pass<Graph> {
  return { name: "fuse", run: (graph, { arena }) => fuseGraph(arena, graph, options, decisions) };
}

function fuseGraph(
  arena: Arena,
  graph: Graph,
  options: FuseOptions,
  decisions: FusionDecision[] | undefined,
): Graph {
  const cx: Fusing = { arena, options, sizes: new Sizes(), decisions };
  const templates = new Templates(arena);
  const cheap = inlineProducers(arena, templates, graph, cheapProducers(cx));
  const grouped = groupLoops(cx, templates, cheap);
  const single = inlineProducers(arena, templates, grouped, singleReaders(cx));
  return single === cheap ? single : groupLoops(cx, templates, single);
}

// ---------------------------------------------------------------- prologues

/** FLOPs of a body that may be computed again by each reader. */
const cheapFlops = 4;

const none: readonly Use[] = [];
const needsMemory: Apart = { kind: "needs-memory" };

/** Cheap producers whose readers all take them, where reading their inputs again costs fewer bytes than they do. */
function cheapProducers(cx: Fusing): InlinePolicy {
  return (producer, original, uses) => {
    const flops = bodyFlops(producer);
    if (flops > cheapFlops || readsReduction(producer)) return none;
    for (let i = 0; i < uses.length; i++) {
      const use = uses[i];
      if (use === undefined || !canInline(producer, use) || obstacle(cx, producer, use) !== undefined)
        return none;
    }
    const own = cx.sizes.refs(producer.inputs);
    const made = cx.sizes.types(producer.types);
    const saved = made * (1 + uses.length) - own * (uses.length - 1);
    return saved <= 0
      ? note(cx, original, uses, { kind: "reads-more", bytes: -saved }, none)
      : note(cx, original, uses, "prologue", uses);
  };
}

/** Producers that are left, with one reader that computes them no more often than they were, or cheaply. */
function singleReaders(cx: Fusing): InlinePolicy {
  return (producer, original, uses) => {
    const use = uses[0];
    const apart = (reason: Apart): readonly Use[] => note(cx, original, uses, reason, none);
    const flops = bodyFlops(producer);
    if (use === undefined) return none;
    if (uses.length > 1 && flops > cheapFlops)
      return apart({ kind: "costly-again", flops, most: cheapFlops });
    for (const each of uses) {
      const reason = canInline(producer, each) ? obstacle(cx, producer, each) : needsMemory;
      if (reason !== undefined) return apart(reason);
    }
    if (uses.length > 1 || use.consumer === undefined) return none;
    const points =
      use.consumer.kind === "loop" ? cx.sizes.points([...use.consumer.axes, ...use.consumer.over]) : Infinity;
    const again = use.reads.length > 1 || points > cx.sizes.points(producer.axes);
    if (again && flops > cheapFlops) return apart({ kind: "costly-again", flops, most: cheapFlops });
    return note(cx, original, uses, "prologue", uses);
  };
}

function note(
  cx: Fusing,
  producer: Node,
  uses: readonly Use[],
  outcome: Fusion | Apart,
  taken: readonly Use[],
): readonly Use[] {
  if (cx.decisions === undefined) return taken;
  const right = new Set(uses.flatMap(({ consumer }) => (consumer === undefined ? [] : [consumer.id])));
  cx.decisions.push({ left: new Set([producer.id]), right, outcome });
  return taken;
}

/** Why the reader cannot take the producer in: it has no room, or is a contraction that would be slowed down. */
function obstacle(cx: Fusing, producer: LoopNode, use: Use): Apart | undefined {
  const { consumer } = use;
  if (consumer === undefined) return needsMemory;
  const { maxBuffers, maxScalars } = cx.options;
  const tensors = consumer.inputs.length + producer.inputs.length + consumer.types.length - 1;
  if (tensors > maxBuffers && producer.inputs.length > 1)
    return { kind: "too-many-tensors", tensors, most: maxBuffers };
  const scalars = bodyOf(consumer).scalars.length + bodyOf(producer).scalars.length;
  if (scalars > maxScalars) return { kind: "too-large", scalars, most: maxScalars };
  if (!isContraction(consumer)) return undefined;
  const flops = bodyFlops(producer);
  // Each tile would read the wider tensor again, and no copy engine moves what is computed.
  if (flops > 0 && narrows(cx, producer)) return { kind: "narrows" };
  if (flops > cheapFactorFlops) return { kind: "costly-again", flops, most: cheapFactorFlops };
  return producer.inputs.length > 2 ? { kind: "contraction" } : undefined;
}

/** True where what is made has fewer bytes than one of the tensors that it is made of. */
function narrows(cx: Fusing, producer: LoopNode): boolean {
  const made = cx.sizes.types(producer.types);
  const points = cx.sizes.points(producer.axes);
  return producer.inputs.some(
    (ref) => Math.min(cx.sizes.ref(ref), points * dtypes[typeOf(ref).dtype].bytes) > made,
  );
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
