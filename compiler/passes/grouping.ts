/**
 * Chooses which loops become one: greedily, in topological order, the best saving first.
 *
 * Each new loop is a group of its own; it meets the groups that it reads of and the latest readers of what it reads,
 * and joins the one with which most bytes are saved, if nothing stands against it; then what it has become meets
 * others again. Groups stay convex: nothing outside lies on a path between two members.
 */
import type { Arena } from "../tensor/arena.ts";
import { outputsOf, replaceOutputs, topological } from "../tensor/graphs.ts";
import type { Graph, Node, Ref } from "../tensor/ir.ts";
import { emitGroup } from "./emit-group.ts";
import { nameOf, type Fusing, type FusionDecision } from "./fusing.ts";
import { meet, merged, producersOf, singleton, type Group, type Meeting } from "./groups.ts";

class Grouping {
  readonly #cx: Fusing;
  readonly #groups: Group[] = [];
  readonly #groupOf = new Map<Node, Group>();
  readonly #consumers = new Map<Node, Node[]>();
  readonly #outputs: ReadonlySet<Node>;
  readonly #refusals: { readonly a: Group; readonly b: Group; readonly reason: string }[] = [];
  #next = 0;
  changed = false;

  constructor(cx: Fusing, graph: Graph) {
    this.#cx = cx;
    this.#outputs = new Set(outputsOf(graph).map((ref) => ref.node));
  }

  groupOf(node: Node): Group | undefined {
    return this.#groupOf.get(node);
  }

  add(node: Node): void {
    for (const maker of new Set(node.inputs.map((ref) => ref.node))) {
      const list = this.#consumers.get(maker);
      if (list === undefined) this.#consumers.set(maker, [node]);
      else list.push(node);
    }
    if (node.kind !== "loop") return;
    let group = singleton(this.#next++, node);
    this.#keep(group);
    for (let rounds = 0; rounds < maxRounds; rounds++) {
      const best = this.#best(group, node);
      if (best === undefined) return;
      group = merged(this.#next++, best.meeting);
      this.#keep(group);
      this.changed = true;
      this.#note(best.meeting, best.saved, best.outcome, "they share one loop");
    }
  }

  #keep(group: Group): void {
    this.#groups.push(group);
    for (const { node } of group.members) this.#groupOf.set(node, group);
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
  #candidates(group: Group, node: Node): ReadonlySet<Group> {
    const candidates = new Set<Group>();
    for (const ref of node.inputs) {
      const maker = this.#groupOf.get(ref.node);
      if (maker !== undefined) candidates.add(maker);
    }
    for (const ref of node.inputs) {
      for (const reader of (this.#consumers.get(ref.node) ?? []).slice(-maxSiblings)) {
        const sibling = this.#groupOf.get(reader);
        if (sibling !== undefined) candidates.add(sibling);
      }
    }
    candidates.delete(group);
    return candidates;
  }

  #judge(a: Group, b: Group): Candidate | undefined {
    const meeting = meet(a, b);
    if ("reason" in meeting)
      return this.#refuse(a, b, a.contracts || b.contracts ? contractsAlone : meeting.reason);
    const saved = this.#saved(meeting);
    if (saved <= 0) return undefined;
    const { base, joined, flow } = meeting;
    const full = base.over.length > 0 && joined.over.length === 0 && joined.axes.length > base.axes.length;
    const linked = base.over.length > 0 && joined.over.length > 0 && flow.length > 0;
    const outcome = flow.length === 0 ? "sibling" : full || linked ? "row" : "epilogue";
    const reason = this.#obstacle(meeting, outcome, saved);
    if (reason !== undefined) return this.#refuse(a, b, reason);
    return { meeting, saved, outcome };
  }

  /** Why a meeting that is possible is not made, or undefined. */
  #obstacle(meeting: Meeting, outcome: Candidate["outcome"], saved: number): string | undefined {
    const { base, joined, flow } = meeting;
    const { options, sizes } = this.#cx;
    if (base.contracts || joined.contracts) {
      const epilogue =
        base.contracts &&
        !joined.contracts &&
        outcome === "epilogue" &&
        joined.over.length === 0 &&
        this.#flowsFrom(base, flow);
      const siblings = base.contracts && joined.contracts && outcome === "sibling";
      if (!epilogue && !siblings) return contractsAlone;
    }
    if (outcome === "sibling" && saved * 4 < this.#bytes(joined)) return "they share too little";
    if (outcome === "row" && this.#starves(base)) return "too few rows to spread over the device";
    if (base.scalars + joined.scalars > options.maxScalars) return "the loop would be too large";
    if (this.#buffers(meeting) > options.maxBuffers) return "the loop would have too many buffers";
    if (this.#crosses(base, joined) || this.#crosses(joined, base))
      return "something between them needs the whole tensor";
    if (base.over.length > 0 && sizes.points(base.over) === 0) return "it runs over nothing";
    return undefined;
  }

  #flowsFrom(base: Group, flow: readonly Ref[]): boolean {
    return flow.every((ref) => base.members.some((m) => m.node === ref.node));
  }

  /** A row that is long, where rows are few: two kernels over all elements are faster than one over the rows. */
  #starves(base: Group): boolean {
    const rows = this.#cx.sizes.points(base.axes);
    return rows < fewRows && this.#cx.sizes.points(base.over) > longRow;
  }

  #bytes(group: Group): number {
    let bytes = 0;
    for (const ref of group.externals) bytes += this.#cx.sizes.ref(ref);
    return bytes;
  }

  /** Whether someone outside both groups reads the node. Readers that come later are outside. */
  #isNeeded(node: Node, a: Group, b: Group): boolean {
    if (this.#outputs.has(node)) return true;
    for (const reader of this.#readers.get(node) ?? [])
      if (!a.nodes.has(reader) && !b.nodes.has(reader)) return true;
    return false;
  }
  #readers: ReadonlyMap<Node, readonly Node[]> = new Map();
  setReaders(readers: ReadonlyMap<Node, readonly Node[]>): void {
    this.#readers = readers;
  }

  #buffers({ base, joined }: Meeting): number {
    let buffers = 0;
    for (const group of [base, joined]) {
      for (const { node } of group.members)
        if (this.#isNeeded(node, base, joined)) buffers += node.types.length;
    }
    for (const ref of base.externals) if (!joined.nodes.has(ref.node)) buffers += 1;
    for (const ref of joined.externals)
      if (!base.nodes.has(ref.node) && !base.externals.has(ref)) buffers += 1;
    return buffers;
  }

  #saved({ base, joined, flow, shared }: Meeting): number {
    const { sizes } = this.#cx;
    let saved = 0;
    for (const ref of flow) saved += sizes.ref(ref) * (this.#isNeeded(ref.node, base, joined) ? 1 : 2);
    for (const ref of shared)
      if (!base.nodes.has(ref.node) && !joined.nodes.has(ref.node)) saved += sizes.ref(ref);
    return saved;
  }

  /** Whether `from` reaches `to` through a node of neither: then they cannot be one loop. */
  #crosses(from: Group, to: Group): boolean {
    const least = from.members[0]?.node.id ?? 0;
    const seen = new Set<Node>();
    const stack: Node[] = [];
    for (const maker of producersOf(to)) if (!from.nodes.has(maker)) stack.push(maker);
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      if (from.nodes.has(node)) return true;
      if (seen.size > maxVisits) return true;
      const group = this.#groupOf.get(node);
      // A group is one loop: what any member reads comes before all of them.
      const makers = group === undefined ? node.inputs.map((ref) => ref.node) : [...producersOf(group)];
      const latest = group === undefined ? node.id : (group.members.at(-1)?.node.id ?? node.id);
      if (latest < least) continue;
      for (const maker of makers) if (!seen.has(maker)) stack.push(maker);
    }
    return false;
  }

  #refuse(a: Group, b: Group, reason: string): undefined {
    this.#refusals.push({ a, b, reason });
    return undefined;
  }

  /** The last reason for each value that still passes through memory between two loops. */
  refusals(): readonly FusionDecision[] {
    const apart = new Map<string, FusionDecision>();
    for (const { a, b, reason } of this.#refusals) {
      const consumer = b.members.at(-1)?.node;
      for (const ref of b.externals) {
        if (
          consumer === undefined ||
          !a.nodes.has(ref.node) ||
          this.#groupOf.get(ref.node) === this.#groupOf.get(consumer)
        )
          continue;
        const [producer, reader] = [nameOf(this.#cx, ref.node), nameOf(this.#cx, consumer)];
        apart.set(`${ref.node.id} ${consumer.id}`, {
          outcome: "apart",
          producer,
          consumer: reader,
          saved: this.#cx.sizes.ref(ref),
          reason,
        });
      }
    }
    return [...apart.values()];
  }

  #note({ base, joined, flow }: Meeting, saved: number, outcome: Candidate["outcome"], reason: string): void {
    const [first, last] = [base.members.at(-1)?.node, joined.members.at(-1)?.node];
    const [early, late] = (first?.id ?? 0) < (last?.id ?? 0) ? [first, last] : [last, first];
    this.#cx.report.push({
      outcome,
      producer: nameOf(this.#cx, flow[0]?.node ?? early),
      consumer: nameOf(this.#cx, late),
      saved,
      reason,
    });
  }
}

const contractsAlone = "a contraction keeps its own loop";

interface Candidate {
  readonly meeting: Meeting;
  readonly saved: number;
  readonly outcome: "epilogue" | "row" | "sibling";
}

/** How many groups one node may bring together, and how many readers of a tensor are looked at. */
const maxRounds = 6;
const maxSiblings = 6;
/** Nodes that the search for a path between two groups visits before it takes that there is one. */
const maxVisits = 2000;
/** Rows that keep a device busy at least, where a row is long. */
const fewRows = 32;
const longRow = 8192;

/** The graph with its groups as loops, and the reasons of loops that stay apart. */
export interface Grouped {
  readonly graph: Graph;
  readonly changed: boolean;
  readonly refusals: () => readonly FusionDecision[];
}

export function groupLoops(cx: Fusing, graph: Graph): Grouped {
  const nodes = topological(graph);
  const grouping = new Grouping(cx, graph);
  const readers = new Map<Node, Node[]>();
  for (const node of nodes) {
    for (const ref of node.inputs) {
      const list = readers.get(ref.node);
      if (list === undefined) readers.set(ref.node, [node]);
      else list.push(node);
    }
  }
  grouping.setReaders(readers);
  for (const node of nodes) grouping.add(node);
  const refusals = (): readonly FusionDecision[] => grouping.refusals();
  if (!grouping.changed) return { graph, changed: false, refusals };
  const outputs = new Set(outputsOf(graph));
  const now = new Map<Ref, Ref>();
  for (const unit of unitsInOrder(nodes, grouping)) {
    for (const [old, ref] of emitUnit(cx.arena, unit, now, outputs, readers)) now.set(old, ref);
  }
  return { graph: replaceOutputs(cx.arena, graph, (ref) => now.get(ref) ?? ref), changed: true, refusals };
}

type Unit =
  { readonly kind: "group"; readonly group: Group } | { readonly kind: "node"; readonly node: Node };

/** Groups and other nodes, each after what it reads. */
function unitsInOrder(nodes: readonly Node[], grouping: Grouping): readonly Unit[] {
  const done = new Set<Node>();
  const units: Unit[] = [];
  for (const start of nodes) {
    const stack: Node[] = [start];
    for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
      if (done.has(node)) {
        stack.pop();
        continue;
      }
      const group = grouping.groupOf(node);
      const makers = group === undefined ? node.inputs.map((ref) => ref.node) : [...producersOf(group)];
      const missing = makers.filter((maker) => !done.has(maker));
      if (missing.length > 0) {
        stack.push(...missing);
        continue;
      }
      stack.pop();
      if (group === undefined) units.push({ kind: "node", node });
      else units.push({ kind: "group", group });
      for (const member of group === undefined ? [node] : group.members.map((m) => m.node)) done.add(member);
    }
  }
  return units;
}

function emitUnit(
  arena: Arena,
  unit: Unit,
  now: ReadonlyMap<Ref, Ref>,
  outputs: ReadonlySet<Ref>,
  readers: ReadonlyMap<Node, readonly Node[]>,
): ReadonlyMap<Ref, Ref> {
  const members = unit.kind === "group" ? unit.group.members : [];
  const own = new Set<Node>(members.map((m) => m.node));
  const needed = (ref: Ref): boolean =>
    outputs.has(ref) ||
    (readers.get(ref.node) ?? []).some((reader) => !own.has(reader) && reader.inputs.includes(ref));
  const made = emitGroup(arena, unit, now, needed);
  for (const [old, ref] of made) {
    if (ref.node === old.node) continue;
    const hint = arena.hint(old);
    const place = arena.place(old.node);
    if (hint !== undefined) arena.setHint(ref, hint);
    if (place !== undefined) arena.setPlace(ref.node, place);
  }
  return made;
}
