/**
 * Which errors come from roundings of their own, so that they add up by squares.
 *
 * The elements of a tensor err apart from one another where each is computed from exact inputs, or from elements of
 * such tensors that no other element reads. The terms of a sum do where each reads elements of its own. Two elements
 * that share an erring one, a row's sum say, err together, and their errors count in full. So do those of what a matrix
 * unit adds, which drops bits on one side.
 */
import type { LoopNode, Node, Scalar, ScalarRead } from "../tensor/ir.ts";
import { reachable, rootsOf } from "../tensor/scalars.ts";
import { dtypes } from "../types/dtype.ts";

export interface Independence {
  /** Whether the terms of a sum of this loop err apart from one another. */
  readonly termsApart: (node: LoopNode, lift: Scalar) => boolean;
}

/** `order`: the graph's nodes, inputs first; `drifts`: nodes whose sums err on one side. */
export function independenceOf(order: readonly Node[], drifts: (node: Node) => boolean): Independence {
  const apart = new Map<Node, boolean>();
  const isExact = (read: ScalarRead, node: Node): boolean => {
    const ref = node.inputs[read.input];
    if (ref === undefined) return false;
    const dtype = ref.node.types[ref.output]?.dtype ?? "f32";
    return ref.node.kind === "input" || dtypes[dtype].kind !== "float";
  };
  /** Whether what is read differs from point to point along the axes, and errs apart. */
  const readsApart = (node: Node, roots: readonly Scalar[], axes: readonly number[]): boolean =>
    reachable(roots).every((scalar) => {
      if (scalar.kind === "carrier") return false;
      if (scalar.kind !== "read" || isExact(scalar, node)) return true;
      const named = scalar.index.flatMap((index) => (index.kind === "axis" ? [index.axis] : []));
      const maker = node.inputs[scalar.input]?.node;
      return maker !== undefined && apart.get(maker) === true && axes.every((axis) => named.includes(axis));
    });
  for (const node of order) {
    if (node.kind !== "loop") continue;
    const ownAxes = node.axes.map((_, k) => k);
    const sweeps = node.results.some((result) => result.axes.length > node.axes.length);
    const roots = rootsOf(node);
    const exactInputs = reachable(roots).every((s) => s.kind !== "read" || isExact(s, node));
    const plain = node.carriers.length === 0 && readsApart(node, roots, ownAxes);
    apart.set(node, !drifts(node) && !(sweeps && node.carriers.length > 0) && (exactInputs || plain));
  }
  return {
    termsApart: (node, lift) => {
      if (node.carriers.some((carrier) => carrier.lift === lift)) {
        const over = node.over.map((_, k) => node.axes.length + k);
        return readsApart(node, [lift], over);
      }
      const inner = reachable(rootsOf(node)).flatMap((s) =>
        s.kind === "reduce" && s.arg === lift ? [s.axes] : [],
      );
      return inner.every((axes) => readsApart(node, [lift], axes));
    },
  };
}
