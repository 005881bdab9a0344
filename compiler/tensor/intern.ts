/**
 * Hash-consing of structures written as words: equal word sequences get equal dense ids.
 *
 * One table serves scalars, nodes and types. A structure is written into the shared scratch by `begin` and `word`,
 * then `id` gives the number of the equal structure that was there before, or the next free one.
 */
const startSlots = 1024;
const startHash = 0x811c9dc5 | 0;

export class Interner {
  #slots = new Int32Array(startSlots).fill(-1);
  #hashes = new Int32Array(startSlots);
  /** Where each entry's words begin in the pool; one more than there are entries. */
  #starts = new Int32Array(startSlots);
  #pool = new Int32Array(startSlots * 8);
  #scratch = new Int32Array(64);
  #length = 0;
  #hash = startHash;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  begin(): void {
    this.#length = 0;
    this.#hash = startHash;
  }

  word(value: number): void {
    if (this.#length === this.#scratch.length) this.#scratch = grow(this.#scratch);
    this.#scratch[this.#length++] = value;
    const hash = Math.imul(this.#hash ^ value, 0x01000193);
    this.#hash = hash ^ (hash >>> 15);
  }

  /** Ids below the former `size` are old entries; the id equal to the former `size` is new. */
  id(): number {
    // Fields are read once: a process that compiles one program runs this before anything is optimized.
    const hash = this.#hash;
    const slots = this.#slots;
    const hashes = this.#hashes;
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (;;) {
      const entry = slots[slot] ?? -1;
      if (entry < 0) break;
      if (hashes[entry] === hash && this.#equals(entry)) return entry;
      slot = (slot + 1) & mask;
    }
    return this.#insert(hash, slot);
  }

  #equals(entry: number): boolean {
    const scratch = this.#scratch;
    const length = this.#length;
    const pool = this.#pool;
    const start = this.#starts[entry] ?? 0;
    if ((this.#starts[entry + 1] ?? 0) - start !== length) return false;
    for (let i = 0; i < length; i++) {
      if (pool[start + i] !== scratch[i]) return false;
    }
    return true;
  }

  #insert(hash: number, slot: number): number {
    const id = this.#size++;
    if (id + 2 > this.#starts.length) {
      this.#starts = grow(this.#starts);
      this.#hashes = grow(this.#hashes);
    }
    const start = this.#starts[id] ?? 0;
    while (start + this.#length > this.#pool.length) this.#pool = grow(this.#pool);
    // Entries are a few words: a view of the scratch costs more than they do.
    for (let i = 0; i < this.#length; i++) this.#pool[start + i] = this.#scratch[i] ?? 0;
    this.#starts[id + 1] = start + this.#length;
    this.#hashes[id] = hash;
    this.#slots[slot] = id;
    if (this.#size * 2 > this.#slots.length) this.#rehash();
    return id;
  }

  #rehash(): void {
    this.#slots = new Int32Array(this.#slots.length * 2).fill(-1);
    const slots = this.#slots;
    const hashes = this.#hashes;
    const size = this.#size;
    const mask = slots.length - 1;
    for (let id = 0; id < size; id++) {
      let slot = (hashes[id] ?? 0) & mask;
      while ((slots[slot] ?? -1) >= 0) slot = (slot + 1) & mask;
      slots[slot] = id;
    }
  }
}

function grow(words: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const wider = new Int32Array(words.length * 2);
  wider.set(words);
  return wider;
}
