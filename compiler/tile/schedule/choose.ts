/** One node of the fused graph to one tile program: the ways to compute it, and the best choice among them. */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Node, ScatterNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import type { TileProgram } from "../ir.ts";
import { cascadeSchedule } from "./cascade-choice.ts";
import { candidatesOf, nothingFixed, type Candidate, type Choice, type Schedule } from "./choice.ts";
import { contractionSchedule } from "./contraction-choice.ts";
import { asContraction } from "./matrices.ts";
import { scatterSchedule } from "./scatter.ts";
import type { KernelSource } from "./source.ts";
import { streamedSchedule } from "./streamed-choice.ts";
import { subgroupSchedule } from "./subgroup-matrices.ts";
import { sweepSchedule } from "./sweep-choice.ts";
import { visitedSum } from "./visited-sums.ts";
import { tiledCascadeSchedule } from "./tiled-cascade-choice.ts";
import { clausesOf, distance, fixedBy, sideText, type Wish } from "./wish.ts";

/** The ways to compute a node, those that suit it best first; the last one computes every node of its kind. */
export function schedulesOf(source: KernelSource, caps: Caps): readonly Schedule[] {
  if (isLoop(source)) {
    const cascade = cascadeSchedule(source, caps) ?? tiledCascadeSchedule(source, caps);
    if (cascade !== undefined) return [cascade];
    const contraction = asContraction(source.node);
    const visited = visitedSum(source);
    const ofPart =
      visited === undefined
        ? undefined
        : streamedSchedule(visited.source, visited.contraction, caps, visited.part);
    const streamed =
      ofPart ?? (contraction === undefined ? undefined : streamedSchedule(source, contraction, caps));
    const subgroups = contraction === undefined ? undefined : subgroupSchedule(source, contraction, caps);
    const tiled = contraction === undefined ? undefined : contractionSchedule(source, contraction, caps);
    return [streamed, subgroups, tiled, sweepSchedule(source, caps)].filter((one) => one !== undefined);
  }
  if (isScatter(source)) return [scatterSchedule(source, caps)];
  throw new InternalError(`a ${(source.node as Node).kind} node reached the scheduler`);
}

/** The cheapest choice of the first way that is worth its while and has one. */
export function best(schedules: readonly Schedule[]): Candidate {
  for (const schedule of schedules) {
    const [first] = schedule.isUsual ? candidatesOf(schedule, nothingFixed) : [];
    if (first !== undefined) return first;
  }
  throw new InternalError("no schedule computes the node");
}

/** Every choice of every way, cheapest first. */
export function candidates(schedules: readonly Schedule[]): readonly Candidate[] {
  return schedules
    .flatMap((schedule) => candidatesOf(schedule, nothingFixed))
    .sort((a, b) => a.cost.seconds - b.cost.seconds);
}

export type Obeyed =
  /** All that fits the wish, cheapest first: of the ways that are worth their while, else of the others. */
  | { readonly kind: "fits"; readonly candidates: readonly [Candidate, ...Candidate[]] }
  /** No way to compute the node has the sides that the wish names; these are there. */
  | { readonly kind: "other sides"; readonly sides: readonly string[] }
  /** Why it does not fit, with the arithmetic, and the clauses of what comes nearest. */
  | { readonly kind: "refused"; readonly why: readonly string[]; readonly nearest: string };

export function obey(schedules: readonly Schedule[], wish: Wish): Obeyed {
  const named = schedules.flatMap((schedule) => {
    const fixed = fixedBy(wish, schedule);
    return fixed === undefined ? [] : [{ schedule, fixed, problem: overProblem(wish, schedule) }];
  });
  if (named.length === 0) return { kind: "other sides", sides: [...new Set(schedules.map(sidesText))] };
  const open = named.filter(({ problem }) => problem === undefined);
  for (const isUsual of [true, false]) {
    const found = open.flatMap(({ schedule, fixed }) =>
      schedule.isUsual === isUsual ? candidatesOf(schedule, fixed) : [],
    );
    const [first, ...rest] = found;
    // Ways stand in the order in which they are preferred.
    if (first !== undefined) return { kind: "fits", candidates: [first, ...rest] };
  }
  // What is nearest to fitting says it best: the choice with the fewest reasons against it.
  const reasons = named
    .flatMap(({ schedule, fixed, problem }) =>
      problem === undefined
        ? schedule.choices(fixed).map((choice) => schedule.refusals(choice))
        : [[problem]],
    )
    .sort((a, b) => a.length - b.length);
  const near = named
    .flatMap(({ schedule, fixed }) =>
      candidatesOf(schedule, nothingFixed).map((candidate) => ({
        candidate,
        apart: distance(fixed, candidate.choice),
      })),
    )
    .sort((a, b) => a.apart - b.apart)[0]?.candidate;
  return {
    kind: "refused",
    why: reasons[0] ?? [],
    nearest: near === undefined ? "" : clausesOf(near.schedule, near.choice),
  };
}

/** Why the warpgroups cannot share the axis that the wish names. */
function overProblem({ over }: Wish, { sides, roleSide }: Schedule): string | undefined {
  if (over === undefined) return undefined;
  const side = roleSide === undefined ? undefined : sides[roleSide];
  if (side === undefined) return `warpgroups are not given parts of '${over}' here: they share a tile`;
  if (side.some((axis) => axis.size === over || axis.name === over)) return undefined;
  return `warpgroups share ${sideText(side, sides.flat()) ?? "the rows"} here, not '${over}'`;
}

function sidesText({ sides }: Schedule): string {
  const all = sides.flat();
  return sides
    .filter((side) => side.length > 0)
    .map((side) => sideText(side, all) ?? `(${side.map((axis) => axis.name).join(" ")})`)
    .join(", ");
}

/** A choice as a tile program. */
export function programOf(source: KernelSource, schedule: Schedule, choice: Choice): TileProgram {
  const program = schedule.program(choice);
  return source.place === undefined
    ? program
    : { ...program, body: [{ kind: "line", ...source.place }, ...program.body] };
}

/** The tile program of the best choice. */
export function schedule(source: KernelSource, caps: Caps): TileProgram {
  const { schedule: way, choice } = best(schedulesOf(source, caps));
  return programOf(source, way, choice);
}

function isLoop(source: KernelSource): source is KernelSource<LoopNode> {
  return source.node.kind === "loop";
}

function isScatter(source: KernelSource): source is KernelSource<ScatterNode> {
  return source.node.kind === "scatter";
}
