/**
 * What makes a tile program well formed:
 *
 *  1. A tile is defined before it is used, its axes are in scope where it is, and only a `var` changes.
 *  2. An index has as many parts as its buffer or shared tile has axes, each an i32; guards are bools.
 *  3. An expression of an op moves along the op's axes alone; a reduction is over thread axes of its source.
 *  4. Thread axes of one tile do not overlap, and lie within the block.
 *  5. Only buffers that may be written are stored to; a buffer that is only written is never read.
 *  6. Matrix operands have equal depth, and their rows are as many as the accumulator needs. A packed tile holds pairs
 *     and is read by products alone.
 *  7. A channel's tiles are filled through it alone, whole slots at a time.
 *  8. Roles stand at the top and have all of the block's threads.
 *  9. Flags are raised and met, and nothing else is done with them.
 */
import type {
  Axis,
  Channel,
  Box,
  Counter,
  PanelCopy,
  RegisterOperand,
  SharedTile,
  Tile,
  TileExpr,
  TileOp,
  TileProgram,
} from "./ir.ts";
import { dtypes } from "../types/dtype.ts";
import { operandExtent } from "./matrix-operand.ts";
import { isInRegisters, visitExpressions, visitOps } from "./walk.ts";

/** What is wrong, one sentence each; empty for a well-formed program. */
export function verify(program: TileProgram): string[] {
  const problems: string[] = [];
  const v = new Verifier(program, problems);
  v.ops(program.body, new Set(program.blocks));
  return problems;
}

class Verifier {
  readonly #program: TileProgram;
  readonly #problems: string[];
  readonly #defined = new Set<Tile>();
  /** Channels with a slot that is filled and not handed over. */
  readonly #deferred = new Set<Channel>();
  readonly #changing = new Set<Tile>();

  constructor(program: TileProgram, problems: string[]) {
    this.#program = program;
    this.#problems = problems;
  }

  #say(op: TileOp, text: string): void {
    this.#problems.push(`${op.kind}: ${text}`);
  }

  ops(ops: readonly TileOp[], counters: ReadonlySet<Counter>): void {
    const known = new Set(counters);
    for (const op of ops) {
      this.#op(op, known);
      if (op.kind === "index") known.add(op.counter);
      if (op.kind === "fill" && op.deferred === true && !ops.some((one) => handsOver(one, op.channel)))
        this.#say(op, `these ops do not hand ${op.channel.name} over`);
    }
  }

  #op(op: TileOp, counters: ReadonlySet<Counter>): void {
    switch (op.kind) {
      case "let":
        this.#exprs(op, [op.expr, op.otherwise], op.tile.axes, counters);
        this.#guard(op, op.where, op.tile.axes, counters);
        this.#typed(op, op.expr, op.tile);
        this.#define(op, op.tile);
        return;
      case "var":
        this.#exprs(op, [op.init], op.tile.axes, counters);
        if (op.init !== undefined) this.#typed(op, op.init, op.tile);
        this.#define(op, op.tile);
        this.#changing.add(op.tile);
        return;
      case "index":
        this.#exprs(op, [op.expr], [], counters);
        if (op.expr.type !== "i32") this.#say(op, `${op.counter.name} is an i32`);
        return;
      case "update":
        this.#change(op, op.tile);
        this.#exprs(op, [op.expr], op.tile.axes, counters);
        this.#typed(op, op.expr, op.tile);
        return;
      case "fold":
        this.#change(op, op.tile);
        if (op.over.some((axis) => axis.place.kind !== "register"))
          this.#say(op, "folds along registers only");
        this.#exprs(op, [op.expr], [...op.tile.axes, ...op.over], counters);
        this.#guard(op, op.where, [...op.tile.axes, ...op.over], counters);
        this.#typed(op, op.expr, op.tile);
        return;
      case "reduce":
        this.#reduce(op);
        return;
      case "store":
        if (op.buffer.access === "read") this.#say(op, `${op.buffer.name} is read-only`);
        if (op.buffer.use === "flags") this.#say(op, `${op.buffer.name} is raised, not stored to`);
        if (op.index.length !== op.buffer.shape.length)
          this.#say(op, `${op.buffer.name} has ${op.buffer.shape.length} axes`);
        this.#exprs(op, [...op.index, op.expr], op.axes, counters);
        this.#guard(op, op.where, op.axes, counters);
        this.#threads(op, op.axes);
        return;
      case "put":
        if (op.index.length !== op.shared.shape.length)
          this.#say(op, `${op.shared.name} has ${op.shared.shape.length} axes`);
        this.#exprs(op, [...op.index, op.expr, op.otherwise], op.axes, counters);
        this.#guard(op, op.where, op.axes, counters);
        this.#threads(op, op.axes);
        return;
      case "mma":
        this.#change(op, op.acc);
        this.#exprs(op, [op.m, op.n], op.acc.axes, counters);
        this.#guard(op, op.accumulate, [], counters);
        if (isInRegisters(op.a)) this.#registers(op, op.a, counters);
        else if (operandExtent(op.a).k !== operandExtent(op.b).k)
          this.#say(op, "the operands differ in depth");
        return;
      case "fill":
        for (const tile of op.channel.tiles) this.#filled(op, tile);
        if (op.where !== undefined && op.body.length === 0)
          this.#say(op, `nothing fills ${op.channel.name} where the copies are not made`);
        if (op.deferred === true) this.#defer(op);
        for (const copy of op.copies) {
          if (!op.channel.tiles.includes(copy.tile))
            this.#say(op, `${copy.tile.name} is no tile of ${op.channel.name}`);
          this.#copy(op, copy, [], counters);
          if (copy.box.buffer.access === "write") this.#say(op, `${copy.box.buffer.name} is only written`);
          if (copy.common === true && this.#program.cluster === undefined)
            this.#say(op, "blocks without a cluster have no common copies");
        }
        this.ops(op.body, counters);
        return;
      case "drain":
        for (const copy of op.copies) {
          this.#copy(op, copy, copy.tile.per === undefined ? [] : [copy.tile.per], counters);
          if (copy.box.buffer.access === "read") this.#say(op, `${copy.box.buffer.name} is read-only`);
        }
        return;
      case "commit":
        if (!this.#deferred.delete(op.channel))
          this.#say(op, `nothing of ${op.channel.name} is to be handed over`);
        return;
      case "prefetch":
        this.#guard(op, op.where, [], counters);
        for (const box of op.boxes) {
          this.#box(op, box, [], counters);
          if (box.buffer.access === "write") this.#say(op, `${box.buffer.name} is only written`);
        }
        return;
      case "take":
      case "await":
        return;
      case "release":
        this.#guard(op, op.where, [], counters);
        return;
      case "roles": {
        if (!this.#program.body.includes(op)) this.#say(op, "roles stand at the top of a program");
        const threads = op.roles.reduce((sum, role) => sum + role.threads, 0);
        if (threads !== this.#program.threads)
          this.#say(op, `the roles have ${threads} threads, the block ${this.#program.threads}`);
        for (const role of op.roles) this.ops(role.body, counters);
        return;
      }
      case "persistent":
        if (!counters.has(op.worker)) this.#say(op, `counter ${op.worker.name} is not in scope`);
        this.ops(op.body, new Set([...counters, ...op.counters]));
        return;
      case "raise":
      case "meet":
        this.#exprs(op, [op.index], [], counters);
        if (op.flags.use !== "flags" || op.flags.dtype !== "u32" || op.flags.shape.length !== 1)
          this.#say(op, `${op.flags.name} is no row of flags`);
        return;
      case "for":
        this.#exprs(op, [op.from, op.below], [], counters);
        this.ops(op.body, new Set([...counters, op.counter]));
        return;
      case "turn":
        if (op.axis.place.kind !== "thread") this.#say(op, `${op.axis.name} is no thread axis`);
        this.ops(op.body, counters);
        return;
      case "if":
        this.#guard(op, op.condition, [], counters);
        this.ops(op.then, counters);
        this.ops(op.otherwise, counters);
        return;
      case "line":
        return;
    }
  }

  /** A packed tile that is defined. */
  #registers(op: TileOp, { registers, row, k }: RegisterOperand, counters: ReadonlySet<Counter>): void {
    if (registers.packed === undefined) this.#say(op, `${registers.name} is not packed`);
    if (!this.#defined.has(registers)) this.#say(op, `${registers.name} is used before it is defined`);
    this.#exprs(op, [row, k], registers.axes, counters);
  }

  /** What is handed over later is what threads have put, and one slot at a time. */
  #defer(op: Extract<TileOp, { kind: "fill" }>): void {
    if (op.copies.length > 0) this.#say(op, `copies to ${op.channel.name} hand themselves over`);
    if (this.#deferred.has(op.channel))
      this.#say(op, `${op.channel.name} has a slot that is not handed over`);
    this.#deferred.add(op.channel);
  }

  /** A slot is filled whole: by copies of all panels, or by puts, which are taken to fill the tile. */
  #filled(op: Extract<TileOp, { kind: "fill" }>, tile: SharedTile): void {
    let isPut = false;
    visitOps(op.body, (part) => {
      isPut ||= part.kind === "put" && part.shared === tile;
    });
    if (isPut && op.where === undefined) return;
    if (op.where !== undefined && !isPut)
      this.#say(op, `${tile.name} is not filled where the copies are not made`);
    const [panels = 0, rows = 0, width = 1] = tile.shape;
    const written = new Set(
      op.copies.flatMap(({ tile: filled, panel, row = 0, box }) =>
        filled === tile ? Array.from({ length: rowsOf(box, width) }, (_, k) => panel * rows + row + k) : [],
      ),
    );
    if (written.size !== panels * rows)
      this.#say(op, `${written.size} of ${panels * rows} rows of ${tile.name} are filled`);
  }

  #copy(op: TileOp, copy: PanelCopy, axes: readonly Axis[], counters: ReadonlySet<Counter>): void {
    const { tile, panel, row = 0, box } = copy;
    const [, rows = 0, width = 1] = tile.shape;
    const own = rowsOf(box, width);
    if (tile.shape.length !== 3 || tile.pad !== 0) this.#say(op, `${tile.name} is not made of panels`);
    if (panel < 0 || panel >= (tile.shape[0] ?? 0)) this.#say(op, `${tile.name} has no panel ${panel}`);
    if (
      !Number.isInteger(own) ||
      row < 0 ||
      row + own > rows ||
      (own < rows && (row % 8 !== 0 || own % 8 !== 0))
    )
      this.#say(op, `a box of ${box.extent.join(" x ")} is no panel of ${tile.name} and no rows of one`);
    if (box.buffer.dtype !== tile.dtype) this.#say(op, `${tile.name} and ${box.buffer.name} differ in dtype`);
    this.#box(op, box, axes, counters);
  }

  #box(
    op: TileOp,
    { buffer, view, at, extent }: Box,
    axes: readonly Axis[],
    counters: ReadonlySet<Counter>,
  ): void {
    if (at.length !== view.length || extent.length !== view.length)
      this.#say(op, `${buffer.name} is viewed with ${view.length} axes`);
    this.#exprs(op, at, axes, counters);
  }

  #reduce(op: Extract<TileOp, { kind: "reduce" }>): void {
    if (!this.#defined.has(op.src)) this.#say(op, `${op.src.name} is used before it is defined`);
    for (const axis of op.over) {
      if (axis.place.kind !== "thread") this.#say(op, `${axis.name} is no thread axis`);
      if (!op.src.axes.includes(axis)) this.#say(op, `${op.src.name} has no axis ${axis.name}`);
    }
    for (const axis of op.src.axes) {
      const kept = op.tile.axes.includes(axis);
      if (!kept && !op.over.includes(axis) && axis.size > 1)
        this.#say(op, `axis ${axis.name} is neither kept nor reduced`);
    }
    this.#define(op, op.tile);
  }

  #define(op: TileOp, tile: Tile): void {
    if (this.#defined.has(tile) && this.#changing.has(tile)) this.#say(op, `${tile.name} is defined twice`);
    this.#threads(op, tile.axes);
    this.#packed(op, tile);
    this.#defined.add(tile);
  }

  /** Pairs of 16 bits, or whole fours of 8, lie in registers along the last axis. */
  #packed(op: TileOp, { name, axes, packed }: Tile): void {
    if (packed === undefined) return;
    const last = axes.at(-1);
    const size = last?.place.kind === "register" ? last.size : 0;
    const isEven = dtypes[packed].bytes === 1 ? size > 0 && size % 4 === 0 : size === 2;
    if (!isEven) this.#say(op, `${name} has no ${dtypes[packed].bytes === 1 ? "fours" : "pairs"} to pack`);
  }

  #change(op: TileOp, tile: Tile): void {
    if (!this.#changing.has(tile)) this.#say(op, `${tile.name} does not change`);
  }

  #typed(op: TileOp, expr: TileExpr, tile: Tile): void {
    if (expr.type !== tile.type) this.#say(op, `${tile.name} is ${tile.type}, its value ${expr.type}`);
  }

  #guard(
    op: TileOp,
    where: TileExpr | undefined,
    axes: readonly Axis[],
    counters: ReadonlySet<Counter>,
  ): void {
    if (where === undefined) return;
    if (where.type !== "bool") this.#say(op, "the guard is no bool");
    this.#exprs(op, [where], axes, counters);
  }

  /** Thread axes take disjoint digits of the thread's number. */
  #threads(op: TileOp, axes: readonly Axis[]): void {
    let covered = 1;
    const places = axes.flatMap((axis) =>
      axis.place.kind === "thread" && axis.size > 1 ? [{ axis, stride: axis.place.stride }] : [],
    );
    for (const { axis, stride } of places.sort((a, b) => a.stride - b.stride)) {
      if (stride % covered !== 0 || stride < covered)
        this.#say(op, `axis ${axis.name} overlaps another over the threads`);
      covered = stride * axis.size;
    }
    if (covered > this.#program.threads)
      this.#say(op, `its axes need ${covered} threads, the block has ${this.#program.threads}`);
  }

  #exprs(
    op: TileOp,
    exprs: readonly (TileExpr | undefined)[],
    axes: readonly Axis[],
    counters: ReadonlySet<Counter>,
  ): void {
    visitExpressions(
      exprs.filter((expr) => expr !== undefined),
      (expr) => {
        switch (expr.kind) {
          case "counter":
            if (!counters.has(expr.counter)) this.#say(op, `counter ${expr.counter.name} is not in scope`);
            return;
          case "coordinate":
            if (!axes.includes(expr.axis)) this.#say(op, `axis ${expr.axis.name} is not in scope`);
            return;
          case "tile":
            if (!this.#defined.has(expr.tile))
              this.#say(op, `${expr.tile.name} is used before it is defined`);
            for (const axis of expr.tile.axes) {
              if (axis.size > 1 && !axes.includes(axis))
                this.#say(op, `axis ${axis.name} of ${expr.tile.name} is not in scope`);
            }
            return;
          case "read":
            if (expr.buffer.access === "write") this.#say(op, `${expr.buffer.name} is only written`);
            if (expr.buffer.use === "flags") this.#say(op, `${expr.buffer.name} is met, not read`);
            if (expr.index.length !== expr.buffer.shape.length)
              this.#say(op, `${expr.buffer.name} has ${expr.buffer.shape.length} axes`);
            if (expr.index.some((part) => part.type !== "i32"))
              this.#say(op, `an index of ${expr.buffer.name} is no i32`);
            return;
          case "shared":
            if (expr.index.length !== expr.tile.shape.length)
              this.#say(op, `${expr.tile.name} has ${expr.tile.shape.length} axes`);
            return;
          case "const":
          case "size":
          case "apply":
          case "round":
          case "cast":
            return;
        }
      },
    );
  }
}

/** Rows of a panel, so wide, that a box has the elements of. */
function rowsOf({ extent }: Box, width: number): number {
  return extent.reduce((a, b) => a * b, 1) / width;
}

function handsOver(op: TileOp, channel: Channel): boolean {
  return op.kind === "commit" && op.channel === channel;
}
