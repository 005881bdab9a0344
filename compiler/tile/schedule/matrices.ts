/**
 * A loop seen as a product of matrices.
 *
 * Each parallel axis belongs to one of four classes by the factors it moves: m (the left factor alone), n (the
 * right one alone), batch (both), or free (neither; batch too). m, n and k are each flattened, so any number of axes
 * makes a matrix.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopAxis, LoopNode, Scalar } from "../../tensor/ir.ts";
import type { Dim } from "../../types/dim.ts";
import { dtypes, isCustomFloat, storedAs, type DType, type Rounding } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { TileExpr } from "../ir.ts";
import { axesOf, constantOf, factorsOf, sweepsOf, volume } from "./analysis.ts";

/** The loop seen as matrices, or undefined where it is none. */
export interface Contraction {
  readonly batch: readonly number[];
  readonly m: readonly number[];
  readonly n: readonly number[];
  /** For each carrier its factors, the left one moving with m. */
  readonly products: readonly { readonly left: Scalar; readonly right: Scalar }[];
}

/** Splits a loop into matrices. Undefined: not a sum of products, or one side has nothing of its own to tile. */
export function asContraction(loop: LoopNode): Contraction | undefined {
  if (loop.carriers.length === 0 || loop.over.length === 0) return undefined;
  if (sweepsOf(loop).some((sweep) => sweep > 0)) return undefined;
  if (loop.results.some((result) => result.axes.length > loop.axes.length)) return undefined;
  const products: { left: Scalar; right: Scalar }[] = [];
  for (const carrier of loop.carriers) {
    const factors =
      carrier.monoid === "sum" && carrier.lift.type === "f32" ? factorsOf(carrier.lift) : undefined;
    if (factors === undefined) return undefined;
    products.push({ left: factors[0], right: factors[1] });
  }
  const first = products[0];
  invariant(first !== undefined, "a contraction has a carrier");
  const leftAxes = axesOf(first.left);
  const rightAxes = axesOf(first.right);
  const batch: number[] = [];
  const m: number[] = [];
  const n: number[] = [];
  loop.axes.forEach((_, k) => {
    const [inLeft, inRight] = [leftAxes.has(k), rightAxes.has(k)];
    if (inLeft && !inRight) m.push(k);
    else if (inRight && !inLeft) n.push(k);
    else batch.push(k);
  });
  if (m.length === 0 || n.length === 0) return undefined;
  // Results are stored along their last axis, so the factor that moves with it is the right one.
  const lastAxis = loop.results[0]?.axes.at(-1);
  const swap = lastAxis !== undefined && m.includes(lastAxis);
  const [ms, ns] = swap ? [n, m] : [m, n];
  const sided: { left: Scalar; right: Scalar }[] = [];
  for (const { left, right } of products) {
    const side = sideOf(left, right, ms, ns);
    if (side === undefined) return undefined;
    sided.push(side);
  }
  return { batch, m: ms, n: ns, products: sided };
}

function sideOf(
  a: Scalar,
  b: Scalar,
  m: readonly number[],
  n: readonly number[],
): { left: Scalar; right: Scalar } | undefined {
  const [inA, inB] = [axesOf(a), axesOf(b)];
  const moves = (axes: Set<number>, by: readonly number[]): boolean => by.some((k) => axes.has(k));
  if (!moves(inA, n) && !moves(inB, m)) return { left: a, right: b };
  if (!moves(inA, m) && !moves(inB, n)) return { left: b, right: a };
  return undefined;
}

/** Storage dtype of a factor's tile: 16 bits where every value of it is one of that dtype, else f32. */
export function factorDType(loop: LoopNode, factor: Scalar): DType {
  return storedAs(factorFormat(loop, factor));
}

/** The narrowest format that is known to have every value of a factor. */
export function factorFormat(loop: LoopNode, factor: Scalar): Rounding {
  if (factor.kind === "round") return isCustomFloat(factor.to) ? storedAs(factor.to) : factor.to;
  if (factor.kind === "read") {
    const ref = loop.inputs[factor.input];
    const dtype = ref?.node.types[ref.output]?.dtype;
    if (dtype !== undefined && dtypes[dtype].kind === "float") return dtype;
  }
  if (factor.kind === "apply" && factor.fn === "select") {
    const [, a, b] = factor.args;
    if (a !== undefined && b !== undefined && b.kind === "const" && b.value === 0)
      return factorFormat(loop, a);
    if (a !== undefined && b !== undefined && a.kind === "const" && a.value === 0)
      return factorFormat(loop, b);
  }
  return "f32";
}

export function axisExtent(loop: LoopNode, k: number): Dim {
  const axis = loop.axes[k];
  invariant(axis !== undefined, `no axis ${k}`);
  return axis.extent;
}

/** The sizes of the matrices, and where an element of them is in the loop. */
export interface Matrices {
  readonly batchCount: Dim;
  readonly mCount: Dim;
  readonly nCount: Dim;
  readonly kCount: Dim;
  /** In a batch, index expressions of all loop axes at position (m, n, k). */
  readonly axesAt: (batch: TileExpr) => (m: TileExpr, n: TileExpr, k: TileExpr) => TileExpr[];
}

export function matricesOf(loop: LoopNode, contraction: Contraction): Matrices {
  const extents = (axes: readonly number[]): Dim[] => axes.map((k) => axisExtent(loop, k));
  const sizeOf = (axes: readonly number[]): Dim =>
    volume(axes.map((k) => ({ name: "", extent: axisExtent(loop, k) })));
  return {
    batchCount: sizeOf(contraction.batch),
    mCount: sizeOf(contraction.m),
    nCount: sizeOf(contraction.n),
    kCount: volume(loop.over),
    axesAt: (batch) => {
      const places = t.unflatten(batch, extents(contraction.batch));
      return (m, n, k) => {
        const axes: TileExpr[] = [];
        const spread = (side: readonly number[], indices: readonly TileExpr[]): void =>
          side.forEach((axis, i) => {
            axes[axis] = indices[i] ?? t.int(0);
          });
        spread(contraction.batch, places);
        spread(contraction.m, t.unflatten(m, extents(contraction.m)));
        spread(contraction.n, t.unflatten(n, extents(contraction.n)));
        const over = loop.over.map((axis) => axis.extent);
        return [...axes, ...t.unflatten(k, over)];
      };
    },
  };
}

/** Whether an index of tiles of `tile` is below the size; undefined where the tiles fit it. */
export function guard(index: TileExpr, count: Dim, tile: number): TileExpr | undefined {
  const known = constantOf(count);
  if (known !== undefined && known % tile === 0) return undefined;
  return t.less(index, t.size(count));
}

/** The loop's axes of m, n and k. */
export function sidesOf(
  loop: LoopNode,
  contraction: Pick<Contraction, "m" | "n">,
): readonly (readonly LoopAxis[])[] {
  const axesAt = (positions: readonly number[]): readonly LoopAxis[] =>
    positions.flatMap((k): LoopAxis[] => {
      const axis = loop.axes[k];
      return axis === undefined ? [] : [axis];
    });
  return [axesAt(contraction.m), axesAt(contraction.n), loop.over];
}
