/**
 * What runs beside a block's threads: barriers in memory that count arrivals and bytes, the copy engine, and the
 * matrix units. The interpreter lends them to instructions through `Warp`; positions count an op's operands.
 */
export interface Engines {
  /** Makes the mbarrier at the place, whose phases complete with `count` arrivals. */
  init(position: number, lane: number, count: number): void;
  /** One arrival, and before it `bytes` more that the phase waits for. */
  arrive(position: number, lane: number, bytes: number): void;
  /** One arrival at the mbarrier at the same place in the block of that rank in the cluster. */
  arriveAt(position: number, lane: number, rank: number): void;
  /** True where the phase of that parity is complete; takes the thread behind what the phase waited for. */
  isComplete(position: number, lane: number, parity: number): boolean;
  /** Begins the copy of a box at the map's `coordinates` to shared memory, whose bytes the mbarrier counts; with `blocks` to that of each block of the cluster, at the same place. */
  load(box: BoxCopy & { readonly barrier: number; readonly blocks?: number }): void;
  /** Begins the copy of a box from shared memory to the map's `coordinates`; belongs to a group of its thread's. */
  store(box: BoxCopy): void;
  commitStores(lane: number): void;
  /** Until all but the thread's youngest `pending` groups have been read from shared memory, or are written. */
  waitStores(lane: number, pending: number, until: "read" | "written"): void;
  /** Raises the flag at the place: who waits for it comes behind what this thread's block has handed on. */
  raise(position: number, lane: number): void;
  isRaised(position: number, lane: number): boolean;
  /** Lowers a flag that is up, and takes the thread behind what was before it was raised. */
  lower(position: number, lane: number): void;
  /** So many threads arrive at the cluster's barrier. */
  arriveAtCluster(threads: number): void;
  hasClusterMet(): boolean;
  leaveCluster(): void;
  /** Begins a product of the warpgroup's. */
  multiply(product: Product): void;
  commitProducts(): void;
  /** Finishes all but the warpgroup's youngest `pending` groups. */
  waitProducts(pending: number): void;
}

/** `map` and `shared` are positions of operands. */
export interface BoxCopy {
  readonly lane: number;
  readonly map: number;
  readonly shared: number;
  readonly coordinates: readonly number[];
}

export interface Product {
  /** Reads a tile of shared memory where the descriptor says, `rows` by `k` elements; `k` is contiguous or `row` is. */
  readonly evaluate: (read: ReadTile) => void;
}

export type ReadTile = (tile: DescribedTile) => Float64Array;

/** A tile of `rows` x `columns` elements, the columns along the summed dimension, row-major in what is read. */
export interface DescribedTile {
  readonly descriptor: bigint;
  readonly rows: number;
  readonly columns: number;
  readonly format: "f16" | "bf16" | "e4m3" | "e5m2";
  /** Which dimension's neighbours lie side by side in memory: the summed one's (K-major) or the rows'. */
  readonly major: "columns" | "rows";
}
