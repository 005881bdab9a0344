/**
 * Goes along the tokens of a file while its tree is printed, so that each comment comes out between the
 * same two tokens as it stood, and no token is lost.
 */

import type { IToken } from "../chevrotain.ts";
import { endOf } from "../layout-lines.ts";
import type { Lexed } from "../lexer.ts";
import { type Doc, freshline } from "./doc.ts";

export class Cursor {
  readonly #text: string;
  readonly #tokens: readonly IToken[];
  readonly #notes: readonly IToken[];
  #token = 0;
  #note = 0;
  /** Where the last token or comment taken ends. */
  #end = 0;

  constructor(text: string, lexed: Lexed) {
    this.#text = text;
    this.#tokens = lexed.tokens;
    this.#notes = lexed.notes;
  }

  /** The next token as written, with the comments around it. `expected` is a check on ourselves. */
  take(expected?: string): Doc {
    const token = this.#tokens[this.#token];
    if (token === undefined || (expected !== undefined && token.image !== expected)) {
      throw new Error(
        `the formatter expected '${expected}' at offset ${token?.startOffset ?? this.#text.length}`,
      );
    }
    const before = this.leading();
    this.#token += 1;
    this.#end = endOf(token);
    return [before, token.image, this.#trailing()];
  }

  nextIs(...images: readonly string[]): boolean {
    return images.includes(this.#tokens[this.#token]?.image ?? "");
  }

  /** Takes a `,` or `;` if one is there; only its comments are printed. */
  separator(): Doc {
    const docs: Doc[] = [];
    while (this.nextIs(",", ";")) {
      docs.push(this.leading());
      this.#end = endOf(this.#tokens[this.#token] as IToken);
      this.#token += 1;
      docs.push(this.#trailing());
    }
    return docs;
  }

  /** Comments on lines of their own before the next token, a blank line between two kept. */
  leading(): Doc {
    const until = this.#tokens[this.#token]?.startOffset ?? Infinity;
    const docs: Doc[] = [];
    for (
      let note = this.#notes[this.#note];
      note !== undefined && note.startOffset < until;
      note = this.#notes[this.#note]
    ) {
      if (docs.length > 0 && this.blankBefore(note.startOffset)) docs.push({ kind: "hardline" });
      docs.push(freshline, note.image.trimEnd(), freshline);
      this.#note += 1;
      this.#end = endOf(note);
    }
    if (docs.length > 0 && !this.#atClose() && this.blankBefore(until)) docs.push({ kind: "hardline" });
    return docs;
  }

  /** Whether an empty line stands between what was taken last and the next comment or token. */
  blankAhead(): boolean {
    const next = Math.min(this.#nextNote(), this.#tokens[this.#token]?.startOffset ?? Infinity);
    return next !== Infinity && this.blankBefore(next);
  }

  /** Whether the next comment or token is on another line than what was taken last. */
  newLineAhead(): boolean {
    const next = Math.min(this.#nextNote(), this.#tokens[this.#token]?.startOffset ?? this.#text.length);
    return /[\r\n]/.test(this.#text.slice(this.#end, next));
  }

  /** Whether a closing bracket comes, or nothing. */
  #atClose(): boolean {
    const next = this.#tokens[this.#token];
    return next === undefined || [")", "]", "}", ">"].includes(next.image);
  }

  #nextNote(): number {
    return this.#notes[this.#note]?.startOffset ?? Infinity;
  }

  private blankBefore(offset: number): boolean {
    return /(?:\r\n|\r|\n)[ \t]*(?:\r|\n)/.test(this.#text.slice(this.#end, offset));
  }

  /** Comments after the last token, on its line. */
  #trailing(): Doc {
    const note = this.#notes[this.#note];
    if (note === undefined || note.startOffset > (this.#tokens[this.#token]?.startOffset ?? Infinity))
      return "";
    if (/[\r\n]/.test(this.#text.slice(this.#end, note.startOffset))) return "";
    this.#note += 1;
    this.#end = endOf(note);
    return { kind: "comment", text: note.image.trimEnd() };
  }
}
