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
import { dtypes, type DType } from "../types/dtype.ts";
import { add, constant, dimKey, floordiv, mul, type Dim } from "../types/dim.ts";
import type {
  Carrier,
  DispatchNode,
  Findings,
  Graph,
  InputNode,
  LoopAxis,
  LoopNode,
  LoopResult,
  Node,
  Ref,
  Scalar,
  ScalarRead,
  ScalarType,
  ScanNode,
  ScatterNode,
  SortNode,
  TensorType,
  TopkNode,
} from "./ir.ts";
import { foldApply } from "./fold.ts";
import { Interner } from "./intern.ts";
import { inputOrder } from "./node-body.ts";
import { inferApply } from "./scalar-functions.ts";
import { dtypeNames, scalarTypeOf, scalarTypes } from "./scalar-types.ts";
import { canonicalInputs } from "./inputs.ts";

export interface LoopParts {
  readonly axes: readonly LoopAxis[];
  readonly over?: readonly LoopAxis[];
  readonly carriers?: readonly Carrier[];
  readonly results: readonly LoopResult[];
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

/** First words of the encodings: node kinds and scalar kinds. */
const nodeKinds = { input: 0, loop: 1, scatter: 2, topk: 3, scan: 4, sort: 5, dispatch: 6 } as const;
const scalarKinds = { const: 0, dim: 1, axis: 2, read: 3, carrier: 4, apply: 5, round: 6, cast: 7 } as const;
const boundsCodes = { proved: 0, clamp: 1, else: 2 } as const;
const roleCodes = { argument: 0, param: 1, state: 2 } as const;

export class Arena {
  readonly #names = new Map<string, number>();
  readonly #dimsByKey = new Map<string, number>();
  readonly #dimIds = new WeakMap<Dim, number>();
  readonly #typeTable = new Interner();
  readonly #types: TensorType[] = [];
  readonly #typeIds = new Map<TensorType, number>();
  readonly #scalarTable = new Interner();
  readonly #scalars: Scalar[] = [];
  readonly #nodeTable = new Interner();
  readonly #nodes: Node[] = [];
  readonly #refs: Ref[][] = [];
  readonly #formTable = new Interner();
  readonly #findings: Findings[] = [];
  readonly #rootsTable = new Interner();
  readonly #inputOrders: (readonly number[])[] = [];
  readonly #hints = new Map<number, Map<number, string>>();
  readonly #places = new Map<number, Place>();
  readonly #float = new Float64Array(1);
  readonly #floatWords = new Int32Array(this.#float.buffer);

  /** Nodes made so far: ids are below it. */
  get nodeCount(): number {
    return this.#nodes.length;
  }

  /** Scalars made so far: ids are below it. */
  get scalarCount(): number {
    return this.#scalars.length;
  }

  scalarById(id: number): Scalar {
    const scalar = this.#scalars[id];
    invariant(scalar !== undefined, `no scalar ${id}`);
    return scalar;
  }

  /** Interned: equal types are one object. */
  type(dtype: DType, shape: readonly Dim[]): TensorType {
    const t = this.#typeTable;
    const ids = shape.map((dim) => this.#dimId(dim));
    t.begin();
    t.word(dtypeNames.indexOf(dtype));
    for (const id of ids) t.word(id);
    const id = t.id();
    const known = this.#types[id];
    if (known !== undefined) return known;
    const type: TensorType = { dtype, shape };
    this.#types.push(type);
    this.#typeIds.set(type, id);
    return type;
  }

  /** Output `output` of a node; one object for each. */
  ref(node: Node, output: number = 0): Ref {
    const refs = (this.#refs[node.id] ??= []);
    return (refs[output] ??= { node, output });
  }

  // ---------------------------------------------------------------- scalars

  const(type: ScalarType, value: number | bigint | boolean): Scalar {
    const t = this.#begin("const");
    t.word(scalarTypes.indexOf(type));
    this.#constWords(type, value);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "const", id, type, value });
  }
  f32(value: number): Scalar {
    return this.const("f32", value);
  }
  i32(value: number): Scalar {
    return this.const("i32", value);
  }
  bool(value: boolean): Scalar {
    return this.const("bool", value);
  }

  /** A size as an i32; a constant size is a constant. */
  dim(dim: Dim): Scalar {
    if (dim.kind === "const") return this.i32(dim.value);
    const key = this.#dimId(dim);
    const t = this.#begin("dim");
    t.word(key);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "dim", id, type: "i32", dim });
  }

  axis(axis: number): Scalar {
    const t = this.#begin("axis");
    t.word(axis);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "axis", id, type: "i32", axis });
  }

  carrier(carrier: number, type: ScalarType): Scalar {
    const t = this.#begin("carrier");
    t.word(carrier);
    t.word(scalarTypes.indexOf(type));
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "carrier", id, type, carrier });
  }

  /**
   * Reads `tensor` inside a body whose node is made with `inputs`: the ref is appended to that list when it is not
   * there yet. `otherwise` makes the bounds "else".
   */
  read(
    inputs: Ref[],
    tensor: Ref,
    index: readonly Scalar[],
    bounds: ScalarRead["bounds"] = "proved",
    otherwise?: Scalar,
  ): ScalarRead {
    let position = inputs.findIndex((ref) => sameRef(ref, tensor));
    if (position < 0) position = inputs.push(tensor) - 1;
    const type = typeOf(tensor);
    invariant(
      type.shape.length === index.length,
      `a read of ${type.shape.length} axes with ${index.length} indices`,
    );
    return this.readAt(
      position,
      scalarTypeOf(type.dtype),
      index,
      otherwise === undefined ? bounds : "else",
      otherwise,
    );
  }

  /** `read` by position in the list of inputs, for passes. */
  readAt(
    input: number,
    type: ScalarType,
    index: readonly Scalar[],
    bounds: ScalarRead["bounds"],
    otherwise: Scalar | undefined,
  ): ScalarRead {
    for (const i of index) invariant(i.type === "i32", `an index of type ${i.type}`);
    invariant(
      (bounds === "else") === (otherwise !== undefined),
      "a read has a value for outside exactly when its bounds are 'else'",
    );
    invariant(
      otherwise === undefined || otherwise.type === type,
      "a read and its value for outside differ in type",
    );
    const t = this.#begin("read");
    t.word(input);
    t.word(scalarTypes.indexOf(type));
    t.word(boundsCodes[bounds]);
    t.word(otherwise === undefined ? -1 : otherwise.id);
    for (const i of index) t.word(i.id);
    const id = t.id();
    const known = this.#scalars[id];
    if (known !== undefined && known.kind === "read") return known;
    const read: ScalarRead = { kind: "read", id, type, input, index, bounds, otherwise };
    this.#keep(read);
    return read;
  }

  /** A row of the scalar-function table; integer and bool constants fold. */
  apply(fn: string, ...args: readonly Scalar[]): Scalar {
    const type = inferApply(
      fn,
      args.map((arg) => arg.type),
    );
    if (typeof type === "object") invariant(false, type.problem);
    const folded = foldApply(this, fn, type, args);
    if (folded !== undefined) return folded;
    const name = this.#name(fn);
    const t = this.#begin("apply");
    t.word(name);
    for (const arg of args) t.word(arg.id);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "apply", id, type, fn, args });
  }

  /** Rounds a float where a type was written. Rounding twice to one dtype is rounding once. */
  round(to: DType, arg: Scalar): Scalar {
    invariant(dtypes[to].kind === "float" && arg.type === "f32", `round to ${to} of ${arg.type}`);
    if (arg.kind === "round" && arg.to === to) return arg;
    const t = this.#begin("round");
    t.word(dtypeNames.indexOf(to));
    t.word(arg.id);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "round", id, type: "f32", to, arg });
  }

  /** Numeric conversion; to a float only as `f32` (a float is made narrower by `round`). */
  cast(to: DType, arg: Scalar): Scalar {
    invariant(dtypes[to].kind !== "float" || to === "f32", `a cast to ${to}: round does that`);
    if (to === arg.type) return arg;
    const t = this.#begin("cast");
    t.word(dtypeNames.indexOf(to));
    t.word(arg.id);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "cast", id, type: scalarTypeOf(to), to, arg });
  }

  // ---------------------------------------------------------------- nodes

  input(name: string, role: InputNode["role"], type: TensorType): InputNode {
    const interned = this.type(type.dtype, type.shape);
    const nameId = this.#name(name);
    const t = this.#beginNode("input");
    t.word(nameId);
    t.word(roleCodes[role]);
    t.word(this.#typeIds.get(interned) ?? -1);
    return this.#node<InputNode>((id) => ({
      kind: "input",
      id,
      inputs: [],
      types: [interned],
      findings: this.#formOf(id, []),
      name,
      role,
    }));
  }

  loop(parts: LoopParts): LoopNode {
    const { axes, over = [], carriers = [] } = parts;
    const roots = [...carriers.map((c) => c.lift), ...parts.results.map((r) => r.value)];
    const { inputs, map } = canonicalInputs(this, this.#own(parts.inputs), roots, 0);
    const lifts = map === undefined ? carriers : carriers.map((c, i) => ({ ...c, lift: map[i] ?? c.lift }));
    const results =
      map === undefined
        ? parts.results
        : parts.results.map((r, i) => ({ ...r, value: map[carriers.length + i] ?? r.value }));
    const all = [...axes, ...over];
    const extents = all.map((axis) => this.#dimId(axis.extent));
    const names = lifts.map((c) => this.#name(c.monoid));
    const types = results.map((r) =>
      this.type(
        r.dtype,
        r.axes.map((k) => all[k]?.extent ?? constant(0)),
      ),
    );
    const t = this.#beginNode("loop");
    t.word(axes.length);
    t.word(over.length);
    for (const extent of extents) t.word(extent);
    t.word(lifts.length);
    for (let i = 0; i < lifts.length; i++) {
      t.word(names[i] ?? -1);
      t.word(lifts[i]?.lift.id ?? -1);
    }
    t.word(results.length);
    for (const r of results) {
      t.word(r.value.id);
      t.word(dtypeNames.indexOf(r.dtype));
      t.word(r.axes.length);
      for (const k of r.axes) t.word(k);
    }
    this.#refWords(inputs);
    return this.#node<LoopNode>((id) => ({
      kind: "loop",
      id,
      inputs,
      types,
      findings: this.#formOf(id, inputs),
      axes,
      over,
      carriers: lifts,
      results,
    }));
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
    const extents = parts.axes.map((axis) => this.#dimId(axis.extent));
    const t = this.#beginNode("scatter");
    t.word(extents.length);
    for (const extent of extents) t.word(extent);
    t.word(target.length);
    for (const s of target) t.word(s.id);
    t.word(value.id);
    t.word(keep.id);
    this.#refWords(inputs);
    return this.#node<ScatterNode>((id) => ({
      kind: "scatter",
      id,
      inputs,
      types,
      findings: this.#formOf(id, inputs),
      axes: parts.axes,
      target,
      value,
      keep,
    }));
  }

  /**
   * The same loop over other inputs of the same types, one for each. Where two of them are one the loop is made
   * anew, since it then has fewer.
   */
  relink(node: LoopNode, refs: readonly Ref[]): LoopNode {
    const inputs = this.#own(refs);
    for (let i = 1; i < inputs.length; i++) {
      for (let k = 0; k < i; k++) if (inputs[i] === inputs[k]) return this.loop({ ...node, inputs });
    }
    // The words of a loop end with its inputs, two for each.
    this.#nodeTable.beginLike(this.#nodeTable, node.id, 2 * inputs.length);
    this.#refWords(inputs);
    const { types, axes, over, carriers, results } = node;
    return this.#node<LoopNode>((id) => ({
      kind: "loop",
      id,
      inputs,
      types,
      findings: this.#formOf(id, inputs),
      axes,
      over,
      carriers,
      results,
    }));
  }

  topk(input: Ref, axis: number, k: Dim, keep?: Ref): TopkNode {
    const { dtype, shape } = typeOf(input);
    const kept = shape.map((dim, i) => (i === axis ? k : dim));
    const types = [this.type(dtype, kept), this.type("i32", kept), this.type("bool", shape)];
    const inputs = this.#own(keep === undefined ? [input] : [input, keep]);
    const size = this.#dimId(k);
    const t = this.#beginNode("topk");
    t.word(axis);
    t.word(size);
    this.#refWords(inputs);
    return this.#node<TopkNode>((id) => ({
      kind: "topk",
      id,
      inputs,
      types,
      findings: this.#formOf(id, inputs),
      axis,
      k,
    }));
  }

  scan(input: Ref, axis: number): ScanNode {
    const { dtype, shape } = typeOf(input);
    const types = [this.type(scalarTypeOf(dtype), shape)];
    const inputs = this.#own([input]);
    const t = this.#beginNode("scan");
    t.word(axis);
    this.#refWords(inputs);
    return this.#node<ScanNode>((id) => ({
      kind: "scan",
      id,
      inputs,
      types,
      findings: this.#formOf(id, inputs),
      axis,
    }));
  }

  sort(input: Ref, axis: number): SortNode {
    const { dtype, shape } = typeOf(input);
    const types = [this.type(dtype, shape)];
    const inputs = this.#own([input]);
    const t = this.#beginNode("sort");
    t.word(axis);
    this.#refWords(inputs);
    return this.#node<SortNode>((id) => ({
      kind: "sort",
      id,
      inputs,
      types,
      findings: this.#formOf(id, inputs),
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
    const size = this.#dimId(experts);
    const inputs = this.#own([index]);
    const t = this.#beginNode("dispatch");
    t.word(size);
    t.word(align);
    this.#refWords(inputs);
    return this.#node<DispatchNode>((id) => ({
      kind: "dispatch",
      id,
      inputs,
      types,
      findings: this.#formOf(id, inputs),
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
    return refs.map((ref) => this.ref(ref.node, ref.output));
  }

  #begin(kind: keyof typeof scalarKinds): Interner {
    this.#scalarTable.begin();
    this.#scalarTable.word(scalarKinds[kind]);
    return this.#scalarTable;
  }

  #beginNode(kind: keyof typeof nodeKinds): Interner {
    this.#nodeTable.begin();
    this.#nodeTable.word(nodeKinds[kind]);
    return this.#nodeTable;
  }

  #keep<S extends Scalar>(scalar: S): S {
    this.#scalars.push(scalar);
    return scalar;
  }

  /** The node whose words were just written, made by `make` if it is new. */
  #node<N extends Node>(make: (id: number) => N): N {
    const id = this.#nodeTable.id();
    const known = this.#nodes[id];
    // The first word of an encoding is the kind, so that an equal encoding is a node of the kind asked for.
    if (known !== undefined) return known as N;
    const node = make(id);
    this.#nodes.push(node);
    return node;
  }

  /** What is known of the form of the node just written: its words, with the types of its inputs for their refs. */
  #formOf(id: number, inputs: readonly Ref[]): Findings {
    const t = this.#formTable;
    t.beginLike(this.#nodeTable, id, 2 * inputs.length);
    for (const ref of inputs) t.word(this.#typeIds.get(typeOf(ref)) ?? -1);
    const form = t.id();
    return (this.#findings[form] ??= {
      body: undefined,
      sound: false,
      contracts: undefined,
      view: undefined,
      simplified: undefined,
    });
  }

  /** Positions of inputs in order of first use by these bodies. */
  inputOrder(roots: readonly Scalar[]): readonly number[] {
    const t = this.#rootsTable;
    t.begin();
    for (const root of roots) t.word(root.id);
    const id = t.id();
    return (this.#inputOrders[id] ??= inputOrder(roots));
  }

  #refWords(refs: readonly Ref[]): void {
    for (const ref of refs) {
      this.#nodeTable.word(ref.node.id);
      this.#nodeTable.word(ref.output);
    }
  }

  #constWords(type: ScalarType, value: number | bigint | boolean): void {
    const t = this.#scalarTable;
    if (typeof value === "bigint") {
      invariant(type === "i64", `a bigint constant of type ${type}`);
      t.word(Number(BigInt.asIntN(32, value)));
      t.word(Number(BigInt.asIntN(32, value >> 32n)));
      return;
    }
    invariant(
      type !== "i64" && (typeof value === "boolean") === (type === "bool"),
      `a ${typeof value} constant of type ${type}`,
    );
    this.#float[0] = Number(value);
    t.word(this.#floatWords[0] ?? 0);
    t.word(this.#floatWords[1] ?? 0);
  }

  #dimId(dim: Dim): number {
    const known = this.#dimIds.get(dim);
    if (known !== undefined) return known;
    const key = dimKey(dim);
    let id = this.#dimsByKey.get(key);
    if (id === undefined) this.#dimsByKey.set(key, (id = this.#dimsByKey.size));
    this.#dimIds.set(dim, id);
    return id;
  }

  #name(name: string): number {
    let id = this.#names.get(name);
    if (id === undefined) this.#names.set(name, (id = this.#names.size));
    return id;
  }
}

export function typeOf(ref: Ref): TensorType {
  const type = ref.node.types[ref.output];
  invariant(type !== undefined, `node ${ref.node.id} has no output ${ref.output}`);
  return type;
}

export function sameRef(a: Ref, b: Ref): boolean {
  return a.node === b.node && a.output === b.output;
}

/** Rows of a dispatch: every copy, and each expert's padding to `align`. */
export function dispatchRows(index: readonly Dim[], experts: Dim, align: number): Dim {
  return mul(
    constant(align),
    floordiv(add(mul(...index), mul(experts, constant(align - 1))), constant(align)),
  );
}
