/**
 * Diagnostics as SARIF 2.1.0 for code scanners. A scanner refuses a file beyond its limits, so what is too much
 * is left out and counted in a notification.
 */
import type { Diagnostic, Label } from "./diagnostic.ts";
import { pages } from "./pages.ts";
import { inSourceOrder, positions } from "./position.ts";

export interface SarifTool {
  readonly version: string;
}

/** What a code scanner takes in one run. */
export const sarifLimits = { results: 25_000, related: 1_000 } as const;

export function toSarif(
  diagnostics: readonly Diagnostic[],
  sources: ReadonlyMap<string, string>,
  tool: SarifTool,
): object {
  const where = positions(sources);
  const shown = inSourceOrder(diagnostics).slice(0, sarifLimits.results);
  const codes = [...new Set(shown.map(({ code }) => code))].sort();
  const seen = new Map<string, number>();
  const location = ({ place, text }: Label): object => {
    const [start, end] = [
      where.of(place.file, place.start),
      where.of(place.file, Math.max(place.end, place.start)),
    ];
    return {
      physicalLocation: {
        artifactLocation: { uri: uriOf(place.file) },
        region: {
          startLine: start.line,
          startColumn: start.column,
          endLine: end.line,
          endColumn: end.column,
        },
      },
      ...(text === "" ? {} : { message: { text } }),
    };
  };
  const results = shown.map((diagnostic) => {
    const { code, severity, message, labels, help } = diagnostic;
    const [primary, ...more] = labels;
    const line = where.of(primary.place.file, primary.place.start).line;
    // The same mistake on a line that moved keeps its fingerprint; a second one in the file gets its own.
    const base = `${code}:${primary.place.file}:${where.line(primary.place.file, line).trim()}`;
    const number = (seen.get(base) ?? 0) + 1;
    seen.set(base, number);
    return {
      ruleId: code,
      ruleIndex: codes.indexOf(code),
      level: severity,
      message: { text: help === undefined ? message : `${message}\nhelp: ${help}` },
      locations: [location(primary)],
      ...(more.length === 0
        ? {}
        : {
            relatedLocations: more
              .slice(0, sarifLimits.related)
              .map((label, id) => ({ id, ...location(label) })),
          }),
      partialFingerprints: { "weft/v1": `${hash(base)}:${number}` },
    };
  });
  const dropped = diagnostics.length - shown.length;
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "weft",
            version: tool.version,
            rules: codes.map((id) => ({
              id,
              shortDescription: { text: pages[id]?.title ?? id },
              fullDescription: { text: pages[id]?.page ?? id },
              defaultConfiguration: { level: "error" },
            })),
          },
        },
        columnKind: "utf16CodeUnits",
        results,
        ...(dropped === 0
          ? {}
          : {
              invocations: [
                {
                  executionSuccessful: true,
                  toolExecutionNotifications: [
                    { level: "warning", message: { text: `${dropped} more results are left out` } },
                  ],
                },
              ],
            }),
      },
    ],
  };
}

function uriOf(file: string): string {
  return file.split("/").map(encodeURIComponent).join("/");
}

/** FNV-1a over UTF-16 units, twice with different seeds: a name, not a secret. */
function hash(text: string): string {
  const run = (seed: number): string => {
    let h = seed;
    for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
    return h.toString(16).padStart(8, "0");
  };
  return run(0x811c9dc5) + run(0x1234567);
}
