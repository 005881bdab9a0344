/** Instructions by their records: lends each warp or warpgroup its operands, and the block's engines. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { dtypes } from "../../types/dtype.ts";
import {
  type AsyncCopies,
  type BoxCopy,
  type DescribedTile,
  type Engines,
  type Fragments,
  type Instruction,
  instructionOf,
  type MatrixPointer,
  type Pointer,
  type Warp,
} from "../instructions.ts";
import type { Active, Block } from "./block.ts";
import type { Buffer, Op, Operand, Register, Value } from "../ir.ts";
import { isAddress, isMap, isMatrix, isRegister } from "../walk.ts";
import type { Box, SharedPlace } from "./copy-engine.ts";
import { readTile } from "./matrix-unit.ts";
import { Mbarrier } from "./mbarriers.ts";
import type { BufferMemory } from "./memory.ts";
import type { Flow } from "./roles.ts";

const warpSize = 32;
const warpgroupSize = 128;

export function runInstruction(op: Op<"instruction">, active: Active, cx: Block): void {
  const record = instructionOf(op.name);
  for (const warp of warpsOf(op, record, active, cx)) record.evaluate(warp);
}

/** Waits until each lane may go on; one that may does, whatever comes later. */
export function* waiting(op: Op<"instruction">, active: Active, cx: Block): Flow {
  const record = instructionOf(op.name);
  const missing = warpsOf(op, record, active, cx).flatMap((warp) =>
    warp.active.map((lane) => ({ warp, lane })),
  );
  const isOver = (): boolean => {
    for (let k = missing.length - 1; k >= 0; k -= 1) {
      const one = missing[k];
      if (one !== undefined && record.isReady?.(one.warp, one.lane) !== false) missing.splice(k, 1);
    }
    return missing.length === 0;
  };
  const what = (): string => {
    const [first] = missing;
    return first === undefined ? op.name : describe(op, first.warp, first.lane, cx);
  };
  if (!isOver()) yield { isOver, what };
  runInstruction(op, active, cx);
}

function describe(op: Op<"instruction">, warp: InterpretedWarp, lane: number, cx: Block): string {
  const [place] = op.operands;
  if (place === undefined || !isAddress(place)) return op.name;
  const thread = warp.firstThread + lane;
  const index = cx.number(place.index, thread);
  const state = cx.mbarriers.get(cx.shared(place.buffer, index).address)?.state ?? "it was not made";
  return `${op.name} of ${place.buffer.name}[${index}], parity ${warp.operand(1, lane)}: ${state}`;
}

function warpsOf(
  op: Op<"instruction">,
  record: Instruction,
  active: Active,
  cx: Block,
): readonly InterpretedWarp[] {
  const size = record.scope === "warpgroup" ? warpgroupSize : warpSize;
  const warps = new Map<number, number[]>();
  for (const thread of active) {
    const number = Math.floor(thread / size);
    const lanes = warps.get(number) ?? [];
    lanes.push(thread % size);
    warps.set(number, lanes);
  }
  return [...warps].map(([number, lanes]) => {
    if (record.scope !== "thread" && lanes.length !== size)
      cx.fault(`${op.name} by ${lanes.length} lanes of ${record.scope} ${number}`);
    return new InterpretedWarp(op, { lanes, number, size }, cx);
  });
}

class InterpretedWarp implements Warp, Engines {
  readonly active: readonly number[];
  readonly firstThread: number;
  readonly #op: Op<"instruction">;
  readonly #number: number;
  readonly #cx: Block;

  constructor(
    op: Op<"instruction">,
    part: { readonly lanes: readonly number[]; readonly number: number; readonly size: number },
    cx: Block,
  ) {
    this.#op = op;
    this.active = part.lanes;
    this.#number = part.number;
    this.firstThread = part.number * part.size;
    this.#cx = cx;
  }

  get engines(): Engines {
    return this;
  }

  get copies(): AsyncCopies {
    return this.#cx.copies(this.#number);
  }

  operand(position: number, lane: number): number {
    return Number(this.#cx.read(this.#value(position), this.firstThread + lane));
  }

  bits(position: number, lane: number): bigint {
    return BigInt(this.#cx.peek(this.#value(position), this.firstThread + lane));
  }

  pointer(position: number, lane: number): Pointer {
    const { buffer, index } = this.#place(position);
    return pointerTo(
      buffer,
      this.#cx.number(index, this.firstThread + lane),
      this.firstThread + lane,
      this.#cx,
    );
  }

  get fragments(): Fragments {
    return {
      operand: (position) => this.#fragment(this.#value(position)),
      current: (position) => this.#fragment(this.#result(position)),
      define: (position, elements) => {
        const dst = this.#result(position);
        const all = this.#cx.fragments.get(dst) ?? [];
        all[this.#number] = elements;
        this.#cx.fragments.set(dst, all);
      },
      pointer: (position) => this.#matrixPointer(position),
    };
  }

  #matrixPointer(position: number): MatrixPointer {
    const operand = this.#operand(position);
    invariant(isMatrix(operand), `${this.#op.name}: operand ${position} is no matrix in memory`);
    const { matrix, panel, offset, stride } = operand;
    const [first = 0, ...others] = this.active.map((lane) => this.#cx.number(panel, this.firstThread + lane));
    if (others.some((other) => other !== first))
      this.#cx.fault(`${this.#op.name}: lanes differ in the panel`);
    const { memory, byte } = pointerTo(matrix, first * (matrix.panel ?? 0), this.firstThread, this.#cx);
    return { memory, byte: byte + offset * (instructionOf(this.#op.name).matrixBytes ?? 1), stride };
  }

  #fragment(held: Value | Register): Float64Array {
    const found = this.#cx.fragments.get(held)?.[this.#number];
    invariant(found !== undefined, `${this.#op.name}: ${held.hint} is read before it is defined`);
    return found;
  }

  current(position: number, lane: number): number {
    const dst = this.#result(position);
    invariant(isRegister(dst), `${this.#op.name}: result ${position} is no register`);
    return Number(this.#cx.peek(dst, this.firstThread + lane));
  }

  define(position: number, lane: number, value: number): void {
    this.#cx.poke(this.#result(position), this.firstThread + lane, value);
  }

  // Barriers in memory.

  init(position: number, lane: number, count: number): void {
    const cx = this.#cx;
    const { memory, byte, address } = this.#shared(position, lane);
    memory.touchBytes(byte, mbarrierBytes, "write", cx.who(this.firstThread + lane));
    if (count <= 0) cx.fault(`an mbarrier of ${count} arrivals`);
    const name = `${memory.buffer.name}[${byte / dtypes[memory.buffer.dtype].bytes}]`;
    cx.mbarriers.set(address, new Mbarrier(name, count));
  }

  arrive(position: number, lane: number, bytes: number): void {
    const barrier = this.#barrier(position, lane);
    if (!barrier.arrive(this.#cx.role, bytes))
      this.#cx.fault(
        `${this.#op.name} by thread ${this.firstThread + lane} comes too often: ${barrier.state}`,
      );
  }

  arriveAt(position: number, lane: number, rank: number): void {
    const cx = this.#cx;
    const peer = cx.peer(rank);
    if (peer === cx) {
      this.arrive(position, lane, 0);
      return;
    }
    const { buffer, index } = this.#place(position);
    const { barrier, memory, byte } = peer.mbarrierAt(buffer, cx.number(index, this.firstThread + lane));
    memory.touchBytes(byte, mbarrierBytes, "atomic", cx.who(this.firstThread + lane));
    if (!barrier.arriveFrom(cx.handOn(), cx.handed))
      cx.fault(`${this.#op.name} comes too often: ${barrier.state}`);
  }

  isComplete(position: number, lane: number, parity: number): boolean {
    const cx = this.#cx;
    if (parity !== 0 && parity !== 1) cx.fault(`${this.#op.name} of parity ${parity}`);
    const barrier = this.#barrier(position, lane);
    if (!barrier.isComplete(parity)) return false;
    barrier.acquire(cx.role, cx.handed);
    return true;
  }

  // Copies.

  load(copy: BoxCopy & { readonly barrier: number; readonly blocks?: number }): void {
    const cx = this.#cx;
    const box = this.#box(copy);
    const own = {
      block: cx.place,
      shared: box.shared,
      barrier: this.#barrier(copy.barrier, copy.lane),
      engine: cx.engine,
    };
    const { blocks = 0 } = copy;
    if (blocks === 0) {
      cx.engine.load(box, [own]);
      return;
    }
    const [to, barrier] = [this.#place(copy.shared), this.#place(copy.barrier)];
    const thread = this.firstThread + copy.lane;
    const targets = Array.from({ length: blocks }, (_, rank) => {
      const peer = cx.peer(rank);
      if (peer === cx) return own;
      return {
        block: peer.place,
        shared: peer.shared(to.buffer, cx.number(to.index, thread)),
        barrier: peer.mbarrierAt(barrier.buffer, cx.number(barrier.index, thread)).barrier,
        engine: peer.engine,
      };
    });
    cx.engine.load(box, targets);
  }

  store(copy: BoxCopy): void {
    this.#cx.engine.store(this.#box(copy), this.firstThread + copy.lane);
  }

  commitStores(lane: number): void {
    this.#cx.engine.commitStores(this.firstThread + lane);
  }

  waitStores(lane: number, pending: number, until: "read" | "written"): void {
    this.#cx.engine.waitStores(this.firstThread + lane, pending, until);
  }

  // Flags.

  raise(position: number, lane: number): void {
    const [memory, index] = this.#flag(position, lane);
    if (memory.get(index) !== 0) this.#cx.fault(`${memory.buffer.name}[${index}] is up already`);
    memory.set(index, 1);
    this.#cx.raised(memory.buffer, index);
  }

  isRaised(position: number, lane: number): boolean {
    const { buffer, index } = this.#place(position);
    return this.#cx.memory(buffer).get(this.#cx.number(index, this.firstThread + lane)) !== 0;
  }

  lower(position: number, lane: number): void {
    const { buffer, index } = this.#place(position);
    this.#cx.lowered(buffer, this.#cx.number(index, this.firstThread + lane));
    const [memory, element] = this.#flag(position, lane);
    memory.set(element, 0);
  }

  #flag(position: number, lane: number): readonly [BufferMemory, number] {
    const { buffer, index } = this.#place(position);
    const memory = this.#cx.memory(buffer);
    const element = this.#cx.number(index, this.firstThread + lane);
    memory.touch(element, 1, "atomic", this.#cx.who(this.firstThread + lane));
    return [memory, element];
  }

  // Clusters.

  arriveAtCluster(threads: number): void {
    this.#cx.cluster.arrive(this.#cx, threads);
  }

  hasClusterMet(): boolean {
    return this.#cx.cluster.hasMet(this.#cx);
  }

  leaveCluster(): void {
    this.#cx.cluster.leave(this.#cx);
  }

  // Products.

  multiply(product: Parameters<Engines["multiply"]>[0]): void {
    const fragment = this.#op.operands.filter(isValue).filter(({ type }) => type === "h2");
    this.#cx.matrices.begin(this.#number, { product, parts: [...this.#op.dst, ...fragment] });
  }

  commitProducts(): void {
    this.#cx.matrices.commit(this.#number);
  }

  waitProducts(pending: number): void {
    const cx = this.#cx;
    const who = cx.who(this.firstThread);
    const fail = (what: string): never => cx.fault(what);
    const read = (address: number): DataView => {
      const { memory, byte } = cx.sharedAt(address);
      memory.touchBytes(byte, unit, "read", who);
      return new DataView(memory.bytes.buffer, memory.bytes.byteOffset + byte, unit);
    };
    cx.matrices.wait(this.#number, pending, (tile: DescribedTile) => readTile(tile, read, fail));
  }

  #box({ lane, map: position, coordinates, shared }: BoxCopy): Box {
    const cx = this.#cx;
    const operand = this.#operand(position);
    invariant(isMap(operand), `${this.#op.name}: operand ${position} is no map`);
    const { map } = operand;
    const thread = this.firstThread + lane;
    return {
      map,
      coordinates,
      extents: cx.extents(map),
      shared: this.#shared(shared, lane),
      global: cx.memory(map.buffer),
      who: () => cx.who(thread),
    };
  }

  /** The mbarrier, which its thread now uses. */
  #barrier(position: number, lane: number): Mbarrier {
    const { memory, byte, address } = this.#shared(position, lane);
    const barrier = this.#cx.mbarriers.get(address);
    if (barrier === undefined)
      return this.#cx.fault(
        `${this.#op.name}: there is no mbarrier at byte ${byte} of ${memory.buffer.name}`,
      );
    memory.touchBytes(byte, mbarrierBytes, "atomic", this.#cx.who(this.firstThread + lane));
    return barrier;
  }

  #shared(position: number, lane: number): SharedPlace {
    const { buffer, index } = this.#place(position);
    return this.#cx.shared(buffer, this.#cx.number(index, this.firstThread + lane));
  }

  #place(position: number): { readonly buffer: Buffer; readonly index: Value } {
    const operand = this.#operand(position);
    invariant(isAddress(operand), `${this.#op.name}: operand ${position} is no place in memory`);
    return operand;
  }

  #value(position: number): Value {
    const operand = this.#operand(position);
    invariant(isValue(operand), `${this.#op.name}: operand ${position} is no value`);
    return operand;
  }

  #operand(position: number): Operand {
    const operand = this.#op.operands[position];
    invariant(operand !== undefined, `${this.#op.name} has no operand ${position}`);
    return operand;
  }

  #result(position: number): Value | Register {
    const dst = this.#op.dst[position];
    invariant(dst !== undefined, `${this.#op.name} has no result ${position}`);
    return dst;
  }
}

const mbarrierBytes = 8;
/** Bytes that lie side by side in every layout of a tile. */
const unit = 16;

function isValue(operand: Operand): operand is Value {
  return !isMap(operand) && !isAddress(operand) && !isMatrix(operand);
}

function pointerTo(buffer: Buffer, index: number, thread: number, cx: Block): Pointer {
  const memory = cx.memory(buffer);
  return {
    byte: index * dtypes[buffer.dtype].bytes,
    memory: {
      read(byte: number, length: number): Uint8Array {
        memory.touchBytes(byte, length, "read", cx.who(thread));
        return memory.bytes.slice(byte, byte + length);
      },
      write(byte: number, bytes: Uint8Array): void {
        memory.touchBytes(byte, bytes.length, "write", cx.who(thread));
        memory.bytes.set(bytes, byte);
      },
    },
  };
}
