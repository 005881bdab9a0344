/**
 * What the simulator says: errors of the text (thrown) and findings of a run (collected).
 *
 * A `SimulateError` means that the module or the launch cannot be simulated at all; a `Finding` is something
 * wrong with what the kernel did. Both carry the PTX line, and the .dsl line where `.loc` gave one.
 */

/** A position in the source that `.loc` names. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Why a module or a launch was refused. */
export class SimulateError extends Error {
  readonly line: number | undefined;
  constructor(message: string, line?: number) {
    super(line === undefined ? message : `PTX line ${line}: ${message}`);
    this.name = "SimulateError";
    this.line = line;
  }
}

/** What is wrong, one name a kind of mistake; the list is closed so that a test can ask for each. */
export type FindingCode =
  | "race"
  | "missing-proxy-fence"
  | "read-before-arrival"
  | "refill-before-release"
  | "uninitialised-read"
  | "out-of-bounds"
  | "misaligned"
  | "deadlock"
  | "livelock"
  | "divergent-instruction"
  | "barrier-misuse"
  | "mbarrier-misuse"
  | "transaction-mismatch"
  | "unfinished-async"
  | "wgmma-register-hazard"
  | "wgmma-missing-fence"
  | "wgmma-misuse"
  | "descriptor"
  | "tensor-copy"
  | "cluster-misuse"
  | "register-budget"
  | "shared-budget"
  | "write-to-constant"
  | "trap"
  | "step-limit";

/** One side of a finding: where in the text, and which threads. */
export interface Side {
  /** Line of the PTX text, from 1. */
  readonly ptxLine: number;
  readonly instruction: string;
  readonly source: SourceLine | undefined;
  /** Such as "block (1,0,0) warp 2 lane 5", or "bulk copy issued by block (0,0,0) warp 0 lane 0". */
  readonly who: string;
}

export interface Finding {
  readonly code: FindingCode;
  readonly message: string;
  readonly at: Side;
  readonly other: Side | undefined;
  /** Further lines, such as who waits for what. */
  readonly details: readonly string[];
  readonly seed: number;
}

function renderSource(source: SourceLine | undefined): string {
  return source === undefined ? "" : ` (${source.file}:${source.line}:${source.column})`;
}

function renderSide(side: Side): string {
  return `  PTX line ${side.ptxLine}${renderSource(side.source)}: ${side.instruction}\n    by ${side.who}`;
}

/** A finding as text, both sides of the conflict and the seed that shows it included. */
export function renderFinding(finding: Finding): string {
  const lines = [`${finding.code}: ${finding.message}`, renderSide(finding.at)];
  if (finding.other !== undefined) lines.push(" against", renderSide(finding.other));
  for (const detail of finding.details) lines.push(`  ${detail}`);
  lines.push(`  seed ${finding.seed}`);
  return lines.join("\n");
}
