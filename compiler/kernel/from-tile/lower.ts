/**
 * Lowers a tile program to a kernel: tiles become registers of a thread, coordinates become index arithmetic,
 * dependences through shared tiles become barriers. Register axes are unrolled; the last one makes wide accesses.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import type {
  Axis,
  Counter,
  GlobalBuffer,
  SharedTile,
  Tile,
  TileExpr,
  TileOp,
  TileProgram,
} from "../../tile/ir.ts";
import type { Caps } from "../../types/caps.ts";
import type { DType } from "../../types/dtype.ts";
import { ceildiv, constant, min, mul, one, type Dim } from "../../types/dim.ts";
import { KernelBuilder } from "../builder.ts";
import { instructionOf } from "../instructions.ts";
import type { Buffer, Kernel, Value } from "../ir.ts";
import { zero, type Poly } from "./algebra.ts";
import { Channels, sharers } from "./channels.ts";
import {
  assignmentKey,
  assignments,
  bindCounter,
  counterAtom,
  evaluatePoly,
  isRegister,
  perhaps,
  registerHint,
  sizeValue,
  type Assignment,
  type Context,
  type Held,
} from "./context.ts";
import {
  andGuards,
  flatten,
  flattenShared,
  forRuns,
  fourOf,
  Group,
  isPackedByFours,
  uncarry,
  valueAt,
} from "./evaluate.ts";
import {
  declareFragments,
  fragmentOf,
  isFragment,
  lowerFragmentMma,
  multipliesFragments,
  panelledTiles,
  panelLength,
  putFragments,
} from "./fragments.ts";
import { applyFunction } from "./functions.ts";
import { Hazards } from "./hazards.ts";
import { lowerMma } from "./matrix.ts";
import { reduceAcross } from "./reduce.ts";
import { lowerRoles } from "./roles.ts";
import { sharedIndex } from "./shared-index.ts";
import { BarrierNumbers, Team } from "./team.ts";
import { Turns } from "./turns.ts";
import { lowerWarpgroupMma } from "./warpgroup.ts";

export function lowerTileProgram(program: TileProgram, caps: Caps): Kernel {
  const b = new KernelBuilder(program.threads);
  const buffers = new Map<GlobalBuffer, Buffer>();
  for (const buffer of program.buffers) {
    const length = buffer.shape.reduce<Dim>((product, extent) => mul(product, extent), one);
    buffers.set(
      buffer,
      b.buffer({ name: buffer.name, dtype: buffer.dtype, length, access: buffer.access, align: 16 }),
    );
  }
  const shared = new Map<SharedTile, Buffer>();
  const panelled = panelledTiles(program.body);
  const declare = (tile: SharedTile, copies: number, least?: number): void => {
    const align = tile.swizzle !== 0 ? { align: swizzleAlign } : least === undefined ? {} : { align: least };
    const length = copies * sharedLength(tile);
    const panel = panelled.has(tile) ? { panel: panelLength(tile) } : {};
    shared.set(tile, b.shared({ name: tile.name, dtype: tile.dtype, length, ...align, ...panel }));
  };
  for (const channel of program.channels)
    for (const tile of channel.tiles) declare(tile, channel.depth, boxAlign);
  for (const tile of program.shared) declare(tile, tile.per?.size ?? 1);
  const numbers = new BarrierNumbers();
  const cx: Context = {
    b,
    caps,
    program,
    buffers,
    sharedOf: (tile) => {
      const buffer = shared.get(tile);
      invariant(buffer !== undefined, `shared tile ${tile.name} is not declared`);
      return buffer;
    },
    atoms: new Map(),
    bindings: 0,
    tiles: new Map(),
    loads: [new Map()],
    hazards: new Hazards(
      {
        barrier: (tile) => cx.team.barrier(sharers(cx, tile)),
        publish: () => b.instruction("fence.proxy.async", [], []),
        drained: (tile) =>
          b.if(cx.team.leads(sharers(cx, tile)), () => b.instruction("bulk.wait.read.0", [], [])),
      },
      new Set(program.channels.flatMap((channel) => channel.tiles)),
    ),
    channels: new Channels(b, program.channels),
    turns: new Turns(),
    team: new Team(b, program.threads, 0, numbers),
    common: new Map(),
    wide:
      caps.index32Limit < Infinity &&
      [...buffers.values()].some(
        (buffer) => buffer.length.kind !== "const" || buffer.length.value > caps.index32Limit,
      ),
  };
  const total = program.blocks.reduce<Dim>((product, counter) => mul(product, counter.count), one);
  const { grid, index, guard } = layGrid(cx, total);
  declareBlocks(cx, index, total);
  const files: string[] = [];
  const lower = (): void => lowerOps(cx, program.body, { files, numbers });
  if (guard === undefined) lower();
  else b.if(guard, lower);
  const { name, summary, cluster, resident } = program;
  return b.finish({
    name,
    grid,
    summary,
    files,
    ...(cluster === undefined ? {} : { cluster }),
    ...(resident === undefined ? {} : { resident }),
  });
}

/** A swizzle's pattern repeats every so many bytes, counted from the address zero. */
const swizzleAlign = 1024;
/** The engine copies to and from multiples of so many bytes. */
const boxAlign = 128;

function sharedLength(tile: SharedTile): number {
  const last = tile.shape.at(-1) ?? 1;
  return tile.shape.slice(0, -1).reduce((product, extent) => product * extent, 1) * (last + tile.pad);
}

/** Blocks lie along x; where that is too short for the target, rows of blocks along y, the last one not full. */
function layGrid(
  cx: Context,
  total: Dim,
): { readonly grid: Kernel["grid"]; readonly index: () => Value; readonly guard: Value | undefined } {
  const { b } = cx;
  const most = cx.caps.maxGrid[0];
  const fits = total.kind === "const" ? total.value <= most : most >= 2 ** 31 - 1;
  if (fits) return { grid: [total, one, one], index: () => b.block(0), guard: undefined };
  const wide = constant(most);
  const index = (): Value => b.add(b.mul(b.block(1), b.i32(most)), b.block(0), "block");
  return {
    grid: [min(total, wide), ceildiv(total, wide), one],
    index,
    guard: b.lt(index(), sizeValue(cx, total)),
  };
}

/** Each grid counter's value, taken from the block's number. */
function declareBlocks(cx: Context, index: () => Value, total: Dim): void {
  const { b } = cx;
  declareCounters(cx, cx.program.blocks, () =>
    total.kind === "const" ? b.bound(index(), 0, total.value - 1) : index(),
  );
}

/** Counters from the number of their combination, the last one fastest. */
function declareCounters(cx: Context, counters: readonly Counter[], number: () => Value): void {
  const { b } = cx;
  const several = counters.filter(
    (counter) => !(counter.count.kind === "const" && counter.count.value === 1),
  );
  several.forEach((counter, k) => {
    const faster = several.slice(k + 1).reduce<Dim>((product, other) => mul(product, other.count), one);
    bindCounter(cx, counter, () => {
      const quotient = b.div(number(), sizeValue(cx, faster));
      const value = k === 0 ? quotient : b.rem(quotient, sizeValue(cx, counter.count), counter.name);
      return counter.count.kind === "const" ? b.bound(value, 0, counter.count.value - 1) : value;
    });
  });
}

/** What all of a program's ops are lowered with. */
interface Program {
  /** In order of first mention. */
  readonly files: string[];
  readonly numbers: BarrierNumbers;
}

function lowerOps(cx: Context, ops: readonly TileOp[], own: Program): void {
  for (const op of ops) {
    switch (op.kind) {
      case "let":
        define(cx, op.tile, op.expr, op.where, op.otherwise);
        break;
      case "index":
        setCounter(cx, op);
        break;
      case "var":
        if (isFragment(op.tile)) declareFragments(cx, op);
        else declare(cx, op);
        break;
      case "update":
        update(cx, op);
        break;
      case "fold":
        fold(cx, op);
        break;
      case "reduce":
        reduce(cx, op);
        break;
      case "store":
        store(cx, op);
        break;
      case "put":
        putTile(cx, op);
        break;
      case "mma":
        if (multipliesFragments(op)) lowerFragmentMma(cx, op);
        else if (instructionOf(op.instruction).scope === "warpgroup") lowerWarpgroupMma(cx, op);
        else lowerMma(cx, op);
        break;
      case "await":
        cx.b.instruction(`wgmma.wait.${op.pending}`, [], []);
        break;
      case "fill":
        cx.channels.fill(cx, op, () => lowerOps(cx, op.body, own));
        break;
      case "commit":
        cx.channels.commit(cx, op.channel);
        break;
      case "take":
        cx.channels.take(cx, op);
        break;
      case "prefetch":
        cx.channels.prefetch(cx, op);
        break;
      case "release":
        cx.channels.release(cx, op);
        break;
      case "drain":
        cx.channels.drain(cx, op);
        break;
      case "raise":
      case "meet":
        flag(cx, op);
        break;
      case "roles":
        lowerRoles(cx, op.roles, (body) => lowerOps(cx, body, own), own.numbers);
        break;
      case "persistent":
        persistent(cx, op, own);
        break;
      case "for":
        loop(cx, op, own);
        break;
      case "if":
        branch(cx, op, own);
        break;
      case "turn":
        cx.turns.take(cx, op.axis, () => lowerOps(cx, op.body, own));
        break;
      case "line": {
        const { files } = own;
        if (!files.includes(op.file)) files.push(op.file);
        cx.b.line(files.indexOf(op.file), op.line, op.column);
        break;
      }
    }
  }
}

/** Runs `visit` for each group of registers of some axes: those that differ only in the last register axis. */
function forGroups(
  cx: Context,
  axes: readonly Axis[],
  where: TileExpr | undefined,
  visit: (group: Group, guards: readonly (Value | undefined)[]) => void,
): void {
  const inner = axes.findLast((axis) => axis.place.kind === "register" && axis.size > 1);
  const outer = axes.filter((axis) => axis !== inner);
  for (const base of assignments(outer)) {
    const at: Assignment[] =
      inner === undefined
        ? [base]
        : Array.from({ length: inner.size }, (_, k) => new Map(base).set(inner.id, k));
    const open = at.map(() => undefined);
    const guards = where === undefined ? open : guardsOf(cx, at, where, open);
    visit(new Group(cx, at, guards), guards);
  }
}

/** Of `a and b`, b is evaluated where a holds: what it reads may lie in range only there. */
function guardsOf(
  cx: Context,
  at: readonly Assignment[],
  where: TileExpr,
  outer: readonly (Value | undefined)[],
): readonly (Value | undefined)[] {
  if (where.kind === "apply" && where.fn === "and")
    return where.args.reduce((guards, part) => guardsOf(cx, at, part, guards), outer);
  return new Group(cx, at, outer).values(where).map((value, k) => {
    const [own, before] = [known(cx, value), outer[k]];
    return own === undefined || before === undefined ? (own ?? before) : cx.b.and(before, own);
  });
}

/** A guard that is always true is none. */
function known(cx: Context, guard: Value): Value | undefined {
  return cx.b.constantOf(guard) === true ? undefined : guard;
}

function define(
  cx: Context,
  tile: Tile,
  expr: TileExpr,
  where: TileExpr | undefined,
  otherwise: TileExpr | undefined,
): void {
  const held = new Map<string, Value | Held>();
  forGroups(cx, tile.axes, where, (group, guards) => {
    const values = guarded(cx, group, guards, expr, otherwise);
    group.at.forEach((assignment, k) => held.set(assignmentKey(tile.axes, assignment), valueAt(values, k)));
  });
  cx.tiles.set(tile, held);
}

/** The expression where the guard holds, else `otherwise`; a guarded read that gives 0 needs no selection. */
function guarded(
  cx: Context,
  group: Group,
  guards: readonly (Value | undefined)[],
  expr: TileExpr,
  otherwise: TileExpr | undefined,
): Value[] {
  const values = group.values(expr);
  if (otherwise === undefined || guards.every((guard) => guard === undefined)) return values;
  const zeroOutside = otherwise.kind === "const" && Number(otherwise.value) === 0 && readsZero(expr);
  if (zeroOutside) return values;
  const others = group.values(otherwise);
  return values.map((value, k) => {
    const guard = guards[k];
    return guard === undefined ? value : cx.b.select(guard, value, valueAt(others, k));
  });
}

/** True for an expression that is 0 when its reads give 0. */
function readsZero(expr: TileExpr): boolean {
  switch (expr.kind) {
    case "read":
      return expr.bounds !== "else";
    case "round":
    case "cast":
      return readsZero(expr.arg);
    case "apply":
      return keepsZero.has(expr.fn) && expr.args.every(readsZero);
    case "const":
    case "size":
    case "counter":
    case "coordinate":
    case "tile":
    case "shared":
      return false;
  }
}

/** Functions that are 0, without a sign, of zeros. */
const keepsZero = new Set(["add", "mul", "sub"]);

function declare(cx: Context, op: Extract<TileOp, { kind: "var" }>): void {
  if (isPackedByFours(op.tile)) {
    declareFours(cx, op);
    return;
  }
  if (op.tile.packed !== undefined) {
    declarePacked(cx, op.tile);
    return;
  }
  const held = new Map<string, Value | Held>();
  const { init } = op;
  forGroups(cx, op.tile.axes, undefined, (group) => {
    if (init === undefined) {
      for (const assignment of group.at) {
        const register = cx.b.open(op.tile.type, registerHint(op.tile, assignment));
        held.set(assignmentKey(op.tile.axes, assignment), { register });
      }
      return;
    }
    const values = group.values(init);
    group.at.forEach((assignment, k) => {
      const register = cx.b.var(valueAt(values, k), registerHint(op.tile, assignment));
      held.set(assignmentKey(op.tile.axes, assignment), { register });
    });
  });
  cx.tiles.set(op.tile, held);
}

/** The pairs of a packed tile, each in one register. */
function declarePacked(cx: Context, tile: Tile): void {
  const held = new Map<string, Value | Held>();
  for (const assignment of assignments(tile.axes)) {
    if (isSecond(tile, assignment)) continue;
    const register = cx.b.open("h2", registerHint(tile, assignment));
    held.set(assignmentKey(tile.axes, assignment), { register });
  }
  cx.tiles.set(tile, held);
}

/** The fours of a tile of 8 bits, each in one register. */
function declareFours(cx: Context, { tile, init }: Extract<TileOp, { kind: "var" }>): void {
  const held = new Map<string, Value | Held>();
  if (init === undefined)
    for (const assignment of assignments(tile.axes)) {
      const { word, place } = fourOf(tile, assignment);
      if (place === 0)
        held.set(assignmentKey(tile.axes, word), {
          register: cx.b.open("b8x4", registerHint(tile, assignment)),
        });
    }
  else
    forFours(cx, tile, init, (word, value) =>
      held.set(assignmentKey(tile.axes, word), { register: cx.b.var(value, registerHint(tile, word)) }),
    );
  cx.tiles.set(tile, held);
}

/** The expression at each four of a tile of 8 bits, as memory has it. */
function forFours(
  cx: Context,
  tile: Tile,
  expr: TileExpr,
  visit: (word: Assignment, value: Value) => void,
): void {
  forGroups(cx, tile.axes, undefined, (group) => {
    const bytes = group.values(expr).map((value) => uncarry(cx, value, tile.packed ?? tile.type));
    for (let k = 0; k < bytes.length; k += 4) {
      const assignment = group.at[k];
      invariant(assignment !== undefined, "fours are the last axis");
      visit(assignment, cx.b.pack(bytes.slice(k, k + 4), tile.name));
    }
  });
}

function isSecond(tile: Tile, assignment: Assignment): boolean {
  const pair = tile.axes.at(-1);
  return pair !== undefined && assignment.get(pair.id) === 1;
}

function registerOf(cx: Context, tile: Tile, assignment: Assignment): Held {
  const held = cx.tiles.get(tile)?.get(assignmentKey(tile.axes, assignment));
  invariant(held !== undefined && isRegister(held), `tile ${tile.name} does not change`);
  return held;
}

function update(cx: Context, op: Extract<TileOp, { kind: "update" }>): void {
  if (isPackedByFours(op.tile)) {
    forFours(cx, op.tile, op.expr, (word, value) => cx.b.set(registerOf(cx, op.tile, word).register, value));
    return;
  }
  forGroups(cx, op.tile.axes, undefined, (group) => {
    const { packed } = op.tile;
    if (packed !== undefined) {
      setPacked(cx, op, packed, group);
      return;
    }
    const values = group.values(op.expr);
    group.at.forEach((assignment, k) =>
      cx.b.set(registerOf(cx, op.tile, assignment).register, valueAt(values, k)),
    );
  });
}

/** A pair of a packed tile; what is rounded anyway is rounded as it is packed. */
function setPacked(cx: Context, op: Extract<TileOp, { kind: "update" }>, packed: DType, group: Group): void {
  const [first] = group.at;
  const { expr } = op;
  const rounded = expr.kind === "round" && expr.to === packed ? expr.arg : expr;
  const [low, high, ...rest] = group.values(rounded);
  invariant(
    first !== undefined && low !== undefined && high !== undefined && rest.length === 0,
    "pairs are the last axis",
  );
  const pair = cx.b.result("h2", op.tile.name);
  cx.b.instruction(`cvt.rn.${packed}x2`, [pair], [high, low]);
  cx.b.set(registerOf(cx, op.tile, first).register, pair);
}

function fold(cx: Context, op: Extract<TileOp, { kind: "fold" }>): void {
  const monoid = monoidOf(op.monoid);
  const wideTile = op.tile.axes.some((axis) => axis.place.kind === "register" && axis.size > 1);
  const axes = wideTile ? [...op.over, ...op.tile.axes] : [...op.tile.axes, ...op.over];
  const identity = cx.b.constant(op.tile.type, monoid.identity(op.tile.type));
  forGroups(cx, axes, op.where, (group, guards) => {
    // What is known to be left out is not even computed.
    if (guards.every((guard) => guard !== undefined && cx.b.constantOf(guard) === false)) return;
    const values = group.values(op.expr);
    group.at.forEach((assignment, k) => {
      const { register } = registerOf(cx, op.tile, assignment);
      const guard = guards[k];
      const value =
        guard === undefined ? valueAt(values, k) : cx.b.select(guard, valueAt(values, k), identity);
      cx.b.set(register, applyFunction(cx, monoid.combine, [cx.b.get(register), value]));
    });
  });
}

function reduce(cx: Context, op: Extract<TileOp, { kind: "reduce" }>): void {
  const combine = monoidOf(op.monoid).combine;
  const sources = assignments(op.tile.axes);
  const partial = sources.map(
    (assignment) =>
      new Group(cx, [assignment], [undefined]).values({ kind: "tile", type: op.src.type, tile: op.src })[0],
  );
  let values = sources.map((_, k) => valueAt(partial, k));
  for (const axis of joined(op.over))
    values = reduceAcross(cx, values, axis, (a, c) => applyFunction(cx, combine, [a, c]));
  const held = new Map<string, Value | Held>();
  sources.forEach((assignment, k) => held.set(assignmentKey(op.tile.axes, assignment), valueAt(values, k)));
  cx.tiles.set(op.tile, held);
}

/** Axes of which one goes on where the other ends are one. */
function joined(axes: readonly Axis[]): readonly Axis[] {
  const strideOf = ({ place }: Axis): number => (place.kind === "thread" ? place.stride : 0);
  const found: Axis[] = [];
  for (const axis of axes.toSorted((a, b) => strideOf(a) - strideOf(b))) {
    const last = found.at(-1);
    if (last !== undefined && strideOf(last) > 0 && strideOf(axis) === strideOf(last) * last.size)
      found.splice(-1, 1, { ...last, size: last.size * axis.size });
    else found.push(axis);
  }
  return found;
}

/** Of threads that hold the same element, the first. */
function firstOfEqual(cx: Context, axes: readonly Axis[]): Value | undefined {
  const { b } = cx;
  const threads = axes
    .flatMap((axis) => (axis.place.kind === "thread" ? [{ size: axis.size, stride: axis.place.stride }] : []))
    .filter((axis) => axis.size > 1)
    .sort((x, y) => x.stride - y.stride);
  let covered = 1;
  let guard: Value | undefined;
  for (const { size, stride } of threads) {
    if (stride > covered) {
      const digit = b.rem(b.div(cx.team.thread(), b.i32(covered)), b.i32(stride / covered));
      guard = andGuards(cx, guard, b.binary("eq", digit, b.i32(0)));
    }
    covered = stride * size;
  }
  if (covered < cx.team.threads) guard = andGuards(cx, guard, b.lt(cx.team.thread(), b.i32(covered)));
  return guard;
}

function store(cx: Context, op: Extract<TileOp, { kind: "store" }>): void {
  const buffer = cx.buffers.get(op.buffer);
  invariant(buffer !== undefined, `buffer ${op.buffer.name} is not declared`);
  const first = firstOfEqual(cx, op.axes);
  forGroups(cx, op.axes, op.where, (group, own) => {
    const inside = op.bounds === "drop" ? group.inside(op.index, op.buffer) : [];
    const guards = own.map((guard, k) => andGuards(cx, andGuards(cx, guard, first), inside[k]));
    const values = group.values(op.expr).map((value) => uncarry(cx, value, op.buffer.dtype));
    const flat = flatten(
      op.buffer.shape,
      op.index.map((index) => group.polys(index)),
      group.at.length,
    );
    forRuns(cx, op.buffer.dtype, flat, guards, (start, width) => {
      cx.b.store(
        buffer,
        evaluatePoly(cx, flat[start] ?? zero, cx.wide ? "i64" : "i32"),
        values.slice(start, start + width),
        guards[start],
      );
    });
  });
}

function putTile(cx: Context, op: Extract<TileOp, { kind: "put" }>): void {
  const fragment = fragmentOf(op.expr);
  if (fragment === undefined) put(cx, op);
  else putFragments(cx, op, fragment);
}

function put(cx: Context, op: Extract<TileOp, { kind: "put" }>): void {
  const buffer = cx.sharedOf(op.shared);
  const first = firstOfEqual(cx, op.axes);
  const stores: {
    readonly flat: Poly;
    readonly values: readonly Value[];
    readonly guard: Value | undefined;
  }[] = [];
  forGroups(cx, op.axes, op.where, (group, guards) => {
    const values = guarded(cx, group, guards, op.expr, op.otherwise).map((value) =>
      uncarry(cx, value, op.shared.dtype),
    );
    const flat = flattenShared(
      op.shared,
      op.index.map((index) => group.polys(index)),
      group.at.length,
    );
    // Without `otherwise` only guarded places are written; with it, all of the tile is.
    const writes = group.at.map((_, k) =>
      andGuards(cx, first, op.otherwise === undefined ? guards[k] : undefined),
    );
    forRuns(cx, op.shared.dtype, flat, writes, (start, width) => {
      stores.push({
        flat: flat[start] ?? zero,
        values: values.slice(start, start + width),
        guard: writes[start],
      });
    });
  });
  // All loads are under way before the first store waits for one.
  cx.hazards.write(op.shared);
  for (const { flat, values, guard } of stores)
    cx.b.store(buffer, sharedIndex(cx, op.shared, flat), values, guard);
}

function loop(cx: Context, op: Extract<TileOp, { kind: "for" }>, own: Program): void {
  const range = {
    from: op.from === undefined ? cx.b.i32(0) : uniform(cx, op.from),
    below: op.below === undefined ? sizeValue(cx, op.counter.count) : uniform(cx, op.below),
  };
  const run = (): void =>
    repeat(cx, op.body, range, op.unroll ? "unroll" : "roll", op.counter.name, (index) => {
      bindCounter(cx, op.counter, () => index);
      lowerOps(cx, op.body, own);
    });
  if (op.from === undefined && op.below === undefined) run();
  else cx.hazards.perhaps(run);
}

/** Of all that the team's threads have done; one of them speaks for it. */
function flag(cx: Context, op: Extract<TileOp, { kind: "raise" | "meet" }>): void {
  const { b, team } = cx;
  const buffer = cx.buffers.get(op.flags);
  invariant(buffer !== undefined, `${op.flags.name} is a buffer`);
  const place = { buffer, index: uniform(cx, op.index) };
  if (op.kind === "raise") team.barrier();
  b.if(team.leads(), () => b.instruction(`flag.${op.kind}`, [], [place]));
  if (op.kind === "meet") team.barrier();
}

/** What all threads find alike. */
function uniform(cx: Context, expr: TileExpr): Value {
  const [value] = new Group(cx, [new Map()], [undefined]).values(expr);
  invariant(value !== undefined, "one value");
  return value;
}

/** Tiles that one of the bodies defines are its own. */
function branch(cx: Context, op: Extract<TileOp, { kind: "if" }>, own: Program): void {
  const body =
    (ops: readonly TileOp[]): (() => void) =>
    () =>
      perhaps(cx, () => lowerOps(cx, ops, own));
  cx.b.if(uniform(cx, op.condition), body(op.then), body(op.otherwise));
}

function setCounter(cx: Context, op: Extract<TileOp, { kind: "index" }>): void {
  const value = uniform(cx, op.expr);
  const { count } = op.counter;
  if (count.kind === "const") cx.b.bound(value, 0, count.value - 1);
  bindCounter(cx, op.counter, () => value);
}

function repeat(
  cx: Context,
  ops: readonly TileOp[],
  range: { readonly from: Value; readonly below: Value },
  unroll: "unroll" | "roll",
  name: string,
  body: (index: Value) => void,
): void {
  cx.hazards.enterLoop(ops);
  const each = (index: Value): void => {
    cx.loads.push(new Map());
    body(index);
    cx.loads.pop();
  };
  cx.b.for(range.from, range.below, 1, name, each, unroll);
}

/** Places worker, worker + workers, ..: as many as are below the total. */
function persistent(cx: Context, op: Extract<TileOp, { kind: "persistent" }>, own: Program): void {
  const { b } = cx;
  const total = op.counters.reduce<Dim>((product, counter) => mul(product, counter.count), one);
  const worker = cx.atoms.get(counterAtom(cx, op.worker).key)?.value ?? (() => b.i32(0));
  const workers = sizeValue(cx, op.worker.count);
  const left = b.sub(sizeValue(cx, total), worker());
  const count = b.div(b.add(left, b.sub(workers, b.i32(1))), workers);
  repeat(cx, op.body, { from: b.i32(0), below: count }, "roll", "round", (round) => {
    const place = b.add(worker(), b.mul(round, workers));
    if (total.kind === "const") b.bound(place, 0, total.value - 1);
    declareCounters(cx, op.counters, () => place);
    lowerOps(cx, op.body, own);
  });
}
