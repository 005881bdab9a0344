/**
 * The grammar: text to syntax tree, never failing. It knows nothing of the compiler.
 *
 *     text ─ lexer ─▶ tokens ─ layout ─▶ tokens with statement ends, brackets matched ─ parser ─▶ tree
 */

import type { IToken } from "./chevrotain.ts";
import type { Declaration, SourceFile } from "./ast.ts";
import { type Docs, docsOf } from "./docs.ts";
import { withoutEchoes } from "./echoes.ts";
import { maxErrors, type SyntaxError } from "./errors.ts";
import { layOut } from "./layout.ts";
import { lex, type Lexed } from "./lexer.ts";
import { nameParts } from "./parser/base.ts";
import { Parser } from "./parser/pipelines.ts";

export { syntaxErrors } from "./errors.ts";
export type { SyntaxError, SyntaxErrorCode, SyntaxErrorPage } from "./errors.ts";
export type * from "./ast.ts";

export interface Parsed {
  /** Always there, with what could be read. */
  readonly file: SourceFile;
  readonly errors: readonly SyntaxError[];
}

let parser: Parser | undefined;

/** The declarations that could be read; errors go to the list that `begin` gives. */
function declarationsOf(
  text: string,
  tokens: IToken[],
  docs: Docs,
): { read: Declaration[]; found: SyntaxError[] } {
  parser ??= new Parser();
  const found = parser.begin(text, tokens, docs.at);
  try {
    return { read: parser.declarations(), found };
  } catch (error) {
    // Our limit on nesting leaves room on an empty stack; a caller may have used most of it.
    if (!(error instanceof RangeError)) throw error;
    parser = undefined;
    const message = "this file is nested more deeply than I have room for";
    return { read: [], found: [{ span: { start: 0, end: 0 }, code: "WF1004", message, help: nameParts }] };
  }
}

export function parse(text: string): Parsed {
  return parseLexed(text, lex(text));
}

/** Like `parse`, for one who needs the tokens too. */
export function parseLexed(text: string, lexed: Lexed): Parsed {
  const layout = layOut(text, lexed.tokens);
  const roots = [...lexed.errors, ...layout.errors];
  const docs = docsOf(text, lexed);
  const { read, found } =
    roots.length < maxErrors ? declarationsOf(text, layout.tokens, docs) : { read: [], found: [] };
  const errors = [...roots, ...withoutEchoes(found, roots, layout.tokens)].sort(
    (a, b) => a.span.start - b.span.start,
  );
  const file: SourceFile = {
    kind: "file",
    doc: docs.file,
    declarations: read,
    comments: docs.comments,
    span: { start: 0, end: text.length },
  };
  return { file, errors: errors.slice(0, maxErrors) };
}
