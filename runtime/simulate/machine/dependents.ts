/**
 * Launches that may begin before the one ahead of them has ended (PTX ISA 9.7.13.14, `griddepcontrol`).
 *
 * A dependent grid may start once each block of its predecessor has said `launch_dependents` or exited. That orders no
 * memory: what the predecessor wrote is visible, and what it reads may be written, after `wait` alone, which goes on
 * when the predecessor has ended.
 */
import { endOfTime, join, makeRealm, makeVector, type Vector } from "./clocks.ts";
import type { Grid } from "./machine.ts";
import { acquire, wake } from "./sync.ts";
import type { Block, Cluster, Split, Warp } from "./warp.ts";

/** What a grid that others depend on keeps for them. */
export interface Dependents {
  /** Blocks that have said `launch_dependents` or exited. */
  readonly signalled: Set<Block>;
  /** What its warps knew in the end, and all that its clusters did. */
  readonly done: Vector;
  readonly waiters: Split[];
}

export function makeDependents(): Dependents {
  return { signalled: new Set(), done: makeVector(makeRealm(-1)), waiters: [] };
}

const blocksOf = ({ grid }: Grid): number => grid[0] * grid[1] * grid[2];

/** May blocks of the grid start, as far as its predecessor is concerned? */
export function mayStart({ predecessor }: Grid): boolean {
  return predecessor === undefined || predecessor.dependents!.signalled.size === blocksOf(predecessor);
}

/** The block lets dependents start, as far as it is concerned. */
export function signalDependents(block: Block): void {
  block.grid.dependents?.signalled.add(block);
}

/** All warps of the cluster have exited, and so has what worked beside them. */
export function endCluster({ blocks, barrier, id }: Cluster, grid: Grid): void {
  if (grid.dependents === undefined) return;
  const { done, waiters } = grid.dependents;
  for (const { warps } of blocks) for (const warp of warps) join(done, warp.vector);
  const all = new Int32Array(barrier.vector.realm.size).fill(endOfTime);
  done.foreign = new Map(done.foreign).set(id, { known: all, proxied: all });
  if (grid.finished === grid.clusters) for (const split of waiters.splice(0)) wake(split);
}

/** Whether the predecessor has ended; if it has, the warp knows of all that it did. Without one there is no wait. */
export function endOfPredecessor(w: Warp): boolean {
  const { predecessor } = w.block.grid;
  if (predecessor === undefined) return true;
  if (predecessor.finished < predecessor.clusters) return false;
  acquire(w, predecessor.dependents!.done);
  return true;
}
