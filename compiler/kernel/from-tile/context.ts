/**
 * What lowering one tile program carries along: the builder, where tiles and buffers live, what has been loaded.
 * Index polynomials become values here, the same sum always in the same order, so that equal parts meet.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Axis, Counter, GlobalBuffer, SharedTile, Tile, TileProgram } from "../../tile/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { constant, mul, type Dim } from "../../types/dim.ts";
import { printDim } from "../../types/dim-text.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Buffer, Register, Value } from "../ir.ts";
import type { Channels } from "./channels.ts";
import type { Hazards } from "./hazards.ts";
import type { Team } from "./team.ts";
import type { Turns } from "./turns.ts";
import { rangeOf, sizePoly, splitConstant, termsInOrder, type Atom, type Poly } from "./algebra.ts";

/** Coordinates of register axes, by axis id: which of a thread's registers is meant. */
export type Assignment = ReadonlyMap<number, number>;

export interface Context {
  readonly b: KernelBuilder;
  readonly caps: Caps;
  readonly program: TileProgram;
  readonly buffers: ReadonlyMap<GlobalBuffer, Buffer>;
  /** Values of the run-time atoms, by key. */
  readonly atoms: Map<string, { readonly atom: Atom; readonly value: () => Value }>;
  /** Counts the values that counters were given. */
  bindings: number;
  /** Tiles in values (written once) or registers (updated), by tile and the assignment of its register axes. */
  readonly tiles: Map<Tile, Map<string, Value | Held>>;
  /** Loads of read-only buffers, innermost scope last. */
  readonly loads: Map<string, readonly Value[]>[];
  /** Where barriers must stand. */
  readonly hazards: Hazards;
  readonly channels: Channels;
  readonly turns: Turns;
  /** Who runs the ops: roles set it in turn. */
  team: Team;
  /** Coordinates that are one value for a whole subgroup, and were made so that it shows. */
  readonly common: Map<Axis, Value>;
  /** The buffer of a shared tile. */
  readonly sharedOf: (tile: SharedTile) => Buffer;
  /** True where indices are computed in 64 bits. */
  readonly wide: boolean;
}

/** A tile's element that changes: a register, wrapped to tell it from a value. */
export interface Held {
  readonly register: Register;
}

export function isRegister(held: Value | Held): held is Held {
  return "register" in held;
}

/** All assignments of the register axes among `axes`, the last axis fastest. */
export function assignments(axes: readonly Axis[]): Assignment[] {
  let all: Map<number, number>[] = [new Map()];
  for (const axis of axes) {
    if (axis.place.kind !== "register") continue;
    const next: Map<number, number>[] = [];
    for (const partial of all) {
      for (let k = 0; k < axis.size; k += 1) next.push(new Map(partial).set(axis.id, k));
    }
    all = next;
  }
  return all;
}

export function assignmentKey(axes: readonly Axis[], assignment: Assignment): string {
  // Asked for every element of every tile that an expression names.
  let key = "";
  for (const axis of axes) if (axis.place.kind === "register") key += `${assignment.get(axis.id) ?? 0},`;
  return key;
}

/** `x[2][1]` as a hint: the tile's name and the register's coordinates. */
export function registerHint(tile: Tile, assignment: Assignment): string {
  const parts = tile.axes
    .filter((axis) => axis.place.kind === "register" && axis.size > 1)
    .map((axis) => assignment.get(axis.id) ?? 0);
  return [tile.name, ...parts].join("_");
}

/** What may be skipped: reads that it makes are not there after it. */
export function perhaps(cx: Context, lower: () => void): void {
  cx.loads.push(new Map());
  cx.hazards.perhaps(lower);
  cx.loads.pop();
}

export function counterAtom(cx: Context, counter: Counter): Atom {
  const high = counter.count.kind === "const" ? counter.count.value - 1 : undefined;
  const rank = cx.program.blocks.includes(counter) ? 0 : 3;
  const below = sizePoly(counter.count);
  return { key: `counter ${counter.id}`, origin: { kind: "run-time" }, low: 0, high, below, rank };
}

export function coordinateAtom(axis: Axis): Atom {
  return { key: `coordinate ${axis.id}`, origin: { kind: "run-time" }, low: 0, high: axis.size - 1, rank: 1 };
}

/** An atom for a value that arithmetic does not look into: a loaded index, a product of data. */
export function valueAtom(cx: Context, value: Value): Atom {
  const key = `value ${value.id}`;
  const range = cx.b.rangeOf(value);
  const known = range !== undefined && (range.low > -(2 ** 31) || range.high < 2 ** 31 - 1);
  const atom: Atom = {
    key,
    origin: { kind: "run-time" },
    low: known ? range.low : undefined,
    high: known ? range.high : undefined,
    rank: 2,
  };
  if (!cx.atoms.has(key)) cx.atoms.set(key, { atom, value: () => value });
  return atom;
}

/** A thread's coordinate on an axis. */
export function coordinateValue(cx: Context, axis: Axis): Value {
  invariant(axis.place.kind === "thread", "only a thread axis has a run-time coordinate");
  const common = cx.common.get(axis);
  if (common !== undefined) return common;
  const { stride } = axis.place;
  const quotient = cx.b.div(cx.team.thread(), cx.b.i32(stride));
  // The thread's number in the block is common to all roles: what is known of it in one does not hold in others.
  const isNumber = stride === 1 && cx.team.threads < cx.b.threads;
  const top = stride * axis.size === cx.team.threads && !isNumber;
  return cx.b.bound(top ? quotient : cx.b.rem(quotient, cx.b.i32(axis.size), axis.name), 0, axis.size - 1);
}

/** The value of a polynomial, as i64 where the program's indices are wide and `type` asks for an index. */
export function evaluatePoly(cx: Context, p: Poly, type: "i32" | "i64"): Value {
  const { b } = cx;
  const { constant: tail, rest } = splitConstant(p);
  const literal = (value: number): Value => b.constant(type, type === "i64" ? BigInt(value) : value);
  let sum: Value | undefined;
  for (const term of termsInOrder(rest)) {
    let product: Value | undefined;
    for (const atom of term.atoms) {
      const value = atomValue(cx, atom, type);
      product = product === undefined ? value : b.mul(product, value);
    }
    invariant(product !== undefined, "the constant was split off");
    if (sum !== undefined && term.coefficient === -1) {
      sum = b.sub(sum, product);
    } else {
      const scaled = term.coefficient === 1 ? product : b.mul(product, literal(term.coefficient));
      sum = sum === undefined ? scaled : b.add(sum, scaled);
    }
  }
  if (sum === undefined) return literal(tail);
  const result = tail === 0 ? sum : b.add(sum, literal(tail));
  const bounds = rangeOf(p);
  if (type === "i32" && bounds.low !== undefined && bounds.high !== undefined && bounds.high < 2 ** 31)
    b.bound(result, bounds.low, bounds.high);
  return result;
}

/** The atom's value, computed once in a scope; a counter that is bound anew makes what was computed from it another's. */
function atomValue(cx: Context, atom: Atom, type: "i32" | "i64"): Value {
  return cx.b.once(`${cx.bindings} ${type} ${atom.key}`, () => computeAtom(cx, atom, type));
}

/** Gives a counter its value, in place of the one that it had. */
export function bindCounter(cx: Context, counter: Counter, value: () => Value): void {
  const atom = counterAtom(cx, counter);
  cx.atoms.set(atom.key, { atom, value });
  cx.bindings += 1;
}

function computeAtom(cx: Context, atom: Atom, type: "i32" | "i64"): Value {
  const { b } = cx;
  switch (atom.origin.kind) {
    case "run-time": {
      const known = cx.atoms.get(atom.key);
      invariant(known !== undefined, `no value for ${atom.key}`);
      return b.convert(known.value(), type);
    }
    case "size":
      return b.convert(sizeValue(cx, atom.origin.dim), type);
    case "quotient": {
      // A quotient of small numbers is taken in 32 bits, where division is quick.
      const bounds = rangeOf(atom.origin.of);
      const narrow =
        bounds.high !== undefined &&
        bounds.high < 2 ** 31 &&
        bounds.low !== undefined &&
        bounds.low > -(2 ** 31);
      const inner = narrow || !cx.wide ? "i32" : "i64";
      const of = evaluatePoly(cx, atom.origin.of, inner);
      const by = evaluatePoly(cx, atom.origin.by, inner);
      const quotient = bounds.low !== undefined && bounds.low >= 0 ? b.div(of, by) : floorDivide(cx, of, by);
      if (inner === "i32" && bounds.low !== undefined && bounds.low >= 0 && atom.high !== undefined)
        b.bound(quotient, 0, atom.high);
      return b.convert(quotient, type);
    }
  }
}

/** Floor division of signed integers by a positive number. */
export function floorDivide(cx: Context, of: Value, by: Value): Value {
  const { b } = cx;
  const quotient = b.div(of, by);
  const rest = b.sub(of, b.mul(quotient, by));
  const zero = b.constant(of.type, of.type === "i64" ? 0n : 0);
  const one = b.constant(of.type, of.type === "i64" ? 1n : 1);
  // Truncation rounded up where the remainder and the divisor differ in sign.
  const down = b.and(b.binary("ne", rest, zero), b.binary("ne", b.lt(rest, zero), b.lt(by, zero)));
  return b.select(down, b.sub(quotient, one), quotient);
}

/** A size as an i32: a literal, or the launch's parameter. */
export function sizeValue(cx: Context, dim: Dim): Value {
  return cx.b.size(printDim(dim), dim);
}

/** Row-major strides of a shape, as polynomials. */
export function stridesOf(shape: readonly Dim[]): readonly Poly[] {
  let strides = knownStrides.get(shape);
  if (strides === undefined) {
    strides = makeStrides(shape);
    knownStrides.set(shape, strides);
  }
  return strides;
}

/** A shape's strides are asked for at every access. */
const knownStrides = new WeakMap<readonly Dim[], readonly Poly[]>();

function makeStrides(shape: readonly Dim[]): Poly[] {
  const strides: Poly[] = [];
  let stride: Dim = constant(1);
  for (let k = shape.length - 1; k >= 0; k -= 1) {
    strides.unshift(sizePoly(stride));
    const extent = shape[k];
    invariant(extent !== undefined, "a shape has extents");
    stride = mul(stride, extent);
  }
  return strides;
}
