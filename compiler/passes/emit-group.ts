/** Writes a group of loops as one loop. */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Arena } from "../tensor/arena.ts";
import type { Carrier, LoopNode, LoopResult, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { rewriteScalars, rootsOf } from "../tensor/scalars.ts";
import type { Group } from "./groups.ts";
import { storedAs } from "./inline.ts";
import type { Templates } from "./templates.ts";

export interface EmittedGroup {
  readonly loop: LoopNode;
  /** The group's refs that the loop's results stand for, in their order. */
  readonly outputs: readonly Ref[];
}

/**
 * `now` gives what stands for a ref that was written before, and `isNeeded` says which of the group's values someone
 * outside reads.
 */
export function emitGroup(
  arena: Arena,
  templates: Templates,
  group: Group,
  now: (ref: Ref) => Ref,
  isNeeded: (ref: Ref) => boolean,
): EmittedGroup {
  // All that the loop is made from: its axes, and for each member its form, its axes' places, and where its inputs
  // and results are from and go. The axes are those of a member, so that their extents are in a form.
  const { members } = group;
  const t = templates.begin(group.axes.length);
  t.word(group.over.length);
  t.word(group.inner.length);
  const pool: Ref[] = [];
  const outputs: Ref[] = [];
  for (let m = 0; m < members.length; m++) {
    const member = members[m];
    if (member === undefined) continue;
    const { node, map } = member;
    t.word(node.form.id);
    for (let k = 0; k < map.length; k++) t.word(map[k] ?? 0);
    for (let i = 0; i < node.inputs.length; i++) {
      const ref = node.inputs[i];
      if (ref === undefined) continue;
      let maker = members.length - 1;
      while (maker >= 0 && members[maker]?.node !== ref.node) maker--;
      t.word(maker);
      t.word(ref.output);
      if (maker < 0) pool.push(now(ref));
    }
    for (let output = 0; output < node.types.length; output++) {
      const ref = arena.ref(node, output);
      const outside = isNeeded(ref);
      t.word(outside ? 1 : 0);
      if (outside) outputs.push(ref);
    }
  }
  const loop = templates.node(pool, () => new GroupWriter(arena, group, now).write(new Set(outputs)));
  invariant(loop.kind === "loop", "a group is a loop");
  return { loop, outputs };
}

class GroupWriter {
  readonly #arena: Arena;
  readonly #group: Group;
  readonly #now: (ref: Ref) => Ref;
  readonly #inputs: Ref[] = [];
  readonly #carriers: Carrier[] = [];
  readonly #results: LoopResult[] = [];
  /** What the group's own refs are at the group's point. */
  readonly #values = new Map<Ref, { readonly value: Scalar; readonly axes: readonly number[] }>();

  constructor(arena: Arena, group: Group, now: (ref: Ref) => Ref) {
    this.#arena = arena;
    this.#group = group;
    this.#now = now;
  }

  /** The loop, with the outputs as its results, in the order of members and their results. */
  write(outputs: ReadonlySet<Ref>): LoopNode {
    const arena = this.#arena;
    for (const { node, map } of this.#group.members) {
      const results = this.#body(node, map);
      node.results.forEach((result, i) => {
        const value = results[i];
        if (value === undefined) return;
        const ref = arena.ref(node, i);
        const axes = result.axes.map((k) => map[k] ?? k);
        this.#values.set(ref, { value: storedAs(arena, result.dtype, value), axes });
        if (outputs.has(ref)) this.#results.push({ ...result, value, axes });
      });
    }
    const { axes, over, inner } = this.#group;
    const [carriers, results, inputs] = [this.#carriers, this.#results, this.#inputs];
    return arena.loop({ axes, over, inner, carriers, results, inputs });
  }

  /** A member's results in the group's terms; its carriers become the group's. */
  #body(node: LoopNode, map: readonly number[]): readonly Scalar[] {
    const arena = this.#arena;
    const carriers: Scalar[] = [];
    const along = node.over.map((_, k) => map[node.axes.length + k] ?? 0);
    const isInside = along.some((axis) => axis >= this.#group.axes.length + this.#group.over.length);
    for (const carrier of node.carriers) {
      const lift = this.#rewrite([carrier.lift], node, map, carriers)[0] ?? carrier.lift;
      if (isInside) {
        carriers.push(arena.reduce(carrier.monoid, along, lift));
        continue;
      }
      const same = this.#carriers.findIndex(
        (c) => c.monoid === carrier.monoid && c.lift === lift && c.every === carrier.every,
      );
      const own = same >= 0 ? same : this.#carriers.push({ ...carrier, lift }) - 1;
      carriers.push(arena.carrier(own, lift.type));
    }
    return this.#rewrite(rootsOf(node).slice(node.carriers.length), node, map, carriers);
  }

  #rewrite(
    roots: readonly Scalar[],
    node: LoopNode,
    map: readonly number[],
    carriers: readonly Scalar[],
  ): readonly Scalar[] {
    const arena = this.#arena;
    return rewriteScalars(arena, roots, (s) => {
      if (s.kind === "axis") return arena.axis(map[s.axis] ?? s.axis);
      if (s.kind === "carrier") return carriers[s.carrier] ?? s;
      if (s.kind === "reduce")
        return arena.reduce(
          s.monoid,
          s.axes.map((axis) => map[axis] ?? axis),
          s.arg,
        );
      if (s.kind !== "read") return s;
      const old = node.inputs[s.input];
      if (old === undefined) return s;
      const own = this.#values.get(old);
      if (own !== undefined) return this.#elsewhere(own, s);
      const ref = this.#now(old);
      const found = this.#inputs.indexOf(ref);
      return arena.readAt(
        found < 0 ? this.#inputs.push(ref) - 1 : found,
        s.type,
        s.index,
        s.bounds,
        s.otherwise,
      );
    });
  }

  /** The group's own value where it is read: at the group's point, or at other places of the row. */
  #elsewhere(
    { value, axes }: { readonly value: Scalar; readonly axes: readonly number[] },
    { index, bounds, otherwise }: ScalarRead,
  ): Scalar {
    const arena = this.#arena;
    const { axes: rows, over } = this.#group;
    const moved = new Map<number, Scalar>();
    let inside: Scalar | undefined;
    axes.forEach((axis, k) => {
      const at = index[k];
      const extent = over[axis - rows.length]?.extent;
      if (at === undefined || extent === undefined || (at.kind === "axis" && at.axis === axis)) return;
      const last = arena.apply("sub", arena.dim(extent), arena.i32(1));
      const within = arena.apply("min", arena.apply("max", at, arena.i32(0)), last);
      moved.set(axis, bounds === "proved" ? at : within);
      const own = arena.apply("eq", at, within);
      inside = inside === undefined ? own : arena.apply("and", inside, own);
    });
    if (moved.size === 0) return value;
    const [there = value] = rewriteScalars(arena, [value], (s) =>
      s.kind === "axis" ? (moved.get(s.axis) ?? s) : s,
    );
    return bounds === "else" && otherwise !== undefined && inside !== undefined
      ? arena.apply("select", inside, there, otherwise)
      : there;
  }
}
