/** Words for what `check.ts` finds: which kind of conflict it is, and who the two sides are. */
import type { FindingCode } from "../finding.ts";
import { wasAsync, wasWrite } from "./journal.ts";
import { addFinding, sideOfRecord } from "./findings.ts";
import type { Region } from "./region.ts";
import type { Warp } from "./warp.ts";

export type Conflict = "read" | "write" | "overwrite" | "proxy" | "uninitialised" | "mbarrier";

/** Where a word lies, in words: "shared memory at byte 1040 of block (0,0,0)". */
export function place(region: Region, offset: number): string {
  return `${region.name} at byte ${offset - region.low}`;
}

function classify(conflict: Conflict, mine: number, theirs: number): [FindingCode, string] {
  const asyncMine = (mine & wasAsync) !== 0;
  const asyncTheirs = (theirs & wasAsync) !== 0;
  switch (conflict) {
    case "uninitialised":
      return ["uninitialised-read", "reads bytes that were never written"];
    case "mbarrier":
      return ["mbarrier-misuse", "writes over an mbarrier object"];
    case "proxy":
      return [
        "missing-proxy-fence",
        "the async proxy touches bytes of a generic write with no fence.proxy.async between",
      ];
    case "read":
      return asyncTheirs && (theirs & wasWrite) !== 0
        ? ["read-before-arrival", "reads bytes of an asynchronous copy that no wait has covered"]
        : ["race", "reads what another thread wrote, with nothing that orders the two"];
    case "overwrite":
      return asyncMine || asyncTheirs
        ? ["refill-before-release", "writes over bytes whose reader has not been waited for"]
        : ["race", "writes over what another thread reads, with nothing that orders the two"];
    case "write":
      return asyncMine && asyncTheirs
        ? [
            "refill-before-release",
            "two asynchronous writes to the same bytes, with nothing that orders them",
          ]
        : ["race", "two writes to the same bytes, with nothing that orders them"];
  }
}

export function reportAccess(
  w: Warp,
  conflict: Conflict,
  region: Region,
  word: number,
  lane: number,
  record: number,
  other: number,
  otherLane: number,
): void {
  const { journal } = w.machine;
  const [code, message] = classify(conflict, journal.flags[record]!, other === 0 ? 0 : journal.flags[other]!);
  addFinding(w.machine, {
    code,
    message: () => `${message}: ${place(region, word * 4)}`,
    site: journal.site[record]!,
    at: () => sideOfRecord(w.machine, record, lane),
    otherSite: other === 0 ? -1 : journal.site[other]!,
    other: other === 0 ? undefined : () => sideOfRecord(w.machine, other, otherLane),
  });
}
