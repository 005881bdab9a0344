/**
 * Products of warpgroups under way. A product is computed at the wait that covers it, the latest moment that the
 * hardware may take, from what is in shared memory then; until then its registers belong to it.
 */
import type { DescribedTile, Product } from "../instructions.ts";
import type { Register, Swizzle, Value } from "../ir.ts";
import { decodeFloat, storageFormat } from "../small-float.ts";
import { swizzled } from "./copy-engine.ts";

type Part = Value | Register;

interface Job {
  readonly product: Product;
  readonly parts: readonly Part[];
}

interface Warpgroup {
  open: Job[];
  readonly groups: (readonly Job[])[];
}

/** The 16 bytes at an address of the block's shared memory. */
export type ReadUnit = (address: number) => DataView;

export class MatrixUnit {
  readonly #warpgroups = new Map<number, Warpgroup>();
  /** Products under way that have the register, by warpgroup. */
  readonly #owned = new Map<Part, number[]>();

  begin(warpgroup: number, job: Job): void {
    this.#of(warpgroup).open.push(job);
    for (const part of job.parts) {
      const counts = this.#owned.get(part) ?? [];
      counts[warpgroup] = (counts[warpgroup] ?? 0) + 1;
      this.#owned.set(part, counts);
    }
  }

  commit(warpgroup: number): void {
    const queue = this.#of(warpgroup);
    queue.groups.push(queue.open);
    queue.open = [];
  }

  wait(warpgroup: number, pending: number, read: (tile: DescribedTile) => Float64Array): void {
    const { groups } = this.#of(warpgroup);
    for (const group of groups.splice(0, Math.max(0, groups.length - pending))) {
      for (const { product, parts } of group) {
        product.evaluate(read);
        for (const part of parts) this.#disown(part, warpgroup);
      }
    }
  }

  get isIdle(): boolean {
    return this.#owned.size === 0;
  }

  owns(part: Part, warpgroup: number): boolean {
    return (this.#owned.get(part)?.[warpgroup] ?? 0) > 0;
  }

  get unfinished(): boolean {
    return [...this.#warpgroups.values()].some(
      ({ open, groups }) => open.length > 0 || groups.some((group) => group.length > 0),
    );
  }

  #disown(part: Part, warpgroup: number): void {
    const counts = this.#owned.get(part);
    if (counts === undefined) return;
    counts[warpgroup] = (counts[warpgroup] ?? 0) - 1;
    if (counts.every((count) => count === 0)) this.#owned.delete(part);
  }

  #of(warpgroup: number): Warpgroup {
    let queue = this.#warpgroups.get(warpgroup);
    if (queue === undefined) this.#warpgroups.set(warpgroup, (queue = { open: [], groups: [] }));
    return queue;
  }
}

const unit = 16;
/** A core matrix: 8 rows of 16 bytes. */
const core = 8;
const swizzles: readonly Swizzle[] = [0, 128, 64, 32];

export interface Descriptor {
  readonly start: number;
  readonly leading: number;
  readonly stride: number;
  readonly swizzle: Swizzle;
}

/** PTX ISA 9.7.15.5.1, "Matrix descriptor format"; addresses and offsets are kept in 16 bytes. */
export function encodeDescriptor({ start, leading, stride, swizzle }: Descriptor): bigint {
  const field = (bytes: number, bit: bigint): bigint => BigInt((bytes & 0x3ffff) >> 4) << bit;
  const code = BigInt(swizzles.indexOf(swizzle)) << 62n;
  return BigInt.asIntN(64, field(start, 0n) | field(leading, 16n) | field(stride, 32n) | code);
}

/** Fails with what is wrong with the descriptor. */
export function decodeDescriptor(bits: bigint, fail: (what: string) => never): Descriptor {
  const all = BigInt.asUintN(64, bits);
  const field = (bit: bigint): number => Number((all >> bit) & 0x3fffn) * unit;
  const unused = all & 0x3fffc000c000c000n;
  if (unused !== 0n) fail(`a matrix descriptor with bits ${unused.toString(16)} set, which have to be zero`);
  return {
    start: field(0n),
    leading: field(16n),
    stride: field(32n),
    swizzle: swizzles[Number(all >> 62n)] ?? 0,
  };
}

/** The tile's elements, rows times columns; layouts as PTX ISA 9.7.15.5.1, "Strides". */
export function readTile(
  { descriptor, rows, columns, format, major }: DescribedTile,
  read: ReadUnit,
  fail: (what: string) => never,
): Float64Array {
  const { start, leading, stride, swizzle } = decodeDescriptor(descriptor, fail);
  const bytes = format === "e4m3" || format === "e5m2" ? 1 : 2;
  const perUnit = unit / bytes;
  // A swizzled row begins where the pattern does; a tile may begin within the first row of it.
  const offset = start % (core * Math.max(swizzle, unit));
  const span = major === "columns" ? columns * bytes : Math.min(rows * bytes, swizzle);
  if (swizzle !== 0 && offset + span > swizzle)
    fail(`a tile at byte ${start} of shared memory, where a swizzle of ${swizzle} bytes does not begin`);
  const unitsOfAtom = swizzle / unit;
  const addressOf = (row: number, column: number): number => {
    const [line, along] = major === "columns" ? [row, column / perUnit] : [column, row / perUnit];
    const inCore = line % core;
    const group = Math.floor(line / core);
    if (swizzle === 0) {
      const [near, far] = major === "columns" ? [stride, leading] : [leading, stride];
      return start + group * near + inCore * unit + along * far;
    }
    if (major === "columns") return start + group * stride + inCore * swizzle + along * unit;
    const atom = Math.floor(along / unitsOfAtom);
    return start + atom * leading + group * stride + inCore * swizzle + (along % unitsOfAtom) * unit;
  };
  const decode = decoder(format);
  const tile = new Float64Array(rows * columns);
  const [rowStep, columnStep] = major === "columns" ? [1, perUnit] : [perUnit, 1];
  for (let row = 0; row < rows; row += rowStep) {
    for (let column = 0; column < columns; column += columnStep) {
      const view = read(swizzled(addressOf(row, column), swizzle));
      for (let i = 0; i < perUnit; i += 1) {
        const code = bytes === 1 ? view.getUint8(i) : view.getUint16(2 * i, true);
        const at = major === "columns" ? row * columns + column + i : (row + i) * columns + column;
        tile[at] = decode(code);
      }
    }
  }
  return tile;
}

function decoder(format: DescribedTile["format"]): (code: number) => number {
  const known = new Map<number, number>();
  const storage = storageFormat(format);
  return (code) => {
    let value = known.get(code);
    if (value === undefined) known.set(code, (value = decodeFloat(storage, code)));
    return value;
  };
}
