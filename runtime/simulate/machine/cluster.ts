/** The barrier of a cluster: `barrier.cluster` (PTX ISA 9.7.13.4). */
import { makeVector, type Realm } from "./clocks.ts";
import type { Site } from "../compile/site.ts";
import { findAt } from "./findings.ts";
import { acquire, meetLanes, publishFenced, release, wake } from "./sync.ts";
import type { ClusterBarrier, Warp } from "./warp.ts";

export function makeClusterBarrier(realm: Realm): ClusterBarrier {
  return {
    phase: 0,
    arrived: 0,
    vector: makeVector(realm),
    released: makeVector(realm),
    arrivals: new Map(),
    waiters: [],
  };
}

const liveWarps = (w: Warp): number => w.block.cluster.blocks.reduce((n, block) => n + block.liveWarps, 0);

function completeIfAll(w: Warp): void {
  const { barrier } = w.block.cluster;
  if (barrier.arrived === 0 || barrier.arrived < liveWarps(w)) return;
  barrier.phase++;
  barrier.arrived = 0;
  barrier.released = barrier.vector;
  barrier.vector = makeVector(w.vector.realm);
  for (const split of barrier.waiters.splice(0)) wake(split);
}

export function arriveAtCluster(w: Warp, mask: number, site: Site, relaxed: boolean): void {
  const { barrier } = w.block.cluster;
  if (barrier.arrivals.get(w.agent) === barrier.phase) {
    findAt(
      w,
      mask,
      site.id,
      "cluster-misuse",
      "the warp arrives twice at the cluster's barrier without waiting between",
    );
    return;
  }
  barrier.arrivals.set(w.agent, barrier.phase);
  barrier.arrived++;
  if (relaxed) publishFenced(w, barrier.vector);
  else release(w, mask, barrier.vector);
  completeIfAll(w);
}

/** Whether the phase that the warp arrived at is over; takes up what the others released. */
export function waitAtCluster(w: Warp, mask: number, site: Site): boolean {
  const { barrier } = w.block.cluster;
  const phase = barrier.arrivals.get(w.agent);
  if (phase === undefined) {
    findAt(
      w,
      mask,
      site.id,
      "cluster-misuse",
      "the warp waits at the cluster's barrier without having arrived",
    );
    return true;
  }
  if (phase === barrier.phase) return false;
  barrier.arrivals.delete(w.agent);
  acquire(w, barrier.released);
  meetLanes(w, mask);
  return true;
}

/** A warp that exits counts as arrived (9.7.13.4). */
export function clusterExit(w: Warp): void {
  const { barrier } = w.block.cluster;
  if (barrier.arrivals.get(w.agent) === barrier.phase) barrier.arrived--;
  completeIfAll(w);
}

export function describeCluster(w: Warp): string {
  const { barrier } = w.block.cluster;
  return `the cluster's barrier: ${barrier.arrived} of ${liveWarps(w)} warps have arrived`;
}
