/**
 * Checks each access to memory against its shadow and enters it there: races between threads and proxies, bytes
 * that hold no value, words that belong to an mbarrier.
 *
 * An access is made by a warp or on its behalf: an asynchronous one has a record of its own agent, but what is
 * ordered before it is what its issuer knew. It is entered when it is issued, since from then on it may happen.
 */
import { isReleased, knows, knowsProxied } from "./clocks.ts";
import { reportAccess } from "./conflict.ts";
import { scopeShift, wasAsyncProxy, wasStrong, type Journal } from "./journal.ts";
import { shadowOf, stateBarrier, stateInitialised, type Region, type Shadow } from "./region.ts";
import type { Warp } from "./warp.ts";

/** In a write mask: more than one lane of the instruction wrote parts of the word. */
const manyLanes = 0x80;

/** Is the access of a record ordered before what lane `lane` does now? A lane of -1 stands for all, or for none alone. */
function ordered(
  w: Warp,
  journal: Journal,
  id: number,
  entryLane: number,
  lane: number,
  read: boolean,
): boolean {
  const agent = journal.agent[id]!;
  const realm = journal.realm[id]!;
  const time = journal.time[id]!;
  if (agent === w.agent && realm === w.vector.realm.id) {
    if (entryLane === lane || lane < 0 || time <= w.selfKnown) return true;
    if (w.laneSync[lane]! > time && w.laneSync[entryLane]! > time) return true;
    return read && w.laneRead[lane]! > time && w.laneRead[entryLane]! > time;
  }
  if (!knows(w.vector, realm, agent, time)) return false;
  if (lane < 0) return true;
  if (realm !== w.vector.realm.id) {
    return isReleased(
      w.machine.realms[realm]!,
      agent,
      entryLane,
      time,
      w.vector.foreign!.get(realm)!.known[agent]!,
      read,
    );
  }
  if (agent === w.async.copies.agent)
    return lane === entryLane || haveMet(w, lane, w.async.copies.waits.get(time) ?? 0);
  return isReleased(w.vector.realm, agent, entryLane, time, w.vector.known[agent]!, read);
}

/** A wait for `cp.async` counts for its own lane; the others must meet that lane after it. */
function haveMet(w: Warp, lane: number, time: number): boolean {
  return time <= w.selfKnown || w.laneSync[lane]! > time;
}

/** A generic write by the issuing warp itself reaches the async proxy once its own lane has fenced. */
function proxied(w: Warp, journal: Journal, id: number, entryLane: number, many: boolean): boolean {
  const agent = journal.agent[id]!;
  const realm = journal.realm[id]!;
  const time = journal.time[id]!;
  if (!knowsProxied(w.vector, realm, agent, time)) return false;
  if (many) return true;
  const fences = w.machine.partialFences.get(realm * 65536 + agent);
  if (fences === undefined) return true;
  let covered = false;
  let partial = false;
  for (const fence of fences) {
    if (fence.time < time) continue;
    partial = true;
    if ((fence.mask >>> entryLane) & 1) covered = true;
  }
  return covered || !partial;
}

/** Is the access of a record, by a lane, ordered before what lane `lane` does now? */
export function isOrdered(w: Warp, record: number, recordLane: number, lane: number): boolean {
  return ordered(w, w.machine.journal, record, recordLane, lane, false);
}

export function isProxied(w: Warp, record: number, recordLane: number): boolean {
  return proxied(w, w.machine.journal, record, recordLane, false);
}

/** Strong accesses of scopes that include each other do not race. */
function morallyStrong(w: Warp, journal: Journal, id: number, flags: number): boolean {
  const other = journal.flags[id]!;
  if (!(flags & other & wasStrong)) return false;
  const scope = Math.min((flags >> scopeShift) & 3, (other >> scopeShift) & 3);
  const realm = journal.realm[id]!;
  if (realm === w.vector.realm.id) return true;
  return w.machine.realmDevice[realm] === w.machine.realmDevice[w.vector.realm.id] ? scope >= 2 : scope >= 3;
}

function maskOf(word: number, offset: number, end: number): number {
  const start = offset - (word << 2);
  const stop = end - (word << 2);
  const from = start > 0 ? start : 0;
  return ((1 << (stop < 4 ? stop : 4)) - 1) & ~((1 << from) - 1);
}

function noteRead(
  shadow: Shadow,
  journal: Journal,
  word: number,
  mask: number,
  entry: number,
  agent: number,
  realm: number,
): void {
  const old = shadow.read[word]!;
  if (old === entry) {
    shadow.readMask[word] = shadow.readMask[word]! | mask;
    return;
  }
  const id = old >>> 5;
  const same = id >= journal.first && journal.agent[id] === agent && journal.realm[id] === realm;
  if (!same) {
    shadow.otherRead[word] = old;
    shadow.otherReadMask[word] = shadow.readMask[word]!;
    shadow.readMask[word] = mask;
  } else shadow.readMask[word] = shadow.readMask[word]! | mask;
  shadow.read[word] = entry;
}

/** `record` describes the reader; `flags` are the record's. */
export function checkRead(
  w: Warp,
  region: Region,
  offset: number,
  bytes: number,
  lane: number,
  record: number,
  flags: number,
): void {
  const shadow = region.shadow ?? shadowOf(region);
  const { journal } = w.machine;
  const end = offset + bytes;
  const entry = (record << 5) | (lane & 31);
  const agent = journal.agent[record]!;
  const realm = journal.realm[record]!;
  for (let word = offset >> 2; word << 2 < end; word++) {
    const mask = maskOf(word, offset, end);
    if ((shadow.state[word]! & mask) !== mask)
      reportAccess(w, "uninitialised", region, word, lane, record, 0, -1);
    const write = shadow.write[word]!;
    const id = write >>> 5;
    if (id >= journal.first && shadow.writeMask[word]! & mask && id !== record) {
      const many = (shadow.writeMask[word]! & manyLanes) !== 0;
      if (!ordered(w, journal, id, write & 31, many ? -1 : lane, false)) {
        if (!morallyStrong(w, journal, id, flags))
          reportAccess(w, "read", region, word, lane, record, id, write & 31);
      } else if (
        flags & wasAsyncProxy &&
        !(journal.flags[id]! & wasAsyncProxy) &&
        !proxied(w, journal, id, write & 31, many)
      ) {
        reportAccess(w, "proxy", region, word, lane, record, id, write & 31);
      }
    } else if (
      id === record &&
      (write & 31) !== lane &&
      lane >= 0 &&
      shadow.writeMask[word]! & mask &&
      !(shadow.writeMask[word]! & manyLanes)
    ) {
      if (!(flags & wasStrong)) reportAccess(w, "read", region, word, lane, record, id, write & 31);
    }
    noteRead(shadow, journal, word, mask, entry, agent, realm);
  }
}

function checkEarlierRead(
  w: Warp,
  region: Region,
  word: number,
  lane: number,
  record: number,
  flags: number,
  read: number,
): void {
  const { journal } = w.machine;
  const id = read >>> 5;
  if (id < journal.first || id === record) return;
  if (ordered(w, journal, id, read & 31, lane, true) || morallyStrong(w, journal, id, flags)) return;
  reportAccess(w, "overwrite", region, word, lane, record, id, read & 31);
}

export function checkWrite(
  w: Warp,
  region: Region,
  offset: number,
  bytes: number,
  lane: number,
  record: number,
  flags: number,
): void {
  const shadow = region.shadow ?? shadowOf(region);
  const { journal } = w.machine;
  const end = offset + bytes;
  const entry = (record << 5) | (lane & 31);
  for (let word = offset >> 2; word << 2 < end; word++) {
    const mask = maskOf(word, offset, end);
    const write = shadow.write[word]!;
    const id = write >>> 5;
    let merged = mask;
    if (shadow.state[word]! & stateBarrier) reportAccess(w, "mbarrier", region, word, lane, record, 0, -1);
    if (id >= journal.first) {
      const old = shadow.writeMask[word]!;
      if (id === record) merged = old | mask | ((write & 31) === lane ? 0 : manyLanes);
      else if (old & mask) {
        const many = (old & manyLanes) !== 0;
        if (!ordered(w, journal, id, write & 31, many ? -1 : lane, false)) {
          if (!morallyStrong(w, journal, id, flags))
            reportAccess(w, "write", region, word, lane, record, id, write & 31);
        } else if (
          flags & wasAsyncProxy &&
          !(journal.flags[id]! & wasAsyncProxy) &&
          !proxied(w, journal, id, write & 31, many)
        ) {
          reportAccess(w, "proxy", region, word, lane, record, id, write & 31);
        }
      }
    }
    if (shadow.readMask[word]! & mask)
      checkEarlierRead(w, region, word, lane, record, flags, shadow.read[word]!);
    if (shadow.otherReadMask[word]! & mask)
      checkEarlierRead(w, region, word, lane, record, flags, shadow.otherRead[word]!);
    shadow.write[word] = entry;
    shadow.writeMask[word] = merged;
    shadow.readMask[word] = 0;
    shadow.otherReadMask[word] = 0;
    // Bytes of an asynchronous write have their value only when it lands, but reading them before is reported as a race.
    shadow.state[word] = shadow.state[word]! | (mask & stateInitialised);
  }
}
