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
import type { Graph, Node, Ref } from "../tensor/ir.ts";
import { refsOf } from "../tensor/refs.ts";
import { emitGroup } from "./emit-group.ts";
import type { Fusing } from "./fusing.ts";
import { merged, Shapes, singleton, type Group } from "./groups.ts";
import { idsOf, Judging, type Match } from "./judging.ts";
import type { Templates } from "./templates.ts";

class Grouping {
  readonly #cx: Fusing;
  /** By ids of nodes. */
  readonly #groupOf: (Group | undefined)[];
  readonly #readers: Readers;
  readonly #shapes = new Shapes();
  readonly #judging: Judging;
  /** How many readers of a node have been added, by its id. */
  readonly #added: (number | undefined)[];
  changed = false;

  constructor(cx: Fusing, graph: Graph, readers: Readers) {
    this.#cx = cx;
    this.#readers = readers;
    const nodes = topological(graph);
    this.#groupOf = tableFor<Group>(nodes);
    this.#added = tableFor<number>(nodes);
    const outputs = new Set(outputsOf(graph).map((ref) => ref.node));
    this.#judging = new Judging(cx, this.#groupOf, readers, outputs);
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
    let group = singleton(this.#shapes, node);
    this.#groupOf[node.id] = group;
    for (let rounds = 0; rounds < maxRounds; rounds++) {
      const best = this.#best(group, node);
      if (best === undefined) return;
      const { match, other } = best;
      const [base, joined] = match.isTurned ? [group, other] : [other, group];
      group = merged(this.#shapes, base, joined, match, this.#groupOf);
      this.#keep(group);
      this.changed = true;
      this.#cx.decisions?.push({ left: idsOf(base), right: idsOf(joined), outcome: match.outcome });
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
      const match = other === undefined ? undefined : this.#judging.judge(other, group);
      if (other === undefined || match === undefined) continue;
      if (best === undefined || match.saved > best.match.saved) best = { match, other };
    }
    return best;
  }

  /** Groups that the new node reads of, then the latest readers of what it reads. */
  #candidates(group: Group, node: Node): readonly Group[] {
    const candidates: Group[] = [];
    const { inputs } = node;
    for (let k = 0; k < inputs.length; k++) {
      const other = this.#groupOf[inputs[k]?.node.id ?? -1];
      if (other !== undefined && other !== group && !candidates.includes(other)) candidates.push(other);
    }
    for (let k = 0; k < inputs.length; k++) {
      const id = inputs[k]?.node.id ?? -1;
      const readers = this.#readers[id];
      if (readers === undefined) continue;
      const end = this.#added[id] ?? 0;
      for (let i = Math.max(0, end - maxSiblings); i < end; i++) {
        const other = this.#groupOf[readers[i]?.id ?? -1];
        if (other !== undefined && other !== group && !candidates.includes(other)) candidates.push(other);
      }
    }
    return candidates;
  }
}

interface Candidate {
  readonly match: Match;
  readonly other: Group;
}

/** How many groups one node may bring together, and how many readers of a tensor are looked at. */
const maxRounds = 6;
const maxSiblings = 6;
/** The graph with its groups as loops; the same graph where none has two. */
export function groupLoops(cx: Fusing, templates: Templates, graph: Graph): Graph {
  const nodes = topological(graph);
  const readers = readersOf(nodes);
  const grouping = new Grouping(cx, graph, readers);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node !== undefined && node.kind !== "input") grouping.add(node);
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
    if (node.kind === "input" || !readsAny(node, written)) return;
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
