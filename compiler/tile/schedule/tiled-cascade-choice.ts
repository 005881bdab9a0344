/** What may be chosen for a cascade whose tiles all threads of a block load, and when it pays. */
import type { LoopNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { candidatesOf, choiceOf, nothingFixed, type Choice, type Fixed, type Schedule } from "./choice.ts";
import { sidesOf } from "./matrices.ts";
import { canExchange } from "./row-exchange.ts";
import type { KernelSource } from "./source.ts";
import { tiledCascadeProgram } from "./tiled-cascade.ts";
import { apartCost, tiledCascadeCost } from "./tiled-cascade-cost.ts";
import {
  fewestRows,
  fitOf,
  refusalsOf,
  shapesOf,
  step,
  unitOf,
  usualWidth,
  warp,
  type Fit,
} from "./tiled-cascade-fit.ts";

/** Undefined: the loop is none of these, or none of its choices fits. */
export function tiledCascadeSchedule(source: KernelSource<LoopNode>, caps: Caps): Schedule | undefined {
  const fit = fitOf(source.node, caps);
  if (fit === undefined) return undefined;
  const schedule: Schedule = {
    ...tellsOf(fit),
    program: (choice) => {
      const [first] = shapesOf(fit, choice);
      if (first === undefined) throw new Error("a choice that fits has a shape");
      return tiledCascadeProgram(source, fit.parts, first, caps);
    },
  };
  return candidatesOf(schedule, nothingFixed).length === 0 ? undefined : schedule;
}

/** Whether the loop can be scheduled so, as one, and is cheaper than its parts. */
export function isTiledCascade(loop: LoopNode, caps: Caps): boolean {
  const fit = fitOf(loop, caps);
  if (fit === undefined || hasFasterProducts(fit)) return false;
  const { isUsual, choices, refusals, cost } = tellsOf(fit);
  if (!isUsual) return false;
  const costs = choices(nothingFixed).flatMap((choice) =>
    refusals(choice).length === 0 ? [cost(choice).seconds] : [],
  );
  return Math.min(...costs) <= apartCost(fit.work, caps).seconds;
}

/** Products of their own would run on instructions that this schedule has no use for: nobody measured which is better. */
function hasFasterProducts({ caps, isRounded }: Fit): boolean {
  const isAsynchronous = caps.instructions.some((name) => name.startsWith("wgmma."));
  const isTf32 = isRounded && caps.instructions.includes("mma.m16n8k8.tf32");
  return isAsynchronous || isTf32;
}

/** The schedule without its program. */
function tellsOf(fit: Fit): Omit<Schedule, "program"> {
  const { loop, parts, caps, work, rows } = fit;
  return {
    name: "tiled cascade",
    isUsual: (rows ?? fewestRows) >= fewestRows,
    sides: sidesOf(loop, parts),
    named: ["stages"],
    choices: (fixed) => choicesOf(fit, fixed),
    refusals: (choice) => refusalsOf(fit, choice),
    cost: (choice) => {
      const [shape] = shapesOf(fit, choice);
      if (shape === undefined) return { seconds: Infinity, terms: [] };
      const { rows: m, columns, block, across, depth, isResident, threads } = shape;
      const reads = (width: number): number => across.m / m + across.n / width;
      const stagings = Math.ceil(work.depth / depth) + work.sums * Math.ceil(block / depth);
      const meetings = canExchange(across.n, caps) ? 0 : parts.rows.length;
      return tiledCascadeCost(
        work,
        {
          rows: m,
          columns,
          block,
          threads,
          isResident,
          bands: across.m,
          fragments: shape.fragments,
          reads: { inner: reads(block), outer: reads(columns) },
          waits: stagings + meetings,
        },
        caps,
      );
    },
  };
}

// ---------------------------------------------------------------- choices

function choicesOf(fit: Fit, fixed: Fixed): Choice[] {
  const { caps, instruction } = fit;
  const isSerial = caps.maxThreads === 1;
  const [m, n, k] = fixed.tile;
  const ofUnit = {
    scalars: { rows: [64, 32, 16, 8], blocks: [32, 64, 16, 8] },
    warp: { rows: [64, 128, 32, 16], blocks: [64, 32, 128, 16] },
    subgroup: { rows: [64, 128, 32, 16], blocks: [32, 64, 16] },
  };
  const usual = isSerial ? { rows: [2, 4, 1], blocks: [4, 8, 2] } : ofUnit[unitOf(instruction)];
  const tried: Choice[] = [];
  for (const rows of m === undefined ? usual.rows : [m])
    for (const columns of n === undefined ? widthsOf(fit) : [n])
      for (const block of k === undefined ? usual.blocks : [k])
        for (const threads of fixed.threads === undefined ? threadsOf(fit, rows) : [fixed.threads])
          tried.push(choiceOf(fixed, { tile: [rows, columns, block], threads }));
  return tried;
}

/** All columns, or less of them for each block, as whole shares of threads. */
function widthsOf({ columns, caps, instruction }: Fit): number[] {
  const whole = (count: number): number => {
    const unit = instruction !== undefined ? step : count >= 32 ? 32 : count >= 16 ? 16 : 8;
    return Math.ceil(count / unit) * unit;
  };
  const all = columns ?? usualWidth;
  // One thread computes all scores again for each part of the columns, which took longer than kernels apart.
  if (caps.maxThreads === 1) return [all];
  const parts = [1, 2, 4, 8, 16].map((count) => whole(Math.ceil(all / count)));
  return [...new Set(parts)];
}

function threadsOf({ caps, instruction }: Fit, rows: number): number[] {
  if (caps.maxThreads === 1) return [1];
  if (instruction === undefined) return [128, 64, 256, 32];
  return [1, 2].flatMap((tiles) => (rows % (tiles * step) === 0 ? [(rows / (tiles * step)) * warp] : []));
}
