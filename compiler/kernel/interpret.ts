/**
 * Runs a kernel: the meaning of the kernel IR, and the oracle of what the emitters print.
 *
 * Blocks run one after another, the threads of a block in lockstep, op by op; an `if` narrows who is active, a
 * `for` runs until its last thread is done. The roles of a block take turns, each in lockstep, and change at waits
 * that are not over (`interpret/roles.ts`). Copies, products and stores happen at the latest moment that they may
 * (`interpret/copy-engine.ts`, `interpret/matrix-unit.ts`). What is wrong on a real device but would work in lockstep is a
 * `KernelFault`: accesses out of bounds or off their alignment, two threads at one place without a barrier
 * between, a barrier or shuffle that not all reach, asynchronous copies nobody waited for, waits that no one can end.
 * Shared memory begins as bytes 0xff, which is NaN in every float.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Dim } from "../types/dim.ts";
import { dtypes } from "../types/dtype.ts";
import { AsyncCopies } from "./instructions.ts";
import { Cluster } from "./interpret/cluster.ts";
import { CopyEngine, type SharedPlace } from "./interpret/copy-engine.ts";
import { runInstruction, waiting } from "./interpret/instruction.ts";
import { encodeDescriptor, MatrixUnit } from "./interpret/matrix-unit.ts";
import type { Mbarrier } from "./interpret/mbarriers.ts";
import { BufferMemory, KernelFault, type Toucher } from "./interpret/memory.ts";
import { Handed, Role, type HandedOn } from "./interpret/order.ts";
import { drive, flowOf, suspends, type Flow } from "./interpret/roles.ts";
import type { Buffer, Kernel, Kind, Op, Register, TensorMap, Value } from "./ir.ts";
import { sharedLayout, type SharedLayout } from "./launch.ts";
import {
  evaluateBinary,
  evaluateBitcast,
  evaluateConvert,
  evaluateFma,
  evaluateUnary,
  type ScalarValue,
} from "./scalar.ts";

export { KernelFault } from "./interpret/memory.ts";

export interface Launch {
  /** Bytes of the global buffers, in the kernel's order; written in place. */
  readonly buffers: readonly Uint8Array[];
  readonly sizes: readonly number[];
  readonly grid: readonly [number, number, number];
  /** Threads that shuffle with one another. */
  readonly subgroup: number;
  /** Extents of the kernel's tensor maps, in its order; those with sizes in them have to be here. */
  readonly maps?: readonly (readonly number[])[];
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
  const flags: Flags = new Map();
  for (let z = 0; z < layers; z += 1) {
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += kernel.cluster ?? 1) {
        const cluster = new Cluster();
        for (let rank = 0; rank < (kernel.cluster ?? 1); rank += 1)
          cluster.blocks.push(new Block(kernel, launch, memory, { flags, cluster }, [x + rank, y, z]));
        run(cluster.blocks);
      }
    }
  }
}

/** Blocks of a cluster at once, to their ends. */
function run(blocks: readonly Block[]): void {
  const [first] = blocks;
  if (first === undefined) return;
  if (first.kernel.body.some(suspends)) drive(blocks);
  else for (const block of blocks) block.ops(first.kernel.body, block.role.threads);
  for (const block of blocks) block.finish();
}

/** Flags that are up, by buffer and element: who raised them, and what lay behind it then. */
type Flags = Map<Buffer, Map<number, { readonly order: HandedOn; readonly handed: Handed }>>;

/** Threads that run an op, ascending. */
export type Active = readonly number[];

export class Block {
  readonly kernel: Kernel;
  readonly launch: Launch;
  readonly position: readonly [number, number, number];
  readonly #memory: Map<Buffer, BufferMemory>;
  readonly #values = new Map<Value | Register, ScalarValue[]>();
  readonly #copies = new Map<number, AsyncCopies>();
  /** Its number in the grid. */
  readonly place: number;
  readonly #flags: Flags;
  readonly handed: Handed = new Handed();
  readonly cluster: Cluster;
  readonly #layout: SharedLayout;
  /** Whose turn it is. */
  #role: Role;
  /** Where parts of the block run at once, the order of accesses is the roles' to tell. */
  readonly #isConcurrent: boolean;
  readonly mbarriers: Map<number, Mbarrier> = new Map();
  readonly engine: CopyEngine = new CopyEngine();
  readonly matrices: MatrixUnit = new MatrixUnit();
  /** Matrices that warps hold together, by warp. */
  readonly fragments: Map<Value | Register, Float64Array[]> = new Map();

  constructor(
    kernel: Kernel,
    launch: Launch,
    memory: ReadonlyMap<Buffer, BufferMemory>,
    around: { readonly flags: Flags; readonly cluster: Cluster },
    position: readonly [number, number, number],
  ) {
    this.kernel = kernel;
    this.launch = launch;
    this.position = position;
    const [columns, rows] = launch.grid;
    this.place = (position[2] * rows + position[1]) * columns + position[0];
    this.#flags = around.flags;
    this.cluster = around.cluster;
    this.#memory = new Map(memory);
    this.#layout = sharedLayout(kernel);
    this.#role = Role.whole(kernel.threads);
    this.#isConcurrent = kernel.body.some((op) => suspends(op));
    for (const buffer of kernel.buffers) {
      if (buffer.space === "shared")
        this.#memory.set(buffer, new BufferMemory(kernel.name, buffer, sharedBytes(buffer)));
    }
  }

  /** All of its threads. */
  whole(): Flow {
    const { body } = this.kernel;
    return flowOf(this, [{ role: this.#role, body }]);
  }

  /** At the end of all blocks of its cluster. */
  finish(): void {
    const unfinished = this.engine.finish();
    if (unfinished !== undefined) this.fault(unfinished);
    if (this.matrices.unfinished) this.fault("matrix products are still under way at the end");
    for (const barrier of this.mbarriers.values())
      if (barrier.isMidway) this.fault(`the block ends while ${barrier.state}`);
    for (const copies of this.#copies.values())
      if (copies.unfinished) this.fault("asynchronous copies are still under way at the end");
  }

  ops(ops: readonly Op[], active: Active): void {
    for (const op of ops) this.#op(op, active);
  }

  #op<K extends Kind>(op: Op<K>, active: Active): void {
    table[op.kind](op, active, this);
  }

  /** As `ops`, where some of them may wait: yields what it waits for. */
  *flow(ops: readonly Op[], active: Active): Flow {
    if (active.length === 0) return;
    for (const op of ops) {
      if (!suspends(op)) this.#op(op, active);
      else if (op.kind === "for")
        for (const running of trips(op, active, this)) yield* this.flow(op.body, running);
      else if (op.kind === "if") {
        const [met, unmet] = parted(op, active, this);
        yield* this.flow(op.then, met);
        yield* this.flow(op.else, unmet);
      } else if (op.kind === "roles") {
        const whole = this.#role;
        const parts = whole.split(op.roles);
        yield* flowOf(
          this,
          op.roles.map(({ body }, k) => ({ role: parts[k] ?? whole, body })),
        );
        whole.unite(parts);
        this.enter(whole);
      } else if (op.kind === "instruction") yield* waiting(op, active, this);
    }
  }

  get role(): Role {
    return this.#role;
  }

  /** Gives the role its turn. */
  enter(role: Role): void {
    this.#role = role;
  }

  fault(what: string): never {
    throw new KernelFault(`${this.kernel.name}${this.#role.line}: ${what}`);
  }

  at(line: string): void {
    this.#role.line = line;
  }

  read(value: Value | Register, thread: number): ScalarValue {
    if (!this.matrices.isIdle) this.#checkOwned(value, thread);
    return this.peek(value, thread);
  }

  /** Registers of a product under way are its own. */
  #checkOwned(value: Value | Register, thread: number): void {
    if (this.matrices.owns(value, Math.floor(thread / warpgroupSize)))
      this.fault(`accumulator in flight: ${value.hint} of thread ${thread} is touched before the wgmma.wait`);
  }

  /** For what is part of a product. */
  peek(value: Value | Register, thread: number): ScalarValue {
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
    if (!this.matrices.isIdle) this.#checkOwned(value, thread);
    this.poke(value, thread, scalar);
  }

  poke(value: Value | Register, thread: number, scalar: ScalarValue): void {
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
    const role = this.#role;
    return {
      block: this.place,
      thread,
      epoch: role.epoch,
      order: this.#isConcurrent ? role : undefined,
      handed: this.handed,
    };
  }

  raised(buffer: Buffer, index: number): void {
    const flags = this.#flags.get(buffer) ?? new Map<number, never>();
    this.#flags.set(buffer, flags);
    flags.set(index, { order: this.handOn(), handed: this.handed });
  }

  handOn(): HandedOn {
    return this.#role.handOn(this.place);
  }

  /** The block of that rank in the cluster. */
  peer(rank: number): Block {
    return (
      this.cluster.blocks[rank] ?? this.fault(`block ${rank} of a cluster of ${this.cluster.blocks.length}`)
    );
  }

  mbarrierAt(buffer: Buffer, index: number): SharedPlace & { readonly barrier: Mbarrier } {
    const place = this.shared(buffer, index);
    const barrier = this.mbarriers.get(place.address);
    if (barrier === undefined) return this.fault(`there is no mbarrier at ${buffer.name}[${index}]`);
    return { ...place, barrier };
  }

  lowered(buffer: Buffer, index: number): void {
    const raised = this.#flags.get(buffer)?.get(index);
    if (raised === undefined) return this.fault(`${buffer.name}[${index}] was up before the launch`);
    this.handed.take(raised.order, raised.handed);
    this.#flags.get(buffer)?.delete(index);
  }

  barrier(active: Active, size: number): void {
    const isWhole = size === this.kernel.threads;
    for (const count of isWhole ? [active.length] : groupSizes(active, size))
      if (count !== size) this.fault(`a barrier that ${count} of ${size} threads reach`);
    this.#role.barrier();
  }

  /** Where in the block's shared memory an element is. */
  shared(buffer: Buffer, index: number): SharedPlace {
    const byte = index * dtypes[buffer.dtype].bytes;
    return { memory: this.memory(buffer), byte, address: (this.#layout.offsets.get(buffer) ?? 0) + byte };
  }

  /** What lies at an address of shared memory. */
  sharedAt(address: number): SharedPlace {
    for (const [buffer, offset] of this.#layout.offsets) {
      const memory = this.memory(buffer);
      if (address >= offset && address < offset + memory.bytes.length)
        return { memory, byte: address - offset, address };
    }
    return this.fault(`byte ${address} of shared memory is in no buffer`);
  }

  extents(map: TensorMap): readonly number[] {
    const given = this.launch.maps?.[this.kernel.maps.indexOf(map)];
    return given ?? map.dims.map((dim) => this.#constant(dim, map));
  }

  #constant(dim: Dim, map: TensorMap): number {
    invariant(dim.kind === "const", `${this.kernel.name}: the launch lacks the extents of map ${map.name}`);
    return dim.value;
  }

  copies(warp: number): AsyncCopies {
    let copies = this.#copies.get(warp);
    if (copies === undefined) this.#copies.set(warp, (copies = new AsyncCopies()));
    return copies;
  }
}

const warpgroupSize = 128;

/** How many of each group are there, of those that have any. */
function groupSizes(active: Active, size: number): Iterable<number> {
  const groups = new Map<number, number>();
  for (const thread of active) {
    const group = Math.floor(thread / size);
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  return groups.values();
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
  subgroup: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => Math.floor(thread / cx.launch.subgroup)),
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
  barrier: (op, active, cx) => cx.barrier(active, op.group?.threads ?? cx.kernel.threads),
  "shuffle-xor": (op, active, cx) => shuffle(op.dst, op.value, active, cx, (lane) => lane ^ op.mask),
  "shuffle-index": (op, active, cx) =>
    shuffle(op.dst, op.value, active, cx, (_lane, thread) => cx.number(op.lane, thread)),
  instruction: runInstruction,
  descriptor: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => {
      const { address } = cx.shared(op.buffer, cx.number(op.index, thread));
      return encodeDescriptor({ ...op, start: address });
    }),
  // Its parts wait for one another: `flow` runs them.
  roles: () => undefined,
  for: runFor,
  if: (op, active, cx) => {
    const [met, unmet] = parted(op, active, cx);
    cx.ops(op.then, met);
    cx.ops(op.else, unmet);
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

/** Who goes where. The conditions are read before either body changes anything. */
function parted(op: Op<"if">, active: Active, cx: Block): readonly [Active, Active] {
  return [
    active.filter((thread) => cx.holds(op.condition, thread)),
    active.filter((thread) => !cx.holds(op.condition, thread)),
  ];
}

function runFor(op: Op<"for">, active: Active, cx: Block): void {
  for (const running of trips(op, active, cx)) cx.ops(op.body, running);
}

/** The threads of each trip, with the index set. */
function* trips(op: Op<"for">, active: Active, cx: Block): Generator<Active> {
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
    yield running;
  }
}
