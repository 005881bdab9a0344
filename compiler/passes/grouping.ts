/**
 * Chooses which loops become one: greedily, in topological order, the best saving first.
 *
 * Each new loop is a group of its own; it meets the groups that it reads of and the latest readers of what it reads,
 * and joins the one with which most bytes are saved, if nothing stands against it; then what it has become meets
 * others again. Groups stay convex: nothing outside lies on a path between two members.
 */
import type { Arena } from "../tensor/arena.ts";
import { outputsOf, replaceOutputs, tableFor, topological } from "../tensor/graphs.ts";
import type { Graph, Node, NodeId, Ref } from "../tensor/ir.ts";
import { typeOf } from "../tensor/refs.ts";
import { emitGroup } from "./emit-group.ts";
import { cheapFactorFlops, type Apart, type Fusing, type Fusion } from "./fusing.ts";
import { meet, merged, singleton, type Group, type Meeting } from "./groups.ts";
import { bodyFlops, leavesProductsOut } from "./loops.ts";
import type { Templates } from "./templates.ts";

class Grouping {
  readonly #cx: Fusing;
  /** By ids of nodes. */
  readonly #groupOf: (Group | undefined)[];
  readonly #readers: Readers;
  /** How many readers of a node have been added, by its id. */
  readonly #added: (number | undefined)[];
  readonly #outputs: ReadonlySet<Node>;
  #next = 0;
  changed = false;

  constructor(cx: Fusing, graph: Graph, readers: Readers) {
    this.#cx = cx;
    this.#readers = readers;
    const nodes = topological(graph);
    this.#groupOf = tableFor<Group>(nodes);
    this.#added = tableFor<number>(nodes);
    this.#outputs = new Set(outputsOf(graph).map((ref) => ref.node));
  }

  groupOf(node: Node): Group | undefined {
    return this.#groupOf[node.id];
  }

  /** Nodes are added in their order: each after what it reads. */
  add(node: Node): void {
    const { inputs } = node;
    for (let i = 0; i < inputs.length; i++) {
      const maker = inputs[i]?.node;
      let first = 0;
      while (inputs[first]?.node !== maker) first++;
      if (maker !== undefined && first === i) this.#added[maker.id] = (this.#added[maker.id] ?? 0) + 1;
    }
    if (node.kind !== "loop") return;
    let group = singleton(this.#next++, node);
    this.#keep(group);
    for (let rounds = 0; rounds < maxRounds; rounds++) {
      const best = this.#best(group, node);
      if (best === undefined) return;
      group = merged(this.#next++, best.meeting, this.#groupOf);
      this.#keep(group);
      this.changed = true;
      const { base, joined } = best.meeting;
      this.#cx.decisions?.push({ left: idsOf(base), right: idsOf(joined), outcome: best.outcome });
    }
  }

  #isIn(group: Group, node: Node): boolean {
    return this.#groupOf[node.id] === group;
  }

  #keep(group: Group): void {
    for (const { node } of group.members) this.#groupOf[node.id] = group;
  }

  #best(group: Group, node: Node): Candidate | undefined {
    let best: Candidate | undefined;
    for (const other of this.#candidates(group, node)) {
      const candidate = this.#judge(other, group);
      if (candidate !== undefined && (best === undefined || candidate.saved > best.saved)) best = candidate;
    }
    return best;
  }

  /** Groups that the new node reads of, then the latest readers of what it reads. */
  #candidates(group: Group, node: Node): readonly Group[] {
    const candidates: Group[] = [];
    const note = (other: Group | undefined): void => {
      if (other !== undefined && other !== group && !candidates.includes(other)) candidates.push(other);
    };
    for (const ref of node.inputs) note(this.#groupOf[ref.node.id]);
    for (const ref of node.inputs) {
      const readers = this.#readers[ref.node.id] ?? [];
      const end = this.#added[ref.node.id] ?? 0;
      for (let i = Math.max(0, end - maxSiblings); i < end; i++) {
        const reader = readers[i];
        if (reader !== undefined) note(this.#groupOf[reader.id]);
      }
    }
    return candidates;
  }

  #judge(a: Group, b: Group): Candidate | undefined {
    const meeting = meet(a, b, this.#groupOf);
    if ("kind" in meeting)
      return this.#refuse(a, b, a.contracts || b.contracts ? ofContraction(a, b) : meeting);
    const saved = this.#saved(meeting);
    if (saved <= 0) return undefined;
    const { base, joined, flow } = meeting;
    const full = base.over.length > 0 && joined.over.length === 0 && joined.axes.length > base.axes.length;
    const linked = base.over.length > 0 && joined.over.length > 0 && flow.length > 0;
    const isRow = full || (linked && !(contracts(meeting) && isForEnds(meeting)));
    const outcome = flow.length === 0 ? "sibling" : isRow ? "row" : "epilogue";
    const reason = this.#obstacle(meeting, outcome, saved);
    if (reason !== undefined) return this.#refuse(a, b, reason);
    return { meeting, saved, outcome };
  }

  /** Why a meeting that is possible is not made, or undefined. */
  #obstacle(meeting: Meeting, outcome: Fusion, saved: number): Apart | undefined {
    const { base, joined, flow } = meeting;
    const { options, sizes } = this.#cx;
    if (base.contracts || joined.contracts) {
      const epilogue =
        base.contracts &&
        !joined.contracts &&
        outcome === "epilogue" &&
        joined.over.length === 0 &&
        this.#flowsFrom(base, flow);
      // Side by side, or one of them for what the other's sums end in.
      const beside = contracts(meeting) && outcome !== "row";
      if (!epilogue && !beside) return ofContraction(base, joined);
    }
    if (outcome === "sibling") {
      const bytes = this.#bytes(joined);
      if (saved * 4 < bytes) return { kind: "little-shared", shared: saved, bytes };
    }
    if (outcome === "row") {
      const starved = this.#starves(base);
      if (starved !== undefined) return starved;
    }
    const scalars = base.scalars + joined.scalars;
    if (scalars > options.maxScalars) return { kind: "too-large", scalars, most: options.maxScalars };
    const tensors = this.#buffers(meeting);
    if (tensors > options.maxBuffers) return { kind: "too-many-tensors", tensors, most: options.maxBuffers };
    if (this.#crosses(base, joined) || this.#crosses(joined, base)) return { kind: "between" };
    if (base.over.length > 0 && sizes.points(base.over) === 0) return { kind: "empty" };
    return undefined;
  }

  #flowsFrom(base: Group, flow: readonly Ref[]): boolean {
    return flow.every((ref) => base.members.some((m) => m.node === ref.node));
  }

  /** A row that is long, where rows are few: two kernels over all elements are faster than one over the rows. */
  #starves(base: Group): Apart | undefined {
    const rows = this.#cx.sizes.points(base.axes);
    const length = this.#cx.sizes.points(base.over);
    if (rows >= fewRows || length <= longRow) return undefined;
    return { kind: "few-rows", rows, least: fewRows, length, longest: longRow };
  }

  #bytes(group: Group): number {
    let bytes = 0;
    for (const ref of group.externals) bytes += this.#cx.sizes.ref(ref);
    return bytes;
  }

  /** Whether someone outside both groups reads the node. Readers that come later are outside. */
  #isNeeded(node: Node, a: Group, b: Group): boolean {
    if (this.#outputs.has(node)) return true;
    for (const reader of this.#readers[node.id] ?? [])
      if (!this.#isIn(a, reader) && !this.#isIn(b, reader)) return true;
    return false;
  }

  #buffers({ base, joined }: Meeting): number {
    let buffers = 0;
    for (const group of [base, joined]) {
      for (const { node } of group.members)
        if (this.#isNeeded(node, base, joined)) buffers += node.types.length;
    }
    for (const ref of base.externals) if (!this.#isIn(joined, ref.node)) buffers += 1;
    for (const ref of joined.externals)
      if (!this.#isIn(base, ref.node) && !base.externals.includes(ref)) buffers += 1;
    return buffers;
  }

  #saved({ base, joined, flow, shared }: Meeting): number {
    const { sizes } = this.#cx;
    let saved = 0;
    for (const ref of flow) saved += sizes.ref(ref) * (this.#isNeeded(ref.node, base, joined) ? 1 : 2);
    for (const ref of shared)
      if (!this.#isIn(base, ref.node) && !this.#isIn(joined, ref.node)) saved += sizes.ref(ref);
    return saved;
  }

  /** Whether `from` reaches `to` through a node of neither: then they cannot be one loop. */
  #crosses(from: Group, to: Group): boolean {
    const least = from.members[0]?.node.id ?? 0;
    const stack: Node[] = [];
    for (const { node } of to.externals)
      if (!this.#isIn(from, node) && this.#latest(node) >= least) stack.push(node);
    if (stack.length === 0) return false;
    const seen = new Set<Node>();
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      if (seen.size > maxVisits) return true;
      // A group is one loop: what any member reads comes before all of them.
      for (const { node: maker } of this.#groupOf[node.id]?.externals ?? node.inputs) {
        if (this.#isIn(from, maker)) return true;
        if (this.#latest(maker) >= least && !seen.has(maker)) stack.push(maker);
      }
    }
    return false;
  }

  /** The highest id in the node's group: what is reached from it has lower ones. */
  #latest(node: Node): number {
    return this.#groupOf[node.id]?.members.at(-1)?.node.id ?? node.id;
  }

  #refuse(a: Group, b: Group, reason: Apart): undefined {
    this.#cx.decisions?.push({ left: idsOf(a), right: idsOf(b), outcome: reason });
    return undefined;
  }
}

function contracts({ base, joined }: Meeting): boolean {
  return base.contracts && joined.contracts;
}

/** Whether what one group reads of the other is read where sums are done, and not while they run. */
function isForEnds({ base, joined, flow }: Meeting): boolean {
  return [...base.members, ...joined.members].every(
    ({ node }) => node.over.length === 0 || !flow.some((ref) => node.inputs.includes(ref)),
  );
}

/** Why two groups stay apart, one of which contracts: what it would make of its factors again, or that alone. */
function ofContraction(a: Group, b: Group): Apart {
  const [maker, reader] = a.contracts ? [b, a] : [a, b];
  const made = idsOf(maker);
  const factors = maker.contracts ? [] : reader.externals.filter(({ node }) => made.has(node.id));
  if (factors.length > 0 && reader.members.some(({ node }) => leavesProductsOut(node)))
    return { kind: "masked" };
  // Of a row's one value, the bodies run once for each place of the row: they do not say what a value takes.
  const places = maker.axes.length + maker.over.length;
  const isCounted = factors.length > 0 && factors.every((ref) => typeOf(ref).shape.length >= places);
  const flops = isCounted ? maker.members.reduce((sum, { node }) => sum + bodyFlops(node), 0) : 0;
  return flops > cheapFactorFlops
    ? { kind: "costly-again", flops, most: cheapFactorFlops }
    : { kind: "contraction" };
}

function idsOf(group: Group): ReadonlySet<NodeId> {
  return new Set(group.members.map(({ node }) => node.id));
}

interface Candidate {
  readonly meeting: Meeting;
  readonly saved: number;
  readonly outcome: Fusion;
}

/** How many groups one node may bring together, and how many readers of a tensor are looked at. */
const maxRounds = 6;
const maxSiblings = 6;
/** Nodes that the search for a path between two groups visits before it takes that there is one. */
const maxVisits = 2000;
/** Rows that keep a device busy at least, where a row is long. */
const fewRows = 32;
const longRow = 8192;

/** The nodes that read each node, by its id, in their order. */
type Readers = readonly (readonly Node[] | undefined)[];

function readersOf(nodes: readonly Node[]): Readers {
  const readers = tableFor<Node[]>(nodes);
  for (const node of nodes) {
    for (const ref of node.inputs) {
      const list = readers[ref.node.id];
      if (list === undefined) readers[ref.node.id] = [node];
      else if (list.at(-1) !== node) list.push(node);
    }
  }
  return readers;
}

/** The graph with its groups as loops; the same graph where none has two. */
export function groupLoops(cx: Fusing, templates: Templates, graph: Graph): Graph {
  const nodes = topological(graph);
  const readers = readersOf(nodes);
  const grouping = new Grouping(cx, graph, readers);
  for (const node of nodes) grouping.add(node);
  if (!grouping.changed) return graph;
  const outputs = new Set(outputsOf(graph));
  const now = new Map<Ref, Ref>();
  for (const unit of unitsInOrder(nodes, grouping)) {
    for (const [old, ref] of emitUnit(cx.arena, templates, unit, now, outputs, readers)) now.set(old, ref);
  }
  return replaceOutputs(cx.arena, graph, (ref) => now.get(ref) ?? ref);
}

type Unit =
  { readonly kind: "group"; readonly group: Group } | { readonly kind: "node"; readonly node: Node };

/** Groups and other nodes, each after what it reads. */
function unitsInOrder(nodes: readonly Node[], grouping: Grouping): readonly Unit[] {
  const done = tableFor<true>(nodes);
  const units: Unit[] = [];
  for (const start of nodes) {
    const stack: Node[] = [start];
    for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
      if (done[node.id] === true) {
        stack.pop();
        continue;
      }
      const group = grouping.groupOf(node);
      const before = stack.length;
      for (const ref of group === undefined ? node.inputs : group.externals)
        if (done[ref.node.id] !== true) stack.push(ref.node);
      if (stack.length > before) continue;
      stack.pop();
      if (group === undefined) {
        units.push({ kind: "node", node });
        done[node.id] = true;
        continue;
      }
      units.push({ kind: "group", group });
      for (const member of group.members) done[member.node.id] = true;
    }
  }
  return units;
}

function emitUnit(
  arena: Arena,
  templates: Templates,
  unit: Unit,
  now: ReadonlyMap<Ref, Ref>,
  outputs: ReadonlySet<Ref>,
  readers: Readers,
): ReadonlyMap<Ref, Ref> {
  // Asked of a group's values alone, of which a node on its own has none.
  let own: ReadonlySet<Node> | undefined;
  const needed = (ref: Ref): boolean => {
    const inside = (own ??= new Set(unit.kind === "group" ? unit.group.members.map((m) => m.node) : []));
    return (
      outputs.has(ref) ||
      (readers[ref.node.id] ?? []).some((reader) => !inside.has(reader) && reader.inputs.includes(ref))
    );
  };
  const made = emitGroup(arena, templates, unit, now, needed);
  for (const [old, ref] of made) {
    if (ref.node === old.node) continue;
    const hint = arena.hint(old);
    const place = arena.place(old.node);
    if (hint !== undefined) arena.setHint(ref, hint);
    if (place !== undefined) arena.setPlace(ref.node, place);
  }
  return made;
}
