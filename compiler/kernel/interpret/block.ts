/** One block of a kernel that runs: its memory, the values of its threads, and what happens in it over time. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Dim } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";
import { AsyncCopies } from "../instructions.ts";
import type { Buffer, Kernel, Op, Register, TensorMap, Value } from "../ir.ts";
import { sharedLayout, type SharedLayout } from "../launch.ts";
import type { ScalarValue } from "../scalar.ts";
import type { Cluster } from "./cluster.ts";
import { CopyEngine, type SharedPlace } from "./copy-engine.ts";
import { waiting } from "./instruction.ts";
import { MatrixUnit } from "./matrix-unit.ts";
import type { Mbarrier } from "./mbarriers.ts";
import { BufferMemory, KernelFault, type Toucher } from "./memory.ts";
import { parted, runOp, trips } from "./ops.ts";
import { Handed, Role, type HandedOn } from "./order.ts";
import { flowOf, suspends, type Flow } from "./roles.ts";

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

/** Flags that are up, by buffer and element: who raised them, and what lay behind it then. */
export type Flags = Map<Buffer, Map<number, { readonly order: HandedOn; readonly handed: Handed }>>;

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
    for (const op of ops) runOp(op, active, this);
  }

  /** As `ops`, where some of them may wait: yields what it waits for. */
  *flow(ops: readonly Op[], active: Active): Flow {
    if (active.length === 0) return;
    for (const op of ops) {
      if (!suspends(op)) runOp(op, active, this);
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
