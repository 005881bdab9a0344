/**
 * Chooses which loops become one: greedily, in topological order, the best saving first.
 *
 * Each new loop is a group of its own; it meets the groups that it reads of and the latest readers of what it reads,
 * and joins the one with which most bytes are saved, if nothing stands against it; then what it has become meets
 * others again. Groups stay convex: nothing outside lies on a path between two members.
 */
import type { Arena } from "../tensor/arena.ts";
import {
  carryName,
  carryNames,
  outputsOf,
  outputsOfNode,
  readersOf,
  readsAny,
  replaceOutputs,
  tableFor,
  topological,
  withInputs,
  type Readers,
} from "../tensor/graphs.ts";
import type { Graph, Node, NodeId, Ref } from "../tensor/ir.ts";
import { refsOf, typeOf } from "../tensor/refs.ts";
import { emitGroup } from "./emit-group.ts";
import { cheapFactorFlops, type Apart, type Fusing, type Fusion } from "./fusing.ts";
import { accessOf, meet, merged, singleton, type Access, type Group, type Meeting } from "./groups.ts";
import { bodyFlops, leavesProductsOut } from "./loops.ts";
import type { Templates } from "./templates.ts";

class Grouping {
  readonly #cx: Fusing;
  /** By ids of nodes. */
  readonly #groupOf: (Group | undefined)[];
  readonly #readers: Readers;
  /** What the loops of each form read, by the form's id. */
  readonly #access: (readonly Access[] | undefined)[] = [];
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
    let group = singleton(this.#next++, node, (this.#access[node.form.id] ??= accessOf(node)));
    this.#groupOf[node.id] = group;
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

  #keep(group: Group): void {
    const { members } = group;
    for (let i = 0; i < members.length; i++) {
      const node = members[i]?.node;
      if (node !== undefined) this.#groupOf[node.id] = group;
    }
  }

  #best(group: Group, node: Node): Candidate | undefined {
    let best: Candidate | undefined;
    const candidates = this.#candidates(group, node);
    for (let i = 0; i < candidates.length; i++) {
      const other = candidates[i];
      if (other === undefined || this.#isRefused(other, group)) continue;
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
    const { inputs } = node;
    for (let k = 0; k < inputs.length; k++) note(this.#groupOf[inputs[k]?.node.id ?? -1]);
    for (let k = 0; k < inputs.length; k++) {
      const id = inputs[k]?.node.id ?? -1;
      const readers = this.#readers[id];
      if (readers === undefined) continue;
      const end = this.#added[id] ?? 0;
      for (let i = Math.max(0, end - maxSiblings); i < end; i++) note(this.#groupOf[readers[i]?.id ?? -1]);
    }
    return candidates;
  }

  /** Most pairs are refused at a glance, where nobody asks why: a contraction takes in no other reduction. */
  #isRefused(a: Group, b: Group): boolean {
    if (this.#cx.decisions !== undefined || a.contracts === b.contracts) return false;
    return (a.contracts ? b : a).over.length > 0;
  }

  #judge(a: Group, b: Group): Candidate | undefined {
    const meeting = meet(a, b, this.#groupOf);
    if ("kind" in meeting) {
      if (this.#cx.decisions === undefined) return undefined;
      return this.#refuse(a, b, a.contracts || b.contracts ? ofContraction(a, b) : meeting);
    }
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
      if (!epilogue && !beside)
        return this.#cx.decisions === undefined ? { kind: "contraction" } : ofContraction(base, joined);
    }
    if (outcome === "sibling") {
      const bytes = sizes.refs(joined.externals);
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

  /** Whether someone outside both groups reads the node. Readers that come later are outside. */
  #isNeeded(node: Node, a: Group, b: Group): boolean {
    const readers = this.#readers[node.id];
    for (let i = 0; readers !== undefined && i < readers.length; i++) {
      const home = this.#groupOf[readers[i]?.id ?? -1];
      if (home !== a && home !== b) return true;
    }
    return this.#outputs.has(node);
  }

  #buffers({ base, joined }: Meeting): number {
    const homes = this.#groupOf;
    let buffers = this.#written(base, base, joined) + this.#written(joined, base, joined);
    for (let i = 0; i < base.externals.length; i++)
      if (homes[base.externals[i]?.node.id ?? -1] !== joined) buffers += 1;
    for (let i = 0; i < joined.externals.length; i++) {
      const ref = joined.externals[i];
      if (ref !== undefined && homes[ref.node.id] !== base && !base.externals.includes(ref)) buffers += 1;
    }
    return buffers;
  }

  /** How many of a group's tensors someone reads who is in neither of two. */
  #written({ members }: Group, a: Group, b: Group): number {
    let written = 0;
    for (let i = 0; i < members.length; i++) {
      const node = members[i]?.node;
      if (node !== undefined && this.#isNeeded(node, a, b)) written += node.types.length;
    }
    return written;
  }

  #saved({ base, joined, flow, shared }: Meeting): number {
    const { sizes } = this.#cx;
    let saved = 0;
    for (let i = 0; i < flow.length; i++) {
      const ref = flow[i];
      if (ref !== undefined) saved += sizes.ref(ref) * (this.#isNeeded(ref.node, base, joined) ? 1 : 2);
    }
    for (let i = 0; i < shared.length; i++) {
      const ref = shared[i];
      const home = this.#groupOf[ref?.node.id ?? -1];
      if (ref !== undefined && home !== base && home !== joined) saved += sizes.ref(ref);
    }
    return saved;
  }

  /** Whether `from` reaches `to` through a node of neither: then they cannot be one loop. */
  #crosses(from: Group, to: Group): boolean {
    const least = from.members[0]?.node.id ?? 0;
    const homes = this.#groupOf;
    const stack: Node[] = [];
    for (let i = 0; i < to.externals.length; i++) {
      const node = to.externals[i]?.node;
      if (node !== undefined && homes[node.id] !== from && this.#latest(node) >= least) stack.push(node);
    }
    if (stack.length === 0) return false;
    const seen = new Set<Node>();
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      if (seen.size > maxVisits) return true;
      // A group is one loop: what any member reads comes before all of them.
      for (const { node: maker } of this.#groupOf[node.id]?.externals ?? node.inputs) {
        if (homes[maker.id] === from) return true;
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

/** The graph with its groups as loops; the same graph where none has two. */
export function groupLoops(cx: Fusing, templates: Templates, graph: Graph): Graph {
  const nodes = topological(graph);
  const readers = readersOf(nodes);
  const grouping = new Grouping(cx, graph, readers);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node !== undefined) grouping.add(node);
  }
  if (!grouping.changed) return graph;
  return written(cx.arena, templates, graph, grouping, readers);
}

/** The graph with each group as one loop, each after what it reads. */
function written(
  arena: Arena,
  templates: Templates,
  graph: Graph,
  grouping: Grouping,
  readers: Readers,
): Graph {
  const nodes = topological(graph);
  const outputs = new Set(outputsOf(graph));
  /** What stands for each node's outputs, by its id; undefined where these are as they were. */
  const written = tableFor<(Ref | undefined)[]>(nodes);
  const now = (ref: Ref): Ref => written[ref.node.id]?.[ref.output] ?? ref;
  const done = tableFor<true>(nodes);
  const writeNode = (node: Node): void => {
    done[node.id] = true;
    if (!readsAny(node, written)) return;
    const made = outputsOfNode(arena, withInputs(arena, node, refsOf(node.inputs, now)));
    written[node.id] = [...made];
    carryNames(arena, node, made);
  };
  const writeGroup = (group: Group): void => {
    for (const { node } of group.members) done[node.id] = true;
    const isNeeded = (ref: Ref): boolean => {
      const list = readers[ref.node.id];
      for (let i = 0; list !== undefined && i < list.length; i++) {
        const reader = list[i];
        if (reader !== undefined && grouping.groupOf(reader) !== group && reader.inputs.includes(ref))
          return true;
      }
      return outputs.has(ref);
    };
    const made = emitGroup(arena, templates, group, now, isNeeded);
    made.outputs.forEach((old, position) => {
      const ref = arena.ref(made.loop, position);
      (written[old.node.id] ??= [])[old.output] = ref;
      carryName(arena, old, ref);
    });
  };
  const stack: Node[] = [];
  for (let i = 0; i < nodes.length; i++) {
    const start = nodes[i];
    if (start === undefined || done[start.id] === true) continue;
    stack.push(start);
    for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
      if (done[node.id] === true) {
        stack.pop();
        continue;
      }
      const group = grouping.groupOf(node);
      const before = stack.length;
      const reads = group === undefined ? node.inputs : group.externals;
      for (let k = 0; k < reads.length; k++) {
        const maker = reads[k]?.node;
        if (maker !== undefined && done[maker.id] !== true) stack.push(maker);
      }
      if (stack.length > before) continue;
      stack.pop();
      if (group === undefined || group.members.length === 1) writeNode(node);
      else writeGroup(group);
    }
  }
  return replaceOutputs(arena, graph, now);
}
