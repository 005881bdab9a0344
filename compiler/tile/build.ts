/**
 * Builds tile programs: fresh ids, and expressions with the folding that keeps their text short. Index arithmetic
 * is simplified for good when it is lowered; here only constants meet.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { ScalarType } from "../tensor/ir.ts";
import { constant, dimKey, type Dim } from "../types/dim.ts";
import type { DType } from "../types/dtype.ts";
import type { Axis, Channel, Counter, GlobalBuffer, SharedTile, Tile, TileExpr } from "./ir.ts";

export class TileBuilder {
  #next = 0;
  readonly buffers: GlobalBuffer[] = [];
  readonly shared: SharedTile[] = [];
  readonly channels: Channel[] = [];

  registerAxis(name: string, size: number): Axis {
    invariant(Number.isInteger(size) && size >= 1, `axis ${name} has ${size} places`);
    return { id: this.#next++, name, size, place: { kind: "register" } };
  }

  threadAxis(name: string, size: number, stride: number): Axis {
    invariant(Number.isInteger(size) && size >= 1, `axis ${name} has ${size} places`);
    return { id: this.#next++, name, size, place: { kind: "thread", stride } };
  }

  fragmentAxis(name: string, size: number): Axis {
    return { id: this.#next++, name, size, place: { kind: "fragment" } };
  }

  counter(name: string, count: Dim): Counter {
    return { id: this.#next++, name, count };
  }

  tile(name: string, type: ScalarType, axes: readonly Axis[], packed?: DType): Tile {
    return { id: this.#next++, name, type, axes, packed };
  }

  buffer(
    name: string,
    dtype: DType,
    shape: readonly Dim[],
    access: GlobalBuffer["access"],
    use: GlobalBuffer["use"] = "tensor",
  ): GlobalBuffer {
    const buffer: GlobalBuffer = { id: this.#next++, name, dtype, shape, access, use };
    this.buffers.push(buffer);
    return buffer;
  }

  sharedTile(name: string, dtype: DType, shape: readonly number[], layout: TileLayout = {}): SharedTile {
    const tile = this.slotTile(name, dtype, shape, layout);
    this.shared.push(tile);
    return tile;
  }

  /** A tile of a channel's slots. */
  slotTile(name: string, dtype: DType, shape: readonly number[], layout: TileLayout = {}): SharedTile {
    const { pad = 0, swizzle = 0, per } = layout;
    return { id: this.#next++, name, dtype, shape, pad, swizzle, per };
  }

  channel(name: string, depth: number, tiles: readonly SharedTile[]): Channel {
    const channel: Channel = { id: this.#next++, name, depth, tiles };
    this.channels.push(channel);
    return channel;
  }
}

/** As `SharedTile` has them; without, units lie in order and one copy is the block's. */
export type TileLayout = Partial<Pick<SharedTile, "pad" | "swizzle" | "per">>;

export function int(value: number): TileExpr {
  return { kind: "const", type: "i32", value };
}

export function bool(value: boolean): TileExpr {
  return { kind: "const", type: "bool", value };
}

export function size(dim: Dim): TileExpr {
  return dim.kind === "const" ? int(dim.value) : { kind: "size", type: "i32", dim };
}

export function at(counter: Counter): TileExpr {
  const alone = counter.count.kind === "const" && counter.count.value === 1;
  return alone ? int(0) : { kind: "counter", type: "i32", counter };
}

export function along(axis: Axis): TileExpr {
  return axis.size === 1 ? int(0) : { kind: "coordinate", type: "i32", axis };
}

export function valueOf(tile: Tile): TileExpr {
  return { kind: "tile", type: tile.type, tile };
}

export function apply(fn: string, type: ScalarType, args: readonly TileExpr[]): TileExpr {
  return { kind: "apply", type, fn, args };
}

function constantOf(e: TileExpr): number | undefined {
  return e.kind === "const" && e.type === "i32" ? Number(e.value) : undefined;
}

export function plus(a: TileExpr, b: TileExpr): TileExpr {
  const x = constantOf(a);
  const y = constantOf(b);
  if (x !== undefined && y !== undefined) return int(x + y);
  if (x === 0) return b;
  if (y === 0) return a;
  return apply("add", "i32", [a, b]);
}

export function times(a: TileExpr, b: TileExpr): TileExpr {
  const x = constantOf(a);
  const y = constantOf(b);
  if (x !== undefined && y !== undefined) return int(x * y);
  if (x === 0 || y === 0) return int(0);
  if (x === 1) return b;
  if (y === 1) return a;
  return apply("mul", "i32", [a, b]);
}

export function over(a: TileExpr, b: TileExpr): TileExpr {
  return constantOf(b) === 1 ? a : apply("floordiv", "i32", [a, b]);
}

export function modulo(a: TileExpr, b: TileExpr): TileExpr {
  return constantOf(b) === 1 ? int(0) : apply("mod", "i32", [a, b]);
}

export function less(a: TileExpr, b: TileExpr): TileExpr {
  return apply("lt", "bool", [a, b]);
}

/** Conjunction; undefined stands for true. */
export function both(a: TileExpr | undefined, b: TileExpr | undefined): TileExpr | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return apply("and", "bool", [a, b]);
}

/** Row-major position from coordinates: the first is the slowest. */
export function flatten(parts: readonly { readonly index: TileExpr; readonly size: TileExpr }[]): TileExpr {
  let position: TileExpr = int(0);
  for (const part of parts) position = plus(times(position, part.size), part.index);
  return position;
}

/** Coordinates of a row-major position over `extents`; the position is in range. */
export function unflatten(position: TileExpr, extents: readonly Dim[]): TileExpr[] {
  const indices: TileExpr[] = [];
  let rest = position;
  for (let k = extents.length - 1; k >= 0; k -= 1) {
    const extent = extents[k];
    invariant(extent !== undefined, "unflatten");
    if (k === 0) {
      indices.unshift(rest);
    } else if (dimKey(extent) === dimKey(constant(1))) {
      indices.unshift(int(0));
    } else {
      indices.unshift(modulo(rest, size(extent)));
      rest = over(rest, size(extent));
    }
  }
  return indices;
}
