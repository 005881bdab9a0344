/** What a block leaves unfinished when its last warp exits. */
import { findAt } from "./findings.ts";
import { finish } from "./async.ts";
import type { Block } from "./warp.ts";

export function checkAtExit(block: Block): void {
  for (const w of block.warps) {
    for (const name of ["copies", "bulk", "wgmma"] as const) {
      const groups = w.async[name];
      const left = [...groups.open.map((entry) => entry.operation), ...groups.committed.flatMap((group) => group.operations)].filter((op) => !op.done);
      for (const operation of left) {
        // A wait that reads alone have need of leaves writes to memory in flight, which the end of the kernel covers.
        if (!operation.needed()) continue;
        findAt(w, -1, operation.site, "unfinished-async", "the block exits while this operation may still read or write its memory; nothing waits for it");
      }
      for (const operation of left) finish(block.machine, operation);
    }
  }
}
