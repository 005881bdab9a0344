/** Collects findings, one for each kind and pair of instructions. */
import type { Finding, FindingCode, Side } from "../finding.ts";
import type { Machine } from "./machine.ts";
import type { Warp } from "./warp.ts";

export interface Draft {
  readonly code: FindingCode;
  readonly message: () => string;
  /** Machine-wide number of the instruction: kernel * 65536 + site. */
  readonly site: number;
  readonly at: () => Side;
  readonly otherSite?: number;
  readonly other?: (() => Side) | undefined;
  readonly details?: () => readonly string[];
}

/** More than this many are noise; the first ones matter. */
const limit = 100;

export function addFinding(machine: Machine, draft: Draft): void {
  const key = `${draft.code} ${draft.site} ${draft.otherSite ?? -1}`;
  if (machine.seen.has(key) || machine.findings.length >= limit) return;
  machine.seen.add(key);
  const finding: Finding = {
    code: draft.code,
    message: draft.message(),
    at: draft.at(),
    other: draft.other?.(),
    details: draft.details?.() ?? [],
    seed: machine.seed,
  };
  machine.findings.push(finding);
}

export function sideOfSite(machine: Machine, site: number, who: string): Side {
  const { instruction } = machine.grids[site >> 16]!.kernel.sites[site & 0xffff]!;
  return { ptxLine: instruction.line, instruction: instruction.text, source: instruction.source, who };
}

export function sideOfRecord(machine: Machine, id: number, lane: number): Side {
  const { journal } = machine;
  const agent = machine.agentNames.get(journal.realm[id]! * 65536 + journal.agent[id]!);
  const name = agent?.() ?? "an unknown agent";
  return sideOfSite(machine, journal.site[id]!, lane < 0 ? name : `${name} lane ${lane}`);
}

export function warpName(w: Warp): string {
  const grid = w.machine.grids.length > 1 ? `grid ${w.block.grid.number} ` : "";
  return `${grid}block (${w.block.index.join(",")}) warp ${w.index}`;
}

/** The lanes of a mask, as "lane 3" or "lanes 0-15,20". */
export function lanesText(mask: number): string {
  const ranges: string[] = [];
  for (let lane = 0; lane < 32; lane++) {
    if (!((mask >>> lane) & 1)) continue;
    let end = lane;
    while (end < 31 && (mask >>> (end + 1)) & 1) end++;
    ranges.push(end > lane ? `${lane}-${end}` : `${lane}`);
    lane = end;
  }
  return ranges.length === 1 && !ranges[0]!.includes("-")
    ? `lane ${ranges[0]!}`
    : `lanes ${ranges.join(",")}`;
}

/** A finding about what the lanes of `mask` did at a site of their kernel. */
export function findAt(
  w: Warp,
  mask: number,
  site: number,
  code: FindingCode,
  message: string,
  details: readonly string[] = [],
): void {
  const { machine } = w;
  const number = (w.block.grid.number << 16) | site;
  addFinding(machine, {
    code,
    message: () => message,
    site: number,
    at: () => sideOfSite(machine, number, `${warpName(w)} ${lanesText(mask)}`),
    details: () => details,
  });
}
