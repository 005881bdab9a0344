/**
 * Whether two groups should be one loop: what that saves, and what stands against it.
 *
 * Layers of a model bring together groups of the same forms that read each other in the same way: of these one pair is
 * judged, and the rest are found to be such a pair. Only the search for a path between two groups is made for each.
 */
import { Interner } from "../tensor/intern.ts";
import type { Readers } from "../tensor/graphs.ts";
import type { Node, NodeId, Ref } from "../tensor/ir.ts";
import { typeOf } from "../tensor/refs.ts";
import { cheapFactorFlops, type Apart, type Fusing, type Fusion } from "./fusing.ts";
import type { Group, Homes } from "./groups.ts";
import { bodyFlops, leavesProductsOut } from "./loops.ts";
import { meet, type Meeting } from "./meeting.ts";

/** How two groups can be one, and what for. */
export interface Match {
  /** The second group is the base, into which the first is mapped. */
  readonly isTurned: boolean;
  /** The base's axis for each of the other group's. */
  readonly map: readonly number[];
  /** Bytes that are not moved. */
  readonly saved: number;
  readonly outcome: Fusion;
  /** The reduced axes are empty. */
  readonly isEmpty: boolean;
  /** One for all pairs that are matched in this way. */
  readonly pair: number;
}

/** A match, why there is none, or that it would save nothing. */
type Verdict = Match | Apart | "saves nothing";

export class Judging {
  readonly #cx: Fusing;
  readonly #homes: Homes;
  readonly #readers: Readers;
  readonly #outputs: ReadonlySet<Node>;
  readonly #pairs = new Interner();
  readonly #verdicts: Verdict[] = [];

  /** `outputs`: nodes that the graph hands out. */
  constructor(cx: Fusing, homes: Homes, readers: Readers, outputs: ReadonlySet<Node>) {
    this.#cx = cx;
    this.#homes = homes;
    this.#readers = readers;
    this.#outputs = outputs;
  }

  /** Two groups, of which the second reads the first or what the first reads. Undefined: they stay two. */
  judge(a: Group, b: Group): Match | undefined {
    if (this.#isRefused(a, b)) return undefined;
    const pair = this.#pairOf(a, b);
    const verdict = (this.#verdicts[pair] ??= this.#verdict(pair, a, b));
    if (verdict === "saves nothing") return undefined;
    if ("kind" in verdict) return this.#refuse(a, b, verdict);
    if (this.#crosses(a, b) || this.#crosses(b, a)) return this.#refuse(a, b, { kind: "between" });
    return verdict.isEmpty ? this.#refuse(a, b, { kind: "empty" }) : verdict;
  }

  /** Many pairs are refused at a glance, where nobody asks why: a contraction takes in no other reduction. */
  #isRefused(a: Group, b: Group): boolean {
    if (this.#cx.decisions !== undefined || a.contracts === b.contracts) return false;
    return (a.contracts ? b : a).over.length > 0;
  }

  #refuse(a: Group, b: Group, reason: Apart): undefined {
    this.#cx.decisions?.push({ left: idsOf(a), right: idsOf(b), outcome: reason });
    return undefined;
  }

  /**
   * A number for all that a verdict follows from: the groups' shapes, which of the tensors that they read are one or made
   * by a member of either, and which members others read.
   */
  #pairOf(a: Group, b: Group): number {
    const t = this.#pairs;
    t.begin();
    t.word(a.shape);
    t.word(b.shape);
    for (let i = 0; i < a.refs.length; i++) this.#writeMaker(a.refs[i], b);
    for (let i = 0; i < b.refs.length; i++) {
      const ref = b.refs[i];
      if (ref !== undefined) t.word(a.refs.indexOf(ref));
      this.#writeMaker(ref, a);
    }
    this.#writeNeeds(a, a, b);
    this.#writeNeeds(b, a, b);
    return t.id();
  }

  /** Which members of a group others than two read, some in each word. */
  #writeNeeds({ members }: Group, a: Group, b: Group): void {
    let needs = 0;
    for (let i = 0; i < members.length; i++) {
      needs = needs * 2 + (this.#isNeeded(members[i]?.node, a, b) ? 1 : 0);
      if (i % 16 !== 15) continue;
      this.#pairs.word(needs);
      needs = 0;
    }
    this.#pairs.word(needs);
  }

  /** Which output of which member of the group a ref is, if it is one. */
  #writeMaker(ref: Ref | undefined, { members }: Group): void {
    let maker = members.length - 1;
    while (maker >= 0 && members[maker]?.node !== ref?.node) maker--;
    this.#pairs.word(maker);
    if (maker >= 0) this.#pairs.word(ref?.output ?? 0);
  }

  #verdict(pair: number, a: Group, b: Group): Verdict {
    const meeting = meet(a, b, this.#homes);
    if ("kind" in meeting) return a.contracts || b.contracts ? ofContraction(a, b) : meeting;
    const saved = this.#saved(meeting);
    if (saved <= 0) return "saves nothing";
    const { base, joined, flow, map } = meeting;
    const full = base.over.length > 0 && joined.over.length === 0 && joined.axes.length > base.axes.length;
    const linked = base.over.length > 0 && joined.over.length > 0 && flow.length > 0;
    const isRow = full || (linked && !(contracts(meeting) && isForEnds(meeting)));
    const outcome = flow.length === 0 ? "sibling" : isRow ? "row" : "epilogue";
    const isEmpty = base.over.length > 0 && this.#cx.sizes.points(base.over) === 0;
    return (
      this.#obstacle(meeting, outcome, saved) ?? { isTurned: base === b, map, saved, outcome, isEmpty, pair }
    );
  }

  /** Why a meeting that is possible is not made, or undefined; but for paths between the groups. */
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
  #isNeeded(node: Node | undefined, a: Group, b: Group): boolean {
    if (node === undefined) return false;
    const readers = this.#readers[node.id];
    for (let i = 0; readers !== undefined && i < readers.length; i++) {
      const home = this.#homes[readers[i]?.id ?? -1];
      if (home !== a && home !== b) return true;
    }
    return this.#outputs.has(node);
  }

  #buffers({ base, joined }: Meeting): number {
    const homes = this.#homes;
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
      const home = this.#homes[ref?.node.id ?? -1];
      if (ref !== undefined && home !== base && home !== joined) saved += sizes.ref(ref);
    }
    return saved;
  }

  /** Whether `from` reaches `to` through a node of neither: then they cannot be one loop. */
  #crosses(from: Group, to: Group): boolean {
    const least = from.members[0]?.node.id ?? 0;
    const homes = this.#homes;
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
      for (const { node: maker } of this.#homes[node.id]?.externals ?? node.inputs) {
        if (homes[maker.id] === from) return true;
        if (this.#latest(maker) >= least && !seen.has(maker)) stack.push(maker);
      }
    }
    return false;
  }

  /** The highest id in the node's group: what is reached from it has lower ones. */
  #latest(node: Node): number {
    return this.#homes[node.id]?.members.at(-1)?.node.id ?? node.id;
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

export function idsOf(group: Group): ReadonlySet<NodeId> {
  return new Set(group.members.map(({ node }) => node.id));
}

/** Nodes that the search for a path between two groups visits before it takes that there is one. */
const maxVisits = 2000;
/** Rows that keep a device busy at least, where a row is long. */
const fewRows = 32;
const longRow = 8192;
