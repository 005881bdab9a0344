/**
 * Text to tokens, in linear time, whatever the text.
 *
 * No token crosses a line, so the text is read in pieces that end at a line end; a file with too many
 * tokens is given up between two pieces.
 */

import { Lexer, type IToken, type TokenType } from "./chevrotain.ts";
import { maxErrors, type SyntaxError } from "./errors.ts";
import { limits } from "./limits.ts";
import { explainBad, hiddenCharacters } from "./lexer-errors.ts";
import { Bad, BadNumber, Foreign, Hole, lexerTokens, Name, OpenText, Text, wordType } from "./tokens.ts";

export interface Lexed {
  /** Everything but space and comments. */
  readonly tokens: IToken[];
  /** `//` and `///` comments, slashes included. */
  readonly notes: IToken[];
  readonly errors: SyntaxError[];
}

/** Tokens that are mistakes, and what the parser takes each for. */
const mistakes: ReadonlyMap<TokenType, TokenType> = new Map([
  [Bad, Hole],
  [Foreign, Hole],
  [BadNumber, Hole],
  [OpenText, Text],
]);

const pieceLength = 64 * 1024;

let lexer: InstanceType<typeof Lexer> | undefined;

function theLexer(): InstanceType<typeof Lexer> {
  lexer ??= new Lexer([...lexerTokens], {
    positionTracking: "onlyOffset",
    ensureOptimizations: true,
    skipValidations: true,
  });
  return lexer;
}

export function lex(text: string): Lexed {
  const lexed: Lexed = { tokens: [], notes: [], errors: [] };
  if (text.length > limits.file) {
    lexed.errors.push(tooLarge(text.length));
    return lexed;
  }
  lexed.errors.push(...hiddenCharacters(text));
  let start = text.startsWith("\ufeff") ? 1 : 0;
  while (start < text.length) {
    const end = pieceEnd(text, start);
    if (end - start > pieceLength + limits.line) {
      lexed.errors.push(lineTooLong(start, text, end));
      return lexed;
    }
    lexPiece(text.slice(start, end), start, lexed);
    if (lexed.tokens.length > limits.tokens) {
      lexed.errors.push(tooManyTokens(end));
      return lexed;
    }
    start = end;
  }
  return lexed;
}

/** Just after the first line end that leaves at least `pieceLength` in the piece. */
function pieceEnd(text: string, start: number): number {
  if (text.length - start <= pieceLength) return text.length;
  const newline = text.indexOf("\n", start + pieceLength);
  return newline < 0 ? text.length : newline + 1;
}

function lexPiece(piece: string, offset: number, lexed: Lexed): void {
  const result = theLexer().tokenize(piece);
  for (const token of result.tokens) {
    token.startOffset += offset;
    if (token.tokenType === Name) retype(token, wordType(token.image));
    else {
      const meant = mistakes.get(token.tokenType);
      if (meant !== undefined) mistake(token, meant, lexed);
    }
    lexed.tokens.push(token);
  }
  for (const note of result.groups["notes"] ?? []) {
    note.startOffset += offset;
    lexed.notes.push(note);
  }
}

function mistake(token: IToken, meant: TokenType, lexed: Lexed): void {
  if (lexed.errors.length < maxErrors) lexed.errors.push(...explainBad(token));
  retype(token, meant);
}

function retype(token: IToken, type: TokenType): void {
  token.tokenType = type;
  token.tokenTypeIdx = type.tokenTypeIdx ?? 0;
}

function tooLarge(length: number): SyntaxError {
  return {
    span: { start: 0, end: 0 },
    code: "WF1005",
    message: `this file has ${length} characters; I read at most ${limits.file}`,
    help: "split the file and import its parts",
  };
}

function lineTooLong(start: number, text: string, end: number): SyntaxError {
  const lineStart = text.lastIndexOf("\n", end - 2) + 1;
  const at = Math.max(start, lineStart);
  return {
    span: { start: at, end: at },
    code: "WF1005",
    message: `this line has more than ${limits.line} characters, which is more than I read`,
    help: "a statement may continue on the next line after an operator, a comma, '=' or ':'",
  };
}

function tooManyTokens(at: number): SyntaxError {
  return {
    span: { start: at, end: at },
    code: "WF1005",
    message: `this file has more than ${limits.tokens} words and marks; I stopped reading here`,
    help: "split the file and import its parts",
  };
}
