/**
 * Takes sequences of unequal lengths in an order in which all units of a device end at about the same time.
 *
 *     %y = loop b, h over t within d { z = sum: select(lt(%t, %length[b]), .., 0) .. }
 *  =>
 *     %place = loop b over j { rank = sum: select(length[j] > length[b], 1, 0);  yield [b]: place(rank) }
 *     %owner = loop i over b { owner = sum: select(%place[b] == i, b, 0) }
 *     %y = loop b, h over t within d { order b: %owner[b];  z = sum: select(lt(%t, %length[b]), .., 0) .. }
 *
 * How far each of a batch is swept is known only as the program runs. Blocks take tiles in turn, one round after the
 * other: the longest first, and each round in the opposite order of the one before, so that who had the longest gets the
 * shortest next (Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17(2), 1969).
 */
import type { Arena } from "../tensor/arena.ts";
import { boundsOf, conditionsOf, type Linear } from "../tensor/conditions.ts";
import { outputsOfNode, rewriteGraph } from "../tensor/graphs.ts";
import type { Graph, LoopAxis, LoopNode, Ref, Scalar } from "../tensor/ir.ts";
import { reachable } from "../tensor/scalars.ts";
import type { Caps } from "../types/caps.ts";
import { constant } from "../types/dim.ts";
import { costOf } from "./cost.ts";
import { LoopWriter } from "./loop-writer.ts";
import type { Pass } from "./pass.ts";
import { tilesOfStream } from "./split.ts";

/** Sequences, each of which is compared with each. */
const mostSequences = 1024;
/** What the order costs, two kernels, has to be a small part of the loop's time. */
const orderSeconds = 6e-6;
const smallPart = 0.05;

/** `streams`: whether the target has a schedule for a loop that streams products into products. */
export function evenRounds(
  device: Pick<Caps, "units" | "flops" | "maxBuffers">,
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

function pays(loop: LoopNode, device: Pick<Caps, "flops">): boolean {
  const { flops } = costOf(loop);
  if (flops.kind !== "const") return true;
  return orderSeconds < (smallPart * flops.value) / device.flops.matrix16;
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
    const arena = this.#arena;
    const inputs = [...this.#loop.inputs];
    const place = arena.read(inputs, this.#owners(this.#places(count, round)), [arena.axis(this.#of)]);
    const made = arena.loop({ ...this.#loop, inputs, order: { axis: this.#of, place } });
    return streams(made, arena) ? outputsOfNode(arena, made) : undefined;
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

  #named(node: LoopNode, name: string): Ref {
    const ref = this.#arena.ref(node);
    this.#arena.setHint(ref, name);
    return ref;
  }
}
