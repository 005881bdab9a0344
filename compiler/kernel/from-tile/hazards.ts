/**
 * Where barriers stand in a block with shared tiles: derived from who writes and who reads, never placed by hand.
 *
 * A read needs a barrier when the tile was written since the last one; a write needs one when the tile was read or
 * written since. A loop's body is entered as its own end leaves it, since another iteration may have come before.
 */
import type { SharedTile, TileExpr, TileOp } from "../../tile/ir.ts";

export class Hazards {
  readonly #barrier: () => void;
  #read = new Set<SharedTile>();
  #written = new Set<SharedTile>();

  constructor(barrier: () => void) {
    this.#barrier = barrier;
  }

  read(tile: SharedTile): void {
    if (this.#written.has(tile)) this.#separate();
    this.#read.add(tile);
  }

  write(tile: SharedTile): void {
    if (this.#read.has(tile) || this.#written.has(tile)) this.#separate();
    this.#written.add(tile);
  }

  /** Some other code placed a barrier. */
  separated(): void {
    this.#read = new Set();
    this.#written = new Set();
  }

  /**
   * Before a loop's body. What conflicts with what came before the loop is separated here, once, and not in every
   * iteration; then the body begins as if an iteration had just ended.
   */
  enterLoop(body: readonly TileOp[]): void {
    const { read, written } = touched(body);
    const conflict =
      [...read].some((tile) => this.#written.has(tile)) ||
      [...written].some((tile) => this.#read.has(tile) || this.#written.has(tile));
    if (conflict) this.#separate();
    for (const tile of read) this.#read.add(tile);
    for (const tile of written) this.#written.add(tile);
  }

  #separate(): void {
    this.#barrier();
    this.separated();
  }
}

/** Shared tiles that some ops read and write. */
function touched(ops: readonly TileOp[]): {
  readonly read: Set<SharedTile>;
  readonly written: Set<SharedTile>;
} {
  const read = new Set<SharedTile>();
  const written = new Set<SharedTile>();
  const seen = new Set<TileExpr>();
  const visit = (expr: TileExpr | undefined): void => {
    if (expr === undefined || seen.has(expr)) return;
    seen.add(expr);
    if (expr.kind === "shared") read.add(expr.tile);
    if (expr.kind === "shared" || expr.kind === "read") expr.index.forEach(visit);
    if (expr.kind === "read") visit(expr.otherwise);
    if (expr.kind === "apply") expr.args.forEach(visit);
    if (expr.kind === "round" || expr.kind === "cast") visit(expr.arg);
  };
  for (const op of ops) {
    switch (op.kind) {
      case "put":
        written.add(op.shared);
        visit(op.expr);
        op.index.forEach(visit);
        visit(op.where);
        break;
      case "mma":
        read.add(op.a);
        read.add(op.b);
        break;
      case "for": {
        const inner = touched(op.body);
        for (const tile of inner.read) read.add(tile);
        for (const tile of inner.written) written.add(tile);
        break;
      }
      case "let":
      case "fold":
        visit(op.expr);
        visit(op.where);
        break;
      case "update":
      case "store":
        visit(op.expr);
        break;
      case "var":
        visit(op.init);
        break;
      case "reduce":
      case "line":
        break;
    }
  }
  return { read, written };
}
