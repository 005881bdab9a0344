/** Columns as wide as their widest cell; the last is left as it is. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, k) => Math.max(title.length, ...rows.map((row) => row[k]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, k) => (k === cells.length - 1 ? cell : cell.padEnd(widths[k] ?? 0)))
      .join("  ")
      .trimEnd();
  return [head, ...rows].map((row) => `  ${line(row)}`);
}
