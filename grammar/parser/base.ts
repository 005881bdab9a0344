/** The parser's ground: tokens as names and spans, lists, and going on after a mistake. */

import { EmbeddedActionsParser, EOF, isRecognitionException, type IRecognitionException, type IToken, type TokenType } from "chevrotain";
import type { Name as NameNode, Span } from "../ast.ts";
import { maxErrors, type SyntaxError, type SyntaxErrorCode } from "../errors.ts";
import { depthOf, endOf } from "../layout-lines.ts";
import { explain, messages } from "../parser-errors.ts";
import { End, keyword, Name, parserTokens } from "../tokens.ts";

export const comma: TokenType = keyword(",");
export const closers: ReadonlySet<TokenType> = new Set([")", "]", "}"].map(keyword));
/** What ends a statement that cannot be read, unless it stands in brackets. */
export const statementEnd: ReadonlySet<TokenType> = new Set([End]);

export abstract class GroundParser extends EmbeddedActionsParser {
  /** The errors of this parse, in the order in which they are met. */
  protected found: SyntaxError[] = [];
  protected text = "";

  constructor(validate: "validate" | "trust") {
    super([...parserTokens], {
      maxLookahead: 1,
      recoveryEnabled: false,
      errorMessageProvider: messages,
      skipValidations: validate === "trust",
    });
  }

  // ---------------------------------------------------------------- looking

  protected next(ahead = 1): TokenType {
    return this.LA(ahead).tokenType;
  }

  protected nextIs(text: string, ahead = 1): boolean {
    return this.next(ahead) === keyword(text);
  }

  /** Whether a name, or a word that may be one, comes. */
  protected nextIsName(ahead = 1): boolean {
    const type = this.next(ahead);
    return type === Name || (type.CATEGORIES ?? []).includes(Name);
  }

  protected atEnd(): boolean {
    return this.next() === EOF;
  }

  protected atClose(): boolean {
    return this.atEnd() || closers.has(this.next());
  }

  /** Where the coming token starts. */
  protected here(): number {
    if (this.RECORDING_PHASE) return 0;
    const token = this.LA(1);
    return token.tokenType === EOF ? this.text.length : token.startOffset;
  }

  /** Where the last token read ends. */
  protected there(): number {
    if (this.RECORDING_PHASE) return 0;
    const token = this.LA(0);
    return token.tokenType === EOF ? 0 : endOf(token);
  }

  protected spanFrom(start: number): Span {
    return { start, end: Math.max(start, this.there()) };
  }

  protected nameOf(token: IToken): NameNode {
    if (this.RECORDING_PHASE) return this.noName();
    return { text: token.image, span: { start: token.startOffset, end: endOf(token) } };
  }

  /** A name that could not be read, or is yet to be. */
  protected noName(): NameNode {
    return { text: "", span: { start: this.here(), end: this.here() } };
  }

  // ---------------------------------------------------------------- reading

  protected mark(index: number, text: string): IToken {
    return this.consume(index, keyword(text));
  }

  /** Items with commas between, and maybe one after the last. A rule that has two lists numbers them. */
  protected list<T>(item: () => T, index = 1): T[] {
    // Chevrotain tells the repetitions of a rule apart by number: ours are beyond those that a rule gives.
    const number = 100 + index;
    const items: T[] = [];
    let more = true;
    this.many(number, {
      GATE: () => more,
      DEF: () => {
        items.push(item());
        more = false;
        this.option(number, () => {
          this.consume(number, comma);
          more = true;
        });
      },
    });
    return items;
  }

  /**
   * Repeats `body` until `done`. Unlike `MANY` it asks not whether the next token begins a `body`, so
   * that a token which does not is an error inside `body`, where it can be got over.
   */
  protected repeat(done: () => boolean, body: () => void): void {
    if (this.RECORDING_PHASE) {
      this.many(200, body);
      return;
    }
    while (!done()) {
      const before = this.here();
      body();
      if (this.here() === before && !done()) this.SKIP_TOKEN();
    }
  }

  // ---------------------------------------------------------------- mistakes

  protected fail(span: Span, code: SyntaxErrorCode, message: string, help: string | undefined): void {
    if (this.RECORDING_PHASE || this.found.length >= maxErrors) return;
    this.found.push({ span, code, message, help });
  }

  /** Runs `body`; on a mistake reports it, reads up to one of `stops` in our brackets, and gives `fallback()`. */
  protected guard<T>(stops: ReadonlySet<TokenType>, body: () => T, fallback: () => T): T {
    const depth = depthOf(this.LA(1));
    try {
      return body();
    } catch (error) {
      if (isMistake(error)) {
        if (this.found.length < maxErrors) this.found.push(explain(error, this.text));
      } else if (!(error instanceof TooDeep)) throw error;
      if (this.found.length >= maxErrors) this.giveUp();
      this.skipTo(stops, depth);
      return fallback();
    }
  }

  /** Reads nothing more. */
  protected giveUp(): void {
    while (!this.atEnd()) this.SKIP_TOKEN();
  }

  /** Reads up to one of `stops` at `depth`, or the bracket that closes it. */
  protected skipTo(stops: ReadonlySet<TokenType>, depth: number): void {
    while (!this.atEnd()) {
      const token = this.LA(1);
      const at = depthOf(token);
      if (at < depth || (at === depth && stops.has(token.tokenType))) return;
      this.SKIP_TOKEN();
    }
  }
}

/** Thrown once what is too deep was reported, to leave it. */
export class TooDeep extends Error {
  override readonly name = "TooDeep";
}

function isMistake(error: unknown): error is Error & IRecognitionException {
  return error instanceof Error && isRecognitionException(error);
}
