/** What a block leaves unfinished when its last warp exits. */
import { findAt } from "./findings.ts";
import { finish } from "./async.ts";
import { checkLeftBytes } from "./mbarrier.ts";
import type { Block } from "./warp.ts";

export function checkAtExit(block: Block): void {
  for (const operation of block.landings) {
    if (!operation.done)
      findAt(
        block.warps[0]!,
        -1,
        operation.site,
        "unfinished-async",
        "the block exits before this copy has landed; nothing waits for it",
      );
    finish(block.machine, operation);
  }
  checkLeftBytes(block);
  for (const w of block.warps) {
    for (const name of ["copies", "bulk", "wgmma"] as const) {
      const groups = w.async[name];
      const left = [
        ...groups.open.map((entry) => entry.operation),
        ...groups.committed.flatMap((group) => group.operations),
      ].filter((op) => !op.done);
      for (const operation of left) {
        if (!operation.needed()) continue;
        findAt(
          w,
          -1,
          operation.site,
          "unfinished-async",
          "the block exits while this operation may still read or write its memory; nothing waits for it",
        );
      }
      for (const operation of left) finish(block.machine, operation);
    }
  }
}
