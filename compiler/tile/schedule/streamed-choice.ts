/** What may be chosen for a streamed contraction, and what of it fits a multiprocessor. */
import type { LoopNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import type { Dim } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";
import { constantOf } from "./analysis.ts";
import { planDeal, type Deal } from "./deal.ts";
import { choiceOf, idleRefusals, type Choice, type Fixed, type Schedule } from "./choice.ts";
import {
  acrossLinesCycles,
  outlastsRun,
  singlePanelCycles,
  singleRowCycles,
  streamedCost,
  usualSize,
  type StreamedWork,
} from "./cost.ts";
import { matricesOf, sidesOf, type Contraction } from "./matrices.ts";
import { columnRegisters, pieceRegisters } from "./promotion.ts";
import { isAcross, scaleBytes } from "./scale-slots.ts";
import type { KernelSource } from "./source.ts";
import { comesSingly } from "./staging.ts";
import { accumulatorsOf, waveOf, type Wave } from "./streamed-sums.ts";
import {
  addressRegisters,
  copyRegisters,
  evenShare,
  instructionName,
  instructionRows,
  mostPromoted,
  mostRegisters,
  planStreamed,
  registerShares,
  spareBytes,
  streamedProgram,
  warpgroup,
  type StreamedPlan,
  type StreamedShape,
} from "./streamed.ts";
import { panelBytes } from "./transfers.ts";
import type { VisitedPart } from "./visited-sums.ts";

/** Fewer rows' scales are copied than for 256 x 128: 1.01 to 1.03 times as fast, as fast where rows are counted. H200. */
const wideTile = { m: 128, n: 256, warpgroups: 2 } as const;
/** Rows and columns of a tile, and warpgroups that multiply, in the order in which equals are taken. */
const tileShapes = [
  { m: 256, n: 128, warpgroups: 2 },
  wideTile,
  { m: 128, n: 192, warpgroups: 2 },
  { m: 128, n: 128, warpgroups: 2 },
  { m: 128, n: 64, warpgroups: 2 },
  { m: 64, n: 128, warpgroups: 1 },
  { m: 64, n: 64, warpgroups: 1 },
] as const;

const clusterBlocks = 2;
const mostSlots = 8;
const mostWarpgroups = 3;
/** Of a thread, so that addresses have room beside them; half where threads compute with sizes of 64 bits. */
const mostAccumulators = 128;
const promotedAddresses = 24;
/** Of its scales, at least. */
const promotedScales = 16;
/** Columns of a tile are whole rows of memory, of a factor or of a result of 16 bits. */
const columnStep = panelBytes / 2;
/** With fewer rows products are not what takes time, and rows of threads read the other factor as fast. */
const fewestRows = 8;

/** Undefined: the target has no such instructions, the factors are no narrow floats, or there is too little to do. */
export function streamedSchedule(
  source: KernelSource<LoopNode>,
  contraction: Contraction,
  caps: Caps,
  visited?: VisitedPart,
): Schedule | undefined {
  const loop = source.node;
  const plan = planStreamed(loop, contraction);
  if (plan === undefined || !hasInstructions(plan, caps)) return undefined;
  if (visited !== undefined && !canVisit(plan, visited)) return undefined;
  const matrices = matricesOf(loop, contraction);
  const size = (dim: Dim): number => constantOf(dim) ?? usualSize;
  const { bytes } = plan;
  const [m, n, k] = [size(matrices.mCount), size(matrices.nCount), size(matrices.kCount)];
  const singly = (side: "m" | "n"): boolean =>
    plan.factors.some(
      ({ factor, side: own, copied }) =>
        own === side && copied === undefined && comesSingly(loop, factor, matrices, side, caps),
    );
  const work = {
    batch: size(matrices.batchCount),
    m,
    n,
    // What the batches have of the sum they have together.
    k: visited === undefined ? k : Math.ceil(k / size(matrices.batchCount)),
    sums: loop.carriers.length,
    bytes,
    panelBytes,
    instructionRows,
    rowCycles: { m: rowCyclesOf(plan, "m", singly("m")), n: rowCyclesOf(plan, "n", singly("n")) },
    panelCycles: singly("m") || singly("n") ? singlePanelCycles : 0,
    storesSingly: plan.results.some((view) => view === undefined),
    promotions: plan.run === undefined ? 0 : Math.ceil(k / plan.run),
  };
  const isCounted =
    visited === undefined &&
    [matrices.batchCount, matrices.mCount, matrices.nCount, matrices.kCount].every(
      (dim) => constantOf(dim) !== undefined,
    );
  const fit: Fit = {
    loop,
    contraction,
    plan,
    caps,
    work,
    isShareable: isCounted && plan.rows === undefined,
    isCounted,
    isKnown: [matrices.mCount, matrices.nCount, matrices.kCount].every(
      (dim) => constantOf(dim) !== undefined,
    ),
  };
  return {
    name: "streamed",
    isUsual: m >= fewestRows && n >= columnStep,
    sides: sidesOf(loop, contraction),
    roleSide: 0,
    named: fit.isShareable ? ["shared"] : [],
    choices: (fixed) => choicesOf(fit, fixed),
    refusals: (choice) => refusalsOf(fit, choice),
    cost: (choice) => {
      const [rows = 0, columns = 0] = choice.tile;
      return streamedCost(
        work,
        {
          rows,
          columns,
          wave: choiceWave(plan, choice),
          threads: choice.threads,
          isAlone: choice.threads === warpgroup,
          // What the columns' copies take is shared.
          cluster: pairSide(fit, choice) === "n" ? choice.cluster : 1,
        },
        caps,
        dealOf(fit, choice),
      );
    },
    program: (choice) =>
      streamedProgram(
        source,
        contraction,
        plan,
        shapeOf(plan, choice, dealOf(fit, choice), pairSide(fit, choice)),
        caps,
        visited,
      ),
  };
}

/** Steps are whole parts of a place. */
function canVisit({ run, bytes }: StreamedPlan, { size }: VisitedPart): boolean {
  return size % (run ?? panelBytes / bytes) === 0;
}

function shapeOf(
  plan: StreamedPlan,
  { tile: [m = 0, n = 0], threads, stages, copy, cluster }: Choice,
  deal: Deal | undefined,
  common: "m" | "n" | undefined,
): StreamedShape {
  return {
    m,
    n,
    warpgroups: threads / warpgroup,
    depth: stages,
    copies: copy > 0,
    deal,
    cluster: cluster === 1 || common === undefined ? undefined : { blocks: cluster, common },
    groups: copy > 0 && groupsScales(plan, { m, n, warpgroups: threads / warpgroup }),
  };
}

/** Whether scales of several runs come together: where with each run's own the products would wait for the copies. */
function groupsScales(plan: StreamedPlan, tile: Pick<StreamedShape, "m" | "n" | "warpgroups">): boolean {
  const pieces = [...plan.scales.values()]
    .filter((scale) => !isAcross(scale))
    .reduce((sum, { side }) => sum + tile[side], 0);
  const { m: rows, n: columns, warpgroups } = tile;
  const wave = waveOf({ perRun: perRunOf(plan) }, tile, { rows: instructionRows, most: mostPromoted });
  return pieces > 0 && outlastsRun({ rows, columns, pieces, wave, warpgroups });
}

/** Rows of memory that are whole lines of the cache are copied while others multiply; others cost what they take. */
function rowCyclesOf({ factors, bytes }: StreamedPlan, side: "m" | "n", singly: boolean): number {
  if (singly) return singleRowCycles;
  const isAcross = factors.some(({ side: own, copied }) => {
    const row = own === side ? copied?.view.at(-1)?.extent : undefined;
    const elements = row === undefined ? undefined : constantOf(row);
    return elements !== undefined && (elements * bytes) % panelBytes !== 0;
  });
  return isAcross ? acrossLinesCycles : 0;
}

/**
 * What the tiles of two neighbouring blocks have in common; undefined: nothing. Tiles are dealt in turn and go down the
 * columns first: pairs share their columns where the tiles along m are even in number, and their rows where there is one.
 */
function pairSide(
  { plan, work, caps, isShareable, isCounted }: Fit,
  { tile: [rows = 0, columns = 0], shared }: Choice,
): "m" | "n" | undefined {
  if (shared !== 0 || caps.units % clusterBlocks !== 0) return undefined;
  const isCopied = (own: "m" | "n"): boolean =>
    plan.factors.every(({ side, copied }) => side !== own || copied !== undefined);
  const [mTiles, nTiles] = [Math.ceil(work.m / rows), Math.ceil(work.n / columns)];
  if (isShareable && mTiles % clusterBlocks === 0 && isCopied("n")) return "n";
  // Of the same rows all are visited or none.
  return isCounted && mTiles === 1 && nTiles % clusterBlocks === 0 && isCopied("m") ? "m" : undefined;
}

/** Undefined: blocks take whole tiles, or nothing would be gained by parts. */
function dealOf(
  { plan, work, caps, isShareable }: Fit,
  { tile: [rows = 0, columns = 0], shared }: Choice,
): Deal | undefined {
  // Promoted sums in parts took as long as whole ones (H200, e4m3, 128 x 7168 x 16384: 56 us against 52 us and 38 us).
  if (shared === 0 || !isShareable || plan.run !== undefined) return undefined;
  const tiles = work.batch * Math.ceil(work.m / rows) * Math.ceil(work.n / columns);
  return planDeal({ tiles, steps: Math.ceil((work.k * work.bytes) / work.panelBytes) }, caps.units);
}

function choiceWave(plan: StreamedPlan, choice: Choice): Wave {
  const shape = shapeOf(plan, choice, undefined, undefined);
  return waveOf({ perRun: perRunOf(plan) }, shape, { rows: instructionRows, most: mostPromoted });
}

/** Panels along k of a run. */
function perRunOf({ run, bytes }: StreamedPlan): number | undefined {
  return run === undefined ? undefined : run / (panelBytes / bytes);
}

/** Whether a target streams products of 8-bit floats, whose scales come with them. */
export function streamsNarrow({ instructions }: Pick<Caps, "instructions">): boolean {
  const narrow = { dtype: "e4m3", order: "k" } as const;
  return instructions.includes(instructionName(columnStep, narrow, narrow));
}

function hasInstructions(plan: StreamedPlan, { instructions }: Caps): boolean {
  return instructionsOf(plan, columnStep).every((name) => instructions.includes(name));
}

function instructionsOf({ products, factors }: StreamedPlan, columns: number): string[] {
  return products.flatMap(({ left, right }) => {
    const [a, b] = [left, right].map((factor) => factors.find((one) => one.factor === factor));
    return a === undefined || b === undefined ? [] : [instructionName(columns, a, b)];
  });
}

interface Fit {
  readonly loop: LoopNode;
  readonly contraction: Contraction;
  readonly plan: StreamedPlan;
  readonly caps: Caps;
  readonly work: StreamedWork;
  /** All sizes are known, batches too, and each tile makes all steps: how parts are dealt is computed now. */
  readonly isShareable: boolean;
  /** All sizes are known, batches too. */
  readonly isCounted: boolean;
  /** All sizes of a batch are known. */
  readonly isKnown: boolean;
}

/** Sizes of tiles that are tried beside what is fixed. */
function choicesOf(fit: Fit, fixed: Fixed): Choice[] {
  const [m, n, k] = fixed.tile;
  const step = k ?? panelBytes / fit.plan.bytes;
  const isScaled = fit.plan.scales.size > 0 && fit.plan.rows === undefined;
  const tried: { m: number; n: number; warpgroups: number }[] = isScaled
    ? [wideTile, ...tileShapes]
    : [...tileShapes];
  // What the source fixes is tried with everything else, though it be none of the usual shapes.
  if (m !== undefined || n !== undefined || fixed.threads !== undefined)
    for (const rows of m === undefined ? [128, 256, 192, 64] : [m])
      for (const columns of n === undefined ? [256, 192, 128, 64] : [n])
        for (const warpgroups of warpgroupsFor(rows, fixed.threads))
          tried.push({ m: rows, n: columns, warpgroups });
  const seen = new Set<string>();
  const choices = tried.flatMap((shape): Choice[] => {
    const threads = shape.warpgroups * warpgroup;
    const key = `${shape.m} ${shape.n} ${threads}`;
    if (m !== undefined && shape.m !== m) return [];
    if (n !== undefined && shape.n !== n) return [];
    if (fixed.threads !== undefined && threads !== fixed.threads) return [];
    if (seen.has(key)) return [];
    seen.add(key);
    const groups = (fixed.copy ?? 1) > 0 && groupsScales(fit.plan, shape);
    const needs = sharedNeeds(fit, { ...shape, depth: mostSlots, groups });
    const left = fit.caps.sharedBytes - spareBytes - needs.staged - needs.scales;
    const deepest = Math.min(mostSlots, Math.floor(left / needs.slot));
    return [
      choiceOf(fixed, {
        tile: [shape.m, shape.n, step],
        threads,
        stages: Math.max(2, deepest),
        copy: 1,
        persistent: 1,
      }),
    ];
  });
  const paired = choices.map((choice): Choice => ({ ...choice, cluster: clusterBlocks }));
  const shared = choices.map((choice): Choice => ({ ...choice, shared: 1 }));
  return [
    ...choices,
    // Beside whole lines of the cache, which all blocks ask for at one time, a pair gains nothing that could be measured.
    ...(fixed.cluster === undefined ? paired : []),
    ...(fixed.shared === undefined ? shared.filter((choice) => dealOf(fit, choice) !== undefined) : []),
  ];
}

/** Those that can share the rows evenly; or what is fixed, whether it can or not. */
function warpgroupsFor(rows: number, threads: number | undefined): readonly number[] {
  if (threads !== undefined) return [threads / warpgroup];
  const shared = [3, 2].filter((count) => count <= mostWarpgroups && rows % (count * instructionRows) === 0);
  return [...shared, 1];
}

/** Bytes of a slot, of scales in slots of their own, and of the results on their way out. */
function sharedNeeds(
  { loop, plan }: Fit,
  shape: Pick<StreamedShape, "m" | "n" | "depth" | "groups">,
): Readonly<Record<"slot" | "scales" | "staged", number>> {
  const { m, n } = shape;
  const { beside, apart } = scaleBytes(plan.scales.values(), shape);
  const slot = plan.factors.reduce((sum, { side }) => sum + shape[side], 0) * panelBytes + beside;
  const staged = loop.results.reduce(
    (sum, result, i) => (plan.results[i] === undefined ? sum : sum + m * n * dtypes[result.dtype].bytes),
    0,
  );
  return { slot, scales: apart, staged };
}

function refusalsOf(fit: Fit, choice: Choice): string[] {
  const { loop, contraction, plan, caps } = fit;
  const [m = 0, n = 0, k = 0] = choice.tile;
  const panel = panelBytes / plan.bytes;
  const warpgroups = choice.threads / warpgroup;
  const problems = idleRefusals(choice, ["stages", "copy", "threads", "persistent", "shared", "cluster"]);
  const refuse = (isWrong: boolean, why: string): void => {
    if (isWrong) problems.push(why);
  };
  refuse(k !== panel, `a step along the sum is one row of ${panelBytes} bytes, ${panel} elements, not ${k}`);
  refuse(
    !Number.isInteger(warpgroups) || warpgroups < 1 || warpgroups > mostWarpgroups,
    `products run on 1 to ${mostWarpgroups} warpgroups of ${warpgroup} threads, not ${choice.threads} threads`,
  );
  refuse(
    m === 0 || m % (instructionRows * warpgroups) !== 0,
    `${m} rows are not ${warpgroups} times a multiple of ${instructionRows}, the rows of one instruction`,
  );
  refuse(
    n === 0 || n % columnStep !== 0,
    `${n} columns are not a multiple of ${columnStep}, a row of ${panelBytes} bytes`,
  );
  const wave = choiceWave(plan, choice);
  for (const name of instructionsOf(plan, wave.columns))
    refuse(!caps.instructions.includes(name), `${caps.target} has no instruction ${name}`);
  refuse(choice.copy > 1, `the copies take 1 warpgroup here or none, not ${choice.copy}`);
  refuse(choice.persistent !== 1, "blocks are persistent here");
  refuse(
    choice.cluster !== 1 && choice.cluster !== clusterBlocks,
    `a cluster has 1 block or ${clusterBlocks}, not ${choice.cluster}`,
  );
  refuse(
    choice.cluster === clusterBlocks && pairSide(fit, choice) === undefined,
    `two blocks have the same columns only where the tiles along m, and the ${caps.units} units, are even in number, ` +
      "and the same rows only where one tile has all of m and the tiles along n are even in number",
  );
  refuse(
    choice.shared !== 0 && dealOf(fit, choice) === undefined,
    "tiles are dealt evenly, or too small to be shared",
  );
  if (problems.length > 0) return problems;
  const { slot, scales: apart, staged } = sharedNeeds(fit, shapeOf(plan, choice, undefined, undefined));
  const shared = choice.stages * slot + apart + staged + spareBytes;
  refuse(choice.stages < 2, `a channel has 2 stages or more, not ${choice.stages}`);
  refuse(
    shared > caps.sharedBytes,
    `${choice.stages} stages of ${slot} bytes, ${apart === 0 ? "" : `${apart} of scales, `}${staged} bytes of results ` +
      `and ${spareBytes} of barriers are ` +
      `${shared} bytes of shared memory, and a block has ${caps.sharedBytes}`,
  );
  const perRun = perRunOf(plan);
  const sums = accumulatorsOf(perRun, plan.products.length, { m, n, threads: choice.threads, wave });
  const scales =
    perRun === undefined
      ? 0
      : plan.products.reduce(
          (sum, one) => sum + columnRegisters(loop, contraction, one.scales, wave.columns),
          0,
        );
  const held = sums + scales;
  const isCopied = plan.factors.every(({ copied }) => copied !== undefined);
  const usual = fit.isKnown || isCopied ? mostAccumulators : mostAccumulators / 2;
  const most = perRun === undefined || !isCopied ? usual : mostPromoted;
  const what =
    perRun === undefined ? "" : `, with those of a run of ${plan.run ?? 0} and ${scales} scales of columns,`;
  refuse(
    held > most,
    `${loop.carriers.length} x ${m} x ${n} sums over ${choice.threads} threads${what} are ${held} registers a thread, ` +
      `and ${most} are left beside addresses`,
  );
  const copies = choice.copy > 0;
  const share = registerShares(plan, { threads: choice.threads, copies }, sums).math;
  const math = copies ? share : Math.min(mostRegisters, evenShare(choice.threads));
  const filling = copies ? 0 : isCopied ? copyRegisters.copied : copyRegisters.computed;
  const pieces = plan.products.map((one) => pieceRegisters(loop, contraction, one.scales, wave.columns));
  const promoted = promotedAddresses + Math.max(promotedScales, ...pieces);
  const addresses = Math.max(filling, perRun === undefined ? addressRegisters : promoted);
  refuse(
    math !== undefined && held + addresses > math,
    `${held} registers of sums and ${addresses} of addresses are more than the ${math} of a thread`,
  );
  return problems;
}
