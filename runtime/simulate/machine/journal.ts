/**
 * The access records that shadow entries name: who, when, which instruction, and how.
 *
 * A record stands for one instruction of one agent at one time; while the agent's time stands still (no release
 * between), a loop makes no new ones.
 */
import { SimulateError } from "../finding.ts";

/** In flight from its issue until something waits for it. */
export const wasAsync = 1;
export const wasWrite = 2;
/** Volatile, relaxed, acquire, release or atomic: does not race with its like of a wide enough scope (PTX ISA 8.7.1). */
export const wasStrong = 4;
/** Scope of a strong access, in bits 3 and 4: 0 block, 1 cluster, 2 device, 3 system. */
export const scopeShift = 3;
/** Made through the async proxy: bulk copies and wgmma, but not `cp.async` (PTX ISA 8.6). */
export const wasAsyncProxy = 32;

export interface Journal {
  count: number;
  /** Records below this belong to an earlier launch, which is ordered before all of this one. */
  first: number;
  realm: Int32Array;
  agent: Int32Array;
  time: Int32Array;
  /** Instruction: kernel number * 65536 + site. */
  site: Int32Array;
  flags: Uint8Array;
}

export function makeJournal(): Journal {
  const room = 1 << 12;
  const ints = (): Int32Array => new Int32Array(room);
  return {
    count: 1,
    first: 1,
    realm: ints(),
    agent: ints(),
    time: ints(),
    site: ints(),
    flags: new Uint8Array(room),
  };
}

function grow(journal: Journal): void {
  const double = (old: Int32Array): Int32Array => {
    const next = new Int32Array(old.length * 2);
    next.set(old);
    return next;
  };
  journal.realm = double(journal.realm);
  journal.agent = double(journal.agent);
  journal.time = double(journal.time);
  journal.site = double(journal.site);
  const flags = new Uint8Array(journal.flags.length * 2);
  flags.set(journal.flags);
  journal.flags = flags;
}

export interface Access {
  readonly realm: number;
  readonly agent: number;
  readonly time: number;
  readonly site: number;
  readonly flags: number;
}

/** Is record `id` about this very access? */
export function sameAccess(journal: Journal, id: number, access: Access): boolean {
  return (
    id >= journal.first &&
    journal.time[id] === access.time &&
    journal.site[id] === access.site &&
    journal.agent[id] === access.agent &&
    journal.realm[id] === access.realm
  );
}

/** Records that a shadow entry has bits for. */
const mostRecords = (1 << 26) - 1;

export function append(journal: Journal, access: Access): number {
  if (journal.count === mostRecords) {
    throw new SimulateError(
      `more than ${mostRecords} accesses to memory to check; launch with memoryChecks: false`,
    );
  }
  if (journal.count === journal.realm.length) grow(journal);
  const id = journal.count++;
  journal.realm[id] = access.realm;
  journal.agent[id] = access.agent;
  journal.time[id] = access.time;
  journal.site[id] = access.site;
  journal.flags[id] = access.flags;
  return id;
}
