/**
 * Runs a tile program as its text says: every block in order, every op at every coordinate. Threads and registers
 * make no difference here, which is the point: a schedule is right when this agrees with the tensor interpreter.
 *
 * Roles run in turn, each until it waits for a channel. What is asynchronous happens at once: a program that uses an
 * accumulator or refills a slot too early is the kernel interpreter's and the simulator's to find.
 *
 * Floats are f64 and are rounded where the program rounds and where memory is narrower. Memory starts as NaN (or a
 * value that is as unlikely), so that what was never written shows.
 */
import { InternalError, invariant } from "../diagnostics/diagnostic.ts";
import { storerOf, rounderTo } from "../tensor/number-formats.ts";
import { monoidOf } from "../tensor/monoids.ts";
import { scalarFunctions } from "../tensor/scalar-functions.ts";
import type { ScalarType } from "../tensor/ir.ts";
import { evaluate, type Dim } from "../types/dim.ts";
import { dtypes, type DType } from "../types/dtype.ts";
import type {
  Axis,
  Channel,
  Counter,
  GlobalBuffer,
  MatrixOperand,
  PanelCopy,
  RegisterOperand,
  Role,
  SharedTile,
  Tile,
  TileExpr,
  TileOp,
  TileProgram,
} from "./ir.ts";
import { matrixIndex, operandExtent } from "./matrix-operand.ts";
import { SlotQueue, type SharedMemory as SlotMemory } from "./slot-queue.ts";
import { isInRegisters, visitOps } from "./walk.ts";

/** An element: floats and 32-bit integers as numbers, i64 as bigint, bools as 0 and 1. */
export type Element = number | bigint;

/** Row-major elements of one buffer. */
export type Memory = Element[];

/** Runs `program` over memory by buffer; buffers that are written are changed in place. */
export function interpretTiles(
  program: TileProgram,
  memory: ReadonlyMap<GlobalBuffer, Memory>,
  dims: ReadonlyMap<string, number>,
): void {
  const counters = new Map<Counter, number>();
  const all = new Map([...memory, ...ownMemory(program, dims)]);
  const runBlock = (): void => {
    new Block(program, all, dims, counters).run(program.body);
  };
  const loop = (k: number): void => {
    const counter = program.blocks[k];
    if (counter === undefined) {
      runBlock();
      return;
    }
    const count = evaluate(counter.count, dims);
    for (let i = 0; i < count; i += 1) {
      counters.set(counter, i);
      loop(k + 1);
    }
  };
  loop(0);
  for (const { name, use } of program.buffers.filter((buffer) => all.get(buffer)?.some((flag) => flag !== 0)))
    invariant(use !== "flags", `a flag of ${name} is left up`);
}

/** Of the buffers that are no tensors: flags are down, scratch holds nothing. */
function ownMemory(program: TileProgram, dims: ReadonlyMap<string, number>): Map<GlobalBuffer, Memory> {
  const own = program.buffers.filter(({ use }) => use !== "tensor");
  return new Map(
    own.map((buffer) => {
      const size = buffer.shape.reduce((product, extent) => product * evaluate(extent, dims), 1);
      return [buffer, new Array<Element>(size).fill(buffer.use === "flags" ? 0 : Number.NaN)];
    }),
  );
}

type SharedMemory = SlotMemory<Element>;

/** Elements along k of one row. */
type OperandRows = (row: number) => Float64Array;

class Block {
  readonly #program: TileProgram;
  readonly #memory: ReadonlyMap<GlobalBuffer, Memory>;
  readonly #dims: ReadonlyMap<string, number>;
  readonly #counters: Map<Counter, number>;
  readonly #tiles = new Map<Tile, Map<string, Element>>();
  readonly #shared: SharedMemory;
  readonly #queues: Map<Channel, SlotQueue<Element>>;
  #at = new Map<Axis, number>();

  constructor(
    program: TileProgram,
    memory: ReadonlyMap<GlobalBuffer, Memory>,
    dims: ReadonlyMap<string, number>,
    counters: ReadonlyMap<Counter, number>,
    block?: Block,
  ) {
    this.#program = program;
    this.#memory = memory;
    this.#dims = dims;
    this.#counters = new Map(counters);
    this.#shared = new Map(block === undefined ? emptyTiles(program.shared) : block.#shared);
    this.#queues =
      block === undefined
        ? new Map(program.channels.map((channel) => [channel, new SlotQueue(channel)]))
        : block.#queues;
  }

  /** Makes those that the ops take from know who takes. */
  #join(ops: readonly TileOp[]): void {
    visitOps(ops, (op) => {
      if (op.kind === "take") this.#queue(op.channel).join(this);
    });
  }

  run(ops: readonly TileOp[]): void {
    if (!ops.some((op) => op.kind === "roles")) this.#join(ops);
    for (const stop of this.#steps(ops)) throw new InternalError(`${stop} waits for a slot for ever`);
  }

  /** Stops, with the channel's name, where a slot is waited for. */
  *#steps(ops: readonly TileOp[]): Generator<string, void> {
    for (const op of ops) {
      switch (op.kind) {
        case "for": {
          const count = evaluate(op.counter.count, this.#dims);
          const from = op.from === undefined ? 0 : Number(this.#value(op.from));
          const below = op.below === undefined ? count : Number(this.#value(op.below));
          invariant(
            from >= 0 && below <= count,
            `${op.counter.name} goes from ${from} to ${below}, of ${count}`,
          );
          for (let i = from; i < below; i += 1) {
            this.#counters.set(op.counter, i);
            yield* this.#steps(op.body);
          }
          break;
        }
        case "turn":
          yield* this.#steps(op.body);
          break;
        case "if":
          yield* this.#steps(this.#holds(op.condition) ? op.then : op.otherwise);
          break;
        case "persistent":
          yield* this.#persistent(op);
          break;
        case "roles":
          this.#roles(op.roles);
          break;
        case "fill": {
          const queue = this.#queue(op.channel);
          while (queue.isFull()) yield op.channel.name;
          const slot = emptyTiles(op.channel.tiles);
          const isCopied = this.#holds(op.where);
          if (isCopied) for (const copy of op.copies) this.#copy(copy, slot, "in");
          const before = new Map(this.#shared);
          for (const [tile, contents] of slot) this.#shared.set(tile, contents);
          if (op.where === undefined || !isCopied) yield* this.#steps(op.body);
          for (const tile of slot.keys()) {
            const contents = before.get(tile);
            if (contents === undefined) this.#shared.delete(tile);
            else this.#shared.set(tile, contents);
          }
          queue.fill(slot);
          break;
        }
        case "take": {
          const queue = this.#queue(op.channel);
          while (queue.isEmpty(this)) yield op.channel.name;
          for (const [tile, contents] of queue.take(this)) this.#shared.set(tile, contents);
          break;
        }
        default:
          this.#step(op);
      }
    }
  }

  *#persistent(op: Extract<TileOp, { kind: "persistent" }>): Generator<string, void> {
    const counts = op.counters.map((counter) => evaluate(counter.count, this.#dims));
    const total = counts.reduce((a, b) => a * b, 1);
    const first = this.#counters.get(op.worker);
    invariant(first !== undefined, `counter ${op.worker.name} is not in scope`);
    for (let place = first; place < total; place += evaluate(op.worker.count, this.#dims)) {
      let rest = place;
      for (let k = counts.length - 1; k >= 0; k -= 1) {
        const [counter, count] = [op.counters[k], counts[k]];
        invariant(counter !== undefined && count !== undefined, "one count for each counter");
        this.#counters.set(counter, rest % count);
        rest = Math.floor(rest / count);
      }
      yield* this.#steps(op.body);
    }
  }

  #roles(roles: readonly Role[]): void {
    const running = new Map(
      roles.map((role) => {
        const block = new Block(this.#program, this.#memory, this.#dims, this.#counters, this);
        block.#join(role.body);
        return [role.name, block.#steps(role.body)];
      }),
    );
    const moves = (): number => [...this.#queues.values()].reduce((sum, queue) => sum + queue.moves, 0);
    while (running.size > 0) {
      const before = moves();
      const waits: string[] = [];
      for (const [name, steps] of running) {
        const next = steps.next();
        if (next.done === true) running.delete(name);
        else waits.push(`${name} for ${next.value}`);
      }
      invariant(running.size === 0 || moves() > before, `no role can go on: ${waits.join(", ")}`);
    }
  }

  #queue(channel: Channel): SlotQueue<Element> {
    const queue = this.#queues.get(channel);
    invariant(queue !== undefined, `channel ${channel.name} is not the program's`);
    return queue;
  }

  #ownerOf(tile: SharedTile): SlotQueue<Element> {
    for (const [channel, queue] of this.#queues) if (channel.tiles.includes(tile)) return queue;
    throw new InternalError(`${tile.name} is in no channel`);
  }

  /** A panel from or to a box, element by element; what lies outside of the view is zero, or dropped. */
  #copy({ tile, panel, row = 0, box }: PanelCopy, tiles: SharedMemory, way: "in" | "out"): void {
    const memory = this.#memory.get(box.buffer);
    invariant(memory !== undefined, `no memory for ${box.buffer.name}`);
    const view = box.view.map((extent) => evaluate(extent, this.#dims));
    const start = box.at.map((part) => Number(this.#value(part)));
    const contents = this.#contents(tile, tiles);
    const size = box.extent.reduce((a, b) => a * b, 1);
    const [, rows = 0, width = 0] = tile.shape;
    const first = (panel * rows + row) * width;
    for (let place = 0; place < size; place += 1) {
      const index = unflat(place, box.extent).map((i, k) => i + (start[k] ?? 0));
      const inside = index.every((i, k) => i >= 0 && i < (view[k] ?? 0));
      if (way === "in") contents[first + place] = inside ? (memory[flat(index, view)] ?? Number.NaN) : 0;
      else if (inside) memory[flat(index, view)] = contents[first + place] ?? Number.NaN;
    }
  }

  #contents(tile: SharedTile, tiles: SharedMemory): Element[] {
    const place = tile.per === undefined ? 0 : this.#at.get(tile.per);
    const contents = place === undefined ? undefined : tiles.get(tile)?.get(place);
    invariant(contents !== undefined, `no memory for ${tile.name}`);
    return contents;
  }

  #step(
    op: Exclude<TileOp, { kind: "for" | "if" | "turn" | "persistent" | "roles" | "fill" | "take" }>,
  ): void {
    switch (op.kind) {
      case "let":
        this.#define(op.tile, () =>
          this.#holds(op.where)
            ? this.#value(op.expr)
            : op.otherwise === undefined
              ? Number.NaN
              : this.#value(op.otherwise),
        );
        return;
      case "var": {
        const { init } = op;
        this.#define(op.tile, () => (init === undefined ? Number.NaN : this.#value(init)));
        return;
      }
      case "index": {
        const value = Number(this.#value(op.expr));
        const count = evaluate(op.counter.count, this.#dims);
        invariant(value >= 0 && value < count, `${op.counter.name} is ${value}, of ${count}`);
        this.#counters.set(op.counter, value);
        return;
      }
      case "update":
        this.#define(op.tile, () => this.#value(op.expr));
        return;
      case "fold":
        this.#define(op.tile, () => this.#fold(op));
        return;
      case "reduce":
        this.#define(op.tile, () => {
          let sum: Element | undefined;
          this.#each(op.over, () => {
            const value = this.#element(op.src);
            sum =
              sum === undefined ? value : applyRow(monoidOf(op.monoid).combine, op.tile.type, [sum, value]);
          });
          invariant(sum !== undefined, "a reduction over no threads");
          return sum;
        });
        return;
      case "store":
        this.#store(op);
        return;
      case "put":
        this.#put(op);
        return;
      case "mma": {
        const [a, b] = [this.#rows(op.a), this.#rows(op.b)];
        this.#define(op.acc, () => this.#product(op, a, b));
        return;
      }
      case "drain":
        for (const copy of op.copies)
          this.#each(copy.tile.per === undefined ? [] : [copy.tile.per], () =>
            this.#copy(copy, this.#shared, "out"),
          );
        return;
      case "release":
        if (this.#holds(op.where)) this.#queue(op.channel).release(this);
        return;
      case "raise":
      case "meet":
        this.#flag(op);
        return;
      case "await":
      case "line":
        return;
    }
  }

  /** Blocks run one after another, so that a flag that is met is up by then, or never. */
  #flag({ kind, flags, index }: Extract<TileOp, { kind: "raise" | "meet" }>): void {
    const memory = this.#memory.get(flags);
    invariant(memory !== undefined, `no memory for ${flags.name}`);
    const at = Number(this.#value(index));
    const before = kind === "raise" ? 0 : 1;
    invariant(memory[at] === before, `${kind} of ${flags.name}[${at}], which is ${memory[at]}`);
    memory[at] = 1 - before;
  }

  #fold(op: Extract<TileOp, { kind: "fold" }>): Element {
    const { combine } = monoidOf(op.monoid);
    let sum = this.#element(op.tile);
    this.#each(op.over, () => {
      if (this.#holds(op.where)) sum = applyRow(combine, op.tile.type, [sum, this.#value(op.expr)]);
    });
    return sum;
  }

  #product(op: Extract<TileOp, { kind: "mma" }>, a: OperandRows, b: OperandRows): Element {
    const left = a(Number(this.#value(op.m)));
    const right = b(Number(this.#value(op.n)));
    let sum = this.#holds(op.accumulate) ? Number(this.#element(op.acc)) : 0;
    left.forEach((value, k) => {
      sum += value * (right[k] ?? Number.NaN);
    });
    return sum;
  }

  /** Rows of an operand in registers. */
  #registers({ registers, row, k }: RegisterOperand): OperandRows {
    const rows = new Map<number, number[]>();
    this.#each(registers.axes, () => {
      const at = Number(this.#value(row));
      let found = rows.get(at);
      if (found === undefined) rows.set(at, (found = []));
      found[Number(this.#value(k))] = Number(this.#element(registers));
    });
    return (at) => Float64Array.from(rows.get(at) ?? []);
  }

  /** Rows of a product's operand, each gathered once. */
  #rows(operand: MatrixOperand | RegisterOperand): OperandRows {
    if (isInRegisters(operand)) return this.#registers(operand);
    const owner = operand.isOldest === true ? this.#ownerOf(operand.tile) : undefined;
    const contents = this.#contents(operand.tile, owner?.oldest(this) ?? this.#shared);
    const { k: depth } = operandExtent(operand);
    const rows = new Map<number, Float64Array>();
    return (row) => {
      let found = rows.get(row);
      if (found === undefined) {
        found = Float64Array.from({ length: depth }, (_, k) =>
          Number(contents[flat(matrixIndex(operand, row, k), operand.tile.shape)]),
        );
        rows.set(row, found);
      }
      return found;
    };
  }

  #store(op: Extract<TileOp, { kind: "store" }>): void {
    const memory = this.#memory.get(op.buffer);
    invariant(memory !== undefined, `no memory for ${op.buffer.name}`);
    const shape = op.buffer.shape.map((extent) => evaluate(extent, this.#dims));
    this.#each(op.axes, () => {
      if (!this.#holds(op.where)) return;
      const index = op.index.map((part) => Number(this.#value(part)));
      const inside = index.every((i, k) => i >= 0 && i < (shape[k] ?? 0));
      if (!inside && op.bounds === "drop") return;
      invariant(inside, `${op.buffer.name}[${index.join(", ")}] is written outside of [${shape.join(", ")}]`);
      memory[flat(index, shape)] = toStorage(this.#value(op.expr), op.buffer.dtype);
    });
  }

  #put(op: Extract<TileOp, { kind: "put" }>): void {
    this.#each(op.axes, () => {
      const memory = this.#contents(op.shared, this.#shared);
      const holds = this.#holds(op.where);
      const expr = holds ? op.expr : op.otherwise;
      if (expr === undefined) return;
      const index = op.index.map((part) => Number(this.#value(part)));
      invariant(
        index.every((i, k) => i >= 0 && i < (op.shared.shape[k] ?? 0)),
        `${op.shared.name}[${index.join(", ")}] is outside`,
      );
      memory[flat(index, op.shared.shape)] = toStorage(this.#value(expr), op.shared.dtype);
    });
  }

  #define(tile: Tile, value: () => Element): void {
    const made = new Map<string, Element>();
    this.#each(tile.axes, () => made.set(this.#key(tile), value()));
    this.#tiles.set(tile, made);
  }

  #key(tile: Tile): string {
    // An axis of one place need not be in scope.
    return tile.axes.map((axis) => this.#at.get(axis) ?? (axis.size === 1 ? 0 : Number.NaN)).join(",");
  }

  #element(tile: Tile): Element {
    const value = this.#tiles.get(tile)?.get(this.#key(tile));
    invariant(value !== undefined, `tile ${tile.name} has no element at ${this.#key(tile)}`);
    return value;
  }

  /** Calls `visit` at each coordinate of the axes, the last fastest; axes that are in scope already are varied anew. */
  #each(axes: readonly Axis[], visit: () => void): void {
    const outer = this.#at;
    this.#at = new Map(outer);
    const along = (k: number): void => {
      const axis = axes[k];
      if (axis === undefined) {
        visit();
        return;
      }
      for (let i = 0; i < axis.size; i += 1) {
        this.#at.set(axis, i);
        along(k + 1);
      }
    };
    along(0);
    this.#at = outer;
  }

  #holds(where: TileExpr | undefined): boolean {
    return where === undefined || this.#value(where) !== 0;
  }

  #value(expr: TileExpr): Element {
    switch (expr.kind) {
      case "const":
        return typeof expr.value === "boolean" ? Number(expr.value) : expr.value;
      case "size":
        return evaluate(expr.dim, this.#dims);
      case "counter": {
        const value = this.#counters.get(expr.counter);
        invariant(value !== undefined, `counter ${expr.counter.name} is not in scope`);
        return value;
      }
      case "coordinate": {
        const value = this.#at.get(expr.axis);
        invariant(value !== undefined, `axis ${expr.axis.name} is not in scope`);
        return value;
      }
      case "tile":
        return this.#element(expr.tile);
      case "read":
        return this.#read(expr);
      case "shared": {
        const index = expr.index.map((part) => Number(this.#value(part)));
        const value = this.#contents(expr.tile, this.#shared)[flat(index, expr.tile.shape)];
        invariant(value !== undefined, `${expr.tile.name}[${index.join(", ")}] is outside`);
        return value;
      }
      case "apply":
        return this.#apply(expr);
      case "round":
        return rounderTo(expr.to)(Number(this.#value(expr.arg)));
      case "cast":
        return castElement(this.#value(expr.arg), expr.arg.type, expr.to, expr.type);
    }
  }

  #apply(expr: Extract<TileExpr, { kind: "apply" }>): Element {
    // Both sides are pure, but only one may be readable.
    if (expr.fn === "select") {
      const [condition, a, b] = expr.args;
      invariant(condition !== undefined && a !== undefined && b !== undefined, "select takes three");
      return this.#value(condition) !== 0 ? this.#value(a) : this.#value(b);
    }
    if (expr.fn === "and") return expr.args.every((arg) => this.#value(arg) !== 0) ? 1 : 0;
    return applyRow(
      expr.fn,
      expr.args[0]?.type ?? expr.type,
      expr.args.map((arg) => this.#value(arg)),
    );
  }

  #read(expr: Extract<TileExpr, { kind: "read" }>): Element {
    const memory = this.#memory.get(expr.buffer);
    invariant(memory !== undefined, `no memory for ${expr.buffer.name}`);
    const shape = expr.buffer.shape.map((extent: Dim) => evaluate(extent, this.#dims));
    let index = expr.index.map((part) => Number(this.#value(part)));
    if (expr.bounds === "clamp") index = index.map((i, k) => Math.max(0, Math.min(i, (shape[k] ?? 1) - 1)));
    const inside = index.every((i, k) => i >= 0 && i < (shape[k] ?? 0));
    if (!inside && expr.otherwise !== undefined) return this.#value(expr.otherwise);
    invariant(inside, `${expr.buffer.name}[${index.join(", ")}] is read outside of [${shape.join(", ")}]`);
    const value = memory[flat(index, shape)];
    invariant(value !== undefined, `${expr.buffer.name} is shorter than its shape`);
    return value;
  }
}

function flat(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((position, i, k) => position * (shape[k] ?? 1) + i, 0);
}

function unflat(place: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = place;
  for (const extent of shape.toReversed()) {
    index.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return index;
}

/** Of each tile as many copies as it has places; nothing written yet. */
function emptyTiles(tiles: readonly SharedTile[]): SharedMemory {
  return new Map(
    tiles.map((tile) => {
      const size = tile.shape.reduce((a, b) => a * b, 1);
      const copies = Array.from({ length: tile.per?.size ?? 1 }, (_, place): [number, Element[]] => [
        place,
        new Array<Element>(size).fill(Number.NaN),
      ]);
      return [tile, new Map(copies)];
    }),
  );
}

function applyRow(fn: string, type: ScalarType, args: readonly Element[]): Element {
  const row = scalarFunctions.get(fn);
  if (row === undefined) throw new InternalError(`there is no scalar function '${fn}'`);
  if (type === "i64") {
    const [a, b, c] = args.map(BigInt);
    const value = row.big(a ?? 0n, b ?? 0n, c ?? 0n);
    return typeof value === "boolean" ? Number(value) : BigInt.asIntN(64, value);
  }
  const [a, b, c] = args.map(Number);
  if (type === "f32" || type === "bool") return row.float(a ?? 0, b ?? 0, c ?? 0);
  const value = row.int(a ?? 0, b ?? 0, c ?? 0);
  return row.result === "bool" ? value : type === "u32" ? value >>> 0 : value | 0;
}

function toStorage(value: Element, dtype: DType): Element {
  if (dtypes[dtype].kind === "float") return storerOf(dtype)(Number(value));
  return dtype === "i64" ? BigInt(value) : Number(value);
}

function castElement(value: Element, from: ScalarType, to: DType, type: ScalarType): Element {
  if (to === "bool") return Number(value) !== 0 ? 1 : 0;
  if (type === "f32") return rounderTo(to)(Number(value));
  if (from === "f32" || to === "i8" || to === "u8") return storerOf(to)(Number(value));
  if (type === "i64") return BigInt(value);
  const whole = typeof value === "bigint" ? Number(BigInt.asIntN(32, value)) : value;
  return type === "u32" ? whole >>> 0 : whole | 0;
}
