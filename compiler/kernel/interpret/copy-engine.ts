/**
 * The copy engine of a block (PTX ISA 5.5, "Tensors"): boxes of tensor maps to and from shared memory.
 *
 * A box lies row-major in shared memory, its 16-byte units swizzled by address bits (5.5.6): unit bits 4 to 6 of an
 * address are xor'ed with bits 7 to 9 for 128 bytes, two or one of each for 64 and 32. A load is written when nobody
 * can go on without it, and its bytes may not be touched until then; a store reads at the wait that says so, and
 * writes at the one that says so or at the block's end.
 */
import { dtypes } from "../../types/dtype.ts";
import { AsyncCopies } from "../instructions.ts";
import type { Swizzle, TensorMap } from "../ir.ts";
import type { BufferMemory, Toucher } from "./memory.ts";
import type { Mbarrier } from "./mbarriers.ts";
import { engineThread, releaseEngine } from "./order.ts";

/** A place in shared memory: the buffer's bytes, where, and where in the block's memory that is. */
export interface SharedPlace {
  readonly memory: BufferMemory;
  readonly byte: number;
  readonly address: number;
}

export interface Box {
  readonly map: TensorMap;
  readonly extents: readonly number[];
  readonly coordinates: readonly number[];
  readonly shared: SharedPlace;
  readonly global: BufferMemory;
  readonly who: () => Toucher;
}

/** Where a load goes: a place in a block's shared memory, and who counts its bytes there. */
export interface Target {
  readonly block: number;
  readonly shared: SharedPlace;
  readonly barrier: Mbarrier;
  readonly engine: CopyEngine;
}

interface Load {
  readonly write: () => void;
}

export class CopyEngine {
  readonly #loads: Load[] = [];
  #written = 0;
  readonly #reads = new AsyncCopies();
  readonly #writes = new AsyncCopies();
  readonly #threads = new Set<number>();

  /** To each of the places, which lie alike in the blocks that they are of. */
  load(box: Box, targets: readonly Target[]): void {
    const bytes = boxBytes(box.map);
    checkPlace(box);
    // What was there must be done with, as if the copy began now; nobody touches it until it is done.
    const fillings = targets.map(({ shared: { memory, byte } }) => {
      memory.check(byte, bytes, "write", box.who());
      return memory.fill(byte, bytes);
    });
    for (const row of rowsOf(box))
      if (row.count > 0) box.global.touchBytes(row.from, row.count, "read", box.who());
    const write = (): void => {
      targets.forEach((target, k) => {
        const filling = fillings[k];
        if (filling !== undefined) target.shared.memory.filled(filling);
        target.engine.#land({ ...box, shared: target.shared }, target, bytes);
      });
    };
    this.#loads.push({ write });
  }

  #land(box: Box, { block, barrier }: Target, bytes: number): void {
    const { memory, byte } = box.shared;
    this.#written += 1;
    const epoch = this.#written;
    const engine: Toucher = { block, thread: engineThread, epoch, order: { isBefore: () => true } };
    memory.touchBytes(byte, bytes, "write", engine);
    for (const row of rowsOf(box)) {
      const contents = new Uint8Array(row.bytes);
      contents.set(box.global.bytes.subarray(row.from, row.from + row.count), row.skip);
      for (let at = 0; at < row.bytes; at += unit)
        memory.bytes.set(contents.subarray(at, at + unit), swizzledByte(box, row.at + at));
    }
    barrier.complete(bytes, (to) => releaseEngine(to, epoch));
  }

  /** Writes the oldest load under way; false where there is none. */
  advance(): boolean {
    const oldest = this.#loads.shift();
    oldest?.write();
    return oldest !== undefined;
  }

  store(box: Box, thread: number): void {
    const { memory, byte } = box.shared;
    const bytes = boxBytes(box.map);
    checkPlace(box);
    memory.touchBytes(byte, bytes, "read", box.who());
    let contents: Uint8Array = new Uint8Array(0);
    this.#threads.add(thread);
    this.#reads.begin(thread, () => {
      memory.touchBytes(byte, bytes, "read", box.who());
      contents = memory.bytes.slice(byte, byte + bytes);
    });
    this.#writes.begin(thread, () => {
      for (const row of rowsOf(box)) {
        if (row.count === 0) continue;
        box.global.touchBytes(row.from, row.count, "write", box.who());
        const first = row.skip - (row.skip % unit);
        for (let at = first; at < row.skip + row.count; at += unit) {
          const from = swizzledByte(box, row.at + at) - byte;
          const low = Math.max(at, row.skip);
          const high = Math.min(at + unit, row.skip + row.count);
          box.global.bytes.set(
            contents.subarray(from + low - at, from + high - at),
            row.from + low - row.skip,
          );
        }
      }
    });
  }

  commitStores(thread: number): void {
    this.#reads.commit(thread);
    this.#writes.commit(thread);
  }

  waitStores(thread: number, pending: number, until: "read" | "written"): void {
    this.#reads.wait(thread, pending);
    if (until === "written") this.#writes.wait(thread, pending);
  }

  /** At the block's end: undefined where all is well. What was read from shared memory is written on its own. */
  finish(): string | undefined {
    if (this.#loads.length > 0) return `${this.#loads.length} loads of boxes are still under way at the end`;
    if (this.#reads.unfinished) return "stores of boxes are still under way at the end";
    for (const thread of this.#threads) this.#writes.wait(thread, 0);
    return this.#writes.unfinished ? "stores of boxes are in no group at the end" : undefined;
  }
}

const unit = 16;
/** Bytes that a box in shared memory begins at a multiple of. */
const plainAlign = 128;
/** Rows after which a swizzle repeats. */
const period = 8;

function boxBytes({ box, buffer }: TensorMap): number {
  return box.reduce((all, n) => all * n, 1) * dtypes[buffer.dtype].bytes;
}

function checkPlace({ map, shared, who }: Box): void {
  const align = map.swizzle === 0 ? plainAlign : Math.max(plainAlign, period * map.swizzle);
  if (shared.address % align !== 0)
    shared.memory.fault(
      `a box of ${map.name} at byte ${shared.address} of shared memory, no multiple of ${align}, in`,
      who(),
    );
}

/** The address with its unit moved by the swizzle. */
export function swizzled(address: number, swizzle: Swizzle): number {
  const units = swizzle === 0 ? 0 : swizzle / unit - 1;
  return address ^ (((address >> 7) & units) << 4);
}

function swizzledByte({ map, shared }: Box, byte: number): number {
  return swizzled(shared.address + byte, map.swizzle) - shared.address + shared.byte;
}

interface Row {
  /** Bytes from the box's begin, and how many. */
  readonly at: number;
  readonly bytes: number;
  /** Of them in the tensor: `count`, after `skip` that are not, from byte `from` of the buffer. */
  readonly skip: number;
  readonly count: number;
  readonly from: number;
}

/** Rows of the box along the innermost dim, in order. */
function* rowsOf({ map, extents, coordinates }: Box): Generator<Row> {
  const { bytes } = dtypes[map.buffer.dtype];
  const last = map.box.length - 1;
  const width = map.box[last] ?? 0;
  const extent = extents[last] ?? 0;
  const start = coordinates[last] ?? 0;
  const low = Math.min(width, Math.max(0, -start));
  const high = Math.max(low, Math.min(width, extent - start));
  const outer = map.box.slice(0, last);
  const rows = outer.reduce((all, n) => all * n, 1);
  for (let row = 0; row < rows; row += 1) {
    let rest = row;
    let isInside = true;
    let first = 0;
    let stride = extent;
    for (let dim = last - 1; dim >= 0; dim -= 1) {
      const n = map.box[dim] ?? 1;
      const at = (coordinates[dim] ?? 0) + (rest % n);
      rest = Math.floor(rest / n);
      isInside &&= at >= 0 && at < (extents[dim] ?? 0);
      first += at * stride;
      stride *= extents[dim] ?? 0;
    }
    const count = isInside ? high - low : 0;
    yield {
      at: row * width * bytes,
      bytes: width * bytes,
      skip: low * bytes,
      count: count * bytes,
      from: count === 0 ? 0 : (first + start + low) * bytes,
    };
  }
}
