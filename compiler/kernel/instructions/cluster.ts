/**
 * The barrier of a cluster of blocks (PTX ISA 9.7.13.4, "barrier.cluster"): each thread arrives, and goes on when all
 * threads of all blocks have. What they did before is seen after.
 */
import type { Instruction } from "./instruction.ts";

const common = {
  section: "9.7.13.4",
  needs: { sm: 90, isa: [7, 8] },
  results: [],
  destinations: "defined",
  operands: [],
  scope: "warp",
  align: 1,
} as const;

export const clusterInstructions: readonly Instruction[] = [
  {
    ...common,
    name: "cluster.arrive",
    precondition: "the thread has waited since it arrived last",
    evaluate: (warp) => warp.engines.arriveAtCluster(warp.active.length),
    ptx: () => "barrier.cluster.arrive.aligned",
  },
  {
    ...common,
    name: "cluster.wait",
    precondition: "the thread has arrived",
    isReady: (warp) => warp.engines.hasClusterMet(),
    evaluate: (warp) => warp.engines.leaveCluster(),
    ptx: () => "barrier.cluster.wait.aligned",
  },
];
