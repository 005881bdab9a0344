/**
 * The oracle: what a graph means. f64 arithmetic, rounded where a type was written (`round`, and a result of a
 * narrower dtype) and nowhere else; an f32 that was not written as a type is not rounded until it leaves.
 *
 * It shares no code with the tile and kernel levels or with the targets. Beside values it can compute, for each
 * element of each output, how far a correct target may be from it (`error-bound.ts`).
 */
import type { Place } from "../diagnostics/diagnostic.ts";
import { InternalError } from "../diagnostics/diagnostic.ts";
import { evaluate, type Dim } from "../types/dim.ts";
import type { DType } from "../types/dtype.ts";
import type { Arena } from "./arena.ts";
import { BodyMachine } from "./body-machine.ts";
import { errorStep, storedError, type SumError } from "./error-bound.ts";
import { outputsOf, topological } from "./graphs.ts";
import { runLoop } from "./interpret-loop.ts";
import { runStructured } from "./interpret-structured.ts";
import type { Graph, Node, Ref, ScatterNode } from "./ir.ts";
import { storerOf } from "./number-formats.ts";
import { emptyValues, fromStored, isWhole, toStored, type StoredTensor, type Values } from "./values.ts";

export interface InterpretOptions {
  /** In "error" a clamped index that is outside its axis, and used, is an `InterpretError`. */
  readonly bounds: "clamp" | "error";
  /** Compute the bounds too; takes about three times as long. */
  readonly errors: boolean;
  /** Bounds the error of each sum, in place of the rule for any order. */
  readonly sums?: SumError;
}

export interface Interpretation {
  /** By result name. */
  readonly results: ReadonlyMap<string, StoredTensor>;
  /** New values of states, by the input's name. */
  readonly updates: ReadonlyMap<string, StoredTensor>;
  /** For each element of each result and update, |target - reference| at most. Empty unless asked for. */
  readonly bounds: ReadonlyMap<string, Float64Array>;
}

/** What the user's inputs do not allow: a missing or misshapen input, a failed size check, an index outside. */
export class InterpretError extends Error {
  override readonly name = "InterpretError";
  readonly place: Place | undefined;

  constructor(message: string, place: Place | undefined) {
    super(message);
    this.place = place;
  }
}

/** What running one node needs to know. */
export interface Running {
  readonly bounds: "clamp" | "error";
  readonly errors: boolean;
  readonly sums: SumError | undefined;
  readonly size: (dim: Dim) => number;
  readonly storedError: (dtype: DType, value: number, error: number) => number;
  /** Ends the run: an index outside was used. */
  readonly refuse: (
    node: Node,
    outside: { readonly input: number; readonly axis: number; readonly index: number } | undefined,
  ) => never;
}

export const plainRun: InterpretOptions = { bounds: "clamp", errors: false };

/** Interprets a graph on tensors by input name, with a value for each of its dims. */
export function interpret(
  arena: Arena,
  graph: Graph,
  inputs: ReadonlyMap<string, StoredTensor>,
  dims: ReadonlyMap<string, number>,
  options: InterpretOptions = plainRun,
): Interpretation {
  checkSizes(graph, dims);
  const cx = running(arena, dims, options);
  const known = new Map<Node, readonly Values[]>();
  const nodes = topological(graph);
  const uses = countUses(graph, nodes);
  for (const node of nodes) {
    known.set(
      node,
      node.kind === "input"
        ? [takeInput(cx, node.name, node.types[0], inputs)]
        : runNode(
            cx,
            node,
            node.inputs.map((ref) => find(known, ref)),
          ),
    );
    for (const ref of node.inputs) release(known, uses, ref);
  }
  const results = new Map<string, StoredTensor>();
  const updates = new Map<string, StoredTensor>();
  const bounds = new Map<string, Float64Array>();
  const hand = (into: Map<string, StoredTensor>, name: string, ref: Ref): void => {
    const values = find(known, ref);
    into.set(name, toStored(values));
    if (options.errors) bounds.set(name, handedOut(values));
  };
  for (const { name, value } of graph.results) hand(results, name, value);
  for (const { input, value } of graph.updates) hand(updates, input.name, value);
  return { results, updates, bounds };
}

function running(arena: Arena, dims: ReadonlyMap<string, number>, options: InterpretOptions): Running {
  const sizes = new Map<Dim, number>();
  const size = (dim: Dim): number => {
    let value = sizes.get(dim);
    if (value === undefined) sizes.set(dim, (value = evaluate(dim, dims)));
    return value;
  };
  const refuse: Running["refuse"] = (node, outside) => {
    const ref = node.inputs[outside?.input ?? 0];
    const name = ref?.node.kind === "input" ? ref.node.name : ref === undefined ? undefined : arena.hint(ref);
    const extent = ref?.node.types[ref.output]?.shape[outside?.axis ?? 0];
    const of = node.kind === "dispatch" ? "expert" : "index";
    const where = name === undefined ? "its tensor" : `'${name}'`;
    const has = extent === undefined || node.kind === "dispatch" ? "" : `, which has ${size(extent)}`;
    throw new InterpretError(
      `${of} ${outside?.index ?? "?"} is outside axis ${(outside?.axis ?? 0) + 1} of ${where}${has}`,
      arena.place(node),
    );
  };
  // An f32 stays as it is in the oracle until it is handed out, and a target's was one already.
  const kept: Running["storedError"] = (dtype, value, error) =>
    dtype === "f32" ? error : storedError(dtype, value, error);
  const { bounds, errors, sums } = options;
  return { bounds, errors, sums, size, storedError: kept, refuse };
}

function checkSizes(graph: Graph, dims: ReadonlyMap<string, number>): void {
  for (const name of graph.dims)
    if (!dims.has(name)) throw new InterpretError(`no size is given for ${name}`, undefined);
  for (const check of graph.checks) {
    const [left, right] = [evaluate(check.left, dims), evaluate(check.right, dims)];
    const { relation } = check;
    const holds =
      relation === "=="
        ? left === right
        : relation === "!="
          ? left !== right
          : relation === "<"
            ? left < right
            : left <= right;
    if (!holds) throw new InterpretError(`${check.message} (${left} and ${right})`, undefined);
  }
}

function takeInput(
  cx: Running,
  name: string,
  type: Node["types"][number] | undefined,
  inputs: ReadonlyMap<string, StoredTensor>,
): Values {
  const tensor = inputs.get(name);
  if (tensor === undefined || type === undefined)
    throw new InterpretError(`input '${name}' is missing`, undefined);
  const shape = type.shape.map((dim) => cx.size(dim));
  const fits =
    tensor.dtype === type.dtype &&
    tensor.shape.length === shape.length &&
    shape.every((extent, i) => tensor.shape[i] === extent);
  if (!fits)
    throw new InterpretError(
      `input '${name}' is ${tensor.dtype}[${tensor.shape.join(", ")}], not ${type.dtype}[${shape.join(", ")}]`,
      undefined,
    );
  if (!isWhole(tensor))
    throw new InterpretError(`input '${name}' has ${tensor.bytes.byteLength} bytes`, undefined);
  return fromStored(tensor);
}

function countUses(graph: Graph, nodes: readonly Node[]): Map<Node, number> {
  const uses = new Map<Node, number>();
  const use = (ref: Ref): void => void uses.set(ref.node, (uses.get(ref.node) ?? 0) + 1);
  for (const node of nodes) node.inputs.forEach(use);
  outputsOf(graph).forEach(use);
  return uses;
}

/** Forgets a node's values after their last use. */
function release(known: Map<Node, readonly Values[]>, uses: Map<Node, number>, ref: Ref): void {
  const left = (uses.get(ref.node) ?? 0) - 1;
  uses.set(ref.node, left);
  if (left === 0) known.delete(ref.node);
}

function find(known: ReadonlyMap<Node, readonly Values[]>, ref: Ref): Values {
  const values = known.get(ref.node)?.[ref.output];
  if (values === undefined) throw new InternalError(`node ${ref.node.id} was not computed`);
  return values;
}

function runNode(
  cx: Running,
  node: Exclude<Node, { kind: "input" }>,
  tensors: readonly Values[],
): readonly Values[] {
  switch (node.kind) {
    case "loop":
      return runLoop(cx, node, tensors);
    case "scatter":
      return [runScatter(cx, node, tensors)];
    case "topk":
    case "scan":
    case "sort":
    case "dispatch":
      return runStructured(cx, node, tensors);
  }
}

/** The error of each element once it has left: an f32 is rounded then. */
function handedOut(values: Values): Float64Array {
  const size = values.data.length;
  const out = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    const error = values.error?.[i] ?? 0;
    out[i] = values.dtype === "f32" ? storedError("f32", Number(values.data[i]), error) : error;
  }
  return out;
}

/** Writes point by point, in row-major order of the axes. Whether and where an uncertain point writes is uncertain. */
function runScatter(cx: Running, node: ScatterNode, tensors: readonly Values[]): Values {
  const [into] = tensors;
  if (into === undefined) throw new InternalError("a scatter into nothing");
  const output: Values = { ...emptyValues(into.dtype, into.shape, cx.errors) };
  if (output.data instanceof BigInt64Array && into.data instanceof BigInt64Array) output.data.set(into.data);
  else if (output.data instanceof Float64Array && into.data instanceof Float64Array)
    output.data.set(into.data);
  if (into.error !== undefined) output.error?.set(into.error);
  const m = new BodyMachine([...node.target, node.value, node.keep], tensors, cx.size, cx.bounds === "error");
  const errors = new Float64Array(m.scalars.length);
  const steps = m.scalars.flatMap((s) =>
    [m.step(s) ?? [], cx.errors ? (errorStep(m, errors, tensors, s) ?? []) : []].flat(),
  );
  const extents = node.axes.map((axis) => cx.size(axis.extent));
  const stored = storerOf(into.dtype);
  const [value, keep] = [m.register(node.value), m.register(node.keep)];
  const targets = node.target.map((s) => m.register(s));
  const total = extents.reduce((product, extent) => product * extent, 1);
  let uncertain = false;
  for (let point = 0; point < total; point++) {
    let rest = point;
    for (let k = extents.length - 1; k >= 0; k--) {
      const extent = extents[k] ?? 1;
      if (m.axisRegister(k) >= 0) m.numbers[m.axisRegister(k)] = rest % extent;
      rest = Math.floor(rest / extent);
    }
    for (const step of steps) step();
    if ([keep, ...targets].some((r) => (errors[r] ?? 0) > 0)) uncertain = true;
    if (m.numbers[keep] === 0) continue;
    if (m.marks.length > 0 && [value, ...targets].some((r) => (m.marks[r] ?? 0) !== 0))
      cx.refuse(node, m.outside);
    const at = offsetOf(
      targets.map((r) => m.numbers[r] ?? 0),
      into.shape,
    );
    if (at < 0) {
      if (cx.bounds === "error")
        cx.refuse(
          node,
          outsideOf(
            targets.map((r) => m.numbers[r] ?? 0),
            into.shape,
          ),
        );
      continue;
    }
    if (output.data instanceof BigInt64Array) output.data[at] = m.bigs[value] ?? 0n;
    else output.data[at] = stored(m.numbers[value] ?? 0);
    if (output.error !== undefined)
      output.error[at] = cx.storedError(into.dtype, m.numbers[value] ?? 0, errors[value] ?? 0);
  }
  if (uncertain) output.error?.fill(Infinity);
  return output;
}

/** The first index that a scatter's base does not have. */
function outsideOf(
  index: readonly number[],
  shape: readonly number[],
): { readonly input: number; readonly axis: number; readonly index: number } {
  const axis = index.findIndex((i, k) => i < 0 || i >= (shape[k] ?? 0));
  return { input: 0, axis, index: index[axis] ?? 0 };
}

/** -1 outside the tensor. */
function offsetOf(index: readonly number[], shape: readonly number[]): number {
  let at = 0;
  for (let k = 0; k < shape.length; k++) {
    const [i, extent] = [index[k] ?? 0, shape[k] ?? 0];
    if (i < 0 || i >= extent) return -1;
    at = at * extent + i;
  }
  return at;
}
