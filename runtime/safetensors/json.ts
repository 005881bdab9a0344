/**
 * A JSON reader for headers from outside. Unlike `JSON.parse` it refuses a key that stands twice and nesting below
 * a few levels, gives `Map`s (a tensor may be named `__proto__`), and stops at a count of values, so that a file of
 * any size costs a bounded time.
 */

export type Json = string | number | boolean | null | readonly Json[] | ReadonlyMap<string, Json>;

/** Why a text is not what `parseJson` takes: a sentence's end, after the caller's "the header". */
export class JsonError extends Error {
  override readonly name = "JsonError";
}

export interface JsonLimits {
  /** Levels of arrays and objects. */
  readonly depth: number;
  /** Values in all. */
  readonly values: number;
  /** Members of one object. */
  readonly members: number;
}

export function parseJson(text: string, limits: JsonLimits): Json {
  const reader = new Reader(text, limits);
  const value = reader.value(0);
  reader.end();
  return value;
}

const numberPattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** A string without escapes or control characters: nearly all of them. */
// oxlint-disable-next-line no-control-regex -- JSON forbids them unescaped.
const plainPattern = /"[^"\\\u0000-\u001f]*"/y;
const spacePattern = /[ \t\r\n]*/y;

class Reader {
  readonly #text: string;
  readonly #limits: JsonLimits;
  #at = 0;
  #values = 0;

  constructor(text: string, limits: JsonLimits) {
    this.#text = text;
    this.#limits = limits;
  }

  value(depth: number): Json {
    this.#values += 1;
    if (this.#values > this.#limits.values)
      throw new JsonError(`has more than ${this.#limits.values} values`);
    this.#space();
    const first = this.#text[this.#at];
    if (first === "{" || first === "[") {
      if (depth >= this.#limits.depth) throw new JsonError(`is nested more than ${this.#limits.depth} deep`);
      return first === "{" ? this.#object(depth + 1) : this.#array(depth + 1);
    }
    if (first === '"') return this.#string();
    for (const [word, value] of words) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return Number(this.#match(numberPattern) ?? this.#fail());
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) this.#fail();
  }

  #object(depth: number): ReadonlyMap<string, Json> {
    const entries = new Map<string, Json>();
    this.#at += 1;
    if (this.#taken("}")) return entries;
    for (;;) {
      this.#space();
      const key = this.#string();
      if (entries.has(key)) throw new JsonError(`has the key ${JSON.stringify(key.slice(0, 80))} twice`);
      if (!this.#taken(":")) this.#fail();
      if (entries.size >= this.#limits.members)
        throw new JsonError(`has more than ${this.#limits.members} entries`);
      entries.set(key, this.value(depth));
      if (this.#taken("}")) return entries;
      if (!this.#taken(",")) this.#fail();
    }
  }

  #array(depth: number): readonly Json[] {
    const items: Json[] = [];
    this.#at += 1;
    if (this.#taken("]")) return items;
    for (;;) {
      items.push(this.value(depth));
      if (this.#taken("]")) return items;
      if (!this.#taken(",")) this.#fail();
    }
  }

  #string(): string {
    const plain = this.#match(plainPattern);
    if (plain !== undefined) return plain.slice(1, -1);
    return this.#escapedString();
  }

  /** A loop, since a pattern with a choice in its repetition overflows the engine's stack on a long string. */
  #escapedString(): string {
    const start = this.#at;
    if (this.#text[start] !== '"') this.#fail();
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') end += this.#text[end] === "\\" ? 2 : 1;
    this.#at = end + 1;
    try {
      return String(JSON.parse(this.#text.slice(start, end + 1)));
    } catch (error) {
      if (error instanceof SyntaxError) throw new JsonError(`has a bad string at character ${start}`);
      throw error;
    }
  }

  #taken(mark: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== mark) return false;
    this.#at += 1;
    return true;
  }

  #space(): void {
    this.#match(spacePattern);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #fail(): never {
    throw new JsonError(`is not JSON at character ${this.#at}`);
  }
}

const words: readonly (readonly [string, boolean | null])[] = [
  ["true", true],
  ["false", false],
  ["null", null],
];
