/**
 * Reading the textual forms of our IRs: one tokenizer and one reader for all three.
 *
 * Tokens are words (`loop`, `shuffle-xor`), names with a sigil (`%3`, `$acc`, `@row`), numbers, JSON strings and
 * punctuation. Line ends mean nothing; `;` begins a comment, to the end of its line, only where a line begins.
 * Text of ours that does not parse is a mistake of ours: an `InternalError` that says where.
 */
import { InternalError } from "./diagnostics/diagnostic.ts";

export interface Token {
  readonly kind: "word" | "name" | "number" | "string" | "punctuation" | "end";
  /** As written; a string without its quotes and escapes. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const space = /(?:\s|^[ \t]*;[^\n]*)+/my;
const word = /[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z][A-Za-z0-9_]*)*/y;
const name = /[%$@][A-Za-z0-9_]+/y;
const number = /-?(?:inf|nan)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const string = /"(?:[^"\\\n]|\\.)*"/y;
const punctuation = /->|==|!=|<=|>=|[^\s\w]/y;

export class TextReader {
  readonly #text: string;
  #token: Token;

  constructor(text: string) {
    this.#text = text;
    this.#token = this.#scan(0);
  }

  /** The next token, which stays unread. */
  get token(): Token {
    return this.#token;
  }

  next(): Token {
    const token = this.#token;
    this.#token = this.#scan(token.end);
    return token;
  }

  /** True if the next token is this word or punctuation. */
  at(text: string): boolean {
    return this.#token.text === text && (this.#token.kind === "word" || this.#token.kind === "punctuation");
  }

  /** True if the text goes on as this sticky pattern says, from the next token. */
  follows(pattern: RegExp): boolean {
    pattern.lastIndex = this.#token.start;
    return pattern.test(this.#text);
  }

  accept(text: string): boolean {
    if (!this.at(text)) return false;
    this.next();
    return true;
  }

  expect(text: string): void {
    if (!this.accept(text)) this.fail(`expected '${text}'`);
  }

  word(): string {
    return this.#take("word");
  }

  /** A name without its sigil. */
  name(sigil: "%" | "$" | "@"): string {
    if (!this.#token.text.startsWith(sigil)) this.fail(`expected a name with ${sigil}`);
    return this.#take("name").slice(1);
  }

  string(): string {
    return this.#take("string");
  }

  number(): number {
    return parseNumber(this.#take("number"));
  }

  integer(): number {
    const value = this.number();
    if (!Number.isSafeInteger(value)) this.fail("expected an integer");
    return value;
  }

  /** `item` separated by commas until `close`, which is read too. */
  list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.accept(close)) {
      if (items.length > 0) this.expect(",");
      items.push(item());
    }
    return items;
  }

  /** The text up to the first of `stops` outside brackets; for parts with a grammar of their own, such as sizes. */
  slice(...stops: readonly string[]): string {
    const start = this.#token.start;
    let end = start;
    let depth = 0;
    while (depth > 0 || !stops.includes(this.#token.text)) {
      if (this.#token.kind === "end") this.fail(`expected one of ${stops.join(" ")}`);
      if ("([{".includes(this.#token.text)) depth += 1;
      if (")]}".includes(this.#token.text)) depth -= 1;
      if (depth < 0) break;
      end = this.next().end;
    }
    return this.#text.slice(start, end);
  }

  fail(message: string): never {
    const before = this.#text.slice(0, this.#token.start).split("\n");
    const column = (before.at(-1) ?? "").length + 1;
    const found = this.#token.kind === "end" ? "the end" : `'${this.#token.text}'`;
    throw new InternalError(`${before.length}:${column}: ${message}, found ${found}`);
  }

  #take(kind: Token["kind"]): string {
    if (this.#token.kind !== kind) this.fail(`expected a ${kind}`);
    return this.next().text;
  }

  #scan(from: number): Token {
    const start = this.#match(space, from)?.length ?? 0;
    const at = from + start;
    if (at >= this.#text.length) return { kind: "end", text: "", start: at, end: at };
    const make = (kind: Token["kind"], text: string): Token => ({
      kind,
      text,
      start: at,
      end: at + text.length,
    });
    const digits = this.#match(number, at);
    if (digits !== undefined) return make("number", digits);
    const letters = this.#match(word, at);
    if (letters !== undefined) return make("word", letters);
    const named = this.#match(name, at);
    if (named !== undefined) return make("name", named);
    const quoted = this.#match(string, at);
    if (quoted !== undefined) {
      const value: unknown = JSON.parse(quoted);
      return { kind: "string", text: String(value), start: at, end: at + quoted.length };
    }
    return make("punctuation", this.#match(punctuation, at) ?? this.#text.charAt(at));
  }

  #match(pattern: RegExp, at: number): string | undefined {
    pattern.lastIndex = at;
    return pattern.exec(this.#text)?.[0];
  }
}

/** Prints an f64 so that it reads back as the same value and as no integer: `2.0`, `1e-6`, `-inf`. */
export function printFloat(value: number): string {
  if (value !== value) return "nan";
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const plain = /[.e]/.test(String(value)) ? String(value) : `${value}.0`;
  const scientific = value.toExponential();
  return scientific.length < plain.length ? scientific.replace("e+", "e") : plain;
}

function parseNumber(text: string): number {
  const sign = text.startsWith("-") ? -1 : 1;
  if (text.endsWith("inf")) return sign * Infinity;
  if (text.endsWith("nan")) return Number.NaN;
  return Number(text);
}
