/**
 * What the command line asks of the compiler: `main.ts` hands it `compiler/index.ts`, loaded when a command first
 * needs it, tests may hand it less.
 */
import type { TypedProgram } from "../check/typed.ts";
import type { Checked, CheckRequest, Compiled, CompileRequest, Source } from "../compile.ts";

export type { Checked, CheckRequest, Compiled, CompileRequest, Source } from "../compile.ts";

export type DiagnosticFormat = "text" | "json" | "sarif";

export interface CompilerApi {
  readonly version: string;
  check(request: CheckRequest): Checked & { readonly program: TypedProgram | undefined };
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
