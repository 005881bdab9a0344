/**
 * What of a role the protocol of channels depends on: its channel operations, the products that read slots, and the
 * loops and branches around them. All else is left out, and so are loops and branches with none of these inside.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Channel, Role, SharedTile, TileExpr, TileOp } from "./ir.ts";
import { bodiesOf, expressionsOf, isInRegisters, visitExpressions } from "./walk.ts";

/** The slot that was taken last, or the one that is released next. */
export interface HeldSlot {
  readonly channel: Channel;
  readonly isOldest: boolean;
}

/** Positions are places in a role's list of steps. */
export type Step =
  /** A slot is claimed where what fills it is handed over later, by another step. */
  | { readonly kind: "claim" | "fill" | "take"; readonly channel: Channel }
  | { readonly kind: "release"; readonly channel: Channel; readonly where: TileExpr | undefined }
  /** Slots are read, at once or by a product that runs on. */
  | { readonly kind: "read" | "issue"; readonly slots: readonly HeldSlot[] }
  | { readonly kind: "await"; readonly pending: number }
  | { readonly kind: "enter"; readonly loop: number }
  /** One iteration more, or on at `exit`. */
  | { readonly kind: "loop"; readonly loop: number; readonly exit: number }
  | { readonly kind: "branch"; readonly condition: TileExpr; readonly otherwise: number }
  | { readonly kind: "jump"; readonly to: number };

export interface Loop {
  /** The same for the same loop of all roles: they run it equally often. */
  readonly key: string;
  readonly counter: string;
  /** As keys of expressions. */
  readonly at: string;
  readonly from: string;
  readonly first: Place;
  readonly below: string;
  readonly least: number;
  /** Iterations, where they are known and few; and how many there are at most, where that is. */
  readonly exactly: number | undefined;
  readonly most: number | undefined;
}

/** A loop, and the steps of it: from where it is entered up to where it goes on at its end. */
export interface PlacedLoop extends Loop {
  readonly begins: number;
  readonly ends: number;
}

export interface RoleSteps {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly loops: readonly PlacedLoop[];
}

/** Trips count as so many, or more. */
const mostTrips = 2;
/** Trips of a loop are counted one by one up to here; beyond, any number is taken that is as large as it must be. */
const mostExact = 8;

export function stepsOf(role: Role, channels: readonly Channel[]): RoleSteps {
  const owners = new Map<SharedTile, Channel>();
  for (const channel of channels) for (const tile of channel.tiles) owners.set(tile, channel);
  const steps: Step[] = [];
  const loops: PlacedLoop[] = [];
  // Without a wait for products, they are done when they are issued.
  const isAsynchronous = contains(role.body, (op) => op.kind === "await");

  const reads = (op: TileOp): readonly HeldSlot[] => {
    const found: HeldSlot[] = [];
    const add = (tile: SharedTile, isOldest = false): void => {
      const channel = owners.get(tile);
      if (channel === undefined) return;
      if (!found.some((slot) => slot.channel === channel && slot.isOldest === isOldest))
        found.push({ channel, isOldest });
    };
    visitExpressions(expressionsOf(op), (expr) => {
      if (expr.kind === "shared") add(expr.tile);
    });
    if (op.kind === "mma") {
      if (!isInRegisters(op.a)) add(op.a.tile, op.a.isOldest);
      add(op.b.tile, op.b.isOldest);
    }
    return found;
  };
  const matters = (op: TileOp): boolean =>
    op.kind === "fill" ||
    op.kind === "commit" ||
    op.kind === "take" ||
    op.kind === "release" ||
    op.kind === "await" ||
    op.kind === "mma" ||
    reads(op).length > 0;

  const sweep = (loop: Loop, body: readonly TileOp[]): void => {
    const begins = steps.length;
    const number = loops.push({ ...loop, begins, ends: begins }) - 1;
    steps.push({ kind: "enter", loop: number });
    const head = steps.length;
    steps.push({ kind: "jump", to: head });
    walk(body);
    steps.push({ kind: "jump", to: head });
    steps[head] = { kind: "loop", loop: number, exit: steps.length };
    loops[number] = { ...loop, begins, ends: steps.length };
  };
  const walk = (ops: readonly TileOp[]): void => {
    for (const op of ops) {
      switch (op.kind) {
        case "fill":
          steps.push({ kind: op.deferred === true ? "claim" : "fill", channel: op.channel });
          continue;
        case "commit":
          steps.push({ kind: "fill", channel: op.channel });
          continue;
        case "take":
          steps.push({ kind: "take", channel: op.channel });
          continue;
        case "release":
          steps.push({ kind: "release", channel: op.channel, where: op.where });
          continue;
        case "await":
          steps.push({ kind: "await", pending: op.pending });
          continue;
        case "for":
          if (contains(op.body, matters)) sweep(loopOf(op), op.body);
          continue;
        case "persistent":
          if (contains(op.body, matters))
            sweep(
              {
                key: `tiles of ${op.counters.map(({ id }) => id).join()}`,
                counter: op.counters.map(({ name }) => name).join(", "),
                at: "",
                from: "",
                first: { base: "none", offset: 0 },
                below: "",
                least: 0,
                exactly: undefined,
                most: undefined,
              },
              op.body,
            );
          continue;
        // A role's threads all do the same, in whichever order they come to it.
        case "turn":
          walk(op.body);
          continue;
        case "if": {
          if (!contains([op], matters)) continue;
          const at = steps.push({ kind: "jump", to: 0 }) - 1;
          walk(op.then);
          const end = steps.push({ kind: "jump", to: 0 }) - 1;
          steps[at] = { kind: "branch", condition: op.condition, otherwise: steps.length };
          walk(op.otherwise);
          steps[end] = { kind: "jump", to: steps.length };
          continue;
        }
        case "roles":
          invariant(false, "roles stand at the top of a program");
          continue;
        default: {
          const read = reads(op);
          if (op.kind === "mma" && isAsynchronous) steps.push({ kind: "issue", slots: read });
          else if (read.length > 0) steps.push({ kind: "read", slots: read });
        }
      }
    }
  };
  walk(role.body);
  return { name: role.name, steps, loops };
}

function loopOf(op: Extract<TileOp, { kind: "for" }>): Loop {
  const { counter, from, below } = op;
  const size: TileExpr =
    counter.count.kind === "const"
      ? { kind: "const", type: "i32", value: counter.count.value }
      : { kind: "size", type: "i32", dim: counter.count };
  const start: TileExpr = from ?? { kind: "const", type: "i32", value: 0 };
  const count = from === undefined && below === undefined ? counter.count : undefined;
  const known = count?.kind === "const" ? count.value : undefined;
  // A counter stays below its count, whatever ends the loop.
  const range = counter.count.kind === "const" ? counter.count.value : undefined;
  return {
    key: `loop ${counter.id}`,
    counter: counter.name,
    at: keyOf({ kind: "counter", type: "i32", counter }),
    from: keyOf(start),
    first: placeOf(start),
    below: keyOf(below ?? size),
    // A size is one at least.
    least: known ?? (count === undefined ? 0 : 1),
    exactly: known !== undefined && known <= mostExact ? known : undefined,
    most: range !== undefined && range <= mostTrips ? range : undefined,
  };
}

function contains(ops: readonly TileOp[], has: (op: TileOp) => boolean): boolean {
  return ops.some(
    (op) => has(op) || (op.kind !== "fill" && bodiesOf(op).some((body) => contains(body, has))),
  );
}

/** Equal for expressions that are equal in form. */
export function keyOf(expr: TileExpr): string {
  switch (expr.kind) {
    case "const":
      return `${expr.type} ${expr.value}`;
    case "size":
      return `size ${JSON.stringify(expr.dim)}`;
    case "counter":
      return `counter ${expr.counter.id}`;
    case "coordinate":
      return `axis ${expr.axis.id}`;
    case "tile":
      return `tile ${expr.tile.id}`;
    case "read":
      return `read ${expr.buffer.id}(${[...expr.index, ...(expr.otherwise === undefined ? [] : [expr.otherwise])].map(keyOf).join()})`;
    case "shared":
      return `shared ${expr.tile.id}(${expr.index.map(keyOf).join()})`;
    case "apply":
      return `${expr.fn}(${expr.args.map(keyOf).join()})`;
    case "round":
    case "cast":
      return `${expr.kind} ${expr.to}(${keyOf(expr.arg)})`;
  }
}

/** How many iterations more a loop makes, at least, where a condition holds that is asked in it or before it. */
export interface Ahead {
  readonly loop: number;
  readonly iterations: number;
}

/**
 * What `place + n < below` says of a loop that ends there: inside of it, where `place` is its counter, and before it,
 * where that is where it begins. Undefined for other conditions.
 */
export function aheadOf(condition: TileExpr, loops: readonly PlacedLoop[], at: number): Ahead | undefined {
  const [left, right] = condition.kind === "apply" && condition.fn === "lt" ? condition.args : [];
  if (left === undefined || right === undefined) return undefined;
  const [from, below] = [placeOf(left), keyOf(right)];
  for (const [loop, { begins, ends, ...bounds }] of loops.entries()) {
    if (bounds.below !== below || at >= ends) continue;
    const isInside = at > begins;
    const origin = isInside ? { base: bounds.at, offset: 0 } : bounds.first;
    if (origin.base !== from.base) continue;
    const iterations = from.offset - origin.offset + (isInside ? 0 : 1);
    if (iterations >= 0) return { loop, iterations };
  }
  return undefined;
}

interface Place {
  readonly base: string;
  readonly offset: number;
}

/** A place that is so many after another one. */
function placeOf(expr: TileExpr): Place {
  if (expr.kind === "const" && expr.type === "i32") return { base: "", offset: Number(expr.value) };
  const [base, offset] = expr.kind === "apply" && expr.fn === "add" ? expr.args : [];
  if (base === undefined || offset?.kind !== "const") return { base: keyOf(expr), offset: 0 };
  const inner = placeOf(base);
  return { base: inner.base, offset: inner.offset + Number(offset.value) };
}

/**
 * A condition's value where constants and the bounds of loops decide it. `trips` has the iterations of each loop since
 * it was entered, the one under way included, more than 1 counting as 2; -1 before.
 */
export function valueOf(
  expr: TileExpr,
  loops: readonly Loop[],
  trips: readonly number[],
): boolean | undefined {
  if (expr.kind === "const") return expr.type === "bool" ? expr.value === true : undefined;
  if (expr.kind !== "apply") return undefined;
  const [a, b] = expr.args;
  if (a === undefined) return undefined;
  const inner = (part: TileExpr): boolean | undefined => valueOf(part, loops, trips);
  switch (expr.fn) {
    case "not": {
      const value = inner(a);
      return value === undefined ? undefined : !value;
    }
    case "and":
    case "or": {
      if (b === undefined) return undefined;
      const short = expr.fn === "or";
      const [left, right] = [inner(a), inner(b)];
      if (left === short || right === short) return short;
      return left === undefined || right === undefined ? undefined : !short;
    }
    case "eq":
    case "lt": {
      if (b === undefined) return undefined;
      if (a.kind === "const" && b.kind === "const" && a.type === "i32")
        return expr.fn === "lt" ? Number(a.value) < Number(b.value) : a.value === b.value;
      const [left, right] = [keyOf(a), keyOf(b)];
      for (const [k, { at, from, below }] of loops.entries()) {
        const count = trips[k] ?? -1;
        if (count < 0) continue;
        if (left === from && right === at && count > 0) return (expr.fn === "lt") === count > 1;
        if (expr.fn === "eq" && left === at && right === from && count > 0) return count === 1;
        if (expr.fn === "lt" && left === from && right === below) return count > 0;
      }
      return undefined;
    }
    default:
      return undefined;
  }
}
