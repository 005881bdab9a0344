/** What may be chosen for a loop that streams products through reductions, and what of it fits a multiprocessor. */
import type { Arena } from "../../tensor/arena.ts";
import type { LoopNode } from "../../tensor/ir.ts";
import { reachable } from "../../tensor/scalars.ts";
import type { Caps } from "../../types/caps.ts";
import { dtypes } from "../../types/dtype.ts";
import { axesOf, constantOf, volume } from "./analysis.ts";
import { cascadeProgram, type CascadeShape } from "./cascade.ts";
import { isMade } from "./cascade-parts.ts";
import { planCascade, type CascadePlan } from "./cascade-plan.ts";
import {
  candidatesOf,
  choiceOf,
  idleRefusals,
  nothingFixed,
  type Choice,
  type Fixed,
  type Schedule,
} from "./choice.ts";
import { cascadeCost, usualSize } from "./cost.ts";
import { sidesOf } from "./matrices.ts";
import type { KernelSource } from "./source.ts";
import { spareBytes, warpgroup } from "./streamed.ts";
import { panelBytes } from "./transfers.ts";

/** Rows of one warpgroup's instructions. */
const instructionRows = 64;
/** Places of the swept axis that are taken at a time, the most work between waits first. */
const blocks = [128, 96, 64, 48, 32, 16];
/** Columns of one instruction. */
const mostColumns = 256;
/** Of a thread that asks the engine, of one that moves elements too, and at most of one that multiplies; and what this needs beside its tiles. */
const engineRegisters = 24;
const movingRegisters = 56;
const mostRegisters = 240;
const addressRegisters = 44;
/** Of a thread that makes factors, and what it needs of them beside what it holds for the next ones. */
const makingRegisters = 96;
const workingRegisters = 56;
/**
 * The same where two warpgroups make them, each half as many. MLA's codes, 128 x 16384 rows, took 621 us so and 668 us by
 * one warpgroup; with 16, 24 and 40 registers of these 656, 621 and 646 us. H200.
 */
const sharedMaking = 56;
const sharedWorking = 24;
const mostCopying = 2;
/** What a thread that only multiplies needs beside its sums; and what it does with where two warpgroups make factors. */
const columnRegisters = 48;
const sharedColumns = 32;
const registerFile = 65536;
const mostWarpgroups = 3;

/** Whether the target has a schedule for the loop, as one. */
export function canCascade(arena: Arena, loop: LoopNode, caps: Caps): boolean {
  const plan = planCascade(arena, loop);
  return (
    plan !== undefined &&
    choicesOf(loop, plan, nothingFixed).some((choice) => refusalsOf(loop, plan, caps, choice).length === 0)
  );
}

/** Undefined: the loop is none of these, or none of its choices fits. */
export function cascadeSchedule(source: KernelSource<LoopNode>, caps: Caps): Schedule | undefined {
  const loop = source.node;
  const plan = planCascade(source.arena, loop);
  if (plan === undefined) return undefined;
  const size = (axes: readonly number[]): number =>
    constantOf(volume(axes.flatMap((k) => loop.axes[k] ?? []))) ?? usualSize;
  const deep = plan.products.reduce((sum, { depth }) => sum + depth, 0);
  const apart = plan.sums.filter(({ partOf }) => partOf === undefined).length;
  const work = {
    batch: size(plan.batch),
    m: size(plan.m),
    swept: constantOf(volume(loop.over)) ?? usualSize,
    depth: deep + plan.sums.length * plan.columns,
    bytes: (deep + apart * plan.columns) * dtypes[plan.dtype].bytes,
  };
  const schedule: Schedule = {
    name: "cascade",
    isUsual: true,
    sides: sidesOf(loop, plan),
    roleSide: 0,
    choices: (fixed) => choicesOf(loop, plan, fixed),
    refusals: (choice) => refusalsOf(loop, plan, caps, choice),
    cost: ({ tile: [rows = 0, , block = 0], stages }) => cascadeCost(work, { rows, block, stages }, caps),
    program: (choice) =>
      cascadeProgram(source, plan, shapeOf(loop, plan, caps, choice), {
        workers: caps.units,
        section: sectionOf(loop, plan),
      }),
  };
  return candidatesOf(schedule, nothingFixed).length === 0 ? undefined : schedule;
}

function shapeOf(loop: LoopNode, plan: CascadePlan, caps: Caps, choice: Choice): CascadeShape {
  const {
    tile: [rows = 0, , block = 0],
    stages,
  } = choice;
  const { warpgroups, columns, others } = teamsOf(plan, choice);
  const { own, total } = sharedBytes(loop, plan, choice);
  const registers = registersOf(plan, choice);
  const even = steps(registerFile / (choice.threads + choice.copy * warpgroup));
  return {
    rows,
    columns,
    block,
    warpgroups,
    depth: stages,
    // The next tile's rows come while this one is at work, where there is room for both.
    copyWarpgroups: choice.copy,
    heldRegisters: (registers.copy ?? even) - (choice.copy > 1 ? sharedWorking : workingRegisters),
    rowsDepth: total + own <= caps.sharedBytes ? 2 : 1,
    // What several roles make is little beside what streams by.
    isStaged: others === 0,
    vectorBytes: caps.vectorBytes,
    registers,
  };
}

/** Warpgroups that reduce; roles of as many that only multiply, with other columns; and columns of each. */
interface Teams {
  readonly warpgroups: number;
  readonly others: number;
  readonly columns: number;
}

function teamsOf(plan: CascadePlan, { tile: [rows = 0], threads }: Choice): Teams {
  const warpgroups = rows / instructionRows;
  const parts = threads / warpgroup / warpgroups;
  return { warpgroups, others: parts - 1, columns: plan.columns / parts };
}

/** Of each thread that fills slots. */
function copying({ products, sums }: CascadePlan): number {
  const factors = [
    ...products.flatMap(({ left, right }) => [left, right]),
    ...sums.map(({ right }) => right),
  ];
  if (factors.some(({ copied }) => copied === undefined)) return makingRegisters;
  return factors.every(({ conditions }) => conditions.size === 0) ? engineRegisters : movingRegisters;
}

/** Places in the pages in which factors lie along the swept axis. */
function pagesOf({ products, sums }: CascadePlan): readonly number[] {
  const views = [...products, ...sums].flatMap(({ right }) => right.copied?.view ?? []);
  return [...new Set(views.flatMap(({ page }) => page ?? []))];
}

/** Of each thread of the roles, where an even share is not enough: what those who copy or only multiply leave. */
function registersOf(plan: CascadePlan, choice: Choice): CascadeShape["registers"] {
  const { warpgroups, others, columns } = teamsOf(plan, choice);
  if (choice.copy === 0 || registerFile / (choice.threads + choice.copy * warpgroup) >= mostRegisters)
    return { copy: undefined, math: undefined, beside: undefined };
  const copy = choice.copy > 1 ? sharedMaking * choice.copy : copying(plan);
  const beside =
    others === 0
      ? undefined
      : steps((plan.sums.length * columns) / 2 + (choice.copy > 1 ? sharedColumns : columnRegisters) + 7);
  // Of a thread of each warpgroup, all together: what the block begins with, evenly.
  const teams = choice.threads / warpgroup + choice.copy;
  const all = steps(registerFile / warpgroup / teams) * teams - (beside ?? 0) * others * warpgroups;
  const math = Math.min(mostRegisters, steps((all - copy) / warpgroups));
  // What the math cannot have is of use to those who make factors.
  return {
    copy: copy === engineRegisters ? copy : steps((all - math * warpgroups) / choice.copy),
    math,
    beside,
  };
}

/** Registers change hands in steps of 8. */
function steps(registers: number): number {
  return Math.min(mostRegisters, Math.floor(registers / 8) * 8);
}

/** What a tensor that is read along the swept axis takes beside its elements: its address, and the row's own. */
const maskRegisters = 8;

/** Tensors that are read along the swept axis by other than products. */
function sweptReads(loop: LoopNode): number {
  const all = reachable(loop.carriers.map((carrier) => carrier.lift));
  const inside = new Set(all.flatMap((s) => (s.kind === "reduce" ? reachable([s.arg]) : [])));
  const factors = new Set(
    loop.carriers.flatMap(({ lift }) =>
      lift.kind === "apply" && lift.fn === "mul" ? reachable(lift.args.filter((arg) => !isMade(arg))) : [],
    ),
  );
  const inputs = all.flatMap((s) =>
    s.kind === "read" && !inside.has(s) && !factors.has(s) && axesOf(s).has(loop.axes.length)
      ? [s.input]
      : [],
  );
  return new Set(inputs).size;
}

/** Factors that stream and are to stay in the L2 cache, in bytes. */
const cachedBytes = 32 * 2 ** 20;

/** How much of the batch has so few bytes; a divisor of it. */
function sectionOf(loop: LoopNode, { batch, dtype, products, sums, columns }: CascadePlan): number {
  const count = constantOf(volume(batch.flatMap((axis) => loop.axes[axis] ?? [])));
  const swept = constantOf(volume(loop.over)) ?? usualSize;
  const deep = products.reduce((sum, { depth: own }) => sum + own, sums.length * columns);
  const most = Math.max(1, Math.floor(cachedBytes / (swept * deep * dtypes[dtype].bytes)));
  let section = 1;
  for (let k = 1; count !== undefined && k <= Math.min(most, count); k += 1) if (count % k === 0) section = k;
  return section;
}

function choicesOf(loop: LoopNode, plan: CascadePlan, fixed: Fixed): Choice[] {
  const [m, n, k] = fixed.tile;
  // No more than there are rows for.
  const all = constantOf(volume(plan.m.flatMap((axis) => loop.axes[axis] ?? []))) ?? Infinity;
  const most = Math.max(1, Math.ceil(all / instructionRows));
  const groups =
    m !== undefined
      ? [m / instructionRows]
      : fixed.threads !== undefined && plan.columns <= mostColumns
        ? [fixed.threads / warpgroup]
        : [2, 3, 1].filter((count) => count <= most);
  const choices: Choice[] = [];
  // As few roles as have the columns.
  const parts = Math.ceil(plan.columns / mostColumns);
  const copies = copying(plan) === makingRegisters ? [mostCopying, 1] : [1];
  for (const count of groups)
    for (const block of k === undefined ? blocks : [k])
      for (const stages of fixed.stages === undefined ? [2, 3, 4, 6] : [fixed.stages])
        for (const copy of fixed.copy === undefined ? copies : [fixed.copy])
          choices.push(
            choiceOf(fixed, {
              tile: [m ?? count * instructionRows, n ?? plan.columns, block],
              threads: fixed.threads ?? count * parts * warpgroup,
              stages,
              copy,
              persistent: 1,
            }),
          );
  return choices;
}

function refusalsOf(loop: LoopNode, plan: CascadePlan, caps: Caps, choice: Choice): string[] {
  const { dtype, columns, products, sums } = plan;
  const [rows = 0, all = 0, block = 0] = choice.tile;
  const { warpgroups, others, columns: width } = teamsOf(plan, choice);
  const count = choice.threads / warpgroup;
  const problems = idleRefusals(choice, ["stages", "copy", "threads", "persistent"]);
  const refuse = (isWrong: boolean, why: string): void => {
    if (isWrong) problems.push(why);
  };
  refuse(all !== columns, `a block has all ${columns} columns of the result, not ${all}`);
  refuse(
    !Number.isInteger(count) || count < 1 || count > mostWarpgroups,
    `products run on 1 to ${mostWarpgroups} warpgroups of ${warpgroup} threads, not ${choice.threads} threads`,
  );
  refuse(
    !Number.isInteger(warpgroups) || warpgroups < 1 || !Number.isInteger(others),
    `each of ${count} warpgroups has ${instructionRows} rows, or shares them with others that have other columns, ` +
      `which does not come to ${rows}`,
  );
  const panel = panelBytes / dtypes[dtype].bytes;
  refuse(
    others > 0 && width % panel !== 0,
    `${columns} columns are no ${others + 1} times whole panels of ${panel}`,
  );
  const makes = copying(plan) === makingRegisters;
  refuse(
    choice.copy > (makes ? mostCopying : 1),
    makes
      ? `factors are made by 1 warpgroup here, 2 or none, not ${choice.copy}`
      : `the copies take 1 warpgroup here or none, not ${choice.copy}`,
  );
  refuse(choice.persistent !== 1, "blocks take one tile after another");
  refuse(choice.stages < 2, `a channel has 2 stages or more, not ${choice.stages}`);
  for (const name of [
    `wgmma.m${instructionRows}n${block}k16.${dtype}.k.k`,
    `wgmma.m${instructionRows}n${width}k16.${dtype}.r.n`,
  ])
    refuse(!caps.instructions.includes(name), `${caps.target} has no instruction ${name}`);
  // The block is what the second product sums over, in steps of its instruction.
  refuse(block % 16 !== 0, `${block} places of the swept axis are no whole steps of 16`);
  // A factor that lies along the swept axis is brought in panels, which the block is to be made of.
  refuse(
    block % panel !== 0 && sums.some(({ right }) => right.order === "k"),
    `${block} places of the swept axis are no whole panels of ${panel}`,
  );
  refuse(
    others > 0 && block % panel !== 0,
    `${block} places of the swept axis, which others are handed, are no whole panels of ${panel}`,
  );
  for (const page of pagesOf(plan))
    refuse(
      page % block !== 0 && block % page !== 0,
      `a page has ${page} places of the swept axis, of which ${block} are no part and no multiple`,
    );
  if (problems.length > 0) return problems;
  // A tensor that is read at each place of the block is held by each thread for its columns.
  const masks = sweptReads(loop) * (block / 4 + maskRegisters);
  const addresses = choice.copy > 0 ? addressRegisters : Math.max(addressRegisters, copying(plan));
  // Results, products, and their left factors twice as they change hands, once packed.
  const held =
    (sums.length * width) / 2 +
    (new Set(products.map(({ scalar }) => scalar)).size * block) / 2 +
    (sums.length * block) / 4 +
    masks +
    addresses;
  const even = registerFile / (choice.threads + choice.copy * warpgroup);
  const { math = Math.min(mostRegisters, steps(even)) } = registersOf(plan, choice);
  refuse(
    held > math,
    `results, products, their factors and ${masks} of what masks read, with ${addresses} registers of ` +
      `addresses, are ${held} a thread, ` +
      `and ${choice.threads} threads have ${math} each`,
  );
  const { own, slot, leaving, total } = sharedBytes(loop, plan, choice);
  refuse(
    total > caps.sharedBytes,
    `${own} bytes of rows, ${choice.stages} stages of ${slot}, ${leaving} of results or what others are handed and ${spareBytes} of barriers are ` +
      `${total} bytes of shared memory, and a block has ${caps.sharedBytes}`,
  );
  return problems;
}

/** Bytes of a block: its rows, a stage of what streams, what leaves it or goes to others; and all with the barriers. */
function sharedBytes(
  loop: LoopNode,
  plan: CascadePlan,
  choice: Choice,
): Readonly<Record<"own" | "slot" | "leaving" | "total", number>> {
  const { dtype, columns, products, sums } = plan;
  const [rows = 0, , block = 0] = choice.tile;
  const { others } = teamsOf(plan, choice);
  const { bytes } = dtypes[dtype];
  const panel = panelBytes / bytes;
  const whole = (extent: number): number => Math.ceil(extent / panel) * panel;
  const deep = products.reduce((sum, product) => sum + whole(product.depth), 0);
  const staged = loop.results.reduce(
    (sum, result, k) =>
      sum + (plan.results[k] === undefined ? 0 : rows * columns * dtypes[result.dtype].bytes),
    0,
  );
  const own = rows * deep * bytes;
  const apart = sums.filter(({ partOf }) => partOf === undefined).length;
  const slot = block * (deep + apart * whole(columns)) * bytes;
  // Left factors for others, their steps, and what the rows come to.
  const handed = others === 0 ? 0 : rows * (sums.length * (whole(block) * bytes + 4) + 4 * plan.rows.length);
  const leaving = others === 0 ? staged : handed;
  return { own, slot, leaving, total: own + choice.stages * slot + leaving + spareBytes };
}
