/**
 * Groups of loops that share one iteration space and become one loop.
 *
 * A group has axes and axes `over`; each member's own axes are mapped into them. Members that run over `over` are
 * carriers (with what they compute from them); members whose axes are the group's `axes` are epilogues; members
 * whose axes are all of the group's are results over `axes` and `over`. What one member reads of another it reads
 * at the very point that the group is at, so that the value need not pass through memory; or, once a row, at another
 * place of the row, where it is computed again.
 *
 * A group whose rows have a short axis of their own (`inner`), as the k largest of each have, takes in what runs over
 * the rows and that axis: reductions along it are made inside bodies, and results have it.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dimEquals, type Dim } from "../types/dim.ts";
import type { LoopAxis, LoopNode, Ref, ScalarRead } from "../tensor/ir.ts";
import { reachable } from "../tensor/scalars.ts";
import { bodyOf } from "../tensor/node-body.ts";
import type { Apart } from "./fusing.ts";
import { isContraction } from "./loops.ts";

export interface Member {
  readonly node: LoopNode;
  /** The group's axis for each of the node's. */
  readonly map: readonly number[];
}

export interface Group {
  readonly id: number;
  /** In ascending order of node ids. */
  readonly members: readonly Member[];
  readonly axes: readonly LoopAxis[];
  readonly over: readonly LoopAxis[];
  readonly inner: readonly LoopAxis[];
  readonly contracts: boolean;
  /** Scalars of all bodies, shared ones counted for each member. */
  readonly scalars: number;
  /** What the members read of others, each once. */
  readonly externals: readonly Ref[];
  /** What the members read, of each other too, each once. */
  readonly refs: readonly Ref[];
  readonly access: readonly Access[];
}

/** The group that each loop is in now, by the loop's id. */
export type Homes = readonly (Group | undefined)[];

/** A read of a member: at the group's axes, or undefined where its indices are no plain axes. */
export interface Access {
  /** Position among the group's `refs`. */
  readonly input: number;
  readonly axes: readonly number[] | undefined;
  /** Of a read whose indices are not all axes. */
  readonly places: Places | undefined;
}

interface Places {
  /** Its indices, undefined where one is no axis. */
  readonly axes: readonly (number | undefined)[];
  readonly moves: readonly number[];
}

/** A read at another place along an axis of what was made; `moves` are the reader's axes, in its own numbers. */
interface Elsewhere {
  readonly by: "joined" | "base";
  readonly axis: number;
  readonly moves: readonly number[];
}

/** How two groups meet. `joined` is mapped into `base`, which has the axes `over` if either has. */
export interface Meeting {
  readonly base: Group;
  readonly joined: Group;
  readonly map: readonly number[];
  /** Refs that one makes and the other reads. */
  readonly flow: readonly Ref[];
  /** Tensors that both read at the same elements. */
  readonly shared: readonly Ref[];
}

/** What the loop reads; the same for all loops of its form. */
export function accessOf(node: LoopNode): readonly Access[] {
  const { reads, plainReads } = bodyOf(node);
  return reads.map((read, i) => {
    const axes = plainReads[i];
    return { input: read.input, axes, places: axes === undefined ? placesOf(read) : undefined };
  });
}

/** `access` is the node's. */
export function singleton(id: number, node: LoopNode, access: readonly Access[]): Group {
  return {
    id,
    members: [{ node, map: upTo(node.axes.length + node.over.length + node.inner.length) }],
    axes: node.axes,
    over: node.over,
    inner: node.inner,
    contracts: isContraction(node),
    scalars: bodyOf(node).scalars.length,
    externals: node.inputs,
    refs: node.inputs,
    access,
  };
}

/** Of a read not all of whose indices are axes: those that are, and the axes that it moves along. */
function placesOf(read: ScalarRead): Places {
  const axes = read.index.map((index) => (index.kind === "axis" ? index.axis : undefined));
  const moves = reachable([read]).flatMap((s) => (s.kind === "axis" ? [s.axis] : []));
  return { axes, moves };
}

const counts: (readonly number[])[] = [];

/** 0, 1, .. below `end`; one list for each end. */
function upTo(end: number): readonly number[] {
  return (counts[end] ??= Array.from({ length: end }, (_, i) => i));
}

export function merged(id: number, meeting: Meeting, homes: Homes): Group {
  const { base, joined, map } = meeting;
  const members = inOrder(base.members, joined.members, map);
  // A loop reads few tensors, or no target binds them: a list is searched faster than a set is made.
  const externals: Ref[] = [];
  for (const ref of base.externals) if (homes[ref.node.id] !== joined) externals.push(ref);
  for (const ref of joined.externals)
    if (homes[ref.node.id] !== base && !externals.includes(ref)) externals.push(ref);
  const refs = base.refs.slice();
  const access = base.access.slice();
  for (const one of joined.access) {
    const ref = joined.refs[one.input];
    if (ref === undefined) continue;
    let input = refs.indexOf(ref);
    if (input < 0) input = refs.push(ref) - 1;
    const axes = one.axes && placed(one.axes, map);
    if (input === one.input && axes === one.axes && one.places === undefined) {
      access.push(one);
      continue;
    }
    const places = one.places && {
      axes: one.places.axes.map((axis) => (axis === undefined ? undefined : (map[axis] ?? axis))),
      moves: placed(one.places.moves, map),
    };
    access.push({ input, axes, places });
  }
  return {
    id,
    members,
    axes: base.axes,
    over: base.over,
    inner: joined.inner.length === 0 ? base.inner : [...base.inner, ...joined.inner],
    contracts: base.contracts || joined.contracts,
    scalars: base.scalars + joined.scalars,
    externals,
    refs,
    access,
  };
}

/** The members of both in ascending order of node ids, the second ones' axes placed by `map`. */
function inOrder(first: readonly Member[], second: readonly Member[], map: readonly number[]): Member[] {
  const members: Member[] = [];
  let i = 0;
  for (const { node, map: own } of second) {
    for (let next = first[i]; next !== undefined && next.node.id < node.id; next = first[++i])
      members.push(next);
    members.push({ node, map: placed(own, map) });
  }
  for (let next = first[i]; next !== undefined; next = first[++i]) members.push(next);
  return members;
}

function placed(axes: readonly number[], map: readonly number[]): readonly number[] {
  let k = 0;
  while (k < axes.length && (map[axes[k] ?? 0] ?? axes[k]) === axes[k]) k++;
  return k === axes.length ? axes : axes.map((axis) => map[axis] ?? axis);
}

/**
 * How `a` and `b` can share one space, or why they cannot. Axes are matched by what one reads of the other, then by
 * what both read, then by equal extents.
 */
export function meet(a: Group, b: Group, homes: Homes): Meeting | Apart {
  const [base, joined] = b.over.length > 0 && a.over.length === 0 ? [b, a] : [a, b];
  const meeting = meetAlong(base, joined, homes);
  if (!("kind" in meeting) || base.inner.length === 0) return meeting;
  return meetInside(base, joined, homes) ?? meeting;
}

function meetAlong(base: Group, joined: Group, homes: Homes): Meeting | Apart {
  const split = splitOf(base, joined);
  if (split === undefined) return { kind: "axes" };
  const map = unmatched(base, joined);
  const flow: Ref[] = [];
  const elsewhere: Elsewhere[] = [];
  if (
    !matchFlow(base, joined, homes, map, flow, "joined", elsewhere) ||
    !matchFlow(joined, base, homes, map, flow, "base", elsewhere)
  ) {
    return { kind: "points" };
  }
  matchShared(base, joined, map);
  if (!matchExtents(base, joined, map, split)) return { kind: "sizes" };
  if (!elsewhere.every((one) => isOnceARow(base, one, map))) return { kind: "points" };
  return { base, joined, map, flow, shared: sharedReads(base, joined, map) };
}

/** Nothing is known of the joined group's axes but that its inner ones come after the base's. */
function unmatched(base: Group, joined: Group): number[] {
  const own = joined.axes.length + joined.over.length;
  const map = Array<number>(own + joined.inner.length).fill(-1);
  const first = base.axes.length + base.over.length + base.inner.length;
  for (let k = own; k < map.length; k++) map[k] = first + k - own;
  return map;
}

/**
 * The joined group runs over the base's rows and axes of its `inner`: what it reads of the base says which. Undefined
 * where it does not.
 */
function meetInside(base: Group, joined: Group, homes: Homes): Meeting | undefined {
  const map = unmatched(base, joined);
  const flow: Ref[] = [];
  const elsewhere: Elsewhere[] = [];
  if (joined.inner.length > 0 || joined.contracts) return undefined;
  if (base.refs.some((ref) => homes[ref.node.id] === joined)) return undefined;
  if (!matchFlow(base, joined, homes, map, flow, "joined", elsewhere)) return undefined;
  matchShared(base, joined, map);
  const rows = base.axes.length;
  const inside = rows + base.over.length;
  const isRow = (axis: number): boolean => axis >= 0 && axis < rows;
  const own = map.slice(0, joined.axes.length);
  const isCovered = base.axes.every((_, axis) => own.includes(axis));
  if (!isCovered || !own.every((axis) => isRow(axis) || axis >= inside)) return undefined;
  if (!map.slice(joined.axes.length).every((axis) => axis >= inside)) return undefined;
  if (!elsewhere.every((one) => isOnceARow(base, one, map))) return undefined;
  if (map.some((to, from) => !equalExtents(extentOf(joined, from), extentOf(base, to)))) return undefined;
  return { base, joined, map, flow, shared: sharedReads(base, joined, map) };
}

/** Axes of `joined` below it become axes of `base` below it, and others become others; undefined where none can. */
function splitOf(base: Group, joined: Group): number | undefined {
  const own = base.axes.length;
  const all = own + base.over.length;
  if (joined.axes.length === own && (joined.over.length === 0 || joined.over.length === base.over.length))
    return own;
  return joined.over.length === 0 && joined.axes.length === all ? all : undefined;
}

function matchFlow(
  makers: Group,
  { refs, access }: Group,
  homes: Homes,
  map: number[],
  flow: Ref[],
  by: Elsewhere["by"],
  elsewhere: Elsewhere[],
): boolean {
  for (let i = 0; i < access.length; i++) {
    const ref = refs[access[i]?.input ?? -1];
    if (ref === undefined || homes[ref.node.id] !== makers) continue;
    const maker = makers.members.find((m) => m.node === ref.node);
    if (maker === undefined) continue;
    if (!flow.includes(ref)) flow.push(ref);
    const places = access[i]?.places;
    const axes = access[i]?.axes ?? places?.axes;
    const made = maker.node.results[ref.output]?.axes;
    if (axes === undefined || made === undefined) return false;
    for (let j = 0; j < made.length; j++) {
      const own = made[j];
      const read = axes[j];
      if (own === undefined) return false;
      const at = maker.map[own] ?? own;
      if (read === undefined) {
        elsewhere.push({ by, axis: at, moves: places?.moves ?? [] });
        continue;
      }
      if (!(by === "joined" ? fix(map, read, at) : fix(map, at, read))) return false;
    }
  }
  return true;
}

/** Another place of the same row, which is the same wherever the row is swept: what is made there is made again. */
function isOnceARow(base: Group, { by, axis, moves }: Elsewhere, map: readonly number[]): boolean {
  const isSwept = (k: number | undefined): boolean =>
    k !== undefined && k >= base.axes.length && k < base.axes.length + base.over.length;
  const ofReader = (k: number): number | undefined => (by === "joined" ? map[k] : k);
  return isSwept(by === "joined" ? axis : map[axis]) && !moves.some((k) => isSwept(ofReader(k)));
}

/** Records that axis `from` becomes `to`; false where that contradicts what is known. */
function fix(map: number[], from: number, to: number): boolean {
  if (map[from] === to) return true;
  if (map[from] !== -1 || map.includes(to)) return false;
  map[from] = to;
  return true;
}

function matchShared(base: Group, joined: Group, map: number[]): void {
  for (let i = 0; i < joined.access.length; i++) {
    const axes = joined.access[i]?.axes;
    const input = base.refs.indexOf(refOf(joined, i));
    if (axes === undefined || input < 0) continue;
    for (let k = 0; k < base.access.length; k++) {
      const others = base.access[k]?.input === input ? base.access[k]?.axes : undefined;
      if (others === undefined) continue;
      const trial = map.slice();
      let fixed = 0;
      while (fixed < axes.length && fix(trial, axes[fixed] ?? -1, others[fixed] ?? -1)) fixed++;
      if (fixed === axes.length) for (let j = 0; j < trial.length; j++) map[j] = trial[j] ?? -1;
    }
  }
}

function matchExtents(base: Group, joined: Group, map: number[], split: number): boolean {
  const all = base.axes.length + base.over.length;
  for (let from = 0; from < joined.axes.length + joined.over.length; from++) {
    const extent = extentOf(joined, from);
    const low = from < split ? 0 : split;
    const high = from < split ? split : all;
    if (map[from] === -1) {
      for (let to = low; to < high; to++) {
        if (!map.includes(to) && equalExtents(extent, extentOf(base, to))) {
          map[from] = to;
          break;
        }
      }
    }
    const to = map[from] ?? -1;
    if (to < low || to >= high || !equalExtents(extent, extentOf(base, to))) return false;
  }
  return true;
}

function extentOf({ axes, over, inner }: Group, axis: number): Dim | undefined {
  if (axis < axes.length) return axes[axis]?.extent;
  const later = axis - axes.length;
  return (later < over.length ? over[later] : inner[later - over.length])?.extent;
}

function equalExtents(a: Dim | undefined, b: Dim | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a === b || dimEquals(a, b);
}

/** Tensors that both read at the same elements, or both at some that no axes say. */
function sharedReads(base: Group, joined: Group, map: readonly number[]): readonly Ref[] {
  const shared: Ref[] = [];
  for (let i = 0; i < joined.access.length; i++) {
    const ref = refOf(joined, i);
    const axes = joined.access[i]?.axes;
    const input = base.refs.indexOf(ref);
    if (axes === undefined || input < 0 || shared.includes(ref)) continue;
    for (let k = 0; k < base.access.length; k++) {
      const others = base.access[k]?.input === input ? base.access[k]?.axes : undefined;
      if (others?.every((to, j) => map[axes[j] ?? -1] === to) !== true) continue;
      shared.push(ref);
      break;
    }
  }
  return shared;
}

function refOf({ refs, access }: Group, read: number): Ref {
  const ref = refs[access[read]?.input ?? -1];
  invariant(ref !== undefined, "a group has what it reads");
  return ref;
}
