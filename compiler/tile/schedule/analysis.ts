/**
 * What a schedule asks about a loop: which carriers run in which sweep, along which axis memory is contiguous,
 * how wide accesses may be, which factors a product has.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopAxis, LoopNode, Node, Scalar, ScalarRead, ScatterNode } from "../../tensor/ir.ts";
import { reachable } from "../../tensor/scalars.ts";
import { constant, mul, type Dim } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";

/** Axes (by loop position) that a scalar's value depends on. */
export function axesOf(scalar: Scalar): Set<number> {
  const found = new Set<number>();
  for (const s of reachable([scalar])) if (s.kind === "axis") found.add(s.axis);
  return found;
}

/** The sweep of each carrier: 0 where its lift uses no carrier, else one more than the latest it uses. */
export function sweepsOf(loop: LoopNode): number[] {
  const sweeps: number[] = [];
  for (const carrier of loop.carriers) {
    let sweep = 0;
    for (const s of reachable([carrier.lift])) {
      if (s.kind === "carrier") sweep = Math.max(sweep, (sweeps[s.carrier] ?? 0) + 1);
    }
    sweeps.push(sweep);
  }
  return sweeps;
}

export function volume(axes: readonly LoopAxis[]): Dim {
  return axes.reduce<Dim>((product, axis) => mul(product, axis.extent), constant(1));
}

export function constantOf(dim: Dim): number | undefined {
  return dim.kind === "const" ? dim.value : undefined;
}

/** The largest power of two up to `limit` that divides a constant; 1 for a size that is not known. */
export function powerOfTwoFactor(dim: Dim, limit: number): number {
  const value = constantOf(dim);
  if (value === undefined) return 1;
  let factor = 1;
  while (factor * 2 <= limit && value % (factor * 2) === 0) factor *= 2;
  return factor;
}

export function readsOf(roots: readonly Scalar[]): ScalarRead[] {
  return reachable(roots).filter((s) => s.kind === "read");
}

/** The loop axis that a read's last index moves along with step one, or undefined. */
export function contiguousAxis(read: ScalarRead): number | undefined {
  const last = read.index.at(-1);
  if (last === undefined) return undefined;
  return unitAxis(last);
}

/** The axis along which neighbours of a factor are neighbours in memory, in what it reads most of; if there is one. */
export function axisInMemory(factor: Scalar): number | undefined {
  return readsOf([factor])
    .toSorted((a, b) => axesOf(b).size - axesOf(a).size)
    .map(contiguousAxis)
    .find((axis) => axis !== undefined);
}

function unitAxis(index: Scalar): number | undefined {
  if (index.kind === "axis") return index.axis;
  if (index.kind === "apply" && (index.fn === "add" || index.fn === "sub")) {
    // x + (something that does not move with x).
    const [a, b] = index.args;
    invariant(a !== undefined && b !== undefined, "binary");
    const left = unitAxis(a);
    if (left !== undefined && !axesOf(b).has(left)) return left;
    if (index.fn === "sub") return undefined;
    const right = unitAxis(b);
    if (right !== undefined && !axesOf(a).has(right)) return right;
  }
  if (index.kind === "apply" && index.fn === "mod") {
    const inner = index.args[0];
    return inner === undefined ? undefined : unitAxis(inner);
  }
  return undefined;
}

/** Bytes of the narrowest tensor among the node's inputs and results that has more than one element. */
export function narrowestBytes(node: Node): number {
  let bytes = 8;
  const types = [...node.inputs.map((ref) => ref.node.types[ref.output]), ...node.types];
  for (const type of types) {
    if (type === undefined || type.shape.length === 0) continue;
    bytes = Math.min(bytes, dtypes[type.dtype].bytes);
  }
  return bytes;
}

/** `a * b` as a lift: its two factors, or undefined. */
export function factorsOf(lift: Scalar): readonly [Scalar, Scalar] | undefined {
  if (lift.kind !== "apply" || lift.fn !== "mul") return undefined;
  const [a, b] = lift.args;
  return a === undefined || b === undefined ? undefined : [a, b];
}

/**
 * Bytes of a node's inputs and results, each once, and of an input no more than are read; a size that is not known is
 * taken for `usual`.
 */
export function movedBytes(node: LoopNode | ScatterNode, usual: number): number {
  const size = (extents: readonly Dim[]): number =>
    extents.reduce((product, extent) => product * (constantOf(extent) ?? usual), 1);
  const axes = node.kind === "loop" ? [...node.axes, ...node.over, ...node.inner] : node.axes;
  const roots =
    node.kind === "loop"
      ? [...node.carriers.map(({ lift }) => lift), ...node.results.map(({ value }) => value)]
      : [...node.target, node.value, node.keep];
  const made = new Map<number, number>();
  for (const read of readsOf(roots)) {
    const moving = [...new Set(read.index.flatMap((index) => [...axesOf(index)]))];
    const times = size(moving.flatMap((k) => axes[k]?.extent ?? []));
    made.set(read.input, (made.get(read.input) ?? 0) + times);
  }
  const read = node.inputs.reduce((sum, ref, k) => {
    const type = ref.node.types[ref.output];
    if (type === undefined) return sum;
    return sum + Math.min(size(type.shape), made.get(k) ?? 0) * dtypes[type.dtype].bytes;
  }, 0);
  return node.types.reduce((sum, type) => sum + size(type.shape) * dtypes[type.dtype].bytes, read);
}
