/** Elements as the tile interpreter keeps them, where they lie, and what functions and dtypes make of them. */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import { storerOf, rounderTo } from "../../tensor/number-formats.ts";
import { scalarFunctions } from "../../tensor/scalar-functions.ts";
import type { ScalarType } from "../../tensor/ir.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import type { SharedTile } from "../ir.ts";
import type { SharedMemory as SlotMemory } from "../slot-queue.ts";

/** An element: floats and 32-bit integers as numbers, i64 as bigint, bools as 0 and 1. */
export type Element = number | bigint;

/** Row-major elements of one buffer. */
export type Memory = Element[];

export type SharedMemory = SlotMemory<Element>;

export function flat(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((position, i, k) => position * (shape[k] ?? 1) + i, 0);
}

export function unflat(place: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = place;
  for (const extent of shape.toReversed()) {
    index.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return index;
}

/** Of each tile as many copies as it has places; nothing written yet. */
export function emptyTiles(tiles: readonly SharedTile[]): SharedMemory {
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

export function applyRow(fn: string, type: ScalarType, args: readonly Element[]): Element {
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

export function toStorage(value: Element, dtype: DType): Element {
  if (dtypes[dtype].kind === "float") return storerOf(dtype)(Number(value));
  return dtype === "i64" ? BigInt(value) : Number(value);
}

export function castElement(value: Element, from: ScalarType, to: DType, type: ScalarType): Element {
  if (to === "bool") return Number(value) !== 0 ? 1 : 0;
  if (type === "f32") return rounderTo(to)(Number(value));
  if (from === "f32" || to === "i8" || to === "u8") return storerOf(to)(Number(value));
  if (type === "i64") return BigInt(value);
  const whole = typeof value === "bigint" ? Number(BigInt.asIntN(32, value)) : value;
  return type === "u32" ? whole >>> 0 : whole | 0;
}
