/**
 * What the compiler says to its user: data, with one constructor a code in this folder's other files.
 *
 * A user's mistake is a `Diagnostic`; a mistake of ours is an `InternalError`; nothing else is thrown.
 */

/** Half-open range of UTF-16 offsets in one file. */
export interface Place {
  /** The file's name as the host knows it. */
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

export interface Label {
  readonly place: Place;
  readonly text: string;
}

export type Severity = "error" | "warning";

export interface Diagnostic {
  /** `WF` and four digits; the first digit is the family: 1 syntax, 2 names, dims and types, 3 numerics, 4 fusion and schedule, 5 pipelines, 6 target and run time. */
  readonly code: `WF${number}`;
  readonly severity: Severity;
  /** What is wrong, in one sentence, with the user's own names. */
  readonly message: string;
  /** Primary first. */
  readonly labels: readonly [Label, ...Label[]];
  /** What to try, or undefined where nothing is likely. */
  readonly help: string | undefined;
}

/** A diagnostic whose help is looked for when it is kept: names that are near take time, and a report is soon full. */
export interface Finding extends Omit<Diagnostic, "help"> {
  readonly help: string | undefined | (() => string | undefined);
}

/** Collects diagnostics of one compilation. */
export interface Report {
  /** Keeps the first `maxErrors` errors. Help that is a function is called now, or never. */
  add(finding: Finding): void;
  readonly diagnostics: readonly Diagnostic[];
  /** True once an error (not a warning) was added. */
  readonly failed: boolean;
  /** True once it keeps no more: what would only be reported need not be looked for. */
  readonly isFull: boolean;
}

/** After this many errors a report keeps no more: the rest are nearly always echoes. */
export const maxErrors = 100;

export function createReport(): Report {
  const diagnostics: Diagnostic[] = [];
  let errors = 0;
  return {
    add(finding: Finding): void {
      if (errors >= maxErrors) return;
      if (finding.severity === "error") errors += 1;
      const { help } = finding;
      diagnostics.push({ ...finding, help: typeof help === "function" ? help() : help });
    },
    diagnostics,
    get failed(): boolean {
      return errors > 0;
    },
    get isFull(): boolean {
      return errors >= maxErrors;
    },
  };
}

/** A broken promise inside the compiler: always a bug of ours. */
export class InternalError extends Error {
  override readonly name = "InternalError";
}

export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InternalError(message);
}

export function unreachable(value: never): never {
  throw new InternalError(`unreachable: ${JSON.stringify(value)}`);
}
