/**
 * Deals the tiles of a product to the blocks, one block a multiprocessor.
 *
 * Whole tiles go round in turn. Where there are fewer tiles than blocks, the steps of the tiles' sums are dealt instead (Osama et al., "Stream-K", PPoPP 2023): all steps in a row, an equal run of them to each block, so
 * that a tile may begin in one block and end in others. Who has a tile's first step finishes it: it adds what the
 * others have of the sum, from scratch memory, in the order of the steps. The order is fixed, so every run of the
 * program gives the same bits.
 *
 * The first runs go to the blocks with the highest numbers, so that a block waits for lower ones alone.
 */
import { constant } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { Axis, Counter, GlobalBuffer, Tile, TileExpr, TileOp } from "../ir.ts";

/** Sizes of what is dealt. */
export interface Work {
  readonly tiles: number;
  /** Of a tile's sum. */
  readonly steps: number;
}

/** How: the steps of the first tiles in runs, then the others whole, all to so many blocks. */
export interface Deal extends Work {
  readonly blocks: number;
  readonly streamed: number;
}

/** Fewer steps are not worth a part. */
const fewestSteps = 2;

/** Undefined: whole tiles go round evenly, or there is too little to share. */
export function planDeal({ tiles, steps }: Work, units: number): Deal | undefined {
  // Blocks that are at different steps do not find each other's factors in the cache: of more tiles than blocks, runs
  // took longer than a last round with idle blocks (0.76 to 0.85 of the rate, H200).
  if (tiles === 0 || tiles >= units) return undefined;
  const blocks =
    tiles * 2 <= units ? tiles * Math.min(Math.floor(units / tiles), Math.floor(steps / fewestSteps)) : units;
  if (blocks <= tiles && tiles * 2 <= units) return undefined;
  const streamed = tiles;
  const deal = { tiles, steps, blocks, streamed };
  const fits = streamed * steps * (blocks + 1) < 2 ** 31;
  return fits && (streamed * steps) / blocks >= fewestSteps ? deal : undefined;
}

function runOf({ streamed, steps, blocks }: Deal, block: number): readonly [number, number] {
  const units = streamed * steps;
  return [Math.floor((block * units) / blocks), Math.floor(((block + 1) * units) / blocks)];
}

/** Rounds in which some block has a part of a run. */
function streamedRounds(deal: Deal): number {
  let most = 0;
  for (let block = 0; block < deal.blocks; block += 1) {
    const [first, end] = runOf(deal, block);
    if (end > first)
      most = Math.max(most, Math.floor((end - 1) / deal.steps) - Math.floor(first / deal.steps) + 1);
  }
  return most;
}

/** The most blocks that one adds the sums of. */
export function mostPartners(deal: Deal): number {
  let most = 0;
  for (let tile = 0; tile < deal.streamed; tile += 1)
    most = Math.max(most, lastBlock(deal, tile) - blockOf(deal, tile * deal.steps));
  return most;
}

function blockOf({ streamed, steps, blocks }: Deal, unit: number): number {
  return Math.floor(((unit + 1) * blocks - 1) / (streamed * steps));
}

function lastBlock(deal: Deal, tile: number): number {
  return blockOf(deal, (tile + 1) * deal.steps - 1);
}

/** What the slowest block has: rounds of whole tiles, parts, and other blocks' sums to write or to add. */
export function dealLoad(deal: Deal): {
  readonly rounds: number;
  readonly parts: number;
  readonly sums: number;
} {
  const whole = Math.ceil((deal.tiles - deal.streamed) / deal.blocks);
  const run = deal.streamed / deal.blocks;
  return { rounds: whole + run, parts: whole + Math.ceil(run), sums: 1 + mostPartners(deal) };
}

/** The part of a tile that a block has in a round, in terms of counters that `ops` make. */
export interface Part {
  readonly ops: readonly TileOp[];
  readonly tile: TileExpr;
  /** Its first step, and how many: none where the block has nothing left. */
  readonly first: TileExpr;
  readonly steps: TileExpr;
  /** Whether the block finishes the tile, or another one does. */
  readonly finishes: TileExpr;
  readonly contributes: TileExpr;
  /** The block's number, and how many below it have parts of the tile that it finishes. */
  readonly block: TileExpr;
  readonly partners: TileExpr;
}

/** `worker` is the block's number, `round` counts its rounds. */
export function dealRounds(
  b: t.TileBuilder,
  deal: Deal,
  worker: Counter,
): { readonly round: Counter; readonly part: Part } {
  const { tiles, steps, blocks, streamed } = deal;
  const rounds = streamedRounds(deal);
  const whole = Math.ceil((tiles - streamed) / blocks);
  const round = b.counter("round", constant(rounds + whole));
  const ops: TileOp[] = [];
  const index = (name: string, count: number, expr: TileExpr): TileExpr => {
    const counter = b.counter(name, constant(count));
    ops.push({ kind: "index", counter, expr });
    return t.at(counter);
  };
  const minus = (x: TileExpr, y: TileExpr): TileExpr => t.apply("sub", "i32", [x, y]);
  const least = (x: TileExpr, y: TileExpr): TileExpr => t.apply("min", "i32", [x, y]);
  const most = (x: TileExpr, y: TileExpr): TileExpr => t.apply("max", "i32", [x, y]);
  const units = streamed * steps;
  const bound = (name: string, block: TileExpr): TileExpr =>
    index(name, units + 1, t.over(t.times(block, t.int(units)), t.int(blocks)));
  const place = index("place", blocks, minus(t.int(blocks - 1), t.at(worker)));
  const [begin, end] = [bound("run_begin", place), bound("run_end", t.plus(place, t.int(1)))];

  const inRun = t.plus(t.over(begin, t.int(steps)), t.at(round));
  const inTurn = t.plus(
    t.plus(t.times(minus(t.at(round), t.int(rounds)), t.int(blocks)), place),
    t.int(streamed),
  );
  const isRun = whole === 0 ? undefined : t.less(t.at(round), t.int(rounds));
  const either = (run: TileExpr, turn: TileExpr): TileExpr =>
    isRun === undefined ? run : t.apply("select", "i32", [isRun, run, turn]);
  const number = index("place_of_tile", tiles + blocks + 1, either(inRun, inTurn));
  const tile = index("tile", tiles, least(number, t.int(tiles - 1)));
  const start = t.times(number, t.int(steps));
  const from = index(
    "first_step",
    steps,
    either(least(most(minus(begin, start), t.int(0)), t.int(steps - 1)), t.int(0)),
  );
  const toEnd = most(minus(least(minus(end, start), t.int(steps)), from), t.int(0));
  const isTile = t.apply("select", "i32", [t.less(number, t.int(tiles)), t.int(steps), t.int(0)]);
  const count = index("steps", steps + 1, either(toEnd, isTile));
  const has = t.less(t.int(0), count);
  const finishes = t.apply("and", "bool", [has, t.less(from, t.int(1))]);
  const contributes = t.apply("and", "bool", [has, t.less(t.int(0), from)]);
  // The last step of the tile, and whose it is.
  const last = t.over(minus(t.times(t.plus(start, t.int(steps)), t.int(blocks)), t.int(1)), t.int(units));
  const after = t.apply("select", "i32", [finishes, either(minus(last, place), t.int(0)), t.int(0)]);
  const partners = index("partners", mostPartners(deal) + 1, after);
  return {
    round,
    part: {
      ops,
      tile,
      first: from,
      steps: count,
      finishes,
      contributes,
      block: t.at(worker),
      partners,
    },
  };
}

/** Sums on their way from the block that has them to the one that finishes their tile. */
export interface Handover {
  readonly flags: GlobalBuffer;
  /** One for each accumulator. */
  readonly sums: readonly GlobalBuffer[];
  readonly accs: readonly Tile[];
}

export function declareHandover(b: t.TileBuilder, deal: Deal, accs: readonly Tile[]): Handover {
  const sums = accs.map((acc) => {
    const size = acc.axes.reduce((product, axis) => product * axis.size, 1);
    return b.buffer(
      `${acc.name}_parts`,
      "f32",
      [constant(deal.blocks), constant(size)],
      "read-write",
      "scratch",
    );
  });
  const flags = b.buffer("parts_done", "u32", [constant(deal.blocks)], "read-write", "flags");
  return { flags, sums, accs };
}

/**
 * Where an accumulator's element is among its block's: neighbouring threads write side by side, each the places of
 * the last register axis.
 */
function placeOf(acc: Tile): TileExpr {
  const isRegister = (axis: Axis): boolean => axis.place.kind === "register";
  const registers = acc.axes.filter(isRegister);
  const last = registers.at(-1);
  const threads = acc.axes
    .flatMap((axis) => (axis.place.kind === "thread" ? [{ axis, stride: axis.place.stride }] : []))
    .sort((x, y) => y.stride - x.stride)
    .map(({ axis }) => axis);
  const order = [...registers.slice(0, -1), ...threads, ...(last === undefined ? [] : [last])];
  return t.flatten(order.map((axis) => ({ index: t.along(axis), size: t.int(axis.size) })));
}

/** The block leaves its sums to the one that finishes the tile. */
export function contribute({ flags, sums, accs }: Handover, { contributes, block }: Part): TileOp {
  const stores = accs.flatMap((acc, k): TileOp[] => {
    const buffer = sums[k];
    if (buffer === undefined) return [];
    const index = [block, placeOf(acc)];
    return [
      {
        kind: "store",
        buffer,
        index,
        expr: t.valueOf(acc),
        axes: acc.axes,
        where: undefined,
        bounds: "proved",
      },
    ];
  });
  const body: TileOp[] = [...stores, { kind: "raise", flags, index: block }];
  return { kind: "if", condition: contributes, then: body, otherwise: [] };
}

/** The block adds the sums of those below it, which have the steps that follow its own. */
export function collect(
  b: t.TileBuilder,
  deal: Deal,
  { flags, sums, accs }: Handover,
  { block, partners }: Part,
): TileOp {
  const partner = b.counter("partner", constant(mostPartners(deal)));
  const other = t.apply("sub", "i32", [block, t.plus(t.at(partner), t.int(1))]);
  const adds = accs.flatMap((acc, k): TileOp[] => {
    const buffer = sums[k];
    if (buffer === undefined) return [];
    const index = [other, placeOf(acc)];
    const read: TileExpr = {
      kind: "read",
      type: "f32",
      buffer,
      index,
      bounds: "proved",
      otherwise: undefined,
    };
    return [{ kind: "update", tile: acc, expr: t.apply("add", "f32", [t.valueOf(acc), read]) }];
  });
  return {
    kind: "for",
    counter: partner,
    from: undefined,
    below: partners,
    unroll: false,
    body: [{ kind: "meet", flags, index: other }, ...adds],
  };
}
