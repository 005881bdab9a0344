/**
 * The grammar: text to syntax tree, never failing. It knows nothing of the compiler.
 *
 *     text ─ lexer ─▶ tokens ─ layout ─▶ tokens with statement ends, brackets matched ─ parser ─▶ tree
 */

import type { SourceFile } from "./ast.ts";
import { docsOf } from "./docs.ts";
import { withoutEchoes } from "./echoes.ts";
import { maxErrors, type SyntaxError } from "./errors.ts";
import { layOut } from "./layout.ts";
import { lex, type Lexed } from "./lexer.ts";
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

export function parse(text: string): Parsed {
  return parseLexed(text, lex(text));
}

/** Like `parse`, for one who needs the tokens too. */
export function parseLexed(text: string, lexed: Lexed): Parsed {
  const layout = layOut(text, lexed.tokens);
  const roots = [...lexed.errors, ...layout.errors];
  const docs = docsOf(text, lexed);
  parser ??= new Parser();
  const found = parser.begin(text, layout.tokens, docs.at);
  const declarations = roots.length < maxErrors ? parser.declarations() : [];
  const errors = [...roots, ...withoutEchoes(found, roots, layout.tokens)].sort((a, b) => a.span.start - b.span.start);
  const file: SourceFile = {
    kind: "file",
    doc: docs.file,
    declarations,
    comments: docs.comments,
    span: { start: 0, end: text.length },
  };
  return { file, errors: errors.slice(0, maxErrors) };
}
