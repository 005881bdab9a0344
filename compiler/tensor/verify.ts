/**
 * What makes a graph well formed. Each violation names the node and says what is wrong.
 *
 * - Names of inputs are unique; every input node that is reached is among the graph's inputs; an update's input is
 *   state and has the type of its new value; result names are unique.
 * - Inputs have lower ids than their node (so the graph has no cycle), exist, and are each read by a body, once in
 *   the list, in order of first use (a scatter's first is what it writes over).
 * - Loop: extents are sizes; a carrier's lift has a type of its monoid and uses only earlier carriers; results use
 *   axes of the loop; a result has each of `axes` once and all or none of `over`; one that has none of `over` has a
 *   value that does not vary along it; a value's type is its dtype's scalar type. Nothing but a lift or a result
 *   over `over` names an axis of `over`.
 * - An axis of `inner` varies only below a reduction over it.
 * - Scalars: a row of the function table applied to its types; reads give one i32 for each axis of the tensor and
 *   have a value for outside exactly when their bounds are "else"; `round` goes from f32 to a float, `cast` to f32
 *   only from what is no float.
 * - Structured nodes: axes within rank, dtypes that they take, the types that they promise.
 */
import { dimEquals, symbols } from "../types/dim.ts";
import { isRounding } from "../types/dtype.ts";
import { dispatchRows } from "./arena.ts";
import { outputsOf, topological } from "./graphs.ts";
import type { Graph, LoopNode, LoopOrder, Node, Ref, Scalar, ScatterNode, TensorType } from "./ir.ts";
import { monoids } from "./monoids.ts";
import { inferApply } from "./scalar-functions.ts";
import { scalarTypeOf } from "./scalar-types.ts";
import { bodyOf } from "./node-body.ts";
import { operandsOf, reachable } from "./scalars.ts";

export interface Violation {
  /** Undefined for a violation of the graph itself. */
  readonly node: Node | undefined;
  readonly message: string;
}

/** Graphs in which nothing was found. They never change: a pass that changes nothing costs no verification. */
const soundGraphs = new WeakSet<Graph>();

export function verify(graph: Graph): readonly Violation[] {
  if (soundGraphs.has(graph)) return [];
  const violations: Violation[] = [];
  const nodes = topological(graph);
  const say = (node: Node | undefined, message: string): void => {
    violations.push({ node, message });
  };
  verifyInterface(graph, nodes, say);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node === undefined) continue;
    if (node.kind !== "input") verifyRefs(node, say);
    if (node.form.sound) continue;
    const before = violations.length;
    verifyNode(node, say);
    // What was found of the form holds for every node that has it.
    if (violations.length === before) node.form.sound = true;
  }
  if (violations.length === 0) soundGraphs.add(graph);
  return violations;
}

type Say = (node: Node | undefined, message: string) => void;

function verifyInterface(graph: Graph, nodes: readonly Node[], say: Say): void {
  const inputs = new Set<Node>(graph.inputs);
  const dims = new Set(graph.dims);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node?.kind !== "input") continue;
    if (!inputs.has(node)) say(node, `input '${node.name}' is not among the graph's inputs`);
    const shape = node.types[0]?.shape ?? [];
    for (let k = 0; k < shape.length; k++) {
      const dim = shape[k];
      if (dim === undefined || dim.kind === "const") continue;
      for (const name of symbols(dim))
        if (!dims.has(name)) say(node, `size ${name} is not among the graph's dims`);
    }
  }
  for (const name of repeated(graph.inputs.map((i) => i.name)))
    say(undefined, `two inputs are called '${name}'`);
  for (const name of repeated(graph.results.map((r) => r.name)))
    say(undefined, `two results are called '${name}'`);
  for (const ref of outputsOf(graph))
    if (ref.node.types[ref.output] === undefined) say(ref.node, `there is no output ${ref.output}`);
  for (const { input, value } of graph.updates) {
    if (input.role !== "state") say(input, `an update of '${input.name}', which is no state`);
    if (!inputs.has(input)) say(input, `an update of '${input.name}', which is not among the graph's inputs`);
    const [old, now] = [input.types[0], value.node.types[value.output]];
    if (old === undefined || now === undefined || !sameType(old, now))
      say(value.node, `the new value of '${input.name}' has another type`);
  }
}

function repeated(names: readonly string[]): readonly string[] {
  const seen = new Set<string>();
  return names.filter((name) => seen.size === seen.add(name).size);
}

function sameType(a: TensorType, b: TensorType): boolean {
  return a === b || (a.dtype === b.dtype && sameShape(a, b));
}

function sameShape(a: TensorType, b: TensorType): boolean {
  return (
    a.shape.length === b.shape.length &&
    a.shape.every((dim, i) => b.shape[i] !== undefined && dimEquals(dim, b.shape[i]))
  );
}

/** What does not follow from a node's form: which tensors it reads. */
function verifyRefs(node: Node, say: Say): void {
  const { inputs } = node;
  for (let i = 0; i < inputs.length; i++) {
    const ref = inputs[i];
    if (ref === undefined) continue;
    if (ref.node.id >= node.id) say(node, `input ${ref.node.id} does not come before its user`);
    if (ref.node.types[ref.output] === undefined)
      say(node, `input ${ref.node.id} has no output ${ref.output}`);
    for (let k = 0; k < i; k++)
      if (inputs[k]?.node === ref.node && inputs[k]?.output === ref.output && node.kind === "loop")
        say(node, `inputs ${k} and ${i} are one`);
  }
}

function verifyNode(node: Node, say: Say): void {
  switch (node.kind) {
    case "input":
      if (node.inputs.length > 0 || node.types.length !== 1)
        say(node, "an input has one output and reads nothing");
      return;
    case "loop":
      verifyLoop(node, say);
      verifyBody(node, node.axes.length + node.over.length + node.inner.length, say);
      return;
    case "scatter":
      verifyScatter(node, say);
      verifyBody(node, node.axes.length, say);
      return;
    case "topk":
    case "scan":
    case "sort":
    case "dispatch":
      verifyStructured(node, say);
      return;
  }
}

// ---------------------------------------------------------------- bodies

/** What holds for every scalar of a body, and for the list of inputs. */
function verifyBody(node: LoopNode | ScatterNode, axes: number, say: Say): void {
  const body = bodyOf(node);
  let next = node.kind === "scatter" ? 1 : 0;
  for (const input of body.inputOrder) {
    if (input > next) say(node, `input ${input} is read before input ${next}`);
    next = Math.max(next, input + 1);
  }
  for (const scalar of body.scalars) {
    const problem = scalarProblem(node, scalar, axes);
    if (problem !== undefined) say(node, problem);
  }
  if (next < node.inputs.length) say(node, `input ${next} is read by nothing`);
}

function scalarProblem(node: LoopNode | ScatterNode, scalar: Scalar, axes: number): string | undefined {
  switch (scalar.kind) {
    case "const":
      return constProblem(scalar);
    case "dim":
      return undefined;
    case "axis":
      return scalar.axis < axes ? undefined : `there is no axis ${scalar.axis}`;
    case "carrier": {
      const carrier = node.kind === "loop" ? node.carriers[scalar.carrier] : undefined;
      if (carrier === undefined) return `there is no carrier ${scalar.carrier}`;
      return carrier.lift.type === scalar.type
        ? undefined
        : `carrier ${scalar.carrier} is ${carrier.lift.type}, not ${scalar.type}`;
    }
    case "read":
      return readProblem(node, scalar);
    case "apply": {
      const type = inferApply(
        scalar.fn,
        scalar.args.map((arg) => arg.type),
      );
      if (typeof type === "object") return type.problem;
      return type === scalar.type ? undefined : `'${scalar.fn}' gives ${type}, not ${scalar.type}`;
    }
    case "round":
      if (!isRounding(scalar.to)) return `rounds to ${scalar.to}`;
      return scalar.arg.type === "f32" ? undefined : `rounds a ${scalar.arg.type}`;
    case "reduce":
      return reduceProblem(node, scalar);
    case "cast":
      if (scalarTypeOf(scalar.to) !== scalar.type) return `a cast to ${scalar.to} of type ${scalar.type}`;
      if (scalar.type === "f32" && (scalar.to !== "f32" || scalar.arg.type === "f32"))
        return `a cast of ${scalar.arg.type} to ${scalar.to}`;
      return undefined;
  }
}

function reduceProblem(
  node: LoopNode | ScatterNode,
  { monoid, axes, arg }: Extract<Scalar, { kind: "reduce" }>,
): string | undefined {
  const first = node.kind === "loop" ? node.axes.length + node.over.length : Infinity;
  if (reachable([arg]).some((part) => part.kind === "reduce" && axes.some((axis) => variesAlong(part, axis))))
    return "a reduction inside a reduction varies along its axis";
  if (axes.length === 0 || axes.some((axis) => axis < first))
    return "reduces inside a body over another axis";
  const row = monoids.get(monoid);
  if (row === undefined) return `there is no monoid '${monoid}'`;
  return row.types.includes(arg.type) ? undefined : `'${monoid}' of ${arg.type}`;
}

function constProblem(scalar: Extract<Scalar, { kind: "const" }>): string | undefined {
  const { type, value } = scalar;
  if (type === "f32") return typeof value === "number" ? undefined : "an f32 constant that is no number";
  if (type === "bool") return typeof value === "boolean" ? undefined : "a bool constant that is no boolean";
  if (type === "i64")
    return typeof value === "bigint" && BigInt.asIntN(64, value) === value
      ? undefined
      : `${String(value)} is no i64`;
  const fits = type === "i32" ? value === (Number(value) | 0) : value === Number(value) >>> 0;
  return fits ? undefined : `${String(value)} is no ${type}`;
}

function readProblem(
  node: LoopNode | ScatterNode,
  read: Extract<Scalar, { kind: "read" }>,
): string | undefined {
  const ref: Ref | undefined = node.inputs[read.input];
  const type = ref?.node.types[ref.output];
  if (type === undefined) return `there is no input ${read.input}`;
  if (scalarTypeOf(type.dtype) !== read.type) return `a read of ${type.dtype} as ${read.type}`;
  if (type.shape.length !== read.index.length)
    return `a read of ${type.shape.length} axes with ${read.index.length} indices`;
  if (read.index.some((i) => i.type !== "i32")) return "an index that is no i32";
  if ((read.bounds === "else") !== (read.otherwise !== undefined))
    return "a value for outside without 'else', or 'else' without one";
  if (read.otherwise !== undefined && read.otherwise.type !== read.type)
    return `a read of ${read.type} or else ${read.otherwise.type}`;
  return undefined;
}

function verifyLoop(node: LoopNode, say: Say): void {
  const { axesOfRoots, carriersOfRoots } = bodyOf(node);
  const own = node.axes.length;
  const all = own + node.over.length;
  if (all + node.inner.length > 30) say(node, "a loop of more than 30 axes");
  if (node.results.length === 0) say(node, "a loop without results");
  if (node.over.length > 0 && node.carriers.length === 0 && node.results.every((r) => r.axes.length === own))
    say(node, "axes that nothing is reduced over");
  node.carriers.forEach((carrier, i) => {
    const monoid = monoids.get(carrier.monoid);
    if (monoid === undefined) say(node, `there is no monoid '${carrier.monoid}'`);
    else if (!monoid.types.includes(carrier.lift.type))
      say(node, `'${carrier.monoid}' of ${carrier.lift.type}`);
    if (node.over.length === 0) say(node, `carrier ${i} has nothing to run over`);
    const used = (carriersOfRoots[i] ?? 0) - 1;
    if (used >= i) say(node, `carrier ${i} uses carrier ${used}`);
    if ((axesOfRoots[i] ?? 0) >= 2 ** all)
      say(node, `carrier ${i} varies along an axis of a reduction inside`);
  });
  node.results.forEach((result, i) => {
    const swept = result.axes.filter((k) => k >= own && k < all).length;
    const inside = result.axes.filter((k) => k >= all);
    const most = all + node.inner.length;
    if (new Set(result.axes).size !== result.axes.length || result.axes.some((k) => k < 0 || k >= most))
      say(node, `result ${i} names its axes wrongly`);
    const lacks = result.axes.length - swept - inside.length !== own;
    if (lacks && (swept + inside.length > 0 || variesBeyond(node, result.value, result.axes)))
      say(node, `result ${i} lacks an axis of the loop`);
    if (result.axes.some((k) => k >= own + swept && k < all))
      say(node, `result ${i} has not the first axes of 'over'`);
    if (inside.length > 0 && swept > 0) say(node, `result ${i} has axes of 'over' and of 'inner'`);
    const allowed = inside.reduce((set, k) => set | (1 << k), 2 ** (own + swept) - 1);
    if (((axesOfRoots[node.carriers.length + i] ?? 0) & ~allowed) !== 0)
      say(node, `result ${i} varies along a reduced axis`);
    if (scalarTypeOf(result.dtype) !== result.value.type)
      say(node, `result ${i} stores ${result.value.type} as ${result.dtype}`);
    const type = node.types[i];
    const single = result.axes.map((k) => [...node.axes, ...node.over, ...node.inner][k]?.extent);
    const extents = result.merged?.map(({ extent }) => extent) ?? single;
    if (
      result.merged !== undefined &&
      result.merged.reduce((sum, { count }) => sum + count, 0) !== single.length
    )
      say(node, `result ${i} merges other axes than it has`);
    if (
      type === undefined ||
      type.dtype !== result.dtype ||
      type.shape.length !== extents.length ||
      type.shape.some((dim, k) => {
        const extent = extents[k];
        return extent === undefined || !dimEquals(dim, extent);
      })
    )
      say(node, `the type of result ${i} is not what the loop makes`);
  });
  if (node.order !== undefined) verifyOrder(node, node.order, say);
}

function verifyOrder(node: LoopNode, { axis, place }: LoopOrder, say: Say): void {
  const { axesOfRoots, carriersOfRoots } = bodyOf(node);
  if (node.axes[axis] === undefined) say(node, "the order of an axis that is not one of its own");
  if (place.type !== "i32") say(node, `places of ${place.type}`);
  if (((axesOfRoots.at(-1) ?? 0) & ~(1 << axis)) !== 0) say(node, "an order that varies along another axis");
  if ((carriersOfRoots.at(-1) ?? 0) > 0) say(node, "an order by what the loop itself reduces");
}

/** Whether a result's value, or a carrier that it uses, varies along an axis of the loop that is not among these. */
function variesBeyond(node: LoopNode, value: Scalar, axes: readonly number[]): boolean {
  const seen = new Set<number>();
  const stack = [value];
  for (let root = stack.pop(); root !== undefined; root = stack.pop()) {
    for (const part of reachable([root])) {
      if (part.kind === "axis" && part.axis < node.axes.length && !axes.includes(part.axis)) return true;
      if (part.kind !== "carrier" || seen.has(part.carrier)) continue;
      seen.add(part.carrier);
      const lift = node.carriers[part.carrier]?.lift;
      if (lift !== undefined) stack.push(lift);
    }
  }
  return false;
}

function variesAlong(scalar: Scalar, axis: number): boolean {
  if (scalar.kind === "axis") return scalar.axis === axis;
  if (scalar.kind === "reduce" && scalar.axes.includes(axis)) return false;
  return operandsOf(scalar).some((operand) => variesAlong(operand, axis));
}

function verifyScatter(node: ScatterNode, say: Say): void {
  const type = node.inputs[0]?.node.types[node.inputs[0].output];
  if (type === undefined) return say(node, "a scatter into nothing");
  if (node.target.length !== type.shape.length)
    say(node, `a target of ${node.target.length} indices in ${type.shape.length} axes`);
  if (node.target.some((s) => s.type !== "i32")) say(node, "a target that is no i32");
  if (node.keep.type !== "bool") say(node, "a keep that is no bool");
  if (node.value.type !== scalarTypeOf(type.dtype)) say(node, `stores ${node.value.type} as ${type.dtype}`);
  if (node.types[0] === undefined || !sameType(node.types[0], type))
    say(node, "a scatter has the type of what it writes over");
}

// ---------------------------------------------------------------- structured nodes

function verifyStructured(
  node: Extract<Node, { kind: "topk" | "scan" | "sort" | "dispatch" }>,
  say: Say,
): void {
  const types = node.inputs.map((ref) => ref.node.types[ref.output]);
  const [type, keep] = types;
  if (type === undefined) return say(node, `a ${node.kind} of nothing`);
  const arity = node.kind === "topk" ? 2 : 1;
  if (node.inputs.length > arity) say(node, `a ${node.kind} of ${node.inputs.length} tensors`);
  if (node.kind !== "dispatch" && (node.axis < 0 || node.axis >= type.shape.length))
    say(node, `there is no axis ${node.axis}`);
  const promise = (output: number, dtype: TensorType["dtype"], shape: TensorType["shape"]): void => {
    const found = node.types[output];
    if (found === undefined || !sameType(found, { dtype, shape }))
      say(node, `output ${output} has another type than a ${node.kind} gives`);
  };
  switch (node.kind) {
    case "topk": {
      if (type.dtype === "bool") say(node, "a topk of bools");
      if (keep !== undefined && (keep.dtype !== "bool" || !sameShape(keep, type)))
        say(node, "a keep mask of another type");
      const kept = type.shape.map((dim, i) => (i === node.axis ? node.k : dim));
      promise(0, type.dtype, kept);
      promise(1, "i32", kept);
      promise(2, "bool", type.shape);
      return;
    }
    case "scan":
      if (type.dtype === "bool") say(node, "a scan of bools");
      promise(0, scalarTypeOf(type.dtype), type.shape);
      return;
    case "sort":
      if (type.dtype === "bool") say(node, "a sort of bools");
      promise(0, type.dtype, type.shape);
      return;
    case "dispatch":
      if (type.dtype !== "i32" || type.shape.length !== 2) say(node, "a dispatch needs an index i32[N, K]");
      if (!Number.isInteger(node.align) || node.align < 1) say(node, `an alignment of ${node.align}`);
      promise(0, "i32", type.shape);
      promise(1, "i32", [dispatchRows(type.shape, node.experts, node.align)]);
      promise(3, "i32", [node.experts]);
      promise(4, "i32", [node.experts]);
      return;
  }
}
