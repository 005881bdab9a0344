/** Text under construction: indented lines, the map from them to the source, and names that are free. */

export interface EmittedLine {
  /** First line of the text, from 1, that comes from `source`; those after it do too, up to the next entry. */
  readonly line: number;
  /** `model.dsl:12:5`. */
  readonly source: string;
}

export interface Emitted {
  readonly text: string;
  readonly lines: readonly EmittedLine[];
  /** Name of the kernel in the text. */
  readonly entry: string;
  /** What the text needs the device to have, by the target's own names: `subgroups`, `shader-f16`. */
  readonly features: readonly string[];
}

export class Writer {
  readonly #lines: string[] = [];
  readonly #sources: EmittedLine[] = [];
  readonly #indent: string;
  #depth = 0;
  #source: string | undefined = undefined;

  constructor(indent: string) {
    this.#indent = indent;
  }

  line(text: string): void {
    this.#lines.push(text === "" ? "" : this.#indent.repeat(this.#depth) + text);
    if (this.#source !== undefined && this.#sources.at(-1)?.source !== this.#source) {
      this.#sources.push({ line: this.#lines.length, source: this.#source });
    }
  }

  /** `head {`, the body, `}`. */
  block(head: string, body: () => void, tail = "}"): void {
    this.line(`${head} {`);
    this.indented(body);
    this.line(tail);
  }

  indented(body: () => void): void {
    this.#depth += 1;
    body();
    this.#depth -= 1;
  }

  /** What follows comes from there. */
  at(source: string): void {
    this.#source = source;
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  text(): string {
    return `${this.#lines.join("\n")}\n`;
  }

  sources(): readonly EmittedLine[] {
    return this.#sources;
  }
}

/**
 * Text of any kind as the rest of a line comment: what some language ends a line at (WGSL at U+0085 and U+2028,
 * too), or goes on behind one with (C++, a last backslash), is gone.
 */
export function oneLine(text: string): string {
  return text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ").replace(/[\s\\]+$/, "");
}

/** Hands out identifiers that are legal in a language and not taken. */
export class Names {
  readonly #taken: Set<string>;
  readonly #next = new Map<string, number>();

  /** `reserved` are the language's keywords and whatever else must keep its meaning. */
  constructor(reserved: Iterable<string>) {
    this.#taken = new Set(reserved);
  }

  /** As close to the hint as may be: other characters become `_`, a number is added where the name is taken. */
  fresh(hint: string): string {
    const legal = hint
      .replace(/[^A-Za-z0-9_]/g, "_")
      .replace(/^_+/, "")
      .slice(0, 48);
    const stem = legal === "" ? "t" : /^[0-9]/.test(legal) ? `n${legal}` : legal;
    if (this.#take(stem)) return stem;
    // A stem that ends in a digit takes a separator: `x1` and a second `x` stay apart.
    const separator = /[0-9]$/.test(stem) ? "_" : "";
    for (let number = this.#next.get(stem) ?? 1; ; number += 1) {
      const name = `${stem}${separator}${number}`;
      if (!this.#take(name)) continue;
      this.#next.set(stem, number + 1);
      return name;
    }
  }

  #take(name: string): boolean {
    if (this.#taken.has(name)) return false;
    this.#taken.add(name);
    return true;
  }
}
