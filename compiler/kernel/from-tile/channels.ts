/**
 * Channels on the machine: slots in shared memory, and for each slot two barriers that count phases (PTX ISA
 * 9.7.13.15, "mbarrier"). `full` completes when the slot's bytes have arrived, `empty` when all who read it have let
 * it go. This file alone keeps slots and phases; every wait, arrival and fence between roles is generated here.
 *
 * Whoever fills, takes or releases goes round the slots in order with a cursor of its own. A cursor's phase is 0 on
 * the first round and flips at each wrap. To take a slot is to wait for `full` of the cursor's phase; to fill one is
 * to wait for `empty` of the round before, which counts as complete on the first.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { apply } from "../../tile/build.ts";
import type { Box, Channel, PanelCopy, Role, SharedTile, TileExpr, TileOp } from "../../tile/ir.ts";
import { expressionsOf, isInRegisters, readsData, visitExpressions, visitOps } from "../../tile/walk.ts";
import { dtypes } from "../../types/dtype.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Buffer, Register, TensorMap, Value } from "../ir.ts";
import { evaluatePoly, perhaps, type Context } from "./context.ts";
import { Group } from "./evaluate.ts";
import { leadersOf, type Use } from "./lockstep.ts";

interface Cursor {
  readonly slot: Register;
  readonly phase: Register;
}

/** The cursor of a channel that is always used before in the same ops; where that one was last. */
interface Followed {
  readonly leader: Channel;
}

interface Place {
  readonly slot: Value;
  readonly phase: Value;
}

/** A channel's memory; its cursors belong to one team. */
interface Lowered {
  readonly channel: Channel;
  /** `full` of each slot, then `empty` of each. */
  readonly barriers: Buffer;
  readonly cursors: Map<Use, Cursor | Followed>;
  /** The slot whose tiles are read, or filled, now. */
  current: Value | undefined;
  /** The slot that is filled and not yet handed over. */
  deferred: Value | undefined;
}

/** Bytes at which the tiles of a swizzled slot begin: its pattern repeats so often (PTX ISA 5.5.6). */
export const slotAlign = 1024;

export class Channels {
  readonly #channels = new Map<Channel, Lowered>();
  readonly #owners = new Map<SharedTile, Channel>();
  /** Where leaders' cursors were when they were moved last. */
  readonly #last = new Map<Cursor, Place>();
  /** Channels that the team's threads read themselves. */
  readonly #byThreads = new Set<Channel>();

  constructor(b: KernelBuilder, channels: readonly Channel[]) {
    for (const channel of channels) {
      const barriers = b.shared({
        name: `${channel.name}_barriers`,
        dtype: "i64",
        length: 2 * channel.depth,
      });
      this.#channels.set(channel, {
        channel,
        barriers,
        cursors: new Map(),
        current: undefined,
        deferred: undefined,
      });
      for (const tile of channel.tiles) this.#owners.set(tile, channel);
    }
  }

  /** By one thread of the block, before any role begins. */
  initialise(cx: Context, roles: readonly Role[]): void {
    if (this.#channels.size === 0) return;
    const { b } = cx;
    b.if(b.binary("eq", b.thread(), b.i32(0)), () => {
      for (const { channel, barriers } of this.#channels.values()) {
        const { filling, reading } = arrivals(roles, channel, cx.caps.subgroup);
        for (let slot = 0; slot < channel.depth; slot += 1) {
          b.instruction("mbarrier.init", [], [{ buffer: barriers, index: b.i32(slot) }, b.i32(filling)]);
          const empty = { buffer: barriers, index: b.i32(channel.depth + slot) };
          const blocks = isReadByAnyThreads(roles, channel) ? 1 : (cx.program.cluster ?? 1);
          b.instruction("mbarrier.init", [], [empty, b.i32(reading * blocks)]);
        }
      }
      cx.turns.initialise(cx);
      b.instruction("fence.mbarrier_init", [], []);
    });
    if (cx.program.cluster === undefined) b.barrier();
    else this.meetCluster(cx);
  }

  /** All threads of the cluster's blocks; nothing where there is none. */
  meetCluster({ b, program }: Context): void {
    if (program.cluster === undefined) return;
    b.instruction("cluster.arrive", [], []);
    b.instruction("cluster.wait", [], []);
  }

  /** Cursors of what a team's ops do with channels. */
  enter(cx: Context, ops: readonly TileOp[]): void {
    const { b } = cx;
    for (const lowered of this.#channels.values()) {
      lowered.cursors.clear();
      lowered.current = undefined;
      lowered.deferred = undefined;
    }
    this.#last.clear();
    this.#byThreads.clear();
    const leaders = {
      fill: leadersOf(ops, "fill"),
      take: leadersOf(ops, "take"),
      release: leadersOf(ops, "release"),
    };
    visitOps(ops, (op) => {
      if (op.kind !== "fill" && op.kind !== "take" && op.kind !== "release") return;
      const { cursors, channel } = this.#of(op.channel);
      if (isReadByThreads(ops, channel)) this.#byThreads.add(channel);
      if (cursors.has(op.kind)) return;
      const leader = leaders[op.kind].get(channel);
      if (leader !== undefined) {
        cursors.set(op.kind, { leader });
        return;
      }
      const slot = b.var(b.i32(0), `${channel.name}_${op.kind}_slot`);
      cursors.set(op.kind, { slot, phase: b.var(b.i32(0), `${channel.name}_${op.kind}_phase`) });
    });
  }

  /**
   * Copies by one thread, what is put by all that compute it. Of those who take slots too, the one that copies waits
   * alone for the slot: the others go on.
   */
  fill(cx: Context, op: Extract<TileOp, { kind: "fill" }>, body: () => void): void {
    const { b } = cx;
    const lowered = this.#of(op.channel);
    const { channel, barriers } = lowered;
    const { slot, phase } = this.#advance(cx, channel, "fill");
    const ahead = this.#readPlaces(cx, op);
    const wait = (): void => {
      const empty = { buffer: barriers, index: b.add(slot, b.i32(channel.depth)) };
      b.instruction("mbarrier.wait", [], [empty, b.binary("xor", phase, b.i32(1))]);
    };
    const isAlone = op.body.length === 0 && lowered.cursors.has("take");
    if (!isAlone) wait();
    const full = { buffer: barriers, index: slot };
    const copy = (): void => {
      if (isAlone) wait();
      const tiles = new Set(op.copies.map(({ tile }) => tile));
      const bytes = [...tiles].reduce((sum, tile) => sum + elementsOf(tile) * dtypes[tile.dtype].bytes, 0);
      b.instruction("mbarrier.expect", [], [full, b.i32(bytes)]);
      for (const one of op.copies) {
        if (one.common === true) {
          this.#loadPart(cx, one, slot, full);
          continue;
        }
        const { map, at } = this.#box(cx, boxIn(one), ahead);
        const to = { buffer: cx.sharedOf(one.tile), index: this.#panel(cx, one, slot) };
        b.instruction(`tensor.load.${at.length}d`, [], [to, { map }, ...at, full]);
      }
    };
    const arrive = (): void => b.instruction("mbarrier.arrive", [], [full]);
    const copyByOne = (): void => {
      if (cx.team.active === "one") copy();
      else b.if(cx.team.leads(), () => perhaps(cx, copy));
    };
    if (op.body.length === 0) {
      copyByOne();
      return;
    }
    const compute = (): void => {
      const taken = lowered.current;
      lowered.current = slot;
      body();
      lowered.current = taken;
      // Whoever takes the slot may read it by the matrix unit, which sees what threads wrote before their fence.
      b.instruction("fence.proxy.async", [], []);
    };
    if (op.where === undefined) {
      if (op.copies.length > 0) copyByOne();
      compute();
    } else
      b.if(this.#condition(cx, op.where), copyByOne, () => {
        // A phase has the copies' arrival too.
        b.if(cx.team.leads(), arrive);
        perhaps(cx, compute);
      });
    if (op.deferred === true) lowered.deferred = slot;
    else arrive();
  }

  /** What threads have put into the slot is handed over. */
  commit({ b }: Context, channel: Channel): void {
    const lowered = this.#of(channel);
    const { barriers, deferred } = lowered;
    invariant(deferred !== undefined, `${channel.name} is filled before it is handed over`);
    b.instruction("mbarrier.arrive", [], [{ buffer: barriers, index: deferred }]);
    lowered.deferred = undefined;
  }

  /** Places of boxes that are read from memory, before the slot is waited for: the reads take as long as a wait. */
  #readPlaces(cx: Context, { copies, where }: Extract<TileOp, { kind: "fill" }>): Map<TileExpr, Value> {
    const places = new Map<TileExpr, Value>();
    for (const { box } of copies)
      for (const place of box.at) {
        if (!readsData(place)) continue;
        const none: TileExpr = { kind: "const", type: "i32", value: 0 };
        const asked = where === undefined ? place : apply("select", "i32", [where, place, none]);
        const [value] = new Group(cx, [new Map()], [undefined]).values(asked);
        if (value !== undefined) places.set(place, value);
      }
    return places;
  }

  take(cx: Context, op: Extract<TileOp, { kind: "take" }>): void {
    const { b } = cx;
    const lowered = this.#of(op.channel);
    const { slot, phase } = this.#advance(cx, lowered.channel, "take");
    b.instruction("mbarrier.wait", [], [{ buffer: lowered.barriers, index: slot }, phase]);
    lowered.current = slot;
  }

  /** The block's part of a copy that all of its cluster have: of the box's slowest axis, which lies in order in memory. */
  #loadPart(
    cx: Context,
    copy: PanelCopy,
    slot: Value,
    full: { readonly buffer: Buffer; readonly index: Value },
  ): void {
    const { b, program } = cx;
    const { cluster = 1 } = program;
    const { extent } = copy.box;
    const axis = extent.findIndex((n) => n > 1);
    const rows = (extent[axis] ?? 0) / cluster;
    invariant(axis < extent.length - 1 && Number.isInteger(rows), "a common box is cut along its rows");
    const rank = b.bound(b.rem(b.block(0), b.i32(cluster)), 0, cluster - 1);
    const part = extent.map((n, k) => (k === axis ? rows : n));
    const { map, at } = this.#box(cx, boxIn({ ...copy, box: { ...copy.box, extent: part } }));
    const moved = at.map((place, k) => (k === axis ? b.add(place, b.mul(rank, b.i32(rows))) : place));
    const elements = part.reduce((product, n) => product * n, 1);
    const index = b.add(this.#panel(cx, copy, slot), b.mul(rank, b.i32(elements)));
    const to = { buffer: cx.sharedOf(copy.tile), index };
    b.instruction(`tensor.load.${at.length}d.cluster.${cluster}`, [], [to, { map }, ...moved, full]);
  }

  /**
   * One arrival a warp, which has waited for its products together; one of each thread where threads themselves have read
   * the slot, since one lane's arrival says nothing of what the others have read. Such a slot the block's own copies fill.
   */
  release(cx: Context, op: Extract<TileOp, { kind: "release" }>): void {
    const { b } = cx;
    const { channel, barriers } = this.#of(op.channel);
    const { cluster } = cx.program;
    const give = (): void => {
      const { slot } = this.#advance(cx, channel, "release");
      const empty = { buffer: barriers, index: b.add(slot, b.i32(channel.depth)) };
      if (this.#byThreads.has(channel)) {
        b.instruction("mbarrier.arrive", [], [empty]);
        return;
      }
      // All blocks of a cluster write to the slot: one lane for each tells it.
      if (cluster === undefined)
        b.if(b.binary("eq", b.lane(), b.i32(0)), () => b.instruction("mbarrier.arrive", [], [empty]));
      else
        b.if(b.lt(b.lane(), b.i32(cluster)), () =>
          b.instruction("mbarrier.arrive.cluster", [], [empty, b.lane()]),
        );
    };
    if (op.where === undefined) {
      give();
      return;
    }
    b.if(this.#condition(cx, op.where), give);
  }

  #condition(cx: Context, where: TileExpr): Value {
    const [value] = new Group(cx, [new Map()], [undefined]).values(where);
    invariant(value !== undefined, "one condition");
    return value;
  }

  /** One thread asks for all boxes. */
  prefetch(cx: Context, { boxes, where }: Extract<TileOp, { kind: "prefetch" }>): void {
    const { b } = cx;
    const ask = (): void => {
      for (const box of boxes) {
        const { map, at } = this.#box(cx, { box, swizzle: 0 });
        b.instruction(`tensor.prefetch.${at.length}d`, [], [{ map }, ...at]);
      }
    };
    const askWhere = (): void => {
      if (where === undefined) ask();
      else b.if(this.#condition(cx, where), () => perhaps(cx, ask));
    };
    if (cx.team.active === "one") askWhere();
    else b.if(cx.team.leads(), () => perhaps(cx, askWhere));
  }

  /** Copies shared tiles out, by the thread that leads those who wrote them. */
  drain(cx: Context, op: Extract<TileOp, { kind: "drain" }>): void {
    const { b } = cx;
    for (const { tile } of op.copies) cx.hazards.drain(tile);
    for (const [tile, copies] of groupByTile(op.copies)) {
      b.if(cx.team.leads(sharers(cx, tile)), () => {
        for (const copy of copies) {
          const { map, at } = this.#box(cx, boxIn(copy));
          const from = { buffer: cx.sharedOf(tile), index: this.#panel(cx, copy, b.i32(0)) };
          b.instruction(`tensor.store.${at.length}d`, [], [{ map }, ...at, from]);
        }
        b.instruction("bulk.commit", [], []);
      });
    }
  }

  /** Element at which the tile's current contents begin: of the taken slot, or of the thread's own copy. */
  start(cx: Context, tile: SharedTile): Value {
    const { b } = cx;
    const slot = this.slot(cx, tile);
    return slot === undefined ? this.#copyOf(cx, tile) : b.mul(slot, b.i32(elementsOf(tile)));
  }

  /** The slot whose tiles are read or filled now, or the one that is released next; undefined for a tile of no channel. */
  slot(cx: Context, tile: SharedTile, isOldest = false): Value | undefined {
    const owner = this.#owners.get(tile);
    if (owner === undefined) return undefined;
    const { current, cursors } = this.#of(owner);
    if (isOldest) {
      invariant(cursors.has("release"), `${tile.name} is of a slot that is released`);
      // Channels in step are released one after another, and what is oldest is asked for before any of them.
      return cx.b.bound(cx.b.get(this.#cursorOf(owner, "release").cursor.slot), 0, owner.depth - 1);
    }
    invariant(current !== undefined, `${tile.name} is read before its slot is taken`);
    return current;
  }

  /** The cursor that serves a channel, and whether the channel follows another one. */
  #cursorOf(channel: Channel, use: Use): { readonly cursor: Cursor; readonly follows: boolean } {
    const own = this.#of(channel).cursors.get(use);
    const cursor = own !== undefined && "leader" in own ? this.#of(own.leader).cursors.get(use) : own;
    invariant(cursor !== undefined && !("leader" in cursor), `no cursor to ${use} ${channel.name}`);
    return { cursor, follows: own !== cursor };
  }

  /** Moves a cursor on and gives back where it was. */
  #advance(cx: Context, channel: Channel, use: Use): Place {
    const { b } = cx;
    const { cursor, follows } = this.#cursorOf(channel, use);
    const last = this.#last.get(cursor);
    if (follows && last !== undefined) return last;
    const slot = b.bound(b.get(cursor.slot), 0, channel.depth - 1);
    const phase = b.get(cursor.phase);
    const next = b.add(slot, b.i32(1));
    const wraps = b.binary("eq", next, b.i32(channel.depth));
    b.set(cursor.slot, b.select(wraps, b.i32(0), next));
    if (use !== "release") b.set(cursor.phase, b.select(wraps, b.binary("xor", phase, b.i32(1)), phase));
    const place = { slot, phase };
    this.#last.set(cursor, place);
    return place;
  }

  #of(channel: Channel): Lowered {
    const lowered = this.#channels.get(channel);
    invariant(lowered !== undefined, `channel ${channel.name} is not the program's`);
    return lowered;
  }

  #copyOf(cx: Context, tile: SharedTile): Value {
    const { b } = cx;
    if (tile.per === undefined) return b.i32(0);
    const place = new Group(cx, [new Map()], [undefined]).polys({
      kind: "coordinate",
      type: "i32",
      axis: tile.per,
    })[0];
    invariant(place !== undefined, "one place");
    return b.mul(evaluatePoly(cx, place, "i32"), b.i32(elementsOf(tile)));
  }

  #panel(cx: Context, copy: PanelCopy, slot: Value): Value {
    const { b } = cx;
    const elements = elementsOf(copy.tile);
    const [panels = 1, , width = 1] = copy.tile.shape;
    const start = this.#owners.has(copy.tile) ? b.mul(slot, b.i32(elements)) : this.#copyOf(cx, copy.tile);
    return b.add(start, b.i32(copy.panel * (elements / panels) + (copy.row ?? 0) * width));
  }

  #box(
    cx: Context,
    { box, swizzle }: { readonly box: Box; readonly swizzle: SharedTile["swizzle"] },
    known: ReadonlyMap<TileExpr, Value> = new Map(),
  ): {
    readonly map: TensorMap;
    readonly at: readonly Value[];
  } {
    const { b, buffers } = cx;
    const buffer = buffers.get(box.buffer);
    invariant(buffer !== undefined, `buffer ${box.buffer.name} is not declared`);
    const map = b.map({
      name: box.buffer.name,
      buffer,
      dims: box.view,
      box: box.extent,
      swizzle,
    });
    const group = new Group(cx, [new Map()], [undefined]);
    const at = box.at.map((part) => {
      const value = known.get(part);
      if (value !== undefined) return value;
      const [poly] = group.polys(part);
      invariant(poly !== undefined, "one place");
      return evaluatePoly(cx, poly, "i32");
    });
    return { map, at };
  }
}

/**
 * Arrivals that complete a phase: of `full` one for the copies of a slot, which bring their bytes, and one of each
 * thread that puts; of `empty` one of each subgroup that releases, or of each thread.
 */
function arrivals(
  roles: readonly Role[],
  channel: Channel,
  subgroup: number,
): { readonly filling: number; readonly reading: number } {
  let [filling, reading] = [0, 0];
  for (const role of roles) {
    const found = { fill: false, put: false, release: false };
    visitOps(role.body, (op) => {
      if (op.kind === "fill" && op.channel === channel) {
        found.fill ||= op.copies.length > 0;
        found.put ||= op.body.length > 0;
      }
      found.release ||= op.kind === "release" && op.channel === channel;
    });
    filling += (found.fill ? 1 : 0) + (found.put ? role.threads : 0);
    const together = isReadByThreads(role.body, channel) ? 1 : subgroup;
    reading += found.release ? role.threads / together : 0;
  }
  return { filling, reading };
}

function isReadByAnyThreads(roles: readonly Role[], channel: Channel): boolean {
  return roles.some(({ body }) => isReadByThreads(body, channel));
}

/** Whether threads read a channel's tiles element by element, and no product does. */
function isReadByThreads(ops: readonly TileOp[], { tiles }: Channel): boolean {
  let [byThreads, byProducts] = [false, false];
  visitOps(ops, (op) => {
    if (op.kind === "mma")
      for (const operand of [op.a, op.b])
        byProducts ||= !isInRegisters(operand) && tiles.includes(operand.tile);
    visitExpressions(expressionsOf(op), (expr) => {
      byThreads ||= expr.kind === "shared" && tiles.includes(expr.tile);
    });
  });
  return byThreads && !byProducts;
}

/** A copy's box, as it lies in the tile. */
function boxIn({ box, tile }: PanelCopy): { readonly box: Box; readonly swizzle: SharedTile["swizzle"] } {
  return { box, swizzle: tile.swizzle };
}

function groupByTile(copies: readonly PanelCopy[]): ReadonlyMap<SharedTile, PanelCopy[]> {
  const groups = new Map<SharedTile, PanelCopy[]>();
  for (const copy of copies) groups.set(copy.tile, [...(groups.get(copy.tile) ?? []), copy]);
  return groups;
}

export function elementsOf(tile: SharedTile): number {
  return tile.shape.reduce((product, extent) => product * extent, 1);
}

/** Threads that share one copy of a tile. */
export function sharers(cx: Context, tile: SharedTile): number {
  if (tile.per === undefined) return cx.team.threads;
  invariant(tile.per.place.kind === "thread", "copies lie along a thread axis");
  return tile.per.size === 1 ? cx.team.threads : tile.per.place.stride;
}
