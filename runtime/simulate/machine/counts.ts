/** Counts of a run: bytes by space, bank conflicts of shared memory, sectors of global memory. */
import type { Warp } from "./warp.ts";

export interface Counts {
  /** "global read", "shared written" ... in bytes. */
  readonly bytes: Map<string, number>;
  /** Warp accesses to shared memory, and the extra passes that bank conflicts cost them. */
  sharedAccesses: number;
  bankConflicts: number;
  /** Warp accesses to global memory, the 32-byte sectors they touched, and how few would have held the bytes. */
  globalAccesses: number;
  sectors: number;
  leastSectors: number;
}

export function makeCounts(): Counts {
  return {
    bytes: new Map(),
    sharedAccesses: 0,
    bankConflicts: 0,
    globalAccesses: 0,
    sectors: 0,
    leastSectors: 0,
  };
}

export function countBytes(counts: Counts, name: string, bytes: number): void {
  counts.bytes.set(name, (counts.bytes.get(name) ?? 0) + bytes);
}

const lanesOf = (mask: number): number => {
  let n = 0;
  for (let m = mask; m !== 0; m &= m - 1) n++;
  return n;
};

/** One warp access of `bytes` a lane, whose addresses are in `w.lo`. */
export function countAccess(
  w: Warp,
  space: string,
  mask: number,
  bytes: number,
  how: "read" | "written",
): void {
  const { counts } = w.machine;
  const lanes = lanesOf(mask);
  countBytes(counts, `${space} ${how}`, lanes * bytes);
  if (space === "shared") {
    counts.sharedAccesses++;
    counts.bankConflicts += extraPasses(w, mask, bytes);
  } else if (space === "global") {
    counts.globalAccesses++;
    counts.sectors += sectorsOf(w, mask, bytes);
    counts.leastSectors += Math.ceil((lanes * bytes) / 32);
  }
}

const bankWords: Set<number>[] = Array.from({ length: 32 }, () => new Set<number>());
const bankUse = new Int32Array(32);
const bankFirst = new Float64Array(32);

/** Passes beyond the fewest: 32 banks of 4 bytes; 8- and 16-byte accesses go in halves and quarters of a warp. */
function extraPasses(w: Warp, mask: number, bytes: number): number {
  const group = bytes <= 4 ? 32 : bytes === 8 ? 16 : 8;
  let extra = 0;
  for (let start = 0; start < 32; start += group) extra += passes(w, mask, start, group, bytes);
  return extra;
}

function passes(w: Warp, mask: number, start: number, group: number, bytes: number): number {
  bankUse.fill(0);
  let most = 1;
  for (let l = start; l < start + group; l++) {
    if (!((mask >>> l) & 1)) continue;
    const first = w.lo[l]! >>> 2;
    for (let word = first; word << 2 < w.lo[l]! + bytes && word < first + 4; word++) {
      const bank = word & 31;
      // The same word serves all its readers at once.
      if (bankUse[bank] === 0) {
        bankFirst[bank] = word;
        bankUse[bank] = 1;
      } else if (bankFirst[bank] !== word) {
        const words = bankWords[bank]!;
        if (bankUse[bank] === 1) {
          words.clear();
          words.add(bankFirst[bank]!);
        }
        words.add(word);
        bankUse[bank] = words.size;
        if (words.size > most) most = words.size;
      }
    }
  }
  return most - 1;
}

const sectorSet = new Set<number>();

function sectorsOf(w: Warp, mask: number, bytes: number): number {
  let last = -1;
  let count = 0;
  let sorted = true;
  for (let l = 0; l < 32 && sorted; l++) {
    if (!((mask >>> l) & 1)) continue;
    const sector = w.lo[l]! >>> 5;
    if (sector < last) sorted = false;
    const end = (w.lo[l]! + bytes - 1) >>> 5;
    for (let s = Math.max(sector, last + 1); s <= end; s++) count++;
    if (end > last) last = end;
  }
  if (sorted) return count;
  sectorSet.clear();
  for (let l = 0; l < 32; l++) {
    if (!((mask >>> l) & 1)) continue;
    for (let s = w.lo[l]! >>> 5; s <= (w.lo[l]! + bytes - 1) >>> 5; s++) sectorSet.add(s);
  }
  return sectorSet.size;
}
