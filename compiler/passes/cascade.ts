/**
 * Streams a contraction together with the reductions that its factor is made by, and with the contractions that these
 * read, so that nothing of their size is ever written:
 *
 *     %s = loop m, t over d { a = sum: %q[m, d] * %k[t, d];  yield [m, t]: a }
 *     %p = loop m over t { x = max: %s[m, t];  z = sum: exp(%s[m, t] - x);  yield [m, t]: exp(%s[m, t] - x) / z }
 *     %y = loop m, n over t { o = sum: %p[m, t] * %v[t, n];  yield [m, n]: o }
 *  =>
 *     %y = loop m, n over t within d {
 *       x = max: sum[d](%q[m, d] * %k[t, d])
 *       z = sum: exp(sum[d](..) - x)
 *       o = sum: exp(sum[d](..) - x) * %v[t, n]
 *       yield [m, n]: o / z
 *     }
 *
 * Nothing here knows what is computed. The loops share the axis that is swept; what does not vary along it leaves the
 * last sum by distributivity, through a rounding at any scale; and each carrier that still uses another must follow
 * that one's changes (`rescale.ts`), so that one sweep is enough. Tensors that no one else reads, and that few rows
 * share, are made where the loop reads them. Whether a target has a schedule for such a loop it is asked.
 */
import type { Arena } from "../tensor/arena.ts";
import {
  carryName,
  carryNames,
  outputsOf,
  outputsOfNode,
  readersOf,
  replaceOutputs,
  tableFor,
  topological,
  withInputs,
} from "../tensor/graphs.ts";
import type { Graph, LoopNode, Node, Ref, Scalar } from "../tensor/ir.ts";
import { plainAxes } from "../tensor/node-body.ts";
import { rescaling, wayOf, type Change } from "../tensor/rescale.ts";
import { dimEquals } from "../types/dim.ts";
import { streamed, type Rows } from "./cascade-loop.ts";
import { isContraction, readsOf } from "./loops.ts";
import type { Pass } from "./pass.ts";

/** `accepts`: whether the target has a schedule that streams the loop. */
export function cascade(accepts: (loop: LoopNode, arena: Arena) => boolean): Pass<Graph> {
  return {
    name: "cascade",
    run: (graph, { arena }) => {
      const readers = new Readers(graph);
      const joined = tableFor<readonly Ref[]>(topological(graph));
      for (const last of topological(graph)) {
        if (last.kind !== "loop" || !isContraction(last) || joined[last.id] !== undefined) continue;
        const rows = rowsOf(arena, last, readers).filter(({ node }) => joined[node.id] === undefined);
        if (rows.length === 0) continue;
        const members = new Set<Node>([last, ...rows.map(({ node }) => node)]);
        const isWithin = (node: Node, others: ReadonlySet<Node>): boolean =>
          joined[node.id] === undefined &&
          readers.of(node).every((one) => one !== undefined && (members.has(one) || others.has(one)));
        const made = streamed(arena, last, rows, isWithin).find(
          (loop) => follows(arena, loop) && accepts(loop, arena),
        );
        if (made === undefined) continue;
        joined[last.id] = last.results.map((_, output) => arena.ref(made, output));
        let next = last.results.length;
        for (const { node, kept } of rows) {
          const own: Ref[] = [];
          for (const output of kept) own[output] = arena.ref(made, next++);
          joined[node.id] = own;
        }
      }
      return replaced(arena, graph, joined);
    },
  };
}

/** The graph with other refs for the outputs of some nodes, by their ids; what these read is replaced too. */
function replaced(arena: Arena, graph: Graph, joined: readonly (readonly Ref[] | undefined)[]): Graph {
  if (joined.every((refs) => refs === undefined)) return graph;
  const now = new Map<Node, Node>();
  const standIn = (ref: Ref): Ref => joined[ref.node.id]?.[ref.output] ?? ref;
  const find = (ref: Ref): Ref => {
    const { node, output } = standIn(ref);
    return arena.ref(now.get(node) ?? node, output);
  };
  // What stands for a node may read nodes that come after it.
  const stack = outputsOf(graph).map((ref) => standIn(ref).node);
  for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
    const open = now.has(node)
      ? []
      : node.inputs.map((ref) => standIn(ref).node).filter((one) => !now.has(one));
    if (open.length > 0) {
      stack.push(...open);
      continue;
    }
    stack.pop();
    if (now.has(node)) continue;
    const inputs = node.inputs.map(find);
    const moved = inputs.some((ref, i) => ref !== node.inputs[i]);
    const rebuilt = moved ? withInputs(arena, node, inputs) : node;
    if (rebuilt !== node) carryNames(arena, node, outputsOfNode(arena, rebuilt));
    now.set(node, rebuilt);
  }
  for (const node of topological(graph)) {
    const refs = joined[node.id];
    refs?.forEach((_, output) => carryName(arena, arena.ref(node, output), find(arena.ref(node, output))));
  }
  return replaceOutputs(arena, graph, find);
}

/** Who reads what: nodes, and `undefined` for the graph itself. */
class Readers {
  readonly #nodes: ReturnType<typeof readersOf>;
  readonly #outputs: readonly Ref[];

  constructor(graph: Graph) {
    this.#nodes = readersOf(topological(graph));
    this.#outputs = outputsOf(graph);
  }

  ofRef(ref: Ref): readonly (Node | undefined)[] {
    const readers = this.of(ref.node).filter((reader) => reader?.inputs.includes(ref) === true);
    return this.#outputs.includes(ref) ? [...readers, undefined] : readers;
  }

  of(node: Node): readonly (Node | undefined)[] {
    const readers = this.#nodes[node.id] ?? [];
    return this.#outputs.some((ref) => ref.node === node) ? [...readers, undefined] : readers;
  }
}

/** Every carrier can be kept right while those that it uses change. */
function follows(arena: Arena, loop: LoopNode): boolean {
  const same = (scalar: Scalar): Scalar => scalar;
  const change: Change = {
    arena,
    isSwept: (axis) => axis >= loop.axes.length,
    after: same,
    before: same,
    way: wayOf(loop.carriers),
  };
  return loop.carriers.every(({ monoid, lift }) => rescaling(change, monoid, lift) !== undefined);
}

/** Reductions over the swept axis whose results the loop reads at its own points, along that axis too or not. */
function rowsOf(arena: Arena, last: LoopNode, readers: Readers): readonly Rows[] {
  if (last.over.length !== 1 || last.inner.length > 0 || last.carriers.some(({ monoid }) => monoid !== "sum"))
    return [];
  const makers = new Set(last.inputs.map((ref) => ref.node));
  return [...makers].flatMap((node): Rows[] => {
    if (node.kind !== "loop" || node.over.length !== 1 || node.inner.length > 0 || isContraction(node))
      return [];
    const map = mapOf(last, node);
    if (map === undefined) return [];
    const kept: number[] = [];
    for (const [output, result] of node.results.entries()) {
      if (readers.ofRef(arena.ref(node, output)).every((reader) => reader === last)) continue;
      // Only what is written once a row can be handed out.
      if (result.axes.length > node.axes.length) return [];
      kept.push(output);
    }
    const isBetween = kept.length > 0 && reaches(last.inputs, node);
    return isBetween ? [] : [{ node, map, kept }];
  });
}

/** The loop's axis for each of the node's; undefined where it is not read at the loop's points. */
function mapOf(last: LoopNode, node: LoopNode): readonly number[] | undefined {
  const swept = last.axes.length;
  const map: number[] = [];
  for (const read of readsOf(last)) {
    const ref = last.inputs[read.input];
    const made = ref?.node === node ? node.results[ref.output]?.axes : undefined;
    if (made === undefined) continue;
    const axes = plainAxes(read);
    if (axes === undefined || read.bounds !== "proved") return undefined;
    for (const [k, axis] of made.entries()) {
      const to = axes[k] ?? -1;
      if ((map[axis] ?? to) !== to || (to === swept) !== (axis === node.axes.length)) return undefined;
      map[axis] = to;
    }
  }
  const [own, other] = [node.over[0], last.over[0]];
  if (own === undefined || other === undefined || !dimEquals(own.extent, other.extent)) return undefined;
  map[node.axes.length] = swept;
  return map;
}

/** Whether some way from the refs, but for their own nodes, leads back to the node. */
function reaches(refs: readonly Ref[], target: Node): boolean {
  const seen = new Set<Node>();
  const stack = refs.map((ref) => ref.node).filter((node) => node !== target);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (seen.has(node) || node.id < target.id) continue;
    if (node === target) return true;
    seen.add(node);
    stack.push(...node.inputs.map((ref) => ref.node));
  }
  return false;
}
