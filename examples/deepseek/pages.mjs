// Where the rows of sequences are in a paged cache: pages are given out as sequences grow, in no order, and one table
// says for all layers which page has which rows.
import { fromNumbers } from "weft/runtime";

export class PageTable {
  #pageRows;
  #slots;
  #free;
  #pages;

  /** Room for `sequences` of up to `longest` tokens each. */
  constructor(sequences, longest, pageRows) {
    this.#pageRows = pageRows;
    this.#slots = Math.ceil(longest / pageRows);
    this.lengths = Array.from({ length: sequences }, () => 0);
    this.#pages = this.lengths.map(() => []);
    const count = this.pageCount;
    // Every seventh page, around and around: what follows in a sequence is seldom next in memory.
    const stride = [7, 11, 13].find((step) => count % step !== 0) ?? 1;
    this.#free = Array.from({ length: count }, (_, k) => (k * stride) % count);
  }

  get pageCount() {
    return this.lengths.length * this.#slots;
  }

  get longest() {
    return this.#slots * this.#pageRows;
  }

  /** Pages for `count[b]` more rows of each sequence; throws where there is no room. */
  reserve(count) {
    for (const [b, more] of count.entries()) {
      const rows = this.lengths[b] + more;
      if (rows > this.longest)
        throw new Error(`sequence ${b} has ${rows} tokens, and room for ${this.longest}`);
      while (this.#pages[b].length * this.#pageRows < rows) this.#pages[b].push(this.#free.pop());
    }
  }

  /** Places without a page have -1. */
  table() {
    const row = (pages) => Array.from({ length: this.#slots }, (_, k) => pages[k] ?? -1);
    return fromNumbers("i32", [this.#pages.length, this.#slots], this.#pages.flatMap(row));
  }

  /** `count[b]` rows have been appended. */
  advance(count) {
    for (const [b, more] of count.entries()) this.lengths[b] += more;
  }
}
