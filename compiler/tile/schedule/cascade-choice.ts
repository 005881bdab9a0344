/** What may be chosen for a loop that streams products through reductions, and what of it fits a multiprocessor. */
import type { LoopNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { dtypes } from "../../types/dtype.ts";
import { planCascade, type CascadePlan } from "./cascade-plan.ts";
import type { CascadeShape } from "./cascade.ts";
import { spareBytes } from "./streamed.ts";
import { panelBytes } from "./transfers.ts";

/** Rows of one warpgroup's instructions, and warpgroups that multiply. */
const instructionRows = 64;
const warpgroups = 2;
/** Places of the swept axis that are taken at a time, the most work between waits first. */
const blocks = [128, 96, 64, 48, 32, 16];
const depth = 2;
/** Of a thread that copies, and one that multiplies; and what the latter needs beside its tiles. */
const registers = { copy: 24, math: 240 };
const addressRegisters = 44;

/** How a target streams the loop, if it can. */
export interface CascadeFit {
  readonly plan: CascadePlan;
  readonly shape: CascadeShape;
}

export function fitCascade(loop: LoopNode, caps: Caps): CascadeFit | undefined {
  const plan = planCascade(loop);
  if (plan === undefined) return undefined;
  for (const block of blocks) {
    const shape: CascadeShape = { rows: warpgroups * instructionRows, block, warpgroups, depth, registers };
    if (fits(loop, plan, shape, caps)) return { plan, shape };
  }
  return undefined;
}

function fits(loop: LoopNode, plan: CascadePlan, { rows, block }: CascadeShape, caps: Caps): boolean {
  const { dtype, columns, products, sums } = plan;
  const names = [
    `wgmma.m${instructionRows}n${block}k16.${dtype}.k.k`,
    `wgmma.m${instructionRows}n${columns}k16.${dtype}.r.n`,
  ];
  if (!names.every((name) => caps.instructions.includes(name))) return false;
  // Results, products, and their left factors twice as they change hands, once packed.
  const held =
    (sums.length * columns) / 2 +
    (products.length * block) / 2 +
    (sums.length * block) / 4 +
    addressRegisters;
  if (held > registers.math) return false;
  const { bytes } = dtypes[dtype];
  const panel = panelBytes / bytes;
  const whole = (extent: number): number => Math.ceil(extent / panel) * panel;
  const deep = products.reduce((sum, product) => sum + whole(product.depth), 0);
  const staged = loop.results.reduce(
    (sum, result, k) =>
      sum + (plan.results[k] === undefined ? 0 : rows * columns * dtypes[result.dtype].bytes),
    0,
  );
  const slots = depth * block * (deep + sums.length * whole(columns)) * bytes;
  return rows * deep * bytes + slots + staged + spareBytes <= caps.sharedBytes;
}
