/**
 * Tile expressions as values. A group of neighbouring registers is evaluated together, so that reads that turn out
 * to lie side by side become one wide access.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { GlobalBuffer, SharedTile, Tile, TileExpr } from "../../tile/ir.ts";
import type { ScalarType } from "../../tensor/ir.ts";
import { customFloat, dtypes, isCustomFloat, type DType, type Rounding } from "../../types/dtype.ts";
import type { Buffer, Value, ValueType } from "../ir.ts";
import { roundToCustom } from "./custom-floats.ts";
import {
  addPoly,
  atomPoly,
  constantOfPoly,
  constantPoly,
  difference,
  divPoly,
  isBelow,
  isMultiple,
  keyOf,
  modPoly,
  mulPoly,
  rangeOf,
  sizePoly,
  splitConstant,
  zero,
  type Poly,
} from "./algebra.ts";
import {
  assignmentKey,
  coordinateAtom,
  coordinateValue,
  counterAtom,
  evaluatePoly,
  isRegister,
  sizeValue,
  stridesOf,
  valueAtom,
  type Assignment,
  type Context,
  type Held,
} from "./context.ts";
import { applyFunction } from "./functions.ts";
import { sharedIndex } from "./shared-index.ts";

/** One evaluation: some registers of an op at once, and under which condition its memory may be touched. */
export class Group {
  readonly cx: Context;
  readonly at: readonly Assignment[];
  /** For each register, the op's guard; undefined where it always holds. */
  readonly guards: readonly (Value | undefined)[];
  readonly #values = new Map<TileExpr, Value[]>();
  readonly #polys = new Map<TileExpr, Poly[]>();

  constructor(cx: Context, at: readonly Assignment[], guards: readonly (Value | undefined)[]) {
    this.cx = cx;
    this.at = at;
    this.guards = guards;
  }

  /** Values of an expression, one for each register. */
  values(expr: TileExpr): Value[] {
    const known = this.#values.get(expr);
    if (known !== undefined) return known;
    const made = this.#evaluate(expr);
    this.#values.set(expr, made);
    return made;
  }

  /** An integer expression as polynomials, one for each register. */
  polys(expr: TileExpr): Poly[] {
    const known = this.#polys.get(expr);
    if (known !== undefined) return known;
    const made = this.#polynomials(expr);
    this.#polys.set(expr, made);
    return made;
  }

  #polynomials(expr: TileExpr): Poly[] {
    const { cx } = this;
    switch (expr.kind) {
      case "const":
        return this.at.map(() => constantPoly(Number(expr.value)));
      case "size": {
        const size = sizePoly(expr.dim);
        return this.at.map(() => size);
      }
      case "counter": {
        const atom = counterAtom(cx, expr.counter);
        invariant(cx.atoms.has(atom.key), `counter ${expr.counter.name} is not in scope`);
        const poly = atomPoly(atom);
        return this.at.map(() => poly);
      }
      case "coordinate": {
        const { axis } = expr;
        if (axis.place.kind === "register") {
          return this.at.map((assignment) => {
            const coordinate = assignment.get(axis.id);
            invariant(coordinate !== undefined, `axis ${axis.name} is not in scope`);
            return constantPoly(coordinate);
          });
        }
        const atom = coordinateAtom(axis);
        if (!cx.atoms.has(atom.key)) cx.atoms.set(atom.key, { atom, value: () => coordinateValue(cx, axis) });
        const poly = atomPoly(atom);
        return this.at.map(() => poly);
      }
      case "apply": {
        const combine = polynomialFunctions[expr.fn];
        if (combine !== undefined && expr.type === "i32") {
          const args = expr.args.map((arg) => this.polys(arg));
          const divisor = args[1]?.[0];
          const divides = expr.fn === "floordiv" || expr.fn === "mod";
          // Only division by what is surely positive is algebra.
          if (
            !divides ||
            (divisor !== undefined && (rangeOf(divisor).low ?? 0) >= 1) ||
            (divisor !== undefined && isSize(divisor))
          ) {
            return this.at.map((_, k) => combine(args.map((arg) => arg[k] ?? zero)));
          }
        }
        break;
      }
      case "tile":
      case "read":
      case "shared":
      case "round":
      case "cast":
        break;
    }
    return this.values(expr).map((value) => {
      const constant = cx.b.constantOf(value);
      return typeof constant === "number" ? constantPoly(constant) : atomPoly(valueAtom(cx, value));
    });
  }

  #evaluate(expr: TileExpr): Value[] {
    const { cx } = this;
    const { b } = cx;
    switch (expr.kind) {
      case "const":
        return this.at.map(() => b.constant(expr.type, expr.value));
      case "size":
        return this.at.map(() => sizeValue(cx, expr.dim));
      case "counter":
      case "coordinate":
        return this.polys(expr).map((poly) => evaluatePoly(cx, poly, "i32"));
      case "tile": {
        const held = cx.tiles.get(expr.tile);
        invariant(held !== undefined, `tile ${expr.tile.name} is used before it is computed`);
        if (isPackedByFours(expr.tile)) return this.#fours(expr.tile, held);
        return this.at.map((assignment) => {
          const { axes, packed } = expr.tile;
          const [pair, place] = packed === undefined ? [assignment, 0] : pairOf(axes, assignment);
          const one = held.get(assignmentKey(axes, pair));
          invariant(one !== undefined, `tile ${expr.tile.name} has no such register`);
          const value = isRegister(one) ? b.get(one.register) : one;
          if (packed === undefined) return value;
          const part = b.unpack(value, packed === "f16" ? "f16" : "bf16")[place];
          invariant(part !== undefined, "two values are packed");
          return carry(cx, part, packed, "f32");
        });
      }
      case "read":
        return this.#read(expr);
      case "shared":
        return this.#shared(
          expr.tile,
          expr.index.map((index) => this.polys(index)),
        );
      case "apply":
        return this.#apply(expr);
      case "round":
        return this.values(expr.arg).map((value) => roundTo(cx, value, expr.to));
      case "cast":
        return this.values(expr.arg).map((value) => castTo(cx, value, expr.to, expr.type));
    }
  }

  /** Elements of a tile of 8 bits, of which four are taken out of a register together. */
  #fours(tile: Tile, held: ReadonlyMap<string, Value | Held>): Value[] {
    const { b } = this.cx;
    const words = new Map<string, readonly Value[]>();
    return this.at.map((assignment) => {
      const { word, place } = fourOf(tile, assignment);
      const key = assignmentKey(tile.axes, word);
      let parts = words.get(key);
      if (parts === undefined) {
        const one = held.get(key);
        invariant(one !== undefined && isRegister(one), `tile ${tile.name} has no such register`);
        parts = b.unpack(b.get(one.register), "b8", tile.name);
        words.set(key, parts);
      }
      return carry(this.cx, valueAt(parts, place), tile.packed ?? tile.type, "f32");
    });
  }

  #apply(expr: Extract<TileExpr, { kind: "apply" }>): Value[] {
    const { cx } = this;
    if (expr.type === "i32" && isGeometric(expr))
      return this.polys(expr).map((poly) => evaluatePoly(cx, poly, "i32"));
    if (expr.fn === "lt" && expr.args[0]?.type === "i32" && expr.args.every(isGeometric)) {
      const [left, right] = expr.args.map((arg) => this.polys(arg));
      invariant(left !== undefined && right !== undefined, "lt takes two");
      return compareBelow(cx, left, right);
    }
    // a * b + c on floats is rounded once where the target can; the oracle's bound allows both.
    if ((expr.fn === "add" || expr.fn === "sub") && expr.type === "f32") {
      const fused = this.#multiplyAdd(expr);
      if (fused !== undefined) return fused;
    }
    const args = expr.args.map((arg) => this.values(arg));
    return this.at.map((_, k) =>
      applyFunction(
        cx,
        expr.fn,
        args.map((arg) => valueAt(arg, k)),
      ),
    );
  }

  #multiplyAdd(expr: Extract<TileExpr, { kind: "apply" }>): Value[] | undefined {
    const [x, y] = expr.args;
    invariant(x !== undefined && y !== undefined, "a sum takes two");
    const isProduct = (arg: TileExpr): boolean => arg.kind === "apply" && arg.fn === "mul";
    // Of a difference the first is the product, and the other is turned.
    const product = expr.fn === "sub" ? (isProduct(x) ? x : undefined) : [x, y].find(isProduct);
    if (product === undefined || product.kind !== "apply") return undefined;
    const [a, c] = product.args;
    const addend = product === x ? y : x;
    if (a === undefined || c === undefined) return undefined;
    const [as, cs, ds] = [this.values(a), this.values(c), this.values(addend)];
    const { b } = this.cx;
    return this.at.map((_, k) => {
      const rest = expr.fn === "sub" ? b.unary("neg", valueAt(ds, k)) : valueAt(ds, k);
      return b.fma(valueAt(as, k), valueAt(cs, k), rest);
    });
  }

  // ---------------------------------------------------------------- memory

  #read(expr: Extract<TileExpr, { kind: "read" }>): Value[] {
    const { cx } = this;
    const { b } = cx;
    const buffer = cx.buffers.get(expr.buffer);
    invariant(buffer !== undefined, `buffer ${expr.buffer.name} is not declared`);
    let index = expr.index.map((part) => this.polys(part));
    let guards = this.guards;
    let inside: (Value | undefined)[] | undefined;
    if (expr.bounds === "clamp") {
      index = expr.index.map((part, axis) => this.#clamped(part, expr.buffer, axis));
    } else if (expr.bounds === "else") {
      inside = this.#inside(expr.index, expr.buffer);
      guards = guards.map((guard, k) => andGuards(cx, guard, inside?.[k]));
    }
    // Where things lie is read without a guard if it can be: registers that differ in their guards then share a read.
    if (expr.buffer.dtype === "i32") {
      guards = guards.map((guard, k) => (this.#surelyInside(index, expr.buffer, k) ? undefined : guard));
    }
    const raw = this.#load(buffer, expr.buffer, index, guards);
    const carried = raw.map((value) => carry(cx, value, expr.buffer.dtype, expr.type));
    if (inside === undefined || expr.otherwise === undefined) return carried;
    const otherwise = this.values(expr.otherwise);
    return carried.map((value, k) => {
      const condition = inside[k];
      const other = valueAt(otherwise, k);
      // A load that did not happen gives zero: where zero is asked for, that is it.
      if (condition === undefined || b.constantOf(other) === 0 || b.constantOf(other) === false) return value;
      return b.select(condition, value, other);
    });
  }

  /** In range even where the op's guard does not hold. */
  #surelyInside(index: readonly Poly[][], buffer: GlobalBuffer, k: number): boolean {
    return index.every((polys, axis) => {
      const [poly, extent] = [polys[k], buffer.shape[axis]];
      invariant(poly !== undefined && extent !== undefined, "one index for each axis");
      return (rangeOf(poly).low ?? -1) >= 0 && isBelow(poly, sizePoly(extent));
    });
  }

  #clamped(part: TileExpr, buffer: GlobalBuffer, axis: number): Poly[] {
    const { cx } = this;
    const extent = buffer.shape[axis];
    invariant(extent !== undefined, "one index for each axis");
    return this.polys(part).map((poly) => {
      const bounds = rangeOf(poly);
      const known = extent.kind === "const" ? extent.value : undefined;
      if (
        bounds.low !== undefined &&
        bounds.low >= 0 &&
        bounds.high !== undefined &&
        known !== undefined &&
        bounds.high < known
      )
        return poly;
      const value = evaluatePoly(cx, poly, "i32");
      const last = cx.b.sub(sizeValue(cx, extent), cx.b.i32(1));
      const clamped = cx.b.binary("max", cx.b.binary("min", value, last), cx.b.i32(0));
      return atomPoly(valueAtom(cx, known === undefined ? clamped : cx.b.bound(clamped, 0, known - 1)));
    });
  }

  /** For each register, whether every index is in range; undefined where that is sure. */
  #inside(index: readonly TileExpr[], buffer: GlobalBuffer): (Value | undefined)[] {
    return insideOf(
      this.cx,
      index.map((part) => this.polys(part)),
      buffer,
      this.at.length,
    );
  }

  inside(index: readonly TileExpr[], buffer: GlobalBuffer): (Value | undefined)[] {
    return this.#inside(index, buffer);
  }

  #load(
    buffer: Buffer,
    tile: GlobalBuffer,
    index: readonly Poly[][],
    guards: readonly (Value | undefined)[],
  ): Value[] {
    const { cx } = this;
    const flat = flatten(tile.shape, index, this.at.length);
    const loaded: (Value | undefined)[] = this.at.map(() => undefined);
    forRuns(cx, buffer.dtype, flat, guards, (start, width) => {
      const first = flat[start];
      invariant(first !== undefined, "a run begins in the group");
      const guard = guards[start];
      const key = `${buffer.id} ${keyOf(first)} ${width} ${guard?.id ?? ""}`;
      let values = tile.access === "read" ? findLoad(cx, key) : undefined;
      if (values === undefined) {
        values = cx.b.loadWide(buffer, evaluatePoly(cx, first, cx.wide ? "i64" : "i32"), {
          count: width,
          guard,
          hint: buffer.name,
        });
        if (tile.access === "read") cx.loads.at(-1)?.set(key, values);
      }
      values.forEach((value, k) => {
        loaded[start + k] = value;
      });
    });
    return loaded.map((_, k) => valueAt(loaded, k));
  }

  #shared(tile: SharedTile, index: readonly Poly[][]): Value[] {
    const { cx } = this;
    cx.hazards.read(tile);
    const buffer = cx.sharedOf(tile);
    const flat = flattenShared(tile, index, this.at.length);
    const loaded: (Value | undefined)[] = this.at.map(() => undefined);
    // Registers of one op often read the same place: once is enough.
    const seen = new Map<string, readonly Value[]>();
    forRuns(
      cx,
      buffer.dtype,
      flat,
      this.at.map(() => undefined),
      (start, width) => {
        const first = flat[start];
        invariant(first !== undefined, "a run begins in the group");
        const key = `${keyOf(first)} ${width}`;
        const values =
          seen.get(key) ??
          cx.b.loadWide(buffer, sharedIndex(cx, tile, first), { count: width, hint: tile.name });
        seen.set(key, values);
        values.forEach((value, k) => {
          loaded[start + k] = carry(cx, value, tile.dtype, "f32");
        });
      },
    );
    return loaded.map((_, k) => valueAt(loaded, k));
  }
}

export function valueAt(values: readonly (Value | undefined)[], k: number): Value {
  const value = values[k];
  invariant(value !== undefined, "one value for each register");
  return value;
}

const polynomialFunctions: Readonly<Record<string, (args: readonly Poly[]) => Poly>> = {
  add: ([a = zero, b = zero]) => addPoly(a, b),
  sub: ([a = zero, b = zero]) => addPoly(a, b, -1),
  mul: ([a = zero, b = zero]) => mulPoly(a, b),
  neg: ([a = zero]) => addPoly(zero, a, -1),
  floordiv: ([a = zero, b = zero]) => divPoly(a, b),
  mod: ([a = zero, b = zero]) => modPoly(a, b),
};

function isSize(p: Poly): boolean {
  return [...p.values()].every(
    (term) => term.coefficient > 0 && term.atoms.every((atom) => atom.origin.kind === "size"),
  );
}

const dividing: ReadonlySet<string> = new Set(["floordiv", "mod"]);

/** Only division by what is surely positive is algebra. */
function isPositiveSize(expr: TileExpr | undefined): boolean {
  if (expr?.kind === "const") return Number(expr.value) > 0;
  if (expr?.kind === "apply") return expr.fn === "mul" && expr.args.every(isPositiveSize);
  return expr?.kind === "size";
}

/** True for index arithmetic over counters, coordinates and sizes: exact, with no data in it. */
function isGeometric(expr: TileExpr): boolean {
  switch (expr.kind) {
    case "const":
      return expr.type === "i32";
    case "size":
    case "counter":
    case "coordinate":
      return true;
    case "apply":
      return (
        polynomialFunctions[expr.fn] !== undefined &&
        expr.type === "i32" &&
        expr.args.every(isGeometric) &&
        (!dividing.has(expr.fn) || isPositiveSize(expr.args[1]))
      );
    case "tile":
    case "read":
    case "shared":
    case "round":
    case "cast":
      return false;
  }
}

/** The place of the pair that a packed tile's element is in, which its first one has, and the element's in the pair. */
function pairOf(axes: Tile["axes"], assignment: Assignment): readonly [Assignment, number] {
  const last = axes.at(-1);
  invariant(last !== undefined, "a packed tile has pairs");
  return [new Map([...assignment, [last.id, 0]]), assignment.get(last.id) ?? 0];
}

export function isPackedByFours({ packed }: Tile): boolean {
  return packed !== undefined && dtypes[packed].bytes === 1;
}

/** The first place of the four that an element of a tile of 8 bits is in, and the element's in the four. */
export function fourOf(
  { axes }: Tile,
  assignment: Assignment,
): { readonly word: Assignment; readonly place: number } {
  const last = axes.at(-1);
  invariant(last !== undefined, "a packed tile has fours");
  const at = assignment.get(last.id) ?? 0;
  return { word: new Map([...assignment, [last.id, at - (at % 4)]]), place: at % 4 };
}

/** left < right for each register. Equal answers are one value, so that a group whose guards agree can be one access. */
export function compareBelow(cx: Context, left: readonly Poly[], right: readonly Poly[]): Value[] {
  const { b } = cx;
  const width = left.length;
  const [first, bound] = [left[0], right[0]];
  const uniform =
    first !== undefined &&
    bound !== undefined &&
    left.every((p, k) => difference(first, p) === k) &&
    right.every((p) => difference(bound, p) === 0) &&
    isMultiple(first, width) &&
    isMultiple(bound, width);
  return left.map((p, k) => {
    const [x, y] = [uniform ? first : p, right[k]];
    invariant(x !== undefined && y !== undefined, "one bound for each register");
    const rest = rangeOf(addPoly(y, x, -1));
    if (rest.low !== undefined && rest.low > 0) return b.bool(true);
    if (rest.high !== undefined && rest.high <= 0) return b.bool(false);
    const type = cx.wide ? "i64" : "i32";
    // x + c < y as x < y - c: neighbours compare one value with several constants.
    const limit = constantOfPoly(y);
    const { constant, rest: moving } = splitConstant(x);
    const moved = limit !== undefined && Math.abs(limit - constant) < 2 ** 31;
    const bound = moved ? constantPoly(limit - constant) : y;
    return b.lt(evaluatePoly(cx, moved ? moving : x, type), evaluatePoly(cx, bound, type));
  });
}

export function andGuards(cx: Context, a: Value | undefined, c: Value | undefined): Value | undefined {
  if (a === undefined) return c;
  if (c === undefined || a === c) return a;
  return cx.b.and(a, c);
}

function insideOf(
  cx: Context,
  index: readonly Poly[][],
  buffer: GlobalBuffer,
  count: number,
): (Value | undefined)[] {
  const { b } = cx;
  return Array.from({ length: count }, (_, k) => {
    let all: Value | undefined;
    index.forEach((polys, axis) => {
      const poly = polys[k];
      const extent = buffer.shape[axis];
      invariant(poly !== undefined && extent !== undefined, "one index for each axis");
      const bounds = rangeOf(poly);
      const value = (): Value => evaluatePoly(cx, poly, "i32");
      if (bounds.low === undefined || bounds.low < 0)
        all = andGuards(cx, all, b.binary("ge", value(), b.i32(0)));
      const known = extent.kind === "const" ? extent.value : undefined;
      if (bounds.high === undefined || known === undefined || bounds.high >= known) {
        all = andGuards(cx, all, b.lt(value(), sizeValue(cx, extent)));
      }
    });
    return all;
  });
}

export function flatten(
  shape: GlobalBuffer["shape"],
  index: readonly (readonly Poly[])[],
  count: number,
): Poly[] {
  const strides = stridesOf(shape);
  return Array.from({ length: count }, (_, k) => {
    let flat: Poly = zero;
    strides.forEach((stride, axis) => {
      flat = addPoly(flat, mulPoly(index[axis]?.[k] ?? zero, stride));
    });
    return flat;
  });
}

export function flattenShared(tile: SharedTile, index: readonly (readonly Poly[])[], count: number): Poly[] {
  return Array.from({ length: count }, (_, k) => {
    let flat: Poly = zero;
    let stride = 1;
    for (let axis = tile.shape.length - 1; axis >= 0; axis -= 1) {
      flat = addPoly(flat, mulPoly(index[axis]?.[k] ?? zero, constantPoly(stride)));
      stride *= (tile.shape[axis] ?? 1) + (axis === tile.shape.length - 1 ? tile.pad : 0);
    }
    return flat;
  });
}

/** Cuts a group into the widest accesses: registers side by side in memory, aligned, under one guard. */
export function forRuns(
  cx: Context,
  dtype: DType,
  flat: readonly Poly[],
  guards: readonly (Value | undefined)[],
  visit: (start: number, width: number) => void,
): void {
  const most = Math.max(1, Math.floor(cx.caps.vectorBytes / dtypes[dtype].bytes));
  let start = 0;
  while (start < flat.length) {
    const first = flat[start];
    invariant(first !== undefined, "a run begins in the group");
    let width = 1;
    while (
      width * 2 <= most &&
      start + width * 2 <= flat.length &&
      isMultiple(first, width * 2) &&
      sideBySide(flat, guards, start, width * 2)
    )
      width *= 2;
    visit(start, width);
    start += width;
  }
}

function sideBySide(
  flat: readonly Poly[],
  guards: readonly (Value | undefined)[],
  start: number,
  width: number,
): boolean {
  const first = flat[start];
  for (let k = 1; k < width; k += 1) {
    const other = flat[start + k];
    if (
      first === undefined ||
      other === undefined ||
      difference(first, other) !== k ||
      guards[start + k] !== guards[start]
    )
      return false;
  }
  return true;
}

function findLoad(cx: Context, key: string): readonly Value[] | undefined {
  for (let depth = cx.loads.length - 1; depth >= 0; depth -= 1) {
    const known = cx.loads[depth]?.get(key);
    if (known !== undefined) return known;
  }
  return undefined;
}

// ---------------------------------------------------------------- conversions

/** What memory holds, as a body's scalar type. */
export function carry(cx: Context, value: Value, storage: DType, type: ScalarType): Value {
  if (storage === "bool") return value;
  return cx.b.convert(value, type, value.type === "b8" ? storage : undefined);
}

/** A body's scalar as memory holds it. */
export function uncarry(cx: Context, value: Value, storage: DType): Value {
  if (storage === "bool") return value;
  const b8: boolean = storage === "e4m3" || storage === "e5m2" || storage === "i8" || storage === "u8";
  const type: ValueType = b8 ? "b8" : (storage as ValueType);
  // What was widened from this very format goes back as it came.
  const definition = cx.b.definitionOf(value);
  if (definition?.kind === "convert" && definition.a.type === type && (!b8 || definition.storage === storage))
    return definition.a;
  return cx.b.convert(value, type, b8 ? storage : undefined);
}

export function roundTo(cx: Context, value: Value, to: Rounding): Value {
  if (to === "f32") return value;
  if (to === "tf32") return cx.b.unary("round-tf32", value);
  if (isCustomFloat(to)) return roundToCustom(cx.b, value, customFloat(to));
  return carry(cx, uncarry(cx, value, to), to, "f32");
}

export function castTo(cx: Context, value: Value, to: DType, type: ScalarType): Value {
  const { b } = cx;
  if (to === "bool") {
    const zeroValue = b.constant(value.type, value.type === "i64" ? 0n : value.type === "bool" ? false : 0);
    return value.type === "bool" ? value : b.binary("ne", value, zeroValue);
  }
  if (to === "i8" || to === "u8") {
    const [low, high] = to === "i8" ? [-128, 127] : [0, 255];
    const whole = b.convert(value, "i32");
    return b.binary("max", b.binary("min", whole, b.i32(high)), b.i32(low));
  }
  return b.convert(value, type);
}
