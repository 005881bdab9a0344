/**
 * Puts statement ends and missing brackets into the token stream, so that the parser sees neither
 * lines nor unbalanced brackets.
 *
 * A line end is a statement's end except inside `()` and `[]`, after what needs a right side, and
 * before what no statement begins with. A `}` closes both `(` and `[`, and so does whatever can stand
 * in neither: an unclosed bracket is reported where it opens, and the text after it still reads.
 * Afterwards brackets match, are at most `limits.nesting` deep, and every token knows its depth.
 */

import type { IToken, TokenType } from "./chevrotain.ts";
import { maxErrors, type SyntaxError } from "./errors.ts";
import { limits } from "./limits.ts";
import {
  closesTypeArguments,
  endOf,
  indentAt,
  isWordThatDeclares,
  setDepth,
  startsLine,
  virtual,
} from "./layout-lines.ts";
import { End, Hole, keyword } from "./tokens.ts";

export interface Layout {
  readonly tokens: IToken[];
  readonly errors: readonly SyntaxError[];
}

const types = (...texts: string[]): ReadonlySet<TokenType> => new Set(texts.map(keyword));

/** A line that ends in one of these goes on. */
const goesOn = types(
  "+",
  "-",
  "*",
  "/",
  "%",
  "^",
  "==",
  "!=",
  "<",
  "<=",
  ">",
  ">=",
  "and",
  "or",
  "not",
  "as",
  "where",
  ",",
  "=",
  ":",
  "->",
  "@",
  ".",
  "|",
  "{",
  ";",
  "in",
  "if",
  "then",
  "else",
  "for",
  "let",
  "fn",
  "mut",
);
/** A line that begins with one of these goes on with the line before: nothing begins with it. */
const joins = types("}", "{", ",", "=", ":", "then", "else", "where", "->", ";");

const openers: ReadonlyMap<TokenType, TokenType> = new Map([
  [keyword("("), keyword(")")],
  [keyword("["), keyword("]")],
  [keyword("{"), keyword("}")],
]);
const closers: ReadonlySet<TokenType> = new Set(openers.values());
const brace = keyword("{");
const unbrace = keyword("}");
/** What stands in neither `()` nor `[]`. */
const closesBoth = types("}", "{", ";", "->", "let", "fn");

interface Open {
  readonly token: IToken;
  readonly closer: TokenType;
  /** Of the line that it stands on. */
  readonly indent: number;
  /** Inside what is too deep, which is one mistake whatever else is wrong there. */
  quiet: boolean;
}

export function layOut(text: string, tokens: readonly IToken[]): Layout {
  return new Layouter(text, tokens).run();
}

class Layouter {
  readonly #text: string;
  readonly #in: readonly IToken[];
  readonly #out: IToken[] = [];
  readonly #errors: SyntaxError[] = [];
  readonly #open: Open[] = [];
  /** Braces do not match, so indentation is asked where one is missing. */
  readonly #guess: boolean;
  #tooDeep = false;
  /** Of the line of the token at hand. */
  #indent = 0;

  constructor(text: string, tokens: readonly IToken[]) {
    this.#text = text;
    this.#in = tokens;
    this.#guess = !bracesMatch(tokens);
  }

  run(): Layout {
    for (let i = 0; i < this.#in.length; i += 1) {
      const token = this.#in[i];
      if (token === undefined) break;
      const newLine = startsLine(this.#text, this.#in[i - 1], token);
      if (newLine || i === 0) this.#indent = indentAt(this.#text, token.startOffset);
      this.#closeBefore(token, this.#in[i + 1], newLine);
      if (newLine) this.#endLine(token);
      if (openers.has(token.tokenType)) {
        if (this.#open.length >= limits.nesting) i = this.#skipDeep(i);
        else this.#push(token);
      } else if (closers.has(token.tokenType)) this.#close(token);
      else this.#put(token);
    }
    this.#closeDownTo(0, this.#text.length);
    return { tokens: this.#out, errors: this.#errors };
  }

  #put(token: IToken): void {
    setDepth(token, this.#open.length);
    this.#out.push(token);
  }

  #push(token: IToken): void {
    const closer = openers.get(token.tokenType);
    if (closer === undefined) return;
    this.#put(token);
    this.#open.push({ token, closer, indent: this.#indent, quiet: false });
  }

  /** Closes the brackets that this token cannot stand in. */
  #closeBefore(token: IToken, next: IToken | undefined, newLine: boolean): void {
    const type = token.tokenType;
    const top = this.#open.at(-1);
    if (top === undefined) return;
    if (closesBoth.has(type) || (newLine && this.#guess && isWordThatDeclares(token, next))) {
      this.#closeDownTo(this.#lastBrace() + 1, token.startOffset);
    }
    if (!newLine || !this.#guess) return;
    // With braces that do not match, a declaration that is no deeper than the line that opened a brace,
    // or a `}` that lines up with an outer one, shows which brace was left open.
    if (isWordThatDeclares(token, next)) {
      while ((this.#open.at(-1)?.indent ?? -1) >= this.#indent) this.#closeTop(token.startOffset);
    } else if (type === unbrace && this.#open.some((open) => open.indent === this.#indent)) {
      while ((this.#open.at(-1)?.indent ?? -1) > this.#indent) this.#closeTop(token.startOffset);
    }
  }

  #lastBrace(): number {
    return this.#open.findLastIndex((open) => open.token.tokenType === brace);
  }

  #endLine(token: IToken): void {
    const last = this.#out.at(-1);
    if (last === undefined || joins.has(token.tokenType)) return;
    if (goesOn.has(last.tokenType) && !closesTypeArguments(this.#out)) return;
    const top = this.#open.at(-1);
    if (top === undefined || top.token.tokenType === brace) this.#put(virtual(End, endOf(last)));
  }

  #close(token: IToken): void {
    const top = this.#open.at(-1);
    if (top === undefined || (top.token.tokenType === brace && token.tokenType !== unbrace)) {
      this.#report(
        token,
        "WF1002",
        `this '${token.image}' closes nothing`,
        "delete it, or open the bracket that it closes",
      );
      return;
    }
    if (top.closer === token.tokenType) {
      this.#open.pop();
      this.#put(token);
      return;
    }
    // `(a[i)`: the `[` is open; `(a]`: the `]` was meant to be a `)`.
    const match = this.#open.findLastIndex((open) => open.closer === token.tokenType);
    if (match > this.#lastBrace()) {
      this.#closeDownTo(match + 1, token.startOffset);
      this.#open.pop();
      this.#put(token);
    } else this.#closeTop(token.startOffset, `, but I found '${token.image}'`);
  }

  #closeDownTo(depth: number, before: number): void {
    while (this.#open.length > depth) this.#closeTop(before);
  }

  #closeTop(before: number, found = ""): void {
    const open = this.#open.pop();
    if (open === undefined) return;
    const last = this.#out.at(-1);
    this.#put(virtual(open.closer, last === undefined ? before : endOf(last)));
    if (open.quiet) return;
    const image = open.closer.LABEL ?? "";
    this.#report(
      open.token,
      "WF1001",
      `I expected ${image} to close the '${open.token.image}' opened here${found}`,
      undefined,
    );
  }

  /** Reads over a bracket that is too deep, and gives the index of its last token. */
  #skipDeep(from: number): number {
    const token = this.#in[from];
    if (token === undefined) return from;
    if (!this.#tooDeep) {
      this.#report(
        token,
        "WF1004",
        `brackets are nested more than ${limits.nesting} deep here`,
        "give the inner parts names with 'let'",
      );
      this.#tooDeep = true;
    }
    for (const open of this.#open) open.quiet = true;
    this.#put(virtual(Hole, token.startOffset));
    let depth = 0;
    for (let i = from; i < this.#in.length; i += 1) {
      const type = this.#in[i]?.tokenType;
      if (type === undefined) break;
      if (openers.has(type)) depth += 1;
      else if (closers.has(type)) depth -= 1;
      if (depth === 0) return i;
    }
    return this.#in.length;
  }

  #report(token: IToken, code: SyntaxError["code"], message: string, help: string | undefined): void {
    if (this.#errors.length >= maxErrors) return;
    this.#errors.push({ span: { start: token.startOffset, end: endOf(token) }, code, message, help });
  }
}

/** Whether each `}` has its `{`, other brackets apart. */
function bracesMatch(tokens: readonly IToken[]): boolean {
  let depth = 0;
  for (const token of tokens) {
    if (token.tokenType === brace) depth += 1;
    else if (token.tokenType === unbrace) depth -= 1;
    if (depth < 0) return false;
  }
  return depth === 0;
}
