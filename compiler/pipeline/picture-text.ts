/** A schedule as lines of text, rank by rank, up to where it stops: for a terminal, beside the reason. */
import { F, I, isJoined, kindAt, type Schedule, W } from "./schedule.ts";

const widest = 24;

/** `rank 0 | F0 F1 F2 | waits: B0`. Only the ranks and the last actions that fit a screen. */
export function stoppedPicture(s: Schedule, reached: Int32Array): string {
  const ranks = Math.min(s.ranks, 16);
  const lines: string[] = [];
  for (let rank = 0; rank < ranks; rank++) {
    const from = s.start[rank] ?? 0;
    const at = reached[rank] ?? 0;
    const end = s.start[rank + 1] ?? 0;
    const first = Math.max(from, at - widest);
    const before = units(s, first, at).join(" ");
    const next = at >= end ? "done" : `waits at ${units(s, at, isJoined(s, at) ? at + 2 : at + 1).join(" ")}`;
    lines.push(
      `rank ${String(rank).padStart(2)} | ${first > from ? ".. " : ""}${before}${before === "" ? "" : " "}| ${next}`,
    );
  }
  if (ranks < s.ranks) lines.push(`and ${s.ranks - ranks} more ranks`);
  return lines.join("\n");
}

function units(s: Schedule, from: number, to: number): string[] {
  const found: string[] = [];
  for (let e = from; e < to; e++) {
    if (isJoined(s, e) && e + 1 < to) found.push(`${label(s, e)}&${label(s, ++e)}`);
    else found.push(label(s, e));
  }
  return found;
}

function label(s: Schedule, entry: number): string {
  const kind = kindAt(s, entry);
  const direction = s.directionOf[s.lane[entry] ?? 0] ?? 0;
  const name = s.directions[direction]?.name ?? "";
  const which = s.directions.length > 1 ? `${name[0] ?? ""}` : "";
  return `${kind === F ? "F" : kind === I ? "I" : kind === W ? "W" : "B"}${which}${s.batch[entry] ?? 0}`;
}
