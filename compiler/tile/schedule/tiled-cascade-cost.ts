/**
 * What a cascade whose tiles all threads load costs, and what the same work costs as kernels of its own: products that
 * write and read what is between them. The constants are those of tiled products (`cost.ts`).
 */
import type { Caps } from "../../types/caps.ts";
import {
  cacheTimes,
  readTimes,
  scalarShare,
  sharedBytesPerFlop,
  stepSeconds,
  subgroupCost,
  syncShare,
  tiledCost,
  total,
  unitThreads,
  usualReads,
  type Cost,
} from "./cost.ts";
import { subgroupShapes } from "./subgroup-matrices.ts";
import { fragmentSide } from "./subgroup-unit.ts";

export interface TiledCascadeWork {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  /** Places of the swept axis, and what part of them a row sees, about. */
  readonly swept: number;
  readonly seen: number;
  /** Elements that a pair of a row and a swept place multiplies, in all products inside bodies. */
  readonly depth: number;
  readonly products: number;
  readonly sums: number;
  /** Bytes of a factor's element in memory. */
  readonly bytes: number;
  /** What multiplies. */
  readonly unit: "scalars" | "warp" | "subgroup";
}

export interface TiledCascadeTile {
  readonly rows: number;
  readonly columns: number;
  readonly block: number;
  readonly threads: number;
  /** Scalars that a thread reads for each product, of the inner and of the outer ones. */
  readonly reads: { readonly inner: number; readonly outer: number };
  /** Times in a block of the swept axis that all threads wait for loads or for each other. */
  readonly waits: number;
  readonly isResident: boolean;
  /** Bands of rows whose subgroups each read all that streams by. */
  readonly bands: number;
  /** Of a row of a subgroup's fragments, how many are multiplied at a time. */
  readonly fragments: number;
}

/** FLOPs in whose time an element of the scores is made a weight: an exponential and what is around it. */
const elementFlops = 24;
/** Seconds that one launch more takes. */
const launchSeconds = 3e-6;

export function tiledCascadeCost(work: TiledCascadeWork, tile: TiledCascadeTile, caps: Caps): Cost {
  const { rows, columns, block, threads, reads } = tile;
  const isSerial = caps.maxThreads === 1;
  const blocks = work.batch * Math.ceil(work.m / rows) * Math.ceil(work.n / columns);
  const steps = Math.ceil((work.swept * work.seen) / block);
  const peak = (read: number): number => {
    if (work.unit !== "scalars") return caps.flops.matrix16 * syncShare;
    const slowed = (1 + readTimes * read) / (1 + readTimes * usualReads);
    return (caps.flops.f32 * scalarShare) / (isSerial ? 1 : slowed);
  };
  const share = caps.units;
  const products =
    2 * share * rows * block * (work.depth / peak(reads.inner) + (work.sums * columns) / peak(reads.outer));
  const weights = (share * rows * block * elementFlops) / caps.flops.f32;
  if (isSerial) {
    const loads =
      ((rows + block) * work.depth + block * (rows + columns) * work.sums) / (caps.flops.f32 / share);
    return total([
      { name: `${blocks} tiles: products`, seconds: blocks * steps * products },
      { name: "weights", seconds: blocks * steps * weights },
      { name: "loads", seconds: blocks * steps * loads },
    ]);
  }
  const resident = Math.max(1, Math.floor(unitThreads / threads));
  const waves = Math.ceil(blocks / (caps.units * resident));
  const atOnce = Math.min(resident, Math.ceil(blocks / caps.units));
  const staged = block * work.depth + block * columns * work.sums + (tile.isResident ? 0 : rows * work.depth);
  const loaded = (staged * work.bytes * share) / (caps.bandwidth * cacheTimes);
  const own = products + weights + sharedSeconds(work, tile, caps);
  const busy = atOnce * Math.max(own, loaded);
  const shown = `${blocks} tiles in ${waves} ${waves === 1 ? "wave" : "waves"}`;
  return total([
    { name: `${shown}: products`, seconds: waves * steps * atOnce * products },
    { name: "weights", seconds: waves * steps * atOnce * weights },
    ...(work.unit === "subgroup"
      ? [{ name: "shared memory", seconds: waves * steps * atOnce * sharedSeconds(work, tile, caps) }]
      : []),
    { name: "loads beyond them", seconds: waves * steps * (busy - atOnce * own) },
    { name: "waiting", seconds: waves * steps * Math.max(0, tile.waits * stepSeconds - busy) },
  ]);
}

/**
 * Of a block of the swept axis, the bytes that a subgroup's matrices move through shared memory: factors as they are
 * staged and as each subgroup reads them, left ones again for each run of fragments; products as they go to registers,
 * and what is made of them on its way back.
 */
function sharedSeconds(work: TiledCascadeWork, tile: TiledCascadeTile, { flops, units }: Caps): number {
  if (work.unit !== "subgroup") return 0;
  const { rows, columns, block, bands, fragments } = tile;
  const runs = (width: number): number => Math.ceil(width / fragmentSide / fragments);
  const streamed = block * (work.depth + work.sums * columns) * (1 + bands);
  const lefts = rows * work.depth * (runs(block) + (tile.isResident ? 0 : 1));
  const made = rows * block * work.sums * (1 + runs(columns));
  const results = rows * (block * work.products + columns * work.sums);
  const bytes = (streamed + lefts + made) * work.bytes + 2 * results * scoreBytes;
  return bytes / (sharedBytesPerFlop * (flops.matrix16 / units));
}

/** Bytes of what the first product writes, and what the reductions make of it. */
const scoreBytes = 4;

/** The same as kernels of their own: each product, and the reductions with what is between in memory. */
export function apartCost(work: TiledCascadeWork, caps: Caps): Cost {
  const { batch, m, n, swept, depth, bytes } = work;
  const unit = work.unit === "scalars" ? "f32" : "matrix16";
  const isSerial = caps.maxThreads === 1;
  const shapes = isSerial ? [[4, 8, 1]] : [128, 64, 32].flatMap((a) => [64, 32].map((c) => [a, c, a * c]));
  const product = (size: { readonly n: number; readonly k: number; readonly sums: number }): number => {
    if (work.unit === "subgroup")
      return (
        size.sums *
        Math.min(...subgroupShapes.map((shape) => subgroupCost({ batch, m, ...size }, shape, caps).seconds))
      );
    return Math.min(
      ...shapes.map(([rows = 0, columns = 0, area = 0]) => {
        const threads = isSerial ? 1 : Math.min(256, area / 16);
        const reads = 2 / Math.sqrt(area / threads);
        const tile = { rows, columns, depth: isSerial ? 1 : 16, threads, reads };
        const comesSingly = { m: false, n: false };
        return tiledCost({ batch, m, ...size, bytes: 4, comesSingly, unit }, tile, caps).seconds;
      }),
    );
  };
  const between = batch * m * swept;
  const moved = between * 2 * (scoreBytes * work.products + bytes * work.sums);
  return total([
    {
      name: "products",
      seconds: product({ n: swept, k: depth, sums: 1 }) + product({ n, k: swept, sums: work.sums }),
    },
    { name: "weights", seconds: (between * elementFlops) / caps.flops.f32 },
    { name: "what is between", seconds: moved / caps.bandwidth },
    { name: "launches", seconds: isSerial ? 0 : 2 * launchSeconds },
  ]);
}
