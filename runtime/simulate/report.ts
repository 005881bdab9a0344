/** The report of a launch: findings and counts, plain enough to be written as JSON. */
import type { Finding } from "./finding.ts";
import type { Machine } from "./machine/machine.ts";
import type { Deviation } from "./machine/schedule.ts";

export interface Report {
  readonly findings: readonly Finding[];
  readonly seed: number;
  /** The choices other than the plain one that the scheduler made. */
  readonly schedule: readonly Deviation[];
  readonly counts: ReportCounts;
}

export interface ReportCounts {
  /** Instructions times the lanes that executed them. */
  readonly threadInstructions: number;
  readonly warpInstructions: number;
  /** Thread-instructions by opcode without its modifiers, such as "ld.global" or "wgmma.mma_async". */
  readonly instructions: Readonly<Record<string, number>>;
  /** Bytes by "space read" and "space written". */
  readonly bytes: Readonly<Record<string, number>>;
  /** Passes beyond one that accesses to shared memory took for bank conflicts, and the accesses of warps. */
  readonly bankConflicts: number;
  readonly sharedAccesses: number;
  /** 32-byte sectors that global accesses touched, and the fewest that would hold their bytes. */
  readonly sectors: number;
  readonly leastSectors: number;
  readonly globalAccesses: number;
  /** 32-bit registers live at once in a thread, by kernel: an estimate of what ptxas allocates. */
  readonly liveRegisters: Readonly<Record<string, number>>;
  /** Static and dynamic shared memory of a block, by kernel. */
  readonly sharedBytes: Readonly<Record<string, number>>;
}

const spaces = new Set(["global", "shared", "local", "param", "const", "shared::cluster", "shared::cta"]);

/** The head of an opcode, with its space for loads and stores. */
export function kindOfOpcode(parts: readonly string[]): string {
  const head = parts[0]!;
  if (["ld", "st", "atom", "red"].includes(head)) {
    const space = parts.find((part) => spaces.has(part));
    return space === undefined ? head : `${head}.${space}`;
  }
  if (head === "cp")
    return parts
      .slice(0, parts.includes("tensor") ? 4 : 3)
      .filter((part) => !part.includes("::"))
      .join(".");
  return ["mma", "wgmma", "mbarrier", "bar", "barrier", "fence", "shfl", "vote"].includes(head)
    ? parts.slice(0, 2).join(".")
    : head;
}

export function report(machine: Machine): Report {
  const instructions = new Map<string, number>();
  let threads = 0;
  let warps = 0;
  for (const grid of machine.grids) {
    grid.kernel.segments.forEach((segment, i) => {
      const lanes = grid.lanes[i]!;
      if (lanes === 0) return;
      const sites = [...segment.sites];
      if (segment.end.kind !== "next" && segment.end.site !== undefined) sites.push(segment.end.site);
      for (const site of sites) {
        const kind = kindOfOpcode(site.instruction.parts);
        instructions.set(kind, (instructions.get(kind) ?? 0) + lanes);
      }
      threads += sites.length * lanes;
      warps += sites.length * grid.runs[i]!;
    });
  }
  const { counts } = machine;
  return {
    findings: machine.findings,
    seed: machine.seed,
    schedule: machine.schedule.deviations,
    counts: {
      threadInstructions: threads,
      warpInstructions: warps,
      instructions: Object.fromEntries([...instructions].sort((a, b) => b[1] - a[1])),
      bytes: Object.fromEntries([...counts.bytes].sort()),
      bankConflicts: counts.bankConflicts,
      sharedAccesses: counts.sharedAccesses,
      sectors: counts.sectors,
      leastSectors: counts.leastSectors,
      globalAccesses: counts.globalAccesses,
      liveRegisters: Object.fromEntries(
        machine.grids.map((grid) => [grid.kernel.name, grid.kernel.liveRegisters]),
      ),
      sharedBytes: Object.fromEntries(
        machine.grids.map((grid) => [grid.kernel.name, grid.kernel.sharedBytes + grid.dynamicShared]),
      ),
    },
  };
}
