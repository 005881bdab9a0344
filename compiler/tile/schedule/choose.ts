/** One node of the fused graph to one tile program: the schedule that fits its structure, with sizes for the target. */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Node, ScatterNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import type { TileProgram } from "../ir.ts";
import { cascadeProgram } from "./cascade.ts";
import { fitCascade } from "./cascade-choice.ts";
import { candidatesOf, nothingFixed } from "./choice.ts";
import { chooseContraction, contractionProgram } from "./contraction.ts";
import { asContraction } from "./matrices.ts";
import { scatterProgram } from "./scatter.ts";
import type { KernelSource } from "./source.ts";
import { streamedSchedule } from "./streamed-choice.ts";
import { subgroupSchedule } from "./subgroup-matrices.ts";
import { chooseSweep, sweepProgram } from "./sweep.ts";

export function schedule(source: KernelSource, caps: Caps): TileProgram {
  const program = choose(source, caps);
  return source.place === undefined
    ? program
    : { ...program, body: [{ kind: "line", ...source.place }, ...program.body] };
}

function choose(source: KernelSource, caps: Caps): TileProgram {
  if (isLoop(source)) {
    const cascade = fitCascade(source.node, caps);
    if (cascade !== undefined) return cascadeProgram(source, cascade.plan, cascade.shape);
    const contraction = asContraction(source.node);
    const tuned =
      contraction === undefined
        ? undefined
        : (streamedSchedule(source, contraction, caps) ?? subgroupSchedule(source, contraction, caps));
    const [best] = tuned === undefined ? [] : candidatesOf(tuned, nothingFixed);
    if (best !== undefined) return best.schedule.program(best.choice);
    const tiles = contraction === undefined ? undefined : chooseContraction(source.node, contraction, caps);
    if (contraction !== undefined && tiles !== undefined)
      return contractionProgram(source, contraction, caps, tiles);
    return sweepProgram(source, chooseSweep(source.node, caps));
  }
  if (isScatter(source)) return scatterProgram(source, caps);
  throw new InternalError(`a ${(source.node as Node).kind} node reached the scheduler`);
}

function isLoop(source: KernelSource): source is KernelSource<LoopNode> {
  return source.node.kind === "loop";
}

function isScatter(source: KernelSource): source is KernelSource<ScatterNode> {
  return source.node.kind === "scatter";
}
