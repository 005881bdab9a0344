/**
 * The contraction schedule for targets with a copy engine and asynchronous products: tiles of both factors stream
 * through a channel while the matrix unit works, and results leave through shared memory.
 *
 * What is written here is sequential: fill a slot, take it, multiply, release it. `overlap` lets a product run while
 * the next one is issued, and `partition` gives the copies a role of their own (compiler/tile/{overlap,partition}.ts).
 * Each block works on many tiles of the result, dealt in an order that keeps rows and columns in the L2 cache.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Bound } from "../../tensor/conditions.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { ceildiv, constant, min, mul } from "../../types/dim.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Counter, MatrixOperand, PanelCopy, Tile, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { overlap } from "../overlap.ts";
import { partition } from "../partition.ts";
import { constantOf, volume } from "./analysis.ts";
import { collect, contribute, dealRounds, declareHandover, type Deal, type Part } from "./deal.ts";
import {
  hasSides,
  viewOfRead,
  viewOfResult,
  viewOfRuns,
  viewOfRunsAcross,
  type Sides,
  type View,
} from "./boxes.ts";
import { warpgroupFragment } from "./fragments.ts";
import { factorDType, guard, matricesOf, type Contraction } from "./matrices.ts";
import { pieceColumns, scalingOf, type Scaling } from "./promotion.ts";
import { runsOf, type RunProduct } from "./runs.ts";
import { declareScaleSlots, type CopiedScale } from "./scale-slots.ts";
import { declareBuffers, type KernelSource } from "./source.ts";
import { liesAlongK, mostLoaded, panelIndex, stageFactor } from "./staging.ts";
import { accumulatorsOf, stepsAlongK, sumOps, waveOf, type Sum } from "./streamed-sums.ts";
import { sharesColumns, tileOrder } from "./tile-order.ts";
import { operandCopies, panelBytes, resultOps, type Copied, type CopyPlace } from "./transfers.ts";
import { translator } from "./translate.ts";
import { isAnyVisited, stepsOfPart, visitedRows, wholeSum, type VisitedPart } from "./visited-sums.ts";

/** Rows of one instruction. */
export const instructionRows = 64;
/** Bytes along k of one instruction. */
const instructionBytes = 32;
export const warpgroup = 128;
/** Bytes that barriers and alignment take of shared memory. */
export const spareBytes = 2048;
/** What a thread needs beside its accumulators. */
export const addressRegisters = 64;
const registerFile = 65536;
/** Of a thread, where the others give theirs. */
export const mostRegisters = 240;
/** Of a thread, with a run's sums, which no other product waits for. */
export const mostPromoted = 192;

/** Registers that each of so many threads has, in steps of 8. */
export function evenShare(threads: number): number {
  return Math.floor(registerFile / threads / 8) * 8;
}

export interface StreamedShape {
  readonly m: number;
  readonly n: number;
  /** Warpgroups along m. */
  readonly warpgroups: number;
  readonly depth: number;
  /** Whether a role copies; else those who multiply do. */
  readonly copies: boolean;
  /** How the steps along k are shared among blocks; undefined: each tile is one block's. */
  readonly deal: Deal | undefined;
  /** Blocks of a cluster, with neighbouring tiles, and the side that these have in common; undefined: each for itself. */
  readonly cluster: { readonly blocks: number; readonly common: "m" | "n" } | undefined;
  /** Whether scales of several runs come together, in slots of their own. */
  readonly groups: boolean;
}

/** A factor, as a channel brings it: copied by the engine where it is a matrix that lies so, else computed by threads. */
export interface StreamedFactor {
  readonly factor: Scalar;
  readonly dtype: DType;
  readonly side: "m" | "n";
  /** Which of its sides lies along memory, and in the tile. */
  readonly order: MatrixOperand["order"];
  readonly copied: Copied | undefined;
}

export interface StreamedPlan {
  /** Of an element of any factor. */
  readonly bytes: number;
  readonly products: readonly RunProduct[];
  /** Elements of k after which a sum is promoted: scaled, and added to the result's. Undefined: never. */
  readonly run: number | undefined;
  /** Each once, however many products have it. */
  readonly factors: readonly StreamedFactor[];
  /** Scales of rows or of columns that the engine brings with the factors of their run. */
  readonly scales: ReadonlyMap<Scalar, CopiedScale>;
  /** Rows whose results are anything but 0; undefined: all of them, or rows of which nothing is known. */
  readonly rows: readonly Bound[] | undefined;
  /** Of each result; undefined where its elements are stored one by one. */
  readonly results: readonly (View | undefined)[];
}

/** Undefined: the factors are no narrow floats, or there is nothing to sum. */
export function planStreamed(loop: LoopNode, contraction: Contraction): StreamedPlan | undefined {
  const sides: Sides = {
    m: contraction.m,
    n: contraction.n,
    k: loop.over.map((_, k) => loop.axes.length + k),
  };
  const runs = runsOf(loop, contraction, panelBytes);
  // An empty sum has no product to begin with.
  if (runs === undefined || constantOf(volume(loop.over)) === 0) return undefined;
  const factors = new Map<Scalar, StreamedFactor>();
  for (const { left, right } of runs.products) {
    for (const [factor, side] of [[left, "m"] as const, [right, "n"] as const]) {
      const dtype = runs.dtypeOf.get(factor) ?? "f32";
      if (!factors.has(factor)) factors.set(factor, streamedFactor(loop, sides, factor, side, dtype));
    }
  }
  const bytes = Math.max(...[...factors.values()].map(({ dtype }) => dtypes[dtype].bytes));
  const results = loop.results.map((result) => {
    const view = viewOfResult(loop, sides, result);
    return view !== undefined && hasSides(view, "m", "n") && view.at(-1)?.along === "n" ? view : undefined;
  });
  const { products, length: run } = runs;
  const scales = new Map<Scalar, CopiedScale>();
  // A slot has the factors of a panel, so that runs of one panel alone have their scales in it.
  if (run === panelBytes / bytes)
    for (const scale of products.flatMap((product) => product.scales)) {
      const copied = copiedScale(loop, sides, scale, run);
      if (copied !== undefined) scales.set(scale, copied);
    }
  const rows = constantOf(volume(loop.over)) === undefined ? undefined : visitedRows(loop, contraction);
  return { bytes, products, run, factors: [...factors.values()], scales, rows, results };
}

function copiedScale(loop: LoopNode, sides: Sides, scale: Scalar, run: number): CopiedScale | undefined {
  if (scale.kind !== "read") return undefined;
  const ref = loop.inputs[scale.input];
  if (ref?.node.types[ref.output]?.dtype !== "f32") return undefined;
  for (const side of ["m", "n"] as const) {
    const view = viewOfRuns(loop, sides, scale, run) ?? viewOfRunsAcross(loop, sides, scale, run, side);
    if (view !== undefined && hasSides(view, side, "k")) return { input: scale.input, view, side };
  }
  return undefined;
}

function streamedFactor(
  loop: LoopNode,
  sides: Sides,
  factor: Scalar,
  side: "m" | "n",
  dtype: DType,
): StreamedFactor {
  const view =
    factor.kind === "read" && factorDType(loop, factor) === dtype
      ? viewOfRead(loop, sides, factor)
      : undefined;
  // Products of 8-bit floats want them along k: what lies across is turned as it is loaded.
  const turned = dtypes[dtype].bytes === 1;
  const order = (alongK: boolean): MatrixOperand["order"] => (alongK || turned ? "k" : "mn");
  if (factor.kind !== "read" || view === undefined || !hasSides(view, side, "k"))
    return { factor, dtype, side, order: order(liesAlongK(loop, factor)), copied: undefined };
  const alongK = view.at(-1)?.along === "k";
  const copied = alongK || !turned ? { input: factor.input, view } : undefined;
  return { factor, dtype, side, order: order(alongK), copied };
}

export function streamedProgram(
  source: KernelSource<LoopNode>,
  contraction: Contraction,
  plan: StreamedPlan,
  shape: StreamedShape,
  caps: Caps,
  visited?: VisitedPart,
): TileProgram {
  const loop = source.node;
  const b = new t.TileBuilder();
  const buffers = declareBuffers(b, source);
  const matrices = matricesOf(loop, contraction);
  const panel = panelBytes / plan.bytes;
  const threads = shape.warpgroups * warpgroup;

  const [mTiles, nTiles] = [
    ceildiv(matrices.mCount, constant(shape.m)),
    ceildiv(matrices.nCount, constant(shape.n)),
  ];
  const { deal } = shape;
  const across = deal === undefined && visited === undefined && sharesColumns(contraction);
  const batch = b.counter("batch", matrices.batchCount);
  const ofBatch = mul(mTiles, nTiles);
  const tile = b.counter("tile", across ? mul(batch.count, ofBatch) : ofBatch);
  const workers =
    deal === undefined ? min(mul(batch.count, ofBatch), constant(caps.units)) : constant(deal.blocks);
  const worker = b.counter("worker", workers);
  const dealt = deal === undefined ? undefined : { deal, ...dealRounds(b, deal, worker) };
  const order = tileOrder(b, t.at(tile), {
    mTiles,
    nTiles,
    batch: across ? batch : undefined,
    beside: across && shape.cluster?.common === "m" ? shape.cluster.blocks : 1,
  });
  const mBase = t.times(order.m, t.int(shape.m));
  const nBase = t.times(order.n, t.int(shape.n));
  const axesAt = matrices.axesAt(t.at(batch));
  const inBatch = (scalar: Scalar): TileExpr =>
    translator({ axes: axesAt(t.int(0), t.int(0), t.int(0)), carriers: [], inputs: buffers.inputs })(scalar);
  const isAny =
    plan.rows === undefined ? undefined : isAnyVisited(plan.rows, { base: mBase, count: shape.m }, inBatch);
  const step = plan.run ?? panel;
  const sum = visited ?? (isAny === undefined ? undefined : wholeSum(matrices.kCount, step));
  const part = sum === undefined ? undefined : stepsOfPart(b, sum, { step, isAny }, inBatch);
  const made = part === undefined ? dealt?.part : { ...part, isOptional: true };
  const steps = stepsAlongK(b, matrices.kCount, panel, plan.run, made);
  const operands = new Map(
    plan.factors.map((one, i): [Scalar, MatrixOperand] => [one.factor, operandTile(b, one, i, shape)]),
  );
  const operandOf = (factor: Scalar): MatrixOperand => {
    const operand = operands.get(factor);
    invariant(operand !== undefined, "each factor has a tile");
    return operand;
  };
  const placeAt = (k: TileExpr, kBase = k): CopyPlace => ({
    axes: axesAt(mBase, nBase, kBase),
    buffers,
    start: { m: mBase, n: nBase, k },
  });
  const scaleSlots = declareScaleSlots(b, plan.scales, shape, (runs) => placeAt(runs, t.int(0)));
  const channel = b.channel("factors", shape.depth, [
    ...[...operands.values()].map(({ tile: slot }) => slot),
    ...scaleSlots.tiles,
  ]);
  const copiesOf = (step: TileExpr): PanelCopy[] => {
    const place = placeAt(steps.base(step));
    return [
      ...plan.factors.flatMap((one) =>
        one.copied === undefined
          ? []
          : operandCopies(operandOf(one.factor), one.copied, one.side, { panel, place }).map((copy) =>
              shape.cluster?.common === one.side ? { ...copy, common: true } : copy,
            ),
      ),
      ...scaleSlots.copies(steps.number(step)),
    ];
  };
  const computed = plan.factors.filter((one) => one.copied === undefined);
  const putsOf = (step: TileExpr): TileOp[] =>
    computed.flatMap((one) =>
      stageFactor(b, loop, one.factor, {
        tile: operandOf(one.factor).tile,
        rows: one.side === "m" ? shape.m : shape.n,
        depth: panel,
        index: (row, k) => panelIndex(one.order, row, k, panel),
        threads: shape.copies ? warpgroup : threads,
        vectorBytes: caps.vectorBytes,
        most: mostLoaded,
        base: one.side === "m" ? mBase : nBase,
        count: one.side === "m" ? matrices.mCount : matrices.nCount,
        kBase: steps.base(step),
        kCount: matrices.kCount,
        expr: (row, k) => {
          const axes = one.side === "m" ? axesAt(row, t.int(0), k) : axesAt(t.int(0), row, k);
          return translator({ axes, carriers: [], inputs: buffers.inputs })(one.factor);
        },
      }).flatMap(({ loads, puts: written }) => [...loads, ...written]),
    );

  const wave = waveOf(steps, shape, { rows: instructionRows, most: mostPromoted });
  const inWave = { ...shape, m: wave.rows, n: wave.columns };
  const scales = plan.products.flatMap((product) => product.scales);
  const piece =
    steps.perRun === undefined ? wave.columns : pieceColumns(loop, contraction, scales, wave.columns);
  const layout = warpgroupFragment(b, inWave, piece);
  const parts = placesOf(shape.m, wave.rows).flatMap((row) =>
    placesOf(shape.n, wave.columns).map((column) => ({
      row,
      column,
      sums: plan.products.map((product, c): Sum => {
        const name = loop.carriers[c]?.name ?? "sum";
        return { tile: b.tile(name, "f32", layout.axes), product, row, column };
      }),
    })),
  );
  /** Where in the tile a thread's elements are, from its first. */
  const placed = ({ row, column }: Pick<Sum, "row" | "column">): Record<"m" | "n", TileExpr> => ({
    m: t.plus(layout.m.row, t.int(row)),
    n: t.plus(layout.n.row, t.int(column)),
  });
  const multiply = (sum: Sum, acc: Tile, accumulate: TileExpr): TileOp => {
    const { product } = sum;
    const [left, right] = [operandOf(product.left), operandOf(product.right)];
    return {
      kind: "mma",
      acc,
      a: left,
      b: right,
      ...placed(sum),
      accumulate,
      instruction: instructionName(wave.columns, formatOf(left), formatOf(right)),
    };
  };
  const scaling = (sum: Sum): Scaling => {
    const place = placed(sum);
    return scalingOf(b, loop, contraction, sum.product.scales, layout, {
      columns: wave.columns,
      inSlot: (scale) => scaleSlots.at(scale, place, steps.number(t.at(steps.step))),
      at: (m, n, k) => translator({ axes: axesAt(m, n, k), carriers: [], inputs: buffers.inputs }),
      m: t.plus(mBase, place.m),
      n: t.plus(nBase, place.n),
      nBase: t.plus(nBase, t.int(sum.column)),
      inside: {
        m: (m) => guard(m, matrices.mCount, shape.m),
        // A tile's first column is always one of the matrix.
        n: (n) => (n === nBase ? undefined : guard(n, matrices.nCount, shape.n)),
      },
    });
  };
  // Of a sum that is not promoted its scales are the result's.
  const total = (sum: Sum): TileExpr => {
    const place = placed(sum);
    const axes = axesAt(t.plus(mBase, place.m), t.plus(nBase, place.n), t.int(0));
    const scale = translator({ axes, carriers: [], inputs: buffers.inputs });
    const scales = steps.perRun === undefined ? sum.product.scales.map((one) => scale(one)) : [];
    return scales.reduce((value, one) => t.apply("mul", "f32", [value, one]), t.valueOf(sum.tile));
  };
  const slot = {
    fill: (step: TileExpr): TileOp => ({
      kind: "fill",
      channel,
      copies: copiesOf(step),
      body: putsOf(step),
    }),
    take: { kind: "take", channel },
    release: { kind: "release", channel, where: undefined },
    ahead: shape.copies ? undefined : shape.depth - 1,
    groups: scaleSlots.groups,
  } as const;
  const sums = parts.flatMap((part) => part.sums);
  const ofParts = parts.flatMap(({ row, column, sums: own }) =>
    resultOps(b, loop, {
      shape: inWave,
      tile: shape,
      carriers: own.map(total),
      views: plan.results,
      layout,
      buffers,
      axesAt,
      mBase: t.plus(mBase, t.int(row)),
      nBase: t.plus(nBase, t.int(column)),
      matrices,
    }),
  );
  // What is written to shared memory leaves together: no copy out is waited for before the next part is written.
  const results = [
    ...ofParts.filter((op) => op.kind !== "drain"),
    ...ofParts.filter((op) => op.kind === "drain"),
  ];
  const accs = sums.map((sum) => sum.tile);
  const body: TileOp[] = [
    ...order.ops,
    ...(part?.ops ?? []),
    ...sumOps(b, { steps, layout, sums, slot, multiply, scaling }),
    ...(dealt === undefined ? results : partOps(b, dealt, accs, results)),
  ];
  const program: TileProgram = {
    name: source.name,
    summary: source.summary,
    threads,
    blocks: [worker],
    ...(shape.cluster === undefined ? {} : { cluster: shape.cluster.blocks }),
    buffers: b.buffers,
    shared: b.shared,
    channels: b.channels,
    body: [
      dealt === undefined
        ? { kind: "persistent", worker, counters: across ? [tile] : [batch, tile], body }
        : {
            kind: "for",
            counter: dealt.round,
            from: undefined,
            below: undefined,
            unroll: false,
            body: [...dealt.part.ops, ...placeOps(dealt.part, batch, tile), ...body],
          },
    ],
  };
  const held = accumulatorsOf(steps.perRun, plan.products.length, { ...shape, threads, wave });
  const registers = registerShares(plan, { threads, copies: shape.copies }, held);
  return partition(overlap(program), {
    copy: shape.copies ? { threads: warpgroup, registers: registers.copy } : undefined,
    math: { threads, registers: registers.math },
  });
}

/** Where parts of so many begin. */
function placesOf(count: number, part: number): readonly number[] {
  return Array.from({ length: count / part }, (_, i) => i * part);
}

/** The batch, and the tile in it, that a part is of. */
function placeOps({ tile: number }: Part, batch: Counter, tile: Counter): TileOp[] {
  const count = t.size(tile.count);
  return [
    { kind: "index", counter: batch, expr: t.over(number, count) },
    { kind: "index", counter: tile, expr: t.modulo(number, count) },
  ];
}

/** After a part's products: its sums go to who finishes the tile, or others' are added and the tile is finished. */
function partOps(
  b: t.TileBuilder,
  { deal, part }: { readonly deal: Deal; readonly part: Part },
  accs: readonly Tile[],
  results: readonly TileOp[],
): TileOp[] {
  const handover = declareHandover(b, deal, accs);
  return [
    contribute(handover, part),
    collect(b, deal, handover, part),
    { kind: "if", condition: part.finishes, then: results, otherwise: [] },
  ];
}

/** What a thread that copies needs, and one that computes what it fills with. */
export const copyRegisters = { copied: 40, computed: 88 } as const;

/**
 * Registers change hands only where an even share is not enough for the accumulators: those who copy keep what they
 * need, the rest is for those who multiply.
 */
export function registerShares(
  plan: StreamedPlan,
  { threads, copies }: { readonly threads: number; readonly copies: boolean },
  accumulators: number,
): { readonly copy: number | undefined; readonly math: number | undefined } {
  if (!copies || accumulators + addressRegisters <= evenShare(threads + warpgroup))
    return { copy: undefined, math: undefined };
  const isCopied = plan.factors.every(({ copied }) => copied !== undefined);
  const copy = isCopied ? copyRegisters.copied : copyRegisters.computed;
  const left = Math.floor((registerFile - copy * warpgroup) / threads / 8) * 8;
  return { copy, math: Math.min(mostRegisters, left) };
}

function formatOf({ tile, order }: MatrixOperand): Pick<StreamedFactor, "dtype" | "order"> {
  return { dtype: tile.dtype, order };
}

/** `wgmma` by shape, dtypes and which side of each operand lies along memory. Those of 8 bits may differ. */
export function instructionName(
  columns: number,
  a: Pick<StreamedFactor, "dtype" | "order">,
  b: Pick<StreamedFactor, "dtype" | "order">,
): string {
  const [left, right] = [a.order === "k" ? "k" : "m", b.order === "k" ? "k" : "n"];
  const depth = instructionBytes / dtypes[a.dtype].bytes;
  const format = a.dtype === b.dtype ? a.dtype : `${a.dtype}_${b.dtype}`;
  return `wgmma.m${instructionRows}n${columns}k${depth}.${format}.${left}.${right}`;
}

/** A tile of a channel's slots for one factor: panels as wide as the engine swizzles, along what is contiguous. */
function operandTile(
  b: t.TileBuilder,
  { side, order, dtype }: StreamedFactor,
  number: number,
  extent: StreamedShape,
): MatrixOperand {
  const panel = panelBytes / dtypes[dtype].bytes;
  const rows = side === "m" ? extent.m : extent.n;
  const shape = order === "k" ? [1, rows, panel] : [rows / panel, panel, panel];
  const name = side === "m" ? "a_tile" : number <= 1 ? "b_tile" : `b_tile${number}`;
  return { tile: b.slotTile(name, dtype, shape, { swizzle: panelBytes }), order };
}
