/**
 * Where barriers stand among threads with shared tiles: derived from who writes and who reads, never placed by hand.
 *
 * A read needs a barrier when the tile was written since the last one; a write needs one when the tile was read or
 * written since. The copy engine reads a tile that it drains at its own pace: it must see what threads have
 * written, and a write must wait until it is through. A loop's body is entered as its own end leaves it, since
 * another iteration may have come before. A channel's tiles are not looked at: the channel orders them.
 */
import type { SharedTile, TileOp } from "../../tile/ir.ts";
import { bodiesOf, expressionsOf, isInRegisters, visitExpressions } from "../../tile/walk.ts";

export interface Separators {
  /** Of the threads that share a copy of the tile. */
  readonly barrier: (tile: SharedTile) => void;
  /** What threads have written, the copy engine sees after the barrier that follows. */
  readonly publish: () => void;
  /** Whoever began to drain the tile waits until the engine has read it. */
  readonly drained: (tile: SharedTile) => void;
}

export class Hazards {
  readonly #separators: Separators;
  readonly #ordered: ReadonlySet<SharedTile>;
  #read = new Set<SharedTile>();
  #written = new Set<SharedTile>();
  readonly #draining = new Set<SharedTile>();

  /** `ordered`: tiles that something else keeps in order, a channel's. */
  constructor(separators: Separators, ordered: ReadonlySet<SharedTile>) {
    this.#separators = separators;
    this.#ordered = ordered;
  }

  read(tile: SharedTile): void {
    if (this.#ordered.has(tile)) return;
    if (this.#written.has(tile)) this.#separate(tile);
    this.#read.add(tile);
  }

  write(tile: SharedTile): void {
    if (this.#ordered.has(tile)) return;
    const wasDraining = this.#draining.delete(tile);
    if (wasDraining) {
      this.#separators.drained(tile);
      // All that the same threads drain has been read then, and the barrier tells them all.
      for (const other of this.#draining) if (other.per === tile.per) this.#draining.delete(other);
    }
    if (wasDraining || this.#read.has(tile) || this.#written.has(tile)) this.#separate(tile);
    this.#written.add(tile);
  }

  drain(tile: SharedTile): void {
    if (this.#written.has(tile)) {
      this.#separators.publish();
      this.#separate(tile);
    }
    this.#draining.add(tile);
  }

  /** Some other code placed a barrier that all of the threads reach. */
  separated(): void {
    this.#read = new Set();
    this.#written = new Set();
  }

  /** What may be skipped separates nothing that was not separated before. */
  perhaps(lower: () => void): void {
    const [read, written, draining] = [this.#read, this.#written, this.#draining].map((set) => new Set(set));
    lower();
    for (const tile of read ?? []) this.#read.add(tile);
    for (const tile of written ?? []) this.#written.add(tile);
    for (const tile of draining ?? []) this.#draining.add(tile);
  }

  /**
   * Before a loop's body. What conflicts with what came before the loop is separated here, once, and not in every
   * iteration; then the body begins as if an iteration had just ended.
   */
  enterLoop(body: readonly TileOp[]): void {
    const { read, written, drained } = touched(body, this.#ordered);
    for (const tile of read) if (this.#written.has(tile)) this.#separate(tile);
    for (const tile of written) if (this.#read.has(tile) || this.#written.has(tile)) this.#separate(tile);
    for (const tile of read) this.#read.add(tile);
    for (const tile of written) this.#written.add(tile);
    for (const tile of drained) {
      this.#written.delete(tile);
      this.#draining.add(tile);
    }
  }

  /** A barrier of some threads orders only the tiles that they share among themselves. */
  #separate(tile: SharedTile): void {
    this.#separators.barrier(tile);
    if (tile.per === undefined) {
      this.separated();
      return;
    }
    for (const set of [this.#read, this.#written])
      for (const other of set) if (other.per === tile.per) set.delete(other);
  }
}

interface Touched {
  readonly read: Set<SharedTile>;
  readonly written: Set<SharedTile>;
  readonly drained: Set<SharedTile>;
}

/** Shared tiles that some ops read, write and drain. */
function touched(
  ops: readonly TileOp[],
  ordered: ReadonlySet<SharedTile>,
  found: Touched = { read: new Set(), written: new Set(), drained: new Set() },
): Touched {
  const note = (set: Set<SharedTile>, tile: SharedTile): void => {
    if (!ordered.has(tile)) set.add(tile);
  };
  for (const op of ops) {
    visitExpressions(expressionsOf(op), (expr) => {
      if (expr.kind === "shared") note(found.read, expr.tile);
    });
    if (op.kind === "put") note(found.written, op.shared);
    if (op.kind === "drain") for (const { tile } of op.copies) note(found.drained, tile);
    if (op.kind === "mma")
      for (const operand of [op.a, op.b]) if (!isInRegisters(operand)) note(found.read, operand.tile);
    for (const body of bodiesOf(op)) touched(body, ordered, found);
  }
  return found;
}
