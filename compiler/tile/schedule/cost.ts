/**
 * What a choice costs: seconds on an otherwise idle device, as a sum of terms that can be read one by one.
 *
 * The model is analytic and asks a `Caps` alone. A kernel's blocks run in waves of as many as the device holds; a
 * wave lasts as long as its slowest unit is busy. Every constant says what it was measured on.
 */
import type { Caps } from "../../types/caps.ts";
import { dealLoad, type Deal } from "./deal.ts";

export interface Term {
  /** For a reader: `12 waves`, `products`. */
  readonly name: string;
  readonly seconds: number;
}

export interface Cost {
  readonly seconds: number;
  readonly terms: readonly Term[];
}

/** A product of matrices whose tiles stream through a channel. */
export interface StreamedWork {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Sums over the same axes. */
  readonly sums: number;
  /** Bytes of a factor's element, and of a row of a panel. */
  readonly bytes: number;
  readonly panelBytes: number;
  readonly instructionRows: number;
  /** Cycles that a panel's row of each side takes to copy, and that a panel takes besides, where that is known to be long. */
  readonly rowCycles: { readonly m: number; readonly n: number };
  readonly panelCycles: number;
  /** Whether results are stored element by element. */
  readonly storesSingly: boolean;
  /** How often sums are promoted along k. */
  readonly promotions: number;
}

/** Cycles of a tile that its products do not take: filling the channel, writing the result (64 KB of it: 2900). H200. */
const edgeCycles = 1500;
const resultBytesPerCycle = 45;
/** Bytes of factors that a multiprocessor multiplies in a cycle: 2048 pairs of two bytes, 4096 of one. */
const factorBytesPerCycle = 4096;
/** Bytes of shared memory that it moves in a cycle, of which 0.92 were seen. */
const sharedBytesPerCycle = 128 / 0.92;

/**
 * Of a row of 128 bytes that lies across two lines of the cache: 64 x 128 to 256 x 128 of 1000 x 4104 x 4104 took 4.6 to
 * 4.9 cycles a row. H200.
 */
export const acrossLinesCycles = 4.7;

/**
 * Of a row of 64 elements that a copy role loads one by one, and of waiting in each panel besides: 2510 to 5630 cycles a
 * panel were seen with 64 to 384 such rows. Where the results are stored one by one too and a thread has
 * `crowdedSums` of them, the assembler keeps fewer loads under way: 2.2 times as long. H200.
 */
export const singleRowCycles = 11;
export const singlePanelCycles = 1500;
const crowdedSums = 128;
const crowdedTimes = 2.2;
/** Of an element that threads load one by one, between barriers that all of them reach: 0.15 to 0.22 were seen. H200. */
const singleElementCycles = 0.2;

/** Sums that are promoted in a cycle, by all of a multiprocessor's threads. */
const promotedPerCycle = 128;
/** From a product's last instruction to its sum, which a warpgroup by itself waits for at each promotion. */
const aloneCycles = 150;

/**
 * Of a row of a box that the copy engine brings, 128 bytes of a factor or 16 of scales. 128 x 64 with a scale a row, and
 * 128 x 128 with one a row and a column, were 1.31 and 1.10 times as fast with scales brought once for four runs; 64 x 64,
 * 128 x 192, 256 x 128 and 128 x 256 with a scale a row 0.95 to 1.01 times. H200.
 */
const boxRowCycles = 1.6;
const boxRowBytes = 128;

/** Whether the engine takes longer to bring a run's factors, and so many pieces of scales, than the run is worked on. */
export function outlastsRun({
  rows,
  columns,
  pieces,
  wave,
  warpgroups,
}: Readonly<Record<"rows" | "columns" | "pieces" | "warpgroups", number>> & {
  readonly wave: { readonly rows: number; readonly columns: number };
}): boolean {
  const products = (rows * columns * boxRowBytes) / factorBytesPerCycle;
  const promoted = (wave.rows * wave.columns) / promotedPerCycle + (warpgroups === 1 ? aloneCycles : 0);
  return boxRowCycles * (rows + columns + pieces) > products + promoted;
}

/** Cycles a second at which the table's peak of 16-bit products would be had. */
function clock({ flops, units }: Caps): number {
  return flops.matrix16 / (units * factorBytesPerCycle);
}

/** Times its share of memory's rate that a unit may have when others have no tile. H200: 1.06 was seen with 112 of 132. */
const streamShare = 1.2;
/** Of one block's sums for another: cycles until they are seen, and what the L2 cache gives in one. H200. */
const sumCycles = 1500;
const sumBytesPerCycle = 40;

/**
 * `rows` x `columns` of the result by one block, `wave` of them at a time, which takes one tile after another, or parts
 * of tiles as `deal` has them.
 */
export function streamedCost(
  work: StreamedWork,
  {
    rows,
    columns,
    wave,
    threads,
    isAlone,
    cluster,
  }: Readonly<Record<"rows" | "columns" | "threads" | "cluster", number>> & {
    /** One warpgroup multiplies by itself. */
    readonly isAlone: boolean;
    readonly wave: { readonly rows: number; readonly columns: number };
  },
  caps: Caps,
  deal?: Deal,
): Cost {
  const tiles = work.batch * Math.ceil(work.m / rows) * Math.ceil(work.n / columns);
  const waves = Math.ceil(tiles / caps.units);
  const steps = Math.ceil((work.k * work.bytes) / work.panelBytes) * work.sums;
  const products = (rows * columns * work.panelBytes) / factorBytesPerCycle;
  // Each instruction reads its rows and all of its wave's columns; four of them go along a panel.
  const instructions = (rows / work.instructionRows) * (columns / wave.columns);
  const read = instructions * (work.instructionRows + wave.columns) * work.panelBytes;
  const written = (rows + columns) * work.panelBytes;
  const isCrowded = work.storesSingly && (work.sums * rows * columns) / threads >= crowdedSums;
  const crowded = work.panelCycles > 0 && isCrowded ? crowdedTimes : 1;
  const copied =
    crowded * (work.panelCycles + rows * work.rowCycles.m + (columns / cluster) * work.rowCycles.n);
  const moved = Math.max((read + written) / sharedBytesPerCycle, copied);
  const edge = edgeCycles + (rows * columns * 2) / resultBytesPerCycle;
  const units = Math.min(caps.units, deal === undefined ? tiles * streamShare : caps.units);
  const factors = (work.batch * (work.m + work.n) * work.k * work.bytes * caps.units) / units;
  // Few rows read the other factor no faster than memory gives it.
  const beside = (terms: readonly Term[]): Cost => {
    const busy = total(terms).seconds;
    return total([
      ...terms,
      { name: "memory beyond them", seconds: Math.max(0, factors / caps.bandwidth - busy) },
    ]);
  };
  // While one warpgroup promotes others multiply; with 128 x 128, 256 x 128 and 128 x 192 by e4m3 about one wave's
  // promotion a step was not hidden.
  const alone = isAlone ? aloneCycles : 0;
  const promoted = work.promotions * work.sums * ((wave.rows * wave.columns) / promotedPerCycle + alone);
  if (deal !== undefined) {
    const { rounds, parts, sums } = dealLoad(deal);
    const sum = sumCycles + (work.sums * rows * columns * 4) / sumBytesPerCycle;
    const cycles = (count: number): number => count / clock(caps);
    return beside([
      { name: `${tiles} tiles in parts: products`, seconds: cycles(rounds * steps * products) },
      { name: "shared memory beyond them", seconds: cycles(rounds * steps * Math.max(0, moved - products)) },
      { name: "first loads and results", seconds: cycles(parts * edge) },
      { name: "sums of other blocks", seconds: cycles(sums * sum) },
    ]);
  }
  const seconds = (cycles: number): number => (waves * cycles) / clock(caps);
  const shown = `${tiles} tiles in ${waves} ${waves === 1 ? "wave" : "waves"}`;
  return beside([
    { name: `${shown}: products`, seconds: seconds(steps * products) },
    { name: "shared memory beyond them", seconds: seconds(steps * Math.max(0, moved - products)) },
    ...(promoted > 0 ? [{ name: "promotions", seconds: seconds(promoted) }] : []),
    { name: "first loads and results", seconds: seconds(edge) },
  ]);
}

/** Products of rows with all that is swept, through reductions into products. */
export interface CascadeWork {
  readonly batch: number;
  readonly m: number;
  readonly swept: number;
  /** Elements that a pair of a row and a swept place multiplies, in both products. */
  readonly depth: number;
  /** Bytes of a place of the swept axis that stream by. */
  readonly bytes: number;
}

/** Of a block of swept places: cycles of waits and reductions that no product hides; and for each of its elements. */
const blockCycles = 300;
const elementCycles = 1 / 128;
/** From asking for a block to its first byte, when many do. */
const latencySeconds = 0.6e-6;

export function cascadeCost(
  work: CascadeWork,
  { rows, block, stages }: { readonly rows: number; readonly block: number; readonly stages: number },
  caps: Caps,
): Cost {
  const tilesOfBatch = Math.ceil(work.m / rows);
  const tiles = work.batch * tilesOfBatch;
  const waves = Math.ceil(tiles / caps.units);
  const steps = Math.ceil(work.swept / block);
  const seconds = (cycles: number): number => (waves * cycles) / clock(caps);
  const busy = [
    {
      name: `${tiles} tiles in ${waves} ${waves === 1 ? "wave" : "waves"}: products`,
      seconds: seconds((steps * rows * block * work.depth * 2) / factorBytesPerCycle),
    },
    { name: "reductions", seconds: seconds(steps * rows * block * elementCycles) },
    { name: "waits", seconds: seconds(steps * blockCycles) },
  ];
  // A slot is asked for, filled and worked on, one after the other, and so many of them at a time; tiles of one batch
  // have theirs from the cache.
  const step = total(busy).seconds / (waves * steps);
  const load = (block * work.bytes * caps.units) / (caps.bandwidth * Math.min(tilesOfBatch, cacheTimes));
  const paced = Math.max(load, (latencySeconds + load + step) / stages);
  return total([
    ...busy,
    { name: "loads that nothing hides", seconds: waves * steps * Math.max(0, paced - step) },
    { name: "first loads and results", seconds: seconds(edgeCycles * stages) },
  ]);
}

/** A product of matrices whose tiles all threads of a block load, and then multiply. */
export interface TiledWork {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly sums: number;
  /** Of a factor's element in shared memory. */
  readonly bytes: number;
  /** Whether the rows of a side come element by element. */
  readonly comesSingly: { readonly m: boolean; readonly n: boolean };
  /** Which peak its products have: that of a matrix unit, or of multiply-adds. */
  readonly unit: "f32" | "matrix32" | "matrix16";
}

/** Of the peak: `mma.sync` on H200, and multiply-adds on scalars that come from shared memory. */
export const syncShare = 0.6;
export const scalarShare = 0.5;
/**
 * Multiply-adds in whose time a scalar is read from shared memory. The share above is of squares of 4 x 4 sums, which
 * read half a scalar a product; through WebGPU on H200, 8 x 4 and 8 x 8 were 1.3 and 1.5 times as fast, in f32.
 */
export const readTimes = 4.3;
export const usualReads = 0.5;
/** Threads that a unit has at one time, about, and the seconds from a load to its use with the barriers around. */
export const unitThreads = 1024;
export const stepSeconds = 1e-6;
/** Of the device's memory's rate: what comes from a cache that all units share. */
export const cacheTimes = 3;

export function tiledCost(
  work: TiledWork,
  tile: {
    readonly rows: number;
    readonly columns: number;
    readonly depth: number;
    readonly threads: number;
    /** Scalars that a thread reads for each product; where there is no matrix unit. */
    readonly reads: number;
  },
  caps: Caps,
): Cost {
  const { rows, columns, depth, threads, reads } = tile;
  const blocks = work.batch * Math.ceil(work.m / rows) * Math.ceil(work.n / columns);
  const slowed = (1 + readTimes * reads) / (1 + readTimes * usualReads);
  const peak =
    work.unit !== "f32"
      ? caps.flops[work.unit] * syncShare
      : (caps.flops.f32 * scalarShare) / (caps.maxThreads === 1 ? 1 : slowed);
  const steps = Math.ceil(work.k / depth);
  const products = (2 * rows * columns * depth * work.sums * caps.units) / peak;
  if (caps.maxThreads === 1) {
    const loads = ((rows + columns) * work.sums) / caps.flops.f32;
    const spilled =
      Math.max(0, rows * columns * work.sums + rows + columns - caps.registers) / caps.flops.f32;
    return total([
      { name: `${blocks} tiles: products`, seconds: blocks * steps * products },
      { name: "loads", seconds: blocks * steps * (loads + 4 * spilled) },
    ]);
  }
  const resident = Math.max(1, Math.floor(unitThreads / threads));
  const waves = Math.ceil(blocks / (caps.units * resident));
  const atOnce = Math.min(resident, Math.ceil(blocks / caps.units));
  const loaded =
    ((rows + columns) * depth * work.bytes * work.sums * caps.units) / (caps.bandwidth * cacheTimes);
  const single = (work.comesSingly.m ? rows : 0) + (work.comesSingly.n ? columns : 0);
  const isTimed = work.unit !== "f32" && single > 0;
  const singly = isTimed ? (single * depth * work.sums * singleElementCycles) / clock(caps) : 0;
  const busy = atOnce * Math.max(products, loaded, singly);
  const shown = `${blocks} tiles in ${waves} ${waves === 1 ? "wave" : "waves"}`;
  return total([
    { name: `${shown}: products`, seconds: waves * steps * atOnce * products },
    { name: "loads beyond them", seconds: waves * steps * (busy - atOnce * products) },
    { name: "waiting for loads", seconds: waves * steps * Math.max(0, stepSeconds - busy) },
  ]);
}

/** Rows by columns, each element read as it lies. */
export interface SweepWork {
  readonly rows: number;
  readonly columns: number;
  /** Times that a row is gone through. */
  readonly sweeps: number;
  /** Of all tensors, each once. */
  readonly bytes: number;
  /** Bytes that one point of rows and columns reads. */
  readonly reads: number;
}

/** Times its share of memory's rate that one unit can have. */
const unitShare = 2;

/** Bytes that a device must have under way to reach its memory's rate: what it moves in this many seconds. */
const latency = 8e-7;
/** Seconds of a block's life, loads included, in which it asks for nothing else: 7167 rows of 7167 by 1024 threads. H200. */
const blockSeconds = 1.8e-6;
/**
 * From one access of a thread to its next, where each asks whether it is inside: a row times 4104 x 4104 took 33, 15.6
 * and 11.3 us by threads with 72, 18 and 9 accesses each. H200.
 */
const accessSeconds = 2.5e-7;
/** What a launch takes in any case. */
const launchSeconds = 4e-6;

export function sweepCost(
  work: SweepWork,
  tile: {
    readonly rows: number;
    readonly columns: number;
    readonly isHeld: boolean;
    readonly threads: number;
    /** Accesses that a thread makes one after another; 0 where it makes them together. */
    readonly accesses: number;
    /** Bytes that are fetched for one that is used, at least 1. */
    readonly fetched: number;
  },
  caps: Caps,
): Cost {
  const { rows, columns, isHeld, threads, accesses, fetched } = tile;
  const chunks = Math.ceil(work.columns / columns);
  const blocks = Math.ceil(work.rows / rows);
  const padded = (blocks * rows * chunks * columns) / Math.max(1, work.rows * work.columns);
  const memory = (work.bytes * fetched) / caps.bandwidth;
  // A unit alone takes no more than a few units' share.
  const few = Math.max(0, caps.units / (blocks * unitShare) - 1) * memory;
  const cached = (work.rows * work.columns * work.reads) / (caps.bandwidth * cacheTimes);
  const again = isHeld ? 0 : (work.sweeps - 1) * Math.max(memory, cached);
  // A thread has all accesses of its tile under way.
  const points = Math.max(1, work.rows * work.columns);
  const perBlock = Math.min(rows, work.rows) * Math.min(columns, work.columns) * (work.bytes / points);
  const resident = Math.max(1, Math.floor((2 * unitThreads) / threads));
  const underWay = Math.min(blocks, caps.units * resident) * perBlock;
  const wanted = caps.maxThreads === 1 ? 0 : latency * caps.bandwidth;
  const slack = Math.max(0, wanted / Math.max(1, underWay) - 1) * memory;
  const isSerial = caps.maxThreads === 1;
  const rounds = Math.max(1, blocks / (caps.units * resident));
  const lives = isSerial ? 0 : Math.max(0, rounds * blockSeconds - Math.max(memory, launchSeconds));
  return total([
    { name: `${blocks} blocks: memory`, seconds: memory },
    { name: "units without a block", seconds: few },
    { name: "caches beyond it", seconds: Math.max(0, cached - memory) },
    { name: "sweeps again", seconds: again },
    { name: "places without an element", seconds: Math.max(0, padded - 1) * memory * paddedShare },
    { name: "too few bytes under way", seconds: slack },
    { name: "blocks after one another", seconds: lives },
    { name: "accesses after one another", seconds: isSerial ? 0 : rounds * accesses * accessSeconds },
  ]);
}

/** A thread without an element still takes its part of the issue slots, not of the memory. */
const paddedShare = 0.1;

/** A size that is not known is taken for this. */
export const usualSize = 4096;

export function total(terms: readonly Term[]): Cost {
  return { seconds: terms.reduce((sum, term) => sum + term.seconds, 0), terms };
}

/** A product of matrices by subgroups, whose factors go through shared memory. */
export interface SubgroupWork {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** What mma.sync reaches of the table's peak on an H200, whose other instructions WebGPU does not have. */
const matrixShare = 0.6;
/** Bytes of shared memory moved in the time of one FLOP of that peak: 128 a cycle, beside 8192 FLOPs. */
export const sharedBytesPerFlop: number = 128 / 8192;

/** Loads, products and the moves between them are not overlapped within a block, so they add up. */
export function subgroupCost(
  work: SubgroupWork,
  shape: {
    readonly m: number;
    readonly n: number;
    readonly subgroupM: number;
    readonly subgroupN: number;
  },
  { flops, units }: Caps,
): Cost {
  const tiles = work.batch * Math.ceil(work.m / shape.m) * Math.ceil(work.n / shape.n);
  const waves = Math.ceil(tiles / units);
  const subgroups = (shape.m / shape.subgroupM) * (shape.n / shape.subgroupN);
  const lines = shape.m + shape.n + subgroups * (shape.subgroupM + shape.subgroupN);
  const rate = flops.matrix16 / units;
  const products = (2 * shape.m * shape.n * work.k) / (matrixShare * rate);
  const moved = (2 * lines * work.k) / (sharedBytesPerFlop * rate);
  return total([
    {
      name: `${tiles} tiles in ${waves} ${waves === 1 ? "wave" : "waves"}: products`,
      seconds: waves * products,
    },
    { name: "shared memory", seconds: waves * moved },
  ]);
}
