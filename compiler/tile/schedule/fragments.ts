/**
 * How an accumulator lies over threads and registers: for scalars a grid of threads with a small square each, for
 * matrix instructions the fragment that the instruction prescribes (PTX ISA, "Matrix fragments for mma.m16n8k16").
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import * as t from "../build.ts";
import type { Axis, TileExpr } from "../ir.ts";

export interface Fragment {
  readonly threads: number;
  readonly axes: readonly Axis[];
  /** Row of the left factor, and the axes that it moves with. */
  readonly m: { readonly row: TileExpr; readonly axes: readonly Axis[] };
  readonly n: { readonly row: TileExpr; readonly axes: readonly Axis[] };
}

/** A fragment whose rows threads share: of each of `tiles` runs of columns, a thread at `across` has all `within`. */
export interface RowFragment extends Fragment {
  readonly columns: Readonly<Record<"tiles" | "across" | "within", Axis>>;
}

/** A fragment over warpgroups, each with rows of its own. */
export interface WarpgroupFragment extends RowFragment {
  readonly warpgroup: Axis;
  /** Rows of each. */
  readonly rows: number;
  /** Where columns are counted by pieces of so many, their axis. */
  readonly piece: { readonly axis: Axis; readonly columns: number } | undefined;
  readonly parts: WarpgroupAxes;
  /** Row within the warpgroup's own. */
  readonly local: TileExpr;
}

export interface FragmentShape {
  readonly m: number;
  readonly n: number;
  readonly instruction: object | undefined;
  readonly across: { readonly m: number; readonly n: number };
}

export function fragment(b: t.TileBuilder, shape: FragmentShape): Fragment {
  return shape.instruction === undefined ? scalarFragment(b, shape) : mmaFragment(b, shape);
}

/**
 * Fragments of several widths over the same rows. Scalars: as above. With an instruction each warp has rows of its own,
 * all columns of them.
 */
export function rowFragments(
  b: t.TileBuilder,
  { m, instruction, across }: Omit<FragmentShape, "n">,
  widths: readonly number[],
): readonly RowFragment[] {
  if (instruction !== undefined) {
    const parts = mmaAxes(b, across, m, undefined);
    return widths.map((n): RowFragment => {
      const tileN = b.registerAxis("tile_n", n / 8);
      const { quad, pair } = parts;
      return {
        ...mmaFragmentOver({ ...parts, tileN }, across, m, n),
        columns: { tiles: tileN, across: quad, within: pair },
      };
    });
  }
  const rows = scalarSide(b, "m", m, across.m, across.n);
  return widths.map((n): RowFragment => {
    const columns = scalarSide(b, "n", n, across.n, 1);
    const [tiles, thread, within] = columns.axes;
    return {
      ...scalarFragmentOver(rows, columns, across),
      columns: { tiles, across: thread, within },
    };
  });
}

interface ScalarSide {
  readonly row: TileExpr;
  readonly axes: readonly [repeat: Axis, thread: Axis, within: Axis];
}

/** Thread (tm, tn) owns rows 4 * tm .. + 3 of each repeat and columns likewise, so that rows of shared memory are read 16 bytes wide. */
function scalarFragment(b: t.TileBuilder, { m, n, across }: FragmentShape): Fragment {
  const rows = scalarSide(b, "m", m, across.m, across.n);
  return scalarFragmentOver(rows, scalarSide(b, "n", n, across.n, 1), across);
}

function scalarSide(
  b: t.TileBuilder,
  name: string,
  extent: number,
  count: number,
  stride: number,
): ScalarSide {
  const perThread = extent / count;
  const width = Math.min(4, perThread);
  const repeat = b.registerAxis(`${name}_r`, perThread / width);
  const thread = b.threadAxis(`${name}_t`, count, stride);
  const within = b.registerAxis(`${name}_i`, width);
  const row = t.plus(
    t.plus(t.times(t.along(repeat), t.int(count * width)), t.times(t.along(thread), t.int(width))),
    t.along(within),
  );
  return { row, axes: [repeat, thread, within] };
}

function scalarFragmentOver(m: ScalarSide, n: ScalarSide, across: FragmentShape["across"]): Fragment {
  return { threads: across.m * across.n, axes: [...m.axes, ...n.axes], m, n };
}

/** m16n8: row = 8 * half + lane / 4, column = 2 * (lane % 4) + pair; warps in an m x n grid, each with a run of tiles. */
function mmaFragment(b: t.TileBuilder, { m, n, across }: FragmentShape): Fragment {
  const { tileN, ...parts } = mmaAxes(b, across, m, n);
  invariant(tileN !== undefined, "columns are known");
  return mmaFragmentOver({ ...parts, tileN }, across, m, n);
}

type MmaAxes = Readonly<
  Record<"warpM" | "warpN" | "tileM" | "tileN" | "half" | "group" | "quad" | "pair", Axis>
>;

/** The axes in a fragment's order; without columns none for their tiles. */
function mmaAxes(
  b: t.TileBuilder,
  across: FragmentShape["across"],
  m: number,
  n: number | undefined,
): Omit<MmaAxes, "tileN"> & { readonly tileN: Axis | undefined } {
  return {
    warpM: b.threadAxis("warp_m", across.m, 32 * across.n),
    warpN: b.threadAxis("warp_n", across.n, 32),
    tileM: b.registerAxis("tile_m", m / across.m / 16),
    tileN: n === undefined ? undefined : b.registerAxis("tile_n", n / across.n / 8),
    half: b.registerAxis("half", 2),
    group: b.threadAxis("group", 8, 4),
    quad: b.threadAxis("quad", 4, 1),
    pair: b.registerAxis("pair", 2),
  };
}

function mmaFragmentOver(
  { warpM, warpN, tileM, tileN, half, group, quad, pair }: MmaAxes,
  across: FragmentShape["across"],
  rows: number,
  columns: number,
): Fragment {
  const m = t.plus(
    t.plus(t.times(t.along(warpM), t.int(rows / across.m)), t.times(t.along(tileM), t.int(16))),
    t.plus(t.times(t.along(half), t.int(8)), t.along(group)),
  );
  const n = t.plus(
    t.plus(t.times(t.along(warpN), t.int(columns / across.n)), t.times(t.along(tileN), t.int(8))),
    t.plus(t.times(t.along(quad), t.int(2)), t.along(pair)),
  );
  return {
    threads: 32 * across.m * across.n,
    axes: [warpM, warpN, tileM, tileN, half, group, quad, pair],
    m: { row: m, axes: [warpM, tileM, half, group] },
    n: { row: n, axes: [warpN, tileN, quad, pair] },
  };
}

/**
 * wgmma m64 (PTX ISA 9.7.15.5, "Register fragments"): a warpgroup's rows in waves of 64, a warp's 16 of them
 * as in m16n8. `piece`: columns that have an axis of their own between them, all by default.
 */
export function warpgroupFragment(
  b: t.TileBuilder,
  shape: { readonly m: number; readonly n: number; readonly warpgroups: number },
  piece: number = shape.n,
): WarpgroupFragment {
  const rows = shape.m / shape.warpgroups;
  return fragmentOver(
    b,
    rows,
    { n: shape.n, piece },
    {
      warpgroup: b.threadAxis("warpgroup", shape.warpgroups, 128),
      warp: b.threadAxis("warp", 4, 32),
      wave: b.registerAxis("wave", rows / 64),
      half: b.registerAxis("half", 2),
      group: b.threadAxis("group", 8, 4),
      quad: b.threadAxis("quad", 4, 1),
      pair: b.registerAxis("pair", 2),
    },
  );
}

/** A fragment of other columns over the same rows, which the two then share. */
export function besideFragment(
  b: t.TileBuilder,
  n: number,
  { parts, rows }: WarpgroupFragment,
): WarpgroupFragment {
  return fragmentOver(b, rows, { n, piece: n }, parts);
}

type WarpgroupAxes = Readonly<
  Record<"warpgroup" | "warp" | "wave" | "half" | "group" | "quad" | "pair", Axis>
>;

function fragmentOver(
  b: t.TileBuilder,
  rows: number,
  { n, piece: width }: { readonly n: number; readonly piece: number },
  parts: WarpgroupAxes,
): WarpgroupFragment {
  const { warpgroup, warp, wave, half, group, quad, pair } = parts;
  const piece = width === n ? undefined : { axis: b.registerAxis("piece", n / width), columns: width };
  const pieces: readonly Axis[] = piece === undefined ? [] : [piece.axis];
  const tileN = b.registerAxis("tile_n", width / 8);
  const sum = (...parts: readonly (readonly [Axis, number])[]): TileExpr =>
    parts.reduce<TileExpr>(
      (position, [axis, stride]) => t.plus(position, t.times(t.along(axis), t.int(stride))),
      t.int(0),
    );
  const local = sum([wave, 64], [warp, 16], [half, 8], [group, 1]);
  return {
    threads: 128 * warpgroup.size,
    axes: [warpgroup, warp, wave, ...pieces, tileN, half, group, quad, pair],
    m: {
      row: t.plus(t.times(t.along(warpgroup), t.int(rows)), local),
      axes: [warpgroup, warp, wave, half, group],
    },
    n: {
      row: sum(...pieces.map((axis) => [axis, width] as const), [tileN, 8], [quad, 2], [pair, 1]),
      axes: [...pieces, tileN, quad, pair],
    },
    columns: { tiles: tileN, across: quad, within: pair },
    warpgroup,
    local,
    rows,
    piece,
    parts,
  };
}
