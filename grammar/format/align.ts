/**
 * Sets neighbouring lines in columns: the types of parameters, the `=` of a pipeline's lets, its phases,
 * and the comments after statements.
 */

import { columnMark, commentColumn } from "./doc.ts";

interface Cell {
  /** The column that starts here; none at the start of a line. */
  readonly name: string | undefined;
  text: string;
}

interface Line {
  readonly indent: number;
  readonly cells: readonly Cell[];
}

export function align(lines: readonly string[], width: number): string[] {
  const split = lines.map(splitLine);
  const deepest = Math.max(1, ...split.map((line) => line.cells.length));
  for (let k = 1; k < deepest; k += 1) alignCells(split, k, width);
  return split.map((line) => line.cells.map((cell) => cell.text).join(""));
}

function splitLine(text: string): Line {
  const parts = text.split(columnMark);
  const cells: Cell[] = [{ name: undefined, text: parts[0] ?? "" }];
  for (let i = 1; i < parts.length; i += 2) cells.push({ name: parts[i], text: parts[i + 1] ?? "" });
  return { indent: text.length - text.trimStart().length, cells };
}

/** Pads the cells before each `k`th one, so that those of a run of lines start together. */
function alignCells(lines: readonly Line[], k: number, width: number): void {
  // A run may go past deeper lines, which have runs of their own.
  const padded = new Set<Line>();
  lines.forEach((line, at) => {
    const name = line.cells[k]?.name;
    if (name === undefined || padded.has(line)) return;
    const run = runFrom(lines, at, k, name);
    pad(run, k, width);
    for (const each of run) padded.add(each);
  });
}

/** Lines with the same column at the same depth. What is deeper, and a `}`, may stand between but for comments. */
function runFrom(lines: readonly Line[], from: number, k: number, name: string): Line[] {
  const first = lines[from];
  const found: Line[] = [];
  for (let at = from; at < lines.length; at += 1) {
    const line = lines[at];
    if (first === undefined || line === undefined) break;
    if (line.indent === first.indent && line.cells[k]?.name === name) found.push(line);
    else if (name === commentColumn || !continues(line, first.indent)) break;
  }
  return found;
}

function continues(line: Line, indent: number): boolean {
  const text = line.cells[0]?.text.trim();
  return (line.indent > indent && text !== "") || (line.indent === indent && text === "}");
}

function pad(lines: readonly Line[], k: number, width: number): void {
  const gap = lines[0]?.cells[k]?.name === commentColumn ? 2 : 1;
  const starts = lines.map((line) => line.cells.slice(0, k).reduce((sum, cell) => sum + cell.text.length, 0));
  const widest = Math.max(...starts);
  const fits = lines.every((line) => {
    const rest = line.cells.slice(k).reduce((sum, cell) => sum + cell.text.length + 1, 0);
    return line.cells[k]?.name === commentColumn || widest + rest <= width;
  });
  lines.forEach((line, i) => {
    const cell = line.cells[k - 1];
    if (cell !== undefined) cell.text += " ".repeat((fits ? widest - (starts[i] ?? 0) : 0) + gap);
  });
}
