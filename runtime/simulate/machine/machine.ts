/** The simulated machine during a launch: its grids, what can run, what is in flight, and what was found. */
import type { Finding } from "../finding.ts";
import type { Kernel } from "../compile/kernel.ts";
import type { AsyncOperation } from "./async.ts";
import type { Counts } from "./counts.ts";
import type { Dependents } from "./dependents.ts";
import type { Journal } from "./journal.ts";
import type { Region } from "./region.ts";
import type { Schedule } from "./schedule.ts";
import type { Realm, Vector } from "./clocks.ts";
import type { Cluster, Split } from "./warp.ts";

export interface Options {
  /** "hopper" keeps about 14 bits of aligned FP8 products, as the tensor cores do; "exact" rounds once to f32. */
  readonly fp8Accumulate: "exact" | "hopper";
  /** Segments that may run in all before the launch is stopped. */
  readonly maxSteps: number;
  /** Races, proxies, uninitialised reads: the checks that need shadow memory. */
  readonly memoryChecks: boolean;
  /** Multiprocessors of each device. */
  readonly processors: number;
  /** Bytes of each block's shared memory that the system keeps, before the first variable. */
  readonly sharedReserved: number;
}

/** One kernel launch. */
export interface Grid {
  readonly number: number;
  readonly kernel: Kernel;
  readonly device: number;
  readonly grid: readonly [number, number, number];
  readonly block: readonly [number, number, number];
  readonly cluster: readonly [number, number, number];
  readonly explicitCluster: boolean;
  readonly dynamicShared: number;
  readonly param: Region;
  readonly globals: readonly bigint[];
  readonly clusters: number;
  /** Clusters that fit on the device at once. */
  readonly resident: number;
  started: number;
  finished: number;
  readonly live: Set<Cluster>;
  /** The grid ahead of it, where it may begin before that has ended. */
  readonly predecessor: Grid | undefined;
  /** There when another grid may begin before this one has ended. */
  dependents: Dependents | undefined;
  /** Executions and lanes of each segment. */
  readonly runs: Float64Array;
  readonly lanes: Float64Array;
  /** Set by a trap: nothing of the grid runs any more. */
  aborted: boolean;
}

/** What a release left at an address of global or shared memory. */
export interface Published {
  readonly vector: Vector;
  readonly scope: number;
}

export interface Machine {
  readonly options: Options;
  readonly seed: number;
  readonly schedule: Schedule;
  readonly journal: Journal;
  readonly processors: number;
  readonly grids: Grid[];
  readonly regions: ReadonlyMap<number, Region>;
  readonly findings: Finding[];
  readonly seen: Set<string>;
  readonly counts: Counts;
  readonly realms: Realm[];
  readonly realmDevice: number[];
  readonly agentNames: Map<number, () => string>;
  readonly partialFences: Map<number, { readonly time: number; readonly mask: number }[]>;
  /** By region, then by byte offset. */
  readonly published: Map<Region, Map<number, Published>>;
  readonly runnable: Split[];
  readonly waiting: Set<Split>;
  readonly pending: AsyncOperation[];
  /** The split that runs. */
  current: Split | undefined;
  /** Set by a polling instruction that found nothing: let another split run. */
  yield: boolean;
  steps: number;
}
