/**
 * When a rank may update the weights of each stage that it holds: after the entry that completes their gradient.
 *
 * A pipeline is one step and has no action that updates weights, so an executor updates a stage's once, at that entry at
 * the earliest. Every F, B and I of the stage reads them before: the gradient is complete when each micro-batch has
 * passed its B, or its I and then its W, and each has passed its F and its B or I before that, once. So the F and the B
 * of a micro-batch, and of any two, read one version.
 */
import { InternalError } from "../diagnostics/diagnostic.ts";
import { B, kindAt, type Schedule, W } from "./schedule.ts";

/** By `rank * lanes + lane`: the entry after which the stage's weights may be updated. For a schedule whose counts hold. */
export function updatesOf(s: Schedule): Int32Array {
  const size = s.ranks * s.lanes;
  const updates = new Int32Array(size).fill(-1);
  const read = new Int32Array(size).fill(-1);
  for (let rank = 0; rank < s.ranks; rank++)
    for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
      const held = rank * s.lanes + (s.lane[e] ?? 0);
      const kind = kindAt(s, e);
      if (kind === B || kind === W) updates[held] = e;
      if (kind !== W) read[held] = e;
    }
  if (read.some((entry, held) => entry > (updates[held] ?? -1)))
    throw new InternalError("weights are read after the last gradient of a schedule whose counts hold");
  return updates;
}
