/**
 * The passes on the tensor graph, in order: between `lower` and the schedules. What they ask of a target they ask its
 * capabilities, and where those lie with its schedules, the schedules.
 */
import { blocks } from "./passes/blocks.ts";
import { cascade } from "./passes/cascade.ts";
import { evenRounds } from "./passes/even-rounds.ts";
import { expand } from "./passes/expand.ts";
import { fuse, fuseDefaults, type FusionDecision } from "./passes/fuse.ts";
import { lowerFunctions } from "./passes/lower-functions.ts";
import { narrow } from "./passes/narrow.ts";
import type { Pass } from "./passes/pass.ts";
import { scaleLayout } from "./passes/scale-layout.ts";
import { simplify } from "./passes/simplify.ts";
import { split, type SplitOptions } from "./passes/split.ts";
import { visits } from "./passes/visits.ts";
import type { Arena } from "./tensor/arena.ts";
import type { Graph, LoopNode } from "./tensor/ir.ts";
import { canCascade } from "./tile/schedule/cascade-choice.ts";
import { streamsNarrow } from "./tile/schedule/streamed-choice.ts";
import { holdsRows } from "./tile/schedule/sweep-choice.ts";
import { isTiledCascade } from "./tile/schedule/tiled-cascade-choice.ts";
import type { Caps } from "./types/caps.ts";

/** Before fusion: the same for all targets. */
export const plainPasses: readonly Pass<Graph>[] = [simplify, expand, simplify];

export interface FusedOptions {
  /** Where fusion notes what it decides. */
  readonly decisions?: FusionDecision[] | undefined;
  /** What the source asks of the pass that splits. */
  readonly splits?: SplitOptions | undefined;
}

/** Fusion and what follows it; without capabilities nothing that needs a schedule for what it makes. */
export function fusedPasses(
  caps: Caps | undefined,
  { decisions, splits }: FusedOptions = {},
): readonly Pass<Graph>[] {
  const maxBuffers = caps?.maxBuffers ?? fuseDefaults.maxBuffers;
  return [
    fuse({ ...fuseDefaults, maxBuffers }, decisions),
    ...(caps === undefined
      ? []
      : [
          blocks({ maxBuffers, holdsRows: (loop) => holdsRows(loop, caps) }),
          cascade(streamsOn(caps)),
          visits(caps),
          split(caps, splits, streamsOn(caps)),
          evenRounds(caps, streamsOn(caps)),
        ]),
    narrow,
    scaleLayout(caps !== undefined && streamsNarrow(caps)),
    lowerFunctions,
  ];
}

/** Whether a target has a schedule for a loop that streams products into products. */
function streamsOn(caps: Caps): (loop: LoopNode, arena: Arena) => boolean {
  return (loop, arena) =>
    loop.inputs.length + loop.results.length <= caps.maxBuffers &&
    (canCascade(arena, loop, caps) || isTiledCascade(loop, caps));
}
