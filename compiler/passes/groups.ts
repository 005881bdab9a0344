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
import { Interner } from "../tensor/intern.ts";
import type { LoopAxis, LoopNode, Ref, ScalarRead } from "../tensor/ir.ts";
import { reachable } from "../tensor/scalars.ts";
import { bodyOf } from "../tensor/node-body.ts";
import { isContraction } from "./loops.ts";

export interface Member {
  readonly node: LoopNode;
  /** The group's axis for each of the node's. */
  readonly map: readonly number[];
}

export interface Group {
  /** One for all groups whose members have the same forms, in one order, and are joined in the same ways. */
  readonly shape: number;
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
interface Access {
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

/** Numbers of shapes, and the accesses of each. */
export class Shapes {
  readonly #table = new Interner();
  readonly #access: (readonly Access[] | undefined)[] = [];

  /** The shape of a loop on its own. */
  ofForm(form: number): number {
    this.#table.begin();
    this.#table.word(-1);
    this.#table.word(form);
    return this.#table.id();
  }

  /** The shape of two groups, by the way in which they are joined, whose members stand in this order. */
  ofPair(pair: number, members: readonly Member[], isJoined: (node: LoopNode) => boolean): number {
    const t = this.#table;
    t.begin();
    t.word(pair);
    for (let i = 0; i < members.length; i++) {
      const node = members[i]?.node;
      t.word(node !== undefined && isJoined(node) ? 1 : 0);
    }
    return t.id();
  }

  access(shape: number, make: () => readonly Access[]): readonly Access[] {
    return (this.#access[shape] ??= make());
  }
}

function accessOf(node: LoopNode): readonly Access[] {
  const { reads, plainReads } = bodyOf(node);
  return reads.map((read, i) => {
    const axes = plainReads[i];
    return { input: read.input, axes, places: axes === undefined ? placesOf(read) : undefined };
  });
}

export function singleton(shapes: Shapes, node: LoopNode): Group {
  const shape = shapes.ofForm(node.form.id);
  return {
    shape,
    members: [{ node, map: upTo(node.axes.length + node.over.length + node.inner.length) }],
    axes: node.axes,
    over: node.over,
    inner: node.inner,
    contracts: isContraction(node),
    scalars: bodyOf(node).scalars.length,
    externals: node.inputs,
    refs: node.inputs,
    access: shapes.access(shape, () => accessOf(node)),
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

/** Two groups as one: `map` has the base's axis for each of the joined group's, and `pair` is the way they are joined in. */
export function merged(
  shapes: Shapes,
  base: Group,
  joined: Group,
  { map, pair }: { readonly map: readonly number[]; readonly pair: number },
  homes: Homes,
): Group {
  const members = inOrder(base.members, joined.members, map);
  // A loop reads few tensors, or no target binds them: a list is searched faster than a set is made.
  const externals = base.externals.filter((ref) => homes[ref.node.id] !== joined);
  for (let i = 0; i < joined.externals.length; i++) {
    const ref = joined.externals[i];
    if (ref !== undefined && homes[ref.node.id] !== base && !externals.includes(ref)) externals.push(ref);
  }
  const refs = base.refs.slice();
  for (let i = 0; i < joined.refs.length; i++) {
    const ref = joined.refs[i];
    if (ref !== undefined && !refs.includes(ref)) refs.push(ref);
  }
  const shape = shapes.ofPair(pair, members, (node) => homes[node.id] === joined);
  return {
    shape,
    members,
    axes: base.axes,
    over: base.over,
    inner: joined.inner.length === 0 ? base.inner : [...base.inner, ...joined.inner],
    contracts: base.contracts || joined.contracts,
    scalars: base.scalars + joined.scalars,
    externals,
    refs,
    access: shapes.access(shape, () => [
      ...base.access,
      ...joined.access.map((one) => accessIn(refs, joined, one, map)),
    ]),
  };
}

/** A read of the joined group's in terms of a group that has `refs`. */
function accessIn(
  refs: readonly Ref[],
  joined: Group,
  { input, axes, places }: Access,
  map: readonly number[],
): Access {
  const ref = joined.refs[input];
  invariant(ref !== undefined, "a group has what it reads");
  return {
    input: refs.indexOf(ref),
    axes: axes && placed(axes, map),
    places: places && {
      axes: places.axes.map((axis) => (axis === undefined ? undefined : (map[axis] ?? axis))),
      moves: placed(places.moves, map),
    },
  };
}

/** The members of both in ascending order of node ids, the second ones' axes placed by `map`. */
function inOrder(first: readonly Member[], second: readonly Member[], map: readonly number[]): Member[] {
  const members: Member[] = [];
  let i = 0;
  for (let k = 0; k < second.length; k++) {
    const member = second[k];
    if (member === undefined) continue;
    const { node } = member;
    for (let next = first[i]; next !== undefined && next.node.id < node.id; next = first[++i])
      members.push(next);
    const own = placed(member.map, map);
    members.push(own === member.map ? member : { node, map: own });
  }
  for (let next = first[i]; next !== undefined; next = first[++i]) members.push(next);
  return members;
}

function placed(axes: readonly number[], map: readonly number[]): readonly number[] {
  let k = 0;
  while (k < axes.length && (map[axes[k] ?? 0] ?? axes[k]) === axes[k]) k++;
  return k === axes.length ? axes : axes.map((axis) => map[axis] ?? axis);
}
