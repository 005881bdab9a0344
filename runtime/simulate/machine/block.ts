/** Brings clusters of blocks to life, and takes them away when their warps have exited. */
import { makeWarpAsync } from "./async.ts";
import { completeWithout } from "./barriers.ts";
import { makeRealm, makeVector, type Vector } from "./clocks.ts";
import { clusterExit, makeClusterBarrier } from "./cluster.ts";
import { endCluster, signalDependents } from "./dependents.ts";
import { warpName } from "./findings.ts";
import { checkAtExit } from "./leftovers.ts";
import type { Grid, Machine } from "./machine.ts";
import { makeRegion } from "./region.ts";
import { sharedReserved } from "./windows.ts";
import type { Block, Cluster, Split, Warp } from "./warp.ts";

const product = (t: readonly [number, number, number]): number => t[0] * t[1] * t[2];

function axisIndex(flat: number, extent: readonly [number, number, number]): [number, number, number] {
  return [
    flat % extent[0],
    Math.floor(flat / extent[0]) % extent[1],
    Math.floor(flat / (extent[0] * extent[1])),
  ];
}

function makeWarp(block: Block, index: number, threads: number): Warp {
  const { grid, machine } = block;
  const buffer = new ArrayBuffer(grid.kernel.registerWords * 4);
  const lanes = Math.min(32, threads - index * 32);
  const ids = (axis: 0 | 1 | 2): Int32Array =>
    Int32Array.from({ length: 32 }, (_, lane) => axisIndex(index * 32 + lane, grid.block)[axis]);
  const { realm } = block.cluster.barrier.vector;
  const agent = realm.size++;
  const vector: Vector = makeVector(realm);
  vector.known[agent] = 1;
  const { localBytes } = grid.kernel;
  const warp: Warp = {
    machine,
    block,
    index,
    rank: block.rank,
    I: new Int32Array(buffer),
    U: new Uint32Array(buffer),
    F: new Float32Array(buffer),
    D: new Float64Array(buffer),
    B: new BigInt64Array(buffer),
    BU: new BigUint64Array(buffer),
    K: new Int32Array(32),
    tidX: ids(0),
    tidY: ids(1),
    tidZ: ids(2),
    sharedBase: (block.rank << 24) | block.shared.low,
    globals: grid.globals,
    local:
      localBytes === 0
        ? undefined
        : makeRegion({ name: `local memory of warp ${index}`, kind: "local", size: localBytes * 32 }),
    localBytes,
    lo: new Uint32Array(32),
    hi: new Uint32Array(32),
    live: lanes === 32 ? -1 : (1 << lanes) - 1,
    splits: [],
    vector,
    agent,
    time: 1,
    laneSync: new Int32Array(32),
    laneRead: new Int32Array(32),
    selfKnown: 0,
    wholeRelease: 0,
    records: new Int32Array(grid.kernel.sites.length),
    fenced: undefined,
    seen: undefined,
    async: makeWarpAsync(),
    registerCap: 0,
    wgmma: undefined,
  };
  machine.agentNames.set(realm.id * 65536 + agent, () => warpName(warp));
  return warp;
}

function makeBlock(machine: Machine, grid: Grid, cluster: Cluster, rank: number): Block {
  const inside = axisIndex(rank, grid.cluster);
  const index: [number, number, number] = [0, 1, 2].map(
    (a) => cluster.index[a]! * grid.cluster[a]! + inside[a]!,
  ) as [number, number, number];
  const low = machine.options.sharedReserved;
  const shared = makeRegion({
    name: `shared memory of block (${index.join(",")})`,
    kind: "shared",
    size: low + grid.kernel.sharedBytes + grid.dynamicShared,
    low,
    device: grid.device,
  });
  const threads = product(grid.block);
  const block: Block = {
    machine,
    grid,
    cluster,
    processor: (grid.started * cluster.blocks.length + rank) % machine.processors,
    rank,
    index,
    shared,
    warps: [],
    barriers: [],
    mbarriers: new Map(),
    landings: [],
    wgmmaLog: new Map(),
    registerBudget: new Int32Array(Math.ceil(threads / 32)),
    liveWarps: Math.ceil(threads / 32),
  };
  for (let i = 0; i < block.liveWarps; i++) block.warps.push(makeWarp(block, i, threads));
  return block;
}

/** Starts the next cluster of the grid. */
export function startCluster(machine: Machine, grid: Grid): void {
  const extent: [number, number, number] = [0, 1, 2].map((a) => grid.grid[a]! / grid.cluster[a]!) as [
    number,
    number,
    number,
  ];
  const realm = makeRealm(machine.realmDevice.length);
  machine.realms.push(realm);
  machine.realmDevice.push(grid.device);
  const cluster: Cluster = {
    id: realm.id,
    index: axisIndex(grid.started, extent),
    blocks: [],
    barrier: makeClusterBarrier(realm),
    liveBlocks: product(grid.cluster),
  };
  for (let rank = 0; rank < cluster.liveBlocks; rank++)
    cluster.blocks.push(makeBlock(machine, grid, cluster, rank));
  grid.started++;
  grid.live.add(cluster);
  for (const block of cluster.blocks) {
    for (const warp of block.warps) {
      const split: Split = {
        warp,
        mask: warp.live,
        segment: 0,
        join: undefined,
        waiting: undefined,
        polls: 0,
        polled: new Map(),
      };
      warp.splits.push(split);
      machine.runnable.push(split);
    }
  }
}

/** The lanes of `mask` have exited. */
export function exitLanes(warp: Warp, mask: number): void {
  warp.live &= ~mask;
  if (warp.live !== 0) return;
  const { block } = warp;
  block.liveWarps--;
  completeWithout(block);
  clusterExit(warp);
  if (block.liveWarps > 0) return;
  checkAtExit(block);
  const { cluster, grid } = block;
  signalDependents(block);
  cluster.liveBlocks--;
  if (cluster.liveBlocks > 0) return;
  grid.live.delete(cluster);
  grid.finished++;
  endCluster(cluster, grid);
}

export const defaultReserved = (target: string): number => (/^sm_(9|1)/.test(target) ? sharedReserved : 0);
