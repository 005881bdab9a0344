/**
 * The formatter as a Prettier 3 plugin: `prettier --plugin weft/prettier model.dsl` writes what `weft fmt`
 * does.
 *
 * The layout is ours to the last space (columns, blank lines), so Prettier is handed finished lines.
 * Its types are only imported: at run time nothing here needs it.
 */

import type { Doc, Parser, Plugin, Printer, SupportLanguage } from "prettier";
import { defaultWidth, format } from "./format.ts";
import type { SyntaxError } from "./index.ts";

interface WeftText {
  readonly kind: "weft";
  readonly text: string;
}

export const languages: SupportLanguage[] = [
  { name: "Weft", parsers: ["weft"], extensions: [".dsl"], vscodeLanguageIds: ["weft"] },
];

const parser: Parser<WeftText> = {
  astFormat: "weft",
  parse(text, options) {
    const formatted = format(text, options.printWidth);
    const [error] = formatted.errors;
    if (error !== undefined) throw prettierError(error, text);
    return { kind: "weft", text: formatted.text };
  },
  locStart: () => 0,
  locEnd: (node) => node.text.length,
};

export const parsers: Record<string, Parser<WeftText>> = { weft: parser };

const printer: Printer<WeftText> = {
  print(path): Doc {
    const lines = path.node.text.split("\n");
    const hardline: Doc = { type: "line", hard: true, literal: true };
    return lines.flatMap((line, i): Doc[] => (i === 0 ? [line] : [hardline, { type: "break-parent" }, line]));
  },
};

export const printers: Record<string, Printer<WeftText>> = { weft: printer };

export const defaultOptions: NonNullable<Plugin["defaultOptions"]> = {
  printWidth: defaultWidth,
  tabWidth: 2,
};

/** Prettier shows the lines around an error that carries a `loc`. */
function prettierError(error: SyntaxError, text: string): Error {
  const message = `${error.code}: ${error.message}${error.help === undefined ? "" : ` (help: ${error.help})`}`;
  const loc = { start: position(text, error.span.start), end: position(text, error.span.end) };
  return Object.assign(new globalThis.SyntaxError(message), { loc });
}

function position(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset).split(/\r\n|\r|\n/);
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
