/** A schedule that stops, drawn up to there. */
import { ganttSvg } from "./gantt.ts";
import { type Schedule } from "./schedule.ts";
import { simulate } from "./simulate.ts";

/** Only what was performed: each rank's list is cut where it stops, and what is left completes. */
export function stoppedSvg(s: Schedule, reached: Int32Array, title: string): string {
  const size = s.ranks + 1;
  const start = new Int32Array(size);
  for (let rank = 0; rank < s.ranks; rank++)
    start[rank + 1] = (start[rank] ?? 0) + (reached[rank] ?? 0) - (s.start[rank] ?? 0);
  const total = start[s.ranks] ?? 0;
  const cut = {
    kind: new Uint8Array(total),
    lane: new Uint8Array(total),
    batch: new Int32Array(total),
    site: new Uint16Array(total),
  };
  for (let rank = 0; rank < s.ranks; rank++) {
    const [from, to] = [s.start[rank] ?? 0, reached[rank] ?? 0];
    for (const key of ["kind", "lane", "batch", "site"] as const)
      cut[key].set(s[key].subarray(from, to), start[rank] ?? 0);
  }
  return ganttSvg([{ simulation: simulate({ ...s, ...cut, start }), options: { title } }]);
}
