/**
 * The arena of one compilation: it makes every node and scalar, checks and types it, and keeps each only once.
 *
 * Equal structures are one object, so that equality is `===` on scalars and nodes and common subexpressions are
 * found by making them. Ids are dense and an operand's id is below its user's: ascending ids are a topological
 * order. Names of loop axes and carriers are for readers and are no part of equality; neither are hints (the
 * source's names) and places: for all of them the first writer wins.
 *
 * What is made wrongly is an `InternalError` here; `verify` holds the rest.
 */
import { invariant, type Place } from "../diagnostics/diagnostic.ts";
import { add, constant, floordiv, mul, type Dim } from "../types/dim.ts";
import type {
  Carrier,
  DispatchNode,
  Form,
  Graph,
  InputNode,
  LoopAxis,
  LoopNode,
  LoopOrder,
  LoopResult,
  Node,
  Ref,
  Scalar,
  ScanNode,
  ScatterNode,
  SortNode,
  TensorType,
  TopkNode,
} from "./ir.ts";
import { Interner } from "./intern.ts";
import { inputOrder } from "./node-body.ts";
import { refsOf, typeOf } from "./refs.ts";
import { ScalarArena } from "./scalar-arena.ts";
import { dtypeNames, scalarTypeOf } from "./scalar-types.ts";
import { canonicalInputs } from "./inputs.ts";

export interface LoopParts {
  readonly axes: readonly LoopAxis[];
  readonly over?: readonly LoopAxis[];
  readonly inner?: readonly LoopAxis[];
  readonly carriers?: readonly Carrier[];
  readonly results: readonly LoopResult[];
  readonly order?: LoopOrder | undefined;
  /** May hold refs that no body reads, or one twice: the node has each that is read once, in order of first use. */
  readonly inputs: readonly Ref[];
}

export interface ScatterParts {
  readonly axes: readonly LoopAxis[];
  /** The first is the tensor that is written over. */
  readonly inputs: readonly Ref[];
  readonly target: readonly Scalar[];
  readonly value: Scalar;
  readonly keep: Scalar;
}

const none: readonly never[] = [];

/** First words of the encodings of forms, and the roles of inputs. */
const nodeKinds = { input: 0, loop: 1, scatter: 2, topk: 3, scan: 4, sort: 5, dispatch: 6 } as const;
const roleCodes = { argument: 0, param: 1, state: 2 } as const;

/** Told of each graph that is rebuilt: what stands for a ref of the one before, itself where it was not replaced. */
export type Watcher = (find: (ref: Ref) => Ref, rebuilt: Graph) => void;

export class Arena extends ScalarArena {
  /** Set by who explains what passes do. */
  watcher: Watcher | undefined = undefined;
  readonly #formTable = new Interner();
  readonly #forms: Form[] = [];
  /** A node's words are its form and the refs that it reads. */
  readonly #nodeTable = new Interner();
  readonly #nodes: Node[] = [];
  /** Nearly all nodes have one output: those have a slot here, the others' lists are apart. */
  readonly #firstRefs: (Ref | undefined)[] = [];
  readonly #otherRefs = new Map<number, Ref[]>();
  readonly #rootsTable = new Interner();
  readonly #inputOrders: (readonly number[])[] = [];
  readonly #hints = new Map<number, Map<number, string>>();
  readonly #places = new Map<number, Place>();

  /** Nodes made so far: ids are below it. */
  get nodeCount(): number {
    return this.#nodes.length;
  }

  /** Output `output` of a node; one object for each. */
  ref(node: Node, output: number = 0): Ref {
    if (output === 0) return (this.#firstRefs[node.id] ??= { node, output });
    let refs = this.#otherRefs.get(node.id);
    if (refs === undefined) this.#otherRefs.set(node.id, (refs = []));
    return (refs[output] ??= { node, output });
  }

  // ---------------------------------------------------------------- nodes

  input(name: string, role: InputNode["role"], type: TensorType): InputNode {
    const interned = this.type(type.dtype, type.shape);
    const nameId = this.nameId(name);
    const t = this.#beginForm("input");
    t.word(nameId);
    t.word(roleCodes[role]);
    t.word(this.typeId(interned));
    return this.#node<InputNode>([], (id, form) => ({
      kind: "input",
      id,
      inputs: [],
      types: [interned],
      form,
      name,
      role,
    }));
  }

  loop(parts: LoopParts): LoopNode {
    const { axes, over = none, inner = none, carriers = none } = parts;
    const roots: Scalar[] = [];
    for (const { lift } of carriers) roots.push(lift);
    for (const { value } of parts.results) roots.push(value);
    if (parts.order !== undefined) roots.push(parts.order.place);
    const { inputs, map } = canonicalInputs(this, this.#own(parts.inputs), roots, 0);
    const lifts = map === undefined ? carriers : carriers.map((c, i) => ({ ...c, lift: map[i] ?? c.lift }));
    const results =
      map === undefined
        ? parts.results
        : parts.results.map((r, i) => ({ ...r, value: map[carriers.length + i] ?? r.value }));
    const order = parts.order && { ...parts.order, place: map?.at(-1) ?? parts.order.place };
    const t = this.#beginForm("loop");
    for (const list of [axes, over, inner]) {
      t.word(list.length);
      for (const { extent } of list) t.word(this.dimId(extent));
    }
    t.word(lifts.length);
    for (const { monoid, lift, every } of lifts) {
      t.word(this.nameId(monoid));
      t.word(lift.id);
      t.word(every ?? 0);
    }
    t.word(results.length);
    for (const r of results) {
      t.word(r.value.id);
      t.word(dtypeNames.indexOf(r.dtype));
      t.word(r.axes.length);
      for (const k of r.axes) t.word(k);
      t.word(r.merged?.length ?? 0);
      for (const { count, extent } of r.merged ?? none) {
        t.word(count);
        t.word(this.dimId(extent));
      }
    }
    t.word(order?.axis ?? -1);
    t.word(order?.place.id ?? -1);
    return this.#node<LoopNode>(inputs, (id, form) => ({
      kind: "loop",
      id,
      inputs,
      types: (form.types ??= this.#typesOf(results, [...axes, ...over, ...inner])),
      form,
      axes,
      over,
      inner,
      carriers: lifts,
      results,
      order,
    }));
  }

  /** The types of a loop's results; `axes` are all of the loop's. */
  #typesOf(results: readonly LoopResult[], axes: readonly LoopAxis[]): readonly TensorType[] {
    return results.map((r) =>
      this.type(
        r.dtype,
        r.merged?.map(({ extent }) => extent) ?? r.axes.map((k) => axes[k]?.extent ?? constant(0)),
      ),
    );
  }

  scatter(parts: ScatterParts): ScatterNode {
    const roots = [...parts.target, parts.value, parts.keep];
    const { inputs, map } = canonicalInputs(this, this.#own(parts.inputs), roots, 1);
    const [value, keep] = map === undefined ? [parts.value, parts.keep] : [map.at(-2), map.at(-1)];
    const target = map === undefined ? parts.target : map.slice(0, -2);
    invariant(
      value !== undefined && keep !== undefined && inputs[0] !== undefined,
      "a scatter needs a tensor to write over",
    );
    const types = [typeOf(inputs[0])];
    const extents = parts.axes.map((axis) => this.dimId(axis.extent));
    const t = this.#beginForm("scatter");
    t.word(extents.length);
    for (const extent of extents) t.word(extent);
    t.word(target.length);
    for (const s of target) t.word(s.id);
    t.word(value.id);
    t.word(keep.id);
    return this.#node<ScatterNode>(inputs, (id, form) => ({
      kind: "scatter",
      id,
      inputs,
      types,
      form,
      axes: parts.axes,
      target,
      value,
      keep,
    }));
  }

  /** The same loop or scatter over other inputs, one for each; the list becomes the node's. */
  relink(node: LoopNode | ScatterNode, refs: readonly Ref[]): LoopNode | ScatterNode {
    const { form, types, axes } = node;
    let inputs = refs;
    let id = this.#idAmong(form, node.inputs, inputs);
    if (id < 0) {
      inputs = this.#own(refs);
      id = this.#idAmong(form, node.inputs, inputs);
    }
    // Other types make another form; and where two inputs are one the node has fewer.
    if (id < 0)
      return node.kind === "loop" ? this.loop({ ...node, inputs }) : this.scatter({ ...node, inputs });
    const known = this.#nodes[id];
    if (known !== undefined) return known as LoopNode | ScatterNode;
    if (node.kind === "scatter") {
      const { target, value, keep } = node;
      return this.#add<ScatterNode>({ kind: "scatter", id, inputs, types, form, axes, target, value, keep });
    }
    const { over, inner, carriers, results, order } = node;
    return this.#add<LoopNode>({
      kind: "loop",
      id,
      inputs,
      types,
      form,
      axes,
      over,
      inner,
      carriers,
      results,
      order,
    });
  }

  topk(input: Ref, axis: number, k: Dim, keep?: Ref): TopkNode {
    const { dtype, shape } = typeOf(input);
    const kept = shape.map((dim, i) => (i === axis ? k : dim));
    const types = [this.type(dtype, kept), this.type("i32", kept), this.type("bool", shape)];
    const inputs = this.#own(keep === undefined ? [input] : [input, keep]);
    const size = this.dimId(k);
    const t = this.#beginForm("topk");
    t.word(axis);
    t.word(size);
    return this.#node<TopkNode>(inputs, (id, form) => ({
      kind: "topk",
      id,
      inputs,
      types,
      form,
      axis,
      k,
    }));
  }

  scan(input: Ref, axis: number): ScanNode {
    const { dtype, shape } = typeOf(input);
    const types = [this.type(scalarTypeOf(dtype), shape)];
    const inputs = this.#own([input]);
    const t = this.#beginForm("scan");
    t.word(axis);
    return this.#node<ScanNode>(inputs, (id, form) => ({
      kind: "scan",
      id,
      inputs,
      types,
      form,
      axis,
    }));
  }

  sort(input: Ref, axis: number): SortNode {
    const { dtype, shape } = typeOf(input);
    const types = [this.type(dtype, shape)];
    const inputs = this.#own([input]);
    const t = this.#beginForm("sort");
    t.word(axis);
    return this.#node<SortNode>(inputs, (id, form) => ({
      kind: "sort",
      id,
      inputs,
      types,
      form,
      axis,
    }));
  }

  dispatch(index: Ref, experts: Dim, align: number): DispatchNode {
    const shape = typeOf(index).shape;
    const cap = dispatchRows(shape, experts, align);
    const block = constant(align);
    const types = [
      this.type("i32", shape),
      this.type("i32", [cap]),
      this.type("i32", [floordiv(cap, block)]),
      this.type("i32", [experts]),
      this.type("i32", [experts]),
    ];
    const size = this.dimId(experts);
    const inputs = this.#own([index]);
    const t = this.#beginForm("dispatch");
    t.word(size);
    t.word(align);
    return this.#node<DispatchNode>(inputs, (id, form) => ({
      kind: "dispatch",
      id,
      inputs,
      types,
      form,
      experts,
      align,
    }));
  }

  graph(parts: Graph): Graph {
    const own = <T extends { readonly value: Ref }>(outputs: readonly T[]): readonly T[] =>
      outputs.map((output) => ({ ...output, value: this.ref(output.value.node, output.value.output) }));
    return { ...parts, results: own(parts.results), updates: own(parts.updates) };
  }

  // ---------------------------------------------------------------- side tables

  /** The source's name of a value, if one was set. */
  hint(ref: Ref): string | undefined {
    return this.#hints.get(ref.node.id)?.get(ref.output);
  }
  setHint(ref: Ref, name: string): void {
    let names = this.#hints.get(ref.node.id);
    if (names === undefined) this.#hints.set(ref.node.id, (names = new Map()));
    if (!names.has(ref.output)) names.set(ref.output, name);
  }
  place(node: Node): Place | undefined {
    return this.#places.get(node.id);
  }
  setPlace(node: Node, place: Place): void {
    if (!this.#places.has(node.id)) this.#places.set(node.id, place);
  }

  // ---------------------------------------------------------------- encoding

  /** The arena's own refs, so that refs inside nodes are equal when they are one object. */
  #own(refs: readonly Ref[]): readonly Ref[] {
    return refsOf(refs, ({ node, output }) => this.ref(node, output));
  }

  #beginForm(kind: keyof typeof nodeKinds): Interner {
    this.#formTable.begin();
    this.#formTable.word(nodeKinds[kind]);
    return this.#formTable;
  }

  /** The node over `inputs` of the form whose words were just written, but for the types of the inputs. */
  #node<N extends Node>(inputs: readonly Ref[], make: (id: number, form: Form) => N): N {
    for (const ref of inputs) this.#formTable.word(this.typeId(typeOf(ref)));
    const id = this.#formTable.id();
    const form = (this.#forms[id] ??= {
      id,
      types: undefined,
      body: undefined,
      sound: false,
      contracts: undefined,
      view: undefined,
    });
    const node = this.#idOf(form, inputs);
    // A form has a kind, so that an equal encoding is a node of the kind asked for.
    return (this.#nodes[node] as N | undefined) ?? this.#add(make(node, form));
  }

  /** The id of the node of this form over `inputs`; the next free one if it is new. */
  #idOf(form: Form, inputs: readonly Ref[]): number {
    const t = this.#nodeTable;
    t.begin();
    t.word(form.id);
    for (let i = 0; i < inputs.length; i++) {
      const ref = inputs[i];
      if (ref === undefined) continue;
      t.word(ref.node.id);
      t.word(ref.output);
    }
    return t.id();
  }

  /**
   * The id of the node of this form over `refs`, where these are the arena's own, no two of them are one, and their types
   * are those of `old`, over which the form has a node; -1 elsewhere. One walk: passes relink every node that they move.
   */
  #idAmong(form: Form, old: readonly Ref[], refs: readonly Ref[]): number {
    if (refs.length !== old.length) return -1;
    const t = this.#nodeTable;
    t.begin();
    t.word(form.id);
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i];
      const before = old[i];
      if (ref === undefined || before === undefined) return -1;
      const { node, output } = ref;
      if ((output === 0 ? this.#firstRefs[node.id] : this.ref(node, output)) !== ref) return -1;
      if (ref !== before && node.types[output] !== before.node.types[before.output]) return -1;
      for (let k = 0; k < i; k++) if (refs[k] === ref) return -1;
      t.word(node.id);
      t.word(output);
    }
    return t.id();
  }

  #add<N extends Node>(node: N): N {
    this.#nodes.push(node);
    return node;
  }

  /** Positions of inputs in order of first use by these bodies. */
  inputOrder(roots: readonly Scalar[]): readonly number[] {
    const t = this.#rootsTable;
    t.begin();
    for (const root of roots) t.word(root.id);
    const id = t.id();
    return (this.#inputOrders[id] ??= inputOrder(roots));
  }
}

/** Rows of a dispatch: every copy, and each expert's padding to `align`. */
export function dispatchRows(index: readonly Dim[], experts: Dim, align: number): Dim {
  return mul(
    constant(align),
    floordiv(add(mul(...index), mul(experts, constant(align - 1))), constant(align)),
  );
}
