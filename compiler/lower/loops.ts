/**
 * From axes to loop variables, and from terms to loop nodes.
 *
 * The axis pair `E, R[E]` is held as blocks of rows, so a loop over both ranges over (block, row of the block), and
 * the index variables follow from them: e is the block's expert, t the row less the expert's first. Rows between
 * an expert's last and the end of its block are padding: a loop computes something there, a reduction skips it.
 */
import { invariant, type Place } from "../diagnostics/diagnostic.ts";
import type { DType } from "../types/dtype.ts";
import type { Carrier, LoopAxis, LoopNode, Scalar } from "../tensor/ir.ts";
import { constant, sub } from "../types/dim.ts";
import type { Lowering } from "./frame.ts";
import type { LoopVariable, Terms } from "./terms.ts";
import { axisName, sizeName, type AxisValue, type RaggedRows } from "./value.ts";

export interface LoopAxisRequest {
  readonly name: string | undefined;
  readonly axis: AxisValue;
  /** For a ragged axis: the expert, where its axis is not among those that are bound with it. */
  readonly expert: Scalar | undefined;
  /**
   * How the rows of a ragged axis are counted whose experts' axis is not bound with it: one by one, as they are where
   * nothing is said, or by the blocks that have them.
   */
  readonly by?: "rows" | "blocks";
}

/** The rows of one expert, counted by blocks. */
export interface ExpertRows {
  readonly rows: RaggedRows;
  readonly block: LoopVariable;
  readonly row: LoopVariable;
  /** True for the blocks of the expert; what else makes a row valid is that it is no padding. */
  readonly isExperts: Scalar;
}

export interface BoundAxes {
  /** What the loop ranges over, one for each axis asked for, and two for rows that are counted by blocks. */
  readonly variables: readonly LoopVariable[];
  /** Value of each index variable. */
  readonly indices: readonly Scalar[];
  /** False on padding; undefined where there is none. */
  readonly valid: Scalar | undefined;
  readonly byBlocks: readonly ExpertRows[];
}

export function bindAxes(cx: Lowering, requests: readonly LoopAxisRequest[]): BoundAxes {
  const { terms } = cx;
  const partner = partners(requests);
  const isByBlocks = ({ axis, expert, by }: LoopAxisRequest, k: number): boolean =>
    by === "blocks" && axis.ragged !== undefined && expert !== undefined && partner[k] === undefined;
  const variables = requests.map((request, k) => {
    const { name, axis } = request;
    const rows = axis.ragged;
    if (rows !== undefined && isByBlocks(request, k)) return terms.variable("block", rows.blocks);
    if (rows !== undefined)
      return terms.variable(name ?? axisName(axis), partner[k] === undefined ? rows.most : rows.align);
    const pair = requests.find((other, i) => other.axis.ragged !== undefined && partner[i] === k);
    return pair === undefined
      ? terms.variable(name ?? axisName(axis), axis.extent, sizeName(axis))
      : terms.variable("block", pair.axis.ragged?.blocks ?? axis.extent);
  });
  const indices: Scalar[] = [];
  let valid: Scalar | undefined;
  const byBlocks = new Map<number, ExpertRows>();
  requests.forEach((request, k) => {
    const { name, axis, expert } = request;
    const variable = variables[k];
    invariant(variable !== undefined, "an axis without a loop variable");
    const pair = requests.findIndex((other, i) => other.axis.ragged !== undefined && partner[i] === k);
    const rows = requests[pair]?.axis.ragged;
    if (rows !== undefined) {
      indices.push(expertOf(terms, rows, variable.term));
    } else if (axis.ragged !== undefined && expert !== undefined && isByBlocks(request, k)) {
      const own = expertRows(terms, axis.ragged, expert, {
        block: variable,
        row: terms.variable(name ?? axisName(axis), axis.ragged.align),
      });
      const t = rowInExpert(terms, axis.ragged, expert, variable.term, own.row.term);
      const isRow = terms.apply("lt", t, terms.read(axis.ragged.count, [expert]));
      byBlocks.set(k, own);
      indices.push(t);
      valid = terms.both(valid, terms.apply("and", own.isExperts, isRow));
    } else if (axis.ragged !== undefined) {
      const block = variables[partner[k] ?? -1];
      const named = indices[requests.findIndex((other) => other.axis.key === axis.ragged?.by)];
      const e = block === undefined ? (named ?? expert) : expertOf(terms, axis.ragged, block.term);
      invariant(e !== undefined, "rows of an expert that nothing names");
      const t =
        block === undefined ? variable.term : rowInExpert(terms, axis.ragged, e, block.term, variable.term);
      const used = terms.apply("lt", t, terms.read(axis.ragged.count, [e]));
      // Row 0 of all stands in for a row that an expert does not have, so that a read of it lies inside.
      indices.push(
        block === undefined
          ? terms.select(used, t, terms.sub(terms.i32(0), terms.read(axis.ragged.start, [e])))
          : t,
      );
      valid = terms.both(valid, used);
    } else {
      indices.push(variable.term);
    }
  });
  const all = variables.flatMap((variable, k) => {
    const own = byBlocks.get(k);
    return own === undefined ? [variable] : [variable, own.row];
  });
  return { variables: all, indices, valid, byBlocks: [...byBlocks.values()] };
}

function expertRows(
  terms: Terms,
  rows: RaggedRows,
  expert: Scalar,
  { block, row }: Pick<ExpertRows, "block" | "row">,
): ExpertRows {
  const align = terms.dim(rows.align);
  const start = terms.read(rows.start, [expert]);
  const end = terms.add(start, terms.read(rows.count, [expert]));
  const below = terms.floordiv(terms.add(end, terms.dim(sub(rows.align, constant(1)))), align);
  const isExperts = terms.apply(
    "and",
    terms.apply("le", terms.floordiv(start, align), block.term),
    terms.apply("lt", block.term, below),
  );
  return { rows, block, row, isExperts };
}

/**
 * For each ragged axis, which of the axes asked for it is held in blocks with. Only one ragged axis can be: rows of
 * a second plan over the same experts are counted one by one.
 */
function partners(requests: readonly LoopAxisRequest[]): readonly (number | undefined)[] {
  const taken = new Set<number>();
  return requests.map(({ axis }) => {
    const at =
      axis.ragged === undefined ? -1 : requests.findIndex((other) => other.axis.key === axis.ragged?.by);
    if (at < 0 || taken.has(at)) return undefined;
    taken.add(at);
    return at;
  });
}

/** The expert of a block; of an unused block the last one, so that what is read for it lies inside. */
export function expertOf(terms: Terms, rows: RaggedRows, block: Scalar): Scalar {
  return terms.apply("min", terms.read(rows.expert, [block]), terms.dim(sub(rows.experts, constant(1))));
}

export function rowInExpert(
  terms: Terms,
  rows: RaggedRows,
  expert: Scalar,
  block: Scalar,
  row: Scalar,
): Scalar {
  const flat = terms.add(terms.mul(block, terms.dim(rows.align)), row);
  return terms.sub(flat, terms.read(rows.start, [expert]));
}

/** Block and row of the block where row t of expert e lies. */
export function rowAt(
  terms: Terms,
  rows: RaggedRows,
  e: Scalar,
  t: Scalar,
): { readonly block: Scalar; readonly row: Scalar; readonly flat: Scalar } {
  const flat = terms.add(terms.read(rows.start, [e]), t);
  const align = terms.dim(rows.align);
  return { block: terms.floordiv(flat, align), row: terms.mod(flat, align), flat };
}

function axisOf({ name, extent, size }: LoopVariable): LoopAxis {
  return { name, extent, size };
}

export interface LoopRequest {
  readonly axes: readonly LoopVariable[];
  readonly over: readonly LoopVariable[];
  readonly carriers: readonly Carrier[];
  /** Over `axes`, in their order. */
  readonly results: readonly { readonly value: Scalar; readonly dtype: DType }[];
  readonly place: Place | undefined;
}

export function emitLoop(cx: Lowering, request: LoopRequest): LoopNode {
  const { arena, terms } = cx;
  const { axes, over, carriers, results } = request;
  const { bodies, inputs } = terms.bodies(
    [...carriers.map((c) => c.lift), ...results.map((r) => r.value)],
    [...axes, ...over],
  );
  const lifts: Carrier[] = carriers.map((c, i) => ({
    ...c,
    lift: bodies[i] ?? c.lift,
  }));
  const node = arena.loop({
    axes: axes.map(axisOf),
    over: over.map(axisOf),
    carriers: lifts,
    results: results.map((r, i) => ({
      value: bodies[carriers.length + i] ?? r.value,
      dtype: r.dtype,
      axes: axes.map((_, k) => k),
    })),
    inputs,
  });
  if (request.place !== undefined) arena.setPlace(node, request.place);
  return node;
}
