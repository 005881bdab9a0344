/**
 * Synchronisation through memory (PTX ISA 8.8): a release store or a relaxed one after a fence leaves what its
 * thread knows at the address; an acquire load, or a relaxed one before a fence, takes it up.
 */
import { copyVector, join, makeVector } from "./clocks.ts";
import type { Region } from "./region.ts";
import { acquire, snapshot } from "./sync.ts";
import type { Published } from "./machine.ts";
import type { Warp } from "./warp.ts";

export interface Order {
  /** "weak", "relaxed", "acquire", "release", "acq_rel" or "volatile". */
  readonly sem: string;
  /** 0 block, 1 cluster, 2 device, 3 system. */
  readonly scope: number;
}

function tableOf(w: Warp, region: Region): Map<number, Published> {
  const old = w.machine.published.get(region);
  if (old !== undefined) return old;
  const table = new Map<number, Published>();
  w.machine.published.set(region, table);
  return table;
}

/** After a strong store or atomic. An atomic goes on with what the address held: it is part of the release sequence. */
export function publish(
  w: Warp,
  lane: number,
  region: Region,
  offset: number,
  order: Order,
  atomic: boolean,
): void {
  if (order.sem === "weak") return;
  const releases = order.sem === "release" || order.sem === "acq_rel";
  const table = tableOf(w, region);
  const old = atomic ? table.get(offset) : undefined;
  const source = releases ? snapshot(w, 1 << lane) : w.fenced?.vector;
  if (source === undefined) {
    if (!atomic) table.delete(offset);
    return;
  }
  const vector = old === undefined ? makeVector(w.vector.realm) : copyVector(old.vector);
  join(vector, source);
  const scope = releases ? order.scope : Math.min(order.scope, w.fenced!.scope);
  table.set(offset, { vector, scope: old === undefined ? scope : Math.min(scope, old.scope) });
}

/** After a strong load or atomic. */
export function observe(w: Warp, region: Region, offset: number, order: Order): void {
  if (order.sem === "weak") return;
  const published = w.machine.published.get(region)?.get(offset);
  if (published === undefined || !reaches(w, published, order.scope)) return;
  if (order.sem === "acquire" || order.sem === "acq_rel") acquire(w, published.vector);
  else {
    w.seen ??= makeVector(w.vector.realm);
    join(w.seen, published.vector);
  }
}

/** Both scopes must include the other side: one realm is one cluster, and a device has many. */
function reaches(w: Warp, { vector, scope }: Published, mine: number): boolean {
  const narrow = Math.min(scope, mine);
  if (vector.realm === w.vector.realm) return true;
  const { realmDevice } = w.machine;
  return realmDevice[vector.realm.id] === realmDevice[w.vector.realm.id] ? narrow >= 2 : narrow >= 3;
}
