/**
 * What a cascade whose tiles all threads of a block load has to multiply, with what, and what of a choice fits: how
 * threads share rows, what is staged at a time, and registers and shared memory for it.
 */
import type { LoopNode } from "../../tensor/ir.ts";
import type { RowAxes } from "../../tensor/row-places.ts";
import type { Caps } from "../../types/caps.ts";
import type { Dim } from "../../types/dim.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import { constantOf, powerOfTwoFactor, volume } from "./analysis.ts";
import { cascadeParts, type CascadeParts } from "./cascade-parts.ts";
import type { UnitInstruction } from "./cascade-units.ts";
import { idleRefusals, type Choice } from "./choice.ts";
import { usualSize } from "./cost.ts";
import { depthOf } from "./direct-products.ts";
import { axisExtent, factorDType, factorFormat, matricesOf, type Matrices } from "./matrices.ts";
import { rangeOf } from "./ranges.ts";
import { canExchange } from "./row-exchange.ts";
import { matrixPadBytes, scalarPad } from "./staging.ts";
import { fragmentElements, stagingBytes } from "./subgroup-unit.ts";
import { liesAlong, placesOf, type TiledCascadeShape } from "./tiled-cascade.ts";
import type { TiledCascadeWork } from "./tiled-cascade-cost.ts";

/** Fewer rows: what streams by is used so seldom that sums of rows do as well. */
export const fewestRows = 4;
/** Of a matrix instruction: rows, and places along the sum; columns are taken by two of its eight. */
export const step = 16;
export const warp = 32;
/** Threads at most, so that each may have its registers. */
const mostThreads = 256;
/** Columns, and elements that an inner product sums, where that is not known. */
export const usualWidth = 128;
/** Of a swept axis whose end depends on the row, a row sees so much, about. */
const boundedShare = 0.5;

export interface Fit {
  readonly loop: LoopNode;
  readonly parts: CascadeParts;
  readonly caps: Caps;
  readonly work: TiledCascadeWork;
  /** Of rows, columns and the sums inside bodies, where they are known. */
  readonly rows: number | undefined;
  readonly columns: number | undefined;
  readonly depths: readonly (number | undefined)[];
  /** Of all factors. */
  readonly types: ReadonlySet<DType>;
  /** Some are rounded to tf32. */
  readonly isRounded: boolean;
  readonly instruction: UnitInstruction | undefined;
}

export function fitOf(loop: LoopNode, caps: Caps): Fit | undefined {
  const parts = cascadeParts(loop);
  if (parts === undefined) return undefined;
  const size = (axes: readonly number[]): number | undefined =>
    constantOf(volume(axes.flatMap((axis) => loop.axes[axis] ?? [])));
  const depths = parts.products.map(({ axes }) =>
    constantOf(volume(axes.flatMap((axis) => loop.inner[axis - loop.axes.length - 1] ?? []))),
  );
  const [rows, columns] = [size(parts.m), size(parts.n)];
  const factors = [...parts.products, ...parts.sums].flatMap(({ left, right }) => [left, right]);
  const types = new Set(factors.map((factor) => factorDType(loop, factor)));
  const isRounded = factors.some((factor) => factorFormat(loop, factor) === "tf32");
  const matrices = matricesOf(loop, { ...parts, products: [] });
  const instruction = instructionOf(loop, parts, matrices, types, caps);
  const read = [
    ...parts.products.flatMap(({ left, right }) => [left, right]),
    ...parts.sums.map((s) => s.right),
  ];
  const work: TiledCascadeWork = {
    batch: size(parts.batch) ?? usualSize,
    m: rows ?? usualSize,
    n: columns ?? usualWidth,
    swept: constantOf(volume(loop.over)) ?? usualSize,
    seen: rangeOf(loop, rowsOf(loop, parts)).bounds.length > 0 ? boundedShare : 1,
    depth: depths.reduce<number>((sum, depth) => sum + (depth ?? usualWidth), 0),
    products: parts.products.length,
    sums: parts.sums.length,
    bytes: Math.max(...read.map((factor) => dtypes[factorDType(loop, factor)].bytes)),
    unit: unitOf(instruction),
  };
  return { loop, parts, caps, work, rows, columns, depths, types, isRounded, instruction };
}

export function unitOf(instruction: UnitInstruction | undefined): TiledCascadeWork["unit"] {
  if (instruction === undefined) return "scalars";
  return instruction.opaqueLanes === undefined ? "warp" : "subgroup";
}

function rowsOf(loop: LoopNode, { m }: CascadeParts): RowAxes {
  const extents = m.map((axis) => axisExtent(loop, axis));
  return { axes: m, extents, count: fewestRows };
}

/** A warp's or a subgroup's instruction for all factors, where they have one dtype of 16 bits. */
function instructionOf(
  loop: LoopNode,
  parts: CascadeParts,
  matrices: Matrices,
  types: ReadonlySet<DType>,
  caps: Caps,
): UnitInstruction | undefined {
  const [dtype] = types;
  if (types.size !== 1 || dtype === undefined) return undefined;
  const name = `mma.m16n8k16.${dtype}`;
  if (caps.instructions.includes(name)) return { name, dtype, opaqueLanes: undefined };
  const ofSubgroup = `matrix.m16n16k16.${dtype}`;
  if (!caps.instructions.includes(ofSubgroup) || !linesOf(loop, parts, matrices).every(isEven))
    return undefined;
  return { name: ofSubgroup, dtype, opaqueLanes: caps.subgroup };
}

/** How long factors' lines are as they lie in memory. Words are written to what matrices are loaded from, not halves. */
function linesOf(
  loop: LoopNode,
  { products, sums }: CascadeParts,
  { mCount, nCount, kCount }: Matrices,
): Dim[] {
  return [
    ...products.flatMap(({ left, right, axes }) => {
      const depth = depthOf(loop, axes);
      return [liesAlong(left, axes) ? depth : mCount, liesAlong(right, axes) ? depth : kCount];
    }),
    ...sums.map(({ right }) => (liesAlong(right, [loop.axes.length]) ? kCount : nCount)),
  ];
}

function isEven(count: Dim): boolean {
  return powerOfTwoFactor(count, 2) === 2;
}

/** Threads along rows and columns; undefined where they do not share them evenly. */
function acrossOf(
  { instruction }: Fit,
  { tile: [rows = 0, columns = 0, block = 0], threads }: Choice,
): { readonly m: number; readonly n: number } | undefined {
  if (instruction !== undefined) return { m: threads / warp, n: 1 };
  const isShare = (extent: number, count: number): boolean => {
    const each = extent / count;
    return Number.isInteger(each) && (each < 4 || each % 4 === 0);
  };
  let best: { readonly m: number; readonly n: number; readonly reads: number } | undefined;
  for (let n = 1; n <= threads; n += 1) {
    const m = threads / n;
    if (!isShare(rows, m) || !isShare(columns, n) || !isShare(block, n)) continue;
    const reads = (2 * m) / rows + n / block + n / columns;
    if (best === undefined || reads < best.reads) best = { m, n, reads };
  }
  return best;
}

/** Depths of what is staged at a time, the most first. */
const scalarDepths = [32, 16, 8, 4];
const matrixDepths = [256, 128, 64, 32, 16];
/** Fewer of them take less room and more barriers. */
const fragmentsAtOnce = [2, 1];

/** Ways to stage that fit, the one with the fewest loads and waits first. */
export function shapesOf(fit: Fit, choice: Choice): TiledCascadeShape[] {
  return allShapes(fit, choice).filter((shape) => sharedBytes(fit, shape) <= fit.caps.sharedBytes);
}

function allShapes(fit: Fit, choice: Choice): TiledCascadeShape[] {
  const { instruction, depths } = fit;
  const [rows = 0, columns = 0, block = 0] = choice.tile;
  const { threads } = choice;
  const across = acrossOf(fit, choice);
  if (across === undefined) return [];
  const own = { rows, columns, block, across, instruction, threads, fragments: 1 };
  const deepest = Math.max(...depths.map((depth) => depth ?? Infinity));
  if (instruction === undefined) {
    const ways = scalarDepths.map((depth) => ({ ...own, depth, isResident: false }));
    const resident = ways.map((way) => ({ ...way, isResident: true }));
    // Steps of sixteen or more are long enough; then rows are rather kept.
    const [long, short] = [
      (all: readonly TiledCascadeShape[]) => all.filter(({ depth }) => depth >= step),
      (all: readonly TiledCascadeShape[]) => all.filter(({ depth }) => depth < step),
    ];
    return [
      ...(deepest < Infinity ? long(resident) : []),
      ...long(ways),
      ...(deepest < Infinity ? short(resident) : []),
      ...short(ways),
    ];
  }
  const widest = Math.max(block, columns) / step;
  const fragments =
    instruction.opaqueLanes === undefined ? [1] : fragmentsAtOnce.filter((count) => count <= widest);
  return matrixDepths.flatMap((depth) =>
    fragments.map((count) => ({ ...own, depth, isResident: deepest <= depth, fragments: count })),
  );
}

// ---------------------------------------------------------------- what fits

interface Shared {
  readonly lefts: number;
  readonly rights: number;
  /** What the loop makes, where it is multiplied from memory, and what threads of a row tell each other. */
  readonly made: number;
}

function sharedParts(fit: Fit, shape: TiledCascadeShape): Shared {
  const { caps, parts, depths, instruction } = fit;
  const { rows, columns, block, depth, across, isResident } = shape;
  const places = depths.map((known) =>
    placesOf({ kind: "const", value: known ?? depth }, depth, { instruction }),
  );
  const held = depths.map((known, i) => {
    const each = places[i] ?? depth;
    return isResident ? Math.ceil((known ?? depth) / each) * each : each;
  });
  if (caps.maxThreads === 1)
    return { lefts: 0, rights: 0, made: parts.sums.length * block * (rows + scalarPad) * 4 };
  if (instruction === undefined) {
    const line = (rows + scalarPad) * 4;
    return {
      lefts: held.reduce((sum, each) => sum + each * line, 0),
      rights: depth * (Math.max(block, columns) + scalarPad) * 4,
      made: parts.sums.length * block * line + (canExchange(across.n, caps) ? 0 : across.n * line),
    };
  }
  const { bytes } = dtypes[instruction.dtype];
  const lines = (count: number, length: number): number => count * (length * bytes + matrixPadBytes);
  if (instruction.opaqueLanes !== undefined) {
    const { loop } = fit;
    const banded = (width: number, each: number, alongK: boolean): number =>
      alongK ? lines(width, each) : lines(each, width);
    // Right factors of one shape have one tile.
    const shapes = new Map([
      ...parts.products.map(({ right, axes }, i): [string, number] => {
        const [each, isAlong] = [places[i] ?? depth, liesAlong(right, axes)];
        return [(isAlong ? [block, each] : [each, block]).join(" "), banded(block, each, isAlong)];
      }),
      ...parts.sums.map(({ right }): [string, number] => {
        const isAlong = liesAlong(right, [loop.axes.length]);
        return [(isAlong ? [columns, block] : [block, columns]).join(" "), banded(columns, block, isAlong)];
      }),
    ]);
    return {
      lefts: parts.products.reduce(
        (sum, { left, axes }, i) =>
          sum + across.m * banded(rows / across.m, held[i] ?? depth, liesAlong(left, axes)),
        0,
      ),
      rights: [...shapes.values()].reduce((sum, each) => sum + each, 0),
      made: parts.sums.length * lines(rows, block) + stagingBytes(rows, shape.fragments),
    };
  }
  return {
    lefts: held.reduce((sum, each) => sum + lines(rows, each), 0),
    // However they lie: the longer of the two.
    rights:
      Math.max(...places.map((each) => Math.max(lines(block, each), lines(each, block)))) +
      Math.max(lines(columns, block), lines(block, columns)),
    made: 0,
  };
}

function sharedBytes(fit: Fit, shape: TiledCascadeShape): number {
  const { lefts, rights, made } = sharedParts(fit, shape);
  return lefts + rights + made;
}

/**
 * Scores that one function of JavaScript computes one by one, and what text a sum takes of theirs. V8 leaves functions
 * above a length of bytecode to its slow tiers: with 2 x 8 and 2 x 8 it did not, with 4 x 4 and 4 x 8, or with 2 x 8 and
 * 2 x 16, it did, and took 40 times as long. Below that there is room for longer conditions.
 */
const mostUnrolled = 14;
const sumsToScores = 0.3;

/** Registers of sums and scores at most: with 168 of them ptxas spilled where sizes are open. */
const mostHeld = 144;

export function refusalsOf(fit: Fit, choice: Choice): string[] {
  const { loop, parts, caps, instruction } = fit;
  const [rows = 0, columns = 0, block = 0] = choice.tile;
  const { threads } = choice;
  const problems = idleRefusals(choice, ["threads"]);
  const refuse = (isWrong: boolean, why: string): void => {
    if (isWrong) problems.push(why);
  };
  const isSerial = caps.maxThreads === 1;
  const most = Math.min(caps.maxThreads, mostThreads);
  refuse(threads > most, `a block has at most ${most} threads here, not ${threads}`);
  refuse(
    rows < 1 || columns < 1 || block < 1,
    `a tile of ${rows} x ${columns} with ${block} places at a time has nothing in it`,
  );
  if (problems.length > 0) return problems;
  if (instruction === undefined) {
    refuse(
      acrossOf(fit, choice) === undefined,
      `${threads} threads do not share ${rows} rows by ${block} places, and by ${columns} columns, in whole squares`,
    );
  } else {
    refuse(
      threads % warp !== 0 || rows % ((threads / warp) * step) !== 0,
      `${threads / warp} warps do not share ${rows} rows in steps of ${step}`,
    );
    refuse(
      block % step !== 0 || columns % step !== 0,
      `${block} places and ${columns} columns are not whole steps of ${step}`,
    );
  }
  for (const k of parts.rows) {
    const type = loop.carriers[k]?.lift.type;
    const isPlain = type === "f32" || type === "i32" || type === "u32";
    refuse(!isSerial && !isPlain, `threads of a row do not tell each other values of ${type} here`);
  }
  if (problems.length > 0) return problems;
  const [sums, products] = [parts.sums.length, parts.products.length];
  // What is made takes the place of the scores but for some; packed it is there beside them.
  const unit = unitOf(instruction);
  const made = sums * (unit === "warp" ? 1 : 0.25);
  const multiplied = unit === "subgroup" ? fragmentElements(rows, Math.min(...fragmentsAtOnce)) : 0;
  const held = (rows * (sums * columns + (products + made) * block) + multiplied) / threads;
  // A subgroup's other products have as many sums as there are registers in the table.
  if (isSerial) {
    const unrolled = rows * (products * block + sumsToScores * sums * columns);
    refuse(
      unrolled > mostUnrolled,
      `${products} x ${rows} x ${block} scores and, each as ${sumsToScores} of one, ${sums} x ${rows} x ${columns} sums ` +
        `are ${unrolled} scores in one function, and engines optimize ${mostUnrolled}`,
    );
    return problems;
  }
  const registers = unit === "subgroup" ? caps.registers : Math.min((caps.registers * 7) / 8, mostHeld);
  refuse(
    held > registers,
    `${sums} x ${rows} x ${columns} sums, ${products} x ${rows} x ${block} scores and what is made of them` +
      `${multiplied === 0 ? "" : `, and ${multiplied} elements of fragments,`} over ${threads} threads are ${held} registers a thread, and ${registers} are for them`,
  );
  const shapes = allShapes(fit, choice);
  const least = shapes.map((shape) => sharedParts(fit, shape)).sort((a, b) => bytesOf(a) - bytesOf(b))[0];
  if (least !== undefined)
    refuse(
      bytesOf(least) > caps.sharedBytes,
      `${least.lefts} bytes of rows, ${least.rights} of what streams by and ${least.made} of what is made of them are ` +
        `${bytesOf(least)} bytes of shared memory, and a block has ${caps.sharedBytes}`,
    );
  return problems;
}

function bytesOf({ lefts, rights, made }: Shared): number {
  return lefts + rights + made;
}
