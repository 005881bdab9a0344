/**
 * Takes sequences of unequal lengths in an order in which all units of a device end at about the same time.
 *
 *     %y = loop b, h over t within d { z = sum: select(lt(%t, %length[b]), .., 0) .. }
 *  =>
 *     %place = loop b over j { rank = sum: select(length[j] > length[b], 1, 0);  yield [b]: place(rank) }
 *     %owner = loop i over b { owner = sum: select(%place[b] == i, b, 0) }
 *     %z = loop i, h over t within d { .. %length[%owner[i]] .. }
 *     %y = loop b, h { yield [b, h]: %z[%place[b], h] }
 *
 * How far each of a batch is swept is known only as the program runs. Blocks take tiles in turn, one round after the
 * other: the longest first, and each round in the opposite order of the one before, so that who had the longest gets the
 * shortest next (Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17(2), 1969).
 */
import type { Arena } from "../tensor/arena.ts";
import { boundsOf, conditionsOf, type Linear } from "../tensor/conditions.ts";
import { rewriteGraph } from "../tensor/graphs.ts";
import type { Graph, LoopAxis, LoopNode, Ref, Scalar } from "../tensor/ir.ts";
import { reachable } from "../tensor/scalars.ts";
import type { Caps } from "../types/caps.ts";
import { constant } from "../types/dim.ts";
import { dtypes } from "../types/dtype.ts";
import { costOf } from "./cost.ts";
import { LoopWriter } from "./loop-writer.ts";
import type { Pass } from "./pass.ts";
import { tilesOfStream } from "./split.ts";

/** Sequences, each of which is compared with each. */
const mostSequences = 1024;
/** What the order costs has to be a small part of the loop's time. */
const launchSeconds = 3e-6;
const smallPart = 0.15;

/** `streams`: whether the target has a schedule for a loop that streams products into products. */
export function evenRounds(
  device: Pick<Caps, "units" | "flops" | "bandwidth" | "maxBuffers">,
  streams: (loop: LoopNode, arena: Arena) => boolean,
): Pass<Graph> {
  return {
    name: "even-rounds",
    run: (graph, { arena }) =>
      rewriteGraph(arena, graph, (node) => {
        if (node.kind !== "loop" || node.inputs.length >= device.maxBuffers) return undefined;
        const [swept, other] = node.over;
        if (swept === undefined || other !== undefined || node.inner.length === 0) return undefined;
        const axis = sequences(node);
        const tiles = tilesOfStream(node)?.tiles ?? 0;
        if (axis === undefined || device.units < 2 || tiles <= device.units || !pays(node, device))
          return undefined;
        const count = extentOf(node.axes[axis.of]);
        // Of each round; what follows the first axis comes beside it.
        const round = Math.max(1, Math.floor((device.units * count) / tiles));
        return new Order(arena, node, axis.of, axis.ends).reordered(count, round, streams);
      }),
  };
}

function extentOf(axis: LoopAxis | undefined): number {
  return axis?.extent.kind === "const" ? axis.extent.value : 0;
}

function pays(loop: LoopNode, device: Pick<Caps, "flops" | "bandwidth">): boolean {
  const { flops } = costOf(loop);
  if (flops.kind !== "const") return true;
  const moved = loop.results.reduce((sum, { axes, dtype }) => {
    return axes.reduce((count, axis) => count * extentOf(loop.axes[axis]), sum + 2 * dtypes[dtype].bytes);
  }, 0);
  const seconds = flops.value / device.flops.matrix16;
  return 3 * launchSeconds + moved / device.bandwidth < smallPart * seconds;
}

/** The axis of which each place has an end of its own of the swept axis, which is read; and these ends. */
function sequences(loop: LoopNode): { readonly of: number; readonly ends: readonly Linear[] } | undefined {
  const swept = loop.axes.length;
  for (const of of loop.axes.keys()) {
    const count = extentOf(loop.axes[of]);
    const isAll = loop.results.every(({ axes }) => axes.includes(of));
    if (count < 2 || count > mostSequences || !isAll) continue;
    const isOwn = (scalar: Scalar): boolean =>
      reachable([scalar]).every(
        (s) => s.kind !== "carrier" && s.kind !== "reduce" && (s.kind !== "axis" || s.axis === of),
      );
    const ends = conditionsOf(loop)
      .flatMap((condition) => boundsOf(condition, swept, isOwn))
      .filter(({ side, than }) => side === "high" && than.terms.some(({ scalar }) => isRead(scalar, of)))
      .map(({ than }) => than);
    if (ends.length > 0) return { of, ends };
  }
  return undefined;
}

function isRead(scalar: Scalar, axis: number): boolean {
  const parts = reachable([scalar]);
  return parts.some((s) => s.kind === "read") && parts.some((s) => s.kind === "axis" && s.axis === axis);
}

class Order {
  readonly #arena: Arena;
  readonly #loop: LoopNode;
  /** The axis of sequences, and what each is swept to at most. */
  readonly #of: number;
  readonly #ends: readonly Linear[];
  readonly #axis: LoopAxis;

  constructor(arena: Arena, loop: LoopNode, of: number, ends: readonly Linear[]) {
    this.#arena = arena;
    this.#loop = loop;
    this.#of = of;
    this.#ends = ends;
    this.#axis = loop.axes[of] ?? { name: "sequence", extent: constant(1) };
  }

  /** Of so many sequences, so many a round: the loop's results; undefined where no schedule streams it then. */
  reordered(
    count: number,
    round: number,
    streams: (loop: LoopNode, arena: Arena) => boolean,
  ): readonly Ref[] | undefined {
    const place = this.#places(count, round);
    const made = this.#inOrder(this.#owners(place));
    if (!streams(made, this.#arena)) return undefined;
    return this.#loop.results.map((_, output) => this.#back(this.#arena.ref(made, output), output, place));
  }

  /** Where each sequence is taken: by its length, the longest first, the rounds to and fro, the last one forth. */
  #places(count: number, round: number): Ref {
    const arena = this.#arena;
    const w = new LoopWriter(arena, {
      axes: [this.#axis],
      over: [{ ...this.#axis, name: `other_${this.#axis.name}` }],
    });
    const [own, other] = [arena.axis(0), arena.axis(1)];
    const [length, than] = [this.#length(w, own), this.#length(w, other)];
    const isBefore = arena.apply(
      "or",
      arena.apply("gt", than, length),
      arena.apply("and", arena.apply("eq", than, length), arena.apply("lt", other, own)),
    );
    w.carriers.push({
      name: "rank",
      monoid: "sum",
      lift: arena.apply("select", isBefore, arena.i32(1), arena.i32(0)),
    });
    const [rank, size] = [arena.carrier(0, "i32"), arena.i32(round)];
    const within = arena.apply("mod", rank, size);
    const left = arena.apply(
      "sub",
      arena.i32(Math.ceil(count / round) - 1),
      arena.apply("floordiv", rank, size),
    );
    const turned = arena.apply("sub", arena.apply("sub", arena.i32(round - 1), within), within);
    const isBack = arena.apply("eq", arena.apply("mod", left, arena.i32(2)), arena.i32(1));
    const place = arena.apply("add", rank, arena.apply("select", isBack, turned, arena.i32(0)));
    w.results = [{ value: place, dtype: "i32", axes: [0] }];
    return this.#named(w.loop(), "place");
  }

  /** The least of a sequence's ends. */
  #length(w: LoopWriter, at: Scalar): Scalar {
    const arena = this.#arena;
    const axes = this.#loop.axes.map((_, axis) => (axis === this.#of ? at : arena.axis(axis)));
    const ends = this.#ends.map(({ terms, constant: last }) =>
      terms.reduce((sum, { coefficient, scalar }) => {
        const [own = scalar] = w.take(this.#loop, [scalar], axes, (_, s) => s);
        return arena.apply("add", sum, arena.apply("mul", own, arena.i32(coefficient)));
      }, arena.i32(last)),
    );
    return ends.reduce((a, b) => arena.apply("min", a, b));
  }

  /** Which sequence is at each place. */
  #owners(place: Ref): Ref {
    const arena = this.#arena;
    const w = new LoopWriter(arena, { axes: [{ ...this.#axis, name: "place" }], over: [this.#axis] });
    const [at, own] = [arena.axis(0), arena.axis(1)];
    const isIt = arena.apply("eq", arena.read(w.inputs, place, [own]), at);
    w.carriers.push({ name: "owner", monoid: "sum", lift: arena.apply("select", isIt, own, arena.i32(0)) });
    w.results = [{ value: arena.carrier(0, "i32"), dtype: "i32", axes: [0] }];
    return this.#named(w.loop(), "owner");
  }

  /** The loop over places, each of which makes its owner's results. */
  #inOrder(owner: Ref): LoopNode {
    const arena = this.#arena;
    const loop = this.#loop;
    const w = new LoopWriter(arena, loop);
    w.inner.push(...loop.inner);
    w.inputs.push(...loop.inputs);
    const own = arena.read(w.inputs, owner, [arena.axis(this.#of)]);
    const axes = loop.axes.map((_, axis) => (axis === this.#of ? own : arena.axis(axis)));
    const taken = w.take(
      loop,
      [...loop.carriers.map(({ lift }) => lift), ...loop.results.map(({ value }) => value)],
      axes,
      (_, s) => s,
    );
    loop.carriers.forEach((carrier, k) => w.carriers.push({ ...carrier, lift: taken[k] ?? carrier.lift }));
    w.results = loop.results.map((result, k) => ({
      ...result,
      value: taken[loop.carriers.length + k] ?? result.value,
    }));
    return w.loop();
  }

  /** A result with its sequences where they were. */
  #back(made: Ref, output: number, place: Ref): Ref {
    const arena = this.#arena;
    const { axes = [], dtype = "f32" } = this.#loop.results[output] ?? {};
    const own = axes.map((axis) => this.#loop.axes[axis] ?? this.#axis);
    const w = new LoopWriter(arena, { axes: own, over: [] });
    const at = arena.read(w.inputs, place, [arena.axis(axes.indexOf(this.#of))]);
    const index = axes.map((axis, k) => (axis === this.#of ? at : arena.axis(k)));
    w.results = [{ value: arena.read(w.inputs, made, index), dtype, axes: axes.map((_, k) => k) }];
    return arena.ref(w.loop());
  }

  #named(node: LoopNode, name: string): Ref {
    const ref = this.#arena.ref(node);
    this.#arena.setHint(ref, name);
    return ref;
  }
}
