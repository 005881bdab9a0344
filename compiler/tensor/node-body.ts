/**
 * What a node's bodies hold, found once for all nodes of one form: nodes never change, and passes ask again and
 * again.
 */
import type { Node, NodeBody, Scalar, ScalarRead } from "./ir.ts";
import { scalarFunctions } from "./scalar-functions.ts";
import { inReadingOrder, reachable, rootsOf } from "./scalars.ts";

class LazyBody implements NodeBody {
  readonly roots: readonly Scalar[];
  readonly scalars: readonly Scalar[];
  readonly reads: readonly ScalarRead[];
  readonly readsByInput: readonly (readonly ScalarRead[])[];
  #plain: readonly (readonly number[] | undefined)[] | undefined = undefined;
  #order: readonly number[] | undefined = undefined;
  #axes: readonly number[] | undefined = undefined;
  #carriers: readonly number[] | undefined = undefined;
  #flops = -1;

  constructor(node: Node) {
    this.roots = rootsOf(node);
    this.scalars = reachable(this.roots);
    this.reads = this.scalars.filter((s): s is ScalarRead => s.kind === "read");
    this.readsByInput = node.inputs.map((_, i) => this.reads.filter((read) => read.input === i));
  }

  get plainReads(): readonly (readonly number[] | undefined)[] {
    return (this.#plain ??= this.reads.map(plainAxes));
  }

  get inputOrder(): readonly number[] {
    return (this.#order ??= inputOrder(this.roots));
  }

  get axesOfRoots(): readonly number[] {
    return (this.#axes ??= axesOfRoots(this));
  }

  get carriersOfRoots(): readonly number[] {
    return (this.#carriers ??= mostOfRoots(this));
  }

  get flops(): number {
    if (this.#flops < 0) this.#flops = flopsIn(this.scalars);
    return this.#flops;
  }
}

export function bodyOf(node: Node): NodeBody {
  return (node.form.body ??= new LazyBody(node));
}

/** The axis of each index, or undefined where some index is not a plain axis or an axis stands twice. */
export function plainAxes(read: ScalarRead): readonly number[] | undefined {
  const axes: number[] = [];
  for (const index of read.index) {
    if (index.kind !== "axis" || axes.includes(index.axis)) return undefined;
    axes.push(index.axis);
  }
  return axes;
}

/** FLOPs of evaluating these scalars once each. Index arithmetic is free. */
export function flopsIn(scalars: readonly Scalar[]): number {
  let flops = 0;
  for (const s of scalars) {
    if (s.kind !== "apply") continue;
    const float = s.type === "f32" || s.args.some((arg) => arg.type === "f32");
    if (float) flops += scalarFunctions.get(s.fn)?.cost ?? 0;
  }
  return flops;
}

export function inputOrder(roots: readonly Scalar[]): readonly number[] {
  const order: number[] = [];
  for (const s of inReadingOrder(roots))
    if (s.kind === "read" && !order.includes(s.input)) order.push(s.input);
  return order;
}

function axesOfRoots(body: NodeBody): readonly number[] {
  const sets = new Map<Scalar, number>();
  for (const s of body.scalars) {
    let set = foldOperands(s, sets, s.kind === "axis" ? 1 << s.axis : 0, (a, b) => a | b);
    // What is reduced over does not vary along that axis any more.
    if (s.kind === "reduce") for (const axis of s.axes) set &= ~(1 << axis);
    sets.set(s, set);
  }
  return body.roots.map((root) => sets.get(root) ?? 0);
}

function mostOfRoots(body: NodeBody): readonly number[] {
  if (!body.scalars.some((s) => s.kind === "carrier")) return body.roots.map(() => 0);
  const most = new Map<Scalar, number>();
  for (const s of body.scalars)
    most.set(s, foldOperands(s, most, s.kind === "carrier" ? s.carrier + 1 : 0, Math.max));
  return body.roots.map((root) => most.get(root) ?? 0);
}

function foldOperands(
  s: Scalar,
  known: ReadonlyMap<Scalar, number>,
  start: number,
  join: (a: number, b: number) => number,
): number {
  let value = start;
  if (s.kind === "apply") for (const arg of s.args) value = join(value, known.get(arg) ?? 0);
  else if (s.kind === "round" || s.kind === "cast" || s.kind === "reduce")
    value = join(value, known.get(s.arg) ?? 0);
  else if (s.kind === "read") {
    for (const index of s.index) value = join(value, known.get(index) ?? 0);
    if (s.otherwise !== undefined) value = join(value, known.get(s.otherwise) ?? 0);
  }
  return value;
}
