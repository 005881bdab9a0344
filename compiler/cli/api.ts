/**
 * What the command line asks of the compiler: `main.ts` hands it `compiler/index.ts`, loaded when a command first
 * needs it, tests may hand it less.
 */
import type { Diagnostic } from "../diagnostics/diagnostic.ts";
import type { Artifact } from "../plan/plan.ts";
import type { Arena } from "../tensor/arena.ts";
import type { Graph } from "../tensor/ir.ts";
import type { DType } from "../types/dtype.ts";
import type { SourceHost } from "../check/files.ts";

export interface Source {
  /** Name as messages write it. */
  readonly file: string;
  readonly text: string;
}

export interface CheckRequest {
  readonly source: Source;
  readonly host: SourceHost;
}

export interface CompileRequest extends CheckRequest {
  /** `fn` or `Module.fn`; undefined for the file's last function. */
  readonly entry: string | undefined;
  /** `ptx:sm_90a`; undefined stops at the tensor graph, which is all that the reference needs. */
  readonly target: string | undefined;
  readonly dims: ReadonlyMap<string, number>;
  readonly dtypes: ReadonlyMap<string, DType>;
}

export interface Checked {
  readonly diagnostics: readonly Diagnostic[];
  /** Texts of all files that diagnostics may point into, by name. */
  readonly sources: ReadonlyMap<string, string>;
}

export interface TraceStep {
  /** `simplify`; the level's name for what a lowering made: `tensor`, `tile`, `kernel`, `emit`. */
  readonly pass: string;
  /** The program after it, in its textual form. */
  readonly text: () => string;
}

export interface Compiled extends Checked {
  readonly graph: { readonly arena: Arena; readonly graph: Graph } | undefined;
  readonly artifact: Artifact | undefined;
  readonly trace: readonly TraceStep[];
}

export type DiagnosticFormat = "text" | "json" | "sarif";

export interface CompilerApi {
  readonly version: string;
  check(request: CheckRequest): Checked;
  compile(request: CompileRequest): Compiled;
  /** The formatted text, undefined where the source does not parse. */
  format(source: Source): Checked & { readonly text: string | undefined };
  /** All diagnostics of a run as one text; `color` is for "text" alone. */
  render(checked: Checked, format: DiagnosticFormat, color: boolean): string;
  /** The page of a code such as `WF2012`; undefined for no code. */
  explain(code: string): string | undefined;
  /** Every code with its one-line title. */
  readonly codes: readonly { readonly code: string; readonly title: string }[];
}
