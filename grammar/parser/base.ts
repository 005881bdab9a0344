/** The parser's ground: tokens as names and spans, lists, and going on after a mistake. */

import {
  EmbeddedActionsParser,
  EOF,
  isRecognitionException,
  type IRecognitionException,
  type IToken,
  type TokenType,
} from "../chevrotain.ts";
import type { Name as NameNode, Span } from "../ast.ts";
import { maxErrors, type SyntaxError, type SyntaxErrorCode } from "../errors.ts";
import { depthOf, endOf } from "../layout-lines.ts";
import { limits } from "../limits.ts";
import { explain, messages } from "../parser-errors.ts";
import { End, keyword, Name, parserTokens } from "../tokens.ts";

export const nameParts = "give the inner parts names with 'let'";

export const comma: TokenType = keyword(",");
export const closers: ReadonlySet<TokenType> = new Set([")", "]", "}"].map(keyword));
/** What no item of a list begins with. */
const listEnds: ReadonlySet<TokenType> = new Set([
  ...closers,
  ...["{", ">", ":", "where"].map(keyword),
  End,
  EOF,
]);
/** What ends a statement that cannot be read, unless it stands in brackets. */
export const statementEnd: ReadonlySet<TokenType> = new Set([End]);

export abstract class GroundParser extends EmbeddedActionsParser {
  /** The errors of this parse, in the order in which they are met. */
  protected found: SyntaxError[] = [];
  protected text = "";
  /** Expressions and types around us. */
  protected depth = 0;
  /** `if`s around us, in the same brackets, whose `else` is still to come. */
  protected owed = 0;

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
    const items: T[] = [];
    if (this.RECORDING_PHASE) {
      // Chevrotain tells the repetitions of a rule apart by number: ours are beyond those that a rule gives.
      const number = 100 + index;
      this.many(number, () => {
        items.push(item());
        this.option(number, () => this.consume(number, comma));
      });
      return items;
    }
    while (!listEnds.has(this.next())) {
      items.push(item());
      if (this.next() !== comma) break;
      this.SKIP_TOKEN();
    }
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

  protected skipEnds(): void {
    while (this.next() === End && !this.RECORDING_PHASE) this.SKIP_TOKEN();
  }

  // ---------------------------------------------------------------- mistakes

  protected fail(span: Span, code: SyntaxErrorCode, message: string, help: string | undefined): void {
    if (this.RECORDING_PHASE || this.found.length >= maxErrors) return;
    this.found.push({ span, code, message, help });
  }

  /** Runs `body`; on a mistake reports it, reads up to one of `stops` in our brackets, and gives `fallback()`. */
  protected guard<T>(stops: ReadonlySet<TokenType>, body: () => T, fallback: () => T): T {
    const brackets = depthOf(this.LA(1));
    const { depth, owed } = this;
    try {
      return body();
    } catch (error) {
      this.depth = depth;
      this.owed = owed;
      if (isMistake(error)) {
        if (this.found.length < maxErrors) this.found.push(explain(error, this.text));
      } else if (!(error instanceof TooDeep)) throw error;
      if (this.found.length >= maxErrors) this.giveUp();
      this.skipTo(stops, brackets);
      return fallback();
    }
  }

  /** Goes one expression or type deeper, unless there are too many. `guard` comes back up after a mistake. */
  protected enter(): void {
    if (this.depth >= limits.nesting && !this.RECORDING_PHASE) {
      const at = this.here();
      const message = `expressions and types are nested more than ${limits.nesting} deep here`;
      this.fail({ start: at, end: at }, "WF1004", message, nameParts);
      throw new TooDeep();
    }
    this.depth += 1;
  }

  protected leave(): void {
    this.depth -= 1;
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
