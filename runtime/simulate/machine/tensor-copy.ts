/** The boxes of tensor copies: which bytes of global memory go where in shared memory (PTX ISA 9.7.9.27). */
import type { Site } from "../compile/site.ts";
import { decodeTensorMap, elementBytes, tensorMapBytes, type TensorMap } from "../tensor-map.ts";
import { genericRegion } from "./address.ts";
import { findAt } from "./findings.ts";
import { swizzled } from "./swizzle.ts";
import type { Region } from "./region.ts";
import type { Warp } from "./warp.ts";

/** One row of the box along the contiguous dimension. */
export interface BoxRow {
  /** Offset of the row in the box, before the swizzle. */
  readonly at: number;
  /** Offset in the region of global memory of its first byte inside the tensor; -1 when the row is wholly outside. */
  readonly from: number;
  /** Bytes of the row before, and of it inside, the tensor. */
  readonly skip: number;
  readonly inside: number;
}

export interface Box {
  readonly map: TensorMap;
  readonly region: Region;
  readonly rows: readonly BoxRow[];
  readonly rowBytes: number;
  readonly bytes: number;
}

/** The map at the address in `w.lo`, `w.hi` of the lane. */
export function mapAt(w: Warp, site: Site, lane: number): TensorMap | undefined {
  const [low, high] = [w.lo[lane]!, w.hi[lane]!];
  const region = genericRegion(w, low, high);
  const offset = high === 0x7f ? low & 0xffffff : low;
  const map =
    region === undefined || offset + tensorMapBytes > region.size
      ? undefined
      : decodeTensorMap(region.u8.subarray(offset, offset + tensorMapBytes));
  if (map === undefined)
    findAt(w, 1 << lane, site.id, "tensor-copy", "there is no tensor map at the address");
  else if (offset % 64 !== 0)
    findAt(w, 1 << lane, site.id, "misaligned", "the tensor map's address is no multiple of 64");
  return map;
}

/** The rows of the box at the coordinates, the contiguous dimension first. */
export function boxAt(
  w: Warp,
  site: Site,
  lane: number,
  map: TensorMap,
  coordinates: readonly number[],
): Box | undefined {
  const rank = map.dims.length;
  if (coordinates.length !== rank) {
    findAt(
      w,
      1 << lane,
      site.id,
      "tensor-copy",
      `${coordinates.length} coordinates for a tensor map of ${rank} dimensions`,
    );
    return undefined;
  }
  const region = w.machine.regions.get(Number(map.address >> 32n));
  if (region === undefined) {
    findAt(w, 1 << lane, site.id, "out-of-bounds", "the tensor map points to memory that is not allocated");
    return undefined;
  }
  const bytes = elementBytes(map.type);
  const rowBytes = map.box[0]! * bytes;
  const start = Number(map.address & 0xffffffffn);
  const first = Math.max(0, -coordinates[0]!);
  const last = Math.min(map.box[0]!, map.dims[0]! - coordinates[0]!);
  const count = map.box.slice(1).reduce((n, extent) => n * extent, 1);
  const rows: BoxRow[] = [];
  const at = Array.from({ length: rank }, () => 0);
  for (let i = 0; i < count; i++) {
    let from = start + (coordinates[0]! + first) * bytes;
    let outside = last <= first;
    for (let d = 1; d < rank; d++) {
      const c = coordinates[d]! + at[d]!;
      outside ||= c < 0 || c >= map.dims[d]!;
      from += c * map.strides[d - 1]!;
    }
    const inside = outside ? 0 : (last - first) * bytes;
    if (!outside && (from < region.low || from + inside > region.size)) {
      findAt(
        w,
        1 << lane,
        site.id,
        "out-of-bounds",
        `the tensor map reaches byte ${from - region.low} of ${region.name}, which has ${region.size - region.low}`,
      );
      return undefined;
    }
    rows.push({ at: i * rowBytes, from: outside ? -1 : from, skip: first * bytes, inside });
    for (let d = 1; d < rank; d++) {
      if (++at[d]! < map.box[d]!) break;
      at[d] = 0;
    }
  }
  return { map, region, rows, rowBytes, bytes: count * rowBytes };
}

const nan16: Readonly<Record<string, number>> = { f16: 0x7fff, bf16: 0x7fff };

function fillRow(row: Uint8Array, map: TensorMap): void {
  row.fill(0);
  if (map.fill === "zero") return;
  const bits = nan16[map.type];
  if (bits !== undefined) new Uint16Array(row.buffer, row.byteOffset, row.length >> 1).fill(bits);
  else if (map.type === "f64") new Float64Array(row.buffer, row.byteOffset, row.length >> 3).fill(NaN);
  else if (/f32/.test(map.type))
    new Uint32Array(row.buffer, row.byteOffset, row.length >> 2).fill(0x7fffffff);
}

/** Moves the box into shared memory at `offset`; elements outside the tensor are filled. */
export function loadBox(box: Box, shared: Region, offset: number): void {
  const row = new Uint8Array(box.rowBytes);
  for (const { at, from, skip, inside } of box.rows) {
    if (inside < box.rowBytes) fillRow(row, box.map);
    if (inside > 0) row.set(box.region.u8.subarray(from, from + inside), skip);
    for (let unit = 0; unit < box.rowBytes; unit += 16) {
      shared.u8.set(row.subarray(unit, unit + 16), swizzled(offset + at + unit, box.map.swizzle));
    }
  }
}

/** Calls `store` with the bytes of each row that lie inside the tensor, and where they go. */
export function storeBox(
  box: Box,
  shared: Region,
  offset: number,
  store: (to: number, bytes: Uint8Array) => void,
): void {
  const row = new Uint8Array(box.rowBytes);
  for (const { at, from, skip, inside } of box.rows) {
    if (inside === 0) continue;
    for (let unit = 0; unit < box.rowBytes; unit += 16) {
      const place = swizzled(offset + at + unit, box.map.swizzle);
      row.set(shared.u8.subarray(place, place + 16), unit);
    }
    store(from, row.subarray(skip, skip + inside));
  }
}
