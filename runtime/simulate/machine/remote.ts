/** Addresses of shared memory anywhere in the cluster, for barriers and copies. */
import type { Site } from "../compile/site.ts";
import { findAt } from "./findings.ts";
import type { Block, Warp } from "./warp.ts";

/** The block that a shared address belongs to; a remote one must be known to run (PTX ISA 9.7.13.4). */
export function blockOf(w: Warp, site: Site, lane: number, low: number): Block | undefined {
  const rank = low >>> 24;
  if (rank === w.rank) return w.block;
  const { cluster } = w.block;
  const block = cluster.blocks[rank];
  if (block === undefined) {
    findAt(w, 1 << lane, site.id, "cluster-misuse", `block ${rank} of a cluster of ${cluster.blocks.length}`);
    return undefined;
  }
  checkRemote(w, site, lane, block);
  return block;
}

export function checkRemote(w: Warp, site: Site, lane: number, block: Block): void {
  const { cluster } = w.block;
  if (cluster.barrier.phase === 0) {
    findAt(
      w,
      1 << lane,
      site.id,
      "cluster-misuse",
      `block ${block.rank} of the cluster may not have started: no barrier.cluster came before`,
    );
  }
  if (block.liveWarps === 0) {
    findAt(
      w,
      1 << lane,
      site.id,
      "cluster-misuse",
      `block ${block.rank} of the cluster has exited, and its shared memory with it`,
    );
  }
}
