/** Diagnostics for machines: one JSON object each, lines and columns from 1, offsets in UTF-16 units. */
import type { Diagnostic, Place } from "./diagnostic.ts";
import { inSourceOrder, type Position, positions } from "./position.ts";

export interface JsonPlace {
  readonly file: string;
  readonly start: Position & { readonly offset: number };
  /** The place after the last character. */
  readonly end: Position & { readonly offset: number };
}

export interface JsonDiagnostic {
  readonly code: string;
  readonly severity: "error" | "warning";
  readonly message: string;
  readonly file: string;
  readonly range: Omit<JsonPlace, "file">;
  readonly label: string;
  readonly related: readonly (JsonPlace & { readonly message: string })[];
  readonly help: string | null;
}

export function toJson(
  diagnostics: readonly Diagnostic[],
  sources: ReadonlyMap<string, string>,
): JsonDiagnostic[] {
  const where = positions(sources);
  const place = ({ file, start, end }: Place): JsonPlace => ({
    file,
    start: { ...where.of(file, start), offset: start },
    end: { ...where.of(file, end), offset: end },
  });
  return inSourceOrder(diagnostics).map(({ code, severity, message, labels: [primary, ...more], help }) => {
    const { file, start, end } = place(primary.place);
    return {
      code,
      severity,
      message,
      file,
      range: { start, end },
      label: primary.text,
      related: more.map((label) => ({ ...place(label.place), message: label.text })),
      help: help ?? null,
    };
  });
}
