/** The one place that fills in a `Diagnostic`'s shape; the constructors beside it supply the words. */
import type { Diagnostic, Finding, Label, Place } from "./diagnostic.ts";

export interface Extra {
  readonly help?: string | undefined;
  /** What stands under the caret, after the message. */
  readonly label?: string;
  readonly more?: readonly Label[];
}

export function error(code: `WF${number}`, place: Place, message: string, extra: Extra = {}): Diagnostic {
  return diagnostic("error", code, place, message, extra);
}

/** An error about a name, with what is near to it where it is kept. */
export function nameError(
  code: `WF${number}`,
  place: Place,
  message: string,
  help: () => string | undefined,
): Finding {
  return { ...error(code, place, message), help };
}

export function warning(code: `WF${number}`, place: Place, message: string, extra: Extra = {}): Diagnostic {
  return diagnostic("warning", code, place, message, extra);
}

function diagnostic(
  severity: "error" | "warning",
  code: `WF${number}`,
  place: Place,
  message: string,
  extra: Extra,
): Diagnostic {
  const primary: Label = { place, text: extra.label ?? "" };
  return { code, severity, message, labels: [primary, ...(extra.more ?? [])], help: extra.help };
}

/** `a`, `a or b`, `a, b or c`. */
export function either(names: readonly string[]): string {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} or ${last}`;
}

/** `1 axis`, `3 axes`. */
export function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}
