/**
 * Bytes and FLOPs of each node, as sizes: what decisions about fusion and the rooflines are made from.
 *
 * A node reads each tensor of its inputs once, however often its body reads an element, but never more elements than
 * it has reads to make; and writes each result once. A loop's FLOPs are those of its lifts at every point of
 * axes and `over`, those of the monoids, and those of its results where they range.
 */
import { constant, add, mul, min, evaluate, symbols, type Dim } from "../types/dim.ts";
import { dtypes } from "../types/dtype.ts";
import { typeOf } from "../tensor/refs.ts";
import type { LoopAxis, LoopNode, Node, Ref, Scalar, TensorType } from "../tensor/ir.ts";
import { flopsIn } from "../tensor/node-body.ts";
import { monoidOf } from "../tensor/monoids.ts";
import { scalarFunctions } from "../tensor/scalar-functions.ts";
import { operandsOf, reachable } from "../tensor/scalars.ts";
import { flopsOf } from "./loops.ts";

export interface Cost {
  readonly read: Dim;
  readonly written: Dim;
  readonly flops: Dim;
}

const nothing = constant(0);

export function bytesOf(type: TensorType): Dim {
  return mul(...type.shape, constant(dtypes[type.dtype].bytes));
}

export function pointsOf(axes: readonly LoopAxis[]): Dim {
  return mul(...axes.map((axis) => axis.extent), constant(1));
}

export function costOf(node: Node): Cost {
  const read = add(...node.inputs.map((ref) => bytesRead(node, ref)), nothing);
  const written = add(...node.types.map(bytesOf), nothing);
  switch (node.kind) {
    case "input":
      return { read: nothing, written: nothing, flops: nothing };
    case "loop": {
      const rows = pointsOf(node.axes);
      const all = pointsOf([...node.axes, ...node.over]);
      const lifts = flopsOf(node.carriers.map((c) => c.lift));
      const steps = node.carriers.reduce(
        (sum, c) => sum + (scalarFunctions.get(monoidOf(c.monoid).combine)?.cost ?? 0),
        0,
      );
      const swept = node.results.filter((r) => r.axes.length > node.axes.length || node.over.length === 0);
      const plain = node.results.filter((r) => !swept.includes(r));
      const inside = steps + lifts + flopsOf(swept.map((r) => r.value));
      const plainFlops = mul(rows, constant(flopsOf(plain.map((r) => r.value))));
      const sweptFlops = node.inner.length > 0 ? flopsOfStreamed(node) : mul(all, constant(inside));
      return { read, written, flops: add(sweptFlops, plainFlops) };
    }
    case "scatter": {
      const points = pointsOf(node.axes);
      const touched = mul(points, constant(dtypes[node.types[0]?.dtype ?? "f32"].bytes));
      return { read, written: touched, flops: mul(points, constant(flopsOf([node.value, node.keep]))) };
    }
    case "topk":
    case "scan":
    case "sort":
    case "dispatch":
      return { read, written, flops: nothing };
  }
}

/** FLOPs of lifts that hold reductions: each scalar counts where it varies, since a schedule computes it there. */
function flopsOfStreamed(loop: LoopNode): Dim {
  const extents = [...loop.axes, ...loop.over, ...loop.inner].map((axis) => axis.extent);
  const along = (set: number): Dim =>
    mul(...extents.filter((_, axis) => ((set >> axis) & 1) === 1), constant(1));
  const combine = (monoid: string): Dim => constant(scalarFunctions.get(monoidOf(monoid).combine)?.cost ?? 0);
  const sets = new Map<Scalar, number>();
  let flops: Dim = nothing;
  for (const s of reachable(loop.carriers.map((c) => c.lift))) {
    let set = s.kind === "axis" ? 1 << s.axis : 0;
    for (const operand of operandsOf(s)) set |= sets.get(operand) ?? 0;
    if (s.kind === "reduce") {
      flops = add(flops, mul(along(set), combine(s.monoid)));
      for (const axis of s.axes) set &= ~(1 << axis);
    }
    sets.set(s, set);
    const own = flopsIn([s]);
    if (own > 0) flops = add(flops, mul(along(set), constant(own)));
  }
  for (const { monoid, lift } of loop.carriers)
    flops = add(flops, mul(along(sets.get(lift) ?? 0), combine(monoid)));
  return flops;
}

/** What a scatter writes over is not read when it is done in place. */
function bytesRead(node: Node, ref: Ref): Dim {
  if (node.kind === "scatter" && ref === node.inputs[0]) return nothing;
  const type = typeOf(ref);
  if (node.kind !== "loop") return bytesOf(type);
  // A gather reads no more elements than it has points, however large its table.
  const points = mul(pointsOf([...node.axes, ...node.over]), constant(dtypes[type.dtype].bytes));
  return node.inputs.length > 0 ? min(bytesOf(type), points) : nothing;
}

/** A number for a size, each symbol taken as `unknownSize`: for decisions, where sizes are not known. */
export function estimate(dim: Dim): number {
  const names = symbols(dim);
  return evaluate(dim, new Map([...names].map((name) => [name, unknownSize])));
}

/** What a decision takes for a size that is not known when compiling. */
export const unknownSize = 1024;
