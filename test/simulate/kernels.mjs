/** The hand-written kernels that stand for what the ptx target emits. */
import { blockSum, copyPipeline, lastBlock, namedBarriers } from "./kernels-block.mjs";
import { bulkRing, bulkRoundTrip, gemmRing } from "./kernels-bulk.mjs";
import { asyncStores, multicastRing, remoteStores } from "./kernels-cluster.mjs";
import { wgmmaTile } from "./kernels-wgmma.mjs";

export * from "./kernel-text.mjs";
export * from "./kernels-block.mjs";
export * from "./kernels-bulk.mjs";
export * from "./kernels-cluster.mjs";
export * from "./kernels-wgmma.mjs";

/** Every kernel that runs on one device. */
export function allKernels() {
  const tiles = [];
  for (const major of ["k", "mn"])
    for (const span of [0, 32, 64, 128]) tiles.push(wgmmaTile({ span, major }));
  for (const type of ["f16", "tf32", "e4m3", "e5m2", "s8", "u8"]) tiles.push(wgmmaTile({ type, n: 32 }));
  for (const type of ["bf16", "e4m3", "tf32"]) tiles.push(wgmmaTile({ type, registersA: true, n: 24 }));
  return [
    blockSum(),
    namedBarriers(),
    copyPipeline(),
    lastBlock(),
    bulkRing(),
    bulkRoundTrip(),
    multicastRing(),
    remoteStores(),
    asyncStores(),
    gemmRing(),
    ...tiles,
  ];
}
