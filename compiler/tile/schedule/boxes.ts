/**
 * When the copy engine can load a matrix: a tensor seen with fewer axes, one for each side of the product.
 *
 * Axes of one side that follow each other are one axis of the view; an axis that both sides share, or that is read
 * at a fixed place, stays one of its own, and a box takes a single place of it. The engine wants at most five axes,
 * the last one contiguous, and strides of whole 16 bytes (PTX ISA 5.5; cuTensorMapEncodeTiled).
 */
import type { LoopNode, LoopResult, Scalar, ScalarRead } from "../../tensor/ir.ts";
import { constant, dimEquals, mul, type Dim } from "../../types/dim.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import { axesOf, constantOf } from "./analysis.ts";
import { constantRun } from "./runs.ts";

export type Side = "m" | "n" | "k";

/** Loop axes of each side, in the order in which they are made one. */
export type Sides = Readonly<Record<Side, readonly number[]>>;

export interface ViewAxis {
  readonly extent: Dim;
  /** Where a side begins that is a part of the axis, a sum of these; undefined: it is all of it. */
  readonly shift?: readonly Scalar[];
  /** Of a side that lies apart, on several axes of the view: places of the side from one of this axis to the next. */
  readonly stride?: number;
  /** Of a side that lies in pages: places of one, which this axis has; another axis says which page. */
  readonly page?: number;
  /** A side; or a loop axis that both sides share; or the one place at which it is read. */
  readonly along: Side | { readonly axis: number } | Place;
}

/** One place for all of a box. */
export interface Place {
  readonly place: Scalar;
  /** Of what may lie outside the nearest place inside is read. */
  readonly isClamped: boolean;
}

/** The axes of a view, slowest first; the last one is a side. Undefined: the engine cannot copy this. */
export type View = readonly ViewAxis[];

const mostAxes = 5;
const strideBytes = 16;

interface Indexed {
  readonly extent: Dim;
  readonly index: Scalar | { readonly kind: "axis"; readonly axis: number };
  readonly isClamped?: boolean;
}

/** `rows`: boxes have a multiple of so many places of m, so that it may lie apart: whole inner axes in each box. */
export function viewOfRead(loop: LoopNode, sides: Sides, read: ScalarRead, rows?: number): View | undefined {
  const ref = loop.inputs[read.input];
  const type = ref?.node.types[ref.output];
  if (type === undefined || (read.bounds !== "proved" && read.bounds !== "clamp")) return undefined;
  const dims = type.shape.flatMap((extent, k): Indexed[] => {
    const index = read.index[k];
    return index === undefined ? [] : [{ extent, index, isClamped: read.bounds === "clamp" }];
  });
  return viewOf(loop, sides, dims, type.dtype, rows);
}

/** A tensor with one element for each run of k: the view's k counts runs. */
export function viewOfRuns(loop: LoopNode, sides: Sides, read: ScalarRead, run: number): View | undefined {
  const ref = loop.inputs[read.input];
  const type = ref?.node.types[ref.output];
  const last = read.index.at(-1);
  const runs = type?.shape.at(-1);
  if (type === undefined || runs === undefined || last === undefined) return undefined;
  if (!isRun(sides, last, run)) return undefined;
  // The last run is within the tensor: of what may lie outside only the places before it are clamped.
  const isClamped =
    read.bounds === "clamp" &&
    (constantOf(runs) ?? 0) * run >= (constantOf(extentOf(loop, sides.k[0] ?? -1) ?? runs) ?? Infinity);
  if (read.bounds !== "proved" && !isClamped) return undefined;
  const row = constantOf(runs);
  if (row === undefined || (row * dtypes[type.dtype].bytes) % strideBytes !== 0) return undefined;
  const rows = type.shape.slice(0, -1).flatMap((extent, i): Indexed[] => {
    const index = read.index[i];
    return index === undefined ? [] : [{ extent, index, isClamped }];
  });
  // What is before the runs is a view whose rows are as long as the runs.
  const view = axesOfView(loop, { ...sides, k: [] }, rows, type.dtype);
  return view === undefined || view.length >= mostAxes ? undefined : [...view, { extent: runs, along: "k" }];
}

/** The same with the runs before the rows, or columns, which are all of their side and lie side by side. */
export function viewOfRunsAcross(
  loop: LoopNode,
  sides: Sides,
  read: ScalarRead,
  run: number,
  side: "m" | "n",
): View | undefined {
  const ref = loop.inputs[read.input];
  const type = ref?.node.types[ref.output];
  const [of, row] = read.index.slice(-2);
  const [runs, rows] = type?.shape.slice(-2) ?? [];
  const [own, ...others] = sides[side];
  if (type === undefined || runs === undefined || rows === undefined || of === undefined) return undefined;
  if (read.bounds !== "proved" || row?.kind !== "axis" || row.axis !== own || others.length > 0)
    return undefined;
  const bytes = (constantOf(rows) ?? 1) * dtypes[type.dtype].bytes;
  if (
    !isRun(sides, of, run) ||
    !dimEquals(rows, extentOf(loop, own) ?? constant(0)) ||
    bytes % strideBytes !== 0
  )
    return undefined;
  const outer = type.shape.slice(0, -2).flatMap((extent, i): Indexed[] => {
    const index = read.index[i];
    return index === undefined ? [] : [{ extent, index }];
  });
  const view = axesOfView(loop, { ...sides, [side]: [], k: [] }, outer, type.dtype);
  if (view === undefined || view.length + 2 > mostAxes) return undefined;
  return [...view, { extent: runs, along: "k" }, { extent: rows, along: side }];
}

/** The quotient of the one axis of k by the length of a run. */
function isRun({ k: [axis, other] }: Sides, index: Scalar, run: number): boolean {
  if (other !== undefined || index.kind !== "apply" || index.fn !== "floordiv") return false;
  const [of, by] = index.args;
  return of?.kind === "axis" && of.axis === axis && by?.kind === "const" && Number(by.value) === run;
}

/** `rows` as for reads. */
export function viewOfResult(
  loop: LoopNode,
  sides: Sides,
  result: LoopResult,
  rows?: number,
): View | undefined {
  const dims = result.axes.map((axis): Indexed => ({
    extent: extentOf(loop, axis) ?? constant(0),
    index: { kind: "axis", axis },
  }));
  return viewOf(loop, sides, dims, result.dtype, rows);
}

function extentOf(loop: LoopNode, axis: number): Dim | undefined {
  return [...loop.axes, ...loop.over, ...loop.inner][axis]?.extent;
}

function viewOf(
  loop: LoopNode,
  sides: Sides,
  dims: readonly Indexed[],
  dtype: DType,
  rows?: number,
): View | undefined {
  const view = axesOfView(loop, sides, dims, dtype, rows);
  const last = view?.at(-1);
  const row = last === undefined ? undefined : constantOf(last.extent);
  if (view === undefined || view.length > mostAxes || typeof last?.along !== "string") return undefined;
  if (row === undefined || (row * dtypes[dtype].bytes) % strideBytes !== 0) return undefined;
  return view;
}

function axesOfView(
  loop: LoopNode,
  sides: Sides,
  dims: readonly Indexed[],
  dtype: DType,
  rows?: number,
): ViewAxis[] | undefined {
  const view: ViewAxis[] = [];
  for (let at = 0; at < dims.length;) {
    const dim = dims[at];
    if (dim === undefined) return undefined;
    const page = pageOf(sides, dim);
    if (page !== undefined) {
      view.push(page);
      at += 1;
      continue;
    }
    const isInside = dim.isClamped !== true || staysInside(loop, dim);
    const part = isInside ? partOf(loop, sides, dim, dtype) : undefined;
    if (part !== undefined && !view.some((axis) => axis.along === part.side)) {
      view.push({ extent: dim.extent, along: part.side, shift: part.shift });
      at += 1;
      continue;
    }
    const side = sideOf(sides, dim.index);
    if (side === undefined) {
      const { index, extent } = dim;
      if (index.kind !== "axis" && !isShared(sides, index) && !isOfPage(loop, sides, dims, index))
        return undefined;
      if (index.kind === "axis" && !isInside) return undefined;
      const along = index.kind === "axis" ? { axis: index.axis } : { place: index, isClamped: !isInside };
      view.push({ extent, along });
      at += 1;
      continue;
    }
    const apart = rows === undefined || side !== "m" ? undefined : apartAxis(loop, sides, dims, at, rows);
    if (apart !== undefined) {
      view.push(apart);
      at += 1;
      continue;
    }
    if (view.some((axis) => axis.along === side)) return undefined;
    let extent: Dim = constant(1);
    for (const axis of sides[side]) {
      const next = dims[at];
      const whole = extentOf(loop, axis);
      if (next?.index.kind !== "axis" || next.index.axis !== axis) return undefined;
      if (whole === undefined || !dimEquals(next.extent, whole)) return undefined;
      extent = mul(extent, whole);
      at += 1;
    }
    view.push({ extent, along: side });
  }
  return view;
}

/** One axis of m, whose axes do not follow each other here but come in order; the inner ones fill boxes evenly. */
function apartAxis(
  loop: LoopNode,
  { m }: Sides,
  dims: readonly Indexed[],
  at: number,
  rows: number,
): ViewAxis | undefined {
  const places = m.map((axis) => dims.findIndex(({ index }) => index.kind === "axis" && index.axis === axis));
  const follow = places.every((place, k) => k === 0 || place === (places[k - 1] ?? 0) + 1);
  const inOrder = places.every((place, k) => place >= 0 && (k === 0 || place > (places[k - 1] ?? 0)));
  const own = places.indexOf(at);
  const dim = dims[at];
  const whole = extentOf(loop, m[own] ?? -1);
  if (follow || !inOrder || dim === undefined || whole === undefined) return undefined;
  if (!dimEquals(dim.extent, whole)) return undefined;
  const inner = m.slice(1).map((axis) => constantOf(extentOf(loop, axis) ?? constant(0)) ?? 0);
  const strides = m.map((_, k) => inner.slice(k).reduce((product, extent) => product * extent, 1));
  const stride = strides[own];
  if (stride === undefined || strides[0] === undefined || strides[0] === 0 || rows % strides[0] !== 0)
    return undefined;
  return { extent: dim.extent, along: "m", stride };
}

/** Whether an index made of axes cannot lie outside. */
function staysInside(loop: LoopNode, { extent, index }: Indexed): boolean {
  if (index.kind === "axis" && dimEquals(extent, extentOf(loop, index.axis) ?? constant(0))) return true;
  const largest = (s: Indexed["index"]): number => {
    if (s.kind === "const" && Number(s.value) >= 0) return Number(s.value);
    if (s.kind === "axis") return (constantOf(extentOf(loop, s.axis) ?? constant(0)) ?? Infinity) - 1;
    if (s.kind !== "apply" || (s.fn !== "add" && s.fn !== "mul")) return Infinity;
    const parts = s.args.map(largest);
    return parts.reduce((a, b) => (s.fn === "add" ? a + b : a * b));
  };
  return largest(index) < (constantOf(extent) ?? 0);
}

/** The axis of the places within a page, `swept % page`, of a side that is one axis. */
function pageOf(sides: Sides, { extent, index }: Indexed): ViewAxis | undefined {
  const places = pagedAxis(index);
  const page = constantOf(extent);
  if (places === undefined || page === undefined || places.page !== page) return undefined;
  const along = (["m", "n", "k"] as const).find((side) => sides[side].includes(places.axis));
  if (along === undefined || sides[along].length !== 1) return undefined;
  return { extent, along, page };
}

function pagedAxis(index: Indexed["index"]): { readonly axis: number; readonly page: number } | undefined {
  if (index.kind !== "apply" || index.fn !== "mod") return undefined;
  const [axis, page] = index.args;
  return axis?.kind === "axis" && page?.kind === "const"
    ? { axis: axis.axis, page: Number(page.value) }
    : undefined;
}

/** Whether an index stays the same within each page of a side that lies in pages, and moves with no other side. */
function isOfPage(loop: LoopNode, { m, n, k }: Sides, dims: readonly Indexed[], index: Scalar): boolean {
  const moving = [...axesOf(index)].filter((axis) => [...m, ...n, ...k].includes(axis));
  return moving.every((axis) =>
    dims.some(({ index: other }) => {
      const paged = pagedAxis(other);
      return paged?.axis === axis && constantRun(loop, [axis], index) % paged.page === 0;
    }),
  );
}

function sideOf(sides: Sides, index: Indexed["index"]): Side | undefined {
  if (index.kind !== "axis") return undefined;
  const { axis } = index;
  return (["m", "n", "k"] as const).find((side) => sides[side].includes(axis));
}

/** Bytes of the boxes that a part of an axis is whole numbers of: a box must not reach into the next part. */
const boxBytes = 128;

/** A side's one axis, all of it and no more than a part of the dim: its first places, or from one that no side moves. */
function partOf(
  loop: LoopNode,
  sides: Sides,
  dim: Indexed,
  dtype: DType,
): { readonly side: Side; readonly shift: readonly Scalar[] } | undefined {
  const terms = addends(dim.index);
  const shift = terms.filter((term) => isShared(sides, term));
  const [axis, other] = terms.filter((term) => !isShared(sides, term));
  const side = axis === undefined ? undefined : sideOf(sides, axis);
  if (axis?.kind !== "axis" || side === undefined || other !== undefined) return undefined;
  const whole = extentOf(loop, axis.axis);
  const extent = whole === undefined ? undefined : constantOf(whole);
  if (whole === undefined || extent === undefined || sides[side].length !== 1) return undefined;
  if (shift.length === 0 && dimEquals(whole, dim.extent)) return undefined;
  return (extent * dtypes[dtype].bytes) % boxBytes === 0 ? { side, shift } : undefined;
}

function addends(s: Indexed["index"]): readonly Indexed["index"][] {
  return s.kind === "apply" && s.fn === "add" ? s.args.flatMap(addends) : [s];
}

/** True for an index that moves with none of the sides. */
function isShared(sides: Sides, index: Indexed["index"]): index is Scalar {
  const moves = index.kind === "axis" ? new Set([index.axis]) : axesOf(index);
  return ![...sides.m, ...sides.n, ...sides.k].some((axis) => moves.has(axis));
}

/** True where the view has just these sides. */
export function hasSides(view: View, ...wanted: readonly Side[]): boolean {
  const found = new Set(view.map((axis) => axis.along).filter((along) => typeof along === "string"));
  return found.size === wanted.length && wanted.every((side) => found.has(side));
}
