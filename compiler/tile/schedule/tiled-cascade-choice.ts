/** What may be chosen for a cascade whose tiles all threads of a block load, what of it fits, and when it pays. */
import type { LoopNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import { constantOf, volume } from "./analysis.ts";
import { cascadeParts, type CascadeParts } from "./cascade-parts.ts";
import { matrixPadBytes, scalarPad, type UnitInstruction } from "./cascade-units.ts";
import {
  candidatesOf,
  choiceOf,
  idleRefusals,
  nothingFixed,
  type Choice,
  type Fixed,
  type Schedule,
} from "./choice.ts";
import { usualSize } from "./cost.ts";
import { axisExtent, factorDType, factorFormat, sidesOf } from "./matrices.ts";
import { rangeOf, type RowAxes } from "./ranges.ts";
import { canExchange } from "./row-exchange.ts";
import type { KernelSource } from "./source.ts";
import { placesOf, tiledCascadeProgram, type TiledCascadeShape } from "./tiled-cascade.ts";
import { apartCost, tiledCascadeCost, type TiledCascadeWork } from "./tiled-cascade-cost.ts";

/** Fewer rows: what streams by is used so seldom that sums of rows do as well. */
const fewestRows = 4;
/** Of a matrix instruction: rows, and places along the sum; columns are taken by two of its eight. */
const step = 16;
const warp = 32;
/** Threads at most, so that each may have its registers. */
const mostThreads = 256;
/** Columns, and elements that an inner product sums, where that is not known. */
const usualWidth = 128;
/** Of a swept axis whose end depends on the row, a row sees so much, about. */
const boundedShare = 0.5;

/** Undefined: the loop is none of these, or none of its choices fits. */
export function tiledCascadeSchedule(source: KernelSource<LoopNode>, caps: Caps): Schedule | undefined {
  const fit = fitOf(source.node, caps);
  if (fit === undefined) return undefined;
  const schedule: Schedule = {
    ...tellsOf(fit),
    program: (choice) => {
      const [first] = shapesOf(fit, choice);
      if (first === undefined) throw new Error("a choice that fits has a shape");
      return tiledCascadeProgram(source, fit.parts, first, caps);
    },
  };
  return candidatesOf(schedule, nothingFixed).length === 0 ? undefined : schedule;
}

/** Whether the loop can be scheduled so, as one, and is cheaper than its parts. */
export function isTiledCascade(loop: LoopNode, caps: Caps): boolean {
  const fit = fitOf(loop, caps);
  if (fit === undefined || hasFasterProducts(fit)) return false;
  const { isUsual, choices, refusals, cost } = tellsOf(fit);
  if (!isUsual) return false;
  const costs = choices(nothingFixed).flatMap((choice) =>
    refusals(choice).length === 0 ? [cost(choice).seconds] : [],
  );
  return Math.min(...costs) <= apartCost(fit.work, caps).seconds;
}

/** Products of their own would run on instructions that this schedule has no use for: nobody measured which is better. */
function hasFasterProducts({ caps, instruction, types, isRounded }: Fit): boolean {
  const isAsynchronous = caps.instructions.some((name) => name.startsWith("wgmma."));
  const [dtype] = types;
  const ofSubgroups = types.size === 1 && caps.instructions.includes(`matrix.m16n16k16.${dtype}`);
  const isTf32 = isRounded && caps.instructions.includes("mma.m16n8k8.tf32");
  return isAsynchronous || isTf32 || (instruction === undefined && ofSubgroups);
}

interface Fit {
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

function fitOf(loop: LoopNode, caps: Caps): Fit | undefined {
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
  const instruction = instructionOf(types, caps);
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
    hasMatrixUnit: instruction !== undefined,
  };
  return { loop, parts, caps, work, rows, columns, depths, types, isRounded, instruction };
}

function rowsOf(loop: LoopNode, { m }: CascadeParts): RowAxes {
  const extents = m.map((axis) => axisExtent(loop, axis));
  return { axes: m, extents, count: fewestRows };
}

/** A warp's instruction for all factors, where they have one dtype of 16 bits. */
function instructionOf(types: ReadonlySet<DType>, caps: Caps): UnitInstruction | undefined {
  const [dtype] = types;
  const name = `mma.m16n8k16.${dtype}`;
  return types.size === 1 && dtype !== undefined && caps.instructions.includes(name)
    ? { name, dtype }
    : undefined;
}

/** The schedule without its program. */
function tellsOf(fit: Fit): Omit<Schedule, "program"> {
  const { loop, parts, caps, work, rows } = fit;
  return {
    name: "tiled cascade",
    isUsual: (rows ?? fewestRows) >= fewestRows,
    sides: sidesOf(loop, parts),
    named: ["stages"],
    choices: (fixed) => choicesOf(fit, fixed),
    refusals: (choice) => refusalsOf(fit, choice),
    cost: (choice) => {
      const [shape] = shapesOf(fit, choice);
      if (shape === undefined) return { seconds: Infinity, terms: [] };
      const { rows: m, columns, block, across, depth, isResident, threads } = shape;
      const reads = (width: number): number => across.m / m + across.n / width;
      const stagings = Math.ceil(work.depth / depth) + work.sums * Math.ceil(block / depth);
      const meetings = canExchange(across.n, caps) ? 0 : parts.rows.length;
      return tiledCascadeCost(
        work,
        {
          rows: m,
          columns,
          block,
          threads,
          isResident,
          reads: { inner: reads(block), outer: reads(columns) },
          waits: stagings + meetings,
        },
        caps,
      );
    },
  };
}

// ---------------------------------------------------------------- choices

function choicesOf(fit: Fit, fixed: Fixed): Choice[] {
  const { caps, instruction } = fit;
  const isSerial = caps.maxThreads === 1;
  const [m, n, k] = fixed.tile;
  const usual = isSerial
    ? { rows: [4, 8, 2], blocks: [8, 16, 4] }
    : instruction === undefined
      ? { rows: [64, 32, 16, 8], blocks: [32, 64, 16, 8] }
      : { rows: [64, 128, 32, 16], blocks: [64, 32, 128, 16] };
  const tried: Choice[] = [];
  for (const rows of m === undefined ? usual.rows : [m])
    for (const columns of n === undefined ? widthsOf(fit) : [n])
      for (const block of k === undefined ? usual.blocks : [k])
        for (const threads of fixed.threads === undefined ? threadsOf(fit, rows) : [fixed.threads])
          tried.push(choiceOf(fixed, { tile: [rows, columns, block], threads }));
  return tried;
}

/** All columns, or less of them for each block, as whole shares of threads. */
function widthsOf({ columns, caps, instruction }: Fit): number[] {
  const whole = (count: number): number => {
    const unit = instruction !== undefined ? step : count >= 32 ? 32 : count >= 16 ? 16 : 8;
    return caps.maxThreads === 1 ? count : Math.ceil(count / unit) * unit;
  };
  const all = columns ?? usualWidth;
  const parts = [1, 2, 4, 8, 16].map((count) => whole(Math.ceil(all / count)));
  return [...new Set(parts)];
}

function threadsOf({ caps, instruction }: Fit, rows: number): number[] {
  if (caps.maxThreads === 1) return [1];
  if (instruction === undefined) return [128, 64, 256, 32];
  return [1, 2].flatMap((tiles) => (rows % (tiles * step) === 0 ? [(rows / (tiles * step)) * warp] : []));
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

/** Ways to stage that fit, the one with the fewest loads and waits first. */
function shapesOf(fit: Fit, choice: Choice): TiledCascadeShape[] {
  return allShapes(fit, choice).filter((shape) => sharedBytes(fit, shape) <= fit.caps.sharedBytes);
}

function allShapes(fit: Fit, choice: Choice): TiledCascadeShape[] {
  const { instruction, depths } = fit;
  const [rows = 0, columns = 0, block = 0] = choice.tile;
  const { threads } = choice;
  const across = acrossOf(fit, choice);
  if (across === undefined) return [];
  const own = { rows, columns, block, across, instruction, threads };
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
  return matrixDepths.map((depth) => ({ ...own, depth, isResident: deepest <= depth }));
}

// ---------------------------------------------------------------- what fits

interface Shared {
  readonly lefts: number;
  readonly rights: number;
  /** What the loop makes, where it is multiplied from memory, and what threads of a row tell each other. */
  readonly made: number;
}

function sharedParts({ caps, parts, depths, instruction }: Fit, shape: TiledCascadeShape): Shared {
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

/** Registers of sums and scores at most: with 168 of them ptxas spilled where sizes are open. */
const mostHeld = 144;

function refusalsOf(fit: Fit, choice: Choice): string[] {
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
  const made = sums * (instruction === undefined ? 0.25 : 1);
  const held = (rows * (sums * columns + (products + made) * block)) / threads;
  const registers = Math.min((caps.registers * 7) / 8, mostHeld);
  refuse(
    held > registers,
    `${sums} x ${rows} x ${columns} sums, ${products} x ${rows} x ${block} scores and what is made of them over ` +
      `${threads} threads are ${held} registers a thread, and ${registers} are for them`,
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
