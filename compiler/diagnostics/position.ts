/** Offsets as lines and columns, both from 1, columns in UTF-16 units as editors count them. */

import type { Diagnostic } from "./diagnostic.ts";

export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Where each line of a text begins. A line ends at `\n`, `\r\n` or `\r`. */
export type LineTable = readonly number[];

export function lineTable(text: string): LineTable {
  const starts = [0];
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === 10 || (c === 13 && text.charCodeAt(i + 1) !== 10)) starts.push(i + 1);
  }
  return starts;
}

export function positionOf(table: LineTable, offset: number): Position {
  let [low, high] = [0, table.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((table[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return { line: low + 1, column: offset - (table[low] ?? 0) + 1 };
}

/** The line without its end. */
export function lineText(text: string, table: LineTable, line: number): string {
  return text.slice(table[line - 1] ?? text.length, table[line] ?? text.length).replace(/[\r\n]+$/, "");
}

/** By file as first met, then by place; what stands at one place keeps its order. */
export function inSourceOrder(diagnostics: readonly Diagnostic[]): readonly Diagnostic[] {
  const files = new Map<string, number>();
  for (const { labels } of diagnostics)
    if (!files.has(labels[0].place.file)) files.set(labels[0].place.file, files.size);
  const rank = ({ labels: [{ place }] }: Diagnostic): readonly [number, number] => [
    files.get(place.file) ?? 0,
    place.start,
  ];
  return [...diagnostics].sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return x[0] - y[0] || x[1] - y[1];
  });
}

/** Line tables of several files, each made once. */
export function positions(sources: ReadonlyMap<string, string>): {
  of(file: string, offset: number): Position;
  line(file: string, line: number): string;
} {
  const tables = new Map<string, LineTable>();
  const table = (file: string): LineTable => {
    const before = tables.get(file);
    if (before !== undefined) return before;
    const made = lineTable(sources.get(file) ?? "");
    tables.set(file, made);
    return made;
  };
  return {
    of: (file, offset) =>
      positionOf(table(file), Math.max(0, Math.min(offset, sources.get(file)?.length ?? 0))),
    line: (file, line) => lineText(sources.get(file) ?? "", table(file), line),
  };
}
