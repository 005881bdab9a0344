/**
 * A sum of products over the rows of one expert, by the blocks that have them:
 *
 *     sum[r](x[e, r, d] * y[e, r, f])
 *  =  sum[block, row](select(first[e] <= block < end[e], x[block, row, d], 0) * y[block, row, f])
 *
 * with x and y 0 in rows of padding, so that what is left to ask is a block's: a sum then runs over whole blocks, which a
 * copy engine brings as they are. Where a factor is something else than what was stored, each row is asked.
 */
import { typeOf } from "../tensor/refs.ts";
import type { Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import type { Lowering } from "./frame.ts";
import { expertOf, rowInExpert, type BoundAxes, type ExpertRows } from "./loops.ts";
import { storeElement } from "./tensors.ts";
import type { Element } from "./value.ts";

/** Undefined: the element is no product of stored rows, or is masked. */
export function summedBlocks(cx: Lowering, bound: BoundAxes, element: Element): Element | undefined {
  const [expert, other] = bound.byBlocks;
  if (expert === undefined || other !== undefined || element.keep !== undefined) return undefined;
  if (bound.variables.length > 2) return undefined;
  const padded = new Map<ScalarRead, Scalar>();
  if (!collect(cx, element.term, expert, padded)) return undefined;
  return { term: rewritten(cx, element.term, padded), keep: undefined };
}

/** The reads that vary over the rows, as reads of what is 0 in padding; the first one within the expert's blocks only. */
function collect(cx: Lowering, term: Scalar, expert: ExpertRows, found: Map<ScalarRead, Scalar>): boolean {
  const { terms } = cx;
  const own = [expert.block, expert.row];
  if (!terms.dependsOn(term, own)) return true;
  if (term.kind === "round") return collect(cx, term.arg, expert, found);
  if (term.kind === "apply" && (term.fn === "mul" || term.fn === "neg"))
    return term.args.every((arg) => collect(cx, arg, expert, found));
  if (term.kind !== "read" || term.bounds !== "proved") return false;
  const at = term.index.indexOf(expert.block.term);
  const isRows = at >= 0 && term.index[at + 1] === expert.row.term;
  const others = term.index.filter((_, k) => k !== at && k !== at + 1);
  if (!isRows || others.some((index) => terms.dependsOn(index, own))) return false;
  const zero = terms.read(zeroPadded(cx, terms.tensorOf(term), at, expert), term.index);
  if (found.has(term)) return true;
  found.set(
    term,
    found.size === 0 ? terms.select(expert.isExperts, zero, terms.constant(zero.type, 0)) : zero,
  );
  return true;
}

function rewritten(cx: Lowering, term: Scalar, by: ReadonlyMap<ScalarRead, Scalar>): Scalar {
  if (term.kind === "read") return by.get(term) ?? term;
  if (term.kind === "round") return cx.terms.round(term.to, rewritten(cx, term.arg, by), term.scaled);
  if (term.kind !== "apply" || (term.fn !== "mul" && term.fn !== "neg")) return term;
  return cx.terms.apply(term.fn, ...term.args.map((arg) => rewritten(cx, arg, by)));
}

/** The tensor with 0 in each row of a block that is none of its expert's; `at`: its axis of blocks, before that of rows. */
function zeroPadded(cx: Lowering, ref: Ref, at: number, { rows }: ExpertRows): Ref {
  const known = cx.zeroPadded.get(ref);
  if (known !== undefined) return known;
  const { terms } = cx;
  const { dtype, shape } = typeOf(ref);
  const variables = shape.map((extent, k) =>
    terms.variable(k === at ? "block" : k === at + 1 ? "row" : "i", extent),
  );
  const index = variables.map((v) => v.term);
  const [block, row] = [index[at] ?? terms.i32(0), index[at + 1] ?? terms.i32(0)];
  const e = expertOf(terms, rows, block);
  const isRow = terms.apply("lt", rowInExpert(terms, rows, e, block, row), terms.read(rows.count, [e]));
  const value = terms.read(ref, index);
  const bound = { variables, indices: index, valid: undefined, byBlocks: [] };
  const zero = terms.select(isRow, value, terms.constant(value.type, 0));
  const made = storeElement(cx, bound, zero, dtype, "padded", undefined).ref;
  cx.zeroPadded.set(ref, made);
  cx.zeroPadded.set(made, made);
  return made;
}
