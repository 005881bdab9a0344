/** The end of a lowering that cannot go on: thrown with its diagnostic, caught by `lowerFunction` and nowhere else. */
import type { Diagnostic } from "../diagnostics/diagnostic.ts";

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly diagnostic: Diagnostic;

  constructor(diagnostic: Diagnostic) {
    super(diagnostic.message);
    this.diagnostic = diagnostic;
  }
}
