/**
 * The WF1 family: every mistake that the grammar knows, with what `weft explain` says about it.
 *
 * Messages are in the first person and use the reader's own words; the tables hold what is general, the
 * call site what is particular.
 */

import type { Span } from "./ast.ts";

export interface SyntaxError {
  readonly span: Span;
  readonly code: SyntaxErrorCode;
  readonly message: string;
  /** What to try, or undefined where nothing is likely. */
  readonly help: string | undefined;
}

export type SyntaxErrorCode = `WF1${number}`;

export interface SyntaxErrorPage {
  readonly title: string;
  readonly page: string;
}

/** After this many errors the rest are nearly always echoes. */
export const maxErrors = 100;
