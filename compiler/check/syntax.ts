/** WF1: what the grammar reports, as diagnostics. The words are the grammar's own. */
import type { SyntaxError } from "../../grammar/errors.ts";
import { error } from "../diagnostics/build.ts";
import type { Diagnostic } from "../diagnostics/diagnostic.ts";

export function syntaxDiagnostic(file: string, { code, span, message, help }: SyntaxError): Diagnostic {
  return error(code, { file, ...span }, message, { help });
}
