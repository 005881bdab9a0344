/**
 * The one way to write a program: same tree, same text, apart from blank lines, and blocks that the
 * author keeps on one line. Comments stay between the tokens between which they stood.
 */

import type { SourceFile } from "./ast.ts";
import { parseLexed, type SyntaxError } from "./index.ts";
import { align } from "./format/align.ts";
import { Cursor } from "./format/cursor.ts";
import { declaration, lines } from "./format/declarations.ts";
import { blankLine, type Doc, hardline, layLines } from "./format/doc.ts";
import { lex, type Lexed } from "./lexer.ts";

export interface Formatted {
  /** The text as it was, if it has errors. */
  readonly text: string;
  readonly errors: readonly SyntaxError[];
}

export const defaultWidth = 110;

export function format(text: string, width: number = defaultWidth): Formatted {
  const lexed = lex(text);
  const notes = [...lexed.notes];
  const tokens = [...lexed.tokens];
  const { file, errors } = parseLexed(text, lexed);
  if (errors.length > 0) return { text, errors };
  return { text: print(text, file, { tokens, notes, errors: [] }, width), errors };
}

function print(text: string, file: SourceFile, lexed: Lexed, width: number): string {
  const cursor = new Cursor(text, lexed);
  const opening = cursor.separator();
  const body = lines(cursor, file.declarations, (each) => declaration(cursor, each), hardline);
  const ending: Doc = [cursor.blankAhead() ? blankLine : "", cursor.leading()];
  const written = align(layLines([opening, body, ending], width), width);
  while (written.at(-1) === "") written.pop();
  return written.length === 0 ? "" : `${written.join("\n")}\n`;
}
