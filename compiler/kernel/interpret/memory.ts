/**
 * Memory of the kernel interpreter: bytes, with bounds, and with a log of who touched them, so that what only
 * happens to work in lockstep is an error here.
 */
import { dtypes, type DType } from "../../types/dtype.ts";
import type { Buffer } from "../ir.ts";
import type { ScalarValue } from "../scalar.ts";
import type { Handed, Order } from "./order.ts";

/** What a kernel did that it must not do; the message names the kernel, the buffer, the place and the thread. */
export class KernelFault extends Error {
  override readonly name = "KernelFault";
}

export interface Toucher {
  /** Number of the block in the grid. */
  readonly block: number;
  readonly thread: number;
  /** Barriers that the block, or its role in it, has passed. */
  readonly epoch: number;
  /** Where parts of the block run at once. */
  readonly order: Order | undefined;
  /** What other blocks have handed on to this one; undefined where blocks know nothing of each other. */
  readonly handed?: Handed;
}

type Access = "read" | "write" | "atomic";

/** Last accesses of each byte: who (a thread of a block), when, and in what way. */
class AccessLog {
  readonly #writer: Float64Array;
  readonly #writeEpoch: Int32Array;
  readonly #writeKind: Uint8Array;
  readonly #reader: Float64Array;
  readonly #readEpoch: Int32Array;
  readonly #severalReaders: Uint8Array;

  constructor(bytes: number) {
    this.#writer = new Float64Array(bytes).fill(-1);
    this.#writeEpoch = new Int32Array(bytes);
    this.#writeKind = new Uint8Array(bytes);
    this.#reader = new Float64Array(bytes).fill(-1);
    this.#readEpoch = new Int32Array(bytes);
    this.#severalReaders = new Uint8Array(bytes);
  }

  /** True where another thread's access may come before or after this one. */
  conflicts(byte: number, access: Access, who: Toucher): boolean {
    const me = numberOf(who);
    const writer = this.#writer[byte] ?? -1;
    const atomics = access === "atomic" && this.#writeKind[byte] === 1;
    if (writer >= 0 && writer !== me && !atomics && !isOrdered(writer, this.#writeEpoch[byte] ?? 0, who))
      return true;
    if (access === "read") return false;
    const reader = this.#reader[byte] ?? -1;
    const isOther = reader >= 0 && (reader !== me || this.#severalReaders[byte] === 1);
    return isOther && !isOrdered(reader, this.#readEpoch[byte] ?? 0, who);
  }

  record(byte: number, access: Access, who: Toucher): void {
    const me = numberOf(who);
    if (access !== "read") {
      this.#writer[byte] = me;
      this.#writeEpoch[byte] = who.epoch;
      this.#writeKind[byte] = access === "atomic" ? 1 : 0;
      return;
    }
    const reader = this.#reader[byte] ?? -1;
    const isSame = reader === -1 || reader === me || isBehind(reader, this.#readEpoch[byte] ?? 0, who);
    this.#severalReaders[byte] = isSame ? 0 : 1;
    this.#reader[byte] = me;
    this.#readEpoch[byte] = who.epoch;
  }
}

const threadsPerBlock = 4096;

function numberOf(who: Toucher): number {
  return who.block * threadsPerBlock + who.thread;
}

/** Accesses of one block with a barrier between them, or of two with a flag between. */
function isOrdered(other: number, epoch: number, who: Toucher): boolean {
  const block = Math.floor(other / threadsPerBlock);
  if (block !== who.block) return who.handed?.isBefore(block, other % threadsPerBlock, epoch) ?? false;
  return who.order === undefined ? epoch < who.epoch : who.order.isBefore(other % threadsPerBlock, epoch);
}

/** An earlier read that a later write need not be told of any more. */
function isBehind(reader: number, epoch: number, who: Toucher): boolean {
  return who.order === undefined ? epoch !== who.epoch : isOrdered(reader, epoch, who);
}

/** Bytes that a copy is under way to. */
export interface Filling {
  readonly first: number;
  readonly end: number;
}

export class BufferMemory {
  readonly buffer: Buffer;
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #log: AccessLog;
  readonly #kernel: string;
  readonly #fillings = new Set<Filling>();

  constructor(kernel: string, buffer: Buffer, bytes: Uint8Array) {
    this.#kernel = kernel;
    this.buffer = buffer;
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#log = new AccessLog(bytes.length);
  }

  fault(what: string, who: Toucher): never {
    throw new KernelFault(
      `${this.#kernel}: ${what} ${this.buffer.name}, by thread ${who.thread} of block ${who.block}`,
    );
  }

  /** Checks and logs an access to whole elements. */
  touch(index: number, count: number, access: Access, who: Toucher): void {
    const size = dtypes[this.buffer.dtype].bytes;
    const length = Math.floor(this.bytes.length / size);
    if (index < 0 || index + count > length)
      this.fault(`${access} of elements ${index}..${index + count - 1} outside of the ${length} of`, who);
    if (index % count !== 0)
      this.fault(`${access} of ${count} elements at ${index}, no multiple of ${count}, in`, who);
    this.touchBytes(index * size, count * size, access, who);
  }

  touchBytes(first: number, count: number, access: Access, who: Toucher): void {
    this.check(first, count, access, who);
    for (let byte = first; byte < first + count; byte += 1) this.#log.record(byte, access, who);
  }

  /** What an access of these bytes would be at fault for. */
  check(first: number, count: number, access: Access, who: Toucher): void {
    if (first < 0 || first + count > this.bytes.length)
      this.fault(
        `${access} of bytes ${first}..${first + count - 1} outside of the ${this.bytes.length} of`,
        who,
      );
    for (const filling of this.#fillings)
      if (first < filling.end && filling.first < first + count)
        this.fault(
          `${access} of bytes ${first}..${first + count - 1} while a copy is under way to them in`,
          who,
        );
    for (let byte = first; byte < first + count; byte += 1)
      if (this.#log.conflicts(byte, access, who))
        this.fault(`${access} of byte ${byte} races with another thread in`, who);
  }

  /** A copy to these bytes begins; until it is done nobody touches them. */
  fill(first: number, count: number): Filling {
    const filling: Filling = { first, end: first + count };
    this.#fillings.add(filling);
    return filling;
  }

  filled(filling: Filling): void {
    this.#fillings.delete(filling);
  }

  get(index: number): ScalarValue {
    return readers[this.buffer.dtype](this.#view, index);
  }

  set(index: number, value: ScalarValue): void {
    writers[this.buffer.dtype](this.#view, index, value);
  }
}

type Reader = (view: DataView, index: number) => ScalarValue;
type Writer = (view: DataView, index: number, value: ScalarValue) => void;

const byteReader: Reader = (view, index) => view.getUint8(index);
const halfReader: Reader = (view, index) => view.getUint16(2 * index, true);

const readers: Readonly<Record<DType, Reader>> = {
  f32: (view, index) => view.getFloat32(4 * index, true),
  i32: (view, index) => view.getInt32(4 * index, true),
  u32: (view, index) => view.getUint32(4 * index, true),
  i64: (view, index) => view.getBigInt64(8 * index, true),
  f16: halfReader,
  bf16: halfReader,
  e4m3: byteReader,
  e5m2: byteReader,
  i8: byteReader,
  u8: byteReader,
  bool: (view, index) => view.getUint8(index) !== 0,
};

const byteWriter: Writer = (view, index, value) => view.setUint8(index, Number(value));
const halfWriter: Writer = (view, index, value) => view.setUint16(2 * index, Number(value), true);

const writers: Readonly<Record<DType, Writer>> = {
  f32: (view, index, value) => view.setFloat32(4 * index, Number(value), true),
  i32: (view, index, value) => view.setInt32(4 * index, Number(value), true),
  u32: (view, index, value) => view.setUint32(4 * index, Number(value), true),
  i64: (view, index, value) => view.setBigInt64(8 * index, BigInt(value), true),
  f16: halfWriter,
  bf16: halfWriter,
  e4m3: byteWriter,
  e5m2: byteWriter,
  i8: byteWriter,
  u8: byteWriter,
  bool: byteWriter,
};
