/** What may be chosen for a sweep: how many rows and columns a block holds at a time, and by how many threads. */
import type { LoopAxis, LoopNode, Scalar, ScalarRead } from "../../tensor/ir.ts";
import { reachable } from "../../tensor/scalars.ts";
import type { Caps } from "../../types/caps.ts";
import { dtypes } from "../../types/dtype.ts";
import {
  axesOf,
  constantOf,
  contiguousAxis,
  narrowestBytes,
  powerOfTwoFactor,
  readsOf,
  sweepsOf,
  volume,
} from "./analysis.ts";
import { choiceOf, idleRefusals, nothingFixed, type Choice, type Fixed, type Schedule } from "./choice.ts";
import { canFollow } from "./followed.ts";
import { sweepCost, usualSize, type SweepWork } from "./cost.ts";
import { movedBytes } from "./analysis.ts";
import type { KernelSource } from "./source.ts";
import { spareBytes, warpgroup } from "./streamed.ts";
import { rowOrder, sweepProgram, type Brought, type SweepShape } from "./sweep.ts";
import { broughtRows, copyThreads, panelWidth, type BroughtRow } from "./sweep-rows.ts";

/** Elements of a row that a thread may hold for the next sweep. */
const residentElements = 64;
const one = { threads: 1, unroll: 1, vector: 1 } as const;

/** `points`: no reduction; `rows`: memory lies along what is reduced; `columns`: along what is not. */
type Form = "points" | "rows" | "columns";

interface Fit {
  readonly loop: LoopNode;
  readonly caps: Caps;
  readonly form: Form;
  /** Elements of one access. */
  readonly vector: number;
  readonly rows: number | undefined;
  readonly columns: number | undefined;
  /** Threads that hold a block, where bodies reduce blocks, and the parts in which each has its places. */
  readonly together: number | undefined;
  readonly within: number;
  /** Its reductions are linked, and can follow one another. */
  readonly canFollow: boolean;
  /** What a role of its own can bring, whole rows. */
  readonly brought: readonly BroughtRow[];
}

export function sweepSchedule(source: KernelSource<LoopNode>, caps: Caps): Schedule {
  const loop = source.node;
  const fit: Fit = { ...fitOf(loop, caps), canFollow: canFollow(source.arena, loop) };
  const rows = rowOrder(loop).flatMap((k): LoopAxis[] => {
    const axis = loop.axes[k];
    return axis === undefined ? [] : [axis];
  });
  const reductions = 1 + Math.max(0, ...sweepsOf(loop));
  const stores = fit.form === "rows" && storesAll(loop) ? 1 : 0;
  const work: SweepWork = {
    rows: fit.rows ?? usualSize,
    columns: fit.columns ?? usualSize,
    sweeps: reductions + stores,
    bytes: movedBytes(loop, usualSize),
    reads:
      fit.form === "points"
        ? 0
        : readsOf(loop.carriers.map(({ lift }) => lift)).length * narrowestBytes(loop),
  };
  return {
    name: "sweep",
    isUsual: true,
    sides: fit.form === "points" ? [rows] : [rows, loop.over],
    choices: (fixed) => choicesOf(fit, fixed),
    refusals: (choice) => refusalsOf(fit, choice),
    cost: (choice) => {
      const sweeps = (isFollowed(fit, choice) ? 1 : reductions) + stores;
      return sweepCost({ ...work, sweeps }, costShape(fit, choice), caps);
    },
    program: (choice) => sweepProgram(source, shapeOf(fit, choice)),
  };
}

function fitOf(loop: LoopNode, caps: Caps): Fit {
  const wide = Math.max(1, Math.floor(caps.vectorBytes / narrowestBytes(loop)));
  const [rows, columns] = [volume(loop.axes), volume(loop.over)];
  const form = loop.carriers.length === 0 ? "points" : runsAlongRows(loop) ? "columns" : "rows";
  const block = blockOf(loop);
  // Rows of several axes are neighbours in memory along the last one, whatever the others have.
  const last = loop.axes[rowOrder(loop).at(-1) ?? -1]?.extent ?? rows;
  const along = block?.extent ?? { rows: columns, columns: last, points: rows }[form];
  const vector = caps.maxThreads === 1 ? 1 : powerOfTwoFactor(along, wide);
  const places = block === undefined ? undefined : constantOf(block.extent);
  const nearest = Math.max(1, sectorBytes / widestAlong(loop));
  return {
    loop,
    caps,
    form,
    vector,
    rows: constantOf(rows),
    columns: constantOf(columns),
    together: places === undefined ? undefined : places / vector,
    within: places === undefined ? 1 : Math.max(1, vector / nearest),
    canFollow: false,
    brought: form === "rows" && block === undefined ? broughtRows(loop, rowOrder(loop)) : [],
  };
}

/** The axis of a block's places, of a loop whose bodies reduce each block of a row; rows' own short axes are none. */
function blockOf(loop: LoopNode): LoopAxis | undefined {
  const [first, end] = [loop.axes.length, loop.axes.length + loop.over.length];
  const isOfBlock = (scalar: Scalar): boolean =>
    scalar.kind === "reduce" &&
    reachable([scalar.arg]).some((s) => s.kind === "axis" && s.axis >= first && s.axis < end);
  return reachable(loop.results.map(({ value }) => value)).some(isOfBlock) ? loop.inner[0] : undefined;
}

/** Whether some tile holds whole rows of a loop whose bodies reduce blocks, each by neighbouring threads. */
export function holdsRows(loop: LoopNode, caps: Caps): boolean {
  const fit = fitOf(loop, caps);
  return choicesOf(fit, nothingFixed).some(
    (choice) => isResident(fit, choice.tile[1] ?? 0) && refusalsOf(fit, choice).length === 0,
  );
}

/** True where most bytes are read along a parallel axis rather than a reduced one. */
function runsAlongRows(loop: LoopNode): boolean {
  let rows = 0;
  let columns = 0;
  const reads = readsOf([...loop.carriers.map((c) => c.lift), ...loop.results.map((r) => r.value)]);
  for (const read of reads) {
    const axis = contiguousAxis(read);
    if (axis === undefined) continue;
    // A read that does not move along the reduced axes is made once a row: it decides nothing.
    if (read.index.length < 2 && axis < loop.axes.length) continue;
    if (axis < loop.axes.length) rows += elementsOf(loop, read);
    else columns += elementsOf(loop, read);
  }
  return rows > columns;
}

/** A size that is not known is taken for this. */
const usualExtent = 256;

/** Elements that a read makes in all: one that stays the same along an axis is made once for all of it. */
function elementsOf(loop: LoopNode, read: ScalarRead): number {
  return [...axesOf(read)].reduce((product, k) => {
    const axis = loop.axes[k] ?? loop.over[k - loop.axes.length];
    return product * (axis === undefined ? 1 : (constantOf(axis.extent) ?? usualExtent));
  }, 1);
}

/**
 * Bytes that memory gives at a time; what lies for no wider access than an element begins anywhere in them. Of neighbours
 * that are more, one thread's accesses lie so far apart that each moves a part of what it touches: with 16 f32 a thread, the
 * first level of the cache took 3 times as long as it has to. H200.
 */
const sectorBytes = 32;

/** Bytes of the widest element that is read along the columns. */
function widestAlong(loop: LoopNode): number {
  const reads = readsOf([...loop.carriers.map((c) => c.lift), ...loop.results.map((r) => r.value)]);
  return Math.max(
    1,
    ...reads.map((read) => {
      const axis = contiguousAxis(read);
      const ref = loop.inputs[read.input];
      const dtype = ref?.node.types[ref.output]?.dtype;
      return dtype === undefined || axis === undefined || axis < loop.axes.length ? 0 : dtypes[dtype].bytes;
    }),
  );
}

function storesAll(loop: LoopNode): boolean {
  const [first, end] = [loop.axes.length, loop.axes.length + loop.over.length];
  return loop.results.some((result) => result.axes.some((k) => k >= first && k < end));
}

// ---------------------------------------------------------------- what is tried

function choicesOf(fit: Fit, fixed: Fixed): Choice[] {
  const usual = usualTile(fit);
  const [rows, columns] = fixed.tile;
  const isFree = fixed.threads === undefined && rows === undefined && columns === undefined;
  const seen = new Set<string>();
  const others = fit.caps.maxThreads === 1 ? [] : otherTiles(fit, fixed);
  return [...(isFree ? [usual] : [usual, ...completed(fit, fixed)]), ...others].flatMap(
    ({ tile, threads }): Choice[] => {
      const key = `${tile.join(" ")} ${threads}`;
      if (seen.has(key)) return [];
      seen.add(key);
      if (tile.some((extent, k) => fixed.tile[k] !== undefined && fixed.tile[k] !== extent)) return [];
      return fixed.threads !== undefined && fixed.threads !== threads
        ? []
        : [choiceOf(fixed, { tile, threads, ...(copies(fixed) ? slotsFor(fit, tile) : {}) })];
    },
  );
}

function copies({ copy = 0 }: Fixed): boolean {
  return copy > 0;
}

const mostSlots = 4;

/** Where a role copies, blocks stay, and have as many slots as there is room for. */
function slotsFor(fit: Fit, tile: readonly number[]): Partial<Choice> {
  const deepest = Math.floor((fit.caps.sharedBytes - spareBytes) / slotBytes(fit, tile));
  return { stages: Math.max(2, Math.min(mostSlots, deepest)), persistent: 1 };
}

function slotBytes({ brought }: Fit, [rows = 1, columns = 1]: readonly number[]): number {
  return brought.reduce((sum, { dtype }) => sum + rows * columns * dtypes[dtype].bytes, 0);
}

/** Why a role of its own cannot bring the rows. */
function copyRefusals(fit: Fit, choice: Choice): string[] {
  const { caps, brought, form } = fit;
  const { tile, threads, stages, copy } = choice;
  const [rows = 1, columns = 1] = tile;
  if (!caps.instructions.includes("mbarrier.init"))
    return [`${caps.target} has no barriers that count bytes, by which one warpgroup hands rows to others`];
  if (form !== "rows" || !isResident(fit, columns))
    return [`a role brings whole rows, and ${columns} columns are not one`];
  if (brought.length === 0) return ["nothing is read along whole rows, so there is nothing to copy"];
  const problems: string[] = [];
  const refuse = (isWrong: boolean, why: string): void => {
    if (isWrong) problems.push(why);
  };
  refuse(copy !== 1, `the copies take 1 warpgroup here, not ${copy}`);
  refuse(
    threads % warpgroup !== 0 || threads + copyThreads > caps.maxThreads,
    `roles are warpgroups of ${warpgroup} threads, ${caps.maxThreads} threads in all, not ${threads} and ${copyThreads}`,
  );
  refuse(choice.persistent !== 1, "blocks are persistent where a role copies");
  refuse(stages < 2, `a channel has 2 stages or more, not ${stages}`);
  refuse(
    rows > mostBoxRows || brought.some(({ dtype }) => panelWidth(dtype, rows, columns) === undefined),
    `${rows} x ${columns} elements are no whole boxes of the copy engine`,
  );
  const slot = slotBytes(fit, tile);
  refuse(
    stages * slot + spareBytes > caps.sharedBytes,
    `${stages} stages of ${slot} bytes and ${spareBytes} of barriers are ${stages * slot + spareBytes} bytes of ` +
      `shared memory, and a block has ${caps.sharedBytes}`,
  );
  return problems;
}

const mostBoxRows = 256;
const mostResidentThreads = 2048;

/** Undefined: every thread loads its own. */
function broughtOf(fit: Fit, { tile, threads, stages, copy }: Choice): Brought | undefined {
  if (copy === 0) return undefined;
  const { caps, brought } = fit;
  // As many blocks as a multiprocessor has room for.
  const byMemory = Math.floor(caps.sharedBytes / (stages * slotBytes(fit, tile) + spareBytes));
  const byThreads = Math.floor(mostResidentThreads / (threads + copyThreads));
  const workers = caps.units * Math.max(1, Math.min(byMemory, byThreads));
  return { rows: brought, depth: stages, workers, vectorBytes: caps.vectorBytes };
}

interface Tiling {
  readonly tile: readonly number[];
  readonly threads: number;
}

/** What is fixed, and the rest as the usual tile has it. */
function completed(fit: Fit, fixed: Fixed): Tiling[] {
  const usual = usualTile(fit);
  const tile = usual.tile.map((extent, k) => fixed.tile[k] ?? extent);
  return [{ tile, threads: fixed.threads ?? usual.threads }];
}

const mostOfOpen = 512;

/** Tiles by where memory is contiguous, how long rows are and how many threads the target has. */
function otherTiles({ caps, form, vector, rows: all, columns }: Fit, fixed: Fixed): Tiling[] {
  const threadCounts = fixed.threads === undefined ? [64, 128, 256, 512, 1024] : [fixed.threads];
  // With more, a thread has no room for places that are counted in 64 bits.
  const most =
    form === "columns" && (all === undefined || columns === undefined) ? mostOfOpen : caps.maxThreads;
  const tried: Tiling[] = [];
  for (const threads of threadCounts) {
    if (threads > caps.maxThreads || (fixed.threads === undefined && threads > most)) continue;
    for (const unroll of [1, 2, 4, 8]) {
      if (form === "points") tried.push({ tile: [threads * vector * unroll], threads });
      else if (form === "columns")
        for (const along of [8, 16, 32])
          tried.push({ tile: [along * vector, (threads / along) * unroll], threads });
      else if (columns === undefined || columns > threads * vector * unroll)
        tried.push({ tile: [1, threads * vector * unroll], threads });
    }
    if (form !== "rows" || columns === undefined) continue;
    // Whole rows, one or several a block.
    for (let rows = 1; rows <= 32 && rows <= threads; rows *= 2) {
      const lanes = threads / rows;
      tried.push({ tile: [rows, Math.ceil(columns / (lanes * vector)) * lanes * vector], threads });
    }
  }
  return tried;
}

// ---------------------------------------------------------------- the usual tile

function usualTile(fit: Fit): Tiling {
  const { caps, form, vector, rows, columns, together = 1 } = fit;
  if (caps.maxThreads === 1) {
    const isHeld = form === "rows" && columns !== undefined && columns <= caps.registers / 2;
    return { tile: form === "points" ? [1] : [1, isHeld ? Math.max(1, columns) : 1], threads: 1 };
  }
  const full = Math.min(256, caps.maxThreads);
  if (form === "points") {
    // Two accesses in flight a thread, once there is work for more than a few waves of blocks.
    const unroll = rows !== undefined && rows > full * vector * caps.units * 32 ? 2 : 1;
    return { tile: [full * vector * unroll], threads: full };
  }
  if (form === "columns") return usualColumns(fit, full);
  if (columns === undefined) return { tile: [1, full * 4 * vector], threads: full };
  const accesses = Math.ceil(columns / vector);
  if (accesses <= 32 * 2) {
    // Short rows: several rows a block, each by a power of two of threads.
    let lanes = 1;
    while (lanes < Math.max(32, together) && lanes * 2 <= Math.max(accesses, together)) lanes *= 2;
    return { tile: [full / lanes, Math.ceil(accesses / lanes) * lanes * vector], threads: full };
  }
  const best = bestThreads(accesses, vector, together, caps);
  if (best !== undefined) return { tile: [1, best.threads * best.unroll * vector], threads: best.threads };
  return { tile: [1, full * 4 * vector], threads: full };
}

/** Threads and accesses a thread that cover a row within the registers, exactly where that can be had. */
function bestThreads(
  accesses: number,
  vector: number,
  together: number,
  caps: Caps,
): { readonly threads: number; readonly unroll: number } | undefined {
  const most = Math.min(1024, caps.maxThreads);
  const step = caps.subgroup > 1 ? caps.subgroup : 32;
  let best: { threads: number; unroll: number; waste: number } | undefined;
  for (let threads = step * 2; threads <= most; threads += step) {
    const unroll = Math.ceil(accesses / threads);
    if (unroll * vector > residentElements) continue;
    // Without shuffles a block reduces by halving, which wants a power of two.
    if (threads % together !== 0) continue;
    if (caps.subgroup === 1 && (threads & (threads - 1)) !== 0) continue;
    const waste =
      (unroll * threads) / accesses + (unroll > 4 ? 0.02 * (unroll - 4) : 0) + (threads > 256 ? 0.1 : 0);
    if (best === undefined || waste < best.waste - 1e-9) best = { threads, unroll, waste };
  }
  return best;
}

function usualColumns({ loop, caps, vector, rows, columns }: Fit, threads: number): Tiling {
  // Neighbouring threads along the rows, but no more than leave blocks for the whole device: at least 32 bytes' worth.
  let along = 32;
  while (along > 4 && rows !== undefined && rows / (along * vector) < 2 * caps.units) along /= 2;
  const most = Math.max(1, Math.min(threads / along, columns ?? threads));
  let split = 1;
  while (split * 2 <= most) split *= 2;
  // As many bytes on their way as one tensor's wide accesses would have, where rows do not lie for such.
  const narrow = caps.vectorBytes / (vector * narrowestBytes(loop) * Math.max(1, readsAlong(loop)));
  const times = narrow >= 4 ? 4 : narrow >= 2 ? 2 : 1;
  return { tile: [along * vector, split * 4 * times], threads: along * split };
}

/** Reads that a thread makes again for each element that is reduced. */
function readsAlong({ axes, over, carriers }: LoopNode): number {
  const isAlong = (k: number): boolean => k >= axes.length && k < axes.length + over.length;
  return readsOf(carriers.map(({ lift }) => lift)).filter((read) => [...axesOf(read)].some(isAlong)).length;
}

// ---------------------------------------------------------------- what fits

function isResident({ form, columns }: Fit, columnTile: number): boolean {
  return form === "points" || (form === "rows" && columns !== undefined && columnTile >= columns);
}

/** Elements of a chunk that a thread has, at least, where what it has reduced follows once a chunk. */
const fewestFollowed = 4;

/** Linked reductions of a row that is not held are one sweep, where a thread has enough of each chunk. */
function isFollowed(fit: Fit, { tile: [rows = 1, columns = 1], threads }: Choice): boolean {
  const { form, vector, canFollow: isLinked } = fit;
  if (!isLinked || form === "points" || isResident(fit, columns)) return false;
  const lanes = form === "columns" ? threads / (rows / vector) : threads / rows;
  return columns / lanes >= fewestFollowed;
}

function shapeOf(fit: Fit, choice: Choice): SweepShape {
  const {
    tile: [rows = 1, columns = 1],
    threads,
  } = choice;
  const { form, vector, together, within } = fit;
  if (form === "points")
    return {
      rows: { threads, unroll: rows / (threads * vector), vector },
      columns: one,
      resident: true,
      follows: false,
      along: "rows",
    };
  const resident = isResident(fit, columns);
  const follows = isFollowed(fit, choice);
  if (form === "columns") {
    const along = rows / vector;
    const split = threads / along;
    return {
      rows: { threads: along, unroll: 1, vector },
      columns: { threads: split, unroll: columns / split, vector: 1 },
      resident,
      follows,
      along: "rows",
    };
  }
  const lanes = threads / rows;
  return {
    rows: { threads: rows, unroll: 1, vector: 1 },
    columns: {
      threads: lanes,
      unroll: columns / (lanes * vector),
      vector: vector / within,
      together,
      within: within === 1 ? undefined : within,
    },
    resident,
    follows,
    along: "columns",
    brought: broughtOf(fit, choice),
    fitting: resident && choice.copy === 0 ? blocksFitting(fit, choice) : undefined,
  };
}

/**
 * Registers of a thread beside the elements of rows that it holds, and in which steps it has them. Of rmsnorm that is
 * quantised, 32 elements of each of 224 threads, ptxas made 61 registers and so 4 blocks, 0.89 of a copy's bandwidth; with
 * 56 they are 5, and 0.94. Asked for 6 it spilled. H200.
 */
const besideRegisters = 24;
const registerStep = 8;
/** Parts of a unit, each with its own subgroups and registers. */
const unitParts = 4;

/**
 * While a block's rows are reduced none of its loads is under way, so that others have to be there: as many as what a
 * thread must hold allows. Where bodies reduce blocks as well; other rows come by few registers by themselves.
 */
function blocksFitting({ loop, caps, together }: Fit, { tile, threads }: Choice): number | undefined {
  if (caps.registerFile === undefined || together === undefined || loop.carriers.length === 0)
    return undefined;
  // Of rows of several inputs more or less is held as it comes; asked for too few blocks, ptxas takes more registers.
  if (rowInputs(loop) !== 1) return undefined;
  const [rows = 1, columns = 1] = tile;
  const elements = (rows * columns) / threads;
  const registers = Math.ceil((elements + besideRegisters) / registerStep) * registerStep;
  const subgroups = Math.floor(caps.registerFile / unitParts / (registers * caps.subgroup));
  const blocks = Math.floor((unitParts * subgroups) / Math.ceil(threads / caps.subgroup));
  return blocks > 1 ? blocks : undefined;
}

/** Inputs of which a row has elements of its own at its columns. */
function rowInputs(loop: LoopNode): number {
  const isRow = (k: number): boolean => k < loop.axes.length;
  const reads = readsOf([...loop.carriers.map((c) => c.lift), ...loop.results.map((r) => r.value)]);
  const moving = reads.filter((read) => {
    const axes = [...axesOf(read)];
    return axes.some(isRow) && axes.some((k) => !isRow(k));
  });
  return new Set(moving.map(({ input }) => input)).size;
}

function costShape(
  fit: Fit,
  { tile: [rows = 1, columns = 1], threads }: Choice,
): Parameters<typeof sweepCost>[1] {
  const { loop, form, vector } = fit;
  const isHeld = isResident(fit, columns);
  if (form !== "columns") return { rows, columns, isHeld, threads, accesses: 0, fetched: 1 };
  const length = fit.columns ?? usualSize;
  const down = Math.ceil(length / columns) * columns;
  const whole = vector === 1 ? 2 * sectorBytes : sectorBytes;
  return {
    rows,
    columns,
    isHeld,
    threads,
    // What may be beyond the end is asked for when its turn comes, all else together.
    accesses: down === length ? 0 : (rows * down) / (threads * vector),
    fetched: Math.max(1, whole / (rows * narrowestBytes(loop))),
  };
}

function refusalsOf(fit: Fit, choice: Choice): string[] {
  const { caps, form, vector } = fit;
  const { threads } = choice;
  const [rows = 1, columns = 1] = choice.tile;
  const { together } = fit;
  const problems =
    choice.copy > 0
      ? [...idleRefusals(choice, ["threads", "copy", "stages", "persistent"]), ...copyRefusals(fit, choice)]
      : idleRefusals(choice, ["threads"]);
  const refuse = (isWrong: boolean, why: string): void => {
    if (isWrong) problems.push(why);
  };
  refuse(
    threads < 1 || threads > caps.maxThreads,
    `${caps.target} has 1 to ${caps.maxThreads} threads a block, not ${threads}`,
  );
  if (problems.length > 0) return problems;
  const shape = shapeOf(fit, choice);
  const { unroll, vector: access, within: parts = 1 } = shape.columns;
  const held = shape.rows.unroll * shape.rows.vector * unroll * access * parts;
  const isWhole = [shape.rows, shape.columns].every((side) =>
    [side.threads, side.unroll].every((count) => Number.isInteger(count) && count >= 1),
  );
  const tile = form === "points" ? `${rows} elements` : `${rows} x ${columns} elements`;
  const atOnce = vector === 1 ? "one by one" : `${vector} at a time`;
  refuse(!isWhole, `${tile} are not the same number for each of ${threads} threads, ${atOnce}`);
  const lanes = shape.columns.threads;
  refuse(
    isWhole && shape.rows.threads > 1 && shape.along === "columns" && (lanes & (lanes - 1)) !== 0,
    `${threads} threads over ${rows} rows are ${lanes} a row, which is no power of two`,
  );
  refuse(
    together !== undefined && (form !== "rows" || !Number.isInteger(lanes / together)),
    `${lanes} threads a row are no multiple of the ${together ?? 0} that hold a block`,
  );
  refuse(
    isWhole && caps.subgroup === 1 && (lanes & (lanes - 1)) !== 0,
    `${lanes} threads a row are no power of two, and ${caps.target} halves them to reduce`,
  );
  refuse(
    isWhole && caps.maxThreads > 1 && held > residentElements * 2,
    `${tile} over ${threads} threads are ${held} a thread, which holds at most ${residentElements * 2}`,
  );
  return problems;
}
