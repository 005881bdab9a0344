/**
 * What became of each pair of neighbours of a tensor graph: nodes one of which reads what the other makes.
 *
 * It is found out from outside: passes say how they rebuild a graph (`Watcher`), so each value and each reader of the
 * first graph is followed through all of them, whatever they do. A value that is no node's result any more is computed
 * where it is read. Why two loops became one, or did not, is in the decisions of fusion; where another pass joined
 * them, its name says how.
 */
import { add, constant, mul, type Dim } from "../types/dim.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import type { Arena } from "../tensor/arena.ts";
import { outputsOf, topological } from "../tensor/graphs.ts";
import type { Graph, Node, NodeId, Ref } from "../tensor/ir.ts";
import { typeOf } from "../tensor/refs.ts";
import { bytesOf, costOf } from "./cost.ts";
import type { Apart, Fusion, FusionDecision } from "./fusing.ts";

/** A value of the first graph; its name and place are the source's, where it has them. */
export interface ExplainedValue {
  readonly name: string | undefined;
  readonly place: Place | undefined;
  readonly kind: Node["kind"];
}

/** `stream`: a later pass made one loop of them, so that what is between is never written. */
export type Outcome = Fusion | "stream" | "apart";

export interface ExplainedPair {
  readonly maker: ExplainedValue;
  readonly reader: ExplainedValue;
  readonly outcome: Outcome;
  /** Why they are apart; undefined where they are not, or where one is no loop. */
  readonly reason: Apart | undefined;
  /** Bytes of memory traffic that were saved, or that would be if they were one. */
  readonly bytes: Dim;
}

export interface Traffic {
  readonly kernels: number;
  /** Read and written in one run. */
  readonly bytes: Dim;
}

export interface FusionReport {
  /** In the order in which their readers run. */
  readonly pairs: readonly ExplainedPair[];
  /** Pairs that read the same and are one loop for that alone; `bytes` is what is then read once. */
  readonly siblings: readonly ExplainedPair[];
  /** Nodes that several kernels compute now. */
  readonly split: readonly { readonly value: ExplainedValue; readonly kernels: number }[];
  readonly before: Traffic;
  readonly after: Traffic;
}

interface Edge {
  readonly ref: Ref;
  readonly reader: Node;
  how: Fusion | undefined;
  reason: Apart | undefined;
}

/** Follows one graph of an arena through the passes that run after this is made. */
export class Explanation {
  readonly #arena: Arena;
  readonly #first: Graph;
  readonly #nodes: readonly Node[];
  readonly #edges: readonly Edge[];
  readonly #siblings = new Map<string, { readonly pair: readonly [Node, Node]; readonly bytes: Dim }>();
  /** Where the passes put their decisions. */
  readonly decisions: FusionDecision[] = [];
  #now: Graph;
  readonly #refs = new Map<Ref, Ref>();

  constructor(arena: Arena, graph: Graph) {
    this.#arena = arena;
    this.#first = this.#now = graph;
    this.#nodes = topological(graph).filter(({ kind }) => kind !== "input");
    this.#edges = this.#nodes.flatMap((reader) =>
      reader.inputs.flatMap((ref) =>
        ref.node.kind === "input" ? [] : [{ ref, reader, how: undefined, reason: undefined }],
      ),
    );
    for (const node of this.#nodes)
      for (let output = 0; output < node.types.length; output++) {
        const ref = arena.ref(node, output);
        this.#refs.set(ref, ref);
      }
    arena.watcher = (find, rebuilt) => {
      this.#settle();
      for (const [old, ref] of this.#refs) this.#refs.set(old, find(ref));
      this.#now = rebuilt;
    };
  }

  report(): FusionReport {
    this.#arena.watcher = undefined;
    this.#settle();
    const world = this.#world();
    const valueOf = (node: Node, ref: Ref): ExplainedValue => ({
      name: this.#arena.hint(ref),
      place: this.#arena.place(node),
      kind: node.kind,
    });
    const main = (node: Node): ExplainedValue => valueOf(node, this.#arena.ref(node, 0));
    const outputs = new Set(outputsOf(this.#first));
    const readers = new Map<Ref, number>();
    for (const { ref } of this.#edges) readers.set(ref, (readers.get(ref) ?? 0) + 1);
    const counted = new Set<Ref>();
    const shared = new Map<Node, ReadonlySet<Ref>>();
    const isInMemory = (ref: Ref): boolean => world.alive.has((this.#refs.get(ref) ?? ref).node);
    const pairs = this.#edges.map(({ ref, reader, how, reason }): ExplainedPair => {
      const now = this.#refs.get(ref) ?? ref;
      const isWritten = isInMemory(ref);
      const apart = isWritten && world.kernelsOf(reader).some((home) => home.inputs.includes(now));
      // What is written no more is saved once, whoever reads it.
      const isLast = apart ? readers.get(ref) === 1 && !outputs.has(ref) : !isWritten && !counted.has(ref);
      if (!apart) counted.add(ref);
      // What both read of memory is read once, and again by nobody who joins them.
      const known = apart ? new Set<Ref>() : (shared.get(reader) ?? new Set<Ref>());
      const both = ref.node.inputs.filter(
        (input) => reader.inputs.includes(input) && !known.has(input) && isInMemory(input),
      );
      if (!apart) shared.set(reader, new Set([...known, ...both]));
      return {
        maker: valueOf(ref.node, ref),
        reader: main(reader),
        outcome: apart ? "apart" : (how ?? "stream"),
        reason: apart ? reason : undefined,
        bytes: add(
          mul(constant(isLast ? 2 : 1), bytesOf(typeOf(ref))),
          ...both.map((input) => bytesOf(typeOf(input))),
        ),
      };
    });
    const siblings = [...this.#siblings.values()].map(({ pair: [left, right], bytes }): ExplainedPair => ({
      maker: main(left),
      reader: main(right),
      outcome: "sibling",
      reason: undefined,
      bytes,
    }));
    const split = this.#nodes.flatMap((node) => {
      const kernels = world.kernelsOf(node).length - world.homesOf(node).length + 1;
      return kernels > 1 && world.isOwn(node) ? [{ value: main(node), kernels }] : [];
    });
    return { pairs, siblings, split, before: trafficOf(this.#first), after: trafficOf(this.#now) };
  }

  /** Gives the decisions since the last graph to the pairs that they are about. */
  #settle(): void {
    const decisions = this.decisions.splice(0);
    if (decisions.length === 0) return;
    const world = this.#world();
    for (const edge of this.#edges) {
      const maker = (this.#refs.get(edge.ref) ?? edge.ref).node.id;
      const homes = world.homesOf(edge.reader).map(({ id }) => id);
      const isOf = (side: ReadonlySet<NodeId>, other: ReadonlySet<NodeId>): boolean =>
        side.has(maker) && homes.some((id) => other.has(id));
      for (const { left, right, outcome } of decisions) {
        if (!isOf(left, right) && !isOf(right, left)) continue;
        if (typeof outcome === "string") edge.how ??= outcome;
        // That a contraction is alone says less than why it does not compute this itself.
        else if (outcome.kind !== "contraction" || !isOfReader(edge.reason)) edge.reason = outcome;
      }
    }
    for (const { left, right, outcome } of decisions)
      if (outcome === "sibling") this.#noteSiblings(world, left, right);
  }

  #noteSiblings(world: World, left: ReadonlySet<NodeId>, right: ReadonlySet<NodeId>): void {
    const of = (ids: ReadonlySet<NodeId>): Node | undefined =>
      this.#nodes.find((node) => world.homesOf(node).some(({ id }) => ids.has(id)));
    const [one, other] = [of(left), of(right)];
    if (one === undefined || other === undefined || one === other) return;
    const shared = one.inputs.filter((ref) => other.inputs.includes(ref));
    const bytes = add(...shared.map((ref) => bytesOf(typeOf(ref))), constant(0));
    const pair = one.id < other.id ? ([one, other] as const) : ([other, one] as const);
    this.#siblings.set(pair.map(({ id }) => id).join(), { pair, bytes });
  }

  #world(): World {
    return new World(this.#nodes, this.#refs, this.#now, this.#arena);
  }
}

/** Why a reader does not compute what it reads. */
function isOfReader(reason: Apart | undefined): boolean {
  return reason?.kind === "costly-again" || reason?.kind === "reads-more" || reason?.kind === "needs-memory";
}

/** Where the first graph's nodes are in the one of now. */
class World {
  readonly alive: ReadonlySet<Node>;
  readonly #homes = new Map<Node, readonly Node[]>();
  /** Nodes that stand for one of the first graph's. */
  readonly #images = new Set<Node>();

  constructor(nodes: readonly Node[], refs: ReadonlyMap<Ref, Ref>, now: Graph, arena: Arena) {
    this.alive = new Set(topological(now));
    const absorbing = new Map<Node, Set<Node>>();
    // Readers come after what they read, and are met first.
    for (const node of nodes.toReversed()) {
      const own = new Set<Node>();
      for (let output = 0; output < node.types.length; output++) {
        const ref = arena.ref(node, output);
        const { node: home } = refs.get(ref) ?? ref;
        if (this.alive.has(home) && home.kind !== "input") own.add(home);
      }
      for (const home of own) this.#images.add(home);
      const homes = own.size > 0 ? own : (absorbing.get(node) ?? own);
      this.#homes.set(node, [...homes]);
      for (const { node: maker } of node.inputs) {
        const list = absorbing.get(maker) ?? new Set<Node>();
        for (const home of homes) list.add(home);
        absorbing.set(maker, list);
      }
    }
  }

  /** The nodes that compute it: its own, or those of its readers where it is written no more. */
  homesOf(node: Node): readonly Node[] {
    return this.#homes.get(node) ?? [];
  }

  /** True where it is the first of those that its node is made of. */
  isOwn(node: Node): boolean {
    const [home] = this.homesOf(node);
    for (const [other, [theirs]] of this.#homes) if (theirs === home) return other === node;
    return false;
  }

  /** `homesOf`, and the nodes before these that passes put in between. */
  kernelsOf(node: Node): readonly Node[] {
    const found = new Set<Node>();
    const stack = [...this.homesOf(node)];
    for (let home = stack.pop(); home !== undefined; home = stack.pop()) {
      if (found.has(home)) continue;
      found.add(home);
      for (const { node: maker } of home.inputs)
        if (maker.kind !== "input" && !this.#images.has(maker)) stack.push(maker);
    }
    return [...found];
  }
}

function trafficOf(graph: Graph): Traffic {
  const nodes = topological(graph).filter(({ kind }) => kind !== "input");
  const bytes = nodes.map((node) => {
    const { read, written } = costOf(node);
    return add(read, written);
  });
  return { kernels: nodes.length, bytes: add(...bytes, constant(0)) };
}
