/** How two groups of loops can share one iteration space: which axis of the one is which of the other. */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dimEquals, type Dim } from "../types/dim.ts";
import type { Ref } from "../tensor/ir.ts";
import type { Apart } from "./fusing.ts";
import type { Group, Homes } from "./groups.ts";

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
