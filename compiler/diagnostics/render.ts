/**
 * Diagnostics as text for a terminal:
 *
 *     file.dsl:31:42 error[WF2012]: axis 'S' used where 'T' is expected
 *       31 |     sum[d](q[b, s, h, d] * k[b, s, h, d])
 *          |                                 ^ 's' ranges over S; k is bf16[B, T, H, D]
 *       help: use 't', which ranges over T
 *
 * What comes out of a file is printed without characters that a terminal would act on, and cut to a window
 * around the caret where the line is long.
 */
import type { Diagnostic, Label } from "./diagnostic.ts";
import { inSourceOrder, positions } from "./position.ts";

export interface RenderOptions {
  /** ANSI colours: for a terminal only. */
  readonly colour: boolean;
  /** Text of each file that a diagnostic may name. */
  readonly sources: ReadonlyMap<string, string>;
}

const window = 100;

export function renderDiagnostics(diagnostics: readonly Diagnostic[], options: RenderOptions): string {
  const paint = options.colour ? colours : plain;
  const where = positions(options.sources);
  const blocks = inSourceOrder(diagnostics).map((diagnostic) => {
    const [primary, ...more] = diagnostic.labels;
    const { line, column } = where.of(primary.place.file, primary.place.start);
    const severity = diagnostic.severity === "error" ? paint.error("error") : paint.warning("warning");
    const lines = [
      `${paint.bold(`${printable(primary.place.file)}:${line}:${column}`)} ${severity}[${diagnostic.code}]: ${paint.bold(printable(diagnostic.message))}`,
    ];
    lines.push(...frame(primary, where, paint));
    for (const label of more) {
      const at = where.of(label.place.file, label.place.start);
      lines.push(
        `  ${printable(label.place.file)}:${at.line}:${at.column}: ${printable(label.text)}`,
        ...frame({ place: label.place, text: "" }, where, paint),
      );
    }
    if (diagnostic.help !== undefined) lines.push(`  ${paint.help("help:")} ${printable(diagnostic.help)}`);
    return lines.join("\n");
  });
  return blocks.length === 0 ? "" : `${blocks.join("\n\n")}\n`;
}

/** The source line and the caret under it. */
function frame(label: Label, where: ReturnType<typeof positions>, paint: Paint): string[] {
  const { file, start, end } = label.place;
  const { line, column } = where.of(file, start);
  const stop = where.of(file, Math.max(start, end - 1));
  const text = where.line(file, line);
  if (text.trim() === "" && label.text === "") return [];
  const last = stop.line === line ? stop.column : text.length;
  const cut = clip(text, column - 1, Math.max(column, last));
  const number = String(line).padStart(4);
  const caret = " ".repeat(cut.before.length) + paint.caret("^".repeat(Math.max(1, cut.marked.length)));
  const note = label.text === "" ? "" : ` ${printable(label.text)}`;
  return [
    `${number} | ${cut.before}${cut.marked}${cut.after}`,
    `${" ".repeat(number.length)} | ${caret}${note}`,
  ];
}

/** A window of the line that holds the marked part, with `..` where it was cut. */
function clip(text: string, from: number, to: number): { before: string; marked: string; after: string } {
  const begin = from < window ? 0 : from - window / 2;
  const stop = Math.max(begin + window, Math.min(to, begin + window));
  const before = (begin > 0 ? ".." : "") + printable(text.slice(begin, from));
  const marked = printable(text.slice(from, Math.min(to, stop)));
  const after = printable(text.slice(Math.min(to, stop), stop)) + (stop < text.length ? ".." : "");
  return { before, marked, after };
}

/** One line that no terminal acts on: tabs become blanks, control and direction characters are dropped. */
export function printable(text: string): string {
  const spaced = text.replace(/\t/g, "  ").replace(/[\r\n]+/g, " ");
  const safe = spaced.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "");
  return safe.length > 2000 ? `${safe.slice(0, 2000)}..` : safe;
}

interface Paint {
  bold(text: string): string;
  error(text: string): string;
  warning(text: string): string;
  caret(text: string): string;
  help(text: string): string;
}

const same = (text: string): string => text;
const plain: Paint = { bold: same, error: same, warning: same, caret: same, help: same };

function ansi(code: string): (text: string) => string {
  return (text) => `\u001b[${code}m${text}\u001b[0m`;
}

const colours: Paint = {
  bold: ansi("1"),
  error: ansi("1;31"),
  warning: ansi("1;33"),
  caret: ansi("1;31"),
  help: ansi("36"),
};
