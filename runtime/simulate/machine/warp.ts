/** A warp, the splits that its lanes divide into, and the block and cluster that hold it. */
import type { Vector } from "./clocks.ts";
import type { Grid, Machine } from "./machine.ts";
import type { Region } from "./region.ts";
import type { NamedBarrier } from "./barriers.ts";
import type { Mbarrier } from "./mbarrier.ts";
import type { AsyncOperation, WarpAsync } from "./async.ts";
import type { WgmmaRegisters } from "./wgmma-registers.ts";

/** Lanes of a warp that run together. */
export interface Split {
  readonly warp: Warp;
  mask: number;
  /** Index of the segment to run next. */
  segment: number;
  join: Join | undefined;
  waiting: Waiting | undefined;
  /** Polling instructions that found nothing since anything in the machine changed. */
  polls: number;
  /** What each strong load saw last: address and value, by site. */
  readonly polled: Map<number, string>;
}

/** What a split waits for. */
export interface Waiting {
  readonly site: number;
  /** Set by whoever ends the wait. */
  ready: boolean;
  /** What `barrier.red` found. */
  result: number;
  /** In words, for the report of a deadlock. */
  readonly what: () => string;
}

/** Where the halves of a divergent branch meet: the immediate post-dominator of the branch. */
export interface Join {
  readonly segment: number;
  expected: number;
  arrived: number;
  readonly outer: Join | undefined;
}

export interface Warp {
  readonly machine: Machine;
  readonly block: Block;
  readonly index: number;
  /** Rank of the block in its cluster. */
  readonly rank: number;
  readonly I: Int32Array;
  readonly U: Uint32Array;
  readonly F: Float32Array;
  readonly D: Float64Array;
  readonly B: BigInt64Array;
  readonly BU: BigUint64Array;
  /** CC.CF, one a lane. */
  readonly K: Int32Array;
  readonly tidX: Int32Array;
  readonly tidY: Int32Array;
  readonly tidZ: Int32Array;
  /** Address of the block's first shared variable. */
  readonly sharedBase: number;
  /** Generic addresses of the module's global variables. */
  readonly globals: readonly bigint[];
  readonly local: Region | undefined;
  readonly localBytes: number;
  /** Addresses of the instruction that runs, lower and upper words. */
  readonly lo: Uint32Array;
  readonly hi: Uint32Array;
  /** Lanes that have not exited. */
  live: number;
  readonly splits: Split[];
  readonly vector: Vector;
  readonly agent: number;
  time: number;
  /** For each lane, the warp's time when `bar.warp.sync` last brought it together with others. */
  readonly laneSync: Int32Array;
  /** And when any `.sync` instruction did. */
  readonly laneRead: Int32Array;
  /** The latest own time that came back through an acquire: what any lane did until then is ordered for all. */
  selfKnown: number;
  /** The latest time at which all its lanes released together. */
  wholeRelease: number;
  /** The latest access record of each instruction. */
  readonly records: Int32Array;
  /** What `fence.acq_rel` and `fence.sc` publish with the next relaxed store, and the scope they had. */
  fenced: { readonly vector: Vector; readonly scope: number } | undefined;
  /** What relaxed loads have seen since the last fence, which the next fence acquires. */
  seen: Vector | undefined;
  readonly async: WarpAsync;
  /** Registers a thread has since setmaxnreg; 0 before. */
  registerCap: number;
  /** Registers that wgmma holds; made when the warp first uses it. */
  wgmma: WgmmaRegisters | undefined;
}

export interface Block {
  readonly machine: Machine;
  readonly grid: Grid;
  readonly cluster: Cluster;
  /** The multiprocessor that it runs on. */
  readonly processor: number;
  readonly rank: number;
  readonly index: readonly [number, number, number];
  readonly shared: Region;
  readonly warps: Warp[];
  readonly barriers: (NamedBarrier | undefined)[];
  readonly mbarriers: Map<number, Mbarrier>;
  /** Copies that signal an mbarrier and were issued by this block. */
  readonly landings: AsyncOperation[];
  /** wgmma instructions of each warpgroup, in order, to see that its warps agree. */
  readonly wgmmaLog: Map<number, string[]>;
  /** Registers that setmaxnreg has taken from the block's pool, by warp. */
  readonly registerBudget: Int32Array;
  liveWarps: number;
}

export interface Cluster {
  readonly id: number;
  readonly index: readonly [number, number, number];
  readonly blocks: Block[];
  readonly barrier: ClusterBarrier;
  liveBlocks: number;
}

/** `barrier.cluster` (PTX ISA 9.7.13.4): one phase at a time. */
export interface ClusterBarrier {
  phase: number;
  arrived: number;
  vector: Vector;
  released: Vector;
  /** The phase each warp of the cluster has arrived at, by agent. */
  readonly arrivals: Map<number, number>;
  readonly waiters: Split[];
}
