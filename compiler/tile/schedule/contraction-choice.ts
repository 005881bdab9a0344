/** What may be chosen for a contraction whose tiles all threads of a block load and then multiply. */
import type { LoopNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import type { Dim } from "../../types/dim.ts";
import { dtypes, holdsFloat, storedAs, type DType } from "../../types/dtype.ts";
import { constantOf } from "./analysis.ts";
import { choiceOf, idleRefusals, type Choice, type Fixed, type Schedule } from "./choice.ts";
import { contractionProgram, type ContractionShape } from "./contraction.ts";
import { tiledCost, usualSize, type TiledWork } from "./cost.ts";
import { comesSingly } from "./staging.ts";
import { factorFormat, matricesOf, sidesOf, type Contraction } from "./matrices.ts";
import type { KernelSource } from "./source.ts";

/** Fewer rows or columns: each element of the larger factor is used so seldom that no tile can help. */
const fewestRows = 4;
/** Rows and columns of a matrix instruction. */
const step = { m: 16, n: 8 } as const;
const warp = 32;

export function contractionSchedule(
  source: KernelSource<LoopNode>,
  contraction: Contraction,
  caps: Caps,
): Schedule {
  const loop = source.node;
  const matrices = matricesOf(loop, contraction);
  const instruction = matrixInstruction(loop, contraction, caps);
  const size = (dim: Dim): number => constantOf(dim) ?? usualSize;
  const singly = (side: "m" | "n"): boolean =>
    contraction.products.some(({ left, right }) =>
      comesSingly(loop, side === "m" ? left : right, matrices, side, caps),
    );
  const work: TiledWork = {
    batch: size(matrices.batchCount),
    m: size(matrices.mCount),
    n: size(matrices.nCount),
    k: size(matrices.kCount),
    sums: loop.carriers.length,
    bytes: instruction?.bytes ?? 4,
    comesSingly: { m: singly("m"), n: singly("n") },
    unit: instruction?.unit ?? "f32",
  };
  const isSmall = [matrices.mCount, matrices.nCount].some(
    (dim) => (constantOf(dim) ?? fewestRows) < fewestRows,
  );
  const fit: Fit = { loop, contraction, instruction, caps };
  return {
    name: "tiled",
    isUsual: !isSmall,
    sides: sidesOf(loop, contraction),
    named: ["stages"],
    choices: (fixed) => choicesOf(fit, fixed),
    refusals: (choice) => refusalsOf(fit, choice),
    cost: (choice) => {
      const {
        tile: [rows = 0, columns = 0, depth = 0],
        threads,
      } = choice;
      const across = acrossOf(fit, choice);
      const reads = across.m / rows + across.n / columns;
      return tiledCost(work, { rows, columns, depth, threads, reads }, caps);
    },
    program: (choice) => contractionProgram(source, contraction, caps, shapeOf(fit, choice)),
  };
}

interface Fit {
  readonly loop: LoopNode;
  readonly contraction: Contraction;
  /** Matrix instruction, where the target has one for the factors. */
  readonly instruction: MatrixInstruction | undefined;
  readonly caps: Caps;
}

interface MatrixInstruction {
  readonly name: string;
  readonly k: number;
  readonly unit: "matrix32" | "matrix16";
  /** Of an element of a factor's tile, and its dtype. */
  readonly bytes: number;
  readonly dtype: DType;
}

function shapeOf(fit: Fit, choice: Choice): ContractionShape {
  const [m = 0, n = 0, k = 0] = choice.tile;
  return { m, n, k, instruction: fit.instruction, across: acrossOf(fit, choice) };
}

/** Threads, or warps where there is a matrix instruction, along m and n. */
function acrossOf(
  { instruction }: Fit,
  { tile: [m = 0, n = 0], threads }: Choice,
): ContractionShape["across"] {
  if (threads === 1) return { m: 1, n: 1 };
  if (instruction === undefined) {
    const along = Math.min(16, n / 4);
    return { m: threads / along, n: along };
  }
  const warps = threads / warp;
  const along = Math.min(m / step.m, 2, warps);
  return { m: along, n: warps / along };
}

function choicesOf(fit: Fit, fixed: Fixed): Choice[] {
  const { caps, instruction } = fit;
  const isSerial = caps.maxThreads === 1;
  const [m, n, k] = fixed.tile;
  // Of equals the first is taken. Where scalars are multiplied a large tile is to be worth its registers, and 128 x 64
  // was measured, not 64 x 128.
  const usual = isSerial ? [4, 8, 2] : instruction === undefined ? [64, 32, 16, 128] : [128, 64, 32, 16];
  const depths = isSerial ? [1] : instruction === undefined ? [16, 8] : [32, 64];
  const tried: Choice[] = [];
  const [allRows, allColumns] = [m === undefined ? usual : [m], n === undefined ? usual : [n]];
  const pairs =
    isSerial || instruction !== undefined
      ? allRows.flatMap((rows) => allColumns.map((columns) => [rows, columns] as const))
      : allColumns.flatMap((columns) => allRows.map((rows) => [rows, columns] as const));
  for (const [rows, columns] of pairs)
    for (const depth of k === undefined ? depths : [k])
      for (const threads of fixed.threads === undefined ? threadsOf(fit, rows, columns) : [fixed.threads])
        tried.push(choiceOf(fixed, { tile: [rows, columns, depth], threads }));
  return tried;
}

/** Each thread, or warp, with a square of its own that keeps its registers busy; and half of them. */
function threadsOf({ caps, instruction }: Fit, m: number, n: number): readonly number[] {
  if (caps.maxThreads === 1) return [1];
  if (instruction === undefined) return [Math.min(16, Math.ceil(m / 4)) * Math.min(16, Math.ceil(n / 4))];
  const along = Math.max(1, Math.min(Math.floor(m / step.m), 2));
  const most = along * Math.max(1, Math.min(Math.floor(n / 32), 8 / along));
  return most === 1 ? [warp] : [most * warp, (most * warp) / 2];
}

function refusalsOf(fit: Fit, choice: Choice): string[] {
  const { loop, contraction, instruction, caps } = fit;
  const [m = 0, n = 0, k = 0] = choice.tile;
  const { threads } = choice;
  const across = acrossOf(fit, choice);
  const problems = idleRefusals(choice, ["threads"]);
  const refuse = (isWrong: boolean, why: string): void => {
    if (isWrong) problems.push(why);
  };
  refuse(
    threads > caps.maxThreads,
    `${caps.target} has at most ${caps.maxThreads} threads a block, not ${threads}`,
  );
  refuse(m < 1 || n < 1 || k < 1, `a tile of ${m} x ${n} x ${k} has nothing in it`);
  if (caps.maxThreads === 1) {
    refuse(k !== 1, `one thread takes one step along the sum at a time, not ${k}`);
    return problems;
  }
  if (instruction === undefined) {
    refuse(
      n % 4 !== 0 || m % 4 !== 0,
      `a thread has squares of 4 x 4 sums, and ${m} x ${n} are not whole squares`,
    );
    refuse(
      !Number.isInteger(across.m) || m % (4 * across.m) !== 0 || n % (4 * across.n) !== 0,
      `${threads} threads do not share ${m} x ${n} sums in squares of 4 x 4`,
    );
  } else {
    refuse(threads % warp !== 0, `${threads} threads are not whole warps of ${warp}`);
    refuse(
      m % step.m !== 0 || n % step.n !== 0 || k % instruction.k !== 0,
      `${m} x ${n} x ${k} is not whole steps of ${step.m} x ${step.n} x ${instruction.k}, the instruction's`,
    );
    refuse(
      !Number.isInteger(across.n) || m % (step.m * across.m) !== 0 || n % (step.n * across.n) !== 0,
      `${threads / warp} warps do not share ${m} x ${n} sums in steps of ${step.m} x ${step.n}`,
    );
  }
  if (problems.length > 0) return problems;
  const held = (loop.carriers.length * m * n) / threads;
  refuse(
    held > caps.registers / 2,
    `${loop.carriers.length} x ${m} x ${n} sums over ${threads} threads are ${held} registers a thread, ` +
      `and half of ${caps.registers} are for sums`,
  );
  const sides = new Map(
    contraction.products.flatMap(({ left, right }) => [[left, m] as const, [right, n] as const]),
  );
  const shared = [...sides].reduce(
    (sum, [, rows]) =>
      instruction === undefined ? sum + k * (rows + 4) * 4 : sum + rows * (k * instruction.bytes + 16),
    0,
  );
  refuse(
    shared > caps.sharedBytes,
    `tiles of the factors are ${shared} bytes of shared memory, and a block has ${caps.sharedBytes}`,
  );
  return problems;
}

/** Both factors of one 16-bit format; or one of them rounded to tf32, and the other of values that tf32 has too. */
function matrixInstruction(
  loop: LoopNode,
  contraction: Contraction,
  caps: Caps,
): MatrixInstruction | undefined {
  const formats = new Set(
    contraction.products.flatMap(({ left, right }) => [factorFormat(loop, left), factorFormat(loop, right)]),
  );
  const isTf32 = formats.has("tf32") && [...formats].every((format) => holdsFloat("tf32", format));
  const [format] = isTf32 ? (["tf32"] as const) : formats;
  if (format === undefined || (formats.size !== 1 && !isTf32)) return undefined;
  const k = isTf32 ? 8 : 16;
  const name = `mma.m16n8k${k}.${format}`;
  const dtype = storedAs(format);
  if (!caps.instructions.includes(name)) return undefined;
  return { name, k, unit: isTf32 ? "matrix32" : "matrix16", bytes: dtypes[dtype].bytes, dtype };
}
