/**
 * The sums of a streamed contraction along k: one after another in place, or, where the program or a scale cuts k into
 * runs, each run's sum by itself, which is then scaled and added to the result's.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { add, ceildiv, constant, isConstant, min, one, type Dim } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Counter, Tile, TileExpr, TileOp } from "../ir.ts";
import type { Fragment } from "./fragments.ts";
import { fillFirst, fillNext, type StepsAhead } from "./ahead.ts";
import type { ScaleTile, Scaling } from "./promotion.ts";
import type { RunProduct } from "./runs.ts";
import type { ScaleGroups } from "./scale-slots.ts";

export interface Steps {
  /** Panels of a run, or of all; runs. */
  readonly block: Counter;
  readonly run: Counter;
  /** Panels that a run has; undefined: the sum is one run. */
  readonly perRun: number | undefined;
  /** What is counted: panels, of a run or of all, or runs where each is one panel. */
  readonly step: Counter;
  /** The first k of a panel, by its step, and of a run by its number. */
  readonly base: (step: TileExpr) => TileExpr;
  readonly runBase: (run: TileExpr) => TileExpr;
  /** The number of the first run, and of the run that a step is of. */
  readonly first: TileExpr;
  readonly number: (step: TileExpr) => TileExpr;
  /** How many steps are made, where not all are. */
  readonly below: TileExpr | undefined;
  /** There may be none. */
  readonly isOptional: boolean;
}

/** Steps that are made: runs where there are any and panels else. */
export interface StepsMade {
  readonly first: TileExpr;
  readonly steps: TileExpr;
  /** At least one, unless it says otherwise. */
  readonly isOptional?: boolean;
}

/** `part`: those that a block makes; undefined: all. */
export function stepsAlongK(
  b: t.TileBuilder,
  count: Dim,
  panel: number,
  run: number | undefined,
  part: StepsMade | undefined,
): Steps {
  const panels = ceildiv(count, constant(panel));
  const perRun = run === undefined ? undefined : run / panel;
  const inRun = perRun === undefined ? panels : perRun === 1 ? one : min(constant(perRun), panels);
  const block = b.counter("k_block", inRun);
  const runs = b.counter("run", run === undefined ? one : ceildiv(count, constant(run)));
  const first = part === undefined ? t.int(0) : part.first;
  const runBase = (number: TileExpr): TileExpr => t.times(t.plus(first, number), t.int(run ?? 0));
  const isRun = perRun === 1;
  const base = (step: TileExpr): TileExpr => {
    if (run === undefined) return t.times(t.plus(first, step), t.int(panel));
    return isRun ? runBase(step) : t.plus(runBase(t.at(runs)), t.times(step, t.int(panel)));
  };
  return {
    block,
    run: runs,
    perRun,
    step: isRun ? runs : block,
    base,
    runBase,
    first,
    number: (step) => t.plus(first, isRun ? step : t.at(runs)),
    below: part?.steps,
    isOptional: part?.isOptional === true,
  };
}

/** A sum of products, and the first of the tile's rows and columns that it is of. */
export interface Sum {
  readonly tile: Tile;
  readonly product: RunProduct;
  readonly row: number;
  readonly column: number;
}

export interface Summing {
  readonly steps: Steps;
  readonly layout: Fragment;
  readonly sums: readonly Sum[];
  /** Fill a step's slot of the channel, take it, and give it back. */
  readonly slot: Readonly<Record<"take" | "release", TileOp>> & {
    readonly fill: (step: TileExpr) => TileOp;
    /** Steps by which those who multiply are ahead as they fill; undefined: others fill. */
    readonly ahead: number | undefined;
    /** Scales of several runs, where they come apart from the factors. */
    readonly groups: ScaleGroups | undefined;
  };
  readonly multiply: (sum: Sum, into: Tile, accumulate: TileExpr) => TileOp;
  readonly scaling: (sum: Sum) => Scaling;
}

const awaited: TileOp = { kind: "await", pending: 0 };

/** Ops after which each sum has all of its products. */
export function sumOps(
  b: t.TileBuilder,
  { steps, layout, sums, slot, multiply, scaling }: Summing,
): TileOp[] {
  const { block, run, perRun } = steps;
  const { take, release } = slot;
  const here = t.at(steps.step);
  const ofRuns = perRun === undefined || perRun === 1;
  const ahead: StepsAhead | undefined =
    slot.ahead === undefined
      ? undefined
      : {
          from: t.int(0),
          below: (ofRuns ? steps.below : undefined) ?? t.size(steps.step.count),
          ahead: slot.ahead,
          fill: (step) => [slot.fill(step)],
        };
  const first = ahead === undefined ? [] : fillFirst(ahead);
  const fill = ahead === undefined ? [slot.fill(here)] : [];
  const next = ahead === undefined ? [] : [fillNext(ahead, here)];
  const declared = (tiles: readonly Tile[], init: TileExpr | undefined): TileOp[] =>
    tiles.map((tile) => ({ kind: "var", tile, init }));
  const results = sums.map(({ tile }) => tile);
  // Where there may be no product to begin with, all are added to 0.
  const zero: TileExpr = { kind: "const", type: "f32", value: 0 };
  const isAdded = steps.isOptional && perRun === undefined;
  const hasMore = isAdded ? t.bool(true) : t.less(t.int(0), t.at(block));
  const inPlace = (parts: readonly Tile[]): TileOp => ({
    kind: "for",
    counter: block,
    from: undefined,
    below: perRun === undefined ? steps.below : undefined,
    unroll: false,
    body: [
      ...fill,
      take,
      ...sums.map((sum, i) => multiply(sum, parts[i] ?? sum.tile, hasMore)),
      awaited,
      release,
      ...next,
    ],
  });
  if (perRun === undefined)
    return [...declared(results, isAdded ? zero : undefined), ...first, inPlace(results)];

  // Where a run is one step, one sum is done with before the next is begun, and they share the run's registers.
  const own = perRun === 1 ? sums.slice(0, 1) : sums;
  const parts = own.map(({ tile }) => b.tile(`${tile.name}_run`, "f32", layout.axes));
  const [shared] = parts;
  invariant(shared !== undefined, "a contraction has a sum");
  const scales = sums.map(scaling);
  const { before, loads, moves } = scalesAhead(
    b,
    steps,
    scales.flatMap((scale) => scale.scales),
  );
  const promote = ({ tile }: Sum, i: number): TileOp[] => {
    const { products = [], values = [] } = scales[i] ?? {};
    const part = t.valueOf(parts[i] ?? shared);
    const scaled = values.reduce((value, scale) => t.apply("mul", "f32", [value, scale]), part);
    return [...products, { kind: "update", tile, expr: t.apply("add", "f32", [scaled, t.valueOf(tile)]) }];
  };
  // Columns' scales are many: they are taken while their product runs.
  const oneStep = (): TileOp[] =>
    sums.flatMap((sum, i) => [
      multiply(sum, shared, t.bool(false)),
      ...(scales[i]?.taken.columns ?? []),
      awaited,
      ...(i === sums.length - 1 ? [release, ...next] : []),
      ...promote(sum, i),
    ]);
  const body =
    perRun === 1
      ? [...fill, ...loads, take, ...scales.flatMap(({ taken }) => taken.rows), ...oneStep(), ...moves]
      : [...first, ...loads, inPlace(parts), ...sums.flatMap((sum, i) => promote(sum, i)), ...moves];
  return [
    ...declared(results, zero),
    ...declared(parts, undefined),
    ...(perRun === 1 ? first : []),
    ...before,
    ...(slot.groups === undefined
      ? [{ kind: "for", counter: run, from: undefined, below: steps.below, unroll: false, body } as const]
      : [inGroups(b, steps, slot.groups, body)]),
  ];
}

/** The runs of a group after each other, between the take of their scales and its release. */
function inGroups(
  b: t.TileBuilder,
  { run, first, below }: Steps,
  { runs, fill, take, release }: ScaleGroups,
  body: readonly TileOp[],
): TileOp {
  const isFirst = first.kind === "const" && first.value === 0;
  const minus = (x: TileExpr, y: TileExpr): TileExpr => t.apply("sub", "i32", [x, y]);
  const group = b.counter("group", add(ceildiv(run.count, constant(runs)), constant(isFirst ? 0 : 1)));
  const own = b.counter("run_of_group", constant(runs));
  const begin = t.times(t.at(group), t.int(runs));
  const end = t.plus(first, below ?? t.size(run.count));
  const isWhole = below === undefined && isConstant(run.count) && run.count.value % runs === 0;
  const number = t.plus(begin, t.at(own));
  return {
    kind: "for",
    counter: group,
    from: isFirst ? undefined : t.over(first, t.int(runs)),
    below: below === undefined ? undefined : t.over(t.plus(end, t.int(runs - 1)), t.int(runs)),
    unroll: false,
    body: [
      fill(t.at(group)),
      take,
      {
        kind: "for",
        counter: own,
        from: isFirst ? undefined : t.apply("max", "i32", [minus(first, begin), t.int(0)]),
        below: isWhole ? undefined : t.apply("min", "i32", [minus(end, begin), t.int(runs)]),
        unroll: false,
        body: [{ kind: "index", counter: run, expr: isFirst ? number : minus(number, first) }, ...body],
      },
      release,
    ],
  };
}

/**
 * Scales of the next run are loaded while one is made, so that no sum waits for memory: the first before the loop, then
 * in each run those of the next, which take their place at its end.
 */
function scalesAhead(
  b: t.TileBuilder,
  { run, runBase, below, isOptional }: Steps,
  scales: readonly ScaleTile[],
): Readonly<Record<"before" | "loads" | "moves", readonly TileOp[]>> {
  const next = t.plus(t.at(run), t.int(1));
  const hasNext = t.less(next, below ?? t.size(run.count));
  const load = ({ tile, at, where }: ScaleTile, name: string, number: TileExpr, needed?: TileExpr) => {
    const loaded = b.tile(`${tile.name}_${name}`, "f32", tile.axes);
    const guard = t.both(where, needed);
    const otherwise: TileExpr | undefined =
      guard === undefined ? undefined : { kind: "const", type: "f32", value: 0 };
    return { kind: "let", tile: loaded, expr: at(runBase(number)), where: guard, otherwise } as const;
  };
  const hasFirst = isOptional && below !== undefined ? t.less(t.int(0), below) : undefined;
  const firsts = scales.map((scale) => load(scale, "first", t.int(0), hasFirst));
  const nexts = scales.map((scale) => load(scale, "next", next, hasNext));
  return {
    before: [
      ...firsts,
      ...scales.map(({ tile }, i): TileOp => {
        const first = firsts[i]?.tile;
        return { kind: "var", tile, init: first === undefined ? undefined : t.valueOf(first) };
      }),
    ],
    loads: nexts,
    moves: scales.flatMap(({ tile }, i): TileOp[] => {
      const loaded = nexts[i]?.tile;
      return loaded === undefined ? [] : [{ kind: "update", tile, expr: t.valueOf(loaded) }];
    }),
  };
}

/** Rows and columns of a tile that are multiplied at a time. */
export interface Wave {
  readonly rows: number;
  readonly columns: number;
}

/**
 * Where runs are single steps, one product of each warpgroup at a time: its sums are promoted before the next is begun. Of
 * the columns half, where those of all, with the sums of the whole tile, are more than `most` registers.
 */
export function waveOf(
  { perRun }: Pick<Steps, "perRun">,
  { m, n, warpgroups }: Readonly<Record<"m" | "n" | "warpgroups", number>>,
  { rows: own, most }: { readonly rows: number; readonly most: number },
): Wave {
  if (perRun !== 1) return { rows: m, columns: n };
  const rows = own * warpgroups;
  const threads = warpgroups * 128;
  const fits = (m * n + rows * n) / threads <= most;
  return { rows, columns: fits || n % 2 !== 0 ? n : n / 2 };
}

/** Registers of a thread for `sums` sums of so many, and for those of a run. */
export function accumulatorsOf(
  perRun: number | undefined,
  sums: number,
  { m, n, threads, wave }: Readonly<Record<"m" | "n" | "threads", number>> & { readonly wave: Wave },
): number {
  const all = (sums * m * n) / threads;
  if (perRun === undefined) return all;
  return perRun === 1 ? all + (wave.rows * wave.columns) / threads : 2 * all;
}
