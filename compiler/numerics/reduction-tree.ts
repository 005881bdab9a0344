/**
 * The tree by which a tile program adds: how many roundings lie between a term of a sum and its result, at most, and
 * what of it a matrix unit adds. Read off the program as it is emitted, by running it with counts in place of values.
 *
 *     fold sum_part by sum over col_u: ..      as many more as col_u has places
 *     reduce sum_part by sum over col_t        the levels of the tree across threads, or the parts one after the other
 *     set sum = add(mul(sum_run, s), sum)      one each
 *     mma sum_run .. where false               the unit's own; what it had is forgotten
 *     for run in 32 { .. }                     that again and again; once it grows steadily, the rest is multiplied
 */
import { stepsAcross } from "../kernel/from-tile/reduce.ts";
import { operandExtent } from "../tile/matrix-operand.ts";
import { scalarFunctions } from "../tensor/scalar-functions.ts";
import type { GlobalBuffer, SharedTile, Tile, TileExpr, TileOp, TileProgram } from "../tile/ir.ts";
import { visitExpressions, visitOps } from "../tile/walk.ts";
import type { Caps } from "../types/caps.ts";
import { evaluate } from "../types/dim.ts";
import { coarser, matrixUnit, type MatrixUnit } from "./matrix-units.ts";

export interface ReductionTree {
  /** Roundings to f32 on the longest way from a term to the result, the matrix unit's own apart. */
  readonly roundings: number;
  /** What adds the products, where that is a matrix unit which drops bits. */
  readonly unit: MatrixUnit | undefined;
  /** Products that the unit adds before its sum goes on in f32. */
  readonly run: number;
  /** One thread adds the terms one after the other, in their order. */
  readonly inOrder: boolean;
}

/** What has gone into a tile so far. */
interface Chain {
  readonly roundings: number;
  /** Products in the matrix unit's accumulator. */
  readonly products: number;
}

const nothing: Chain = { roundings: 0, products: 0 };

type State = Map<Tile, Chain>;

/** The deepest of a program's sums; undefined where it has none. */
export function reductionTree(
  program: TileProgram,
  caps: Caps,
  dims: ReadonlyMap<string, number>,
): ReductionTree | undefined {
  const sums = sumTiles(program);
  if (sums.size === 0) return undefined;
  return { ...new Counting(sums, caps, dims).run(program.body), inOrder: isInOrder(program) };
}

/** The tiles that hold sums, finished or not. */
function sumTiles(program: TileProgram): ReadonlySet<Tile> {
  const sums = new Set<Tile>();
  visitOps(program.body, (op) => {
    if (op.kind === "mma") sums.add(op.acc);
    if (op.kind === "fold" && op.monoid === "sum" && op.tile.type === "f32") sums.add(op.tile);
    if (op.kind === "reduce" && op.monoid === "sum" && op.tile.type === "f32") sums.add(op.tile).add(op.src);
    // A plain sum of products: set sum = sum + a * b.
    if (op.kind === "update" && op.tile.type === "f32" && addsTo(op.expr, op.tile)) sums.add(op.tile);
  });
  return sums;
}

/** All sums are `set sum = sum + term` in loops, which no other threads and blocks have a part in. */
function isInOrder(program: TileProgram): boolean {
  let found = true;
  visitOps(program.body, (op) => {
    if (op.kind === "mma" || op.kind === "meet" || op.kind === "turn" || op.kind === "put") found = false;
    if ((op.kind === "fold" || op.kind === "reduce") && op.monoid === "sum") found = false;
    if (op.kind === "update" && !isPlainAddition(op.expr, op.tile)) found = false;
  });
  return found;
}

/** `add(term, sum)`, with no other part of the sum in the term. */
function isPlainAddition(expr: TileExpr, tile: Tile): boolean {
  if (expr.kind !== "apply" || expr.fn !== "add") return false;
  return expr.args.filter((arg) => arg.kind === "tile" && arg.tile === tile).length === 1;
}

function addsTo(expr: TileExpr, tile: Tile): boolean {
  return (
    expr.kind === "apply" &&
    (expr.fn === "add" || expr.fn === "sub") &&
    expr.args.some((arg) => (arg.kind === "tile" && arg.tile === tile) || scales(arg, tile))
  );
}

function scales(expr: TileExpr, tile: Tile): boolean {
  return (
    expr.kind === "apply" &&
    expr.fn === "mul" &&
    expr.args.some((arg) => (arg.kind === "tile" && arg.tile === tile) || scales(arg, tile))
  );
}

class Counting {
  readonly #sums: ReadonlySet<Tile>;
  readonly #caps: Caps;
  readonly #dims: ReadonlyMap<string, number>;
  /** Partial sums that other threads and blocks take up. */
  readonly #memory = new Map<SharedTile | GlobalBuffer, Chain>();
  #deepest = 0;
  #run = 0;
  #unit: MatrixUnit | undefined;

  constructor(sums: ReadonlySet<Tile>, caps: Caps, dims: ReadonlyMap<string, number>) {
    this.#sums = sums;
    this.#caps = caps;
    this.#dims = dims;
  }

  run(body: readonly TileOp[]): Omit<ReductionTree, "inOrder"> {
    this.#body(body, new Map());
    return { roundings: this.#deepest, unit: this.#unit, run: this.#run };
  }

  #body(ops: readonly TileOp[], state: State): void {
    for (const op of ops) this.#op(op, state);
  }

  #op(op: TileOp, state: State): void {
    switch (op.kind) {
      case "var":
        return void state.set(op.tile, nothing);
      case "let":
        return void state.set(op.tile, this.#chain(op.expr, state));
      case "update":
        return this.#note(state, op.tile, this.#chain(op.expr, state));
      case "fold": {
        if (op.monoid !== "sum" || !this.#sums.has(op.tile)) return;
        const terms = op.over.reduce((product, axis) => product * axis.size, 1);
        const { roundings } = state.get(op.tile) ?? nothing;
        const before = this.#remembered(op.expr);
        return this.#note(state, op.tile, { roundings: Math.max(roundings, before) + terms, products: 0 });
      }
      case "reduce": {
        if (op.monoid !== "sum" || !this.#sums.has(op.tile)) return;
        const across = op.over.reduce((sum, axis) => sum + stepsAcross(axis, this.#caps), 0);
        const { roundings } = state.get(op.src) ?? nothing;
        return this.#note(state, op.tile, { roundings: roundings + across, products: 0 });
      }
      case "mma":
        return this.#multiply(op, state);
      case "for":
        return this.#loop(evaluate(op.counter.count, this.#dims), op.body, state);
      case "if": {
        const other: State = new Map(state);
        this.#body(op.then, state);
        this.#body(op.otherwise, other);
        for (const [tile, chain] of other) state.set(tile, deeper(chain, state.get(tile) ?? nothing));
        return;
      }
      case "persistent":
      case "fill":
      case "turn":
        return this.#body(op.body, state);
      case "roles":
        for (const role of op.roles) this.#body(role.body, new Map(state));
        return;
      case "put":
        return this.#remember(op.shared, this.#chain(op.expr, state));
      case "store":
        if (op.buffer.use !== "tensor") this.#remember(op.buffer, this.#chain(op.expr, state));
        return;
      case "index":
      case "await":
      case "commit":
      case "take":
      case "release":
      case "drain":
      case "prefetch":
      case "raise":
      case "meet":
      case "line":
        return;
    }
  }

  #note(state: State, tile: Tile, chain: Chain): void {
    state.set(tile, chain);
    if (!this.#sums.has(tile)) return;
    this.#deepest = Math.max(this.#deepest, chain.roundings);
    this.#run = Math.max(this.#run, chain.products);
  }

  #multiply(op: TileOp<"mma">, state: State): void {
    const before =
      op.accumulate?.kind === "const" && op.accumulate.value === false
        ? nothing
        : (state.get(op.acc) ?? nothing);
    const k = operandExtent(op.b).k;
    const unit = matrixUnit(op.instruction);
    this.#unit = coarser(this.#unit, unit);
    this.#note(
      state,
      op.acc,
      unit === undefined
        ? { roundings: before.roundings + k, products: 0 }
        : { roundings: before.roundings, products: before.products + k },
    );
  }

  /** Until two rounds in a row change every tile alike, then so often at once. */
  #loop(count: number, body: readonly TileOp[], state: State): void {
    let last: ReadonlyMap<Tile, Chain> | undefined;
    for (let i = 0; i < count; i++) {
      const before: State = new Map(state);
      this.#body(body, state);
      const grown = growth(before, state);
      if (last !== undefined && isSame(last, grown)) {
        const rest = count - i - 1;
        for (const [tile, by] of grown) {
          const { roundings, products } = state.get(tile) ?? nothing;
          this.#note(state, tile, {
            roundings: roundings + rest * by.roundings,
            products: products + rest * by.products,
          });
        }
        return;
      }
      last = grown;
    }
  }

  /** Roundings on the longest way through an expression; what a sum is multiplied by counts with those of its making. */
  #chain(expr: TileExpr, state: State): Chain {
    switch (expr.kind) {
      case "tile":
        return state.get(expr.tile) ?? nothing;
      case "apply": {
        const parts = expr.args.map((arg) => this.#chain(arg, state));
        const most = parts.reduce(deeper, nothing);
        const own =
          expr.type === "f32"
            ? Math.max(1, Math.ceil(scalarFunctions.get(expr.fn)?.accuracy.relative ?? 1))
            : 0;
        const roundings =
          expr.fn === "mul" ? parts.reduce((sum, part) => sum + part.roundings, 0) : most.roundings;
        return { roundings: roundings + own, products: 0 };
      }
      case "round":
      case "cast":
        return this.#chain(expr.arg, state);
      case "const":
      case "size":
      case "counter":
      case "coordinate":
        return nothing;
      case "read":
        return this.#memory.get(expr.buffer) ?? nothing;
      case "shared":
        return this.#memory.get(expr.tile) ?? nothing;
    }
  }

  /** What sums in memory have behind them that an expression reads. */
  #remembered(expr: TileExpr): number {
    let most = 0;
    visitExpressions([expr], (part) => {
      const memory = part.kind === "read" ? part.buffer : part.kind === "shared" ? part.tile : undefined;
      if (memory !== undefined) most = Math.max(most, this.#memory.get(memory)?.roundings ?? 0);
    });
    return most;
  }

  #remember(memory: SharedTile | GlobalBuffer, chain: Chain): void {
    this.#memory.set(memory, deeper(chain, this.#memory.get(memory) ?? nothing));
  }
}

function deeper(a: Chain, b: Chain): Chain {
  return {
    roundings: Math.max(a.roundings, b.roundings),
    products: Math.max(a.products, b.products),
  };
}

function growth(before: State, after: State): ReadonlyMap<Tile, Chain> {
  return new Map(
    [...after].map(([tile, { roundings, products }]) => {
      const old = before.get(tile) ?? nothing;
      return [tile, { roundings: roundings - old.roundings, products: products - old.products }];
    }),
  );
}

function isSame(a: ReadonlyMap<Tile, Chain>, b: ReadonlyMap<Tile, Chain>): boolean {
  return (
    a.size === b.size &&
    [...a].every(([tile, chain]) => {
      const other = b.get(tile);
      return other?.roundings === chain.roundings && other.products === chain.products;
    })
  );
}
