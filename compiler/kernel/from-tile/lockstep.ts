/** Channels that a team goes through in step: one cursor serves them all. */
import type { Channel, TileOp } from "../../tile/ir.ts";
import { bodiesOf } from "../../tile/walk.ts";

export type Use = "fill" | "take" | "release";

/**
 * Of each channel the one whose cursor it follows: wherever the one is used the other is too, later in the same list of
 * ops, and they have equally many slots.
 */
export function leadersOf(ops: readonly TileOp[], use: Use): ReadonlyMap<Channel, Channel> {
  // Of each channel the lists where it is used, and its place in each.
  const uses = new Map<Channel, { readonly list: readonly TileOp[]; readonly at: number }[]>();
  const free = new Set<Channel>();
  const visit = (list: readonly TileOp[]): void => {
    for (const [at, op] of list.entries()) {
      if ((op.kind === "fill" || op.kind === "take" || op.kind === "release") && op.kind === use) {
        uses.set(op.channel, [...(uses.get(op.channel) ?? []), { list, at }]);
        // What is perhaps not done moves no other cursor.
        if (op.kind === "release" && op.where !== undefined) free.add(op.channel);
      }
      bodiesOf(op).forEach(visit);
    }
  };
  visit(ops);
  const leaders = new Map<Channel, Channel>();
  for (const [channel, own] of uses) {
    const leader = [...uses].find(
      ([other, places]) =>
        other !== channel &&
        !leaders.has(other) &&
        other.depth === channel.depth &&
        !free.has(other) &&
        !free.has(channel) &&
        places.length === own.length &&
        places.every(({ list, at }, k) => list === own[k]?.list && at < own[k].at),
    );
    if (leader !== undefined) leaders.set(channel, leader[0]);
  }
  return leaders;
}
