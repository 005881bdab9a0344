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
import { monoidOf } from "../tensor/monoids.ts";
import { evaluate } from "../types/dim.ts";
import type {
  Box,
  Channel,
  Counter,
  GlobalBuffer,
  PanelCopy,
  Role,
  SharedTile,
  TileOp,
  TileProgram,
} from "./ir.ts";
import {
  applyRow,
  emptyTiles,
  flat,
  toStorage,
  unflat,
  type Element,
  type Memory,
  type SharedMemory,
} from "./interpret/elements.ts";
import { productAt, rowsOf } from "./interpret/products.ts";
import { Scope } from "./interpret/scope.ts";
import { SlotQueue } from "./slot-queue.ts";
import { visitOps } from "./walk.ts";

export type { Element, Memory } from "./interpret/elements.ts";

/** Runs `program` over memory by buffer; buffers that are written are changed in place. */
export function interpretTiles(
  program: TileProgram,
  memory: ReadonlyMap<GlobalBuffer, Memory>,
  dims: ReadonlyMap<string, number>,
): void {
  const counters = new Map<Counter, number>();
  const all = new Map([...memory, ...ownMemory(program, dims)]);
  const runBlock = (): void => {
    new Block(program, new Scope(all, dims, counters, emptyTiles(program.shared))).run(program.body);
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

class Block {
  readonly #program: TileProgram;
  readonly #scope: Scope;
  /** Slots that are filled and not yet handed over. */
  readonly #deferred = new Map<Channel, SharedMemory>();
  readonly #queues: Map<Channel, SlotQueue<Element>>;

  /** `block`: the one whose role this is. */
  constructor(program: TileProgram, scope: Scope, block?: Block) {
    this.#program = program;
    this.#scope = scope;
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
          const count = evaluate(op.counter.count, this.#scope.dims);
          const from = op.from === undefined ? 0 : Number(this.#scope.value(op.from));
          const below = op.below === undefined ? count : Number(this.#scope.value(op.below));
          invariant(
            from >= 0 && below <= count,
            `${op.counter.name} goes from ${from} to ${below}, of ${count}`,
          );
          for (let i = from; i < below; i += 1) {
            this.#scope.counters.set(op.counter, i);
            yield* this.#steps(op.body);
          }
          break;
        }
        case "turn":
          yield* this.#steps(op.body);
          break;
        case "if":
          yield* this.#steps(this.#scope.holds(op.condition) ? op.then : op.otherwise);
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
          const isCopied = this.#scope.holds(op.where);
          if (isCopied) for (const copy of op.copies) this.#copy(copy, slot, "in");
          const before = new Map(this.#scope.shared);
          for (const [tile, contents] of slot) this.#scope.shared.set(tile, contents);
          if (op.where === undefined || !isCopied) yield* this.#steps(op.body);
          for (const tile of slot.keys()) {
            const contents = before.get(tile);
            if (contents === undefined) this.#scope.shared.delete(tile);
            else this.#scope.shared.set(tile, contents);
          }
          if (op.deferred === true) this.#deferred.set(op.channel, slot);
          else queue.fill(slot);
          break;
        }
        case "commit": {
          const slot = this.#deferred.get(op.channel);
          invariant(slot !== undefined, `nothing of ${op.channel.name} is to be handed over`);
          this.#deferred.delete(op.channel);
          this.#queue(op.channel).fill(slot);
          break;
        }
        case "take": {
          const queue = this.#queue(op.channel);
          while (queue.isEmpty(this)) yield op.channel.name;
          for (const [tile, contents] of queue.take(this)) this.#scope.shared.set(tile, contents);
          break;
        }
        default:
          this.#step(op);
      }
    }
  }

  *#persistent(op: Extract<TileOp, { kind: "persistent" }>): Generator<string, void> {
    const counts = op.counters.map((counter) => evaluate(counter.count, this.#scope.dims));
    const total = counts.reduce((a, b) => a * b, 1);
    const first = this.#scope.counters.get(op.worker);
    invariant(first !== undefined, `counter ${op.worker.name} is not in scope`);
    for (let place = first; place < total; place += evaluate(op.worker.count, this.#scope.dims)) {
      let rest = place;
      for (let k = counts.length - 1; k >= 0; k -= 1) {
        const [counter, count] = [op.counters[k], counts[k]];
        invariant(counter !== undefined && count !== undefined, "one count for each counter");
        this.#scope.counters.set(counter, rest % count);
        rest = Math.floor(rest / count);
      }
      yield* this.#steps(op.body);
    }
  }

  #roles(roles: readonly Role[]): void {
    const { memory, dims, counters, shared } = this.#scope;
    const running = new Map(
      roles.map((role) => {
        const block = new Block(this.#program, new Scope(memory, dims, counters, shared), this);
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

  #isInside({ buffer, view, at, extent }: Box): void {
    for (const [axis, part] of at.entries()) {
      const [start, size] = [Number(this.#scope.value(part)), extent[axis] ?? 0];
      const end = view[axis] === undefined ? 0 : evaluate(view[axis], this.#scope.dims);
      invariant(
        start >= 0 && start + size <= end,
        `a box of ${buffer.name} from ${start} to ${start + size} is not within ${end}`,
      );
    }
  }

  /** A panel from or to a box, element by element; what lies outside of the view is zero, or dropped. */
  #copy({ tile, panel, row = 0, box }: PanelCopy, tiles: SharedMemory, way: "in" | "out"): void {
    const memory = this.#scope.memoryOf(box.buffer);
    const view = box.view.map((extent) => evaluate(extent, this.#scope.dims));
    const start = box.at.map((part) => Number(this.#scope.value(part)));
    const contents = this.#scope.contents(tile, tiles);
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

  #step(
    op: Exclude<
      TileOp,
      { kind: "for" | "if" | "turn" | "persistent" | "roles" | "fill" | "commit" | "take" }
    >,
  ): void {
    switch (op.kind) {
      case "let":
        this.#scope.define(op.tile, () =>
          this.#scope.holds(op.where)
            ? this.#scope.value(op.expr)
            : op.otherwise === undefined
              ? Number.NaN
              : this.#scope.value(op.otherwise),
        );
        return;
      case "var": {
        const { init } = op;
        this.#scope.define(op.tile, () => (init === undefined ? Number.NaN : this.#scope.value(init)));
        return;
      }
      case "index": {
        const value = Number(this.#scope.value(op.expr));
        const count = evaluate(op.counter.count, this.#scope.dims);
        invariant(value >= 0 && value < count, `${op.counter.name} is ${value}, of ${count}`);
        this.#scope.counters.set(op.counter, value);
        return;
      }
      case "update":
        this.#scope.define(op.tile, () => this.#scope.value(op.expr));
        return;
      case "fold":
        this.#scope.define(op.tile, () => this.#fold(op));
        return;
      case "reduce":
        this.#scope.define(op.tile, () => {
          let sum: Element | undefined;
          this.#scope.each(op.over, () => {
            const value = this.#scope.element(op.src);
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
        const oldest = (tile: SharedTile): SharedMemory => this.#ownerOf(tile).oldest(this);
        const [a, b] = [rowsOf(this.#scope, op.a, oldest), rowsOf(this.#scope, op.b, oldest)];
        this.#scope.define(op.acc, () => productAt(this.#scope, op, a, b));
        return;
      }
      case "drain":
        for (const copy of op.copies)
          this.#scope.each(copy.tile.per === undefined ? [] : [copy.tile.per], () =>
            this.#copy(copy, this.#scope.shared, "out"),
          );
        return;
      case "prefetch":
        if (this.#scope.holds(op.where)) op.boxes.forEach((box) => this.#isInside(box));
        return;
      case "release":
        if (this.#scope.holds(op.where)) this.#queue(op.channel).release(this);
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
    const memory = this.#scope.memoryOf(flags);
    const at = Number(this.#scope.value(index));
    const before = kind === "raise" ? 0 : 1;
    invariant(memory[at] === before, `${kind} of ${flags.name}[${at}], which is ${memory[at]}`);
    memory[at] = 1 - before;
  }

  #fold(op: Extract<TileOp, { kind: "fold" }>): Element {
    const { combine } = monoidOf(op.monoid);
    let sum = this.#scope.element(op.tile);
    this.#scope.each(op.over, () => {
      if (this.#scope.holds(op.where))
        sum = applyRow(combine, op.tile.type, [sum, this.#scope.value(op.expr)]);
    });
    return sum;
  }

  #store(op: Extract<TileOp, { kind: "store" }>): void {
    const memory = this.#scope.memoryOf(op.buffer);
    const shape = op.buffer.shape.map((extent) => evaluate(extent, this.#scope.dims));
    this.#scope.each(op.axes, () => {
      if (!this.#scope.holds(op.where)) return;
      const index = op.index.map((part) => Number(this.#scope.value(part)));
      const inside = index.every((i, k) => i >= 0 && i < (shape[k] ?? 0));
      if (!inside && op.bounds === "drop") return;
      invariant(inside, `${op.buffer.name}[${index.join(", ")}] is written outside of [${shape.join(", ")}]`);
      memory[flat(index, shape)] = toStorage(this.#scope.value(op.expr), op.buffer.dtype);
    });
  }

  #put(op: Extract<TileOp, { kind: "put" }>): void {
    this.#scope.each(op.axes, () => {
      const memory = this.#scope.contents(op.shared);
      const holds = this.#scope.holds(op.where);
      const expr = holds ? op.expr : op.otherwise;
      if (expr === undefined) return;
      const index = op.index.map((part) => Number(this.#scope.value(part)));
      invariant(
        index.every((i, k) => i >= 0 && i < (op.shared.shape[k] ?? 0)),
        `${op.shared.name}[${index.join(", ")}] is outside`,
      );
      memory[flat(index, op.shared.shape)] = toStorage(this.#scope.value(expr), op.shared.dtype);
    });
  }
}
