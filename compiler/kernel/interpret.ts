/**
 * Runs a kernel: the meaning of the kernel IR, and the oracle of what the emitters print.
 *
 * Blocks run one after another, the threads of a block in lockstep, op by op; an `if` narrows who is active, a
 * `for` runs until its last thread is done. What is wrong on a real device but would work in lockstep is a
 * `KernelFault`: accesses out of bounds or off their alignment, two threads at one place without a barrier
 * between, a barrier or shuffle that not all reach, asynchronous copies nobody waited for. Shared memory begins as
 * bytes 0xff, which is NaN in every float.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dtypes } from "../types/dtype.ts";
import { instructionOf, AsyncCopies, type Pointer, type Warp } from "./instructions.ts";
import { BufferMemory, KernelFault, type Toucher } from "./interpret/memory.ts";
import type { Buffer, Kernel, Kind, Op, Operand, Register, Value } from "./ir.ts";
import {
  evaluateBinary,
  evaluateBitcast,
  evaluateConvert,
  evaluateFma,
  evaluateUnary,
  type ScalarValue,
} from "./scalar.ts";
import { isAddress, isMap, isRegister } from "./walk.ts";

export { KernelFault } from "./interpret/memory.ts";

export interface Launch {
  /** Bytes of the global buffers, in the kernel's order; written in place. */
  readonly buffers: readonly Uint8Array[];
  readonly sizes: readonly number[];
  readonly grid: readonly [number, number, number];
  /** Threads that shuffle with one another. */
  readonly subgroup: number;
}

export function interpretKernel(kernel: Kernel, launch: Launch): void {
  const global = kernel.buffers.filter((buffer) => buffer.space === "global");
  invariant(
    global.length === launch.buffers.length,
    `${kernel.name} takes ${global.length} buffers, not ${launch.buffers.length}`,
  );
  const memory = new Map<Buffer, BufferMemory>();
  global.forEach((buffer, k) =>
    memory.set(buffer, new BufferMemory(kernel.name, buffer, launch.buffers[k] ?? new Uint8Array(0))),
  );
  const [columns, rows, layers] = launch.grid;
  for (let z = 0; z < layers; z += 1) {
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += 1) new Block(kernel, launch, memory, [x, y, z]).run();
    }
  }
}

type Active = readonly number[];

class Block {
  readonly kernel: Kernel;
  readonly launch: Launch;
  readonly position: readonly [number, number, number];
  readonly #memory: Map<Buffer, BufferMemory>;
  readonly #values = new Map<Value | Register, ScalarValue[]>();
  readonly #copies = new Map<number, AsyncCopies>();
  readonly #number: number;
  #epoch = 0;
  /** Where in the source, for messages. */
  #line = "";

  constructor(
    kernel: Kernel,
    launch: Launch,
    memory: ReadonlyMap<Buffer, BufferMemory>,
    position: readonly [number, number, number],
  ) {
    this.kernel = kernel;
    this.launch = launch;
    this.position = position;
    const [columns, rows] = launch.grid;
    this.#number = (position[2] * rows + position[1]) * columns + position[0];
    this.#memory = new Map(memory);
    for (const buffer of kernel.buffers) {
      if (buffer.space === "shared")
        this.#memory.set(buffer, new BufferMemory(kernel.name, buffer, sharedBytes(buffer)));
    }
  }

  run(): void {
    this.ops(
      this.kernel.body,
      Array.from({ length: this.kernel.threads }, (_, thread) => thread),
    );
    for (const copies of this.#copies.values())
      if (copies.unfinished) this.fault("asynchronous copies are still under way at the end");
  }

  ops(ops: readonly Op[], active: Active): void {
    for (const op of ops) this.#op(op, active);
  }

  #op<K extends Kind>(op: Op<K>, active: Active): void {
    table[op.kind](op, active, this);
  }

  fault(what: string): never {
    throw new KernelFault(`${this.kernel.name}${this.#line}: ${what}`);
  }

  at(line: string): void {
    this.#line = line;
  }

  read(value: Value | Register, thread: number): ScalarValue {
    const found = this.#values.get(value)?.[thread];
    invariant(
      found !== undefined,
      `${this.kernel.name}: %${value.id} (${value.hint}) is read before it is defined`,
    );
    return found;
  }

  number(value: Value, thread: number): number {
    return Number(this.read(value, thread));
  }

  holds(guard: Value | undefined, thread: number): boolean {
    return guard === undefined || this.read(guard, thread) === true;
  }

  write(value: Value | Register, thread: number, scalar: ScalarValue): void {
    let column = this.#values.get(value);
    if (column === undefined) this.#values.set(value, (column = []));
    column[thread] = scalar;
  }

  define(value: Value, active: Active, compute: (thread: number) => ScalarValue): void {
    for (const thread of active) this.write(value, thread, compute(thread));
  }

  memory(buffer: Buffer): BufferMemory {
    const memory = this.#memory.get(buffer);
    invariant(memory !== undefined, `${this.kernel.name}: buffer ${buffer.name} is not the kernel's`);
    return memory;
  }

  who(thread: number): Toucher {
    return { block: this.#number, thread, epoch: this.#epoch };
  }

  barrier(active: Active): void {
    if (active.length !== this.kernel.threads)
      this.fault(`a barrier that ${active.length} of ${this.kernel.threads} threads reach`);
    this.#epoch += 1;
  }

  copies(warp: number): AsyncCopies {
    let copies = this.#copies.get(warp);
    if (copies === undefined) this.#copies.set(warp, (copies = new AsyncCopies()));
    return copies;
  }
}

function sharedBytes(buffer: Buffer): Uint8Array {
  invariant(buffer.length.kind === "const", `shared ${buffer.name} has no constant length`);
  return new Uint8Array(buffer.length.value * dtypes[buffer.dtype].bytes).fill(0xff);
}

type InterpretTable = { readonly [K in Kind]: (op: Op<K>, active: Active, cx: Block) => void };

const table: InterpretTable = {
  const: (op, active, cx) => cx.define(op.dst, active, () => op.value),
  size: (op, active, cx) => {
    const size = cx.launch.sizes[op.param] ?? 0;
    cx.define(op.dst, active, () => (op.dst.type === "i64" ? BigInt(size) : size));
  },
  thread: (op, active, cx) => cx.define(op.dst, active, (thread) => thread),
  lane: (op, active, cx) => cx.define(op.dst, active, (thread) => thread % cx.launch.subgroup),
  block: (op, active, cx) => cx.define(op.dst, active, () => cx.position[op.axis]),
  unary: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => evaluateUnary(op.fn, op.a.type, cx.read(op.a, thread))),
  binary: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => {
      const value = evaluateBinary(op.fn, op.a.type, cx.read(op.a, thread), cx.read(op.b, thread));
      // Division by zero has no value, but nothing else happens either: a select may well drop it.
      return value ?? cx.read(op.a, thread);
    }),
  fma: (op, active, cx) =>
    cx.define(op.dst, active, (thread) =>
      evaluateFma(op.dst.type, cx.read(op.a, thread), cx.read(op.b, thread), cx.read(op.c, thread)),
    ),
  select: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => cx.read(cx.holds(op.condition, thread) ? op.a : op.b, thread)),
  convert: (op, active, cx) =>
    cx.define(op.dst, active, (thread) =>
      evaluateConvert(op.a.type, op.dst.type, op.storage, cx.read(op.a, thread)),
    ),
  bitcast: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => evaluateBitcast(op.a.type, op.dst.type, cx.read(op.a, thread))),
  pack: (op, active, cx) => {
    const bits = 32 / op.parts.length;
    cx.define(op.dst, active, (thread) =>
      op.parts.reduce((word, part, k) => (word | (cx.number(part, thread) << (k * bits))) >>> 0, 0),
    );
  },
  unpack: (op, active, cx) => {
    const bits = 32 / op.dst.length;
    op.dst.forEach((dst, k) =>
      cx.define(dst, active, (thread) => (cx.number(op.a, thread) >>> (k * bits)) & (2 ** bits - 1)),
    );
  },
  var: (op, active, cx) => {
    if (op.init === undefined) return;
    for (const thread of active) cx.write(op.register, thread, cx.read(op.init, thread));
  },
  get: (op, active, cx) => cx.define(op.dst, active, (thread) => cx.read(op.register, thread)),
  set: (op, active, cx) => {
    for (const thread of active) cx.write(op.register, thread, cx.read(op.value, thread));
  },
  load,
  store,
  atomic,
  barrier: (_op, active, cx) => cx.barrier(active),
  "shuffle-xor": (op, active, cx) => shuffle(op.dst, op.value, active, cx, (lane) => lane ^ op.mask),
  "shuffle-index": (op, active, cx) =>
    shuffle(op.dst, op.value, active, cx, (_lane, thread) => cx.number(op.lane, thread)),
  instruction: runInstruction,
  descriptor: (op, _active, cx) => cx.fault(`a descriptor of ${op.buffer.name}`),
  roles: (_op, _active, cx) => cx.fault("roles"),
  for: runFor,
  if: (op, active, cx) => {
    cx.ops(
      op.then,
      active.filter((thread) => cx.holds(op.condition, thread)),
    );
    cx.ops(
      op.else,
      active.filter((thread) => !cx.holds(op.condition, thread)),
    );
  },
  line: (op, _active, cx) => cx.at(` (${cx.kernel.files[op.file] ?? ""}:${op.line}:${op.column})`),
  comment: () => undefined,
};

function load(op: Op<"load">, active: Active, cx: Block): void {
  const memory = cx.memory(op.buffer);
  for (const thread of active) {
    const index = cx.number(op.index, thread);
    const reads = cx.holds(op.guard, thread);
    if (reads) memory.touch(index, op.dst.length, "read", cx.who(thread));
    op.dst.forEach((dst, k) =>
      cx.write(dst, thread, reads ? memory.get(index + k) : otherwise(op, dst, thread, cx)),
    );
  }
}

function otherwise(op: Op<"load">, dst: Value, thread: number, cx: Block): ScalarValue {
  if (op.otherwise !== undefined) return cx.read(op.otherwise, thread);
  return dst.type === "i64" ? 0n : dst.type === "bool" ? false : 0;
}

function store(op: Op<"store">, active: Active, cx: Block): void {
  const memory = cx.memory(op.buffer);
  for (const thread of active) {
    if (!cx.holds(op.guard, thread)) continue;
    const index = cx.number(op.index, thread);
    memory.touch(index, op.values.length, "write", cx.who(thread));
    op.values.forEach((value, k) => memory.set(index + k, cx.read(value, thread)));
  }
}

function atomic(op: Op<"atomic">, active: Active, cx: Block): void {
  const memory = cx.memory(op.buffer);
  for (const thread of active) {
    if (!cx.holds(op.guard, thread)) continue;
    const index = cx.number(op.index, thread);
    memory.touch(index, 1, "atomic", cx.who(thread));
    const value = evaluateBinary(op.fn, op.value.type, memory.get(index), cx.read(op.value, thread));
    invariant(value !== undefined, `an atomic ${op.fn} has a value`);
    memory.set(index, value);
  }
}

function shuffle(
  dst: Value,
  value: Value,
  active: Active,
  cx: Block,
  source: (lane: number, thread: number) => number,
): void {
  const { subgroup } = cx.launch;
  const present = new Set(active);
  const taken = active.map((thread) => {
    const lane = thread % subgroup;
    const from = source(lane, thread);
    const other = thread - lane + from;
    if (from < 0 || from >= subgroup || !present.has(other))
      cx.fault(`thread ${thread} shuffles with lane ${from}, which is not there`);
    return cx.read(value, other);
  });
  active.forEach((thread, k) => cx.write(dst, thread, taken[k] ?? 0));
}

function runFor(op: Op<"for">, active: Active, cx: Block): void {
  const isWide = op.index.type === "i64";
  const at = new Map(active.map((thread) => [thread, cx.number(op.from, thread)]));
  for (let trip = 0; ; trip += 1) {
    const running = active.filter(
      (thread) => (at.get(thread) ?? 0) + trip * op.step < cx.number(op.to, thread),
    );
    if (running.length === 0) return;
    for (const thread of running) {
      const index = (at.get(thread) ?? 0) + trip * op.step;
      cx.write(op.index, thread, isWide ? BigInt(index) : index);
    }
    cx.ops(op.body, running);
  }
}

const warpSize = 32;

function runInstruction(op: Op<"instruction">, active: Active, cx: Block): void {
  const record = instructionOf(op.name);
  const warps = new Map<number, number[]>();
  for (const thread of active) {
    const number = Math.floor(thread / warpSize);
    const lanes = warps.get(number) ?? [];
    lanes.push(thread % warpSize);
    warps.set(number, lanes);
  }
  for (const [number, lanes] of warps) {
    if (record.scope === "warp" && lanes.length !== warpSize)
      cx.fault(`${op.name} by ${lanes.length} lanes of warp ${number}`);
    record.evaluate(warpOf(op, lanes, number, cx));
  }
}

function warpOf(op: Op<"instruction">, lanes: readonly number[], number: number, cx: Block): Warp {
  const threadOf = (lane: number): number => number * warpSize + lane;
  const operandAt = (position: number): Operand => {
    const operand = op.operands[position];
    invariant(operand !== undefined, `${op.name} has no operand ${position}`);
    return operand;
  };
  const resultAt = (position: number): Value | Register => {
    const dst = op.dst[position];
    invariant(dst !== undefined, `${op.name} has no result ${position}`);
    return dst;
  };
  return {
    active: lanes,
    operand: (position, lane) => {
      const operand = operandAt(position);
      invariant(
        !isAddress(operand) && !isMap(operand),
        `${op.name}: operand ${position} is a place in memory`,
      );
      return cx.number(operand, threadOf(lane));
    },
    pointer: (position, lane) => {
      const operand = operandAt(position);
      invariant(isAddress(operand), `${op.name}: operand ${position} is a value`);
      return pointerTo(operand.buffer, cx.number(operand.index, threadOf(lane)), threadOf(lane), cx);
    },
    current: (position, lane) => {
      const dst = resultAt(position);
      invariant(isRegister(dst), `${op.name}: result ${position} is no register`);
      return Number(cx.read(dst, threadOf(lane)));
    },
    define: (position, lane, value) => cx.write(resultAt(position), threadOf(lane), value),
    copies: cx.copies(number),
  };
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
